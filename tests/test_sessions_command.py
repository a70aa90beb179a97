"""/sessions and the way to a terminal: always a copy, never two writers in one session."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from pathlib import Path

import pytest

from ductor_lib.commands.sessions import terminal
from ductor_lib.demo.state import Message
from tests.fakes import CODEX, Bot
from tests.test_two_agents import LARGE, ask, bucket, facts, reply

FIRST = "a question from the terminal"


def in_a_terminal(bot: Bot, provider: str, title: str = FIRST, *, at: float = 1000.0) -> str:
    """A session that a person has begun in the workspace without the bot, known to the scripted agent."""
    key, cwd = str(uuid.uuid4()), os.path.realpath(bot.paths.workspace)
    home = bot.folder
    if provider == "claude":
        listed = home / ".claude" / "projects" / re.sub("[^A-Za-z0-9]", "-", cwd) / f"{key}.jsonl"
        rows: list[object] = [{"type": "user", "message": {"content": title}, "cwd": cwd}]
        known = home / ".claude-demo" / cwd.replace("/", "-") / f"{key}.jsonl"
    else:
        listed = home / ".codex" / "sessions" / "2026" / "11" / "22" / f"rollout-x-{key}.jsonl"
        rows = [{"type": "session_meta", "payload": {"cwd": cwd, "source": "cli"}},
                {"type": "event_msg", "payload": {"type": "user_message", "message": title}}]  # fmt: skip
        known = home / ".codex-demo" / f"{key}.json"
    for path in (listed, known):
        path.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(listed, (at, at))
    known.write_text('{"prompts": ["first"]}' if provider == "codex" else "{}\n")
    return key


def pick(bot: Bot, panel: Message, label: str = "⑂ 1") -> None:
    bot.telegram.press(panel.id, label)
    bot.wait_for("goes on as a copy of")
    bot.settle()


def words_of(fact: dict[str, object]) -> list[str]:
    argv = fact["argv"]
    assert isinstance(argv, list)
    return argv


def test_a_session_from_a_terminal_goes_on_here_as_a_copy(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        key = in_a_terminal(bot, "claude")
        panel = reply(bot, "/sessions")
        assert f"1. {FIRST} – Claude Code" in panel.text

        pick(bot, panel)
        ask(bot, "one")
        ask(bot, "two")

        first, second = facts(bot)
        argv = words_of(first)
        assert argv[argv.index("--resume") + 1] == key
        assert "--fork-session" in argv
        assert first["session_id"] == second["session_id"] == bucket(bot, "claude")["session_id"] != key
        assert bucket(bot, "claude")["fork_of"] == ""


def test_a_copy_is_begun_once_also_over_a_restart(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        key = in_a_terminal(bot, "claude")
        pick(bot, reply(bot, "/sessions"))

        bot.restart()
        ask(bot, "one")
        bot.restart()
        ask(bot, "two")

        first, second = facts(bot)
        assert key in words_of(first)
        assert key not in words_of(second)
        assert first["session_id"] == second["session_id"]


def test_a_thread_of_codex_goes_on_here_as_a_copy_and_codex_answers(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        key = in_a_terminal(bot, "codex")
        pick(bot, reply(bot, "/sessions"))

        ask(bot, "one")

        [fact] = facts(bot)
        assert fact["model"] == LARGE
        assert fact["session_id"] == bucket(bot, "codex")["session_id"] != key
        stored = json.loads((tmp_path / ".codex-demo" / f"{fact['session_id']}.json").read_text())
        assert stored["prompts"] == ["first", "one"]
        assert json.loads((tmp_path / ".codex-demo" / f"{key}.json").read_text()) == {"prompts": ["first"]}


def test_many_sessions_have_pages(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        for number in range(10):
            in_a_terminal(bot, "codex" if number % 2 else "claude", f"question {number}", at=number)
        panel = reply(bot, "/sessions")
        assert "1. question 9" in panel.text
        assert "8. question 2" in panel.text

        bot.telegram.press(panel.id, "Older")
        older = bot.wait_for("1. question 1")
        assert older.id == panel.id

        bot.telegram.press(panel.id, "Newer")
        bot.wait_for("1. question 9")


def test_a_session_that_has_gone_meanwhile_is_not_taken_up(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        in_a_terminal(bot, "claude")
        panel = reply(bot, "/sessions")
        shutil.rmtree(tmp_path / ".claude")

        bot.telegram.press(panel.id, "⑂ 1")

        bot.wait_for("not there any more")


def test_an_original_that_is_lost_before_the_turn_gives_a_fresh_session_that_says_so(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        in_a_terminal(bot, "claude")
        pick(bot, reply(bot, "/sessions"))
        shutil.rmtree(tmp_path / ".claude-demo")

        answer = ask(bot, "one")

        assert "no longer knows the earlier conversation" in answer.text
        assert bucket(bot, "claude")["fork_of"] == ""


@pytest.mark.parametrize("words", ["", "claude", "claude ../../x", "gemini 1", "claude " + "x" * 300])
def test_a_made_up_pick_changes_nothing(tmp_path: Path, words: str) -> None:
    with Bot(tmp_path) as bot:
        assert "not there any more" in reply(bot, f"/attach {words}").text
        assert not bot.paths.sessions.exists()


def test_without_sessions_the_list_says_so(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        assert "There is no session of" in reply(bot, "/sessions").text
        assert "There is no further session of" in reply(bot, "/sessions 3").text


def test_a_pick_during_a_turn_waits_and_is_not_undone_by_its_end(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        key = in_a_terminal(bot, "claude")
        gate = tmp_path / "gate"
        bot.say(f"[[scenario:hold file={gate}]] held")
        bot.wait_until_it_runs()
        panel = reply_while_busy(bot)

        bot.telegram.press(panel.id, "⑂ 1")
        assert "1. ⑂ go on with another session" in bot.wait_for("1 message waiting").text
        gate.touch()
        bot.wait_for("goes on as a copy of")

        ask(bot, "one")
        assert key in words_of(facts(bot)[-1])


def reply_while_busy(bot: Bot) -> Message:
    bot.say("/sessions")
    return bot.wait_for(FIRST)


def test_status_offers_the_terminal_command_as_a_copy(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        assert not reply(bot, "/status").buttons
        ask(bot, "one")

        status = reply(bot, "/status")

        key, cwd = facts(bot)[0]["session_id"], os.path.realpath(bot.paths.workspace)
        wanted = f"cd {cwd} && claude --resume {key} --fork-session"
        if len(wanted) <= 256:
            assert status.buttons[0][0]["copy_text"] == {"text": wanted}
        else:
            assert wanted in status.text


def test_a_command_too_long_for_a_button_is_shown_as_code(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * (200 - len(str(tmp_path))))  # the scripted agent makes one name of the whole path
    folder.mkdir(parents=True)
    with Bot(folder) as bot:
        ask(bot, "one")

        status = reply(bot, "/status")

        assert not status.buttons
        assert f"claude --resume {facts(bot)[0]['session_id']} --fork-session" in status.text


def test_paths_are_quoted_for_the_shell(tmp_path: Path) -> None:
    folder = tmp_path / "it's $(here)"

    assert terminal("codex", "ID", folder) == f"cd '{tmp_path!s}/it'\"'\"'s $(here)' && codex fork ID"


