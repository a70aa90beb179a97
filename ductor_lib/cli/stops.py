"""Who wants which turn to end: the wishes of every turn that runs or waits, by conversation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ductor_lib.cli.turn import Stop


class Stops:
    """The open turns of an agent. Any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[str, dict[Stop, Callable[[], None]]] = {}
        self._closed = False

    @contextmanager
    def open(self, conversation: str) -> Iterator[Stop]:
        """A turn, from its beginning to its end. After `close` it is born with the wish to stop."""
        stop = Stop()
        with self._changed:
            if self._closed:
                stop.wish("stopped")
            self._open.setdefault(conversation, {})[stop] = lambda: None
        try:
            yield stop
        finally:
            with self._changed:
                del self._open[conversation][stop]
                if not self._open[conversation]:
                    del self._open[conversation]
                self._changed.notify_all()

    def alarm(self, conversation: str, stop: Stop, wake: Callable[[], None]) -> None:
        """How to wake whoever waits in this turn, from now on. `wake` must return at once."""
        with self._changed:
            self._open[conversation][stop] = wake

    def wish(self, conversation: str) -> bool:
        """Somebody wants the conversation's turns to end. False when there are none."""
        with self._changed:
            turns = list(self._open.get(conversation, {}).items())
        for stop, wake in turns:
            stop.wish("stopped")
            wake()
        return bool(turns)

    def names(self) -> list[str]:
        """The conversations with an open turn."""
        with self._changed:
            return list(self._open)

    def close(self) -> None:
        """Wish every turn to end, also those to come."""
        with self._changed:
            self._closed = True
        for name in self.names():
            self.wish(name)

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` until no turn is open. True when none is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)
