"""What an agent is told around a person's words: where it is, what it remembers, what to write down, and what happened meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator import prompts
from ductor_lib.orchestrator.prompts import LARGE_MEMORY, REMIND_EVERY
from tests.automation import prompted
from tests.fakes import Bot

REMINDER = "If you have learnt something lasting"
CONDENSE = "has become long"


@pytest.mark.parametrize(("size", "words"), [(0, REMINDER), (LARGE_MEMORY, REMINDER), (LARGE_MEMORY + 1, CONDENSE)])
def test_every_sixth_message_is_reminded_of_the_memory_and_of_its_size_when_it_is_large(size: int, words: str) -> None:
    reminded = {number: text for number in range(1, 25) if (text := prompts.reminders(number, size))}

    assert list(reminded) == [REMIND_EVERY * times for times in (1, 2, 3, 4)]
    assert all(words in text and text.startswith("(ductor: ") and text.count("(ductor: ") == 1 for text in reminded.values())


@pytest.mark.parametrize(
    ("chat", "place"), [(Chat(42), "a private chat"), (Chat(-100), "a group"), (Chat(-100, 7), "a topic of a group")]
)
def test_an_agent_is_told_where_it_is(chat: Chat, place: str) -> None:
    assert f"shown in {place}." in prompts.instructions(chat)


@pytest.mark.parametrize(("chats", "readers"), [((Chat(42),), "your owner"), ((Chat(42), Chat(43)), "2 chats")])
def test_an_unattended_agent_is_told_who_reads_its_result(chats: tuple[Chat, ...], readers: str) -> None:
    told = prompts.unattended(chats)

    assert f"sent to {readers} as it is" in told
    assert "nobody can answer" in told


def test_an_empty_memory_adds_nothing() -> None:
    assert prompts.memory(" \n") == ""
    assert prompts.memory("\nlikes tea\n").endswith("\n\nlikes tea")


def test_the_words_of_others_are_fenced_behind_the_person_s_own() -> None:
    both = prompts.prompt(Incoming("1", Chat(42), " what is that?\r\n", untrusted="@home /etc"))
    alone = prompts.prompt(Incoming("1", Chat(42), "", untrusted="hello"))

    assert both.startswith("what is that?\n\nWhat stands between the two")
    assert "@ home /etc" in both
    assert alone.startswith("Here is a message from somebody else.")
    assert prompts.prompt(Incoming("1", Chat(42), " \x07 ")) == ""


def test_what_has_happened_stands_before_the_words_in_order() -> None:
    assert prompts.with_notes("and now?", ["first", "second"]) == "first\n\nsecond\n\nand now?"
    assert prompts.with_notes("and now?", []) == "and now?"


def test_an_agent_begins_with_the_memory_and_its_sixth_message_carries_the_reminder(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        memory = bot.paths.workspace / "memory_system" / "MAINMEMORY.md"
        memory.write_text("The owner likes tea.")
        for number in range(1, 8):
            bot.say(f"message {number}")
            bot.wait_for(f"message {number}")
            bot.settle()
        bot.say("/new")
        bot.wait_for("Fresh session")
        memory.write_text("The owner likes coffee. " * 400)
        for number in range(11, 17):
            bot.say(f"message {number}")
            bot.wait_for(f"message {number}")
            bot.settle()

    found = prompted(tmp_path)
    assert [number for number, prompt in enumerate(found, 1) if REMINDER in str(prompt["prompt"])] == [6]
    assert [number for number, prompt in enumerate(found, 1) if CONDENSE in str(prompt["prompt"])] == [13]
    assert str(found[5]["prompt"]).startswith("message 6\n\n(ductor: ")


def test_an_agent_of_a_conversation_knows_the_memory_from_its_start(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        (bot.paths.workspace / "memory_system" / "MAINMEMORY.md").write_text("The owner likes tea.")

        bot.say("hello")
        bot.wait_for("You wrote:\n\nhello")

        [prompt] = prompted(tmp_path)
        words = prompt["argv"]
        assert isinstance(words, list)
        told = Path(words[words.index("--append-system-prompt-file") + 1]).read_text()
        assert told.index("You are reached through ductor") < told.index("The owner likes tea.")
