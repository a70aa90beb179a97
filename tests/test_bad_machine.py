"""A Telegram, a disk and a clock that fail: what was accepted and what was answered arrives all the same, once there is a way."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ductor_lib.demo.state import Message
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.ledger import Ledger
from tests.fakes import OWNER, SOON, Bot
from tests.program import Program, configure, until

AGAIN = "(sent again: it is not known whether the first try arrived)"
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
LONG_WAIT = 30.0  # seconds; pauses after failures grow

Fault = Callable[[LoopbackTelegram, str], None]

FAULTS: dict[str, Fault] = {  # what goes wrong with a method
    "429": lambda telegram, method: telegram.fail(method, retry_after=1),
    "502 with HTML": lambda telegram, method: telegram.fail(method, status=502, body=HTML),
    "500": lambda telegram, method: telegram.fail(method, status=500),
    "dropped": lambda telegram, method: telegram.fail(method, drop=True),
    "dropped late": lambda telegram, method: telegram.fail(method, hang=0.5, drop=True),
    "nonsense": lambda telegram, method: telegram.fail(method, status=200, body="OK"),
}


def prompts(folder: Path) -> list[str]:
    return [json.loads(line)["prompt"] for line in (folder / "prompts.jsonl").read_text().splitlines()]


def answers(telegram: LoopbackTelegram, words: str) -> list[Message]:
    return [m for m in telegram.messages(OWNER) if f"You wrote:\n\n{words}" in m.text and not m.buttons]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["sendMessage", "editMessageText", "getUpdates"])
def test_an_answer_arrives_whatever_a_call_to_telegram_meets(method: str, fault: str, tmp_path: Path) -> None:
    with LoopbackTelegram() as telegram:
        FAULTS[fault](telegram, method)
        with Bot(tmp_path, telegram=telegram, streaming={"edit_interval_seconds": 0.1}) as bot:
            bot.say("hello")
            telegram.wait(lambda t: answers(t, "hello"), timeout=SOON)
            bot.settle()

            assert len(answers(telegram, "hello")) == 1
            assert bot.prompts() == ["hello"]


@pytest.mark.parametrize("after", [True, False], ids=["arrived", "lost"])
def test_an_answer_whose_sending_had_an_unknown_outcome_is_sent_again_once_and_says_so(after: bool, tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.app.ledger.say([Reply(Chat(OWNER), "warm-up")])
        bot.wait_for("warm-up")
        bot.telegram.fail("sendMessage", drop=True, after=after)

        bot.app.ledger.say([Reply(Chat(OWNER), "the news")])
        bot.wait_for(AGAIN)
        bot.settle()

        shown = [message for message in bot.shown() if "the news" in message.text]
        assert len(shown) == (2 if after else 1)
        assert [AGAIN in message.text for message in shown] == ([False, True] if after else [True])


def test_a_telegram_that_goes_away_for_a_while_gets_everything_afterwards_in_order(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        for method in ("sendMessage", "editMessageText"):
            bot.telegram.fail(method, status=502, body=HTML, times=2)
        for number in range(3):
            bot.say(f"number {number}")

        bot.telegram.wait(lambda t: answers(t, "number 2"), timeout=LONG_WAIT)
        bot.settle()

        shown = [m.text.split("number ")[1][0] for m in bot.shown() if "You wrote:" in m.text]
        assert shown == ["0", "1", "2"]
        assert bot.prompts() == ["number 0", "number 1", "number 2"]


# ── disk ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def full_disk(program: Program) -> Iterator[None]:
    """The ledger of the program cannot grow by a byte while the block runs."""
    log = program.folder / "home" / "ledger.db-wal"
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it has ended
            resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the limit of another process can be set on Linux only")


@linux_only
def test_an_answer_that_a_full_disk_refuses_is_kept_and_delivered_once_there_is_room(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with LoopbackTelegram() as telegram:
        configure(tmp_path, telegram)
        with Program(tmp_path) as program:
            telegram.say(f"[[scenario:hold file={gate}]] work")
            telegram.wait(lambda t: any("Holding" in m.text for m in t.messages(OWNER)), timeout=SOON)
            with full_disk(program):
                gate.touch()
                telegram.wait(lambda t: any("The answer is ready and kept in memory" in m.text for m in t.messages(OWNER)), timeout=SOON)
            telegram.wait(lambda t: any("Going on." in m.text and not m.buttons for m in t.messages(OWNER)), timeout=SOON)
            telegram.say("and now")
            telegram.wait(lambda t: answers(t, "and now"), timeout=SOON)

    assert prompts(tmp_path) == [f"[[scenario:hold file={gate}]] work", "and now"]


@linux_only
def test_a_message_that_comes_while_the_disk_is_full_stays_with_telegram_until_there_is_room(tmp_path: Path) -> None:
    with LoopbackTelegram() as telegram:
        configure(tmp_path, telegram)
        with Program(tmp_path) as program:
            telegram.say("before")
            telegram.wait(lambda t: answers(t, "before"), timeout=SOON)
            until(lambda: "reply delivered" in program.log, "the answer is booked")
            with full_disk(program):
                telegram.say("during")
                until(lambda: "updates cannot be stored, telegram keeps them" in program.log, "the disk is full")
                assert program.process.poll() is None
            telegram.wait(lambda t: answers(t, "during"), timeout=SOON)

    assert prompts(tmp_path) == ["before", "during"]


@linux_only
def test_a_program_that_ends_while_the_disk_is_full_offers_the_message_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with LoopbackTelegram() as telegram:
        configure(tmp_path, telegram)
        with Program(tmp_path) as program:
            telegram.say(f"[[scenario:hold file={gate}]] work")
            telegram.wait(lambda t: any("Holding" in m.text for m in t.messages(OWNER)), timeout=SOON)
            with full_disk(program):
                program.stop()
                assert program.wait() == 0

        with Program(tmp_path):
            telegram.wait(lambda t: any("/again" in str(m.buttons) for m in t.messages(OWNER)), timeout=SOON)


# ── clock ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("days", [30, -30], ids=["it was ahead", "it was behind"])
def test_a_clock_that_was_wrong_in_the_last_run_loses_and_repeats_nothing(days: int, tmp_path: Path) -> None:
    wrong = time.time() + days * 86_400
    (tmp_path / "home").mkdir()
    earlier = Ledger(tmp_path / "home" / "ledger.db", now=lambda: wrong)
    with LoopbackTelegram() as telegram:
        done = telegram.say("answered in the last run")
        telegram.say("new")
        first = telegram.push({"poll": {}}) - 2
        [old, waits] = earlier.accept(
            [
                Incoming(f"update:{first}", Chat(OWNER), "answered in the last run", user=OWNER, message_id=done, sent_at=time.time()),
                Incoming("update:5", Chat(OWNER), "waits", user=OWNER, message_id=900, sent_at=time.time()),
            ],
            offset=first + 1,
        )
        earlier.begin(old.id)
        earlier.finish(old.id, [Reply(Chat(OWNER), "the old answer")])
        earlier.close()
        with Bot(tmp_path, telegram=telegram) as bot:
            for words in ("the old answer", "You wrote:\n\nwaits", "You wrote:\n\nnew"):
                bot.wait_for(words)
            bot.settle()

            assert sorted(bot.prompts()) == ["new", "waits"]
            assert waits.id != old.id


def test_messages_dated_in_the_future_are_answered_like_any_other(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.say("from tomorrow", date=time.time() + 86_400)

        bot.wait_for("You wrote:\n\nfrom tomorrow")
