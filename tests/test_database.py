"""The sqlite file: transactions whole, damage moved aside."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ductor_lib.database import Database

SCHEMA = "CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"
ROOT = Path(__file__).parent.parent

ADD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from ductor_lib.database import Database
base = Database(Path(sys.argv[1]), sys.argv[2])
with base.transaction(durable=sys.argv[3] == "durable") as cursor:
    cursor.execute("INSERT INTO item (text) VALUES ('stored')")
with base.transaction() as cursor:
    cursor.execute("INSERT INTO item (text) VALUES ('half')")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def base(path: Path) -> Iterator[Database]:
    with closing(Database(path, SCHEMA)) as base:
        yield base


def add(base: Database, text: str) -> None:
    with base.transaction() as cursor:
        cursor.execute("INSERT INTO item (text) VALUES (?)", (text,))


def texts(base: Database) -> list[str]:
    return [row["text"] for row in base.rows("SELECT text FROM item ORDER BY id")]


def test_what_was_stored_is_there_after_a_restart(path: Path, base: Database) -> None:
    add(base, "one")
    base.close()

    with closing(Database(path, SCHEMA)) as again:
        assert texts(again) == ["one"]
        assert again.damaged is None


def test_rows_take_values_and_have_named_columns(base: Database) -> None:
    add(base, "one")
    add(base, "two")

    rows = base.rows("SELECT id, text FROM item WHERE text = ?", "two")

    assert [(row["id"], row["text"]) for row in rows] == [(2, "two")]


def test_only_the_owner_can_read_the_files(path: Path, base: Database) -> None:
    add(base, "one")

    assert {entry.name for entry in path.parent.iterdir()} == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}


def test_a_transaction_that_raises_leaves_nothing_and_the_next_one_works(base: Database) -> None:
    with pytest.raises(ZeroDivisionError), base.transaction() as cursor:
        assert cursor.execute("INSERT INTO item (text) VALUES ('half')").rowcount / 0

    add(base, "whole")

    assert texts(base) == ["whole"]


def test_a_statement_that_sqlite_refuses_undoes_the_ones_before_it(base: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), base.transaction() as cursor:
        cursor.executemany("INSERT INTO item (text) VALUES (?)", [("half",), (None,)])

    assert texts(base) == []


def test_threads_wait_for_each_other(base: Database) -> None:
    def count() -> None:
        for _ in range(25):
            with base.transaction(durable=False) as cursor:
                number = cursor.execute("SELECT count(*) FROM item").fetchone()[0]
                cursor.execute("INSERT INTO item (text) VALUES (?)", (str(number),))

    threads = [threading.Thread(target=count, name=f"count-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert texts(base) == [str(number) for number in range(100)]


@pytest.mark.parametrize("kind", ["durable", "later"])
def test_kill_9_keeps_what_was_committed_and_drops_what_was_not(path: Path, kind: str) -> None:
    child = subprocess.run([sys.executable, "-c", ADD_AND_DIE, str(path), SCHEMA, kind], cwd=ROOT, timeout=60, check=False)

    with closing(Database(path, SCHEMA)) as base:
        assert child.returncode == -signal.SIGKILL
        assert texts(base) == ["stored"]
        assert base.damaged is None


def test_a_curious_reader_does_not_stop_the_writer(path: Path, base: Database) -> None:
    add(base, "one")

    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM item").fetchone() == (1,)
        add(base, "two")

    assert texts(base) == ["one", "two"]


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)

    with closing(Database(path, SCHEMA, now=1700000000.9)) as base:
        add(base, "one")

        moved = path.with_name("ledger.db.damaged-1700000000")
        assert base.damaged == moved
        assert moved.read_bytes() == b"this is no database" * 100
        assert texts(base) == ["one"]


def test_what_was_committed_outlives_a_spoiled_file_while_the_log_has_it(path: Path) -> None:
    subprocess.run([sys.executable, "-c", ADD_AND_DIE, str(path), SCHEMA, "durable"], cwd=ROOT, timeout=60, check=False)
    path.write_bytes(b"\xff" * path.stat().st_size)

    with closing(Database(path, SCHEMA)) as base:
        assert base.damaged is None
        assert texts(base) == ["stored"]


def test_a_page_overwritten_in_the_middle_counts_as_damage(path: Path) -> None:
    with closing(Database(path, SCHEMA)) as base:
        for number in range(200):
            with base.transaction(durable=False) as cursor:
                cursor.execute("INSERT INTO item (text) VALUES (?)", (f"{number} " + "x" * 500,))
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * 4096 + content[12288:])

    with closing(Database(path, SCHEMA)) as again:
        assert again.damaged is not None
        assert texts(again) == []


def test_an_empty_file_is_a_new_database(path: Path) -> None:
    path.touch()

    with closing(Database(path, SCHEMA)) as base:
        add(base, "one")

        assert base.damaged is None
        assert texts(base) == ["one"]


def test_a_folder_that_is_missing_is_an_error_and_no_damage(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Database(path / "ledger.db", SCHEMA)

    assert list(path.parent.iterdir()) == []


def test_an_empty_file_beside_a_log_is_damage_and_the_log_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first = Database(path, SCHEMA)
    with first.transaction() as cursor:
        cursor.execute("INSERT INTO item(text) VALUES('kept in the log')")
    log = path.with_name("ledger.db-wal").read_bytes()
    first.close()
    path.write_bytes(b"")
    path.with_name("ledger.db-wal").write_bytes(log)

    second = Database(path, SCHEMA)

    assert second.damaged is not None
    assert second.damaged.with_name(second.damaged.name + "-wal").read_bytes() == log
    second.close()
