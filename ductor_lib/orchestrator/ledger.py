"""What was accepted and what became of it: durable before anybody acts on it, closed together with its answer."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.database import Database
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.outbox import Outbox
from ductor_lib.orchestrator.runs import Runs
from ductor_lib.orchestrator.schema import ADDED, SCHEMA

HISTORY_SECONDS = 48 * 3600.0  # closed rows and duplicates are known for two days; Telegram redelivers for one
PENDING = "('waiting', 'held', 'limited')"
COLUMNS = "id, key, lane, chat, topic, user, kind, message_id, text, untrusted, callback, sent_at, run"
TASK = "task:"  # begins the lane of an unattended run


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn of an agent for the books. `begun_at` in unix seconds, `cost` in USD."""

    provider: str
    model: str
    session_id: str
    begun_at: float
    seconds: float
    outcome: str
    error: str
    cost: float
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What one model cost in one conversation over some time. `cost` in USD, 0 where there is no price."""

    provider: str
    model: str
    lane: str
    turns: int
    cost: float
    tokens_in: int
    tokens_out: int


class Ledger:
    """The inbox, the turns, (as `outbox`) the replies and (as `runs`) jobs and hooks, in one sqlite file. Any thread.

    Every method is one transaction. Raises sqlite3.OperationalError when the disk is full: nothing was changed then.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._database = Database(path, SCHEMA, added=ADDED)
        self._now = now
        self.outbox = Outbox(self._database, now=now)
        self.runs = Runs(self._database, self.outbox, _insert, now=now)

    @property
    def damaged(self) -> Path | None:
        """Where a ledger that could not be read was moved to at the start; None when all was well."""
        return self._database.damaged

    # ── intake ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def offset(self) -> tuple[int, float] | None:
        """The next update_id to ask Telegram for and when (unix seconds) that was learnt; None before the first."""
        rows = self._database.rows("SELECT value FROM facts WHERE name = 'offset'")
        if not rows:
            return None
        number, _, when = str(rows[0]["value"]).partition(" ")
        return int(number), float(when)

    def accept(
        self, items: Sequence[Incoming], *, offset: int | None = None, poison: Sequence[tuple[int, str, str]] = ()
    ) -> list[Incoming]:
        """Store items and the polling offset together, flushed to disk; return those not seen before, with their ids.

        `poison` are updates nobody can read: (update_id, raw JSON, reason).
        """
        now = self._now()
        with self._database.transaction() as cursor:
            new = [stored for item in items if (stored := _insert(cursor, item, now))]
            cursor.executemany("INSERT OR REPLACE INTO poison VALUES(?, ?, ?, ?)", [(*row, now) for row in poison])
            if offset is not None:
                cursor.execute("INSERT OR REPLACE INTO facts VALUES('offset', ?)", (f"{offset} {now}",))
        return new

    def amend(self, edit: Incoming) -> bool:
        """Put an edited text in the place of the one that still waits. False when nothing waits any more."""
        with self._database.transaction() as cursor:
            changed = cursor.execute(
                "UPDATE inbox SET text = ?, untrusted = ? WHERE chat = ? AND message_id = ? AND kind = 'message'"
                f" AND state IN {PENDING}",
                (edit.text, edit.untrusted, edit.chat.id, edit.message_id),
            ).rowcount
        return changed > 0

    def state(self, chat: Chat, message_id: int) -> str | None:
        """What became of a message: waiting, held, limited, running, done, interrupted, dropped, merged; None: unknown."""
        rows = self._database.rows(
            "SELECT state FROM inbox WHERE chat = ? AND message_id = ? AND kind = 'message' ORDER BY id DESC LIMIT 1", chat.id, message_id
        )
        return str(rows[0]["state"]) if rows else None

    # ── a message's life ────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, item: int) -> Incoming | None:
        """The item starts to run: from now on a crash leaves it to a person. None when it no longer waits."""
        with self._database.transaction() as cursor:
            changed = cursor.execute(
                "UPDATE inbox SET state = 'running', begun_at = ? WHERE id = ? AND state = 'waiting'", (self._now(), item)
            ).rowcount
            if not changed:
                return None
            return _incoming(cursor.execute(f"SELECT {COLUMNS} FROM inbox WHERE id = ?", (item,)).fetchone())

    def finish(
        self, item: int, replies: Sequence[Reply] = (), *, turn: TurnRecord | None = None, state: str = "done",
        result: tuple[str, str] | None = None, told: int = 0, notes: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Close an item, say its answer and book its cost, all or nothing. `state` "interrupted": a person may run it again.

        `result` is (status, detail) for the run it belongs to. The agent has been told the lane's notes up to number `told`;
        `notes` are new ones: (lane, text).
        """
        with self._database.transaction() as cursor:
            lane = cursor.execute("SELECT lane FROM inbox WHERE id = ?", (item,)).fetchone()
            cursor.execute("UPDATE inbox SET state = ?, ended_at = ? WHERE id = ?", (state, self._now(), item))
            if turn:
                cursor.execute(
                    "INSERT INTO turns(inbox, lane, provider, model, session_id, begun_at, seconds, outcome, error, cost, tokens_in,"
                    " tokens_out) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (item, lane["lane"] if lane else "", turn.provider, turn.model, turn.session_id, turn.begun_at, turn.seconds,
                     turn.outcome, turn.error, turn.cost, turn.tokens_in, turn.tokens_out),
                )
            if result:
                self.runs.end(cursor, item, *result)
            if told and lane:
                cursor.execute("DELETE FROM notes WHERE lane = ? AND id <= ?", (lane["lane"], told))
            cursor.executemany("INSERT INTO notes(lane, text, made_at) VALUES(?, ?, ?)", [(*note, self._now()) for note in notes])
            stored = self.outbox.put(cursor, replies)
        self.outbox.announce(stored)

    def notes(self, lane: str) -> list[tuple[int, str]]:
        """What the agent of a conversation is to be told with the next message: (number, text), in order."""
        return [(row["id"], row["text"]) for row in self._database.rows("SELECT id, text FROM notes WHERE lane = ? ORDER BY id", lane)]

    def say(self, replies: Sequence[Reply], *, lost: Sequence[int] = ()) -> None:
        """Say something that answers no item. Of the lost replies with these numbers somebody has heard by that."""
        with self._database.transaction() as cursor:
            cursor.executemany("UPDATE outbox SET state = 'told' WHERE id = ?", [(number,) for number in lost])
            stored = self.outbox.put(cursor, replies)
        self.outbox.announce(stored)

    def cancel(self, item: int, lane: str) -> bool:
        """Drop one waiting item of the lane. False when it does not wait there any more."""
        with self._database.transaction() as cursor:
            dropped = cursor.execute(
                f"UPDATE inbox SET state = 'dropped', ended_at = ? WHERE id = ? AND lane = ? AND state IN {PENDING}",
                (self._now(), item, lane),
            ).rowcount
            if dropped:
                self.runs.end(cursor, item, "skipped:cancelled", "")
        return dropped > 0

    def drop_before(self, item: int, lane: str) -> int:
        """Drop every message of the lane that waits and came before `item`; how many those were."""
        return self._close(f"id < ? AND lane = ? AND state IN {PENDING} AND kind IN ('message', 'press')", "dropped", item, lane)

    def queue(self, item: int) -> None:
        """The item waits behind another one of its lane. Not flushed: at the next start the order is found again."""
        with self._database.transaction(durable=False) as cursor:
            cursor.execute("UPDATE inbox SET queued = 1 WHERE id = ?", (item,))

    def waiting(self, lane: str) -> list[Incoming]:
        """The items of a lane that wait behind another, in order."""
        return self._items("state = 'waiting' AND queued = 1 AND lane = ?", lane)

    def unfinished(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._database.rows("SELECT 1 FROM inbox WHERE state IN ('waiting', 'running') LIMIT 1"))

    # ── after a pause or a crash ────────────────────────────────────────────────────────────────────────────────────

    def recover(self) -> tuple[list[Incoming], list[Incoming]]:
        """At the start, before any lane opens: (what a crash cut off, what still waits), each in order. Changes nothing."""
        return self._items("state = 'running'"), self._items("state = 'waiting'")

    def interrupt(self, cut: Sequence[Incoming], replies: Sequence[Reply]) -> None:
        """Leave what a crash cut off to a person, and tell that person so, all or nothing."""
        with self._database.transaction() as cursor:
            now = self._now()
            cursor.executemany("UPDATE inbox SET state = 'interrupted', ended_at = ? WHERE id = ?", [(now, item.id) for item in cut])
            for item in cut:
                self.runs.end(cursor, item.id, "error:interrupted", "")
            stored = self.outbox.put(cursor, replies)
        self.outbox.announce(stored)

    def hold(self, item: int) -> None:
        """The item is too old to run unasked."""
        self._close("id = ? AND state = 'waiting'", "held", item)

    def limit(self, item: int, question: Reply) -> None:
        """A limit is reached: put the item aside and ask a person, all or nothing. Nothing when it no longer waits."""
        with self._database.transaction() as cursor:
            changed = cursor.execute(
                "UPDATE inbox SET state = 'limited', ended_at = ? WHERE id = ? AND state = 'waiting'", (self._now(), item)
            ).rowcount
            stored = self.outbox.put(cursor, [question] if changed else [])
        self.outbox.announce(stored)

    def held(self, lane: str | None = None, *, state: str = "held") -> list[Incoming]:
        """Messages on which a person has to decide, of one lane or of all: old ones, or with "limited" those a limit stopped."""
        return self._items("state = ?", state) if lane is None else self._items("state = ? AND lane = ?", state, lane)

    def release(self, lane: str, *, merge: bool = False, state: str = "held") -> list[Incoming]:
        """Let the held (or "limited") messages of a lane wait again; merged ones become the first, with all texts in order."""
        with self._database.transaction() as cursor:
            found = "state = ? AND lane = ?"
            rows = cursor.execute(f"SELECT {COLUMNS} FROM inbox WHERE {found} ORDER BY id", (state, lane)).fetchall()
            held = [_incoming(row) for row in rows]
            cursor.execute(f"UPDATE inbox SET state = 'waiting', queued = 0, ended_at = NULL WHERE {found}", (state, lane))
            if merge and held:
                first, *others = held
                texts, fenced = "\n\n".join(i.text for i in held if i.text), "\n\n".join(i.untrusted for i in held if i.untrusted)
                cursor.execute("UPDATE inbox SET text = ?, untrusted = ? WHERE id = ?", (texts, fenced, first.id))
                cursor.executemany("UPDATE inbox SET state = 'merged' WHERE id = ?", [(i.id,) for i in others])
        return held[:1] if merge else held

    def discard(self, lane: str) -> int:
        """Drop the held messages of a lane; how many those were."""
        return self._close("lane = ? AND state = 'held'", "dropped", lane)

    def again(self, item: int, chat: Chat) -> Incoming | None:
        """Let an interrupted item that was reported in `chat` wait for a second run. None when it was decided already."""
        with self._database.transaction() as cursor:
            changed = cursor.execute(
                "UPDATE inbox SET state = 'waiting', ended_at = NULL WHERE id = ? AND chat = ? AND topic IS ? AND state = 'interrupted'",
                (item, chat.id, chat.topic),
            ).rowcount
            self.runs.reopen(cursor, item if changed else 0)
        return self._items("id = ?", item)[0] if changed else None

    def forget(self, item: int, chat: Chat) -> bool:
        """Leave an interrupted item as it is; once more after a crash that came before the answer. False when it runs again."""
        where = "id = ? AND chat = ? AND topic IS ? AND state IN ('interrupted', 'dropped')"
        return self._close(where, "dropped", item, chat.id, chat.topic) > 0

    def drop(self, items: Sequence[Incoming]) -> None:
        """Close items that nobody is to hear of."""
        with self._database.transaction() as cursor:
            cursor.executemany("UPDATE inbox SET state = 'dropped', ended_at = ? WHERE id = ?", [(self._now(), item.id) for item in items])

    # ── the books ───────────────────────────────────────────────────────────────────────────────────────────────────

    def spent(self, since: float, until: float) -> list[Spent]:
        """What was spent on turns begun from `since` to before `until` (unix seconds), a row per conversation and model."""
        rows = self._database.rows(
            "SELECT provider, model, lane, COUNT(*) AS turns, SUM(cost) AS cost, SUM(tokens_in) AS tokens_in, SUM(tokens_out) AS tokens_out"
            " FROM turns WHERE begun_at >= ? AND begun_at < ? GROUP BY provider, model, lane ORDER BY provider, model, lane", since, until
        )
        return [Spent(*row) for row in rows]

    def purge(self) -> None:
        """Forget closed rows after two days. Turns stay: they are the books."""
        before = self._now() - HISTORY_SECONDS
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM inbox WHERE state IN ('done', 'dropped', 'merged') AND accepted_at < ?", (before,))
            cursor.execute("DELETE FROM outbox WHERE state != 'open' AND created_at < ?", (before,))
            cursor.execute("DELETE FROM tokens WHERE created_at < ?", (before,))
            cursor.execute("DELETE FROM poison WHERE kept_at < ?", (before,))

    def close(self) -> None:
        self._database.close()

    def _items(self, where: str, *values: object) -> list[Incoming]:
        return [_incoming(row) for row in self._database.rows(f"SELECT {COLUMNS} FROM inbox WHERE {where} ORDER BY id", *values)]

    def _close(self, where: str, state: str, *values: object) -> int:
        with self._database.transaction() as cursor:
            return cursor.execute(f"UPDATE inbox SET state = ?, ended_at = ? WHERE {where}", (state, self._now(), *values)).rowcount


def _insert(cursor: sqlite3.Cursor, item: Incoming, now: float) -> Incoming | None:
    cursor.execute(
        "INSERT OR IGNORE INTO inbox(key, lane, chat, topic, user, kind, message_id, text, untrusted, callback, sent_at, accepted_at,"
        " run, state) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')",
        (item.key, item.lane, item.chat.id, item.chat.topic, item.user, item.kind, item.message_id, item.text, item.untrusted,
         item.callback, item.sent_at, now, item.run),
    )
    if not cursor.rowcount:
        return None
    row = cursor.execute(f"SELECT {COLUMNS} FROM inbox WHERE id = ?", (cursor.lastrowid,)).fetchone()
    return _incoming(row)


def _incoming(row: sqlite3.Row) -> Incoming:
    return Incoming(
        key=row["key"], chat=Chat(row["chat"], row["topic"]), text=row["text"], user=row["user"], kind=row["kind"],
        message_id=row["message_id"], sent_at=row["sent_at"], callback=row["callback"], untrusted=row["untrusted"], id=row["id"],
        task=row["lane"].removeprefix(TASK) if row["lane"].startswith(TASK) else "", run=row["run"],
    )
