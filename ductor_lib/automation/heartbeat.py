"""Ask agents from time to time whether there is anything to report: only where a conversation exists and is idle."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from datetime import datetime

from ductor_lib import config
from ductor_lib.automation import schedule
from ductor_lib.config import Settings
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.turns import Turns
from ductor_lib.paths import Paths
from ductor_lib.session import Sessions
from ductor_lib.storage import JsonFile

STATE = "heartbeats"  # in state.json: conversation → on or off
PROMPT = (
    "This is a heartbeat, not a message from your owner. Look at your memory and at what was agreed in this conversation: is anything"
    " due, finished or wrong that your owner should hear of now? If so, say it in short. If not, answer with exactly {token}"
    " and nothing else."
)

log = logging.getLogger(__name__)


class Heartbeat:
    """`tick` belongs to the scheduler's thread, the rest to any. `now` is in unix seconds."""

    def __init__(
        self, settings: Settings, paths: Paths, state: JsonFile, sessions: Sessions, choices: Choices, ledger: Ledger, turns: Turns,
        released: queue.SimpleQueue[Incoming | None], *, allowed: Callable[[Chat], bool], now: Callable[[], float] = time.time,
    ) -> None:
        self._rules = settings.heartbeat
        self._zone = config.timezone(settings)
        self._cwd = paths.workspace
        self._state = state
        self._sessions = sessions
        self._choices = choices
        self._ledger = ledger
        self._turns = turns
        self._released = released
        self._allowed = allowed
        self._now = now
        self._begun = now()
        self._beaten: dict[str, float] = {}  # when, by conversation
        self._ticked = now()

    def on(self, conversation: str) -> bool:
        """Whether a conversation has heartbeats: what was said there, else the setting."""
        chosen = self.chosen(conversation)
        return self._rules.enabled if chosen is None else chosen

    def chosen(self, conversation: str) -> bool | None:
        """What was said in a conversation; None: nothing, so that the setting counts."""
        chosen = self._choices_of().get(conversation)
        return chosen if isinstance(chosen, bool) else None

    def earliest(self, conversation: str, last_active: float) -> float:
        """Before when (unix seconds) no heartbeat comes, given the last activity of the session; the quiet time aside."""
        beaten = self._beaten.get(conversation, self._begun) + self._rules.interval_minutes * 60
        return max(beaten, last_active + self._rules.cooldown_minutes * 60)

    def switch(self, conversation: str, *, on: bool) -> None:
        """Turn the heartbeats of a conversation on or off, also for later runs of the program."""
        with self._state.change() as data:
            known = data.get(STATE)
            data[STATE] = {**(known if isinstance(known, dict) else {}), conversation: on}

    def tick(self) -> None:
        """Queue a heartbeat for every conversation that is due for one."""
        now, before = self._now(), self._ticked
        self._ticked = now
        if now - before > 2 * self._rules.interval_minutes * 60:
            log.warning("heartbeats missed, was the machine asleep? seconds=%.0f", now - before)
        if now < before:  # the clock was set back: what was noted by the other time would hold heartbeats up for as long
            self._begun = now
            self._beaten.clear()
        if self._quiet(now):
            return
        for conversation in self._sessions.conversations():
            if self.on(conversation) and self._due(conversation, now):
                self._beaten[conversation] = now
                self._beat(conversation, now)

    def _due(self, conversation: str, now: float) -> bool:
        if self._turns.running(conversation) or self._ledger.waiting(conversation):
            return False
        try:
            chat = Chat.of(conversation)
        except ValueError:
            return False
        bucket = self._sessions.continued(conversation, self._choices.of(conversation).provider, self._cwd)
        return bucket is not None and now >= self.earliest(conversation, bucket.last_active) and self._allowed(chat)

    def _beat(self, conversation: str, now: float) -> None:
        text = (self._rules.prompt or PROMPT).replace("{token}", self._rules.ack_token)
        item = Incoming(f"heartbeat:{conversation}:{now:.0f}", Chat.of(conversation), text, kind="heartbeat", sent_at=now)
        for stored in self._ledger.accept([item]):
            self._released.put(stored)

    def _quiet(self, now: float) -> bool:
        return schedule.quiet(self._rules.quiet_start, self._rules.quiet_end, datetime.fromtimestamp(now, self._zone))

    def _choices_of(self) -> dict[str, object]:
        known = self._state.read().get(STATE)
        return known if isinstance(known, dict) else {}
