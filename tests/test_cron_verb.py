"""`ductor cron …` in a terminal: with a bot that serves requests, and without one."""

from __future__ import annotations

import argparse
import functools
import json
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ductor_lib.automation.books import JobBook
from ductor_lib.automation.operations import OPERATIONS
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.infra.lock import HomeLock
from ductor_lib.infra.requests import Requests
from ductor_lib.loop import Loop
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.paths import Paths
from ductor_lib.verbs import cleanup, cron, webhook
from ductor_lib.verbs.answers import spoken, table
from ductor_lib.verbs.offline import offline
from tests.command_line import CommandLine
from tests.fakes import OWNER, ROOT, SOON
from tests.program import Program, agents, configure, until

PAGES = ("docs/automation.md", "docs/modules/cron.md", "docs/modules/webhook.md", "docs/modules/cleanup.md",
         "ductor_lib/home/workspace/skills/ductor-automation/SKILL.md")  # fmt: skip
EXAMPLE = re.compile(r"^ *```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
NEWS = ("cron", "add", "--title", "Morning news", "--schedule", "0 7 * * 1-5", "--instruction", "Collect the news.")


@pytest.fixture
def ductor(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@contextmanager
def serving(paths: Paths) -> Iterator[list[str]]:
    """The request folder is served as the bot does it; yields the operations that were asked for."""
    asked: list[str] = []

    def operation(name: str, args: object) -> object:
        asked.append(name)
        return offline(paths, name, args)  # type: ignore[arg-type]

    requests = Requests(paths.requests, {name: functools.partial(operation, name) for name in OPERATIONS})  # type: ignore[misc]
    pause = threading.Event()
    loop = Loop("requests", lambda: requests.step() or pause.wait(0.01))
    paths.requests.mkdir(parents=True, exist_ok=True)
    with HomeLock(paths.lock):
        loop.start()
        try:
            yield asked
        finally:
            loop.stop(grace=5.0)


def jobs(ductor: CommandLine) -> JobBook:
    return JobBook(ductor.paths.cron_jobs)


def test_a_job_is_added_listed_shown_changed_and_removed(ductor: CommandLine) -> None:
    added = ductor.lines(*NEWS, "--id", "news")
    listed = ductor.lines("cron", "list")
    ductor.lines("cron", "edit", "news", "--schedule", "30 6 * * *", "--silent-when", "NOTHING")
    shown = ductor.lines("cron", "show", "news")
    removed = ductor.lines("cron", "remove", "news", "--with-folder")

    assert added[0].split() == ["id", "news"]
    assert any(line.startswith("next ") and line.endswith("(Europe/Berlin)") for line in added)
    assert f"folder  {ductor.paths.cron_tasks / 'morning-news'}" in added
    assert listed[1].split()[:7] == ["news", "on", "0", "7", "*", "*", "1-5"]
    assert any(line.split() == ["schedule", "30", "6", "*", "*", "*"] for line in shown)
    assert removed == ["Removed news, and its folder."]
    assert ductor.lines("cron", "list") == ["There are no jobs. `ductor cron add` makes one."]
    assert not (ductor.paths.cron_tasks / "morning-news").exists()


def test_every_field_can_be_given_and_taken_back(ductor: CommandLine) -> None:
    ductor.json(
        *NEWS, "--id", "news", "--description", "For me", "--folder", "press", "--provider", "claude", "--model", "haiku",
        "--timezone", "Asia/Tokyo", "--cli-parameters=--verbose --x 'a b'", "--quiet-start", "22", "--quiet-end", "6", "--dependency",
        "browser", "--silent-when", "NOTHING", "--into-session", "--missed", "once", "--chat=-1001:7",
    )  # fmt: skip
    full = json.loads(ductor.paths.cron_jobs.read_text())["jobs"][0]
    ductor.json(
        "cron", "edit", "news", "--description", "", "--provider", "", "--model", "", "--timezone", "", "--cli-parameters", "",
        "--quiet-start", "", "--quiet-end", "", "--dependency", "", "--silent-when", "", "--no-into-session", "--missed", "", "--everyone",
    )  # fmt: skip

    plain = json.loads(ductor.paths.cron_jobs.read_text())["jobs"][0]
    created = full.pop("created_at")
    assert full == {
        "id": "news", "title": "Morning news", "description": "For me", "enabled": True, "task_folder": "press", "provider": "claude",
        "model": "haiku", "cli_parameters": ["--verbose", "--x", "a b"], "quiet_start": 22, "quiet_end": 6, "dependency": "browser",
        "chat": "-1001:7", "silent_when": "NOTHING", "into_session": True, "schedule": "0 7 * * 1-5", "timezone": "Asia/Tokyo",
        "agent_instruction": "Collect the news.", "missed": "once",
    }  # fmt: skip
    assert plain == {
        "id": "news", "title": "Morning news", "enabled": True, "created_at": created, "task_folder": "press", "schedule": "0 7 * * 1-5",
        "agent_instruction": "Collect the news.", "into_session": False,
    }  # fmt: skip


def test_the_running_bot_is_asked_and_answers_as_the_verb_would(ductor: CommandLine) -> None:
    with serving(ductor.paths) as asked:
        added = ductor.json(*NEWS)
        listed = ductor.json("cron", "list")
        refused = ductor.json("cron", "show", "nobody")

    assert asked == ["cron.add", "cron.list", "cron.show"]
    assert (added["ok"], added["folder"]) == (True, "morning-news")
    assert [job["id"] for job in listed["jobs"]] == [added["id"]]  # type: ignore[attr-defined]
    assert 'There is no job "nobody"' in str(refused["error"])


def test_an_agent_in_a_conversation_gets_the_result_there(ductor: CommandLine) -> None:
    topic = ductor.json(*NEWS, DUCTOR_CHAT_ID="-1001", DUCTOR_TOPIC_ID="7")
    private = ductor.json(*NEWS, DUCTOR_CHAT_ID="42")
    everyone = ductor.json(*NEWS, "--everyone", DUCTOR_CHAT_ID="42")
    ductor.json("cron", "edit", str(everyone["id"]), "--title", "News", DUCTOR_CHAT_ID="42")

    assert (topic["chat"], private["chat"], everyone["chat"]) == ("-1001:7", "42", None)
    assert [job.chat for job in jobs(ductor).all()][-1] is None


def test_a_reminder_needs_a_moment_and_words_and_nothing_else(ductor: CommandLine) -> None:
    lines = ductor.lines("cron", "add", "--at", "2h", "--message", "Call Anna", "--chat", "42")

    job = jobs(ductor).all()[0]
    assert (job.title, job.message, job.task_folder) == ("Call Anna", "Call Anna", "")
    assert "result  to chat 42" in lines
    assert not ductor.paths.cron_tasks.exists()


def test_a_long_instruction_comes_from_the_standard_input(ductor: CommandLine) -> None:
    ductor.lines("cron", "add", "--title", "Long", "--schedule", "0 7 * * *", "--instruction", "-", said="First ä.\nThen `b`.\n")

    assert jobs(ductor).all()[0].agent_instruction == "First ä.\nThen `b`."


def test_a_run_without_a_bot_is_kept_for_its_start_and_can_be_taken_back(ductor: CommandLine) -> None:
    ductor.lines(*NEWS, "--id", "news")

    run = ductor.lines("cron", "run", "news")
    ledger = Ledger(ductor.paths.ledger)
    waiting = ledger.recover()[1]
    ledger.close()
    stopped = ductor.lines("cron", "stop", "news")
    log = ductor.lines("cron", "log", "news")

    assert run == ["Run 1 of news is queued.", "note: ductor does not run: this begins when it is started."]
    assert [item.text for item in waiting] == ["Collect the news."]
    assert stopped == ["news: waiting runs withdrawn: 1."]
    assert log[0].split()[-1] != "unfinished"
    assert "skipped:cancelled" in log[0]


def test_stop_without_anything_to_stop_fails_with_a_sentence(ductor: CommandLine) -> None:
    ductor.lines(*NEWS, "--id", "news")

    assert "“Morning news” does not run just now" in ductor.refused("cron", "stop", "news")


def test_a_run_that_a_crash_cut_off_cannot_be_stopped_without_a_bot(ductor: CommandLine) -> None:
    ductor.lines(*NEWS, "--id", "news")
    ductor.lines("cron", "run", "news")
    ledger = Ledger(ductor.paths.ledger)
    ledger.begin(ledger.recover()[1][0].id)
    ledger.close()

    assert "ductor does not run, and so does no job" in ductor.refused("cron", "stop", "news")


def test_mistakes_are_named_all_at_once_by_their_options(ductor: CommandLine) -> None:
    said = ductor.refused("cron", "add", "--schedule", "0 99 * * *", "--quiet-start", "late")

    named = {line.partition(": ")[0] for line in said.removeprefix("ductor cron: ").splitlines()}
    assert named == {"--schedule", "--quiet-start", "--title", "--instruction"}
    assert "must be a whole number from 0 to 23" in said
    assert not ductor.paths.cron_tasks.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("cron", "edit", "news"), "There is no job"), ((*NEWS, "--model", "gpt-9"), "must be one of opus, sonnet, haiku"),
        ((*NEWS, "--chat", "99"), "99 is not on the allow-list"), (("cron", "log", "news", "--limit", "0"), "There is no job"),
        ((*NEWS, "--folder", "../x"), "--folder: "), ((*NEWS, "--at", "2h"), "both are given"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_sentence(ductor: CommandLine, words: tuple[str, ...], why: str) -> None:
    assert why in ductor.refused(*words)


def test_programs_get_the_same_sentence_as_json(ductor: CommandLine) -> None:
    words = ("cron", "add", "--title", "x", "--schedule", "never")

    assert ductor.refused(*words) == f"ductor cron: {ductor.json(*words)['error']}\n"


def test_arguments_that_no_shell_would_take_are_unusable(ductor: CommandLine) -> None:
    assert "--cli-parameters: no closing quotation" in ductor.refused(*NEWS, "--cli-parameters=--x 'a", code=2)


@pytest.mark.parametrize("words", [("cron",), ("cron", "dance"), ("cron", "add", "--tit", "x"), ("cron", "show")])
def test_words_that_do_not_exist_are_unusable(ductor: CommandLine, words: tuple[str, ...]) -> None:
    done = ductor.run(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: ductor" in done.stderr


def test_models_of_codex_are_those_it_listed_last_and_full_names_of_claude_are_believed(ductor: CommandLine) -> None:
    model = {"id": "gpt-5.5", "name": "GPT-5.5", "efforts": ["low"], "default_effort": "low", "is_default": True}
    ductor.paths.codex_models.write_text(json.dumps({"asked": 0, "models": [model]}))

    ductor.json(*NEWS, "--model", "gpt-5.5", "--effort", "low")
    ductor.json(*NEWS, "--model", "claude-opus-4-1-20250805")
    refused = ductor.refused(*NEWS, "--model", "gpt-5.5", "--effort", "high")

    assert [job.model for job in jobs(ductor).all()] == ["gpt-5.5", "claude-opus-4-1-20250805"]
    assert '--effort: "high" is not accepted; must be one of low' in refused


def test_without_settings_or_without_a_home_it_says_what_to_do(tmp_path: Path) -> None:
    ductor = CommandLine(tmp_path)
    ductor.paths.config.unlink()

    no_settings = ductor.refused("cron", "list", code=2)
    ductor.paths.home.rename(tmp_path / "elsewhere")
    no_home = ductor.refused("cron", "list")

    assert "there is no such file yet. Create it with these lines" in no_settings
    assert "There is no home of ductor" in no_home


def test_a_broken_file_is_named_and_nothing_in_it_is_changed(ductor: CommandLine) -> None:
    ductor.paths.cron_jobs.write_text('{"jobs": [\n{"id": "a"}]}')
    listed = ductor.lines("cron", "list")
    ductor.paths.cron_jobs.write_text('{"jobs": [')

    assert any("cron_jobs.json line 2: title: is missing" in line for line in listed)
    assert "Correct the file; nothing in it was changed." in ductor.refused(*NEWS)
    assert ductor.paths.cron_jobs.read_text() == '{"jobs": ['
    assert not (ductor.paths.cron_tasks / "morning-news").exists()


def test_what_a_model_wrote_cannot_steer_the_terminal(ductor: CommandLine) -> None:
    ductor.lines(*NEWS, "--id", "news")
    ductor.lines("cron", "run", "news")
    ledger = Ledger(ductor.paths.ledger)
    item = ledger.recover()[1][0]
    ledger.begin(item.id)
    ledger.finish(item.id, result=("success", "\x1b[2JDone\x07.\nMore"))
    ledger.close()

    log = ductor.lines("cron", "log", "news")
    assert "Done" in log[0]
    assert "".join(log).isprintable()


def test_fields_in_errors_are_called_as_on_the_command_line() -> None:
    assert spoken("agent_instruction: is missing\nquiet_start: no") == "--instruction: is missing\n--quiet-start: no"
    assert spoken("error:not_found: There is none: really") == "error:not_found: There is none: really"


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    assert table([("a", "bb", "c"), ("aaa", "b", "")]) == ["a    bb  c", "aaa  b"]
    assert table([]) == []


def test_with_the_whole_program_a_job_runs_is_logged_and_can_be_stopped(tmp_path: Path) -> None:
    with LoopbackTelegram() as telegram:
        ductor = CommandLine(tmp_path)
        configure(tmp_path, telegram, "[webhooks]", "enabled = false")
        with Program(tmp_path) as program:
            telegram.wait(lambda t: [call for call in t.calls if call.method == "getUpdates"], timeout=SOON)
            ductor.json(*NEWS, "--id", "news")
            ductor.json("cron", "run", "news")
            telegram.wait(lambda t: [m for m in t.messages(OWNER) if "TASK: Morning news" in m.text], timeout=SOON)
            log = ductor.json("cron", "log", "news")["runs"]
            nothing = ductor.refused("cron", "stop", "news")
            ductor.json("cron", "edit", "news", "--instruction", "[[scenario:slow secs=60]] Count.")
            ductor.json("cron", "run", "news")
            until(lambda: agents(tmp_path), "the agent at work")
            stopped = ductor.json("cron", "stop", "news")
            until(lambda: "error:stopped" in str(ductor.json("cron", "log", "news")), "the end of the run")
            cleaned = ductor.json("cleanup", "--dry-run")
            program.stop()
            assert program.wait() == 0

    assert [run["status"] for run in log] == ["success"]  # type: ignore[attr-defined]
    assert "does not run just now" in nothing
    assert stopped["ended"] is True
    assert cleaned["files"] == 0
    assert "Traceback" not in program.output + program.log


# ── what the pages say ──────────────────────────────────────────────────────────────────────────────────────────────


def shown(page: str) -> list[str]:
    """The commands of ductor in a page's examples."""
    text = "\n".join(EXAMPLE.findall((ROOT / page).read_text(encoding="utf-8"))).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if re.match(r" *ductor (cron|webhook|cleanup)", line)]


@pytest.mark.parametrize("command", [pytest.param(command, id=command[:60]) for page in PAGES for command in shown(page)])
def test_an_example_of_the_pages_is_understood(command: str) -> None:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    for verb in (cron, webhook, cleanup):
        verb.add(verbs)

    parser.parse_args(shlex.split(command)[1:])  # leaves with 2 for what it does not know


@pytest.mark.parametrize(("page", "rows"), [("docs/modules/cron.md", cron.WORDS), ("docs/modules/webhook.md", webhook.WORDS)])
def test_the_page_has_every_word_and_no_other(page: str, rows: tuple[cron.Word, ...]) -> None:
    table = (ROOT / page).read_text(encoding="utf-8").partition("<!-- words -->\n")[2].partition("<!-- end -->")[0]
    documented = [word for line in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", line.split(" | ")[0])]

    assert sorted(documented) == sorted(row.name for row in rows)
