"""Make a run of an accepted webhook: its row is on disk before the caller is answered, and the same delivery never runs twice."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from ductor_lib import config
from ductor_lib.automation import schedule
from ductor_lib.automation.cron import as_it_is, order
from ductor_lib.automation.definitions import Hook
from ductor_lib.automation.templates import render
from ductor_lib.config import Settings
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Run
from ductor_lib.orchestrator.words import plain

log = logging.getLogger(__name__)


class HookIntake:
    """`take` is for any thread. What is put into `released` runs in its lane. `place` is as for `order`, `now` is in unix seconds."""

    def __init__(
        self, settings: Settings, ledger: Ledger, released: queue.SimpleQueue[Incoming | None], *,
        place: Callable[[Chat], Chat | None] = as_it_is, now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._zone = config.timezone(settings)
        self._ledger = ledger
        self._released = released
        self._place = place
        self._now = now

    def take(self, hook: Hook, payload: Mapping[str, object], *, key: str) -> int:
        """Store what a hook has brought, and queue it; the number of its run. The same `key` gives the same number.

        Raises sqlite3.OperationalError and OSError when it cannot be stored: then nothing was accepted.
        """
        now = self._now()
        wanted = order(hook, self._settings, self._place)
        run = Run(key, "hook", hook.id, hook.title, wanted.pack(), now)
        if status := self._refusal(hook, now):
            return self._refuse(hook, run, status)
        prompt = render(hook.prompt_template, payload, source=f"the webhook “{hook.title}”")
        if hook.mode == "wake":
            items = [self._item(run, chat, prompt, number) for number, chat in enumerate(wanted.places)]
        else:
            items = [Incoming(run.key, wanted.places[0], prompt, kind="task", task=hook.queue, sent_at=now)]
        number, stored = self._ledger.runs.add(run, items)
        for item in stored:
            self._released.put(item)
        log.info("hook taken hook=%s run=%d queued=%d", hook.id, number, len(stored))
        return number

    def _item(self, run: Run, chat: Chat, prompt: str, number: int) -> Incoming:
        return Incoming(f"{run.key}:{number}", chat, prompt, kind="wake", sent_at=run.due)

    def _refusal(self, hook: Hook, now: float) -> str:
        """The status of a run that cannot begin or is not to, "" when it may."""
        if hook.mode not in ("wake", "cron_task"):
            return f"error:unknown_mode_{hook.mode}"
        if hook.mode == "cron_task" and not hook.task_folder:
            return "error:no_task_folder"
        quiet = schedule.quiet_hours(hook, self._settings)
        return "skipped:quiet_hours" if quiet and schedule.quiet(*quiet, datetime.fromtimestamp(now, self._zone)) else ""

    def _refuse(self, hook: Hook, run: Run, status: str) -> int:
        """Whoever waits for the result hears at once that there is none; without a sound where the hook's own guard decided so."""
        skipped = status.startswith("skipped:")
        what = f"was not run ({status})" if skipped else f"cannot run: {status}. `ductor webhook show {hook.id}` says how it is set up"
        text = f"{'🌙' if skipped else '⚠️'} The webhook “{plain(hook.title)}” was called and {what}."
        replies = [Reply(chat, text, silent=skipped) for chat in run.order.places]
        number, _ = self._ledger.runs.add(replace(run, status=status), replies=replies)
        return number
