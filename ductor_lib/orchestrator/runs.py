"""Runs of jobs and hooks: a row before anything is queued, a status when it has ended; the same key never twice."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from ductor_lib.database import Database
from ductor_lib.events import Finished
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.outbox import Outbox, Outgoing
from ductor_lib.security import clean

DETAIL_CHARS = 2_000  # of an answer or an error, kept for the log of a job
WAITING = ""  # the status of a run that has not ended
WATCHED = "cron watched"  # the fact until when jobs were looked after
FORGOTTEN = "forgotten "  # begins the facts that count the runs whose rows are gone
# Rows that may go: old, ended, no item of theirs left that somebody may run again, and not among the latest of their job.
OLD = (
    "accepted_at < ? AND status != '' AND id NOT IN (SELECT run FROM inbox) AND id NOT IN (SELECT id FROM"
    " (SELECT id, ROW_NUMBER() OVER (PARTITION BY source, name ORDER BY id DESC) AS place FROM runs) WHERE place <= ?)"
)
STATUSES = {"not_signed_in": "error:not_signed_in", "timeout": "error:timeout", "silent": "error:timeout", "stopped": "error:stopped"}


@dataclass(frozen=True, slots=True)
class Order:
    """How a run is to be done, fixed when it is queued. "" and None: as in conversations.

    `folder` is the name of the task folder. `chats` are the conversations ("chat:42") that get the result.
    """

    folder: str = ""
    provider: str = ""
    model: str = ""
    effort: str = ""
    parameters: tuple[str, ...] | None = None
    chats: tuple[str, ...] = ()
    silent_when: str = ""
    into_session: bool = False

    def pack(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def unpack(cls, text: str) -> Order:
        raw = json.loads(text)
        parameters = raw.pop("parameters")
        return cls(**raw | {"chats": tuple(raw["chats"]), "parameters": None if parameters is None else tuple(parameters)})

    @property
    def places(self) -> tuple[Chat, ...]:
        return tuple(map(Chat.of, self.chats))


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `source` is "job" or "hook", `name` the id of that. Times in unix seconds.

    `key` makes it unique ("job:report:2026-12-01T09:00Z"). `task` is its packed Order. `status` is "" until it has ended,
    then "success", "skipped:…" or "error:…"; `detail` is the beginning of the answer, or what went wrong.
    """

    key: str
    source: str
    name: str
    title: str
    task: str
    due: float
    status: str = WAITING
    detail: str = ""
    accepted_at: float = 0.0
    ended_at: float | None = None
    id: int = 0

    @property
    def order(self) -> Order:
        return Order.unpack(self.task)


def outcome(finished: Finished, provider: str) -> tuple[str, str]:
    """The status of a run whose turn ended like this, and its detail."""
    if finished.outcome == "done":
        return ("success", finished.text) if finished.text.strip() else ("error:no_response", "")
    kind = finished.error or "crashed"
    if kind == "not_installed":
        return f"error:cli_not_found_{provider}", finished.detail
    if kind in ("crashed", "killed") and finished.exit_code is not None:
        return f"error:exit_{finished.exit_code}", finished.detail
    return STATUSES.get(kind, f"error:{kind}"), finished.detail or finished.text


@dataclass(slots=True)
class _Wish:
    """One call of `add` that waits for the next commit."""

    run: Run
    items: Sequence[Incoming]
    replies: Sequence[Reply]
    turn: threading.Event = field(default_factory=threading.Event)  # it is done, or it has to lead
    leads: bool = False
    id: int = 0
    stored: list[Incoming] = field(default_factory=list)
    said: list[Outgoing] = field(default_factory=list)
    error: Exception | None = None


class Runs:
    """The runs in ledger.db. Any thread. `insert` stores an item inside a transaction and returns it with its id.

    What several threads add at the same moment is flushed to the disk together. Raises sqlite3.OperationalError when
    the disk is full: nothing was changed then.
    """

    def __init__(
        self, database: Database, outbox: Outbox, insert: Callable[[sqlite3.Cursor, Incoming, float], Incoming | None], *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._insert = insert
        self._now = now
        self._lock = threading.Lock()
        self._wishes: list[_Wish] = []
        self._committing = False

    def add(self, run: Run, items: Sequence[Incoming] = (), *, replies: Sequence[Reply] = ()) -> tuple[int, list[Incoming]]:
        """Store a run with its items and what is to be said, flushed to disk: the run's id, and the items to be queued.

        A known key changes nothing: the id of the first, and no items.
        """
        wish = _Wish(run, items, replies)
        with self._lock:
            self._wishes.append(wish)
            wish.leads, self._committing = not self._committing, True
        if not wish.leads:
            wish.turn.wait()
        if wish.leads:
            self._lead()
        if wish.error is not None:
            raise wish.error
        self._outbox.announce(wish.said)
        return wish.id, wish.stored

    def get(self, run: int) -> Run | None:
        return next(iter(self._read("id = ?", run)), None)

    def history(self, source: str, name: str, *, limit: int = 20) -> list[Run]:
        """The latest runs of a job or hook, newest first."""
        return self._read("source = ? AND name = ? ORDER BY id DESC LIMIT ?", source, name, limit)

    def latest(self, source: str) -> dict[str, Run]:
        """The latest run of every job or hook, by its id."""
        newest = self._read("id IN (SELECT MAX(id) FROM runs WHERE source = ? GROUP BY name)", source)
        return {run.name: run for run in newest}

    def open(self, source: str) -> set[str]:
        """The jobs or hooks with a run that has not ended."""
        return {row["name"] for row in self._database.rows("SELECT DISTINCT name FROM runs WHERE source = ? AND status = ''", source)}

    def counts(self, source: str) -> dict[str, int]:
        """How often each job or hook was triggered, those included whose rows are gone."""
        begin = f"{FORGOTTEN}{source} "
        rows = self._database.rows(
            "SELECT name, SUM(n) AS n FROM (SELECT name, COUNT(*) AS n FROM runs WHERE source = ? GROUP BY name UNION ALL"
            " SELECT substr(name, ?), CAST(value AS INTEGER) FROM facts WHERE substr(name, 1, ?) = ?) GROUP BY name",
            source, len(begin) + 1, len(begin), begin,
        )
        return {row["name"]: row["n"] for row in rows}

    def last_due(self, source: str, *, besides: str = "") -> dict[str, float]:
        """The latest moment each job has a row for; rows whose keys are like `besides` (of SQL) do not count."""
        rows = self._database.rows(
            "SELECT name, MAX(due) AS due FROM runs WHERE source = ? AND key NOT LIKE ? GROUP BY name", source, besides
        )
        return {row["name"]: row["due"] for row in rows}

    def watched(self) -> float:
        """Until when (unix seconds) the clock was watched; 0 when it never was."""
        rows = self._database.rows("SELECT value FROM facts WHERE name = ?", WATCHED)
        return float(rows[0]["value"]) if rows else 0.0

    def watch(self, until: float) -> None:
        """The clock was watched until then, and what was due has its row. Not flushed: the next start looks a little further back."""
        with self._database.transaction(durable=False) as cursor:
            cursor.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", (WATCHED, str(until)))

    def end(self, cursor: sqlite3.Cursor, item: int, status: str, detail: str) -> None:
        """Close the run an item belongs to, in the caller's transaction. Of several items one success is enough."""
        cursor.execute(
            "UPDATE runs SET status = ?, detail = ?, ended_at = ? WHERE id = (SELECT run FROM inbox WHERE id = ?) AND status != 'success'",
            (status, clean(detail[:DETAIL_CHARS]), self._now(), item),  # sqlite refuses the lone surrogates that an agent may write
        )

    def reopen(self, cursor: sqlite3.Cursor, item: int) -> None:
        """An item is to run a second time, so its run has not ended; one that another item brought to success has."""
        cursor.execute(
            "UPDATE runs SET status = '', ended_at = NULL WHERE id = (SELECT run FROM inbox WHERE id = ?) AND status != 'success'", (item,)
        )

    def withdraw(self, source: str, name: str) -> int:
        """Take back what waits of a job or hook and has not begun; how many runs that were."""
        now, mine = self._now(), "source = ? AND name = ? AND status = ''"
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE inbox SET state = 'dropped', ended_at = ? WHERE state IN ('waiting', 'held', 'limited')"
                f" AND run IN (SELECT id FROM runs WHERE {mine})", (now, source, name),
            )  # fmt: skip
            return cursor.execute(
                f"UPDATE runs SET status = 'skipped:cancelled', ended_at = ? WHERE {mine}"
                " AND id NOT IN (SELECT run FROM inbox WHERE state = 'running')", (now, source, name),
            ).rowcount  # fmt: skip

    def old(self, before: float, keep: int) -> int:
        """How many rows `purge` would remove."""
        return int(self._database.rows(f"SELECT COUNT(*) AS n FROM runs WHERE {OLD}", before, keep)[0]["n"])

    def purge(self, before: float, keep: int) -> int:
        """Forget runs accepted before that moment (unix seconds), but for the latest `keep` of each job or hook; how many."""
        with self._database.transaction() as cursor:
            cursor.execute(
                f"INSERT INTO facts SELECT '{FORGOTTEN}' || source || ' ' || name, COUNT(*) FROM runs WHERE {OLD} GROUP BY source, name"
                " ON CONFLICT(name) DO UPDATE SET value = value + excluded.value", (before, keep),
            )  # fmt: skip
            return cursor.execute(f"DELETE FROM runs WHERE {OLD}", (before, keep)).rowcount

    # ── one flush for many ──

    def _lead(self) -> None:
        """Commit everything that waits now, then let one of those lead that have come meanwhile."""
        with self._lock:
            wishes, self._wishes = self._wishes, []
        try:
            self._commit(wishes)
        except Exception as error:
            for wish in wishes:
                wish.error = error
        with self._lock:
            self._committing = bool(self._wishes)
            for wish in self._wishes[:1]:
                wish.leads = True
                wishes.append(wish)
        for wish in wishes:
            wish.turn.set()

    def _commit(self, wishes: Sequence[_Wish]) -> None:
        now = self._now()
        with self._database.transaction() as cursor:
            for wish in wishes:
                self._store(cursor, wish, now)

    def _store(self, cursor: sqlite3.Cursor, wish: _Wish, now: float) -> None:
        run = wish.run
        ended = now if run.status else None
        cursor.execute(
            "INSERT OR IGNORE INTO runs(key, source, name, title, task, due, status, detail, accepted_at, ended_at)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (run.key, run.source, run.name, run.title, run.task, run.due, run.status, run.detail[:DETAIL_CHARS], now, ended),
        )
        if not cursor.rowcount:
            wish.id = int(cursor.execute("SELECT id FROM runs WHERE key = ?", (run.key,)).fetchone()["id"])
            return
        wish.id = int(cursor.lastrowid or 0)
        items = (self._insert(cursor, replace(item, run=wish.id), now) for item in wish.items)
        wish.stored = [item for item in items if item]
        wish.said = self._outbox.put(cursor, wish.replies)

    def _read(self, where: str, *values: object) -> list[Run]:
        columns = "key, source, name, title, task, due, status, detail, accepted_at, ended_at, id"
        return [Run(*row) for row in self._database.rows(f"SELECT {columns} FROM runs WHERE {where}", *values)]
