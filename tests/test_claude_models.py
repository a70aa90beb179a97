"""Claude Code's own list of models: read from what it really answers, and never waited for by a message."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.cli import sweep
from ductor_lib.cli.claude_models import AGAIN, FRESH, ClaudeModels, models
from ductor_lib.cli.codex_models import Model
from tests.fakes import AGENT, ROOT, SOON
from tests.program import until

RECORDING = Path(__file__).parent / "data" / "claude-persistent.jsonl"
ALL = ("low", "medium", "high", "xhigh", "max")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["response", "models", "value", "displayName", "supportedEffortLevels"]), inner, max_size=4),
    max_leaves=12,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def answered() -> Mapping[str, object]:
    """What Claude Code really said to `initialize`."""
    told = (json.loads(line)["msg"] for line in RECORDING.read_text().splitlines())
    return next(raw for raw in told if isinstance(raw, dict) and raw.get("type") == "control_response")


def program(folder: Path, answer: str) -> tuple[str, ...]:
    """A `claude` that notes each start, reads one line and prints `answer`; an empty answer ends it at once."""
    file = folder / "claude.py"
    file.write_text(
        "import pathlib, sys\n"
        "with pathlib.Path('starts').open('a') as starts: starts.write('x')\n"
        f"sys.stdin.readline()\nprint({answer!r}, flush=True)\n"
    )
    return (sys.executable, str(file))


def asked(command: tuple[str, ...], folder: Path, clock: Clock | None = None) -> ClaudeModels:
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    return ClaudeModels(command, home=folder, run="this-run", variables=variables, now=clock or Clock())


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


def test_the_models_of_a_real_answer_are_read_without_the_accounts_default() -> None:
    found = models(answered())

    assert found == (
        Model("opus[1m]", "Opus", ALL, "high", is_default=False),
        Model("sonnet", "Sonnet", ALL, "high", is_default=False),
        Model("sonnet[1m]", "Sonnet 5 (1M context)", ALL, "high", is_default=False),
        Model("haiku", "Haiku", (), "", is_default=False),
    )


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["type", "response", "models"]), JSON))
def test_any_other_answer_lists_only_what_has_a_name(raw: dict[str, object]) -> None:
    assert all(model.id and model.name for model in models(raw))


def test_nothing_is_known_and_nobody_is_asked_before_the_first_refresh(tmp_path: Path) -> None:
    listed = asked(program(tmp_path, ""), tmp_path)

    assert listed.list() == ()
    assert not (tmp_path / "starts").exists()


def test_the_scripted_agent_lists_its_models(tmp_path: Path) -> None:
    listed = asked(AGENT, tmp_path)

    listed.refresh()

    assert [model.id for model in listed.list()] == ["opus", "opus[1m]", "sonnet", "haiku"]


def test_the_list_is_asked_for_once_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    listed = asked(program(tmp_path, json.dumps(answered())), tmp_path, clock)

    listed.refresh()
    listed.refresh()
    assert starts(tmp_path) == 1
    clock.now += FRESH
    listed.refresh()

    assert starts(tmp_path) == 2
    assert len(listed.list()) == 4


def test_without_an_answer_the_old_list_stays_and_is_asked_for_sooner(tmp_path: Path) -> None:
    clock = Clock()
    listed = asked(program(tmp_path, json.dumps(answered())), tmp_path, clock)
    listed.refresh()
    program(tmp_path, "no JSON")
    clock.now += FRESH

    listed.refresh()
    listed.refresh()

    assert (starts(tmp_path), len(listed.list())) == (2, 4)
    clock.now += AGAIN
    listed.refresh()
    assert starts(tmp_path) == 3


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"type": "control_response", "response": {"subtype": "error", "error": "no"}}'])
def test_an_answer_that_lists_nothing_is_no_list(tmp_path: Path, answer: str) -> None:
    listed = asked(program(tmp_path, answer), tmp_path)

    listed.refresh()

    assert listed.list() == ()


def test_a_claude_that_is_not_there_lists_nothing(tmp_path: Path) -> None:
    listed = asked(("there-is-no-claude",), tmp_path)

    listed.refresh()

    assert listed.list() == ()


@pytest.mark.skipif(not sweep.BY_ENVIRONMENT, reason="this system does not show environments")
def test_one_that_does_not_answer_is_found_by_the_sweep(tmp_path: Path) -> None:
    file = tmp_path / "claude.py"
    file.write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(300)\n")
    listed = asked((sys.executable, str(file)), tmp_path)
    asking = threading.Thread(target=listed.refresh, name="housekeeping", daemon=True)
    asking.start()
    until((tmp_path / "begun").exists, "the start")

    ended = sweep.sweep_home(tmp_path, "the-next-run")

    assert ended == 1
    asking.join(SOON)
    assert not asking.is_alive()
    assert listed.list() == ()
