"""Leading words that begin with @ say who answers one message; everything else stays as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.codex_models import Model
from ductor_lib.orchestrator.directives import Directed, read
from ductor_lib.ports import Choice

CODEX = (
    Model("gpt-5.5", "GPT-5.5", ("low", "medium", "high", "ultra"), "medium", is_default=True),
    Model("gpt-5.5-mini", "GPT-5.5 mini", ("low",), "low", is_default=False),
)
NOW = Choice("claude", "sonnet", "low")


class Listing:
    def __init__(self, models: tuple[Model, ...] = ()) -> None:
        self._models = models

    def list(self) -> tuple[Model, ...]:
        return self._models


class Forbidden:
    """A list that must not be asked for."""

    def list(self) -> tuple[Model, ...]:
        raise AssertionError("a list of models was asked for")


def directed(text: str, choice: Choice = NOW, *, codex: tuple[Model, ...] = CODEX) -> Directed:
    return read(text, choice, Catalogue(Listing(), Listing(codex)))


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("@opus do it", Choice("claude", "opus", "low")),
        ("@OPUS do it", Choice("claude", "opus", "low")),
        ("  @opus\ndo it", Choice("claude", "opus", "low")),
        ("@haiku do it", Choice("claude", "haiku", "")),
        ("@high do it", Choice("claude", "sonnet", "high")),
        ("@opus @max do it", Choice("claude", "opus", "max")),
        ("@Max @opus do it", Choice("claude", "opus", "max")),
        ("@gpt-5.5 do it", Choice("codex", "gpt-5.5", "low")),
        ("@gpt-5.5 @high do it", Choice("codex", "gpt-5.5", "high")),
        ("@gpt-5.5 @ultra do it", Choice("codex", "gpt-5.5", "ultra")),
        ("@codex do it", Choice("codex", "gpt-5.5", "low")),
        ("@claude @high do it", Choice("claude", "opus", "high")),
        ("@opus @haiku @opus do it", Choice("claude", "opus", "low")),
    ],
)
def test_directives_say_who_answers_and_leave_the_text(text: str, choice: Choice) -> None:
    assert directed(text) == Directed(choice, "do it")


def test_an_effort_that_was_chosen_goes_along_only_where_the_model_knows_it() -> None:
    assert directed("@gpt-5.5 x", Choice("claude", "opus", "max")).choice == Choice("codex", "gpt-5.5", "medium")


@pytest.mark.parametrize(
    "text",
    ["@file.py what is this?", "@someone", "@ opus", "write @opus", "", "   ", "\n@", "@opus, do it", "@@opus x", "mail a@opus b", "@",
     "@sonnet4 x"],
)
def test_other_words_stay_text_to_the_last_blank(text: str) -> None:
    assert directed(text) == Directed(NOW, text)


def test_everything_from_the_first_other_word_on_is_text() -> None:
    assert directed("@opus @file.py @high  look\n\n  here ").text == "@file.py @high  look\n\n  here "


@pytest.mark.parametrize(
    ("text", "words"),
    [("@opus", ("Opus (Claude Code), effort low", "/model opus low")), (" @codex @high\n", ("(Codex), effort high", "/model gpt-5.5 high")),
     ("@haiku", ("Haiku (Claude Code) answers", "/model haiku`"))],
)  # fmt: skip
def test_directives_alone_explain_themselves(text: str, words: tuple[str, ...]) -> None:
    answer = directed(text).answer

    assert "write your text behind it" in answer
    assert all(word in answer for word in words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@minimal do it", ("Sonnet does not know the effort `minimal`", "low, medium, high, xhigh, max")),
        ("@high @gpt-5.5-mini do it", ("does not know the effort `high`", "It knows low.")),
        ("@haiku @high do it", ("Haiku takes no effort",)),
    ],
)
def test_an_effort_that_the_model_does_not_know_is_answered_with_those_it_knows(text: str, words: tuple[str, ...]) -> None:
    answer = directed(text).answer

    assert "not sent" in answer
    assert all(word in answer for word in words)


def test_codex_can_be_asked_for_while_it_lists_nothing() -> None:
    assert directed("@codex do it", codex=()) == Directed(Choice("codex", "", "low"), "do it")
    assert "/model" not in directed("@codex", codex=()).answer


def test_a_model_that_nobody_lists_takes_an_effort() -> None:
    own = Choice("claude", "claude-opus-4-8", "")

    assert directed("@max do it", own) == Directed(Choice("claude", "claude-opus-4-8", "max"), "do it")


@settings(max_examples=200)
@given(st.text())
def test_a_text_without_a_leading_at_costs_no_look_up(text: str) -> None:
    text = text if not text.lstrip().startswith("@") else f"x{text}"

    assert read(text, NOW, Catalogue(Forbidden(), Forbidden())) == Directed(NOW, text)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["@opus", "@high", "@codex", "@x", "word", "@", "\n", "@haiku"])).map(" ".join))
def test_what_stays_is_always_the_end_of_what_was_written(text: str) -> None:
    assert text.endswith(directed(text).text)
