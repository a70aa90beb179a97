"""Runs of jobs and hooks: stored before they are queued, once per key, closed with their answer."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Run
from ductor_lib.orchestrator.schema import SCHEMA

OWNER = Chat(42)


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        yield ledger


def run(number: int = 1, name: str = "report") -> Run:
    return Run(f"job:{name}:{number}", "job", name, "Report", "{}", due=float(number))


def item(number: int = 1, **more: object) -> Incoming:
    return Incoming(f"run:{number}", OWNER, "do it", kind="task", task="lane", **more)  # type: ignore[arg-type]


def test_a_run_and_its_items_are_stored_together_and_a_known_key_changes_nothing(ledger: Ledger) -> None:
    number, stored = ledger.runs.add(run(), [item()])

    again = ledger.runs.add(run(), [item(2)])

    assert again == (number, [])
    assert [(i.lane, i.run, i.kind) for i in stored] == [("task:lane", number, "task")]
    assert ledger.recover() == ([], stored)


def test_a_run_is_closed_together_with_the_answer_of_its_item(ledger: Ledger) -> None:
    number, (stored,) = ledger.runs.add(run(), [item()])
    ledger.begin(stored.id)

    ledger.finish(stored.id, result=("success", "x" * 5000))

    closed = ledger.runs.get(number)
    assert closed is not None
    assert (closed.status, len(closed.detail)) == ("success", 2000)
    assert closed.ended_at is not None


def test_of_several_items_one_success_is_enough(ledger: Ledger) -> None:
    number, (first, second, third) = ledger.runs.add(run(), [item(1), item(2), item(3)])

    ledger.finish(first.id, result=("error:timeout", ""))
    ledger.finish(second.id, result=("success", "done"))
    ledger.finish(third.id, result=("error:no_response", ""))

    closed = ledger.runs.get(number)
    assert closed is not None
    assert (closed.status, closed.detail) == ("success", "done")


def test_what_a_crash_cut_off_is_an_interrupted_run_until_somebody_runs_it_again(ledger: Ledger) -> None:
    number, (stored,) = ledger.runs.add(run(), [item()])
    ledger.begin(stored.id)

    ledger.interrupt([stored], [])
    interrupted = ledger.runs.get(number)
    again = ledger.again(stored.id, OWNER)

    assert interrupted is not None
    assert interrupted.status == "error:interrupted"
    assert again == stored
    reopened = ledger.runs.get(number)
    assert reopened is not None
    assert (reopened.status, reopened.ended_at) == ("", None)


def test_a_skipped_run_is_closed_from_the_beginning(ledger: Ledger) -> None:
    number, stored = ledger.runs.add(replace(run(), status="skipped:quiet_hours"))

    assert stored == []
    closed = ledger.runs.get(number)
    assert closed is not None
    assert closed.ended_at == closed.accepted_at


def test_the_history_is_newest_first_and_counts_by_name(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.runs.add(run(number))
    ledger.runs.add(run(9, "other"))

    assert [found.due for found in ledger.runs.history("job", "report", limit=2)] == [3.0, 2.0]
    assert ledger.runs.counts("job") == {"report": 3, "other": 1}
    assert {name: found.due for name, found in ledger.runs.latest("job").items()} == {"report": 3.0, "other": 9.0}
    assert ledger.runs.last_due("job") == {"report": 3.0, "other": 9.0}


def test_many_threads_add_at_once_and_each_gets_its_own_run(ledger: Ledger) -> None:
    found: dict[int, int] = {}

    def add(number: int) -> None:
        found[number], _ = ledger.runs.add(run(number), [item(number)])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found.values())) == 100
    for number, row in found.items():
        stored = ledger.runs.get(row)
        assert stored is not None
        assert stored.due == number


def test_a_failing_commit_is_told_to_everybody_who_waited_for_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.close()
    errors: list[Exception] = []

    def add(number: int) -> None:
        try:
            ledger.runs.add(run(number))
        except sqlite3.ProgrammingError as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(errors) == 8


def test_notes_are_kept_until_the_agent_was_told(ledger: Ledger) -> None:
    _, (stored,) = ledger.runs.add(run(), [item()])
    ledger.finish(stored.id, notes=[("chat:42", "first"), ("chat:7", "other")])
    (message,) = ledger.accept([Incoming("update:1", OWNER, "hello")])
    (number, text), = ledger.notes("chat:42")

    ledger.finish(message.id, told=number)

    assert text == "first"
    assert ledger.notes("chat:42") == []
    assert [text for _, text in ledger.notes("chat:7")] == ["other"]


def test_a_ledger_of_an_older_version_gets_the_new_column(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    older = SCHEMA.replace(",\n    run INTEGER NOT NULL DEFAULT 0);", ");")
    assert older != SCHEMA
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(older)
        connection.execute(
            "INSERT INTO inbox(key, lane, chat, user, kind, message_id, text, untrusted, callback, sent_at, accepted_at, state)"
            " VALUES('update:1', 'chat:42', 42, 42, 'message', 1, 'hello', '', '', 0, 0, 'waiting')"
        )
        connection.commit()

    with closing(Ledger(path)) as ledger:
        _, waiting = ledger.recover()

    assert [(found.text, found.run) for found in waiting] == [("hello", 0)]


def test_what_waits_of_a_job_is_withdrawn_and_what_runs_goes_on(ledger: Ledger) -> None:
    _, (begun,) = ledger.runs.add(run(1), [item(1)])
    ledger.begin(begun.id)
    _, (waiting,) = ledger.runs.add(run(2), [item(2)])
    _, (other,) = ledger.runs.add(run(3, "other"), [item(3)])

    withdrawn = ledger.runs.withdraw("job", "report")

    assert withdrawn == 1
    assert [one.status for one in ledger.runs.history("job", "report")] == ["skipped:cancelled", ""]
    assert ledger.begin(waiting.id) is None
    assert ledger.begin(other.id) is not None
    assert ledger.runs.withdraw("job", "report") == 0


def test_old_runs_are_forgotten_but_counted_and_what_somebody_may_run_again_stays(tmp_path: Path) -> None:
    moment = [100.0]
    ledger = Ledger(tmp_path / "ledger.db", now=lambda: moment[0])
    _, (cut,) = ledger.runs.add(run(0), [item(0)])
    ledger.begin(cut.id)
    ledger.interrupt([cut], [])
    for number in range(1, 6):
        ledger.runs.add(replace(run(number), status="success"))
    ledger.runs.add(replace(run(9, "other"), status="success"))
    _, (waiting,) = ledger.runs.add(run(7, "open"), [item(7)])
    moment[0] = 1000.0

    expected = ledger.runs.old(500.0, keep=2)
    gone = [ledger.runs.purge(100.0, keep=2), ledger.runs.purge(500.0, keep=2), ledger.runs.purge(500.0, keep=2)]

    assert (expected, gone) == (3, [0, 3, 0])
    assert [one.due for one in ledger.runs.history("job", "report")] == [5.0, 4.0, 0.0]
    assert ledger.runs.counts("job") == {"report": 6, "other": 1, "open": 1}
    assert ledger.again(cut.id, OWNER) is not None
    assert ledger.begin(waiting.id) is not None
    ledger.close()
