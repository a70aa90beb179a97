"""The ledger keeps what was accepted, once, and closes it together with its answer."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ductor_lib.messages import Button, Chat, Incoming, Reply
from ductor_lib.orchestrator.ledger import HISTORY_SECONDS, Ledger, TurnRecord

CHAT = Chat(42)
TURN = TurnRecord("claude", "opus", "s-1", 1000.0, 2.5, "done", "", 0.25, 100, 20)


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def message(number: int, text: str = "hello", chat: Chat = CHAT) -> Incoming:
    return Incoming(f"update:{number}", chat, text, user=42, message_id=number, sent_at=1_000_000.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / "ledger.db", now=clock)


def test_an_accepted_message_survives_a_restart_and_comes_back_as_it_was(tmp_path: Path) -> None:
    sent = Incoming("update:1", Chat(-100, 7), "hi", 42, "press", 5, 12.5, "cb", "quoted")
    first = Ledger(tmp_path / "ledger.db")
    [stored] = first.accept([sent], offset=2)
    first.close()

    cut, waiting = Ledger(tmp_path / "ledger.db").recover()

    assert cut == []
    assert waiting == [stored]
    assert (stored.id, stored.chat, stored.untrusted) == (1, Chat(-100, 7), "quoted")


def test_an_update_that_comes_twice_is_stored_once(ledger: Ledger) -> None:
    ledger.accept([message(1)], offset=2)

    assert ledger.accept([message(1), message(2), message(2)], offset=3)[0].key == "update:2"
    assert len(ledger.recover()[1]) == 2


def test_the_offset_moves_together_with_its_messages(ledger: Ledger, clock: Clock) -> None:
    assert ledger.offset() is None
    ledger.accept([message(7)], offset=8)

    assert ledger.offset() == (8, clock.time)


def test_a_message_that_had_begun_is_reported_and_one_that_had_not_waits(ledger: Ledger) -> None:
    first, second = ledger.accept([message(1), message(2)])
    ledger.begin(first.id)

    cut, waiting = ledger.recover()
    ledger.interrupt(cut, [Reply(first.chat, "cut off")])

    assert ([i.id for i in cut], [i.id for i in waiting]) == ([first.id], [second.id])
    assert ledger.recover()[0] == []
    assert [row.reply.text for row in ledger.outbox.unsent()] == ["cut off"]
    assert ledger.begin(first.id) is None


def test_what_was_cut_off_stays_so_until_its_report_is_stored(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    [item] = first.accept([message(1)])
    first.begin(item.id)
    first.recover()
    first.close()  # killed before it could say anything

    assert Ledger(tmp_path / "ledger.db").recover()[0] == [item]


def test_an_interrupted_message_runs_again_once_and_only_from_its_own_conversation(ledger: Ledger) -> None:
    [item] = ledger.accept([message(1)])
    ledger.begin(item.id)
    ledger.interrupt([item], [])

    assert ledger.again(item.id, Chat(1)) is None
    assert ledger.again(item.id, item.chat) == item
    assert ledger.again(item.id, item.chat) is None
    assert ledger.begin(item.id) == item


def test_an_edit_reaches_a_message_that_waits_and_no_other(ledger: Ledger) -> None:
    waits, runs = ledger.accept([message(1), message(2)])
    ledger.begin(runs.id)

    assert ledger.amend(message(1, "better"))
    assert not ledger.amend(message(2, "too late"))
    begun = ledger.begin(waits.id)
    assert begun is not None
    assert begun.text == "better"
    assert ledger.state(CHAT, 2) == "running"


def test_stop_drops_only_what_was_sent_before_it_in_its_conversation(ledger: Ledger) -> None:
    before, other, stop, after = ledger.accept([message(1), message(2, chat=Chat(7)), message(3, "/stop"), message(4)])

    assert ledger.drop_before(stop.id, stop.lane) == 1
    assert ledger.begin(before.id) is None
    assert ledger.begin(other.id) is not None
    assert ledger.begin(after.id) is not None


def test_only_what_waits_behind_another_is_called_waiting(ledger: Ledger) -> None:
    _, second = ledger.accept([message(1), message(2)])
    ledger.queue(second.id)

    assert ledger.waiting(CHAT.lane) == [second]
    assert ledger.cancel(second.id, CHAT.lane)
    assert not ledger.cancel(second.id, CHAT.lane)
    assert ledger.waiting(CHAT.lane) == []


def test_held_messages_run_in_order_or_as_one_or_not_at_all(ledger: Ledger) -> None:
    one, two, three = ledger.accept([message(1, "one"), message(2, "two"), message(3, "three")])
    for item in (one, two):
        ledger.hold(item.id)

    assert [i.text for i in ledger.release(CHAT.lane, merge=True)] == ["one"]

    merged = ledger.begin(one.id)
    assert merged is not None
    assert merged.text == "one\n\ntwo"
    assert ledger.begin(two.id) is None
    ledger.hold(three.id)
    assert ledger.discard(CHAT.lane) == 1
    assert ledger.held() == []


def test_an_answer_its_message_and_its_cost_are_closed_together_or_not_at_all(ledger: Ledger, tmp_path: Path) -> None:
    [item] = ledger.accept([message(1)])
    ledger.begin(item.id)
    unstorable = Reply(CHAT, "half", buttons=((object(),),))  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        ledger.finish(item.id, [Reply(CHAT, "whole"), unstorable], turn=TURN)

    assert ledger.outbox.unsent() == []
    assert [i.id for i in ledger.recover()[0]] == [item.id]
    with sqlite3.connect(tmp_path / "ledger.db") as books:
        assert books.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    books.close()


def test_a_reply_comes_back_after_a_restart_with_how_far_it_got(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "ledger.db")
    reply = Reply(Chat(-5, 3), "text", buttons=((Button("A", "/a"), Button("B", copy="b")),), slot="turn:1", earlier="before")
    first.say([reply])
    stored = first.outbox.fresh.get_nowait()
    first.outbox.delivered(stored.id, 1, [77])
    first.outbox.claim(stored.id, 1)
    first.close()

    [found] = Ledger(tmp_path / "ledger.db").outbox.unsent()

    assert (found.reply, found.done, found.claimed, found.messages) == (reply, 1, 1, (77,))


def test_a_slot_remembers_its_messages_until_it_is_forgotten(ledger: Ledger) -> None:
    ledger.outbox.fill(CHAT, "queue", [1, 2])
    ledger.outbox.fill(Chat(-5, 3), "queue", [3])

    assert ledger.outbox.slot(CHAT, "queue") == (1, 2)
    assert ledger.outbox.holders("queue") == [Chat(-5, 3), CHAT]
    ledger.outbox.fill(CHAT, "queue", [])
    assert ledger.outbox.slot(CHAT, "queue") == ()


def test_a_long_command_gets_one_short_name(ledger: Ledger) -> None:
    command = "tell me " * 50

    token = ledger.outbox.token(command)

    assert ledger.outbox.token(command) == token
    assert ledger.outbox.command(token) == command
    assert len(token.encode()) <= 20
    assert ledger.outbox.command("unknown") is None


def test_a_button_that_is_shown_again_lives_two_days_from_then(ledger: Ledger, clock: Clock) -> None:
    command = "tell me " * 50
    token = ledger.outbox.token(command)

    clock.time += HISTORY_SECONDS - 1
    ledger.outbox.token(command)
    clock.time += HISTORY_SECONDS - 1
    ledger.purge()

    assert ledger.outbox.command(token) == command


def test_a_reply_that_cannot_be_read_is_put_aside_and_the_others_are_sent(ledger: Ledger, tmp_path: Path) -> None:
    ledger.say([Reply(CHAT, "one"), Reply(CHAT, "two"), Reply(CHAT, "three")])
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other, other:
        other.execute("UPDATE outbox SET reply = '{\"half' WHERE id = 1")
        other.execute("UPDATE outbox SET reply = '{\"chat\": {}}' WHERE id = 2")

    assert [outgoing.reply.text for outgoing in ledger.outbox.unsent()] == ["three"]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        assert other.execute("SELECT state FROM outbox ORDER BY id").fetchall() == [("dead",), ("dead",), ("open",)]


def test_closed_rows_are_forgotten_after_two_days_and_open_ones_never(ledger: Ledger, clock: Clock) -> None:
    done, _ = ledger.accept([message(1), message(2)])
    ledger.finish(done.id, [Reply(CHAT, "answer")])

    clock.time += HISTORY_SECONDS + 1
    ledger.purge()

    assert len(ledger.outbox.unsent()) == 1
    assert [i.key for i in ledger.recover()[1]] == ["update:2"]
    assert ledger.accept([message(1)]) != []


def test_a_full_disk_changes_nothing_and_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.accept([message(1)], offset=2)
    with ledger._database._lock:  # the smallest disk there is: not one page more
        pages = ledger._database._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._database._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(sqlite3.OperationalError, match="full"):
        ledger.accept([message(2, "x" * 100_000)], offset=3)

    offset = ledger.offset()
    assert offset is not None
    assert offset[0] == 2
    assert len(ledger.recover()[1]) == 1


def test_a_damaged_ledger_is_moved_aside_and_the_next_one_works(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, by far" * 500)

    ledger = Ledger(tmp_path / "ledger.db")

    assert ledger.damaged is not None
    assert ledger.damaged.read_bytes().startswith(b"not a database")
    assert ledger.accept([message(1)])
