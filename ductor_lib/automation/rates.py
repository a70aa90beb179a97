"""How often something may happen in a minute, for each name and altogether; a sliding window, and bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

SECONDS = 60.0
NAMES = 1_000  # that are remembered; whoever was quiet longest is forgotten first


class Rates:
    """At most `each` times a minute for one name, and `together` for all. Any thread. `now` is in seconds."""

    def __init__(self, each: int, together: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._each = each
        self._together = together
        self._now = now
        self._lock = threading.Lock()
        self._all: deque[float] = deque()
        self._named: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Seconds until the name has room; 0 if it has room now. Counts nothing."""
        with self._lock:
            return self._wait(name, self._now())

    def take(self, name: str) -> bool:
        """Count one more. False if there is no room; nothing is counted then."""
        with self._lock:
            now = self._now()
            if self._wait(name, now) > 0:
                return False
            self._all.append(now)
            self._named.setdefault(name, deque()).append(now)
            self._named.move_to_end(name)
            if len(self._named) > NAMES:
                self._named.popitem(last=False)
            return True

    def _wait(self, name: str, now: float) -> float:
        own = self._named.get(name, deque())
        return max(_room(self._all, self._together, now), _room(own, self._each, now))


def _room(times: deque[float], limit: int, now: float) -> float:
    while times and times[0] <= now - SECONDS:
        times.popleft()
    return times[0] + SECONDS - now if len(times) >= limit else 0.0
