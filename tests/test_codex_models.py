"""Codex's login and its models: asked from the program, remembered, and kept when it does not answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.cli.auth import AuthState
from ductor_lib.cli.codex_auth import CodexAuth, method
from ductor_lib.cli.codex_models import FRESH, Model, Models, parse, stored_models

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
AGENT = (sys.executable, "-m", "ductor_lib.demo.codex_agent")
VARIABLES = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
LISTED = {
    "data": [
        {"id": "large", "displayName": "Large", "isDefault": True, "hidden": False, "defaultReasoningEffort": "medium",
         "supportedReasoningEfforts": [{"reasoningEffort": "low"}, {"reasoningEffort": "medium"}]},
        {"id": "old", "displayName": "Old", "hidden": True},
    ]
}  # fmt: skip
LARGE = Model("large", "Large", ("low", "medium"), "medium", is_default=True)


# ── login ──


@pytest.mark.parametrize(
    ("signed_out", "state"), [("0", AuthState(True, True, "api_key", "9.9.9")), ("1", AuthState(True, False, "none", "9.9.9"))]
)
def test_the_login_is_asked_from_the_program(signed_out: str, state: AuthState) -> None:
    assert CodexAuth(AGENT, variables={**VARIABLES, "DUCTOR_DEMO_SIGNED_OUT": signed_out}).state() == state


@pytest.mark.parametrize("command", [("/nonexistent/codex",), (sys.executable, "-c", "import sys; sys.exit(127)")])
def test_a_program_that_cannot_run_is_not_installed(command: tuple[str, ...]) -> None:
    assert CodexAuth(command, variables=VARIABLES).state() == AuthState(False, False, "none", "")


def test_the_login_is_remembered_for_a_minute(tmp_path: Path) -> None:
    count, clock = tmp_path / "count", [0.0]
    script = f"open({str(count)!r}, 'a').write('x'); print('codex-cli 1.2.3')"
    auth = CodexAuth((sys.executable, "-c", script), variables=VARIABLES, now=lambda: clock[0])

    for moment in (0.0, 59.0, 61.0):
        clock[0] = moment
        assert auth.state().version == "1.2.3"

    assert len(count.read_text()) == 2 * 2  # version and login, twice


@pytest.mark.parametrize(
    ("words", "expected"), [("API key configured - sk-…", "api_key"), ("Logged in using ChatGPT", "chatgpt"), ("something new", "other")]
)
def test_the_way_of_signing_in_has_a_word(words: str, expected: str) -> None:
    assert method(words) == expected


# ── models ──


def test_the_recorded_list_is_understood() -> None:
    lines = [json.loads(line)["msg"] for line in (DATA / "codex-appserver.jsonl").read_text().splitlines()]
    (listed,) = [line["result"] for line in lines if isinstance(line.get("result"), dict) and "data" in line["result"]]

    models = parse(listed)

    assert models
    assert all(model.id and model.name and model.default_effort in model.efforts for model in models)


def test_the_list_is_asked_once_a_day(tmp_path: Path) -> None:
    asked, clock = [], [1_000_000.0]

    def ask() -> dict[str, object]:
        asked.append(clock[0])
        return LISTED  # type: ignore[return-value]

    models = Models(tmp_path / "codex_models.json", ask, now=lambda: clock[0])
    assert models.list() == models.list() == (LARGE,)

    clock[0] += FRESH
    assert Models(tmp_path / "codex_models.json", ask, now=lambda: clock[0]).list() == (LARGE,)
    assert len(asked) == 2


def test_an_old_list_is_kept_when_codex_does_not_answer(tmp_path: Path) -> None:
    clock = [0.0]
    Models(tmp_path / "models.json", lambda: LISTED, now=lambda: clock[0]).list()
    clock[0] = 10 * FRESH

    assert Models(tmp_path / "models.json", lambda: {}, now=lambda: clock[0]).list() == (LARGE,)
    assert Models(tmp_path / "other.json", lambda: {}).list() == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "data", "efforts", "x"]), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_no_shape_of_the_list_or_of_the_file_breaks_anything(value: object) -> None:
    assert isinstance(parse({"data": value}), tuple)
    assert isinstance(stored_models(value), tuple)
