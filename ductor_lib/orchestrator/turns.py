"""Run one message through an agent: begin it durably, show it while it runs, close it together with its answer."""

from __future__ import annotations

import functools
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ductor_lib import logs, security
from ductor_lib.cli.auth import CLIS
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings
from ductor_lib.events import Event, Finished, Started
from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator.answers import Told
from ductor_lib.orchestrator.endings import UNSEEN, Endings
from ductor_lib.orchestrator.ledger import Ledger, TurnRecord
from ductor_lib.orchestrator.limits import Limits
from ductor_lib.orchestrator.plans import Plan, Plans
from ductor_lib.orchestrator.recovery import slot_of
from ductor_lib.orchestrator.running import Job, Running
from ductor_lib.ports import Agent, Choice, View, Views
from ductor_lib.session import Bucket, Sessions

log = logging.getLogger(__name__)

DISK_PAUSE = 5.0  # seconds between two tries to store an answer on a full disk
T = TypeVar("T")
CANNOT_BEGIN = "Your message is kept, but cannot begin"
OWN_TURNS = "claude"  # the only agent that begins turns by itself
NO_SESSION = Bucket("", messages=0, cost_usd=0.0, tokens_in=0, tokens_out=0, created=0.0, last_active=0.0, started=False)
NEW_SESSION = "*{cli} no longer knows the earlier conversation, so this is a fresh one.*"


class Unseen:
    """The view of a turn that nobody watches."""

    def show(self, event: Event) -> None:
        """Nothing."""


class Turns:
    """Runs turns, one per conversation at a time, and ends them. `run` belongs to the lane's worker, the rest to any thread."""

    def __init__(
        self, settings: Settings, cwd: Path, ledger: Ledger, sessions: Sessions, agents: Mapping[str, Agent], plans: Plans,
        sign_ins: SignIns, limits: Limits, views: Views, *, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endings = Endings(settings, cwd, sessions, sign_ins, limits)
        self._cwd = cwd
        self._ledger = ledger
        self._sessions = sessions
        self._agents = agents
        self._plans = plans
        self._sign_ins = sign_ins
        self._limits = limits
        self._views = views
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, Running] = {}
        self._closing = threading.Event()

    def run(self, item: Incoming) -> None:
        """Run a waiting item to its end. Returns when its answer is stored."""
        running = Running(item, self._clock())
        with self._lock:
            self._running[item.lane] = running
        try:
            begun = None if self._closing.is_set() else self._insist(item, lambda: self._begin(item), CANNOT_BEGIN)
            if begun is None:  # cancelled while it waited, or a limit is reached
                return
            running = replace(running, item=begun)  # it may have been edited while it waited
            with self._lock:
                self._running[item.lane] = running
            with self._unharmed():
                self._views.queue(item.chat)
            (self._own_turn if item.kind == "agent" else self._turn)(begun, running)
        except Exception as error:
            log.exception("turn failed inside the bot item=%s", item.id)
            if self._closing.is_set() and isinstance(error, sqlite3.OperationalError | OSError):
                return  # the program ends before the disk has room: the ledger is right as it is
            self._close(item, [Reply(item.chat, "⚠️ Something went wrong inside ductor itself; `logs/agent.log` has the details. "
                                     "Send the message again, please.", slot=slot_of(item), fresh=True, closing=True)], None,
                        result=("error:exception", str(error)))
        finally:
            with self._lock:
                del self._running[item.lane]

    def end_turn(self, lane: str, *, before: int) -> bool:
        """End the lane's running turn if its item came before `before` (a ledger id). Returns at once."""
        running = self.running(lane)
        if running is None or running.item.id >= before or running.stop.is_set():
            return False
        running.stop.set()
        for agent in self._agents.values():  # the one that does not run this lane does nothing
            agent.interrupt(lane)
        return True

    def make_way(self, lane: str) -> None:
        """A person has written: what runs there by the clock's order ends. Returns at once."""
        running = self.running(lane)
        if running is not None and running.item.kind == "heartbeat":
            self.end_turn(lane, before=sys.maxsize)

    def end_overdue(self, seconds: float) -> list[str]:
        """End the turns whose agents began more than `seconds` ago by the clock on the wall; their lanes."""
        with self._lock:
            running = [one for one in self._running.values() if time.time() - one.since > seconds and not one.stop.is_set()]
        for one in running:
            one.late.set()
        return [one.item.lane for one in running if self.end_turn(one.item.lane, before=one.item.id + 1)]

    def running(self, lane: str) -> Running | None:
        """What the lane works on now."""
        with self._lock:
            return self._running.get(lane)

    def close(self) -> None:
        """The program ends: what runs is ended too, and offered again."""
        self._closing.set()
        with self._lock:
            running = list(self._running.values())
        for one in running:
            if not one.stop.is_set():
                one.left.set()
            self.end_turn(one.item.lane, before=sys.maxsize)

    def _begin(self, item: Incoming) -> Incoming | None:
        if item.kind == "heartbeat" and self._limits.reached():
            self._ledger.drop([item])
            return None
        if not self._limits.stops(item):
            return self._ledger.begin(item.id)
        self._views.queue(item.chat)
        return None

    def _turn(self, item: Incoming, running: Running) -> None:
        plan = self._insist(item, lambda: self._plans.make(item), CANNOT_BEGIN)
        if isinstance(plan, str):
            self._close(item, [Reply(item.chat, plan)] if plan else [], None, result=(self._refused(item), plan) if item.run else None)
            return
        agent = self._agents[plan.choice.provider]
        with logs.context("msg", item.chat.id, plan.bucket.session_id):
            if suspects := security.scan(f"{plan.item.text}\n{item.untrusted}"):
                log.warning("input suspicious patterns=%s", ",".join(suspects))
            job = Job(plan, running, agent)
            told = self._tell(job)
            bucket = plan.bucket
            lost = told.finished is not None and told.finished.error == "unknown_session" and bool(bucket.started or bucket.fork_of)
            if lost and item.kind != "heartbeat":  # that never begins a session
                renew = functools.partial(self._sessions.replace, item.lane, agent.name, self._cwd)
                bucket = self._insist(item, renew, CANNOT_BEGIN)
                note = NEW_SESSION.format(cli=CLIS[agent.name].title)
                job = replace(job, plan=replace(plan, bucket=bucket, notes=(*plan.notes, note)))
                told = self._tell(job)
            self._finish(job, told)

    def _refused(self, item: Incoming) -> str:
        """The status of a run that nobody can do."""
        provider = self._plans.wanted(item)
        return "error:not_signed_in" if self._sign_ins.state(provider).installed else f"error:cli_not_found_{provider}"

    def _own_turn(self, item: Incoming, running: Running) -> None:
        """Tell what the agent has begun by itself. It goes on in its own session, also when /new has left that meanwhile."""
        agent = self._agents[OWN_TURNS]
        bucket = self._sessions.peek(item.lane, agent.name, self._cwd) or NO_SESSION
        plan = Plan(item, "", Choice(agent.name, "", ""), bucket)
        with logs.context("msg", item.chat.id, bucket.session_id):
            job = Job(plan, running, agent)
            self._finish(job, self._tell(job))

    @contextmanager
    def _unharmed(self) -> Iterator[None]:
        """What cannot be stored here must not cost the answer."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            log.error("not stored reason=%s", error)

    def _tell(self, job: Job) -> Told:
        """Let the agent work, and show it. What comes back has its `finished`."""
        item = job.item
        view: View = Unseen()
        if item.kind not in UNSEEN:
            view = self._views.open(item.chat, slot_of(item), model=job.plan.choice.model or job.agent.name, turn=item.id)
        told = Told()
        for event in self._events(job):
            told.add(event)
            view.show(event)
            if isinstance(event, Started):
                with self._lock:
                    self._running[item.lane] = replace(self._running[item.lane], since=time.time())
                if item.kind != "agent":
                    with self._unharmed():
                        self._sessions.began(item.lane, job.agent.name, self._cwd, event.session_id)
                if job.running.stop.is_set():  # asked for between the last check and the start
                    job.agent.interrupt(item.lane)
        return told

    def _events(self, job: Job) -> Iterator[Event]:
        if job.running.stop.is_set():
            return iter([Finished("", job.plan.bucket.session_id, "stopped", error="stopped")])
        if job.item.kind == "agent":
            return job.agent.own_turn(job.item.lane)
        return job.agent.turn(self._plans.request(job.plan, self._cwd))

    def _finish(self, job: Job, told: Told) -> None:
        seconds = self._clock() - job.running.begun
        ending = self._endings.of(job, told, seconds=seconds)
        record = ending.record
        self._close(job.item, list(ending.replies), record, state=ending.state, result=ending.result, told=ending.told)
        log.info("turn finished provider=%s seconds=%.1f outcome=%s error=%s", record.provider, seconds, record.outcome, record.error)

    def _close(
        self, item: Incoming, replies: list[Reply], record: TurnRecord | None, *, state: str = "done",
        result: tuple[str, str] | None = None, told: int = 0,
    ) -> None:
        finish = functools.partial(self._ledger.finish, item.id, replies, turn=record, state=state, result=result, told=told)
        self._insist(item, finish, "The answer is ready and kept in memory")

    def _insist(self, item: Incoming, store: Callable[[], T], what: str) -> T:
        """Store something, however long the disk is full. Raises the disk's error when the program ends first."""
        told = False
        while True:
            try:
                return store()
            except (sqlite3.OperationalError, OSError) as error:
                log.error("disk refused item=%s reason=%s", item.id, error)
                if not told:
                    self._views.tell(item.chat, f"⚠️ {what}: the machine's disk takes nothing ({error}). Please make room; I keep trying.")
                told = True
                if self._closing.wait(DISK_PAUSE):
                    raise
