"""Every command answers, in words, whatever the moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ductor_lib.commands.table import ROWS, menu
from tests.fakes import SOON, Bot
from tests.program import until


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with Bot(tmp_path_factory.mktemp("bot")) as running:
        yield running


def answer(bot: Bot, text: str) -> str:
    """What the bot says to one message."""
    before = len(bot.shown())
    bot.say(text)
    found = bot.telegram.wait(lambda _: bot.shown()[before:], timeout=SOON, what=f"an answer to {text}")
    return found[0].text


@pytest.mark.parametrize("command", ["/interrupt", "/stop", "stop"])
def test_ending_nothing_says_that_nothing_runs(bot: Bot, command: str) -> None:
    assert "Nothing is running" in answer(bot, command)


def test_steering_nothing_says_what_to_do_instead(bot: Bot) -> None:
    assert "Send it as a message" in answer(bot, "/steer the other file")
    assert "/steer only the second file" in answer(bot, "/steer")


@pytest.mark.parametrize("command", ["/cancel 99", "/cancel", "/cancel x", "/again 99", "/again", "/forget 99", "/held run", "/held",
                                     "/interrupt 99", "/stale"])  # fmt: skip
def test_a_button_from_an_earlier_time_says_so_and_does_nothing(bot: Bot, command: str) -> None:
    assert answer(bot, command)


def test_help_lists_every_command_of_the_menu(bot: Bot) -> None:
    text = answer(bot, "/help")

    assert all(f"/{name} – {help_}" in text for name, help_ in menu())


def test_the_menu_is_kept_in_step_with_the_table(bot: Bot) -> None:
    [rows] = bot.telegram.wait(lambda t: list(t.commands.values()), timeout=SOON, what="the menu of commands")

    assert [(row["command"], row["description"]) for row in rows] == [(row.name, row.help) for row in ROWS if row.help]


def test_start_says_who_is_signed_in_and_its_buttons_send_full_prompts(bot: Bot) -> None:
    assert "signed in" in answer(bot, "/start")
    card = bot.shown()[-1]
    assert len(card.buttons) == 3

    bot.telegram.press(card.id, "Look around")

    bot.wait_for("Look around on this machine")
    assert bot.prompts()[-1].startswith("Look around on this machine (system, disk")


def test_status_tells_session_costs_queue_agents_and_uptime(bot: Bot) -> None:
    bot.say("count me")
    bot.wait_for("count me")
    bot.settle()

    text = answer(bot, "/status")

    for word in ("Conversation chat:42: idle", "0 messages waiting", "effort medium", "last active", "tokens in", "1 agent process", "up "):
        assert word in text


def test_info_tells_the_version_and_queue_what_waits(bot: Bot) -> None:
    assert "ductor 0." in answer(bot, "/info")
    assert "Nothing is running" in answer(bot, "/queue")


def test_an_unknown_command_gets_a_suggestion_and_no_turn(bot: Bot) -> None:
    before = bot.prompts()

    assert "/status" in answer(bot, "/stauts")
    assert bot.prompts() == before


def test_a_photo_without_words_is_answered_with_what_can_be_done(bot: Bot) -> None:
    before = len(bot.shown())
    bot.telegram.push({"message": {
        "message_id": 900, "date": 2_000_000_000, "chat": {"id": 42, "type": "private"},
        "from": {"id": 42, "is_bot": False, "first_name": "P"},
        "photo": [{"file_id": "x", "file_unique_id": "y", "width": 1, "height": 1}],
    }})  # fmt: skip

    [said] = bot.telegram.wait(lambda _: bot.shown()[before:], timeout=SOON)
    assert "not a photo" in said.text


def test_a_session_that_the_agent_has_lost_is_replaced_and_the_chat_is_told(tmp_path: Path) -> None:
    with Bot(tmp_path, agents={"warm": 0}) as bot:
        bot.say("one")
        bot.wait_for("one")
        bot.settle()
        for file in (tmp_path / ".claude-demo").rglob("*.json*"):
            file.unlink()

        bot.say("two")

        assert "no longer knows the earlier conversation" in bot.wait_for("You wrote:\n\ntwo").text


def test_a_full_session_is_replaced_and_the_chat_is_told(tmp_path: Path) -> None:
    with Bot(tmp_path, max_session_messages=1) as bot:
        bot.say("one")
        bot.wait_for("one")
        bot.settle()
        first = json.loads(bot.paths.sessions.read_text())

        bot.say("two")

        assert "the last one was full" in bot.wait_for("You wrote:\n\ntwo").text
        bot.settle()
        assert json.loads(bot.paths.sessions.read_text()) != first


def test_a_discard_pressed_twice_says_that_nothing_waits(bot: Bot) -> None:
    bot.settle()

    assert "nothing waits for it any more" in answer(bot, "/held discard")


def test_stopping_a_turn_that_is_already_stopping_says_so(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.say("[[scenario:hang hard=1]] work")
        until(bot.prompts, "the agent's prompt")

        bot.say("stop")
        bot.say("stop")

        bot.wait_for("being stopped already")
