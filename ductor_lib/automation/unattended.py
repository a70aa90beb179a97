"""Run jobs and hooks in their task folders: a fresh session, nobody to ask, the result to the chats that want it."""

from __future__ import annotations

import functools
import logging
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ductor_lib import logs, security
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings
from ductor_lib.events import Event, Finished, Started
from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator import prompts, recovery
from ductor_lib.orchestrator.acks import has_token
from ductor_lib.orchestrator.answers import OVERDUE, SHUT_DOWN, STOPPED, Told, answer
from ductor_lib.orchestrator.asking import Asking
from ductor_lib.orchestrator.choices import Choices, how_to_sign_in
from ductor_lib.orchestrator.ledger import Ledger, TurnRecord
from ductor_lib.orchestrator.limits import Limits
from ductor_lib.orchestrator.runs import Order, Run, outcome
from ductor_lib.orchestrator.words import plain
from ductor_lib.paths import Paths
from ductor_lib.ports import Agent, Choice, TurnRequest
from ductor_lib.workspace.tasks import TaskError, Tasks

NOTE_CHARS = 20_000  # of a result that becomes part of a conversation
DISK_PAUSE = 5.0  # seconds between two tries to store a result on a full disk
REMINDER = "Read {name}_MEMORY.md in this folder first if there is one, and before you end write into it what the next run should know."
GONE = "The run's own record is gone; `logs/agent.log` may say more."
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One run at work. `begun` in monotonic seconds; `since` is when its agent began, in unix seconds.

    `stop` is set when it shall end; `left` too, when that is because the program ends, and `late` when it lasts too long.
    """

    item: Incoming
    run: Run
    order: Order
    begun: float
    since: float = math.inf
    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    late: threading.Event = field(default_factory=threading.Event)


class Unattended:
    """Runs items of kind "task". `run` belongs to the lane's worker, the rest to any thread."""

    def __init__(
        self, settings: Settings, paths: Paths, ledger: Ledger, agents: Mapping[str, Agent], choices: Choices, sign_ins: SignIns,
        limits: Limits, *, permission_mode: str,
    ) -> None:
        self._paths = paths
        self._ledger = ledger
        self._agents = agents
        self._choices = choices
        self._sign_ins = sign_ins
        self._limits = limits
        self._asking = Asking(settings, paths, permission_mode=permission_mode)
        self._tasks = Tasks(paths.cron_tasks)
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}  # by lane
        self._closing = threading.Event()

    def run(self, item: Incoming) -> None:
        """Run a waiting item to its end. Returns when its result is stored."""
        found = self._ledger.runs.get(item.run)
        if found is None:
            self._store(item, [Reply(item.chat, f"⚠️ {GONE}")], ("error:exception", GONE))
            return
        job = Job(item, found, found.order, time.monotonic())
        with self._lock:
            self._jobs[item.lane] = job  # before it begins: what has begun when the program ends must be found here
        try:
            if self._closing.is_set() or self._insist(item, lambda: self._ledger.begin(item.id)) is None:
                return
            with logs.context("wh" if found.source == "hook" else "cron", item.chat.id):
                self._work(job)
        except Exception as error:
            log.exception("run failed inside the bot run=%s", found.key)
            if self._closing.is_set() and isinstance(error, sqlite3.OperationalError | OSError):
                return  # the program ends before the disk has room: the ledger is right as it is
            text = "⚠️ Something went wrong inside ductor itself; `logs/agent.log` has the details."
            self._store(item, self._replies(job, Reply(item.chat, text)), ("error:exception", str(error)))
        finally:
            with self._lock:
                del self._jobs[item.lane]

    def running(self) -> list[Run]:
        """What is at work now."""
        with self._lock:
            return [job.run for job in self._jobs.values()]

    def stop(self, source: str, name: str) -> bool:
        """End the running run of a job or hook. Returns at once; False when it does not run."""
        with self._lock:
            found = [job for job in self._jobs.values() if (job.run.source, job.run.name) == (source, name)]
        for job in found:
            self._end(job)
        return bool(found)

    def end_overdue(self, seconds: float) -> list[str]:
        """End the runs whose agents began more than `seconds` ago by the clock on the wall; their lanes."""
        with self._lock:
            late = [job for job in self._jobs.values() if time.time() - job.since > seconds and not job.stop.is_set()]
        for job in late:
            job.late.set()
            self._end(job)
        return [job.item.lane for job in late]

    def close(self) -> None:
        """The program ends: what runs is ended too, and offered again."""
        self._closing.set()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.left.set()
            self._end(job)

    def _end(self, job: Job) -> None:
        job.stop.set()
        for agent in self._agents.values():
            agent.interrupt(job.item.lane)

    # ── one run ──

    def _work(self, job: Job) -> None:
        order = job.order
        try:
            folder = self._tasks.path(order.folder) if order.folder else self._paths.cron_tasks
        except TaskError as error:
            self._refuse(job, "error:folder_missing", str(error))
            return
        if reached := self._limits.reached():
            self._refuse(job, "skipped:limit", f"Today's limit is reached: {', '.join(map(str, reached))}.")
            return
        wanted = self._choices.ordered(order.provider, order.model, order.effort, self._choices.default())
        resolved = self._choices.resolve(wanted)
        named = bool(order.provider or order.model)
        if resolved.choice is None or (named and resolved.choice.provider != wanted.provider):  # it was made for that one
            state = self._sign_ins.state(wanted.provider)
            why = how_to_sign_in(wanted.provider, state) if named else resolved.note
            self._refuse(job, "error:not_signed_in" if state.installed else f"error:cli_not_found_{wanted.provider}", why)
            return
        told = Told()
        for event in self._events(job, resolved.choice, folder):
            told.add(event)
        self._finish(job, told, resolved.choice, folder, note=resolved.note)

    def _events(self, job: Job, choice: Choice, folder: Path) -> Iterator[Event]:
        if job.stop.is_set():
            yield Finished("", "", "stopped", error="stopped")
            return
        agent = self._agents[choice.provider]
        try:
            for event in agent.turn(self._request(job, choice, folder)):
                if isinstance(event, Started):
                    with self._lock:
                        self._jobs[job.item.lane] = replace(job, since=time.time())
                yield event
                if job.stop.is_set() and not isinstance(event, Finished):
                    agent.interrupt(job.item.lane)  # it may have been asked for before there was anything to interrupt
        finally:
            agent.release(job.item.lane)

    def _request(self, job: Job, choice: Choice, folder: Path) -> TurnRequest:
        order, item = job.order, job.item
        reminder = REMINDER.format(name=order.folder) if order.folder else ""
        return self._asking.request(
            item, choice, order, prompt="\n\n".join(filter(None, (prompts.prompt(item), reminder))), cwd=folder,
            instructions=prompts.unattended(order.places), session_id=str(uuid.uuid4()), unattended=True,
        )

    def _finish(self, job: Job, told: Told, choice: Choice, folder: Path, *, note: str) -> None:
        finished = told.finished
        assert finished is not None
        seconds = time.monotonic() - job.begun
        record = TurnRecord(
            choice.provider, told.model or choice.model, finished.session_id, time.time() - seconds, seconds, finished.outcome,
            finished.error or "", finished.cost, finished.tokens_in, finished.tokens_out,
        )
        if finished.error == "not_signed_in":
            self._sign_ins.rejected(choice.provider)
        elif finished.outcome == "done":
            self._sign_ins.accepted(choice.provider)
        cut = job.left.is_set() and finished.outcome != "done"
        notes = tuple(filter(None, (note, self._limits.warning(record))))
        reply = answer(
            job.item.chat, "", told, finished, cwd=folder, provider=choice.provider, fresh=True,
            stopped=SHUT_DOWN if cut else OVERDUE if job.late.is_set() else STOPPED, notes=notes,
        )
        status, detail = outcome(finished, choice.provider)
        if job.late.is_set() and finished.outcome == "stopped":
            status = "error:timeout"
        if cut:
            asked = recovery.question(job.item, recovery.what(job.item, "stopped"))
            self._store(job.item, [asked], ("error:interrupted", detail), record=record, state="interrupted")
        elif status == "success" and has_token(finished.text, job.order.silent_when):
            self._store(job.item, [], (status, detail), record=record)
        else:
            kept = self._notes(job, reply.text) if status == "success" else []
            self._store(job.item, self._replies(job, reply), (status, detail), record=record, notes=kept)
        log.info("run finished key=%s status=%s seconds=%.1f", job.run.key, status, seconds)

    def _refuse(self, job: Job, status: str, why: str) -> None:
        """It cannot begin: say so where its result is waited for."""
        log.warning("run refused key=%s status=%s", job.run.key, status)
        self._store(job.item, self._replies(job, Reply(job.item.chat, f"⚠️ {why}")), (status, why))

    def _replies(self, job: Job, reply: Reply) -> list[Reply]:
        """The same words for every chat that gets the result, headed by what it was."""
        text = f"**TASK: {plain(job.run.title)}**\n\n{reply.text}"
        return [replace(reply, chat=chat, text=text, earlier="", slot="", closing=False) for chat in job.order.places or (job.item.chat,)]

    def _notes(self, job: Job, text: str) -> list[tuple[str, str]]:
        """What the agents of those conversations are told with the next message."""
        if not job.order.into_session:
            return []
        kept = text if len(text) <= NOTE_CHARS else f"{text[:NOTE_CHARS]}… (cut)"
        note = security.fence(kept, f"the result of the task “{job.run.title}”, which your owner has just been sent")
        return [(chat.lane, note) for chat in job.order.places]

    def _store(
        self, item: Incoming, replies: list[Reply], result: tuple[str, str], *, record: TurnRecord | None = None, state: str = "done",
        notes: list[tuple[str, str]] | None = None,
    ) -> None:
        """Close the run with its result; the next start reports it if the program ends before the disk takes it."""
        finish = functools.partial(
            self._ledger.finish, item.id, replies, turn=record, state=state, result=result, notes=notes or ()
        )
        self._insist(item, finish)

    def _insist(self, item: Incoming, store: Callable[[], T]) -> T:
        """Store something, however long the disk is full. Raises the disk's error when the program ends first."""
        while True:
            try:
                return store()
            except (sqlite3.OperationalError, OSError) as error:
                log.error("disk refused item=%s reason=%s", item.id, error)
                if self._closing.wait(DISK_PAUSE):
                    raise
