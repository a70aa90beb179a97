"""A message is a command, a word that stops, an edit, or something for the agent."""

from __future__ import annotations

import pytest

from ductor_lib.commands.table import ROWS
from ductor_lib.config import defaults
from ductor_lib.messages import Chat, Incoming, Kind
from ductor_lib.orchestrator.router import Router, unknown
from ductor_lib.ports import Command


def router() -> Router:
    commands = {row.name: Command(row.name, row.place, lambda item, words: []) for row in ROWS}
    return Router(commands, defaults().inbox.stop_words, None, None, None, None)  # type: ignore[arg-type]  # placing needs no more


def place(text: str, kind: Kind = "message", untrusted: str = "") -> str:
    return router().place(Incoming("update:1", Chat(42), text, kind=kind, untrusted=untrusted))


@pytest.mark.parametrize("text", ["/stop", "stop", "STOP", " Stop ", "abbrechen", "стоп", "/interrupt 12"])
def test_what_stops_never_waits(text: str) -> None:
    assert place(text) == "urgent"


@pytest.mark.parametrize("text", ["stop it", "don't stop", "/home/user/file", "/path/to", "- list", "@file", "/", "//", "/é", "hello", ""])
def test_what_only_looks_like_a_command_goes_to_the_agent(text: str) -> None:
    assert place(text) == "lane"


def test_a_stranger_s_word_in_a_forward_stops_nothing() -> None:
    assert place("", untrusted="stop") == "lane"


def test_panels_do_not_wait_and_a_fresh_start_goes_first() -> None:
    assert (place("/status"), place("/help me"), place("/NEW"), place("/nosuch")) == ("panel", "panel", "next", "panel")


def test_an_edit_is_looked_at_at_once_and_a_turn_of_the_agent_waits_for_its_lane() -> None:
    assert (place("/stop", kind="edit"), place("/stop", kind="agent")) == ("urgent", "lane")


def test_an_unknown_command_is_answered_with_the_nearest_ones() -> None:
    assert "/status" in unknown("statsu", [row.name for row in ROWS])
    assert "Did you mean" not in unknown("zzzz", [row.name for row in ROWS])
