"""/model and directives through the whole bot, with two scripted agents: who really answers, and what the panel says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ductor_lib.demo.state import Message
from tests.fakes import CODEX, OWNER, SOON, Bot

LISTING_MUCH = """
import sys
from ductor_lib.demo import codex_app_server, codex_agent
codex_app_server.MODELS.extend({"id": f"extra-{number}", "displayName": f"Extra {number}"} for number in range(15))
sys.exit(codex_agent.main(sys.argv[1:]))
"""


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    with Bot(tmp_path, codex=CODEX) as running:
        yield running


def panel(bot: Bot, words: str) -> Message:
    """The panel as it is when it shows these words."""

    def shown(_: object) -> Message | None:
        return next((message for message in bot.shown() if words in message.text), None)

    found = bot.telegram.wait(shown, timeout=SOON, what=f"a panel with {words}")
    assert isinstance(found, Message)
    return found


def choose(bot: Bot, words: str, answer: str) -> Message:
    bot.say(f"/model {words}")
    return panel(bot, answer)


def ask(bot: Bot, text: str) -> None:
    """One turn to its end."""
    bot.say(text)
    bot.wait_for("You wrote")
    bot.settle()


def labels(message: Message) -> list[str]:
    return [str(button["text"]) for row in message.buttons for button in row]


def asked(bot: Bot) -> dict[str, object]:
    """The last prompt that reached an agent, with its model and session."""
    facts: dict[str, object] = json.loads((bot.folder / "prompts.jsonl").read_text().splitlines()[-1])
    return facts


def stored(bot: Bot) -> object:
    return json.loads(bot.paths.sessions.read_text())[f"chat:{OWNER}"]["choice"]


def test_the_panel_leads_from_agent_to_model_to_effort_in_one_message(bot: Bot) -> None:
    bot.say("/model")
    first = panel(bot, "This conversation Opus (Claude Code)")
    assert labels(first) == ["✓ Claude Code", "Codex"]

    bot.telegram.press(first.id, "Codex")
    second = panel(bot, "Codex: which model?")
    assert (second.id, labels(second)) == (first.id, ["Scripted Large", "Scripted Small", "‹ Back"])
    bot.telegram.press(first.id, "Scripted Large")
    third = panel(bot, "Scripted Large (Codex), effort medium answers")
    assert (third.id, labels(third)) == (first.id, ["low", "✓ medium", "high", "Make default", "‹ Back"])
    bot.telegram.press(first.id, "high")
    last = panel(bot, "effort high answers")

    assert (last.id, labels(last)[:3]) == (first.id, ["low", "medium", "✓ high"])
    assert stored(bot) == {"provider": "codex", "model": "scripted-large", "effort": "high"}
    bot.telegram.press(first.id, "‹ Back")
    assert "✓ Scripted Large" in labels(panel(bot, "Codex: which model?"))
    bot.telegram.press(first.id, "‹ Back")
    assert "✓ Codex" in labels(panel(bot, "This conversation Scripted Large (Codex), effort high"))


def test_a_typed_choice_takes_the_place_of_the_old_panel(bot: Bot) -> None:
    old = choose(bot, "", "This conversation")

    new = choose(bot, "haiku", "Haiku (Claude Code) answers this conversation")

    bot.settle()
    assert [message.id for message in bot.shown()] == [new.id]
    assert new.id != old.id
    assert labels(new) == ["Make default", "‹ Back"]


def test_a_choice_is_what_runs_and_outlives_a_restart(bot: Bot) -> None:
    choose(bot, "Scripted Small low", "answers this conversation")
    bot.restart()

    ask(bot, "hello")

    assert (asked(bot)["prompt"], asked(bot)["model"]) == ("hello", "scripted-small")


def test_each_agent_keeps_its_session_and_the_answer_says_so(bot: Bot) -> None:
    ask(bot, "to claude")
    claude = str(asked(bot)["session_id"])
    assert "session" not in choose(bot, "codex high", "Scripted Large (Codex), effort high answers").text
    bot.say("to codex")
    bot.wait_for("to codex")
    bot.settle()
    assert asked(bot)["session_id"] != claude

    text = choose(bot, "opus", "Opus (Claude Code), effort high answers").text

    assert f"Claude Code goes on with its session {claude[:8]} (1 message); /new starts a fresh one." in text
    bot.say("claude again")
    bot.wait_for("claude again")
    bot.settle()
    assert asked(bot)["session_id"] == claude


def test_a_choice_during_a_turn_counts_from_the_next_one(bot: Bot) -> None:
    bot.say("[[scenario:slow secs=20]] first")
    bot.wait_until_it_runs()

    text = choose(bot, "haiku", "Haiku (Claude Code) answers").text

    assert "A turn is running: this counts from the next one." in text
    assert asked(bot)["model"] == "opus"
    bot.say("/interrupt")
    bot.say("second")
    bot.wait_for("You wrote:\n\nsecond")
    assert asked(bot)["model"] == "haiku"


def test_the_default_holds_for_other_conversations_and_after_a_restart(bot: Bot) -> None:
    made = choose(bot, "sonnet low", "Sonnet (Claude Code), effort low answers")
    bot.telegram.press(made.id, "Make default")

    assert panel(bot, "is the default now").id == made.id
    bot.restart()
    assert json.loads(bot.paths.state.read_text())["default_choice"] == {"provider": "claude", "model": "sonnet", "effort": "low"}
    assert "Make default" not in labels(choose(bot, "", "This conversation Sonnet (Claude Code), effort low"))


def test_an_effort_alone_keeps_the_model(bot: Bot) -> None:
    choose(bot, "LOW", "Opus (Claude Code), effort low answers")

    assert stored(bot) == {"provider": "claude", "model": "opus", "effort": "low"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("opsu", "I do not know the model opsu. Did you mean opus"),
        ("scripted-larg high", "I do not know the model scripted-larg high. Did you mean scripted-large"),
        ("`*_", "I do not know the model *_."),
        ("opus nonsense", "Opus does not know the effort nonsense. It knows low, medium, high, xhigh, max. Nothing was changed."),
        ("scripted-small high", "Scripted Small does not know the effort high. It knows low."),
        ("haiku high", "Haiku takes no effort"),
        ("minimal", "Opus does not know the effort minimal"),
        ("codex 0", "Codex: which model?"),
        ("codex 99999999999999999999", "Codex: which model?"),
        ("codex -1", "does not know the effort -1"),
    ],
)
def test_what_cannot_be_chosen_is_answered_and_changes_nothing(bot: Bot, words: str, answer: str) -> None:
    choose(bot, words, answer)

    assert not bot.paths.sessions.exists() or "choice" not in bot.paths.sessions.read_text()


def test_a_near_name_is_a_button(bot: Bot) -> None:
    said = choose(bot, "scripted-smal", "Did you mean")

    bot.telegram.press(said.id, "scripted-small")

    assert panel(bot, "Scripted Small (Codex), effort low answers").id == said.id


def test_a_long_list_is_turned_in_pages_of_eight(tmp_path: Path) -> None:
    program = tmp_path / "codex.py"
    program.write_text(LISTING_MUCH)
    with Bot(tmp_path, codex=(sys.executable, str(program))) as bot:
        first = choose(bot, "codex", "page 1 of 3")
        assert len(labels(first)) == 8 + 2

        bot.telegram.press(first.id, "Next ›")
        second = panel(bot, "page 2 of 3")
        assert labels(second)[8:] == ["‹ Previous", "Next ›", "‹ Back"]
        bot.telegram.press(first.id, "Next ›")
        last = panel(bot, "page 3 of 3")

        assert labels(last) == ["Extra 14", "‹ Previous", "‹ Back"]
        assert last.id == first.id


def test_without_codex_it_is_said_what_is_missing_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        text = choose(bot, "codex", "Codex has not told its models yet").text
        assert "Codex is not installed" in text

        refused = choose(bot, "gpt-9", "I do not know the model gpt-9.").text

        assert "Codex has not told its models yet" in refused
        assert "choice" not in (bot.paths.sessions.read_text() if bot.paths.sessions.exists() else "")


def test_an_agent_that_is_not_signed_in_can_be_chosen_all_the_same(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text(
        f'#!/bin/sh\ncase "$1" in auth) export DUCTOR_DEMO_SIGNED_OUT=1;; esac\nexec {sys.executable} -m ductor_lib.demo.agent "$@"\n'
    )
    program.chmod(0o755)
    with Bot(tmp_path, command=(str(program),), codex=CODEX) as bot:
        text = choose(bot, "sonnet", "Sonnet (Claude Code)").text

        assert "Claude Code is not signed in: run claude auth login on the machine. Your choice is kept" in text
        assert stored(bot) == {"provider": "claude", "model": "sonnet", "effort": "medium"}
        ask(bot, "hello")
        assert asked(bot)["model"] == "scripted-small"


def test_a_model_of_the_settings_that_nobody_lists_can_be_chosen_again(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX, model="claude-opus-0") as bot:
        choose(bot, "haiku", "Haiku (Claude Code) answers")

        choose(bot, "claude-opus-0 max", "claude-opus-0 (Claude Code), effort max answers")

        ask(bot, "hello")
        assert asked(bot)["model"] == "claude-opus-0"


def test_directives_hold_for_one_message_only(bot: Bot) -> None:
    bot.say("@scripted-small one")
    bot.wait_for("one")
    bot.settle()
    assert (asked(bot)["prompt"], asked(bot)["model"]) == ("one", "scripted-small")

    bot.say("two")
    bot.wait_for("two")
    bot.settle()

    assert (asked(bot)["prompt"], asked(bot)["model"]) == ("two", "opus")


def test_directives_alone_are_answered_and_nothing_runs(bot: Bot) -> None:
    bot.say("@haiku")
    bot.wait_for("write your text behind it")
    bot.say("@haiku @high do it")
    bot.wait_for("Haiku takes no effort")
    bot.settle()

    assert bot.prompts() == []


def test_a_person_or_a_file_at_the_beginning_is_text(bot: Bot) -> None:
    bot.say("@file.py @opus what is this?")
    bot.wait_for("what is this?")

    assert bot.prompts() == ["@file.py @opus what is this?"]


def test_a_provider_s_name_that_is_typed_means_its_default_model(bot: Bot) -> None:
    bot.say("/model codex")

    text = bot.wait_for("answers this conversation").text

    assert "Scripted Large (Codex)" in text
    assert "which model?" in text
    bot.say("who is there")
    bot.wait_for("You wrote:\n\nwho is there")
    bot.say("/status")
    assert "Agent Codex, scripted-large" in bot.wait_for("Conversation chat").text
