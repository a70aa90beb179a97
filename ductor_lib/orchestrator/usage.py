"""What was spent: sums over the books by day, model and conversation. A day is one of the user's calendar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as clock
from typing import TypeVar
from zoneinfo import ZoneInfo

from ductor_lib.orchestrator.ledger import Ledger, Spent

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Total:
    """A sum over turns. `cost` in USD, without the turns that have no price."""

    turns: int = 0
    cost: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def total(rows: Iterable[Spent]) -> Total:
    """All rows in one sum."""
    rows = list(rows)
    turns, cost = sum(row.turns for row in rows), sum(row.cost for row in rows)
    return Total(turns, cost, sum(row.tokens_in for row in rows), sum(row.tokens_out for row in rows))


def by(rows: Iterable[Spent], key: Callable[[Spent], Key]) -> dict[Key, Total]:
    """A sum for each value of the key, the dearest first, then the one with most tokens."""
    groups: dict[Key, list[Spent]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    totals = {value: total(group) for value, group in groups.items()}
    return dict(sorted(totals.items(), key=lambda entry: (-entry[1].cost, -entry[1].tokens)))


def money(usd: float) -> str:
    """An amount: "$12.30"; below ten cents with four digits, because a turn may cost less than one."""
    return f"${usd:,.2f}" if usd >= 0.1 or not usd else f"${usd:.4f}"


def period(days: int, now: float, zone: ZoneInfo) -> tuple[float, float]:
    """From the midnight that begins the first of `days` days to the one that ends today, in unix seconds.

    It ends although nothing is later than now: what a clock that ran ahead has written belongs to no day yet.
    """
    today = datetime.fromtimestamp(now, zone).date()
    begin, end = (datetime.combine(day, clock(), zone).timestamp() for day in (today - timedelta(days - 1), today + timedelta(1)))
    return begin, end


def spent(ledger: Ledger, days: int, *, now: float, zone: ZoneInfo) -> list[Spent]:
    """What was spent in the last `days` days, today included."""
    return ledger.spent(*period(days, now, zone))
