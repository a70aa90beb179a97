"""The real Claude Code under the whole bot: what a person sees in the chat, and what the model is asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.claude_bot import MISSING, ClaudeBot, until
from tests.e2e.model_stub import ModelStub
from tests.e2e.script import long_text
from tests.fakes import OWNER, is_running

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

FORWARDED = {"type": "hidden_user", "sender_user_name": "A stranger", "date": 1_700_000_000}
PROMPTS = (
    "-p --version", "--help", "/home/nobody/notes.txt, please", "@nobody said so", "@", '"quoted" $HOME `id` \\ %s', "# a heading", "!ls",
    "first\n\n/second\n@third", "ünïcode 👩‍👩‍👧 עברית", "x" * 100_000,
)


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
    assert f"print({last})" in long_text(20_000).splitlines()[-3:]
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
    ("scenario", "sentence"),
    [
        ("error400", "This conversation has become too long for the model. Start a fresh one with /new."),
        ("error401", "Claude Code is not signed in. Run claude auth login on the machine, then send the message again."),
        ("error404", "Claude Code does not know this model. Choose another one with /model."),
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


def test_servers_that_cannot_be_reached_are_reported(tmp_path: Path) -> None:
    with ModelStub() as gone:
        pass
    with ClaudeBot(tmp_path, gone) as bot:
        bot.say("hello")

        assert "Claude Code could not reach its servers. Check the machine's network" in bot.wait_for("⚠️").text


def test_a_tool_that_is_not_allowed_is_named(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, cli_parameters={"claude": []}) as bot:
        bot.say("[[scenario:tool cmd='python3 -c 1']]")

        assert bot.wait_for("🔒").text.endswith("🔒 Refused for want of permission: Bash (see permission_mode).")


def test_status_tells_the_version_the_login_and_what_was_spent(bot: ClaudeBot) -> None:
    spent = []
    for number in range(1, 4):
        bot.ask(f"[[scenario:plain tokens=100000 n={10 + number}]]", answer=f"word{9 + number}")
        bot.say("/status")
        status = bot.wait_for(f"Used {number} message").text
        spent.append(float(re.findall(r"\$([\d.]+)", status)[0]))

    assert re.search(r"Claude Code \d+\.\d+\.\d+ is signed in", status)
    assert "1 agent process," in status
    assert spent[0] > 0.1  # USD
    assert spent == pytest.approx([spent[0], 2 * spent[0], 3 * spent[0]], rel=0.01)


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


def test_prompts_reach_the_model_as_they_were_written_and_no_command_line(bot: ClaudeBot, stub: ModelStub) -> None:
    for prompt in PROMPTS:
        bot.say(prompt)

    until(lambda: len(stub.requests) == len(PROMPTS) and bot.app.settled(), "the last answer")

    # a leading slash would be a command of the CLI's own
    said = [request.typed[-1].partition("\n\n(ductor: ")[0] for request in stub.requests]  # without its reminders
    assert said == [f" {prompt}" if prompt[0] == "/" else prompt for prompt in PROMPTS]
    arguments = bot.agents()[bot.agent()]
    assert not [word for word in arguments for prompt in PROMPTS if len(prompt) > 2 and prompt in word]


def test_tools_know_the_chat_and_never_see_the_token(bot: ClaudeBot) -> None:
    bot.ask(f"[[scenario:tool cmd='env > {bot.folder}/env.txt']]", answer="The tool said:")

    variables = (bot.folder / "env.txt").read_text()

    assert f"DUCTOR_CHAT_ID={OWNER}\n" in variables
    assert bot.telegram.token not in variables
    assert bot.telegram.token not in str(bot.agents())


def test_without_a_login_the_chat_says_how_to_sign_in(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, key="") as bot:
        bot.say("hello")

        assert "❌ Claude Code is not signed in: run claude auth login on the machine." in bot.wait_for("❌").text
        assert stub.requests == []


def test_without_the_program_the_chat_says_how_to_install_it(tmp_path: Path, stub: ModelStub) -> None:
    with ClaudeBot(tmp_path, stub, command=str(tmp_path / "claude")) as bot:
        bot.say("hello")

        assert "❌ Claude Code is not installed: npm install" in bot.wait_for("❌").text
        assert stub.requests == []
