"""What the end of a turn means: who hears of it, what is said, how it is counted."""

from __future__ import annotations

import logging
import sqlite3
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings
from ductor_lib.events import Finished
from ductor_lib.messages import Reply
from ductor_lib.orchestrator import recovery
from ductor_lib.orchestrator.acks import has_token, is_ack
from ductor_lib.orchestrator.answers import OVERDUE, SHUT_DOWN, STOPPED, Told, answer
from ductor_lib.orchestrator.ledger import TurnRecord
from ductor_lib.orchestrator.limits import Limits
from ductor_lib.orchestrator.recovery import slot_of
from ductor_lib.orchestrator.running import Job
from ductor_lib.orchestrator.runs import outcome
from ductor_lib.session import Sessions

UNSEEN = ("wake", "heartbeat")  # nobody waits for them, so there is no preview, and their answer rings
INTERRUPTED = ("error:interrupted", "")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """What is stored when a turn is over: see `Ledger.finish`."""

    record: TurnRecord
    replies: tuple[Reply, ...] = ()
    state: str = "done"
    result: tuple[str, str] | None = None
    told: int = 0


class Endings:
    """Judges turns that have ended. Any thread."""

    def __init__(self, settings: Settings, cwd: Path, sessions: Sessions, sign_ins: SignIns, limits: Limits) -> None:
        self._settings = settings
        self._cwd = cwd
        self._sessions = sessions
        self._sign_ins = sign_ins
        self._limits = limits

    def of(self, job: Job, told: Told, *, seconds: float) -> Ending:
        """Count a turn that took so long, and say what is to be stored of it. `told` has its `finished`."""
        item, plan, finished = job.item, job.plan, told.finished
        assert finished is not None
        session_id = finished.session_id or plan.bucket.session_id
        record = TurnRecord(
            job.agent.name, told.model or plan.choice.model, session_id, time.time() - seconds, seconds,
            finished.outcome, finished.error or "", finished.cost, finished.tokens_in, finished.tokens_out,
        )
        unheard = self._unheard(job, finished)
        self._book(job, finished, session_id, heard=not unheard)
        shut_down = job.running.left.is_set() and finished.outcome != "done"
        result = outcome(finished, job.agent.name) if item.run else None
        if result and job.running.late.is_set() and finished.outcome == "stopped":
            result = ("error:timeout", result[1])
        noted = plan.told if finished.outcome == "done" else 0
        if unheard:
            return Ending(record, result=result, told=noted)
        if shut_down and item.kind != "agent":
            asked = recovery.question(item, recovery.what(item, "stopped"))
            return Ending(record, (self._reply(job, told, record, SHUT_DOWN), asked), "interrupted", INTERRUPTED)
        stopped = SHUT_DOWN if shut_down else OVERDUE if job.running.late.is_set() else STOPPED
        return Ending(record, (self._reply(job, told, record, stopped),), result=result, told=noted)

    def _unheard(self, job: Job, finished: Finished) -> bool:
        """Whether nobody is to hear of it: a heartbeat with nothing to report, a hook's answer with its word for that."""
        if job.item.kind == "heartbeat":
            return finished.outcome != "done" or is_ack(finished.text, self._settings.heartbeat.ack_token)
        return finished.outcome == "done" and has_token(finished.text, job.plan.order.silent_when)

    def _book(self, job: Job, finished: Finished, session_id: str, *, heard: bool) -> None:
        """Count the turn, before its answer is seen: a /status right after it knows it."""
        item, counted = job.item, finished.outcome == "done"
        quiet = item.kind == "heartbeat" and not heard
        if item.kind != "agent" or session_id == job.plan.bucket.session_id:
            try:
                self._sessions.record(
                    item.lane, job.agent.name, self._cwd, session_id=session_id, messages=1 if counted and not quiet else 0,
                    cost=finished.cost, tokens_in=finished.tokens_in, tokens_out=finished.tokens_out, active=not quiet,
                )
            except (sqlite3.OperationalError, OSError) as error:  # must not cost the answer
                log.error("turn not counted reason=%s", error)
        if finished.error == "not_signed_in":
            self._sign_ins.rejected(job.agent.name)
        elif counted:
            self._sign_ins.accepted(job.agent.name)

    def _reply(self, job: Job, told: Told, record: TurnRecord, stopped: str) -> Reply:
        item, plan, finished = job.item, job.plan, told.finished
        assert finished is not None
        done = finished.outcome == "done"
        after = replace(plan.bucket, messages=plan.bucket.messages + 1) if done else plan.bucket
        warnings = (self._sessions.age_warning(after) if done else "", self._limits.warning(record))
        fresh = item.kind in ("agent", *UNSEEN) or record.seconds > self._settings.streaming.notify_after_seconds
        reply = answer(
            item.chat, slot_of(item), told, finished, cwd=self._cwd, provider=job.agent.name, fresh=fresh, stopped=stopped,
            notes=(*plan.notes, *filter(None, warnings)), heading=plan.heading,
        )
        return replace(reply, earlier="") if item.kind in UNSEEN else reply  # the heading comes first
