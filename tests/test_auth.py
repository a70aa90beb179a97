"""What is told about a CLI: whether it is there, whether it is signed in, and what to do about a failure."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.cli.auth import CLIS, Auth, AuthState, claimed, sentence
from ductor_lib.errors import ErrorKind

ROOT = Path(__file__).parent.parent
AGENT = (sys.executable, "-m", "ductor_lib.demo.agent")
KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)


def variables(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **more}


def program(folder: Path, body: str) -> tuple[str]:
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\necho asked >> {folder / 'asked'}\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return (str(path),)


def test_a_cli_that_is_signed_in_says_how_and_which_version_it_is(tmp_path: Path) -> None:
    assert Auth(AGENT, variables=variables(tmp_path)).state() == AuthState(True, True, "scripted", "9.9.9")


def test_a_cli_that_is_not_signed_in_is_installed_all_the_same(tmp_path: Path) -> None:
    auth = Auth(AGENT, variables=variables(tmp_path, DUCTOR_DEMO_SIGNED_OUT="1"))

    assert auth.state() == AuthState(True, False, "none", "9.9.9")


def test_a_cli_that_is_missing_is_not_installed() -> None:
    assert Auth(["/nonexistent/claude"], variables={}).state() == AuthState(False, False, "none", "")


def test_a_cli_that_does_not_tell_about_its_login_is_given_a_try(tmp_path: Path) -> None:
    auth = Auth(program(tmp_path, "echo nonsense"), variables=variables(tmp_path))

    assert auth.state() == AuthState(True, True, "unknown", "")


def test_the_answer_is_remembered_for_a_minute(tmp_path: Path) -> None:
    clock = [0.0]
    command = program(tmp_path, 'echo \'{"loggedIn": true, "authMethod": "api_key"}\'')
    auth = Auth(command, variables=variables(tmp_path), now=lambda: clock[0])

    asked = []
    for clock[0] in (0.0, 59.0, 61.0):
        assert auth.state().method == "api_key"
        asked.append(len((tmp_path / "asked").read_text().splitlines()))

    assert asked == [2, 2, 4]


@given(st.text())
def test_nothing_that_is_printed_breaks_the_check(output: str) -> None:
    assert isinstance(claimed(output), dict)


@pytest.mark.parametrize("cli", CLIS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_has_a_sentence_with_nothing_left_to_fill_in(kind: ErrorKind, cli: str) -> None:
    text = sentence(kind, cli)

    assert text.endswith(".")
    assert "{" not in text


def test_a_person_is_told_how_to_install_and_how_to_sign_in() -> None:
    assert "npm install -g @anthropic-ai/claude-code" in sentence("not_installed")
    assert "claude auth login" in sentence("not_signed_in")
    assert "codex login" in sentence("not_signed_in", "codex")


def test_the_provider_s_reset_time_is_told() -> None:
    assert "resets 3pm (Europe/Berlin)" in sentence("rate_limited", detail="You've hit your limit · resets 3pm (Europe/Berlin)")


def test_a_reset_time_in_unix_seconds_becomes_readable() -> None:
    assert "until 2024-12-31 16:00 UTC" in sentence("rate_limited", detail="Claude AI usage limit reached|1735660800")


def test_words_that_add_nothing_are_left_out() -> None:
    assert sentence("not_signed_in", detail="Not logged in · Please run /login") == sentence("not_signed_in")
    assert sentence("max_turns", detail="Reached maximum number of turns (1)") == sentence("max_turns")


def test_the_provider_s_words_are_short_and_hold_no_key() -> None:
    text = sentence("crashed", detail="sk-ant-" + "a" * 40 + " " + "x" * 1_000)

    assert "sk-ant" not in text
    assert len(text) < len(sentence("crashed")) + 350
