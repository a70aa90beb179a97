"""An answer that only says "nothing to report" is recognised whatever is wrapped around it, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.orchestrator.acks import has_token, is_ack

TOKEN = "HEARTBEAT_OK"


@pytest.mark.parametrize(
    "text",
    [
        "HEARTBEAT_OK", "heartbeat_ok", " HEARTBEAT_OK \n", "**HEARTBEAT_OK**", "`HEARTBEAT_OK`", "```\nHEARTBEAT_OK\n```", "HEARTBEAT OK",
        "Heartbeat-OK!", "“HEARTBEAT_OK”.", "HEARTBEAT_OK 👍", "> HEARTBEAT_OK", "HEARTBEAT\\_OK", "HEARTBEAT_OK. All good.",
        "Okay: HEARTBEAT_OK", "HEARTBEAT_OK - nothing new to report", "Heartbeat OK, nothing to report.", "HEARTBEAT_OK HEARTBEAT_OK",
    ],
)  # fmt: skip
def test_the_word_counts_with_marks_case_and_politeness_around_it(text: str) -> None:
    assert is_ack(text, TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "**", "OK", "All good.", "HEARTBEAT", "The disk is full. HEARTBEAT_OK", "HEARTBEAT_OK\n\nThe build is red.",
        "HEARTBEAT_OK <file:/tmp/report.pdf>", "HEARTBEAT_OK 5", "MY_HEARTBEAT_OK", "HEARTBEAT_OKAY", "HEARTBEAT is not OK",
        "好 HEARTBEAT_OK",
    ],
)  # fmt: skip
def test_whatever_says_more_or_less_is_a_report(text: str) -> None:
    assert not is_ack(text, TOKEN)


@pytest.mark.parametrize("token", ["", "___", "*"])
def test_a_word_of_nothing_but_marks_means_nothing(token: str) -> None:
    assert not is_ack("", token)
    assert not is_ack(token, token)


@given(st.text(alphabet="*_`> \n.!-“”👍", max_size=20), st.text(alphabet="*_`> \n.!-“”👍", max_size=20))
def test_marks_around_the_word_never_matter(before: str, after: str) -> None:
    assert is_ack(f"{before}{TOKEN}{after}", TOKEN)


@given(st.text(max_size=50), st.text(min_size=1, max_size=20))
def test_any_text_and_any_word_are_judged_without_an_error(text: str, token: str) -> None:
    is_ack(text, token)
    has_token(text, token)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NOTHING_NEW", True), ("I looked: nothing_new.", True), ("**NOTHING_NEW**", True), ("(NOTHING_NEW)", True),
        ("NOTHING_NEWS", False), ("XNOTHING_NEW", False), ("NOTHING NEW", False), ("", False),
    ],
)  # fmt: skip
def test_a_silent_word_is_found_as_a_word_of_its_own(text: str, found: bool) -> None:
    assert has_token(text, "NOTHING_NEW") is found


def test_no_silent_word_is_never_found() -> None:
    assert not has_token("anything", "")
