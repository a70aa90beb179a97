"""The one thread that watches the clock: it calls small steps which only queue, and one that fails stops no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

import schedule

from ductor_lib.loop import Loop

LOOK = 0.5  # seconds between two looks at the clock
JUMP = 5.0  # seconds by which the clock on the wall may differ from the one that only runs forward

log = logging.getLogger(__name__)


class Scheduler:
    """Calls every step each so many seconds: `steps` are {step: seconds}. `start` and `stop` belong to the owner.

    `schedule` plans by the clock on the wall; when that is set or the machine slept, everything is planned anew.
    """

    def __init__(
        self, steps: Mapping[Callable[[], object], float], *, wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = dict(steps)
        self._wall = wall
        self._clock = clock
        self._stopping = threading.Event()
        self._plan = schedule.Scheduler()
        self._offset = wall() - clock()
        self._loop = Loop("scheduler", self._look)
        self._register()

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """Begin no further step. Returns at once."""
        self._stopping.set()
        self._loop.stop()

    def step(self) -> None:
        """Do what is due now."""
        offset = self._wall() - self._clock()
        if abs(offset - self._offset) > JUMP:
            log.warning("clock jumped, planning anew seconds=%.0f", offset - self._offset)
            self._offset = offset
            self._register()
        self._plan.run_pending()

    def _look(self) -> None:
        self.step()
        self._stopping.wait(LOOK)

    def _register(self) -> None:
        self._plan.clear()
        for step, seconds in self._steps.items():
            self._plan.every(int(seconds)).seconds.do(_careful, step)


def _careful(step: Callable[[], object]) -> None:
    """One that raises would never be planned again, and hold up the others."""
    try:
        step()
    except Exception:
        log.exception("scheduled step failed step=%s", getattr(step, "__qualname__", step))
