"""Claude Code as an agent: one process per conversation, kept warm, at most so many at work; one turn at a time in each."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ductor_lib.cli import claude, environment, sweep
from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.process import END
from ductor_lib.cli.turn import Stop, Turn, settle
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Status
from ductor_lib.ports import TurnRequest

KILLED_CODES = (137, 143)  # how a program that catches the signal, or its shell, says so; else the code is negative
LEAVING = 8.0  # seconds for a process that was told to leave
CLOSING = 5.0  # seconds for running turns at the end
WAKE = 5.0  # seconds between two looks at what another thread should have announced
RECORDED = 5_000  # events of a turn of its own that wait for a reader; then only its end is kept

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OwnTurn:
    """The agent has begun a turn by itself, because a background task has ended. `key` is unique to the turn."""

    conversation: str
    session_id: str
    key: str


@dataclass(eq=False)
class _Recording:
    """The events of a turn that the agent began by itself; the last one is a Finished."""

    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)

    def add(self, event: Event) -> None:
        if isinstance(event, Started | Finished) or self.events.qsize() < RECORDED:
            self.events.put(event)


class ClaudePool:
    """Implements `ports.Agent`. `turn` is for one worker per conversation, everything else for any thread.

    `command` starts Claude Code. `run` is unique to this run of the program: it is in the mark of every process.
    `base` is the environment of which agents get the part they need, plus the names in `pass_env`. At most
    `parallel` turns run at once; up to `warm` idle processes are kept, each for `warm_seconds`. The owner calls
    `evict_idle` now and then, takes turns that agents begin by themselves from `own_turns`, and calls `close` at the
    end. `secrets` are kept out of environments and of errors. `now` is in seconds.
    """

    name = "claude"

    def __init__(
        self, command: Sequence[str], *, home: Path, run: str, base: Mapping[str, str], pass_env: Sequence[str] = (),
        secrets: Sequence[str] = (), parallel: int, warm: int, warm_seconds: float, now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.own_turns: queue.SimpleQueue[OwnTurn] = queue.SimpleQueue()
        self._command = tuple(command)
        self._home = home
        self._run = run
        self._base = base
        self._pass_env = pass_env
        self._secrets = secrets
        self._parallel = parallel
        self._warm = warm
        self._warm_seconds = warm_seconds
        self._now = now
        self._changed = threading.Condition()
        self._busy = 0
        self._waiting: deque[Stop] = deque()
        self._stops: dict[str, list[Stop]] = {}
        self._processes: dict[str, ClaudeProcess] = {}
        self._leaving: dict[str, threading.Thread] = {}
        self._recordings: dict[str, deque[_Recording]] = {}
        self._unborn: set[str] = set()  # sessions begun here of which the CLI may not have written anything yet
        self._closed = False

    def turn(self, request: TurnRequest) -> Iterator[Event]:
        """Run one prompt; see `ports.Agent`. A wait for a free place comes before Started, and can be interrupted.

        A generator that is closed early ends its process.
        """
        if detail := refusal(request.prompt):
            yield Finished("", request.session_id, "failed", error="refused", detail=detail)
            return
        stop = Stop(self._now)
        self._announce(request.conversation, stop)
        try:
            finished = yield from self._placed(request, stop)
        except Exception:
            log.exception("turn failed conversation=%s", request.conversation)
            finished = Finished("", request.session_id, "failed", error="crashed")
        finally:
            self._forget(request.conversation, stop)
        yield finished

    def own_turn(self, conversation: str) -> Iterator[Event]:
        """The oldest turn that the agent began by itself there, live or as it was; see `ports.Agent`."""
        with self._changed:
            waiting = self._recordings.get(conversation)
            recording = waiting.popleft() if waiting else None
        if recording is None:
            yield Finished("", "", "failed", error="killed", detail="The turn that the agent began by itself is gone.")
            return
        while True:
            event = recording.events.get()
            yield event
            if isinstance(event, Finished):
                return

    def interrupt(self, conversation: str) -> bool:
        """Stop what runs or waits in the conversation, also a turn that the agent began by itself."""
        with self._changed:
            stops = list(self._stops.get(conversation, ()))
            process = self._processes.get(conversation)
            for stop in stops:
                stop.wish("stopped")
            self._changed.notify_all()
        if process is not None:
            process.child.wake()
        return bool(stops)

    def release(self, conversation: str) -> None:
        """Let the conversation's process leave, now or at the end of its turn."""
        with self._changed:
            if process := self._processes.get(conversation):
                process.retired = True
                self._dismiss_if(lambda candidate: candidate is process and not candidate.busy)

    def processes(self) -> Sequence[str]:
        with self._changed:
            return [name for name, process in self._processes.items() if process.child.running]

    def evict_idle(self) -> None:
        """Let processes leave that were idle for too long, and forget those that are gone."""
        oldest = self._now() - self._warm_seconds
        with self._changed:
            self._dismiss_if(lambda process: (process.idle and process.used < oldest) or not (process.busy or process.child.running))

    def close(self) -> None:
        """Stop every turn, end every process and everything it started. Up to some seconds."""
        with self._changed:
            self._closed = True
            names = list(self._stops)
        for name in names:
            self.interrupt(name)
        with self._changed:
            self._changed.wait_for(lambda: not self._stops, CLOSING)
            self._dismiss_if(lambda process: not process.busy)
            threads, stuck = list(self._leaving.values()), list(self._processes.values())
        for process in stuck:
            process.destroy(0.0)
        for thread in threads:
            thread.join(LEAVING)
        sweep.sweep_run(self._run)

    # ── a turn ──

    def _placed(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        if not self._enter(stop):
            return Finished("", request.session_id, "stopped", error="stopped")
        try:
            return (yield from self._tries(request, stop))
        finally:
            self._leave()

    def _tries(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        """Run the prompt, again where the first try cannot have done anything."""
        resume, started, recovered = request.resume, False, False
        while True:
            process = self._obtain(request, resume=resume, stop=stop)
            if isinstance(process, Finished):
                return process
            turn = Turn(process, request, stop, by_itself=False, started=started, now=self._now)
            reused = process.turns > 0
            finished = yield from self._follow(process, turn, stop)
            started = turn.started
            if finished is not None:
                if finished.error == "unknown_session" and resume and request.session_id in self._unborn:
                    resume = False  # its first turn was ended before the CLI had written anything
                    continue
                return finished
            if stop.reason is None and not turn.tool_began and not started and not resume and "already in use" in process.problem:
                resume = True
            elif stop.reason is None and reused and not turn.heard:
                resume = True  # a warm process had died meanwhile: nobody needs to know
            elif stop.reason is None and was_killed(process.child.returncode) and not turn.tool_began and not recovered:
                recovered = resume = True
                log.warning("agent was killed, trying again conversation=%s", request.conversation)
                if started:
                    yield Status("recovering")
            else:
                return self._lost(process, turn, stop)

    def _follow(self, process: ClaudeProcess, turn: Turn, stop: Stop) -> Generator[Event, None, Finished | None]:
        """One turn of one process; afterwards the process is idle, or gone."""
        finished: Finished | None = None
        try:
            finished = yield from turn.events()
        finally:
            if finished is None:
                process.destroy(turn.begun)  # it has died, or nobody wants to hear the rest
            elif stop.reason is not None and turn.tool_began:
                process.sweep(turn.begun)
            for started, ended in turn.own:
                self._record_past(process, started, ended)
            self._settle(process, turn, finished, stop)
        return finished

    def _lost(self, process: ClaudeProcess, turn: Turn, stop: Stop) -> Finished:
        """The words for a process that ended without a result."""
        said = process.problem
        partial = Finished(turn.parser.text, process.session_id, "failed", detail=said)
        if stop.reason is not None:
            return settle(partial, stop.reason)
        kind: ErrorKind = "killed" if was_killed(process.child.returncode) else claude.failure(said)
        kind = "crashed" if kind == "refused" else kind
        log.warning("agent ended in a turn conversation=%s code=%s kind=%s", process.conversation, process.child.returncode, kind)
        return Finished(turn.parser.text, process.session_id, "failed", error=kind, detail=said)

    # ── processes ──

    def _obtain(self, request: TurnRequest, *, resume: bool, stop: Stop) -> ClaudeProcess | Finished:
        """The process for this request, busy from now on; a Finished when there cannot be one."""
        process = self._take_over(request.conversation, stop)
        if stop.reason is None and process is not None and not process.retired and process.fits(self._command, request):
            process.request = request
            return process
        with self._changed:
            if process is not None:
                process.busy = False
            if stop.reason is not None:
                return Finished("", request.session_id, "stopped", error="stopped")
            self._dismiss_if(lambda candidate: candidate is process)
            leaving = self._leaving.get(request.conversation)
            self._make_room()
        if leaving is not None:
            leaving.join(LEAVING)  # two processes in one session would lose a turn
        return self._start(request, resume=resume)

    def _take_over(self, conversation: str, stop: Stop) -> ClaudeProcess | None:
        """The conversation's process, busy from now on, as soon as nobody else listens to it: its own turn is waited for."""
        with self._changed:
            while (process := self._processes.get(conversation)) is not None and process.watched:
                process.wanted = True
                process.child.wake()
                self._changed.wait(WAKE)
                if stop.reason is not None:
                    process.wanted = False
                    return None
            if process is not None:
                process.wanted, process.busy = False, True
            return process

    def _start(self, request: TurnRequest, *, resume: bool) -> ClaudeProcess | Finished:
        mark = environment.mark(self._run, request.conversation)
        variables = environment.agent_environment(
            self._base, home=self._home, marker=mark, chat=request.chat, pass_env=self._pass_env, secrets=self._secrets
        )
        try:
            process = ClaudeProcess(self._command, request, resume=resume, environment=variables, secrets=self._secrets)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | PermissionError) and request.cwd.is_dir()
            log.warning("agent cannot be started conversation=%s reason=%s", request.conversation, error)
            return Finished(
                "", request.session_id, "failed", error="not_installed" if missing else "crashed", detail=error.strerror or str(error)
            )
        process.busy = True
        with self._changed:
            self._processes[request.conversation] = process
            if not resume:
                self._unborn.add(request.session_id)
        return process

    def _settle(self, process: ClaudeProcess, turn: Turn, finished: Finished | None, stop: Stop) -> None:
        """After a turn: keep the process or let it go."""
        unsure = stop.reason is not None and not turn.taken and process.tasks.seen  # the prompt may still be queued there
        spoilt = finished is None or finished.error in ("budget", "not_signed_in", "unknown_session", "silent") or unsure
        with self._changed:
            if finished is not None and (turn.taken or finished.outcome == "done"):
                self._unborn.discard(process.session_id)
            process.busy = False
            process.used = self._now()
            process.retired = process.retired or spoilt or not process.child.running
            self._dismiss_if(lambda candidate: candidate is process and (process.retired or (self._warm == 0 and process.idle)))
            self._evict_surplus()
            if process is self._processes.get(process.conversation) and process.tasks.seen and not process.watched:
                process.watched = True
                threading.Thread(target=self._watch, args=(process,), name=f"claude {process.conversation} watch", daemon=True).start()
            self._changed.notify_all()

    def _evict_surplus(self) -> None:
        idle = sorted((process for process in self._processes.values() if process.idle), key=lambda process: process.used)
        surplus = idle[: max(0, len(idle) - self._warm)]
        self._dismiss_if(lambda process: process in surplus)

    def _make_room(self) -> None:
        """One more process is about to start: idle ones go until the number of processes allows it."""
        idle = sorted((process for process in self._processes.values() if process.idle), key=lambda process: process.used)
        surplus = idle[: max(0, len(self._processes) + 1 - self._parallel)]
        self._dismiss_if(lambda process: process in surplus)

    def _dismiss_if(self, unwanted: Callable[[ClaudeProcess], bool]) -> None:
        """Under the lock: let these processes leave, each in a thread of its own that ends with it."""
        for name, process in list(self._processes.items()):
            if unwanted(process):
                del self._processes[name]
                thread = threading.Thread(target=self._see_off, args=(process,), name=f"claude {name} leaving", daemon=True)
                self._leaving[name] = thread
                thread.start()

    def _see_off(self, process: ClaudeProcess) -> None:
        try:
            process.finish()
        except Exception:
            log.exception("agent not ended cleanly conversation=%s", process.conversation)
        with self._changed:
            if self._leaving.get(process.conversation) is threading.current_thread():
                del self._leaving[process.conversation]

    # ── turns that the agent begins by itself ──

    def _watch(self, process: ClaudeProcess) -> None:
        """Listen to an idle process until a turn wants it or it is gone."""
        while (line := process.child.read(WAKE)) != END:
            raw = claude.parse(line) if line else None
            if raw is not None and raw.get("subtype") == "init":
                self._record(process, raw)
            elif raw is not None:
                process.tasks.feed(raw, sweep.clock())
            with self._changed:
                if process.wanted or process.retired:
                    break
        with self._changed:
            process.watched = False
            self._changed.notify_all()

    def _record(self, process: ClaudeProcess, first: claude.Raw) -> None:
        """Follow a turn that has just begun by itself, with the limits of the conversation's last turn."""
        recording, stop = _Recording(), Stop(self._now)
        turn = Turn(process, process.request, stop, by_itself=True, started=False, now=self._now)
        with self._changed:
            process.busy = True
            self._busy += 1
        self._announce(process.conversation, stop)
        self._publish(process, recording, key=str(first.get("uuid")))
        finished: Finished | None = None
        try:
            for event in turn.events(first):
                recording.add(event)
            finished = turn.finished
        except Exception:
            log.exception("own turn failed conversation=%s", process.conversation)
        finally:
            if finished is None:
                process.destroy(turn.begun)
            elif stop.reason is not None and turn.tool_began:
                process.sweep(turn.begun)
            self._forget(process.conversation, stop)
            self._settle(process, turn, finished, stop)
            self._leave()
            recording.add(finished or self._lost(process, turn, stop))

    def _record_past(self, process: ClaudeProcess, started: Started, finished: Finished) -> None:
        recording = _Recording()
        recording.add(started)
        recording.add(finished)
        self._publish(process, recording, key=f"{started.session_id}:{process.turns}")

    def _publish(self, process: ClaudeProcess, recording: _Recording, *, key: str) -> None:
        with self._changed:
            self._recordings.setdefault(process.conversation, deque()).append(recording)
        self.own_turns.put(OwnTurn(process.conversation, process.session_id, key))

    # ── places ──

    def _enter(self, stop: Stop) -> bool:
        """Wait for one of the `parallel` places, in order. False when the turn was stopped meanwhile."""
        with self._changed:
            self._waiting.append(stop)
            try:
                self._changed.wait_for(lambda: stop.reason or (self._waiting[0] is stop and self._busy < self._parallel))
                if stop.reason is None:
                    self._busy += 1
                return stop.reason is None
            finally:
                self._waiting.remove(stop)
                self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def _announce(self, conversation: str, stop: Stop) -> None:
        with self._changed:
            self._stops.setdefault(conversation, []).append(stop)
            if self._closed:
                stop.wish("stopped")

    def _forget(self, conversation: str, stop: Stop) -> None:
        with self._changed:
            stops = self._stops[conversation]
            stops.remove(stop)
            if not stops:
                del self._stops[conversation]
            self._changed.notify_all()


def refusal(prompt: str) -> str:
    """Why a prompt cannot be sent, in words for a person; empty when it can."""
    if not prompt.strip():
        return "The message is empty."
    if len(prompt.encode("utf-8", "replace")) > claude.PROMPT_BYTES:
        return f"The message is larger than {claude.PROMPT_BYTES // 1_000_000} MB. Send it as a file."
    return ""


def was_killed(code: int | None) -> bool:
    """Whether an exit code says that a signal from outside ended the process."""
    return code is not None and (code < 0 or code in KILLED_CODES)
