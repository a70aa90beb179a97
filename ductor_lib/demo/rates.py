"""How often a bot may call: Telegram's published guidance, counted strictly. What is too much gets a 429 with retry_after."""

from __future__ import annotations

import math
from collections import defaultdict, deque

from ductor_lib.demo.checks import Refused

# (calls, seconds). Private: about one a second and a burst of five. Edits count like sends; drafts share with chat actions.
RATES: dict[str, tuple[tuple[int, float], ...]] = {
    "all": ((30, 1.0),), "private": ((6, 1.0), (15, 10.0), (65, 60.0)), "group": ((20, 60.0),), "preview": ((20, 5.0), (40, 30.0)),
}
PREVIEWS = ("sendMessageDraft", "sendChatAction")


class Rates:
    """The calls of the last minute, by budget. Refused ones are not counted. The caller holds the lock."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, int], deque[float]] = defaultdict(deque)

    def spend(self, method: str, chat: int, now: float) -> None:
        """Count one call at `now` (seconds). Raises Refused when a budget is used up."""
        if method in PREVIEWS:
            budgets = [("preview", chat)]
        elif method.startswith(("send", "editMessage")):
            budgets = [("all", 0), ("private" if chat > 0 else "group", chat)]
        else:
            return
        for budget in budgets:
            self._check(budget, now)
        for budget in budgets:
            self._spent[budget].append(now)

    def _check(self, budget: tuple[str, int], now: float) -> None:
        spent = self._spent[budget]
        while spent and now - spent[0] >= 60:
            spent.popleft()
        for calls, window in RATES[budget[0]]:
            if len(spent) >= calls and now - spent[-calls] < window:
                pause = max(1, math.ceil(spent[-calls] + window - now))
                raise Refused(429, f"Too Many Requests: retry after {pause}", {"retry_after": pause})
