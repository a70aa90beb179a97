"""What was accepted of jobs and hooks is answered or reported, whatever people, files and disks do meanwhile."""

from __future__ import annotations

import json
import queue
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ductor_lib.automation.books import JobBook
from ductor_lib.automation.cron import Cron
from ductor_lib.automation.definitions import Job
from ductor_lib.automation.losses import Losses
from ductor_lib.config import defaults
from ductor_lib.demo.state import Message
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator import prompts
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import DETAIL_CHARS, Order, Run
from ductor_lib.paths import Paths
from tests.automation import NO_CLAUDE, SIGNED_OUT, bot_with, ended, free_port, hook, job, post, prompted, results, run_now, runs, saying
from tests.fakes import OWNER
from tests.program import until

TINY = {"daily_usd": 0.000001}
PARTNER = 43
NOON, MINUTE = datetime(2026, 3, 2, 12, tzinfo=UTC), timedelta(minutes=1)


def test_slash_stop_leaves_the_question_about_a_hook_that_the_limit_stopped(tmp_path: Path) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook(mode="wake", prompt_template="look")], port=port, limits=TINY) as bot:
        bot.say("hello")
        bot.wait_for("You wrote:\n\nhello")
        assert post(port, "push", {}) == 202
        until(lambda: len(_questions(bot.shown())) == 1, "the hook's question")
        bot.say("and this")
        until(lambda: len(_questions(bot.shown())) == 2, "both questions")

        bot.say("/stop")
        bot.wait_for("1 waiting message dropped")
        bot.settle()
        (question,) = _questions(bot.shown())
        bot.telegram.press(question.id, "Go on today")

        assert ended(bot, "push", "hook") == ["success"]


def _questions(messages: list[Message]) -> list[Message]:
    return [message for message in messages if "have not begun this message" in message.text]


def test_a_run_that_one_conversation_has_answered_stays_a_success_when_another_one_s_part_runs_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    wanted = Order(chats=("chat:42", "chat:43")).pack()
    items = [Incoming(f"k:{chat}", Chat(chat), "look", kind="wake") for chat in (OWNER, PARTNER)]
    number, stored = ledger.runs.add(Run("k", "hook", "push", "Push", wanted, 0.0), items)
    for item, (status, state) in zip(stored, (("success", "done"), ("error:interrupted", "interrupted")), strict=True):
        ledger.begin(item.id)
        ledger.finish(item.id, state=state, result=(status, ""))

    assert ledger.again(stored[1].id, Chat(PARTNER))
    ledger.finish(stored[1].id, result=("error:exit_1", ""))

    found = ledger.runs.get(number)
    assert found is not None
    assert found.status == "success"
    ledger.close()


def test_of_a_long_reminder_the_history_keeps_the_beginning(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")

    number, _ = ledger.runs.add(Run("k", "job", "r", "R", Order().pack(), 0.0, "success", "x" * 100_000))

    found = ledger.runs.get(number)
    assert found is not None
    assert len(found.detail) == DETAIL_CHARS
    ledger.close()


@pytest.mark.parametrize(("command", "status"), [(NO_CLAUDE, "error:cli_not_found_claude"), (SIGNED_OUT, "error:not_signed_in")])
def test_the_status_of_a_hook_that_nobody_can_answer_says_why(tmp_path: Path, command: tuple[str, ...], status: str) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook(mode="wake")], port=port, command=command) as bot:
        assert post(port, "push", {}) == 202

        assert ended(bot, "push", "hook") == [status]
        assert runs(bot, "push", "hook")[0].detail


# ── where it goes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_meant_for_a_chat_that_is_not_on_the_list_goes_to_all_allowed_users(tmp_path: Path) -> None:
    port = free_port()
    hooks = [hook(mode="wake", chat="-1009:5", prompt_template="look")]
    with bot_with(tmp_path, job(chat="777"), hooks=hooks, port=port, allowed_user_ids=[OWNER, PARTNER]) as bot:
        for user in (OWNER, PARTNER):
            bot.say("/start", user=user, chat=user)

        assert run_now(bot) == ["success"]
        assert post(port, "push", {}) == 202
        assert ended(bot, "push", "hook") == ["success"]

        for user in (OWNER, PARTNER):
            assert len(results(bot, chat=user)) == 1
            bot.wait_for("HOOK: Push", chat=user)


def test_a_hook_of_a_group_that_was_upgraded_wakes_the_conversation_under_its_new_id(tmp_path: Path) -> None:
    port = free_port()
    state = {"migrated": {"-5": -1005}}
    (tmp_path / "home" / "config").mkdir(parents=True)
    Paths(tmp_path / "home").state.write_text(json.dumps(state))
    hooks = [hook(mode="wake", chat="-5", prompt_template="look")]
    with bot_with(tmp_path, hooks=hooks, port=port, allowed_group_ids=[-5]) as bot:
        bot.say("hello", chat=-1005)
        bot.wait_for("hello", chat=-1005)

        assert post(port, "push", {}) == 202
        assert ended(bot, "push", "hook") == ["success"]

        assert len({prompt["session_id"] for prompt in prompted(tmp_path)}) == 1


# ── how much of it ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_results_of_many_days_leave_room_for_the_words_of_the_next_message() -> None:
    notes = [f"result {number} {'x' * 20_000}" for number in range(300)]

    prompt = prompts.with_notes("and now?", notes)

    assert len(prompt) < prompts.NOTES_CHARS + 1_000
    assert prompt.startswith("(ductor: older results are left out here, because there were many: 296)")
    assert "result 299" in prompt
    assert "result 295" not in prompt
    assert prompt.endswith("and now?")


def test_of_one_long_result_a_conversation_is_told_the_beginning(tmp_path: Path) -> None:
    say = "[[scenario:say text='" + "word " * 8_000 + "end']]"
    with bot_with(tmp_path, job(agent_instruction=say, into_session=True), command=saying(tmp_path)) as bot:
        assert run_now(bot) == ["success"]
        bot.say("what was it?")
        until(lambda: len(prompted(tmp_path)) == 2, "the prompt of the message")

        told = str(prompted(tmp_path)[-1]["prompt"])
        assert len(told) < 21_000
        assert "… (cut)" in told
        assert told.endswith("what was it?")


# ── a full disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reminder_whose_moment_meets_a_full_disk_is_said_once_there_is_room(tmp_path: Path) -> None:
    ledger, book = Ledger(tmp_path / "ledger.db"), JobBook(tmp_path / "cron_jobs.json")
    book.add(Job(id="call", title="Call", at=(NOON + MINUTE).isoformat(), message="call " * 20_000))
    now = [NOON]
    cron = Cron(defaults(allowed_user_ids=(OWNER,), user_timezone="UTC"), book, ledger, queue.SimpleQueue(), now=lambda: now[0].timestamp())
    cron.catch_up()
    cron.tick()
    _limit(ledger, pages=0)

    now[0] = NOON + MINUTE
    cron.tick()
    cron.tick()
    said = ledger.outbox.unsent()
    _limit(ledger, pages=10_000)
    now[0] += 10 * MINUTE
    cron.tick()
    cron.tick()

    assert said == []
    assert len(ledger.outbox.unsent()) == 1
    assert [run.status for run in ledger.runs.history("job", "call")] == ["success"]
    assert book.all() == ()
    ledger.close()


def test_a_job_made_up_for_was_due_while_nobody_watched_and_not_while_it_was_switched_off(tmp_path: Path) -> None:
    now = [NOON]
    settings = defaults(allowed_user_ids=(OWNER,), user_timezone="UTC")
    ledger, book = Ledger(tmp_path / "ledger.db"), JobBook(tmp_path / "cron_jobs.json")
    made = (NOON - timedelta(days=7)).isoformat()
    work = {"schedule": "0 13 * * *", "task_folder": "w", "agent_instruction": "x", "missed": "once", "created_at": made}
    book.add(Job(id="report", title="Report", enabled=False, **work))  # type: ignore[arg-type]

    def start() -> Cron:
        cron = Cron(settings, book, ledger, queue.SimpleQueue(), now=lambda: now[0].timestamp())
        cron.catch_up()
        return cron

    def keys() -> list[str]:
        return [run.key.removeprefix("job:report:") for run in ledger.runs.history("job", "report")]

    cron = start()
    for _ in range(3):
        cron.tick()
        now[0] += timedelta(hours=1)
    book.edit("report", {"enabled": True})
    cron.tick()
    start()
    assert keys() == []

    now[0] += timedelta(days=1)
    start()
    assert keys() == ["2026-03-03T13:00+00:00"]
    ledger.close()


def _limit(ledger: Ledger, *, pages: int) -> None:
    """Let the ledger grow by that many pages and no further: the smallest disk there is."""
    database = ledger._database
    with database._lock:
        used = database._connection.execute("PRAGMA page_count").fetchone()[0]
        database._connection.execute(f"PRAGMA max_page_count = {used + pages}")


# ── chats that take nothing ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_owner_hears_of_results_that_telegram_delivers_to_nobody(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(chat="43"), allowed_user_ids=[OWNER, PARTNER]) as bot:  # who has never written to the bot
        losses = Losses(bot.app.ledger, Chat(OWNER))
        for _ in range(2):
            assert run_now(bot) == ["success"] * len(runs(bot))
            until(lambda: bot.app.ledger.outbox.lost(), "the refusal")
            losses.look()
        bot.settle()

        told = [message.text for message in bot.shown() if "does not deliver" in message.text]
        assert len(told) == 1
        assert "43: 1 message, 400 Bad Request: chat not found" in told[0]
        assert bot.app.ledger.outbox.lost() == []


def test_a_loss_in_the_owner_s_own_chat_is_not_told_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.say([Reply(Chat(OWNER), "hello")])
    ledger.outbox.close(1, "dead", "403 Forbidden: bot was blocked by the user")

    Losses(ledger, Chat(OWNER)).look()

    assert ledger.outbox.lost() == []
    assert ledger.outbox.unsent() == []
    ledger.close()


def test_a_reminder_says_its_words_as_they_were_written(tmp_path: Path) -> None:
    words = "look at *.py and my_own_file, `a` <b>"
    reminder: dict[str, object] = {"id": "look", "title": "Look", "at": "2026-03-02T12:00:00+00:00", "message": words}
    with bot_with(tmp_path, reminder) as bot:
        found = bot.wait_for("⏰ look at")

        assert found.text == f"⏰ {words}"
