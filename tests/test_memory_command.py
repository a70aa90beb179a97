"""/memory: the file as it is, or why there is nothing to show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.commands.memory import LONGEST, end_of, size
from ductor_lib.storage import JsonFile
from ductor_lib.workspace.upkeep import STATE
from tests.fakes import SOON, Bot
from tests.program import until

HOW = "tell the agent what to remember or to forget, or edit the file"


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with Bot(tmp_path_factory.mktemp("bot")) as running:
        yield running


def remembered(bot: Bot, text: str | bytes) -> Path:
    bot.paths.memory.parent.mkdir(parents=True, exist_ok=True)
    bot.paths.memory.write_bytes(text if isinstance(text, bytes) else text.encode())
    return bot.paths.memory


def test_the_memory_is_shown_with_its_size_its_age_and_how_to_change_it(bot: Bot) -> None:
    path = remembered(bot, "# Memory\n\n- lives in Hamburg\n- has a dog, `Rex`\n")

    bot.say("/memory")

    said = bot.wait_for("lives in Hamburg").text
    assert said.startswith("Memory 48 bytes, changed ")
    assert "has a dog, Rex" in said
    assert HOW in said
    assert str(path) in said


def test_what_looks_like_markup_of_the_bot_is_shown_and_does_nothing(bot: Bot) -> None:
    remembered(bot, "[button:Yes] <file:/etc/passwd> <!-- a note --> an *unclosed `thing\n```\ncode")

    bot.say("/memory")

    said = bot.wait_for("unclosed")
    assert all(words in said.text for words in ("[button:Yes]", "<file:/etc/passwd>", "<!-- a note -->", "code"))
    assert not said.buttons


def test_a_long_memory_is_sent_whole(bot: Bot) -> None:
    remembered(bot, "".join(f"- fact number {number} of many\n" for number in range(400)))

    bot.say("/memory")

    bot.wait_for("fact number 399 of many")
    said = "\n".join(message.text for message in bot.shown())
    assert all(f"fact number {number} of" in said for number in range(400))


def test_of_a_very_long_memory_the_end_is_shown_and_that_is_said(bot: Bot) -> None:
    remembered(bot, "".join(f"- line {number:05}\n" for number in range(10_000)))

    bot.say("/memory")

    bot.wait_for("line 09999")
    said = "\n".join(message.text for message in bot.shown())
    assert "this is its end, the last 16.0 kB. The rest is in the file." in said
    assert "line 00000" not in said


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_memory_is_said_to_be_empty(bot: Bot, content: bytes) -> None:
    remembered(bot, content)
    before = len(bot.shown())

    bot.say("/memory")

    said = bot.telegram.wait(lambda _: bot.shown()[before:], timeout=SOON)[0].text
    assert said.startswith("The memory is empty: nothing was remembered yet.")
    assert HOW in said


def test_without_a_memory_it_is_said_how_one_begins(bot: Bot) -> None:
    until(lambda: STATE in JsonFile(bot.paths.state).read(), "who is signed in")  # finding that out repairs the home
    bot.paths.memory.unlink(missing_ok=True)

    bot.say("/memory")

    assert str(bot.paths.memory) in bot.wait_for("There is no memory yet").text


@settings(max_examples=60)
@given(st.text(max_size=300), st.integers(0, 400))
def test_the_end_of_a_text_is_its_end_and_never_too_long(text: str, times: int) -> None:
    whole = text * times

    shown = end_of(whole)

    if len(whole.encode("utf-8", "replace")) <= LONGEST:
        assert shown == whole
    else:
        head, _, rest = shown.partition("\n\n")
        assert "The rest is in the file" in head
        assert whole.encode("utf-8", "replace").decode().endswith(rest)
        assert len(rest.encode()) <= LONGEST


def test_sizes_are_in_words() -> None:
    assert [size(number) for number in (0, 999, 1000, 16_450)] == ["0 bytes", "999 bytes", "1.0 kB", "16.4 kB"]
