"""A message's whole way: Telegram, ledger, lane, agent, outbox, Telegram."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import SOON, Bot, is_running


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    with Bot(tmp_path) as running:
        yield running


def hold(folder: Path, name: str = "gate") -> tuple[str, Path]:
    """A prompt whose turn runs until the file is there, and the file."""
    gate = folder / name
    return f"[[scenario:hold file={gate}]] {name}", gate


def test_a_message_is_answered_by_the_agent_in_one_message(bot: Bot) -> None:
    bot.say("good morning")

    answer = bot.wait_for("good morning")

    assert bot.prompts() == ["good morning"]
    assert len(bot.shown()) == 1
    assert not answer.buttons


def test_messages_to_a_busy_chat_wait_on_one_card_and_are_answered_in_order(bot: Bot) -> None:
    prompt, gate = hold(bot.folder)
    bot.say(prompt)
    bot.wait_until_it_runs()
    for number in range(5):
        bot.say(f"number {number}")
    card = bot.wait_for("5 messages waiting")

    assert [row[0]["text"] for row in card.buttons] == [f"✖ Cancel {n}" for n in range(1, 6)]
    gate.touch()
    bot.telegram.wait(lambda _: all("waiting" not in m.text and not is_running(m) for m in bot.shown()[-6:]) and len(bot.shown()) == 6,
                      timeout=SOON, what="six answers and no card")
    assert bot.prompts()[1:] == [f"number {n}" for n in range(5)]


def test_a_cancelled_message_never_reaches_the_agent(bot: Bot) -> None:
    prompt, gate = hold(bot.folder)
    bot.say(prompt)
    bot.say("not this")
    bot.say("but this")
    card = bot.wait_for("2 messages waiting")

    bot.telegram.press(card.id, "Cancel 1")
    bot.wait_for("1 message waiting")
    gate.touch()

    bot.wait_for("but this")
    assert "not this" not in bot.prompts()


def test_stop_ends_the_turn_and_drops_only_what_was_sent_before(bot: Bot) -> None:
    prompt, _ = hold(bot.folder)
    bot.say(prompt)
    bot.wait_until_it_runs()
    bot.say("dropped")
    bot.wait_for("1 message waiting")

    bot.say("stop")
    bot.say("after")

    assert "the running turn, 1 waiting message dropped" in bot.wait_for("⏹ Stopped:").text
    bot.wait_for("You wrote:\n\nafter")  # the answer: the word alone may stand on the card of waiting messages
    assert "dropped" not in bot.prompts()
    assert any("⏹ Stopped." in m.text for m in bot.shown())


def test_the_stop_button_ends_the_turn_and_keeps_the_queue(bot: Bot) -> None:
    prompt, _ = hold(bot.folder)
    bot.say(prompt)
    preview = bot.wait_until_it_runs()
    bot.say("next")

    bot.telegram.press(preview.id, "Stop")

    assert bot.wait_for("⏹ Stopped.").id == preview.id
    bot.wait_for("next")


def test_an_edit_of_a_waiting_message_is_what_the_agent_gets(bot: Bot) -> None:
    prompt, gate = hold(bot.folder)
    bot.say(prompt)
    message = bot.say("teh question")
    bot.wait_for("1 message waiting")

    bot.telegram.edit(message, "the question")
    bot.wait_for("the question")  # on the card of waiting messages
    gate.touch()

    bot.wait_for("the question")
    assert "teh question" not in bot.prompts()


def test_a_fresh_start_ends_the_turn_keeps_the_queue_and_begins_a_new_session(bot: Bot) -> None:
    prompt, _ = hold(bot.folder)
    bot.say(prompt)
    bot.wait_until_it_runs()
    bot.say("kept")
    bot.wait_for("1 message waiting")

    bot.say("/new")

    assert "1 waiting message will run in it" in bot.wait_for("Fresh session").text
    bot.wait_for("kept")


def test_words_after_new_are_the_first_message_of_the_fresh_session(bot: Bot) -> None:
    bot.say("before")
    bot.wait_for("before")

    bot.say("/new and now for something else")

    bot.wait_for("You wrote:\n\nand now for something else")
    assert bot.prompts() == ["before", "and now for something else"]


def test_two_conversations_run_side_by_side_and_topics_are_conversations(tmp_path: Path) -> None:
    with Bot(tmp_path, allowed_group_ids=[-100]) as bot:
        bot.telegram.add_group(-100, topics=[7])
        prompt, gate = hold(tmp_path)
        bot.say(prompt, chat=-100, topic=7)
        bot.wait_until_it_runs(chat=-100, topic=7)

        bot.say("quick one")

        bot.wait_for("quick one")
        gate.touch()
        assert bot.wait_for("Going on", chat=-100, topic=7).topic == 7


def test_a_stranger_gets_silence(bot: Bot) -> None:
    bot.say("let me in", user=666)
    bot.say("hello")

    bot.wait_for("hello")
    assert bot.prompts() == ["hello"]
    assert bot.shown(666) == []


def test_a_restart_answers_what_waited_and_asks_about_what_was_cut_off(bot: Bot) -> None:
    prompt, gate = hold(bot.folder)
    bot.say(prompt)
    bot.wait_until_it_runs()
    bot.say("waits")
    bot.wait_for("1 message waiting")

    bot.restart()

    bot.wait_for("ductor was stopped while working on this")
    cut = bot.wait_for("I was stopped in the middle of this message")
    bot.wait_for("You wrote:\n\nwaits")
    gate.touch()
    bot.telegram.press(cut.id, "Run again")
    bot.telegram.wait(lambda _: [m.text for m in bot.shown()].count(cut.text) == 0, timeout=SOON, what="the second run")
    bot.settle()
    assert bot.prompts().count(prompt) == 2


def test_messages_from_a_long_absence_are_asked_about_once(bot: Bot) -> None:
    long_ago = time.time() - 7200
    for text in ("first", "second"):
        bot.say(text, date=long_ago)
    card = bot.wait_for("2 messages came while I was away")

    bot.telegram.press(card.id, "Merge")

    bot.wait_for("You wrote")
    assert bot.prompts() == ["first\n\nsecond"]


def test_a_background_task_that_ends_is_reported_in_a_message_of_its_own(bot: Bot) -> None:
    bot.say("[[scenario:background secs=0.2]] work")

    bot.telegram.wait(lambda _: len([m for m in bot.shown() if not is_running(m)]) >= 2, timeout=SOON, what="the report")
    assert len(bot.prompts()) == 1
