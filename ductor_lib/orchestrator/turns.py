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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ductor_lib import logs, security
from ductor_lib.cli.auth import CLIS
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings
from ductor_lib.events import Event, Finished, Started
from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator import prompts, recovery
from ductor_lib.orchestrator.answers import SHUT_DOWN, STOPPED, Told, answer
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger, TurnRecord
from ductor_lib.orchestrator.limits import Limits, turn_budget
from ductor_lib.orchestrator.recovery import slot_of
from ductor_lib.ports import Agent, Choice, TurnRequest, Views
from ductor_lib.session import Bucket, Reset, Sessions

log = logging.getLogger(__name__)

DISK_PAUSE = 5.0  # seconds between two tries to store an answer on a full disk
T = TypeVar("T")
FRESH: dict[Reset, str] = {
    "idle": "*A fresh session: the last one had been idle for too long (`idle_timeout_minutes`).*",
    "daily": "*A fresh session: the daily reset (`daily_reset_hour`) came in between.*",
    "full": "*A fresh session: the last one was full (`max_session_messages`).*",
}
CANNOT_BEGIN = "Your message is kept, but cannot begin"
OWN_TURNS = "claude"  # the only agent that begins turns by itself
NO_SESSION = Bucket("", messages=0, cost_usd=0.0, tokens_in=0, tokens_out=0, created=0.0, last_active=0.0, started=False)
NEW_SESSION = "*{cli} no longer knows the earlier conversation, so this is a fresh one.*"


@dataclass(frozen=True, slots=True)
class Running:
    """The item that a lane works on now. `begun` in monotonic seconds.

    `stop` is set when it shall end; `left` too, when that is because the program ends, and not what a person wants.
    """

    item: Incoming
    begun: float
    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Job:
    """One turn: the item with its words, who answers it as what was chosen, and in which session."""

    item: Incoming
    running: Running
    agent: Agent
    choice: Choice
    bucket: Bucket


class Turns:
    """Runs turns, one per conversation at a time, and ends them. `run` belongs to the lane's worker, the rest to any thread."""

    def __init__(
        self, settings: Settings, cwd: Path, ledger: Ledger, sessions: Sessions, agents: Mapping[str, Agent], choices: Choices,
        sign_ins: SignIns, limits: Limits, views: Views, *, permission_mode: str, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._cwd = cwd
        self._ledger = ledger
        self._sessions = sessions
        self._agents = agents
        self._choices = choices
        self._sign_ins = sign_ins
        self._limits = limits
        self._views = views
        self._permission_mode = permission_mode
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
                                     "Send the message again, please.", slot=slot_of(item), fresh=True, closing=True)], None)
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
        if not self._limits.stops(item):
            return self._ledger.begin(item.id)
        self._views.queue(item.chat)
        return None

    def _turn(self, item: Incoming, running: Running) -> None:
        directed = self._choices.read(item)
        if directed.answer:
            self._close(item, [Reply(item.chat, directed.answer)], None)
            return
        resolved = self._choices.resolve(directed.choice)
        if resolved.choice is None:
            self._close(item, [Reply(item.chat, resolved.note)], None)
            return
        item = replace(item, text=directed.text)
        agent = self._agents[resolved.choice.provider]
        take = functools.partial(self._sessions.take, item.lane, agent.name, self._cwd)
        bucket, reset = self._insist(item, take, CANNOT_BEGIN)
        notes = tuple(filter(None, (resolved.note, FRESH[reset] if reset else "")))
        with logs.context("msg", item.chat.id, bucket.session_id):
            if suspects := security.scan(f"{item.text}\n{item.untrusted}"):
                log.warning("input suspicious patterns=%s", ",".join(suspects))
            job = Job(item, running, agent, resolved.choice, bucket)
            told = self._tell(job)
            if told.finished and told.finished.error == "unknown_session" and (bucket.started or bucket.fork_of):
                renew = functools.partial(self._sessions.replace, item.lane, agent.name, self._cwd)
                job = replace(job, bucket=self._insist(item, renew, CANNOT_BEGIN))
                notes = (NEW_SESSION.format(cli=CLIS[agent.name].title),)
                told = self._tell(job)
            self._finish(job, told, notes)

    def _own_turn(self, item: Incoming, running: Running) -> None:
        """Tell what the agent has begun by itself. It goes on in its own session, also when /new has left that meanwhile."""
        agent = self._agents[OWN_TURNS]
        bucket = self._sessions.peek(item.lane, agent.name, self._cwd) or NO_SESSION
        choice = self._choices.of(item.lane)
        model = choice.model if choice.provider == agent.name else ""
        job = Job(item, running, agent, Choice(agent.name, model, ""), bucket)
        with logs.context("msg", item.chat.id, bucket.session_id):
            self._finish(job, self._tell(job), ())

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
        view = self._views.open(item.chat, slot_of(item), model=job.choice.model or job.agent.name, turn=item.id)
        told = Told()
        for event in self._events(job):
            told.add(event)
            view.show(event)
            if isinstance(event, Started):
                if item.kind != "agent":
                    with self._unharmed():
                        self._sessions.began(item.lane, job.agent.name, self._cwd, event.session_id)
                if job.running.stop.is_set():  # asked for between the last check and the start
                    job.agent.interrupt(item.lane)
        return told

    def _events(self, job: Job) -> Iterator[Event]:
        if job.running.stop.is_set():
            return iter([Finished("", job.bucket.session_id, "stopped")])
        if job.item.kind == "agent":
            return job.agent.own_turn(job.item.lane)
        return job.agent.turn(self._request(job))

    def _request(self, job: Job) -> TurnRequest:
        settings, item, choice = self._settings, job.item, job.choice
        parameters = {"claude": settings.cli_parameters.claude, "codex": settings.cli_parameters.codex}[choice.provider]
        return TurnRequest(
            conversation=item.lane, chat=item.chat, prompt=prompts.prompt(item), session_id=job.bucket.session_id,
            resume=job.bucket.started, model=choice.model, effort=choice.effort, cwd=self._cwd,
            instructions=prompts.instructions(item.chat), permission_mode=self._permission_mode, timeout=settings.cli_timeout,
            silence=settings.agents.silence_timeout, max_turns=settings.max_turns, max_budget_usd=turn_budget(settings),
            parameters=parameters, fork_of=job.bucket.fork_of,
        )

    def _finish(self, job: Job, told: Told, notes: tuple[str, ...]) -> None:
        item, agent, finished = job.item, job.agent, told.finished
        assert finished is not None
        seconds = self._clock() - job.running.begun
        counted = finished.outcome == "done"
        after = replace(job.bucket, messages=job.bucket.messages + 1) if counted else job.bucket
        if counted and (warning := self._sessions.age_warning(after)):
            notes = (*notes, warning)
        fresh = item.kind == "agent" or seconds > self._settings.streaming.notify_after_seconds
        shut_down = job.running.left.is_set() and finished.outcome != "done"
        session_id = finished.session_id or job.bucket.session_id
        record = TurnRecord(
            agent.name, told.model or job.choice.model, session_id, time.time() - seconds, seconds,
            finished.outcome, finished.error or "", finished.cost, finished.tokens_in, finished.tokens_out,
        )
        reply = answer(
            item.chat, slot_of(item), told, finished, cwd=self._cwd, provider=agent.name, fresh=fresh,
            stopped=SHUT_DOWN if shut_down else STOPPED, notes=(*notes, *filter(None, [self._limits.warning(record)])),
        )
        if item.kind != "agent" or session_id == job.bucket.session_id:
            with self._unharmed():  # before the answer is seen: a /status right after it counts the turn
                self._sessions.record(
                    item.lane, agent.name, self._cwd, session_id=session_id, messages=1 if counted else 0, cost=finished.cost,
                    tokens_in=finished.tokens_in, tokens_out=finished.tokens_out,
                )
        if finished.error == "not_signed_in":
            self._sign_ins.rejected(agent.name)
        elif counted:
            self._sign_ins.accepted(agent.name)
        if shut_down and item.kind != "agent":
            question = recovery.question(item, "I was stopped in the middle of this message:")
            self._close(item, [reply, question], record, state="interrupted")
        else:
            self._close(item, [reply], record)
        log.info("turn finished provider=%s seconds=%.1f outcome=%s error=%s", record.provider, seconds, record.outcome, record.error)

    def _close(self, item: Incoming, replies: list[Reply], record: TurnRecord | None, *, state: str = "done") -> None:
        finish = functools.partial(self._ledger.finish, item.id, replies, turn=record, state=state)
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
