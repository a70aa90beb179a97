"""What may be spent in a day: say so near the limit, and at the limit ask a person before the next turn begins.

Turns that run side by side are counted when they end, so that together they may go beyond a limit.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ductor_lib import config
from ductor_lib.config import Settings
from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator import usage
from ductor_lib.orchestrator.ledger import Ledger, TurnRecord
from ductor_lib.orchestrator.usage import Total, money
from ductor_lib.orchestrator.words import title
from ductor_lib.storage import JsonFile

log = logging.getLogger(__name__)

STATE = "daily_limits"  # in state.json; not "limits", which would be read as settings
WARN_AT = 0.8  # share of a limit
SMALLEST = 6  # digits of a USD that count; below is the noise of adding
EARLIER = "A daily limit was reached before I could begin this message:"


@dataclass(frozen=True, slots=True)
class Meter:
    """A daily limit by the name of its setting, and what of it is used: USD or tokens."""

    name: str
    used: float
    limit: float

    def __str__(self) -> str:
        usd = self.name == "daily_usd"
        amounts = f"{money(self.used)} of {money(self.limit)}" if usd else f"{self.used:,.0f} of {self.limit:,.0f} tokens"
        return f"{amounts} (`limits.{self.name}`)"


def meters(spent: Total, *, daily_usd: float, daily_tokens: int) -> list[Meter]:
    """The limits that are set, with what is used of them."""
    every = (Meter("daily_usd", round(spent.cost, SMALLEST), daily_usd), Meter("daily_tokens", spent.tokens, daily_tokens))
    return [meter for meter in every if meter.limit]


def turn_budget(settings: Settings) -> float:
    """USD that a turn of Claude may spend: the smaller of the two settings, 0 for no limit."""
    return min(filter(None, (settings.limits.turn_usd, settings.max_budget_usd)), default=0.0)


def question(item: Incoming, why: str = EARLIER) -> Reply:
    """Ask whether a message shall run although a daily limit is reached."""
    text = f"🧮 {why}\n\n> {title(item)}\n\n*Go on today* runs it and lifts the daily limits until midnight."
    buttons = ((Button("Go on today", f"/limit on {item.id}"), Button("Stop", f"/limit off {item.id}")),)
    return Reply(item.chat, text, buttons=buttons, slot=question_of(item.id))


def question_of(item: int) -> str:
    """The place of the question about an item (a ledger id)."""
    return f"limit:{item}"


class Limits:
    """The daily limits of all conversations together. Any thread. Days begin at midnight in the user's time zone.

    Raises ConfigError when there is no such zone.
    """

    def __init__(self, settings: Settings, ledger: Ledger, state: JsonFile, *, now: Callable[[], float] = time.time) -> None:
        self._rules = settings.limits
        self._zone = config.timezone(settings)
        self._ledger = ledger
        self._state = state
        self._now = now

    def stops(self, item: Incoming) -> bool:
        """Whether a waiting item must not begin; then it is put aside and a person is asked.

        What the agent began by itself is never stopped: it runs already. Raises OSError and sqlite3.OperationalError
        like the ledger.
        """
        if item.kind == "agent" or not (reached := self.reached()):
            return False
        why = f"**Today's limit is reached:** {', '.join(map(str, reached))}. I have not begun this message:"
        self._ledger.limit(item.id, question(item, why))
        log.info("turn stopped before its begin item=%s limits=%s", item.id, ",".join(meter.name for meter in reached))
        return True

    def reached(self) -> list[Meter]:
        """The limits that forbid another turn now; none once they are lifted for today."""
        reached = [meter for meter in self._meters() if meter.used >= meter.limit]
        return [] if reached and self._lifted(self._state.read()) else reached

    def lift(self) -> None:
        """No daily limit counts until midnight, also after a restart. Raises OSError when it cannot be stored."""
        today = self._today()
        with self._state.change() as data:
            data[STATE] = {**_notes(data), "lifted": today}
        log.info("limits lifted day=%s", today)

    def warning(self, turn: TurnRecord) -> str:
        """One line under the answer of a turn that is not in the books yet, "" mostly: once per day and limit. Never raises."""
        try:
            near = [meter for meter in self._meters(turn) if meter.used >= WARN_AT * meter.limit]
            if not near:
                return ""
            today = self._today()
            with self._state.change() as data:  # in here, because two conversations may come this far at once
                notes = _notes(data)
                new = [] if self._lifted(data) else [meter for meter in near if notes.get(f"warned_{meter.name}") != today]
                if new:
                    data[STATE] = notes | {f"warned_{meter.name}": today for meter in new}
        except (OSError, sqlite3.Error) as error:  # must not cost the answer
            log.error("limits not checked reason=%s", error)
            return ""
        what = "Today's limit is reached" if any(meter.used >= meter.limit for meter in new) else "Today's limit is near"
        return f"*{what}:* {', '.join(map(str, new))}" if new else ""

    def _meters(self, turn: TurnRecord | None = None) -> list[Meter]:
        rules = self._rules
        if not (rules.daily_usd or rules.daily_tokens):
            return []
        begin, end = usage.period(1, self._now(), self._zone)
        spent = usage.total(self._ledger.spent(begin, end))
        if turn and begin <= turn.begun_at < end:
            spent = Total(spent.turns + 1, spent.cost + turn.cost, spent.tokens_in + turn.tokens_in, spent.tokens_out + turn.tokens_out)
        return meters(spent, daily_usd=rules.daily_usd, daily_tokens=rules.daily_tokens)

    def _lifted(self, data: dict[str, object]) -> bool:
        return _notes(data).get("lifted") == self._today()

    def _today(self) -> str:
        """The date, not a moment: after the clock was set back, a moment could lie far ahead."""
        return datetime.fromtimestamp(self._now(), self._zone).date().isoformat()


def _notes(data: dict[str, object]) -> dict[str, object]:
    """What state.json says about limits; nothing where somebody has damaged it."""
    notes = data.get(STATE)
    return notes if isinstance(notes, dict) else {}
