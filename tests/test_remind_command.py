"""/remind through the whole bot: what is kept, what is said at once, and what at its moment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ductor_lib.commands.remind import title
from ductor_lib.demo.state import Message
from tests.fakes import OWNER, SOON, Bot
from tests.program import until

ZONE = "Europe/Berlin"


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    with Bot(tmp_path, user_timezone=ZONE) as running:
        yield running


def kept(bot: Bot) -> list[dict[str, object]]:
    """The jobs as they stand in the file."""
    return json.loads(bot.paths.cron_jobs.read_text())["jobs"] if bot.paths.cron_jobs.exists() else []


def labels(message: Message) -> list[str]:
    return [str(button["text"]) for row in message.buttons for button in row]


def until_shown(bot: Bot, words: str) -> Message:
    """The message as it is when it shows these words."""

    def found(_: object) -> Message | None:
        return next((message for message in bot.shown() if words in message.text), None)

    message = bot.telegram.wait(found, timeout=SOON, what=words)
    assert isinstance(message, Message)
    return message


def test_a_reminder_is_kept_and_its_moment_is_said(bot: Bot) -> None:
    bot.say("/remind 2h call  the bank\nand ask *Jo_e*")

    said = until_shown(bot, "⏰")
    assert re.fullmatch(r"⏰ \w+day \d+ \w{3}( \d{4})? \d\d:\d\d \(in 2 h\): call the bank\nand ask \*Jo_e\*", said.text.replace("  ", " "))
    assert labels(said) == ["✖ Cancel"]
    [job] = kept(bot)
    moment = datetime.fromisoformat(str(job["at"]))
    assert timedelta(minutes=119) < moment - datetime.now(UTC) <= timedelta(hours=2)
    assert (job["title"], job["message"], job["chat"]) == ("call the bank and ask *Jo_e*", "call  the bank\nand ask *Jo_e*", str(OWNER))
    assert str(job["id"]).startswith("call-the-bank-and-ask-jo-e-")


def test_a_reminder_of_a_topic_goes_to_that_topic(tmp_path: Path) -> None:
    with Bot(tmp_path, allowed_group_ids=[-100]) as bot:
        bot.say("/remind tomorrow 9:00 water the plants", chat=-100, topic=7)
        bot.wait_for("water the plants", chat=-100, topic=7)

        bot.say("/remind", chat=-100, topic=7)

        assert "1. tomorrow 09:00: water the plants" in bot.wait_for("Reminders of this chat", chat=-100, topic=7).text
        assert kept(bot)[0]["chat"] == "-100:7"
        bot.say("/remind")
        assert "No reminders wait in this chat" in until_shown(bot, "No reminders").text


def test_cancel_takes_the_reminder_back_where_it_was_promised(bot: Bot) -> None:
    bot.say("/remind 2h call the bank")
    said = until_shown(bot, "call the bank")

    bot.telegram.press(said.id, "✖ Cancel")

    gone = until_shown(bot, "✖ Cancelled: call the bank")
    assert (gone.id, labels(gone)) == (said.id, [])
    assert kept(bot) == []


def test_the_list_has_the_next_one_first_and_cancels_there_too(bot: Bot) -> None:
    bot.say("/remind 3 days later thing")
    bot.say("/remind 2h ask is the build through?")
    until_shown(bot, "later thing")
    until_shown(bot, "is the build through?")

    bot.say("/remind")
    listed = until_shown(bot, "Reminders of this chat")
    assert re.search(r"1\. \w+ \d\d:\d\d 🤖: is the build through\?\n2\. .*: later thing", listed.text)
    assert "friday 18:30" in listed.text
    bot.telegram.press(listed.id, "✖ Cancel 2")

    changed = until_shown(bot, "✖ Cancelled: later thing")
    assert (changed.id, labels(changed)) == (listed.id, ["✖ Cancel 1"])
    assert [job["message"] for job in kept(bot)] == ["is the build through?"]
    bot.settle()
    assert not [message for message in bot.shown() if "(in 3 days)" in message.text]


def test_a_cancel_that_is_pressed_too_late_says_so(bot: Bot) -> None:
    bot.say("/remind 2h call the bank")
    said = until_shown(bot, "call the bank")
    bot.say("/remind")
    listed = until_shown(bot, "Reminders of this chat")
    bot.telegram.press(said.id, "✖ Cancel")
    until_shown(bot, "✖ Cancelled")

    bot.telegram.press(listed.id, "✖ Cancel 1")

    assert "No reminders wait" in until_shown(bot, "That reminder does not wait any more.").text


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("call the bank", "I do not see when."), ("2h", "and what shall I say then?"), ("2h ask", "and what shall I ask then?"),
        ("25:00 x", "There is no time 25:00"), ("2020-01-01 9:00 x", "2020-01-01 09:00 is in the past"),
        ("31.4. 9:00 x", "There is no such date"), ("cancel", "I do not see when."),
        ("cancel everything", "I do not see when."), ("0h x", "That is now, not later."),
    ],
)  # fmt: skip
def test_what_is_not_understood_names_the_forms(bot: Bot, words: str, answer: str) -> None:
    bot.say(f"/remind {words}")

    assert "/remind 2h call the bank" in until_shown(bot, answer).text
    assert kept(bot) == []


def test_while_the_file_is_damaged_nothing_is_kept_and_the_line_is_named(bot: Bot) -> None:
    bot.paths.cron_jobs.write_text('{"jobs": [\n}')

    bot.say("/remind 2h call the bank")

    assert "cron_jobs.json, line 2" in until_shown(bot, "⚠️").text
    assert bot.paths.cron_jobs.read_text() == '{"jobs": [\n}'


def test_a_reminder_is_said_at_its_moment_without_an_agent(bot: Bot) -> None:
    bot.say("/remind 1s call the bank")

    bot.telegram.wait(lambda _: [m for m in bot.shown() if m.text == "⏰ call the bank"], timeout=SOON, what="the reminder")
    until(lambda: kept(bot) == [], "the end of the reminder")  # it goes right after it was said
    assert bot.prompts() == []


def test_an_ask_reaches_the_agent_of_the_conversation_at_its_moment(bot: Bot) -> None:
    bot.say("/remind 1s ask is the build through?")

    assert "answers here" in until_shown(bot, "That goes to the agent of this conversation").text
    bot.wait_for("You wrote")
    assert "is the build through?" in bot.prompts()[-1]


def test_a_long_reminder_has_a_short_title() -> None:
    assert title("a  b\nc") == "a b c"
    assert title("word " * 40) == ("word " * 12)[:59].rstrip() + "…"
