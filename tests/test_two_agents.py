"""Claude Code and Codex behind one chat: who answers, what is said about it, and what each remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ductor_lib.demo.state import Message
from tests.fakes import AGENT, CODEX, OWNER, SOON, Bot, is_running

LARGE, SMALL = "scripted-large", "scripted-small"


def signed_out(folder: Path, words: tuple[str, ...], name: str) -> tuple[str, ...]:
    """A command that is the scripted agent without a login."""
    script = folder / name
    script.write_text(f'#!/bin/sh\nDUCTOR_DEMO_SIGNED_OUT=1 exec {" ".join(words)} "$@"\n')
    script.chmod(0o700)
    return (str(script),)


def facts(bot: Bot) -> list[dict[str, object]]:
    """What the agents were really asked, with the session and the model."""
    log = bot.folder / "prompts.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def bucket(bot: Bot, provider: str) -> dict[str, object]:
    [found] = json.loads(bot.paths.sessions.read_text())[f"chat:{OWNER}"]["buckets"][provider].values()
    assert isinstance(found, dict)
    return found


def ask(bot: Bot, text: str) -> Message:
    """One message and its whole answer."""
    bot.say(text)
    found = bot.wait_for(f"You wrote:\n\n{text.rpartition(' ')[2]}")
    bot.settle()
    return found


def reply(bot: Bot, text: str) -> Message:
    """The message that answers a command, or a message that gets no turn."""
    before = {message.id for message in bot.shown()}
    bot.say(text)
    found = bot.telegram.wait(lambda _: [m for m in bot.shown() if m.id not in before], timeout=SOON, what=f"an answer to {text}")
    bot.settle()
    return found[0]


def choose(bot: Bot, model: str) -> None:
    reply(bot, f"/model {model}")


def test_codex_answers_where_it_is_the_default(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX, provider="codex", model=LARGE) as bot:
        ask(bot, "hello")

        [fact] = facts(bot)
        assert (fact["prompt"], fact["model"]) == ("hello", LARGE)
        assert "app-server" in list(fact["argv"])  # type: ignore[call-overload]
        assert bucket(bot, "codex")["session_id"] == fact["session_id"]


def test_codex_answers_with_its_default_when_only_it_is_signed_in(tmp_path: Path) -> None:
    command = signed_out(tmp_path, AGENT, "claude")
    with Bot(tmp_path, command=command, codex=CODEX, model="opus") as bot:
        answer = ask(bot, "hello")

        assert facts(bot)[0]["model"] == LARGE
        assert "Claude Code is not signed in, so Scripted Large of Codex answers instead of opus." in answer.text


def test_a_small_model_is_stood_in_for_by_the_smallest_listed(tmp_path: Path) -> None:
    command = signed_out(tmp_path, AGENT, "claude")
    with Bot(tmp_path, command=command, codex=CODEX, model="haiku") as bot:
        ask(bot, "hello")

        assert facts(bot)[0]["model"] == SMALL


def test_claude_answers_when_only_it_is_signed_in(tmp_path: Path) -> None:
    codex = signed_out(tmp_path, CODEX, "codex")
    with Bot(tmp_path, codex=codex, provider="codex", model=LARGE) as bot:
        answer = ask(bot, "hello")

        assert facts(bot)[0]["model"] == "opus"
        assert "Codex is not signed in" in answer.text


def test_without_any_sign_in_every_message_says_how_to_sign_in_and_none_waits(tmp_path: Path) -> None:
    command, codex = signed_out(tmp_path, AGENT, "claude"), signed_out(tmp_path, CODEX, "codex")
    with Bot(tmp_path, command=command, codex=codex) as bot:
        for text in ("hello", "/start", "again"):
            said = reply(bot, text)
            assert "claude auth login" in said.text
            assert "codex login" in said.text
            bot.settle()
        assert facts(bot) == []
        assert bot.app.ledger.waiting(f"chat:{OWNER}") == []


def test_a_switch_keeps_the_sessions_of_both(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        ask(bot, "one")
        choose(bot, LARGE)
        ask(bot, "two")
        choose(bot, "opus")

        ask(bot, "three")

        first, second, third = facts(bot)
        assert first["session_id"] == third["session_id"] != second["session_id"]
        assert bucket(bot, "claude")["messages"] == 2
        assert bucket(bot, "codex")["messages"] == 1


def test_a_fresh_start_leaves_the_other_agents_session_alone(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        ask(bot, "one")
        choose(bot, LARGE)
        ask(bot, "two")

        bot.say("/new")
        bot.wait_for("Fresh session")

        assert bucket(bot, "claude")["session_id"] == facts(bot)[0]["session_id"]
        ask(bot, "three")
        assert facts(bot)[2]["session_id"] != facts(bot)[1]["session_id"]


def test_stop_ends_a_turn_of_codex(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX, provider="codex", model=LARGE) as bot:
        bot.say(f"[[scenario:hold file={tmp_path / 'gate'}]] hold")
        bot.wait_until_it_runs()

        bot.say("/stop")

        bot.wait_for("⏹ Stopped: the running turn")
        bot.telegram.wait(lambda _: not any(map(is_running, bot.shown())), timeout=SOON, what="no running turn")
        ask(bot, "after")


def test_a_thread_of_codex_goes_on_after_a_restart(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX, provider="codex", model=LARGE) as bot:
        ask(bot, "one")

        bot.restart()

        ask(bot, "two")
        first, second = facts(bot)
        assert first["session_id"] == second["session_id"]
        assert first["pid"] != second["pid"]


def test_a_sign_in_that_was_refused_lets_the_other_agent_answer(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        ask(bot, "one")
        bot.say("[[scenario:error401]] two")
        bot.wait_for("not signed in")
        bot.settle()

        answer = ask(bot, "three")

        assert "of Codex answers instead of opus" in answer.text




@pytest.mark.parametrize("provider", ["claude", "codex"])
def test_a_running_turn_of_either_agent_goes_on_with_one_more_message(tmp_path: Path, provider: str) -> None:
    with Bot(tmp_path, codex=CODEX) as bot:
        if provider == "codex":
            choose(bot, LARGE)
        bot.say(f"[[scenario:hold file={bot.folder / 'gate'}]]")
        bot.wait_until_it_runs()

        bot.say("/steer [[scenario:plain n=2]]")
        bot.wait_for("↪ The running turn goes on with that.")
        (bot.folder / "gate").touch()
        bot.settle()

        final = next(message for message in bot.shown() if "word0" in message.text)
        assert final.text.endswith("word0 word1")
        assert final.text.count("word0") == 1
        assert "Holding." in final.text
        assert [fact["prompt"] for fact in facts(bot)][1:] == ["[[scenario:plain n=2]]"]


def test_what_is_quoted_with_a_steering_message_is_fenced(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.say(f"[[scenario:hold file={bot.folder / 'gate'}]]")
        bot.wait_until_it_runs()

        stranger = {"id": 77, "is_bot": False, "first_name": "Stranger"}
        theirs = {"message_id": 1, "date": 1, "chat": {"id": OWNER, "type": "private"}, "from": stranger, "text": "a stranger's words"}
        bot.say("/steer use this", reply_to_message=theirs)
        bot.wait_for("↪")
        (bot.folder / "gate").touch()
        bot.settle()

        words = str(facts(bot)[1]["prompt"])
        assert words.startswith("use this\n\n")
        assert "a stranger's words" in words
