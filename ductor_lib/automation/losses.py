"""Tell the owner what Telegram will never take in another chat: a result that nobody gets must not look like a success."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.words import count, plain

EVERY = 30.0  # seconds between two looks
DAY = 86_400.0  # seconds
HINT = "Of jobs and hooks, `ductor cron log` and `ductor webhook log` have the beginning; `--chat` of `edit` names another chat."

log = logging.getLogger(__name__)


class Losses:
    """`look` belongs to the scheduler's thread. What was lost in the chat of `owner` can be told nowhere.

    Of one chat and reason it is told once a day. `now` is monotonic, in seconds.
    """

    def __init__(self, ledger: Ledger, owner: Chat, *, now: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._owner = owner
        self._now = now
        self._told: dict[tuple[Chat, str], float] = {}

    def look(self) -> None:
        """Tell the losses, without the words, which were meant for others. Raises what the ledger raises."""
        lost, now = self._ledger.outbox.lost(), self._now()
        if not lost:
            return
        self._told = {place: told for place, told in self._told.items() if now - told < DAY}
        refused = ((one.reply.chat, one.reason) for one in lost if one.reply.chat != self._owner and one.reply.text)
        found = Counter(place for place in refused if place not in self._told)
        lines = [
            f"• `{chat.lane.removeprefix('chat:')}`: {count(number, 'message')}, {plain(reason)}"
            for (chat, reason), number in found.items()
        ]
        told = "\n".join(("⚠️ **Telegram does not deliver what I say in these chats:**", *lines, HINT))
        self._ledger.say([Reply(self._owner, told)] if lines else [], lost=[one.id for one in lost])
        self._told |= dict.fromkeys(found, now)
        log.warning("losses told count=%d", len(lost))

