"""The real Claude Code under the whole bot: what a person sees in the chat, what the model is asked, what runs on the machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.claude_bot import MISSING, ClaudeBot, read, running, until
from tests.e2e.model_stub import ModelStub
from tests.fakes import OWNER, is_running

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

FORWARDED = {"type": "hidden_user", "sender_user_name": "A stranger", "date": 1_700_000_000}


def test_a_prompt_is_answered_in_one_message(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.say("good morning")

    answer = bot.wait_for("You said: good morning")

    assert answer.text == "You said: good morning"
    assert bot.shown() == [answer]
    (request,) = stub.requests
    assert request.typed == ["good morning"]
    assert request.body["output_config"] == {"effort": "medium"}
    assert "You are reached through ductor" in str(request.body["system"])


def test_an_answer_of_20_kb_arrives_whole_with_its_code_as_code(bot: ClaudeBot) -> None:
    bot.say("[[scenario:long size=20000]]")

    until(lambda: len(bot.shown()) > 3 and bot.app.settled(), "the whole answer")

    shown = bot.shown()
    last = int(re.findall(r"Part (\d+)", shown[-1].text)[-1])
    expected = [f"Part {n} Some bold text code {n} one two print {n}".split() for n in range(last + 1)]
    assert re.findall(r"\w+", " ".join(message.text for message in shown)) == [word for part in expected for word in part]
    assert last == 20_000 // len("## Part {0}\n\nSome **bold** text, `code {0}`:\n\n- one\n- two\n\n```python\nprint({0})\n```\n\n")
    blocks = [
        message.text.encode("utf-16-le")[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])].decode("utf-16-le")
        for message in shown for entity in message.entities if entity["type"] == "pre"
    ]
    assert [block.strip() for block in blocks] == [f"print({n})" for n in range(last + 1)]
    assert not any(is_running(message) for message in shown)


def test_reasoning_is_announced_while_it_lasts_and_is_no_part_of_the_answer(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.say("[[scenario:thinking gate=thought]]")
    bot.preview("thinking")

    stub.open("thought")

    assert bot.wait_for("word1").text == "word0 word1"


def test_a_tool_is_named_while_it_runs_and_earlier_words_stand_in_a_quote_above_the_answer(bot: ClaudeBot) -> None:
    gate = bot.folder / "gate"
    bot.say(f"[[scenario:tool cmd='until test -e {gate}; do sleep 0.05; done; echo tool-ran']]")
    assert "Running a command." in bot.preview("Bash: until test")

    gate.touch()

    answer = bot.wait_for("The tool said: tool-ran")
    (quote,) = [entity for entity in answer.entities if entity["type"] == "expandable_blockquote"]
    assert answer.text[quote["offset"] : quote["offset"] + quote["length"]].strip() == "Running a command."
    assert answer.text.endswith("\n\nThe tool said: tool-ran")
    assert len(bot.shown()) == 1


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
    bot.app.agent.release(f"chat:{OWNER}")
    until(lambda: not bot.agents(), "the end of the process")
    shutil.rmtree(bot.folder / "user" / ".claude" / "projects")

    bot.say("second")

    answer = bot.wait_for("You said: second")
    assert "Claude no longer knows the earlier conversation" in answer.text
    assert stub.requests[-1].typed == ["second"]
    assert stub.requests[-1].session_id != stub.requests[0].session_id


@pytest.mark.parametrize(
    ("scenario", "sentence"),
    [
        ("error400", "This conversation has become too long for the model. Start a fresh one with /new."),
        ("error401", "Claude Code is not signed in. Run claude auth login on the machine, then send the message again."),
        ("error404", "Claude Code does not know this model. Set another model in config.toml."),
        ("error429", "Claude Code has reached its usage limit. Wait a while, then send the message again."),
        ("error500", "The model is overloaded just now. Send the message again in a minute."),
        ("overloaded", "The model is overloaded just now. Send the message again in a minute."),
    ],
)
def test_a_failure_of_the_model_is_explained_and_the_next_message_is_answered(bot: ClaudeBot, scenario: str, sentence: str) -> None:
    bot.say(f"[[scenario:{scenario}]]")

    assert bot.wait_for("⚠️").text.startswith(f"⚠️ {sentence}")
    bot.ask("and now?", answer="You said: and now?")


def test_a_failure_that_passes_is_no_more_than_a_delay(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.say("[[scenario:error500 times=1]] try this")

    assert bot.wait_for("You said: try this").text == "You said: try this"
    assert len(stub.requests) == 2


def test_a_stream_that_breaks_off_ends_in_one_whole_answer(bot: ClaudeBot) -> None:
    bot.say("[[scenario:cut n=4]]")

    assert bot.wait_for("word3").text == "word0 word1 word2 word3"
    assert len(bot.shown()) == 1


def test_the_second_turn_is_taken_by_the_process_of_the_first(bot: ClaudeBot, stub: ModelStub) -> None:
    bot.ask("one", answer="You said: one")
    first = bot.agents()

    bot.ask("two", answer="You said: two")

    assert bot.agents() == first
    assert len(first) == 1
    assert stub.requests[-1].answered == ["You said: one"]


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


def test_a_file_is_read_for_the_owner_but_never_for_a_stranger_whose_words_were_forwarded(bot: ClaudeBot, stub: ModelStub) -> None:
    canary = bot.folder / "my secret.txt"
    canary.write_text("the canary sings")
    (bot.folder / "secret.txt").write_text("the canary sings")
    path = bot.folder / "secret.txt"
    mentions = ["@{0} x @{0}", '@"{1}"', "/add-dir /", "/@{0}", "(@{0})", "中@{0}", "\u200b@{0}", "\t@{0},@{0}", "\u2003@{0}", "\r@{0}"]
    words = "\n".join(mentions).format(path, canary)
    bot.say(words, forward_origin=FORWARDED)
    bot.wait_for("You said: Here is a message from somebody else.")
    bot.say("What is this?", reply_to_message={
        "message_id": 9_000, "date": 1_700_000_000, "chat": {"id": OWNER, "type": "private"}, "text": words,
        "from": {"id": 666, "is_bot": False, "first_name": "A stranger"},
    })
    bot.wait_for("You said: What is this?")

    asked = [str(request.body) for request in stub.requests]
    bot.ask(f"mine: @{path}", answer="You said: mine")

    assert len(asked) == 2
    assert not any("canary sings" in body for body in asked)
    assert "canary sings" in str(stub.requests[-1].body)


@pytest.mark.parametrize(
    "prompt",
    [
        "-p --version", "--help", "/home/nobody/notes.txt, please", "@nobody said so", "@", '"quoted" $HOME `id` \\ %s', "# a heading",
        "!ls", "x" * 100_000,
    ],
    ids=["dash", "two dashes", "slash", "at", "lone at", "shell", "hash", "bang", "100 kB"],
)
def test_a_prompt_reaches_the_model_as_it_was_written_and_no_command_line(bot: ClaudeBot, stub: ModelStub, prompt: str) -> None:
    bot.ask(prompt, answer="You said:")

    (request,) = stub.requests
    (typed,) = request.typed
    assert typed.lstrip(" ") == prompt
    assert not any(prompt in word for word in bot.agents()[bot.agent()] if len(prompt) > 1 and word != prompt[:2])


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

        assert "The turn reached the spending limit (max_budget_usd)" in said
        assert not set(bot.agents()) & set(first)
        assert any("dear" in text for text in stub.requests[-1].typed)


@pytest.mark.xfail(strict=True, reason="what the first try had written stays above the answer in a quote")
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


def test_the_agent_and_its_tools_get_no_token(bot: ClaudeBot) -> None:
    bot.ask("[[scenario:tool cmd='env | sort | head -c 250']]", answer="The tool said:")

    variables = read(bot.agent(), "environ").decode()

    assert f"DUCTOR_CHAT_ID={OWNER}" in variables
    assert bot.telegram.token not in variables
    assert bot.telegram.token not in str(bot.agents())


def test_without_a_login_the_chat_says_how_to_sign_in(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, key="") as bot:
        bot.say("hello")

        assert bot.wait_for("⚠️").text == (
            "⚠️ Claude Code is not signed in. Run claude auth login on the machine, then send the message again."
        )
        assert stub.requests == []


def test_without_the_program_the_chat_says_how_to_install_it(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, command=str(tmp_path / "claude")) as bot:
        bot.say("hello")

        assert "Claude Code is not installed on this machine." in bot.wait_for("⚠️").text
        assert stub.requests == []
