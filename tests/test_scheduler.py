"""The clock's thread: every step at its pace, one that fails stops no other, and a clock that jumps costs none of them."""

from __future__ import annotations

import logging
import threading

import pytest

from ductor_lib.automation.scheduler import Scheduler

SOON = 20.0  # seconds; a bound, never a pause


class Steps:
    """Steps that count their calls; `seen` is set with the last one that is waited for."""

    def __init__(self, *, wanted: int = 1) -> None:
        self.calls: list[str] = []
        self.seen = threading.Event()
        self._wanted = wanted

    def bad(self) -> None:
        self.calls.append("bad")
        raise RuntimeError("a broken step")

    def good(self) -> None:
        self.calls.append("good")
        if self.calls.count("good") == self._wanted:
            self.seen.set()


class Clocks:
    """A wall clock and one that only runs forward, both as told."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.forward = 50.0


def test_a_step_that_raises_is_called_again_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps(wanted=2)
    scheduler = Scheduler({steps.bad: 1.0, steps.good: 1.0})

    scheduler.start()
    try:
        assert steps.seen.wait(SOON)
    finally:
        scheduler.stop()

    assert steps.calls.count("bad") == 2
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "scheduled step failed step=Steps.bad"
    ] * 2


def test_when_the_clock_on_the_wall_jumps_everything_is_planned_anew(caplog: pytest.LogCaptureFixture) -> None:
    clocks, steps = Clocks(), Steps()
    scheduler = Scheduler({steps.good: 1.0}, wall=lambda: clocks.wall, clock=lambda: clocks.forward)

    for seconds in (3600.0, -7200.0, 6.0):
        clocks.wall += seconds
        scheduler.step()
        scheduler.step()

    assert caplog.text.count("clock jumped, planning anew") == 3
    scheduler.start()
    try:
        assert steps.seen.wait(SOON)
    finally:
        scheduler.stop()


def test_while_both_clocks_run_alike_nothing_is_planned_anew(caplog: pytest.LogCaptureFixture) -> None:
    clocks = Clocks()
    scheduler = Scheduler({Steps().good: 100.0}, wall=lambda: clocks.wall, clock=lambda: clocks.forward)

    for drift in (0.0, 4.0, -4.0):
        clocks.forward += 1000.0
        clocks.wall += 1000.0 + drift
        scheduler.step()

    assert "jumped" not in caplog.text


def test_a_stopped_scheduler_calls_no_further_step() -> None:
    steps = Steps()
    scheduler = Scheduler({steps.good: 1.0})
    scheduler.start()

    scheduler.stop()
    scheduler.stop()

    assert not steps.seen.wait(1.2)
    assert steps.calls == []
