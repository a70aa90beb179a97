"""Watch the files of jobs and hooks: an edit takes effect within seconds, a broken one is named in the chat."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger

EVERY = 2.0  # seconds between two looks

log = logging.getLogger(__name__)


class Watched(Protocol):
    """A book of definitions."""

    def refresh(self) -> str:
        """Read the file if it has changed: "", or once what is wrong with it."""


class Watcher:
    """`look` belongs to the scheduler's thread. `owner` is told what is wrong."""

    def __init__(self, books: Sequence[Watched], ledger: Ledger, owner: Chat) -> None:
        self._books = books
        self._ledger = ledger
        self._owner = owner
        self._untold: list[str] = []  # a book says what is wrong only once

    def look(self) -> None:
        """Take over what was edited; what cannot be read keeps its last good version. Raises what the ledger raises."""
        for book in self._books:
            if wrong := book.refresh():
                log.warning("definitions refused reason=%s", wrong)
                self._untold.append(f"⚠️ A file of yours cannot be read as it is:\n```\n{wrong}\n```")
        if self._untold:
            self._ledger.say([Reply(self._owner, text) for text in self._untold])
            self._untold.clear()
