"""What is to be said and has not yet arrived: a row per reply, kept until Telegram has it."""

from __future__ import annotations

import dataclasses
import json
import logging
import queue
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ductor_lib.database import Database
from ductor_lib.messages import Button, Chat, Reply

log = logging.getLogger(__name__)

TOKEN_BYTES = 9  # 12 characters: fits Telegram's 64 bytes of callback_data with room to spare


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One stored reply. `done` of its parts have arrived, as `messages`; part number `claimed` was tried without a
    known outcome (-1: none)."""

    id: int
    reply: Reply
    done: int = 0
    claimed: int = -1
    messages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """A reply that will not arrive, and why."""

    id: int
    reply: Reply
    reason: str


class Outbox:
    """The replies, the slots and the long commands of buttons, in ledger.db. Any thread.

    `fresh` receives every reply right after it is stored; one consumer, the sender.
    """

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self.fresh: queue.SimpleQueue[Outgoing] = queue.SimpleQueue()
        self._database = database
        self._now = now

    def put(self, cursor: sqlite3.Cursor, replies: Sequence[Reply]) -> list[Outgoing]:
        """Store replies inside the caller's transaction. The caller hands the result to `announce` after the commit."""
        stored = []
        for reply in replies:
            cursor.execute(
                "INSERT INTO outbox(reply, done, claimed, messages, state, reason, created_at) VALUES(?, 0, -1, '[]', 'open', '', ?)",
                (_pack(reply), self._now()),
            )
            stored.append(Outgoing(int(cursor.lastrowid or 0), reply))
        return stored

    def announce(self, stored: Sequence[Outgoing]) -> None:
        for outgoing in stored:
            self.fresh.put(outgoing)

    def unsent(self) -> list[Outgoing]:
        """Everything that has not arrived yet, in the order it was said."""
        rows = self._database.rows("SELECT id, reply, done, claimed, messages FROM outbox WHERE state = 'open' ORDER BY id")
        found = []
        for row in rows:
            try:
                messages = tuple(json.loads(row["messages"]))
                found.append(Outgoing(row["id"], _unpack(row["reply"]), row["done"], row["claimed"], messages))
            except (ValueError, TypeError, KeyError, AttributeError) as error:  # one bad row must not keep the bot from starting
                log.error("reply unreadable outgoing=%d reason=%s", row["id"], error)
                self.close(row["id"], "dead", f"unreadable: {error}")
        return found

    def lost(self) -> list[Lost]:
        """What Telegram will never take and nobody has been told of."""
        found = []
        for row in self._database.rows("SELECT id, reply, reason FROM outbox WHERE state = 'dead' ORDER BY id"):
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # unreadable: the log has it
                found.append(Lost(row["id"], _unpack(row["reply"]), row["reason"]))
        return found

    def claim(self, outgoing: int, part: int) -> None:
        """Note that this part is about to be sent as a new message, so that a crash leaves a trace of it."""
        self._change("UPDATE outbox SET claimed = ? WHERE id = ?", part, outgoing)

    def delivered(self, outgoing: int, done: int, messages: Sequence[int]) -> None:
        """`done` parts have arrived; `messages` are their ids so far."""
        self._change("UPDATE outbox SET done = ?, claimed = -1, messages = ? WHERE id = ?", done, json.dumps(list(messages)), outgoing)

    def close(self, outgoing: int, state: str, reason: str = "") -> None:
        """The reply is "sent", or "dead" for a reason: Telegram will never take it."""
        self._change("UPDATE outbox SET state = ?, reason = ?, closed_at = ? WHERE id = ?", state, reason, self._now(), outgoing)

    def slot(self, chat: Chat, name: str) -> tuple[int, ...]:
        """The messages that the slot holds now, in order."""
        rows = self._database.rows(
            "SELECT messages FROM slots WHERE chat = ? AND topic = ? AND name = ?", chat.id, chat.topic or 0, name
        )
        return tuple(json.loads(rows[0]["messages"])) if rows else ()

    def holders(self, name: str) -> list[Chat]:
        """The chats whose slot of that name holds something."""
        rows = self._database.rows("SELECT chat, topic FROM slots WHERE name = ?", name)
        return [Chat(row["chat"], row["topic"] or None) for row in rows]

    def fill(self, chat: Chat, name: str, messages: Sequence[int]) -> None:
        """The slot now holds these messages; none: the slot is forgotten."""
        if messages:
            self._change(
                "INSERT OR REPLACE INTO slots VALUES(?, ?, ?, ?)", chat.id, chat.topic or 0, name, json.dumps(list(messages))
            )
        else:
            self._change("DELETE FROM slots WHERE chat = ? AND topic = ? AND name = ?", chat.id, chat.topic or 0, name)

    def token(self, command: str) -> str:
        """A short name for a command line that is too long for a button."""
        fresh = secrets.token_urlsafe(TOKEN_BYTES)
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO tokens VALUES(?, ?, ?) ON CONFLICT(command) DO UPDATE SET created_at = excluded.created_at",
                (fresh, command, self._now()),
            )
            return str(cursor.execute("SELECT token FROM tokens WHERE command = ?", (command,)).fetchone()["token"])

    def command(self, token: str) -> str | None:
        """The command line behind a short name, None when it is unknown or was cleaned up."""
        rows = self._database.rows("SELECT command FROM tokens WHERE token = ?", token)
        return str(rows[0]["command"]) if rows else None

    def _change(self, sql: str, *values: object) -> None:
        # Not flushed to the disk: after a power cut a message may at worst be sent again, and says so.
        with self._database.transaction(durable=False) as cursor:
            cursor.execute(sql, values)


def _pack(reply: Reply) -> str:
    return json.dumps(dataclasses.asdict(reply))  # ASCII: sqlite refuses the lone surrogates that an agent may write


def _unpack(text: str) -> Reply:
    raw = json.loads(text)
    chat = Chat(**raw.pop("chat"))
    rows = tuple(tuple(Button(**button) for button in row) for row in raw.pop("buttons"))
    return Reply(chat=chat, buttons=rows, files=tuple(raw.pop("files", ())), **raw)
