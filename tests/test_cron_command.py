"""/cron through the whole bot: what the panel shows, and what every button and typed form of it does."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ductor_lib.automation.books import JobBook
from ductor_lib.demo.state import Message
from ductor_lib.orchestrator.runs import Order, Run
from tests.fakes import OWNER, SOON, Bot

ZONE = "Europe/Berlin"
HOUR = 3600.0


def job(id: str, **fields: object) -> dict[str, object]:
    """A job as it stands in the file."""
    usual = {"title": id.replace("-", " ").title(), "schedule": "0 9 * * *", "task_folder": "work", "agent_instruction": "do the work"}
    return {"id": id, **usual, "created_at": datetime.now(UTC).isoformat(), **fields}


def reminder(id: str, **fields: object) -> dict[str, object]:
    return {"id": id, "title": id.title(), "at": "2099-12-24T18:00:00+01:00", "message": "sing", "chat": str(OWNER), **fields}


def bot_with(folder: Path, *jobs: dict[str, object], **overrides: object) -> Bot:
    """A bot whose home has these jobs from the beginning."""
    (folder / "home" / "workspace" / "cron_tasks" / "work").mkdir(parents=True)
    (folder / "home" / "cron_jobs.json").write_text(json.dumps({"jobs": jobs}))
    return Bot(folder, user_timezone=ZONE, **overrides)  # type: ignore[arg-type]


def labels(message: Message) -> list[str]:
    return [str(button["text"]) for row in message.buttons for button in row]


def panel(bot: Bot, words: str, *, without: str = "\0") -> Message:
    """The panel as it is when it shows these words."""

    def shown(_: object) -> Message | None:
        return next((message for message in bot.shown() if words in message.text and without not in message.text), None)

    found = bot.telegram.wait(shown, timeout=SOON, what=f"a panel with {words}")
    assert isinstance(found, Message)
    return found


def typed(bot: Bot, words: str, answer: str) -> Message:
    bot.say(f"/cron {words}".strip())
    return panel(bot, answer)


def pressed(bot: Bot, message: Message, label: str, answer: str) -> Message:
    bot.telegram.press(message.id, label)
    changed = panel(bot, answer)
    assert changed.id == message.id  # everything happens in one message
    return changed


def enabled(bot: Bot) -> dict[str, bool]:
    return {entry["id"]: entry.get("enabled", True) for entry in json.loads(bot.paths.cron_jobs.read_text())["jobs"]}


def ran(bot: Bot, name: str, status: str, detail: str = "", *, ago: float = 2 * HOUR) -> None:
    """Put a run into the books."""
    key = f"job:{name}:{status}:{ago}"
    bot.app.ledger.runs.add(Run(key, "job", name, name, Order(chats=(f"chat:{OWNER}",)).pack(), time.time() - ago, status, detail))


def test_without_jobs_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        said = typed(bot, "", "There are no jobs yet").text

    assert "every day at 9" in said
    assert "ductor cron add" in said
    assert "/remind 2h" in said


def test_the_list_tells_state_next_run_and_last_result(tmp_path: Path) -> None:
    never = job("asleep", schedule="0 0 1 1 *", enabled=False)
    with bot_with(tmp_path, reminder("carols"), job("report"), never, job("mails"), job("backup")) as bot:
        ran(bot, "report", "success", "All is well")
        ran(bot, "mails", "error:timeout")
        ran(bot, "backup", "skipped:quiet_hours")

        said = typed(bot, "", "Jobs (times of Europe/Berlin)")

    lines = said.text.splitlines()[1:]
    assert lines[0].startswith("● Report – to")
    assert lines[0].endswith(" 09:00 – ✅ success 0 s ago")
    assert lines[1] == "○ Asleep – off"
    assert lines[2].endswith("– ⚠️ error:timeout 0 s ago")
    assert lines[3].endswith("– 🌙 skipped:quiet_hours 0 s ago")
    assert lines[4] == "● ⏰ Carols – 24 Dec 2099 18:00"
    assert labels(said) == ["● Report", "○ Asleep", "● Mails", "● Backup", "● ⏰ Carols", "All off", "All on"]


def test_next_runs_are_told_by_the_clock_of_the_user(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("far", schedule="0 9 * * *", timezone="Asia/Tokyo")) as bot:
        said = typed(bot, "show far", "Schedule 0 9 * * *, Asia/Tokyo").text

    assert said.count(" 01:00") + said.count(" 02:00") == 3  # 9 in Tokyo is 1 or 2 in Berlin


def test_many_jobs_are_turned_page_by_page_and_back_leads_to_the_page(tmp_path: Path) -> None:
    with bot_with(tmp_path, *(job(f"job-{number:02}") for number in range(14))) as bot:
        first = typed(bot, "", "page 1 of 3")
        assert labels(first)[-3:] == ["● Job 05", "Next ›", "All off"]
        second = pressed(bot, first, "Next ›", "page 2 of 3")
        assert labels(second)[6:8] == ["‹ Previous", "Next ›"]
        last = pressed(bot, second, "Next ›", "page 3 of 3")
        assert labels(last) == ["● Job 12", "● Job 13", "‹ Previous", "All off"]

        pressed(bot, last, "● Job 13", "job-13")
        assert "Job 12" in pressed(bot, last, "‹ Back", "page 3 of 3").text
        assert "page 3 of 3" in typed(bot, "page 99", "page 3 of 3").text
        assert "page 1 of 3" in typed(bot, "page x", "page 1 of 3").text


def test_a_card_tells_all_about_a_job(tmp_path: Path) -> None:
    whole = job(
        "report", title="Morning *report*", description="What is new", schedule="30 7 * * 1-5", timezone="Europe/Berlin", provider="claude",
        model="haiku", reasoning_effort="", quiet_start=21, quiet_end=6, dependency="repos", silent_when="NOTHING", into_session=True,
        missed="once", cli_parameters=["--add-dir", "/x"], chat="-100:7",
    )  # fmt: skip
    with bot_with(tmp_path, whole) as bot:
        for number in range(7):
            ran(bot, "report", "success", f"Result {number}\nand more", ago=number)

        said = typed(bot, "report", "Morning *report*")

    for words in (
        "● Morning *report* report", "What is new", "Schedule 30 7 * * 1-5, Europe/Berlin", "07:30, ", "Quiet 21–6", "made up once",
        "Folder work", "Task do the work", "Agent Haiku (Claude Code)", "Parameters --add-dir /x", "Queue repos",
        "Result to chat:-100:7, as part of the conversation; nothing when it says NOTHING", "success 0 s ago: Result 6\n",
    ):  # fmt: skip
        assert words in said.text
    assert said.text.count("✅ success") == 5
    assert labels(said) == ["▶ Run now", "Turn off", "Log", "🗑 Remove", "‹ Back"]


def test_a_run_that_the_quiet_time_will_hold_back_is_marked(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("never", schedule="0 3 * * *", quiet_start=1, quiet_end=5)) as bot:
        assert typed(bot, "", "Never").text.endswith(" 03:00 🌙")

        card = typed(bot, "show never", "Schedule").text

    assert "Every run falls into the quiet time 1–5, so it will never run." in card
    assert card.count("03:00 🌙") == 3


def test_a_job_is_turned_off_and_on_in_its_card(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report")) as bot:
        first = typed(bot, "", "Report")

        card = pressed(bot, first, "● Report", "Schedule")
        off = pressed(bot, card, "Turn off", "It is off")
        assert enabled(bot) == {"report": False}
        assert "Off; it would run" in off.text
        on = pressed(bot, off, "Turn on", "It is on")

        assert enabled(bot) == {"report": True}
        assert "● Report" in labels(pressed(bot, on, "‹ Back", "Jobs ("))


@pytest.mark.parametrize("name", ["report", "REPORT", "daily rep", "Daily report"])
def test_a_typed_job_is_found_by_id_title_or_the_beginning_of_one(tmp_path: Path, name: str) -> None:
    with bot_with(tmp_path, job("report", title="Daily report"), job("other")) as bot:
        typed(bot, f"off {name}", "It is off")

        assert enabled(bot) == {"report": False, "other": True}


def test_words_that_name_no_job_change_nothing_and_are_answered_with_the_forms(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report-a"), job("report-b")) as bot:
        for words in ("off nothing", "off", "off report", "frobnicate", "yes remove nothing", "yes report-a", "yes", "log"):
            assert "Typed: /cron" in typed(bot, words, "There is no job").text

        assert enabled(bot) == {"report-a": True, "report-b": True}


def test_a_button_of_a_job_that_is_gone_touches_no_other(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report"), job("report-2")) as bot:
        asked = typed(bot, "remove report", "Remove Report for good?")
        JobBook(bot.paths.cron_jobs).remove("report")

        pressed(bot, asked, "🗑 Remove", "There is no job")

        assert list(enabled(bot)) == ["report-2"]


def test_a_job_is_removed_only_after_a_second_press(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report"), job("other")) as bot:
        card = typed(bot, "show report", "Schedule")

        asked = pressed(bot, card, "🗑 Remove", "Remove Report for good? Its folder cron_tasks/work stays.")
        assert set(enabled(bot)) == {"report", "other"}
        said = pressed(bot, asked, "🗑 Remove", "Report is removed. Its folder stays")

        assert set(enabled(bot)) == {"other"}
        assert labels(said) == ["● Other", "All off"]


def test_all_are_turned_off_and_on_after_a_question_but_no_reminder(tmp_path: Path) -> None:
    over = job("over", schedule="", at="2026-01-02T09:00:00+01:00", enabled=False)
    with bot_with(tmp_path, job("a"), job("b"), over, reminder("carols")) as bot:
        first = typed(bot, "", "Jobs (")
        asked = pressed(bot, first, "All off", "Turn off 2 jobs? Reminders stay as they are.")
        assert all(enabled(bot)[name] for name in "ab")
        off = pressed(bot, asked, "Turn off 2", "2 jobs turned off")
        assert enabled(bot) == {"a": False, "b": False, "over": False, "carols": True}
        assert labels(off)[-1] == "All on"

        asked = typed(bot, "on all", "Turn on 2 jobs?")
        pressed(bot, asked, "Turn on 2", "2 jobs turned on")

        assert enabled(bot) == {"a": True, "b": True, "over": False, "carols": True}
        typed(bot, "on all", "There is nothing to turn on")


def test_a_job_whose_only_moment_is_over_is_not_turned_on(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("over", schedule="", at="2026-01-02T09:00:00+01:00", enabled=False)) as bot:
        assert "ductor cron edit over" in typed(bot, "on over", "The moment of “Over” is past").text

        assert enabled(bot) == {"over": False}


def test_a_job_is_run_by_hand_also_when_it_is_off_and_its_log_tells_what_came_of_it(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report", enabled=False)) as bot:
        card = typed(bot, "show report", "Schedule")

        pressed(bot, card, "▶ Run now", "It is queued")
        bot.wait_for("TASK: Report")
        bot.settle()

        assert "do the work" in bot.prompts()[-1]
        assert "✅ success" in pressed(bot, card, "🔄 Refresh", "✅ success").text
        log = pressed(bot, card, "Log", "Report, the last run")
        assert "do the work" in log.text
        assert "The newest of these that said something" in log.text
        pressed(bot, card, "‹ Back", "Schedule")


def test_a_running_job_is_stopped_and_not_begun_twice(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report", agent_instruction="[[scenario:hang]] work")) as bot:
        card = typed(bot, "run report", "It is queued")
        bot.telegram.wait(lambda _: bot.prompts(), timeout=SOON)
        typed(bot, "run report", "It runs or waits for its turn already")
        assert "▶ running or waiting" in typed(bot, "", "Jobs (").text
        assert "What runs or waits goes on" in typed(bot, "off report", "It is off").text

        card = typed(bot, "stop report", "It is being stopped")

        bot.wait_for("TASK: Report")
        bot.settle()
        assert labels(pressed(bot, card, "🔄 Refresh", "error:stopped"))[0] == "▶ Run now"
        typed(bot, "stop report", "It is not running")
        assert len(bot.prompts()) == 1


def test_a_reminder_is_shown_and_said_by_hand(tmp_path: Path) -> None:
    with bot_with(tmp_path, reminder("carols", message="sing *loud*"), reminder("ask", ask=True)) as bot:
        card = typed(bot, "carols", "● ⏰ Carols")
        assert "Once 24 Dec 2099 18:00" in card.text
        assert "Says sing *loud*" in card.text
        assert "Result to this chat" in card.text

        pressed(bot, card, "▶ Run now", "Said.")

        bot.wait_for("⏰ sing")
        assert "To the agent of the conversation sing" in typed(bot, "ask", "● ⏰ Ask").text
        assert not bot.prompts()


def test_all_off_goes_past_a_job_with_a_mistake_and_names_it(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("good"), job("bad")) as bot:
        bot.paths.cron_jobs.write_text(json.dumps({"jobs": [job("good"), job("bad", schedule="99 9 * * *")]}))

        said = pressed(bot, typed(bot, "off all", "Turn off 2 jobs?"), "Turn off 2", "1 job turned off")

        assert "a mistake there: bad." in said.text
        assert enabled(bot) == {"good": False, "bad": True}


def test_while_the_file_is_damaged_the_panel_names_the_line_and_changes_nothing(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report")) as bot:
        bot.paths.cron_jobs.write_text('{"jobs": [\n}')

        said = typed(bot, "", "Jobs (")
        assert "line 2" in said.text
        assert "● Report" in labels(said)
        assert "line 2" in typed(bot, "off report", "Nothing was changed").text

        assert bot.paths.cron_jobs.read_text() == '{"jobs": [\n}'


def test_a_mistake_in_one_job_is_named_with_its_line(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report")) as bot:
        bot.paths.cron_jobs.write_text(json.dumps({"jobs": [job("report", schedule="99 9 * * *")]}, indent=1))

        assert 'cron_jobs.json line 6: schedule: "99 9 * * *" is not accepted' in typed(bot, "", "Jobs (").text


def test_what_a_run_has_said_is_shown_as_it_is(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("report")) as bot:
        ran(bot, "report", "success", "# not a heading\n**not bold** [button:No] `tick")

        said = typed(bot, "log report", "the last run")

        assert "# not a heading\n**not bold** [button:No] `tick" in said.text
        assert labels(said) == ["‹ Back"]


def test_an_id_that_is_too_long_for_a_button_works_all_the_same(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("a" * 64)) as bot:
        card = pressed(bot, typed(bot, "", "Jobs ("), "● " + ("a" * 64).title(), "Schedule")

        pressed(bot, card, "Turn off", "It is off")

        assert enabled(bot) == {"a" * 64: False}


def test_a_run_that_waits_for_its_turn_is_taken_back(tmp_path: Path) -> None:
    first = job("first", dependency="line", agent_instruction="[[scenario:hang]] work")
    with bot_with(tmp_path, first, job("second", dependency="line")) as bot:
        typed(bot, "run first", "It is queued")
        bot.telegram.wait(lambda _: bot.prompts(), timeout=SOON)
        typed(bot, "run second", "Second second")

        typed(bot, "stop second", "It had not begun, and will not")

        assert "🌙 skipped:cancelled" in typed(bot, "show second", "skipped").text
        typed(bot, "stop first", "It is being stopped")
        bot.settle()
        assert len(bot.prompts()) == 1


def test_a_disk_that_takes_nothing_is_named_and_costs_nothing(tmp_path: Path) -> None:
    with bot_with(tmp_path, job("a"), job("b")) as bot:
        bot.paths.cron_jobs.with_name("cron_jobs.json.tmp").mkdir()  # what is written first has no place

        assert "Nothing was changed" in typed(bot, "off a", "It cannot be stored").text
        asked = typed(bot, "off all", "Turn off 2 jobs?")
        pressed(bot, asked, "Turn off 2", "The jobs cannot be stored")

        assert enabled(bot) == {"a": True, "b": True}
