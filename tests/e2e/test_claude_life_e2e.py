"""The real Claude Code under the whole bot: its processes, its sessions, and what is left of them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.claude_bot import MISSING, ClaudeBot, running, until
from tests.e2e.model_stub import ModelStub
from tests.fakes import OWNER

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)


@pytest.mark.parametrize(
    "command",
    ["sleep 300.{0}", "trap '' TERM; sleep 300.{0}; sleep 300.{0}", "(sleep 300.{0} &); nohup sleep 300.{0} & sleep 300.{0}"],
    ids=["plain", "deaf to TERM", "with children"],
)
def test_stop_leaves_nothing_of_a_running_tool_and_the_conversation_goes_on(bot: ClaudeBot, stub: ModelStub, command: str) -> None:
    mark = os.getpid()
    bot.say(f"""[[scenario:tool cmd="{command.format(mark)}"]] begin""")
    until(lambda: running(f"sleep 300.{mark}"), "the tool")

    bot.say("stop")

    bot.wait_for("⏹ Stopped.")
    until(lambda: not running(f"sleep 300.{mark}"), "the end of the tool")
    bot.ask("go on", answer="You said: go on")
    assert any("begin" in text for text in stub.requests[-1].typed)
    assert len({request.session_id for request in stub.requests}) == 1


def test_stop_keeps_what_was_written_and_the_process(bot: ClaudeBot) -> None:
    bot.say("[[scenario:plain n=4 gate=held]]")
    bot.preview("word1")
    process = bot.agent()

    bot.say("stop")

    assert bot.wait_for("⏹ Stopped.").text == "word0 word1\n\n⏹ Stopped."
    bot.ask("go on", answer="You said: go on")
    assert bot.agent() == process


def test_a_turn_that_takes_too_long_is_ended_and_the_next_message_is_answered(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, cli_timeout=2) as bot:
        bot.say("[[scenario:plain n=4 gate=never]]")

        assert "The turn took longer than allowed (cli_timeout) and was ended." in bot.wait_for("⚠️").text
        bot.ask("and now?", answer="You said: and now?")


def test_a_bot_that_ends_takes_the_tool_with_it_and_offers_the_message_again(bot: ClaudeBot, stub: ModelStub) -> None:
    tool, gate = f"sleep 304.{os.getpid()}", bot.folder / "gate"
    prompt = f"[[scenario:tool cmd='test -e {gate} || {tool}; echo tool-ran']]"
    bot.say(prompt)
    until(lambda: running(tool), "the tool")

    bot.restart()

    assert not running(tool)
    gate.touch()
    bot.telegram.press(bot.wait_for("I was stopped in the middle of this message").id, "Run again")
    bot.wait_for("The tool said: tool-ran")
    assert stub.requests[-1].typed.count(prompt) == 2


def test_a_restarted_bot_goes_on_with_the_conversation(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.ask("remember the blue door", answer="You said: remember the blue door")

    bot.restart()
    bot.ask("which colour?", answer="You said: which colour?")

    before, after = stub.requests
    assert after.typed == ["remember the blue door", "which colour?"]
    assert after.answered == ["You said: remember the blue door"]
    assert after.session_id == before.session_id


def test_a_conversation_that_the_cli_has_lost_is_begun_anew_with_a_word_about_it(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.ask("first", answer="You said: first")
    bot.app.clis.claude.release(f"chat:{OWNER}")
    until(lambda: not bot.agents(), "the end of the process")
    shutil.rmtree(bot.folder / "user" / ".claude" / "projects")

    bot.say("second")

    answer = bot.wait_for("You said: second")
    assert "Claude Code no longer knows the earlier conversation" in answer.text
    assert stub.requests[-1].typed == ["second"]
    assert stub.requests[-1].session_id != stub.requests[0].session_id


def test_the_second_turn_is_taken_by_the_process_of_the_first(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.ask("one", answer="You said: one")
    first = bot.agents()

    bot.ask("two", answer="You said: two")

    assert bot.agents() == first
    assert len(first) == 1
    assert stub.requests[-1].answered == ["You said: one"]


def test_without_warm_processes_each_turn_has_its_own_and_the_session_goes_on(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, agents={"warm": 0}) as bot:
        bot.ask("one", answer="You said: one")
        until(lambda: not bot.agents(), "the end of the process")

        bot.ask("two", answer="You said: two")

        assert stub.requests[-1].typed == ["one", "two"]


def test_a_fresh_start_gives_the_next_message_a_new_session_and_a_new_process(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.ask("one", answer="You said: one")
    process = bot.agent()

    bot.ask("/new", answer="Fresh session.")
    bot.ask("two", answer="You said: two")

    assert stub.requests[-1].typed == ["two"]
    assert stub.requests[-1].session_id != stub.requests[0].session_id
    assert bot.agent() != process


def test_two_conversations_are_answered_at_the_same_time_by_two_processes(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, allowed_group_ids=[-100], agents={"parallel": 2}) as bot:
        bot.telegram.add_group(-100, topics=[7])
        bot.say("[[scenario:plain n=2 gate=private]] here")
        bot.say("[[scenario:plain n=4 gate=topic]] there", chat=-100, topic=7)
        stub.wait("here")
        stub.wait("there")

        assert len(bot.agents()) == 2
        stub.open("topic")
        assert bot.wait_for("word3", chat=-100).topic == 7
        stub.open("private")
        assert bot.wait_for("word1").text == "word0 word1"


def test_a_background_task_is_reported_in_a_message_of_its_own(bot: ClaudeBot, stub: ModelStub) -> None:
    gate = bot.folder / "gate"
    bot.say(f"[[scenario:tool background=1 cmd='until test -e {gate}; do sleep 0.05; done']]")
    first = bot.wait_for("The tool said: ")

    gate.touch()

    report = bot.wait_for("The background task has ended.")
    assert report.id != first.id
    bot.ask("thanks", answer="You said: thanks")
    assert len({request.session_id for request in stub.requests}) == 1


def test_stop_spares_a_background_task_that_was_announced_and_the_end_of_the_bot_does_not(bot: ClaudeBot) -> None:
    kept, ended = f"sleep 301.{os.getpid()}", f"sleep 302.{os.getpid()}"
    bot.say(f"[[scenario:tool background=1 cmd='{kept}']]")
    bot.wait_for("The tool said: ")
    bot.say(f"[[scenario:tool cmd='{ended}']]")
    until(lambda: running(ended), "the second tool")

    bot.say("stop")

    bot.wait_for("⏹ Stopped.")
    until(lambda: not running(ended), "the end of the second tool")
    assert running(kept)
    bot.restart()
    assert not running(kept)


def test_the_limit_of_model_calls_is_explained_and_the_next_message_goes_on(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, max_turns=1) as bot:
        bot.say("[[scenario:tool]]")

        assert "The turn reached the limit of model calls (max_turns)" in bot.wait_for("⚠️").text
        bot.ask("go on", answer="You said: go on")


def test_after_the_spending_limit_the_next_message_has_a_new_process_and_a_new_budget(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, max_budget_usd=0.05) as bot:
        bot.say("[[scenario:tool tokens=100000]] dear")
        said = bot.wait_for("⚠️").text
        first = bot.agents()

        bot.ask("cheap", answer="You said: cheap")

        assert "The turn reached the spending limit (max_budget_usd or limits.turn_usd)" in said
        assert not set(bot.agents()) & set(first)
        assert any("dear" in text for text in stub.requests[-1].typed)


def test_a_process_killed_while_it_writes_is_replaced_and_the_answer_arrives_whole(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.say("[[scenario:plain n=4 gate=held]]")
    bot.preview("word1")
    killed = bot.agent()

    os.kill(killed, signal.SIGKILL)
    until(lambda: len(stub.requests) == 2, "the second try")
    stub.open("held")

    assert bot.wait_for("word3").text == "word0 word1 word2 word3"
    assert bot.agent() != killed
    assert len(bot.shown()) == 1


def test_a_process_killed_in_a_tool_is_reported_and_neither_runs_on_nor_again(bot: ClaudeBot, stub: ModelStub) -> None:
    tool = f"sleep 303.{os.getpid()}"
    bot.say(f"[[scenario:tool cmd='{tool}']]")
    until(lambda: running(tool), "the tool")

    os.kill(bot.agent(), signal.SIGKILL)

    assert "Claude Code was killed from outside" in bot.wait_for("⚠️").text
    assert not running(tool)
    assert len(stub.requests) == 1
    bot.ask("go on", answer="You said: go on")


def test_a_message_for_a_running_tool_reaches_the_model_with_its_output(bot: ClaudeBot, stub: ModelStub) -> None:
    gate = bot.folder / "gate"
    bot.say(f"[[scenario:tool cmd='until test -e {gate}; do sleep 0.05; done; echo done']]")
    stub.wait("scenario:tool")
    bot.preview("· Bash:")

    bot.say("/steer only the first file")
    bot.wait_for("↪")
    gate.touch()

    bot.wait_for("The tool said: done")
    assert "only the first file" in str(stub.requests[-1].body)
    bot.ask("next", answer="You said: next")
    assert len({request.session_id for request in stub.requests}) == 1


def test_a_message_in_the_last_words_is_answered_in_the_same_turn(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.say("[[scenario:plain n=4 gate=held]]")
    bot.preview("word1")

    bot.say("/steer and the second")
    bot.wait_for("↪")
    stub.open("held")

    final = bot.wait_for("You said: and the second")
    assert "word3" in final.text
    assert final.text.count("You said") == 1
    bot.ask("next", answer="You said: next")


def test_after_a_stop_nothing_goes_on_that_was_given_to_the_turn(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.say("[[scenario:plain n=4 gate=never]]")
    bot.preview("word1")
    bot.say("/steer never to be seen")
    bot.wait_for("↪")
    process = bot.agent()

    bot.say("/interrupt")

    bot.wait_for("⏹ Stopped.")
    bot.ask("next", answer="You said: next")
    assert not any("never to be seen" in str(request.body) for request in stub.requests)
    assert bot.agent() == process
