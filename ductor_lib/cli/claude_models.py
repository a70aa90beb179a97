"""The models Claude Code lists: asked beside the work from a process that gets no prompt, kept in memory for an hour."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ductor_lib.cli.claude import parse
from ductor_lib.cli.codex_items import text_of
from ductor_lib.cli.codex_models import Model
from ductor_lib.cli.environment import home_environment, mark
from ductor_lib.cli.process import END, ChildProcess

FRESH = 3600.0  # seconds
AGAIN = 300.0  # seconds after a try without an answer
ANSWER_SECONDS = 10.0  # it needs 0.4 s and no network
LEAVE_SECONDS = 2.0  # with nothing to do it leaves 80 ms after the end of its input
FLAGS = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
ASK = json.dumps({"type": "control_request", "request_id": "models", "request": {"subtype": "initialize"}}).encode()
NAME = "models"  # in the mark, where others have their conversation
OWN_DEFAULT = "default"  # listed like a model, but it only means "whatever the account's default is"
USUAL_EFFORT = "high"  # what Claude Code takes without `--effort`; the list does not say it

log = logging.getLogger(__name__)


class ClaudeModels:
    """Asks `command` in the folder `home`. `list` returns at once, `refresh` may take some seconds. Any thread.

    `run` is unique to this run of the program: it is in the mark by which the sweep finds the process.
    """

    def __init__(
        self, command: Sequence[str], *, home: Path, run: str, variables: Mapping[str, str], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = tuple(command)
        self._home = home
        self._variables = home_environment(variables, home=home, marker=mark(run, NAME))
        self._now = now
        self._lock = threading.Lock()
        self._known: tuple[Model, ...] = ()
        self._due = 0.0  # by `now`; 0 before the first try

    def list(self) -> tuple[Model, ...]:
        """What is known; nothing before the first `refresh`."""
        with self._lock:
            return self._known

    def refresh(self) -> None:
        """Ask again if the list is an hour old. Without an answer the old one stays."""
        with self._lock:
            if self._due and self._now() < self._due:
                return
        found = models(self._ask())
        if not found:
            log.info("models not listed provider=claude")
        with self._lock:
            self._known = found or self._known
            self._due = self._now() + (FRESH if found else AGAIN)

    def _ask(self) -> Mapping[str, object]:
        """The answer to `initialize`, {} without one."""
        try:
            child = ChildProcess([*self._command, *FLAGS], cwd=self._home, environment=self._variables, name="claude models")
        except OSError:
            return {}
        try:
            child.send(ASK)
            return answer(child, until=time.monotonic() + ANSWER_SECONDS)
        finally:
            child.finish(LEAVE_SECONDS)


def answer(child: ChildProcess, *, until: float) -> Mapping[str, object]:
    """Read up to the answer; {} when the process ends or the moment `until` (monotonic seconds) comes first."""
    while (left := until - time.monotonic()) > 0:
        line = child.read(left)
        if line is None or line == END:
            break
        if (raw := parse(line)) and raw.get("type") == "control_response":
            return raw
    return {}


def models(raw: Mapping[str, object]) -> tuple[Model, ...]:
    """The models in a `control_response` to `initialize`, without what is no model."""
    found = raw
    for name in ("response", "response"):  # the envelope, then what was asked for
        inner = found.get(name)
        found = inner if isinstance(inner, dict) else {}
    rows = found.get("models")
    return tuple(_model(row) for row in rows if _is_model(row)) if isinstance(rows, list) else ()


def _is_model(row: object) -> bool:
    return isinstance(row, dict) and text_of(row, "value") not in ("", OWN_DEFAULT)


def _model(row: Mapping[str, object]) -> Model:
    listed = row.get("supportedEffortLevels")
    efforts = tuple(level for level in listed if isinstance(level, str) and level) if isinstance(listed, list) else ()
    usual = USUAL_EFFORT if USUAL_EFFORT in efforts else next(iter(efforts), "")
    return Model(text_of(row, "value"), text_of(row, "displayName") or text_of(row, "value"), efforts, usual, is_default=False)
