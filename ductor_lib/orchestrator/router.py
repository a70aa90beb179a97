"""Decide what a message is: a command, a word that stops, an edit, or something for the agent."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Mapping
from typing import Protocol

from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.turns import Turns
from ductor_lib.ports import Command, Place, Views

log = logging.getLogger(__name__)

# Bot API: a command is 1-32 of [a-z0-9_]. "/home/x" is a path, not a command.
COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:\s+(.*))?", re.DOTALL)


class Unattended(Protocol):
    """Runs the items of jobs and hooks that have a session of their own."""

    def run(self, item: Incoming) -> None: ...


class Router:
    """Knows every command by its name and hands the rest to the agent. Any thread."""

    def __init__(
        self, commands: Mapping[str, Command], stop_words: Collection[str], ledger: Ledger, turns: Turns, unattended: Unattended,
        views: Views,
    ) -> None:
        self._commands = commands
        self._stop_words = frozenset(word.casefold() for word in stop_words)
        self._ledger = ledger
        self._turns = turns
        self._unattended = unattended
        self._views = views

    def place(self, item: Incoming) -> Place:
        """Where the item runs."""
        if item.kind == "edit":
            return "urgent"
        name = self._name(item)
        if name is None:
            return "lane"
        return self._commands[name].place if name in self._commands else "panel"

    def run(self, item: Incoming) -> None:
        """Do what the item asks for, to the end. Called in a thread of its place."""
        if item.kind == "edit":
            self._ledger.finish(item.id, self._amend(item))
        elif item.kind == "task":
            self._unattended.run(item)
        elif (name := self._name(item)) is None:
            self._turns.run(item)
        else:
            self._ledger.finish(item.id, self._command(name, item))

    def end_turn(self, lane: str, *, before: int) -> bool:
        """End the lane's running turn if it came before that item."""
        return self._turns.end_turn(lane, before=before)

    def make_way(self, lane: str) -> None:
        """A person has written there."""
        self._turns.make_way(lane)

    def _name(self, item: Incoming) -> str | None:
        """The command's name, None for what is meant for the agent."""
        if item.kind not in ("message", "press"):
            return None
        if match := COMMAND.fullmatch(item.text.strip()):
            return match[1].lower()
        return "stop" if item.text.strip().casefold() in self._stop_words and not item.untrusted else None

    def _command(self, name: str, item: Incoming) -> list[Reply]:
        command = self._commands.get(name)
        if command is None:
            return [Reply(item.chat, unknown(name, self._commands))]
        match = COMMAND.fullmatch(item.text.strip())
        try:
            return list(command.run(item, (match[2] or "").strip() if match else ""))
        except Exception:
            log.exception("command failed name=%s", name)
            return [Reply(item.chat, f"⚠️ /{name} failed inside ductor; `logs/agent.log` has the details.")]

    def _amend(self, item: Incoming) -> list[Reply]:
        if self._ledger.amend(item):
            self._views.queue(item.chat)
            return []
        if self._ledger.state(item.chat, item.message_id) != "running":
            return []
        return [Reply(item.chat, "✏️ I am already working on that message. /stop ends it; or send the change as a new message.")]


def unknown(name: str, commands: Collection[str]) -> str:
    """What to say to a command that does not exist."""
    near = difflib.get_close_matches(name, sorted(commands), n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(f'/{other}' for other in near)}?" if near else ""
    return f"I do not know /{name}.{hint} /help lists what I know. To send it to the agent, write a word before it."
