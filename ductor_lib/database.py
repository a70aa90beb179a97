"""The sqlite file behind the ledger: one connection behind one lock, and a damaged file is moved aside, never lost."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0  # a backup or a curious sqlite3 shell may hold the file for a moment
SUFFIXES = ("", "-wal", "-shm")
Column = tuple[str, str, str]  # table, name, type


class Database:
    """An sqlite database with explicit transactions. Any thread. `added` are columns that older files do not have yet.

    `damaged` names the copy that was moved aside when the file could not be read, else it is None.
    Raises OSError where the folder cannot be written and sqlite3.OperationalError where the disk is full.
    """

    def __init__(self, path: Path, schema: str, *, added: Sequence[Column] = (), now: float | None = None) -> None:
        self.path = path
        self.damaged: Path | None = None
        self._lock = threading.Lock()
        connection = _connect(path)
        try:
            _prepare(connection, path, schema, added)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                connection.close()
                raise
            # Moved before it is closed: closing writes the -wal into the damaged file and removes it.
            self.damaged = _move_aside(path, int(time.time() if now is None else now))
            connection.close()
            log.error("database damaged moved=%s reason=%s", self.damaged.name, error)
            connection = _connect(path)
            _prepare(connection, path, schema, added)
        self._connection = connection

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Cursor]:
        """One transaction, rolled back when the body raises. Keep the body short: the lock is held.

        `durable=False` leaves the flush to the disk for later: the commit survives the death of this process, but not
        that of the machine.
        """
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of one query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # sqlite would make it readable by others
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, schema: str, added: Sequence[Column]) -> None:
    """Check the file and bring its tables up to date. Raises sqlite3.DatabaseError when it is damaged."""
    pages_log = path.with_name(path.name + "-wal")
    if not path.stat().st_size and pages_log.exists() and pages_log.stat().st_size:
        raise sqlite3.DatabaseError("empty beside a log")  # sqlite would silently drop what the log holds
    connection.execute("PRAGMA journal_mode=WAL")
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    connection.executescript(schema)
    for table, column, kind in added:
        if column not in {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def _move_aside(path: Path, stamp: int) -> Path:
    """Rename the three files of a database to NAME.damaged-<time>; they belong together."""
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in SUFFIXES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(path.with_name(f"{path.name}.damaged-{stamp}{suffix}"))
    return target
