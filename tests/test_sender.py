from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ductor_lib.bot.client import Client
from ductor_lib.bot.delivery import AGAIN
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.markup import Part
from ductor_lib.bot.preview import REDRAW, Draft
from ductor_lib.bot.sender import Sender
from ductor_lib.database import Database
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Button, Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.outbox import Outbox
from ductor_lib.orchestrator.schema import SCHEMA
from ductor_lib.security import UPLOAD_BYTES, FileAccess
from ductor_lib.storage import JsonFile

HOME = Chat(42)
GROUP = Chat(-100)
ANY_FILE = FileAccess("all", Path("/no/home"), Path("/no/home/workspace"), Path("/no"), most=UPLOAD_BYTES)
NO_GROUPS = Groups([], JsonFile(Path("no-such-state.json")))
STOP = ((Button("Stop", "/stop"),),)


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as telegram:
        telegram.add_group(-100, topics=[7, 8])
        yield telegram


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def sender(telegram: LoopbackTelegram, ledger: Ledger) -> Iterator[Sender]:
    sender = fast(telegram, ledger)
    sender.start()
    yield sender
    sender.stop()
    sender.flush(5.0)


def fast(telegram: LoopbackTelegram, ledger: Ledger) -> Sender:
    client = Client(telegram.token, telegram.url, patience=5.0)
    return Sender(client, ledger.outbox, NO_GROUPS, ANY_FILE, interval=0.05, max_failures=3, pause=0.05)


class Picture:
    """A preview whose next frame is what the test says."""

    def __init__(self, chat: Chat, slot: str, *texts: str) -> None:
        self.chat = chat
        self.slot = slot
        self.redraw = REDRAW
        self.draft = Draft(tuple(map(Part, texts)), STOP)
        self.drawn = threading.Semaphore(0)

    def draw(self) -> Draft:
        self.drawn.release()
        return self.draft

    def become(self, *texts: str) -> None:
        self.draft = Draft(tuple(map(Part, texts)), STOP)


class Broken(Picture):
    def draw(self) -> Draft:
        self.drawn.release()
        raise RuntimeError("cannot be drawn")


def bot(telegram: LoopbackTelegram, chat: int = 42) -> list[str]:
    return [message.text for message in telegram.messages(chat) if message.sender == "bot"]


def sends(telegram: LoopbackTelegram, method: str = "sendMessage") -> int:
    return sum(call.method == method for call in telegram.calls)


# ── finals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_replies_arrive_in_order_and_are_closed(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, f"number {n}") for n in range(20)])

    assert sender.flush(10)
    assert bot(telegram) == [f"number {n}" for n in range(20)]
    assert ledger.outbox.unsent() == []


def test_a_reply_is_rendered_and_carries_its_topic_buttons_and_silence(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    ledger.say([Reply(Chat(-100, 7), "**bold**", STOP, silent=True)])

    assert sender.flush(10)
    message = telegram.last(-100)
    assert (message.text, message.topic, message.silent) == ("bold", 7, True)
    assert message.entities[0]["type"] == "bold"
    assert message.buttons[0][0].get("callback_data") == "/stop"


def test_a_long_answer_arrives_in_parts_with_the_buttons_under_the_last(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    text = "\n\n".join(f"paragraph {n} " + "word " * 150 for n in range(100))

    ledger.say([Reply(HOME, text, STOP)])

    assert sender.flush(10)
    assert len(bot(telegram)) >= 20
    assert "\n\n".join(bot(telegram)).split() == text.split()
    assert [bool(message.buttons) for message in telegram.messages()] == [False] * (len(bot(telegram)) - 1) + [True]


def test_what_was_left_by_an_earlier_run_comes_first_and_once(telegram: LoopbackTelegram, ledger: Ledger) -> None:
    ledger.say([Reply(HOME, "old one"), Reply(HOME, "old two")])
    sender = fast(telegram, ledger)

    sender.start()
    ledger.say([Reply(HOME, "new")])

    assert sender.flush(10)
    assert bot(telegram) == ["old one", "old two", "new"]
    sender.stop()


def test_a_slot_holds_one_message_that_is_edited(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    for text in ("waiting: 1", "waiting: 2", "waiting: 3"):
        ledger.say([Reply(HOME, text, slot="queue")])

    assert sender.flush(10)
    assert bot(telegram) == ["waiting: 3"]
    assert ledger.outbox.slot(HOME, "queue") == (telegram.last().id,)


def test_a_slot_grows_and_shrinks_with_its_text(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    long = "\n\n".join("word " * 700 for _ in range(3))

    ledger.say([Reply(HOME, "short", slot="s"), Reply(HOME, long, slot="s")])
    assert sender.flush(10)
    grown = ledger.outbox.slot(HOME, "s")
    ledger.say([Reply(HOME, "short again", slot="s")])
    assert sender.flush(10)

    assert len(grown) == 3
    assert bot(telegram) == ["short again"]
    assert ledger.outbox.slot(HOME, "s") == grown[:1]


def test_an_empty_text_takes_the_slots_messages_away(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "card", slot="queue"), Reply(HOME, "", slot="queue")])

    assert sender.flush(10)
    assert bot(telegram) == []
    assert ledger.outbox.slot(HOME, "queue") == ()


def test_a_fresh_reply_is_a_new_message_in_the_place_of_the_old_one(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    ledger.say([Reply(HOME, "working", slot="turn:1"), Reply(HOME, "between")])
    ledger.say([Reply(HOME, "answer", slot="turn:1", fresh=True)])

    assert sender.flush(10)
    assert bot(telegram) == ["between", "answer"]
    assert [message.edits for message in telegram.messages()] == [0, 0]
    assert ledger.outbox.slot(HOME, "turn:1") == (telegram.last().id,)


def test_a_closing_reply_leaves_its_message_and_forgets_the_slot(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    ledger.say([Reply(HOME, "working", slot="turn:1"), Reply(HOME, "answer", slot="turn:1", closing=True)])
    ledger.say([Reply(HOME, "another", slot="turn:1")])

    assert sender.flush(10)
    assert bot(telegram) == ["answer", "another"]


def test_topics_of_a_group_have_their_own_slots(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(Chat(-100, topic), f"card {topic}", slot="queue") for topic in (7, 8)])

    assert sender.flush(10)
    assert bot(telegram, -100) == ["card 7", "card 8"]


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_429_delays_only_its_chat(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", retry_after=1)

    ledger.say([Reply(HOME, "first")])
    telegram.wait(lambda t: sends(t) == 1)
    ledger.say([Reply(HOME, "second"), Reply(GROUP, "elsewhere")])

    telegram.wait(lambda t: bot(t, -100))
    assert bot(telegram) == []
    assert sender.flush(10)
    assert bot(telegram) == ["first", "second"]


def test_order_is_kept_whatever_goes_wrong(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", retry_after=0)
    telegram.fail("sendMessage", status=502, body="<html>Bad Gateway</html>")
    telegram.fail("sendMessage", drop=True)

    ledger.say([Reply(HOME, f"number {n}") for n in range(5)])

    assert sender.flush(20)
    assert [text.removeprefix(f"{AGAIN}\n\n") for text in bot(telegram)] == [f"number {n}" for n in range(5)]


def test_a_message_whose_first_try_is_doubtful_is_sent_again_with_a_mark(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    telegram.fail("sendMessage", drop=True, after=True)

    ledger.say([Reply(HOME, "answer"), Reply(HOME, "next")])

    assert sender.flush(10)
    assert bot(telegram) == ["answer", f"{AGAIN}\n\nanswer", "next"]
    assert telegram.messages()[1].entities[0]["type"] == "italic"


def test_a_refused_try_leaves_no_mark(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", retry_after=0)

    ledger.say([Reply(HOME, "answer")])

    assert sender.flush(10)
    assert bot(telegram) == ["answer"]


def test_an_edit_with_a_lost_answer_is_simply_repeated(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "working", slot="turn:1")])
    assert sender.flush(10)
    telegram.fail("editMessageText", drop=True, after=True)

    ledger.say([Reply(HOME, "answer", slot="turn:1")])

    assert sender.flush(10)
    assert bot(telegram) == ["answer"]


def test_a_long_answer_goes_on_where_it_was_cut_off(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    text = "\n\n".join(f"part {n} " + "word " * 780 for n in range(4))
    telegram.fail("sendMessage", status=200, body={"ok": True, "result": {"message_id": 900, "text": "x"}})
    telegram.fail("sendMessage", retry_after=0)

    ledger.say([Reply(HOME, text, slot="s")])

    assert sender.flush(10)
    assert [words.split()[1] for words in bot(telegram)] == ["1", "2", "3"]
    assert ledger.outbox.slot(HOME, "s")[0] == 900


@pytest.mark.parametrize(("claimed", "arrived"), [(False, ["answer"]), (True, [f"{AGAIN}\n\nanswer"])])
def test_after_a_restart_only_a_claimed_row_is_marked(
    telegram: LoopbackTelegram, ledger: Ledger, claimed: bool, arrived: list[str]
) -> None:
    ledger.say([Reply(HOME, "answer")])
    if claimed:
        ledger.outbox.claim(ledger.outbox.unsent()[0].id, 0)
    sender = fast(telegram, ledger)

    sender.start()

    assert sender.flush(10)
    assert bot(telegram) == arrived
    sender.stop()


def test_after_a_restart_parts_that_arrived_are_not_sent_again(telegram: LoopbackTelegram, ledger: Ledger) -> None:
    text = "\n\n".join(f"part {n} " + "word " * 780 for n in range(3))
    ledger.say([Reply(HOME, "old", slot="s")])
    first = fast(telegram, ledger)
    first.start()
    assert first.flush(10)
    first.stop()
    ledger.say([Reply(HOME, text, slot="s", fresh=True)])
    ledger.outbox.delivered(ledger.outbox.unsent()[0].id, 1, [Client(telegram.token, telegram.url).send(HOME, Part("part 0"))])
    sender = fast(telegram, ledger)

    sender.start()

    assert sender.flush(10)
    assert [words.split()[1] for words in bot(telegram)] == ["0", "1", "2"]
    assert len(ledger.outbox.slot(HOME, "s")) == 3
    sender.stop()


@pytest.mark.parametrize("description", ["Bad Request: can't parse entities: oops", "Bad Request: SOMETHING_NEW_INVALID"])
def test_formatting_that_telegram_refuses_is_dropped(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, description: str
) -> None:
    telegram.fail("sendMessage", status=400, body={"ok": False, "error_code": 400, "description": description})

    ledger.say([Reply(HOME, "**bold**", STOP)])

    assert sender.flush(10)
    assert (telegram.last().text, telegram.last().entities) == ("bold", ())
    assert telegram.last().buttons


def test_buttons_that_telegram_refuses_are_dropped_last(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    rows = tuple((Button(f"b{n}", f"/b {n}"),) for n in range(101))

    ledger.say([Reply(HOME, "choose", rows)])

    assert sender.flush(10)
    assert (telegram.last().text, telegram.last().buttons) == ("choose", ())


def test_a_part_that_is_still_too_long_is_split(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    text = "🙂 **word** " * 90
    too_long = {"ok": False, "error_code": 400, "description": "Bad Request: message is too long"}
    telegram.fail("sendMessage", status=400, body=too_long, times=2)

    ledger.say([Reply(HOME, text, STOP), Reply(HOME, "next")])

    assert sender.flush(10)
    pieces = telegram.messages()[:-1]
    assert len(pieces) == 3
    assert " ".join(piece.text for piece in pieces).split() == text.replace("*", "").split()
    assert {_covered(piece.text, entity["offset"], entity["length"]) for piece in pieces for entity in piece.entities} == {"word"}
    assert [bool(piece.buttons) for piece in pieces] == [False, False, True]


def test_a_message_that_somebody_deleted_is_written_anew(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "working", slot="turn:1")])
    assert sender.flush(10)
    Client(telegram.token, telegram.url).delete(HOME, ledger.outbox.slot(HOME, "turn:1"))

    ledger.say([Reply(HOME, "answer", slot="turn:1")])

    assert sender.flush(10)
    assert bot(telegram) == ["answer"]
    assert ledger.outbox.slot(HOME, "turn:1") == (telegram.last().id,)


def test_a_lost_topic_does_not_lose_the_answer(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(Chat(-100, 99), "answer")])

    assert sender.flush(10)
    assert (telegram.last(-100).text, telegram.last(-100).topic) == ("answer", None)


def test_a_group_that_moved_gets_its_answer(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.add_group(-1009)
    telegram.fail("sendMessage", status=400, body={
        "ok": False, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": -1009},
    })

    ledger.say([Reply(GROUP, "answer")])

    assert sender.flush(10)
    assert bot(telegram, -1009) == ["answer"]


def test_messages_of_a_group_that_moved_are_not_looked_for_under_its_new_id(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    ledger.say([Reply(GROUP, "card", slot="card")])
    assert sender.flush(10)
    telegram.add_group(-1009)
    telegram.fail("editMessageText", status=400, body={
        "ok": False, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": -1009},
    })

    ledger.say([Reply(GROUP, "answer", slot="card")])

    assert sender.flush(10)
    assert bot(telegram, -1009) == ["answer"]
    assert [call.params["chat_id"] for call in telegram.calls if call.method != "sendMessage"] == ["-100"]


@pytest.mark.parametrize("status", [403, 400])
def test_a_dead_chat_holds_up_nobody(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    if status == 403:
        telegram.fail("sendMessage", status=403)

    ledger.say([Reply(Chat(77 if status == 400 else 42), "nobody hears it")])
    ledger.say([Reply(HOME, "heard")])

    assert sender.flush(10)
    assert bot(telegram) == ["heard"]
    assert "reply refused for good" in caplog.text


def test_a_press_is_answered(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "choose", STOP)])
    assert sender.flush(10)
    pressed = telegram.press(telegram.last().id, "Stop")

    sender.answer(pressed)

    telegram.wait(lambda t: pressed in t.answered)


def test_a_press_that_is_too_old_is_no_trouble(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    sender.answer("gone")

    ledger.say([Reply(HOME, "still here")])

    assert sender.flush(10)


def test_flush_says_when_not_everything_arrived(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", retry_after=2)

    ledger.say([Reply(HOME, "answer")])

    assert not sender.flush(0.2)
    assert not sender.idle()
    assert sender.flush(10)


def test_a_reply_is_visible_within_milliseconds(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "warm")])
    assert sender.flush(10)
    taken = []

    for n in range(30):
        begun = time.monotonic()
        ledger.say([Reply(HOME, f"number {n}")])
        telegram.wait(lambda t, n=n: t.last().text == f"number {n}")  # type: ignore[misc]
        taken.append(time.monotonic() - begun)

    assert sorted(taken)[15] < 0.05


# ── previews ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_preview_is_sent_once_silently_and_then_edited(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    picture = Picture(HOME, "turn:1", "one")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["one"])

    picture.become("one two")
    sender.show(picture)

    telegram.wait(lambda t: bot(t) == ["one two"])
    assert sender.flush(10)
    assert telegram.last().silent
    assert telegram.last().buttons
    assert ledger.outbox.slot(HOME, "turn:1") == (telegram.last().id,)


def test_a_preview_of_several_parts_moves_its_buttons_down(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    picture = Picture(HOME, "turn:1", "one")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["one"])

    picture.become("one", "two", "three")
    sender.show(picture)

    telegram.wait(lambda t: [bool(m.buttons) for m in t.messages()] == [False, False, True])
    assert bot(telegram) == ["one", "two", "three"]
    assert sender.flush(10)
    assert len(ledger.outbox.slot(HOME, "turn:1")) == 3


def test_a_final_edits_the_preview_and_ends_it(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    picture = Picture(HOME, "turn:1", "almost")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["almost"])

    ledger.say([Reply(HOME, "done", slot="turn:1", closing=True)])
    assert sender.flush(10)
    picture.become("too late")
    sender.show(picture)
    ledger.say([Reply(HOME, "more")])
    assert sender.flush(10)

    assert bot(telegram) == ["done", "more"]


def test_a_new_preview_may_use_the_slot_of_an_old_one(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "first", slot="turn", closing=True)])
    assert sender.flush(10)

    sender.show(Picture(HOME, "turn", "second"))

    telegram.wait(lambda t: bot(t) == ["first", "second"])


def test_only_the_newest_frame_is_drawn(telegram: LoopbackTelegram, ledger: Ledger) -> None:
    sender = Sender(Client(telegram.token, telegram.url), ledger.outbox, NO_GROUPS, ANY_FILE, interval=1.0, max_failures=3)
    sender.start()
    picture = Picture(HOME, "turn:1", "0")

    for n in range(1, 500):
        picture.become(str(n))
        sender.show(picture)

    telegram.wait(lambda t: bot(t) == ["499"])
    assert len(telegram.calls) <= 4
    sender.stop()


def test_a_final_does_not_wait_for_the_budget_of_previews(telegram: LoopbackTelegram, ledger: Ledger) -> None:
    sender = Sender(Client(telegram.token, telegram.url), ledger.outbox, NO_GROUPS, ANY_FILE, interval=60.0, max_failures=3)
    sender.start()
    picture = Picture(HOME, "turn:1", "0")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["0"])
    for n in range(1, 10):
        picture.become(str(n))
        sender.show(picture)

    ledger.say([Reply(HOME, "final", slot="turn:1")])

    assert sender.flush(5)
    assert bot(telegram) == ["final"]
    sender.stop()


def test_a_429_for_a_preview_quiets_it_and_delays_the_final(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", retry_after=1)
    picture = Picture(HOME, "turn:1", "one")
    sender.show(picture)
    telegram.wait(lambda t: any(call.status == 429 for call in t.calls))

    ledger.say([Reply(HOME, "final", slot="turn:1")])

    assert sender.flush(10)
    assert bot(telegram) == ["final"]
    assert telegram.calls[1].at - telegram.calls[0].at >= 1.0


def test_a_preview_that_keeps_failing_is_given_up_until_the_final(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    refusal = {"ok": False, "error_code": 400, "description": "Bad Request: no"}
    telegram.fail("sendMessage", status=400, body=refusal, times=3)
    picture = Picture(HOME, "turn:1", "one")
    sender.show(picture)
    telegram.wait(lambda t: sends(t) == 3)

    picture.become("two")
    sender.show(picture)
    ledger.say([Reply(GROUP, "elsewhere")])
    assert sender.flush(10)
    assert sends(telegram) == 4
    ledger.say([Reply(HOME, "final", slot="turn:1")])

    assert sender.flush(10)
    assert bot(telegram) == ["final"]


def test_a_preview_that_cannot_be_drawn_stops_nothing(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    broken = Broken(HOME, "turn:1", "one")
    sender.show(broken)
    assert all(broken.drawn.acquire(timeout=10) for _ in range(3))

    ledger.say([Reply(HOME, "final", slot="turn:1")])

    assert sender.flush(10)
    assert bot(telegram) == ["final"]


def test_an_open_preview_moves_by_itself(telegram: LoopbackTelegram, ledger: Ledger) -> None:
    ahead = [0.0]
    sender = Sender(
        Client(telegram.token, telegram.url), ledger.outbox, NO_GROUPS, ANY_FILE,
        interval=0.05, max_failures=3, now=lambda: time.monotonic() + ahead[0],
    )
    sender.start()
    picture = Picture(HOME, "turn:1", "1 s")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["1 s"])
    assert sender.flush(10)

    picture.become("11 s")
    ahead[0] = 10.5
    sender.answer("anything wakes it")

    telegram.wait(lambda t: bot(t) == ["11 s"])
    sender.stop()


def test_a_short_outage_does_not_end_a_preview(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", drop=True, times=2)

    sender.show(Picture(HOME, "turn:1", "one"))

    telegram.wait(lambda t: bot(t) == ["one"])
    assert telegram.calls[2].at - telegram.calls[0].at >= 0.1


def test_a_deleted_preview_begins_anew(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    picture = Picture(HOME, "turn:1", "one")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["one"])
    assert sender.flush(10)
    Client(telegram.token, telegram.url).delete(HOME, [telegram.last().id])

    picture.become("two")
    sender.show(picture)

    telegram.wait(lambda t: bot(t) == ["two"])


def test_a_preview_that_lost_one_of_its_messages_leaves_no_other_behind(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender
) -> None:
    picture = Picture(HOME, "turn:1", "one", "two", "three")
    sender.show(picture)
    telegram.wait(lambda t: bot(t) == ["one", "two", "three"])
    assert sender.flush(10)
    Client(telegram.token, telegram.url).delete(HOME, [telegram.messages(42)[0].id])

    picture.become("new one", "two", "three")
    sender.show(picture)

    telegram.wait(lambda t: bot(t) == ["new one", "two", "three"])


def test_one_call_is_in_flight_per_chat_and_chats_go_side_by_side(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    telegram.fail("sendMessage", hang=1.0, after=True, status=200, body={"ok": True, "result": {"message_id": 1, "text": "slow"}})

    ledger.say([Reply(HOME, "slow"), Reply(HOME, "behind")])
    telegram.wait(lambda t: sends(t) == 1)
    ledger.say([Reply(GROUP, "beside")])

    telegram.wait(lambda t: bot(t, -100) == ["beside"])
    assert bot(telegram) == ["slow"]
    assert sender.flush(10)
    assert bot(telegram) == ["slow", "behind"]


class FullOnce(Outbox):
    """An outbox whose disk is full when it is to note the first delivery."""

    full = True

    def delivered(self, outgoing: int, done: int, messages: Sequence[int]) -> None:
        if self.full:
            self.full = False
            raise sqlite3.OperationalError("database or disk is full")
        super().delivered(outgoing, done, messages)


def test_a_full_disk_sends_nothing_twice(telegram: LoopbackTelegram, tmp_path: Path) -> None:
    database = Database(tmp_path / "outbox.db", SCHEMA)
    outbox = FullOnce(database)
    with database.transaction() as cursor:
        stored = outbox.put(cursor, [Reply(HOME, "answer"), Reply(HOME, "next")])
    sender = Sender(Client(telegram.token, telegram.url), outbox, NO_GROUPS, ANY_FILE, interval=0.05, max_failures=3, pause=0.05)
    sender.start()

    outbox.announce(stored)

    assert sender.flush(10)
    assert bot(telegram) == ["answer", "next"]
    sender.stop()
    database.close()


def _covered(text: str, offset: int, length: int) -> str:
    return text.encode("utf-16-le")[2 * offset:2 * (offset + length)].decode("utf-16-le")
