from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ductor_lib.bot.keyboard import DATA_BYTES, STALE, command_line, keyboard
from ductor_lib.messages import Button
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.outbox import Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger.outbox
    ledger.close()


def drawn(outbox: Outbox, *buttons: Button) -> list[dict[str, str]]:
    markup = keyboard((buttons,), outbox)
    return json.loads(markup)["inline_keyboard"][0] if markup else []


def test_no_buttons_are_no_keyboard(outbox: Outbox) -> None:
    assert keyboard((), outbox) == ""
    assert keyboard(((), ()), outbox) == ""


def test_a_short_command_is_the_buttons_data(outbox: Outbox) -> None:
    assert drawn(outbox, Button("Stop", "/stop")) == [{"text": "Stop", "callback_data": "/stop"}]


def test_a_text_to_copy_is_no_press(outbox: Outbox) -> None:
    assert drawn(outbox, Button("Copy", copy="ls")) == [{"text": "Copy", "copy_text": {"text": "ls"}}]
    assert drawn(outbox, Button("Copy", copy="x" * 257)) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_pressing_says_what_the_button_was_made_of(outbox: Outbox, command: str) -> None:
    data = drawn(outbox, Button("x", command))[0]["callback_data"]

    assert 1 <= len(data.encode()) <= DATA_BYTES
    assert command_line(data, outbox) == command


def test_the_same_long_command_keeps_its_short_name(outbox: Outbox) -> None:
    button = Button("x", "/run " + "y" * 100)

    assert drawn(outbox, button) == drawn(outbox, button)


def test_a_forgotten_short_name_is_stale(outbox: Outbox) -> None:
    assert command_line("~gone", outbox) == STALE
    assert command_line("", outbox) == STALE
