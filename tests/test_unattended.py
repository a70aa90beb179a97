"""Runs of jobs and hooks through the whole bot: where they work, what becomes of their result, and how each way of failing is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.automation import (
    NO_CLAUDE,
    SIGNED_OUT,
    bot_with,
    ended,
    free_port,
    hook,
    job,
    post,
    prompted,
    results,
    run_now,
    runs,
    saying,
    write,
)
from tests.fakes import CODEX, OWNER
from tests.program import until

PARTNER = 43
GROUP = -100


def gated(folder: Path, name: str) -> tuple[str, Path]:
    """An instruction whose run goes on until a file is there, and the file."""
    gate = folder / f"gate-{name}"
    return f"[[scenario:hold file={gate}]] do {name}", gate


def argument(prompt: dict[str, object], name: str) -> str:
    words = prompt["argv"]
    assert isinstance(words, list)
    return str(words[words.index(name) + 1]) if name in words else ""


# ── what is asked, where, and who hears of it ───────────────────────────────────────────────────────────────────────


def test_a_run_works_in_its_folder_in_a_fresh_session_with_its_memory_in_mind(tmp_path: Path) -> None:
    with bot_with(tmp_path, job()) as bot:
        memory = bot.paths.workspace / "memory_system" / "MAINMEMORY.md"
        memory.write_text("The owner likes short reports.")

        run_now(bot)
        statuses = run_now(bot)

        first, second = prompted(tmp_path)
        assert statuses == ["success", "success"]
        assert str(first["prompt"]).startswith("do report\n\nRead work_MEMORY.md in this folder first")
        assert first["cwd"] == second["cwd"] == str(bot.paths.cron_tasks / "work")
        assert first["session_id"] != second["session_id"]
        told = Path(argument(first, "--append-system-prompt-file")).read_text()
        assert "You run unattended" in told
        assert "The owner likes short reports." in told
        assert bot.app.clis.claude.processes() == []


def test_the_result_goes_to_all_allowed_users_under_the_title_of_the_task(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(title="Daily *report*"), allowed_user_ids=[OWNER, PARTNER]) as bot:
        bot.say("/start", user=PARTNER)  # Telegram lets no bot write first

        run_now(bot)

        for chat in (OWNER, PARTNER):
            [text] = results(bot, "Daily *report*", chat=chat)
            assert "You wrote:\n\ndo report" in text


def test_a_result_with_a_chat_of_its_own_goes_there_and_nowhere_else(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(chat=f"{GROUP}:7"), allowed_group_ids=[GROUP]) as bot:
        bot.telegram.add_group(GROUP, topics=[7])

        run_now(bot)

        assert len(results(bot, chat=GROUP, topic=7)) == 1
        assert results(bot) == []


def test_overrides_of_a_job_reach_the_command_line_and_replace_the_global_arguments(tmp_path: Path) -> None:
    own = job("own", model="sonnet", reasoning_effort="low", cli_parameters=["--settings", "own"])
    none = job("none", cli_parameters=[])
    with bot_with(tmp_path, job(), own, none, cli_parameters={"claude": ["--settings", "global"]}) as bot:
        for name in ("report", "own", "none"):
            run_now(bot, name)

    usual, changed, bare = prompted(tmp_path)
    assert [argument(prompt, "--model") for prompt in (usual, changed, bare)] == ["opus", "sonnet", "opus"]
    assert [argument(prompt, "--effort") for prompt in (usual, changed, bare)] == ["medium", "low", "medium"]
    assert [argument(prompt, "--settings") for prompt in (usual, changed, bare)] == ["global", "own", ""]


def test_a_run_may_be_codex_s(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(provider="codex"), codex=CODEX) as bot:
        statuses = run_now(bot)

        assert statuses == ["success"]
        assert "do report" in results(bot)[0]


def test_a_word_in_the_answer_can_mean_that_nobody_is_told(tmp_path: Path) -> None:
    quiet = job(silent_when="NOTHING_NEW", agent_instruction="Say nothing_new.", into_session=True)
    with bot_with(tmp_path, quiet) as bot:
        statuses = run_now(bot)

        assert statuses == ["success"]
        assert "nothing_new" in runs(bot)[0].detail
        assert results(bot) == []
        assert bot.app.ledger.notes(f"chat:{OWNER}") == []


# ── the conversation knows ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_for_a_conversation_is_in_its_next_prompt_once_and_fenced(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(into_session=True, agent_instruction="the moon is full @home")) as bot:
        run_now(bot)

        bot.say("what did you say?")
        bot.wait_for("what did you say?")
        bot.say("and now?")
        bot.wait_for("and now?")

    _, first, second = [str(prompt["prompt"]) for prompt in prompted(tmp_path)]
    assert re.search(r"It comes from: the result of the task “Report”.*\n\[UNTRUSTED-TEXT \w+ BEGIN\]\n", first)
    assert first.count("the moon is full @ home") == 1
    assert first.endswith("END]\n\nwhat did you say?")
    assert second == "and now?"


def test_a_result_for_a_conversation_is_kept_while_its_turns_fail(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(into_session=True, agent_instruction="the moon is full")) as bot:
        run_now(bot)

        bot.say("[[scenario:crash]] lost")
        bot.wait_for("⚠️ Claude")
        bot.restart()
        bot.say("once more")
        until(lambda: not bot.app.ledger.notes(f"chat:{OWNER}"), "the agent was told")

        assert [prompt.count("the moon is full") for prompt in bot.raw_prompts()] == [1, 1, 1]


# ── how it fails ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "overrides", "status", "words"),
    [
        ({"task_folder": "gone"}, {}, "error:folder_missing", "gone"),
        ({}, {"command": NO_CLAUDE}, "error:cli_not_found_claude", "Claude Code is not installed"),
        ({"provider": "codex"}, {}, "error:cli_not_found_codex", "Codex is not installed"),
        ({"model": "sonnet"}, {"command": NO_CLAUDE, "codex": CODEX}, "error:cli_not_found_claude", "Claude Code is not installed"),
        ({}, {"command": SIGNED_OUT}, "error:not_signed_in", "is not signed in"),
        ({"agent_instruction": "[[scenario:error401]]"}, {}, "error:not_signed_in", "sign"),
        ({"agent_instruction": "[[scenario:hang]]"}, {"cli_timeout": 1}, "error:timeout", "longer than allowed"),
        ({"agent_instruction": "[[scenario:crash code=3]]"}, {}, "error:exit_3", "⚠️"),
        ({"agent_instruction": "[[scenario:plain n=0]]"}, {}, "error:no_response", "without a word"),
        ({"agent_instruction": "[[scenario:error429]]"}, {}, "error:rate_limited", "limit"),
    ],
    ids=["folder", "no claude", "no codex", "no claude for its model", "signed out", "sign-in", "timeout", "crash", "empty", "rate limit"],
)  # fmt: skip
def test_a_run_that_fails_says_so_where_its_result_is_waited_for(
    tmp_path: Path, fields: dict[str, object], overrides: dict[str, object], status: str, words: str
) -> None:
    with bot_with(tmp_path, job() | fields, **overrides) as bot:  # type: ignore[arg-type]
        statuses = run_now(bot)

        assert statuses == [status]
        [text] = results(bot)
        assert words in text


def test_a_run_without_wishes_is_done_by_whoever_is_signed_in_and_says_so(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(), command=NO_CLAUDE, codex=CODEX) as bot:
        statuses = run_now(bot)

        assert statuses == ["success"]
        assert "Claude Code is not signed in, so" in results(bot)[0]


def test_at_a_daily_limit_a_run_is_skipped_and_that_is_said(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(), limits={"daily_tokens": 1}) as bot:
        bot.say("spend it")
        bot.wait_for("spend it")
        bot.settle()

        statuses = run_now(bot)

        assert statuses == ["skipped:limit"]
        assert "Today's limit is reached" in results(bot)[0]
        assert bot.prompts() == ["spend it"]


def test_half_a_character_in_an_answer_costs_nothing_else(tmp_path: Path) -> None:
    half = r"[[scenario:say text='half \ud83d.']]"
    with bot_with(tmp_path, job(into_session=True, agent_instruction=half), command=saying(tmp_path)) as bot:
        statuses = run_now(bot)

        assert statuses == ["success"]
        assert "half �." in runs(bot)[0].detail
        assert "half �." in results(bot)[0]


# ── one after the other, side by side ───────────────────────────────────────────────────────────────────────────────


def test_two_jobs_and_a_hook_with_one_word_run_in_order_one_after_the_other(tmp_path: Path) -> None:
    port = free_port()
    texts, gates = zip(*(gated(tmp_path, name) for name in ("one", "two", "three")), strict=True)
    jobs = [job(name, dependency="net", agent_instruction=text) for name, text in zip(("one", "two"), texts, strict=False)]
    hooks = [hook("three", dependency="net", prompt_template=texts[2])]
    with bot_with(tmp_path, *jobs, hooks=hooks, port=port) as bot:
        bot.say("/cron run one")
        until(lambda: len(bot.prompts()) == 1, "the first at work")
        bot.say("/cron run two")
        until(lambda: runs(bot, "two"), "the second queued")
        assert post(port, "three", {}) == 202

        for number, gate in enumerate(gates, 1):
            until(lambda number=number: len(prompted(tmp_path)) == number, f"number {number} at work")  # type: ignore[misc]
            assert bot.app.clis.claude.processes() == ["task:net"]
            gate.touch()
        ended(bot, "three", "hook")

    order = [re.findall(r"do (\w+)", str(prompt["prompt"]))[0] for prompt in prompted(tmp_path)]
    assert order == ["one", "two", "three"]


def test_jobs_without_a_common_word_run_side_by_side_and_beside_the_conversation(tmp_path: Path) -> None:
    texts, gates = zip(*(gated(tmp_path, name) for name in ("one", "two")), strict=True)
    jobs = [job(name, agent_instruction=text) for name, text in zip(("one", "two"), texts, strict=True)]
    with bot_with(tmp_path, *jobs, agents={"parallel": 4}) as bot:
        for name in ("one", "two"):
            bot.say(f"/cron run {name}")
        until(lambda: len(prompted(tmp_path)) == 2, "both at work")

        bot.say("hello")
        bot.wait_for("hello")

        assert [run.status for name in ("one", "two") for run in runs(bot, name)] == ["", ""]
        for gate in gates:
            gate.touch()
        assert ended(bot, "one") == ended(bot, "two") == ["success"]


# ── stopped ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stopped_run_ends_and_the_next_one_of_its_lane_runs(tmp_path: Path) -> None:
    text, _ = gated(tmp_path, "one")
    with bot_with(tmp_path, job("one", agent_instruction=text, dependency="net"), job("two", dependency="net")) as bot:
        bot.say("/cron run one")
        until(lambda: prompted(tmp_path), "it is at work")
        bot.say("/cron run two")

        bot.say("/cron stop one")

        assert ended(bot, "one") == ["error:stopped"]
        assert "Stopped." in results(bot, "One")[0]
        assert ended(bot, "two") == ["success"]


def test_a_run_that_waits_for_a_free_agent_can_be_stopped_and_asks_nothing(tmp_path: Path) -> None:
    text, gate = gated(tmp_path, "one")
    with bot_with(tmp_path, job("one", agent_instruction=text), job("two"), agents={"parallel": 1, "warm": 0}) as bot:
        bot.say("/cron run one")
        until(lambda: prompted(tmp_path), "it is at work")
        bot.say("/cron run two")
        until(lambda: runs(bot, "two"), "it waits")

        bot.say("/cron stop two")
        until(lambda: runs(bot, "two")[0].status == "error:stopped", "its end")

        gate.touch()
        assert ended(bot, "one") == ["success"]
        assert len(prompted(tmp_path)) == 1


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_of_the_program_offers_what_ran_again_and_runs_what_waited(tmp_path: Path) -> None:
    text, gate = gated(tmp_path, "one")
    jobs = [job("one", agent_instruction=text, dependency="net"), job("two", dependency="net")]
    with bot_with(tmp_path, *jobs) as bot:
        bot.say("/cron run one")
        until(lambda: prompted(tmp_path), "it is at work")
        bot.say("/cron run two")
        until(lambda: runs(bot, "two"), "it waits")

        bot.restart()

        question = bot.wait_for("I was stopped in the middle of this task:")
        assert [run.status for run in runs(bot, "one")] == ["error:interrupted"]
        assert ended(bot, "two") == ["success"]
        write(tmp_path, "jobs", [job("one", agent_instruction="something else", model="sonnet")])
        gate.touch()
        bot.telegram.press(question.id, "Run again")
        until(lambda: runs(bot, "one")[0].status == "success", "the second run")
        bot.settle()
        assert "Going on." in results(bot, "One")[0]
        assert [str(prompt["prompt"]).partition("\n")[0] for prompt in prompted(tmp_path)] == [text, "do two", text]
        assert not any("in the middle of" in message.text for message in bot.shown())


def test_what_was_interrupted_and_forgotten_stays_so(tmp_path: Path) -> None:
    text, _ = gated(tmp_path, "one")
    with bot_with(tmp_path, job("one", agent_instruction=text)) as bot:
        bot.say("/cron run one")
        until(lambda: prompted(tmp_path), "it is at work")
        bot.restart()

        bot.telegram.press(bot.wait_for("in the middle of this task").id, "Forget")
        bot.wait_for("Forgotten.")
        bot.restart()
        bot.settle()

        assert [run.status for run in runs(bot, "one")] == ["error:interrupted"]
        assert len(prompted(tmp_path)) == 1
