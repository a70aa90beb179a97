"""The bot is killed at every point of a job's way. Afterwards it has run once, or a person is asked whether it shall run again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ductor_lib.demo.state import Message
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from tests.automation import ended, runs, write
from tests.fakes import OWNER, Bot
from tests.program import until
from tests.test_kill_matrix import AGAIN, Victim, check_alive, offers

WORDS = "do the work"
KINDS: dict[str, dict[str, object]] = {  # what is due once, and what its answer begins with
    "task": {"task_folder": "work", "agent_instruction": WORDS, "model": "sonnet"},
    "wake": {"message": WORDS, "ask": True, "chat": str(OWNER)},
}


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as running:
        yield running


def prepare(folder: Path, fields: dict[str, object]) -> None:
    """A home whose job became due a minute ago, so that the next start runs it."""
    (folder / "home" / "workspace" / "cron_tasks" / "work").mkdir(parents=True)
    moment = datetime.now(UTC) - timedelta(minutes=1)
    write(folder, "jobs", [{"id": "report", "title": "Report", "at": moment.isoformat(timespec="seconds"), **fields}])


def final(bot: Bot) -> list[Message]:
    return [message for message in bot.shown() if message.text.removeprefix(f"{AGAIN}\n\n").startswith("TASK: Report")]


def check_answered_once(bot: Bot) -> None:
    bot.settle()
    shown = final(bot)
    assert len([message for message in shown if AGAIN not in message.text]) <= 1
    assert 1 <= len(shown) <= 2
    assert all(WORDS in message.text for message in shown)


def asked(bot: Bot) -> Message:
    bot.telegram.wait(offers, what="Run again")
    bot.settle()
    [found] = offers(bot.telegram)
    assert WORDS in found.text
    return found


def prompts(bot: Bot) -> int:
    return sum(prompt.startswith(WORDS) for prompt in bot.raw_prompts())


ANSWERED = [("task", "add:open"), ("task", "add:done"), ("task", "begin:open"), ("task", "finish:done"), ("wake", "add:done")]
ASKED = [("task", "begin:done"), ("task", "Started"), ("task", "Finished"), ("task", "finish:open"), ("wake", "Started")]


@pytest.mark.parametrize(("kind", "point"), ANSWERED)
def test_killed_before_a_run_has_begun_or_after_its_end_it_has_run_once(
    kind: str, point: str, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    prepare(tmp_path, KINDS[kind])
    Victim(tmp_path, telegram, point).wait()

    with Bot(tmp_path, telegram=telegram, user_timezone="UTC") as bot:
        bot.wait_for("TASK: Report")
        assert ended(bot) == ["success"]
        check_answered_once(bot)
        check_alive(bot)
        assert prompts(bot) == 1


@pytest.mark.parametrize(("kind", "point"), ASKED)
def test_killed_in_a_run_it_is_reported_and_runs_again_as_it_was_and_only_when_asked(
    kind: str, point: str, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    prepare(tmp_path, KINDS[kind])
    Victim(tmp_path, telegram, point).wait()
    write(tmp_path, "jobs", [])

    with Bot(tmp_path, telegram=telegram, user_timezone="UTC") as bot:
        before = prompts(bot)
        question = asked(bot)
        assert [run.status for run in runs(bot)] == ["error:interrupted"]
        check_alive(bot)
        assert prompts(bot) == before <= 1
        telegram.press(question.id, "Run again")
        until(lambda: runs(bot)[0].status == "success", "the second run")
        check_answered_once(bot)
        assert prompts(bot) == before + 1


@pytest.mark.parametrize("point", ["add:open", "add:done", "final send:before"])
def test_killed_around_the_row_of_a_reminder_it_is_said_and_gone(point: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    prepare(tmp_path, {"message": "call the bank"})
    Victim(tmp_path, telegram, point).wait()

    with Bot(tmp_path, telegram=telegram, user_timezone="UTC") as bot:
        bot.wait_for("⏰ call the bank")
        assert ended(bot) == ["success"]
        assert len([m for m in bot.shown() if "call the bank" in m.text and AGAIN not in m.text]) <= 1
        assert "report" not in bot.paths.cron_jobs.read_text()


@pytest.mark.parametrize("running", [True, False], ids=["running", "waiting"])
def test_a_heartbeat_that_a_kill_cut_off_is_forgotten_without_a_word(running: bool, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    ledger = Ledger(tmp_path / "home" / "ledger.db")
    [beat] = ledger.accept([Incoming("heartbeat:chat:42:1", Chat(OWNER), "anything?", kind="heartbeat")])
    if running:
        ledger.begin(beat.id)
    ledger.close()

    with Bot(tmp_path) as bot:
        bot.say("hello")
        bot.wait_for("You wrote:\n\nhello")
        bot.settle()

        assert bot.prompts() == ["hello"]
        assert len(bot.shown()) == 1
