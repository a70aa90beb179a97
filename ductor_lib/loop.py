"""A thread with a name, an owner and an end: one step after the other, and one bad step never ends it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Loop:
    """Run `step` again and again in a daemon thread called `name` until the loop is stopped.

    A step that raises is logged and the next one waits `pause` seconds first. Daemon: an interpreter that leaves
    never waits for a step that hangs.
    """

    def __init__(self, name: str, step: Callable[[], object], *, pause: float = 1.0) -> None:
        self._step = step
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, grace: float = 0.0) -> None:
        """Ask the loop to end, and wait up to `grace` seconds for the step under way. Any thread."""
        self._stopping.set()
        if grace and self._thread.is_alive():
            self._thread.join(grace)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception:
                log.exception("step failed loop=%s", self._thread.name)
                self._stopping.wait(self._pause)
