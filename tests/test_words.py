"""Small things are said the same way everywhere."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.words import age, count, first_line, plain, title


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "2 h"), (172_800, "2 days")],
)
def test_a_length_of_time_is_said_in_its_nearest_unit(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_a_number_agrees_with_its_noun() -> None:
    assert [count(1, "message"), count(0, "message"), count(2, "process")] == ["1 message", "0 messages", "2 processes"]


def test_a_first_line_is_one_short_line() -> None:
    assert first_line("a\n\nb" + "c" * 100, most=10) == "a bcccccc…"
    assert first_line(" \n ") == r"(no text)"


@pytest.mark.parametrize(
    ("text", "untrusted", "said"),
    [
        ("/attach claude 0195", "", "⑂ go on with another session"), ("/attach", "", "⑂ go on with another session"),
        ("fix it", "theirs", "fix it"), ("", "theirs", "theirs"), ("/attachments", "", "/attachments"),
    ],
)  # fmt: skip
def test_what_waits_is_said_in_words_also_where_it_was_a_button(text: str, untrusted: str, said: str) -> None:
    assert title(Incoming("update:1", Chat(42), text, untrusted=untrusted)) == said


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_plain_text_is_never_read_as_markup(text: str) -> None:
    inline = MarkdownIt("commonmark", {"html": False}).parseInline(plain(text))[0]

    assert inline.children is not None
    assert "".join(child.content for child in inline.children) == text
    assert {child.type for child in inline.children} <= {"text", "text_special"}
