"""How often: the budget of previews in one chat, and the growing pauses after failures. Pure; the clock is the caller's.

Telegram's limits are unpublished. Guidance: one message a second in a chat with bursts tolerated, 20 a minute in a group;
edits count like sends.
"""

from __future__ import annotations

BURST = 3  # calls at once after a quiet time: first words must not wait
GROUP_MINUTE = 10  # preview calls a minute in a group; the rest of Telegram's 20 belongs to finals
GROUP_INTERVAL = 60.0 / (GROUP_MINUTE - BURST)  # seconds; with the burst never more than GROUP_MINUTE in any minute


ROUNDING = 1e-6  # of a call: what `ready_at` promises must be given


class Budget:
    """The preview calls of one chat id: a burst, then one per `interval` seconds. Not thread-safe; times are monotonic."""

    def __init__(self, *, private: bool, interval: float) -> None:
        self._interval = interval if private else max(interval, GROUP_INTERVAL)
        self._calls = float(BURST)  # that may be made at `_counted_at`
        self._counted_at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more call may be made; it counts as made then."""
        calls = min(BURST, self._calls + (now - self._counted_at) / self._interval)
        if calls < 1.0 - ROUNDING:
            return False
        self._calls, self._counted_at = calls - 1.0, now
        return True

    def ready_at(self) -> float:
        """When the next frame may be drawn."""
        return self._counted_at + (1.0 - self._calls) * self._interval


def backoff(failures: int, *, first: float, last: float) -> float:
    """Seconds to pause after that many failures in a row: `first`, doubled each time, at most `last`."""
    return min(first * 2.0 ** min(failures - 1, 16), last)
