"""The bot is killed at every point of a message's way. Afterwards nothing is lost, nothing runs twice, nothing is shown twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ductor_lib.cli import sweep
from ductor_lib.demo.state import Message
from ductor_lib.demo.telegram import LoopbackTelegram
from tests.fakes import OWNER, ROOT, SOON, Bot, is_running
from tests.program import agents

AGAIN = "(sent again: it is not known whether the first try arrived)"
REPORT = "It may be half done"
QUICK: dict[str, object] = {"edit_interval_seconds": 0.1}
PLAIN: dict[str, object] = {"edit_interval_seconds": 0.1, "mode": "off"}  # the preview is one line
RINGING: dict[str, object] = {"edit_interval_seconds": 0.1, "notify_after_seconds": 0}  # every answer is a new message
ECHO = "[[scenario:echo delay=0.01]] good morning"
WORDS = 1200
LONG = f"[[scenario:plain n={WORDS} delay=0]] tell me all"  # three messages
TOOL = "[[scenario:tool cmd='echo tool-ran']] work"
STUBBORN = "[[scenario:hang hard=1]] never ends, also when it is asked to"
SLEEP = "[[scenario:tool cmd='test -e gate || sleep 60; echo tool-ran']] work"  # ends at once when the gate is there


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as running:
        yield running


class Victim:
    """A bot in a process of its own, which dies at `point`."""

    def __init__(self, folder: Path, telegram: LoopbackTelegram, point: str, streaming: dict[str, object] = QUICK) -> None:
        self._said = folder / "stderr"
        with self._said.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash", str(folder), telegram.url, telegram.token, json.dumps({"streaming": streaming})],
                cwd=ROOT, env={"PATH": "/usr/bin:/bin", "CRASH_AT": point, "HOME": str(folder)}, stderr=stderr,
            )

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self) -> None:
        """Wait for its death."""
        try:
            code = self._process.wait(SOON)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError("the point was never reached") from None
        assert code == -signal.SIGKILL, self._said.read_text()


def final(bot: Bot, words: str) -> list[Message]:
    return [message for message in bot.shown() if words in message.text and not is_running(message) and REPORT not in message.text]


def offers(telegram: LoopbackTelegram) -> list[Message]:
    """The messages that offer to run an interrupted prompt again."""
    return [m for m in telegram.messages(OWNER) if any(button["text"] == "Run again" for row in m.buttons for button in row)]


def asked(bot: Bot) -> Message:
    """The one that can be trusted to be there; another one may be a first try of unknown outcome."""
    bot.telegram.wait(offers, timeout=SOON, what="Run again")
    bot.settle()
    found = offers(bot.telegram)
    assert len([message for message in found if AGAIN not in message.text]) <= 1
    assert len(found) <= 2
    assert REPORT in found[-1].text
    return found[-1]


def check_shown_once(bot: Bot, words: str) -> None:
    bot.settle()
    shown = final(bot, words)
    assert shown
    assert len([message for message in shown if AGAIN not in message.text]) <= 1
    assert len(shown) <= 2


def check_alive(bot: Bot) -> None:
    """The next message is answered, and nothing of the accident goes on."""
    bot.say("are you there")
    bot.wait_for("You wrote:\n\nare you there")
    bot.settle()
    assert bot.prompts().count("are you there") == 1
    assert not any("waiting" in message.text for message in bot.shown())


@dataclass(frozen=True)
class Case:
    """A point, the prompt that is on its way, and the words its answer has."""

    point: str
    prompt: str = ECHO
    words: str = "You wrote:\n\ngood morning"
    streaming: dict[str, object] = field(default_factory=lambda: QUICK)


ANSWERED = [  # it had not begun, or its answer was stored: the answer comes by itself
    Case("accept:open"),
    Case("accept:done"),
    Case("begin:open"),
    Case("finish:done"),
    Case("final edit:before"),
    Case("final edit:after"),
    Case("delivered:open"),
    Case("delivered:done"),
    Case("close:open"),
    Case("close:done"),
    Case("claim:open", streaming=RINGING),
    Case("claim:done", streaming=RINGING),
    Case("final send:before", streaming=RINGING),
    Case("final send:after", streaming=RINGING),
    Case("delete:before", streaming=RINGING),
    Case("delete:after", streaming=RINGING),
]
ASKED = [  # it had begun: a person decides
    Case("begin:done"),
    Case("turn"),
    Case("Started"),
    Case("preview send:before"),
    Case("preview send:after"),
    Case("preview edit:before"),
    Case("preview edit:after"),
    Case("Text#3"),
    Case("Tool", SLEEP, "The tool said: tool-ran"),
    Case("ToolDone", TOOL, "The tool said: tool-ran"),
    Case("Finished"),
    Case("finish:open"),
]


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.point)
def test_killed_before_the_turn_or_after_its_end_the_message_is_answered_and_runs_once(
    case: Case, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    telegram.say(case.prompt)
    Victim(tmp_path, telegram, case.point, case.streaming).wait()

    with Bot(tmp_path, telegram=telegram, streaming=case.streaming) as bot:
        bot.wait_for(case.words)
        check_shown_once(bot, case.words)
        assert bot.prompts() == [case.prompt]
        check_alive(bot)


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case.point)
def test_killed_in_the_turn_the_message_is_reported_and_runs_again_only_when_asked(
    case: Case, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    telegram.say(case.prompt)
    Victim(tmp_path, telegram, case.point, case.streaming).wait()

    with Bot(tmp_path, telegram=telegram, streaming=case.streaming) as bot:
        before = bot.prompts()
        report = asked(bot)
        check_alive(bot)
        assert bot.prompts() == [*before, "are you there"]
        assert len(before) <= 1
        (bot.paths.workspace / "gate").touch()
        telegram.press(report.id, "Run again")
        bot.wait_for(case.words)
        check_shown_once(bot, case.words)
        assert bot.prompts() == [*before, "are you there", case.prompt]


@pytest.mark.parametrize("point", ["begin:done", "Started", "Finished"])
def test_a_message_that_is_forgotten_does_not_run(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    telegram.say(ECHO)
    Victim(tmp_path, telegram, point).wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        before = bot.prompts()
        telegram.press(asked(bot).id, "Forget")
        bot.wait_for("Forgotten.")
        bot.restart()
        check_alive(bot)
        assert bot.prompts() == [*before, "are you there"]
        assert not offers(telegram)


PARTS = [  # the first part takes the preview's place, or all of them are new
    Case("delivered:open#2", LONG, streaming=PLAIN),
    Case("delivered:done#2", LONG, streaming=PLAIN),
    Case("claim:done", LONG, streaming=PLAIN),
    Case("final send:before", LONG, streaming=PLAIN),
    Case("final send:after", LONG, streaming=PLAIN),
    Case("delivered:done#2", LONG, streaming=RINGING),
    Case("final send:before#2", LONG, streaming=RINGING),
    Case("final send:after#2", LONG, streaming=RINGING),
]


@pytest.mark.parametrize("case", PARTS, ids=lambda case: case.point)
def test_an_answer_of_three_parts_is_whole_after_a_kill_between_them(case: Case, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    telegram.say(case.prompt)
    Victim(tmp_path, telegram, case.point, case.streaming).wait()

    with Bot(tmp_path, telegram=telegram, streaming=case.streaming) as bot:
        bot.wait_for(f"word{WORDS - 1}")
        bot.settle()
        assert len(bot.shown()) in (3, 4)
        everything = Counter(re.findall(r"word\d+", " ".join(message.text for message in bot.shown())))
        unmarked = Counter(re.findall(r"word\d+", " ".join(message.text for message in bot.shown() if AGAIN not in message.text)))
        assert set(everything) == {f"word{k}" for k in range(WORDS)}
        assert set(unmarked.values()) == {1}
        assert bot.prompts() == [LONG]


@pytest.mark.parametrize("point", ["card send:before", "card send:after", "card edit:before", "card edit:after"])
def test_killed_while_the_card_is_drawn_the_waiting_messages_are_answered(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    gate = tmp_path / "gate"
    held = f"[[scenario:hold file={gate}]] hold"
    telegram.say(held)
    victim = Victim(tmp_path, telegram, point)
    telegram.wait(lambda t: any("Holding" in m.text for m in t.messages(OWNER)), timeout=SOON)
    telegram.say("second")
    if "edit" in point:
        telegram.wait(lambda t: any("1 message waiting" in m.text for m in t.messages(OWNER)), timeout=SOON)
    telegram.say("third")
    victim.wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        bot.wait_for("You wrote:\n\nsecond")
        bot.wait_for("You wrote:\n\nthird")
        report = asked(bot)
        if point != "card send:after":  # then nobody knows the card's number
            assert not any("waiting" in message.text for message in bot.shown())
        gate.touch()
        telegram.press(report.id, "Run again")
        bot.wait_for("Going on.")
        assert bot.prompts() == [held, "second", "third", held]


@pytest.mark.parametrize("point", ["shutdown", "finish:open", "finish:done", "agents:before", "agents:after", "final edit:after"])
def test_killed_while_it_shuts_down_the_running_message_is_offered_again(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    gate = tmp_path / "gate"
    held = f"[[scenario:hold file={gate}]] hold"
    telegram.say(held)
    victim = Victim(tmp_path, telegram, point)
    telegram.wait(lambda t: any("Holding" in m.text for m in t.messages(OWNER)), timeout=SOON)
    victim.terminate()
    victim.wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        report = asked(bot)
        check_alive(bot)
        gate.touch()
        telegram.press(report.id, "Run again")
        bot.wait_for("Going on.")
        check_shown_once(bot, "Going on.")
        assert bot.prompts() == [held, "are you there", held]


@pytest.mark.parametrize("point", ["interrupt:open", "interrupt:done", "lanes", "report send:before", "report send:after"])
def test_killed_while_it_recovers_it_recovers_the_next_time(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    telegram.say(ECHO)
    Victim(tmp_path, telegram, "Started").wait()
    Victim(tmp_path, telegram, point).wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        report = asked(bot)
        check_alive(bot)
        telegram.press(report.id, "Run again")
        bot.wait_for("You wrote:\n\ngood morning")
        check_shown_once(bot, "You wrote:\n\ngood morning")
        assert bot.prompts() == [ECHO, "are you there", ECHO]


@pytest.mark.parametrize("point", ["again:open", "again:done", "begin:open", "begin:done"])
def test_killed_after_run_again_was_pressed_the_wish_is_kept(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    telegram.say(ECHO)
    Victim(tmp_path, telegram, "Started").wait()
    victim = Victim(tmp_path, telegram, point)
    telegram.press(telegram.wait(offers, timeout=SOON)[0].id, "Run again")
    victim.wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        if point == "begin:done":
            telegram.press(asked(bot).id, "Run again")
        bot.wait_for("You wrote:\n\ngood morning")
        check_shown_once(bot, "You wrote:\n\ngood morning")
        check_alive(bot)
        assert bot.prompts() == [ECHO, ECHO, "are you there"]


@pytest.mark.parametrize("point", ["forget:open", "forget:done", "finish:open", "finish:done"])
def test_killed_after_forget_was_pressed_nothing_runs(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    telegram.say(ECHO)
    Victim(tmp_path, telegram, "Started").wait()
    victim = Victim(tmp_path, telegram, point)
    telegram.press(telegram.wait(offers, timeout=SOON)[0].id, "Forget")
    victim.wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        check_alive(bot)
        assert bot.prompts() == [ECHO, "are you there"]
        telegram.wait(lambda t: not offers(t), timeout=SOON, what="the question is answered")


@pytest.mark.parametrize("point", ["accept:done", "hold:open", "hold:done", "say:open", "say:done"])
def test_killed_before_it_could_ask_about_an_old_message_it_asks_the_next_time(
    point: str, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    telegram.say("from yesterday", date=time.time() - 80_000)
    Victim(tmp_path, telegram, point).wait()

    with Bot(tmp_path, telegram=telegram, streaming=QUICK) as bot:
        card = bot.wait_for("1 message came while I was away")
        check_alive(bot)
        telegram.press(card.id, "Run in order")
        bot.wait_for("You wrote:\n\nfrom yesterday")
        assert bot.prompts() == ["are you there", "from yesterday"]


@pytest.mark.skipif(not sweep.BY_ENVIRONMENT, reason="this system does not show environments")
@pytest.mark.parametrize(("point", "prompt"), [("Started", STUBBORN), ("Tool", SLEEP)], ids=["stubborn", "tool"])
def test_no_agent_of_the_last_run_is_left_when_the_lanes_open(
    point: str, prompt: str, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    telegram.say(prompt)
    Victim(tmp_path, telegram, point).wait()
    before = agents(tmp_path)

    Victim(tmp_path, telegram, "lanes").wait()

    assert before
    assert agents(tmp_path) == []
