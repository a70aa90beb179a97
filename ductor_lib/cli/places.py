"""How many agents may work at once, and who is next: conversations before what nobody watches, and a wait can be stopped."""

from __future__ import annotations

import threading
from collections import deque

from ductor_lib.cli.turn import Stop


class Places:
    """So many places for working agents. Any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = 0
        self._waiting: deque[Stop] = deque()  # conversations, in order
        self._unattended: deque[Stop] = deque()  # they come after those: a hundred jobs at nine must not keep a person waiting
        self._changed = threading.Condition()

    def enter(self, stop: Stop, *, unattended: bool = False) -> bool:
        """Wait for a place. False when the turn was stopped meanwhile (call `wake` after wishing so)."""
        waiting = self._unattended if unattended else self._waiting
        with self._changed:
            waiting.append(stop)
            try:
                self._changed.wait_for(lambda: stop.reason or (self._first() is stop and self._taken < self._count))
                if stop.reason is not None:
                    return False
                self._taken += 1
                return True
            finally:
                waiting.remove(stop)
                self._changed.notify_all()

    def _first(self) -> Stop:
        return (self._waiting or self._unattended)[0]

    def take(self) -> None:
        """Take a place without waiting: for an agent that has begun to work by itself."""
        with self._changed:
            self._taken += 1

    def leave(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those that wait look at their Stop."""
        with self._changed:
            self._changed.notify_all()
