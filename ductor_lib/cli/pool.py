"""Claude Code as an agent: one process per conversation, kept warm, at most so many at work; one turn at a time in each."""

from __future__ import annotations

import dataclasses
import logging
import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from ductor_lib.cli import claude, sweep
from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.environment import agent_environment, plain_environment
from ductor_lib.cli.host import Host
from ductor_lib.cli.keeper import Keeper
from ductor_lib.cli.own_turns import OwnTurn, OwnTurns, Recording
from ductor_lib.cli.places import Places
from ductor_lib.cli.stops import Stops
from ductor_lib.cli.turn import Stop, Turn, settle
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Recovering
from ductor_lib.ports import TurnRequest

KILLED_CODES = (137, 143)  # how a program that catches the signal, or its shell, says so; else the code is negative
SPOILING = ("budget", "not_signed_in", "unknown_session", "silent")  # after these a process is of no more use
PROMPTS = "prompts"  # the folder of the home with the system prompt of each conversation
CLOSING = 5.0  # seconds for running turns at the end
LOOK = 5.0  # seconds between two looks at what another thread should have announced

log = logging.getLogger(__name__)


class ClaudePool:
    """Implements `ports.Agent`. `turn` is for one worker per conversation, everything else for any thread.

    `command` starts Claude Code. Up to `warm` idle processes are kept, each for `warm_seconds`. The owner calls
    `evict_idle` now and then, takes turns that agents begin by themselves from `own_turns`, and calls `close` at the
    end.
    """

    name = "claude"

    def __init__(self, command: Sequence[str], host: Host, *, warm: int, warm_seconds: float) -> None:
        self._command = tuple(command)
        self._host = host
        self._variables = plain_environment(host.environment, pass_env=host.pass_env, secrets=host.secrets)
        self._places = Places(host.parallel)
        self._keeper = Keeper(parallel=host.parallel, warm=warm, warm_seconds=warm_seconds, now=host.now)
        self._own = OwnTurns()
        self.own_turns = self._own.announced
        self._stops = Stops()
        self._unborn: dict[str, str] = {}  # sessions whose first turn may have ended before the CLI had written anything: what they copy
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}  # that run, by conversation

    def turn(self, request: TurnRequest) -> Iterator[Event]:
        """Run one prompt; see `ports.Agent`. A wait for a free place comes before Started, and can be interrupted.

        A generator that is closed early ends its process.
        """
        if not request.resume:
            self._unborn[request.session_id] = request.fork_of
        request = dataclasses.replace(request, fork_of=self._unborn.get(request.session_id, ""))
        if detail := refusal(request.prompt):
            yield Finished("", request.session_id, "failed", error="refused", detail=detail)
            return
        with self._open(request.conversation) as stop:
            try:
                finished = yield from self._placed(request, stop)
            except Exception:
                log.exception("turn failed conversation=%s", request.conversation)
                finished = Finished("", request.session_id, "failed", error="crashed")
        yield finished

    def own_turn(self, conversation: str) -> Iterator[Event]:
        """The oldest turn that the agent began by itself there, live or as it was; see `ports.Agent`."""
        return self._own.oldest(conversation).play()

    def interrupt(self, conversation: str) -> bool:
        """Stop what runs or waits in the conversation, also a turn that the agent began by itself."""
        return self._stops.wish(conversation)

    def steer(self, conversation: str, text: str) -> bool:
        """Give the running turn one more message; see `ports.Agent`. Returns at once."""
        with self._lock:
            turn = self._turns.get(conversation)
        return turn is not None and not refusal(text) and turn.steer(text)

    def release(self, conversation: str) -> None:
        """Let the conversation's process leave, now or at the end of its turn."""
        self._keeper.release(conversation)

    def processes(self) -> Sequence[str]:
        return self._keeper.names()

    def evict_idle(self) -> None:
        """Let processes leave that were idle for too long, and forget those that are gone."""
        self._keeper.evict_idle()

    def close(self) -> None:
        """Stop every turn, end every process and everything it started. Up to some seconds."""
        self.leave()
        sweep.sweep_run(self._host.run)

    def leave(self) -> None:
        """The same without the sweep, which ends what any agent of the run has left."""
        self._stops.close()
        self._stops.wait(CLOSING)
        self._keeper.close()

    # ── a turn ──

    def _placed(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        if not self._places.enter(stop, unattended=request.unattended):
            return stopped(request)
        try:
            return (yield from self._tries(request, stop))
        finally:
            self._places.leave()

    def _tries(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        """Run the prompt, again where the first try cannot have done anything."""
        resume, started, recovered = request.resume, False, False
        while True:
            process = self._obtain(request, resume=resume, stop=stop)
            if isinstance(process, Finished):
                return process
            turn = Turn(process, request, stop, by_itself=False, started=started, now=self._host.now)
            reused = process.turns > 0
            finished = yield from self._follow(process, turn, stop)
            started = turn.started
            request = dataclasses.replace(request, prompt="\n\n".join((request.prompt, *turn.steered)))
            if finished is not None:
                if finished.error == "unknown_session" and resume and request.session_id in self._unborn:
                    resume = False
                    continue
                return finished
            if stop.reason is not None or turn.acted:
                return self._lost(process, turn, stop)
            if was_killed(process.child.returncode) and not recovered and turn.heard:
                recovered = True
                log.warning("agent was killed, trying again conversation=%s", request.conversation)
                if started:
                    yield Recovering()
            elif not (reused and not turn.heard) and not (not resume and "already in use" in process.problem):
                return self._lost(process, turn, stop)
            resume = True

    def _follow(self, process: ClaudeProcess, turn: Turn, stop: Stop) -> Generator[Event, None, Finished | None]:
        """One turn of one process; afterwards the process is idle, or gone."""
        finished: Finished | None = None
        try:
            with self._running(process, turn):
                finished = yield from turn.events()
        finally:
            for started, ended in turn.own:
                own = OwnTurn(process.conversation, ended.session_id, str(uuid.uuid4()))
                self._own.publish(own, Recording((started, ended)))
            self._settle(process, turn, finished, stop)
        return finished

    def _settle(self, process: ClaudeProcess, turn: Turn, finished: Finished | None, stop: Stop) -> None:
        """After a turn: end what must not go on, then keep the process or let it go."""
        if finished is None or turn.owes:
            process.destroy(turn.begun)  # it has died, or nobody wants to hear the rest
        elif stop.reason is not None and turn.acted:
            process.sweep(turn.begun)
        if finished is not None and (turn.taken or finished.outcome == "done"):
            self._unborn.pop(process.session_id, None)
        queued = stop.reason is not None and not turn.taken and process.tasks.seen  # the prompt may still wait in there
        spoilt = finished is None or finished.error in SPOILING or queued or turn.owes
        if self._keeper.settle(process, spoilt=spoilt):
            threading.Thread(target=self._watch, args=(process,), name=f"claude {process.conversation} watch", daemon=True).start()

    def _lost(self, process: ClaudeProcess, turn: Turn, stop: Stop) -> Finished:
        """The words for a process that ended without a result."""
        said, code = process.problem, process.child.returncode
        if stop.reason is not None:
            return settle(turn.whole(Finished(turn.parser.text, process.session_id, "failed")), stop.reason)
        kind: ErrorKind = "killed" if was_killed(code) else claude.failure(said)
        kind = "crashed" if kind == "refused" else kind
        log.warning("agent ended in a turn conversation=%s code=%s kind=%s", process.conversation, code, kind)
        return turn.whole(Finished(turn.parser.text, process.session_id, "failed", error=kind, detail=said, exit_code=code))

    def _obtain(self, request: TurnRequest, *, resume: bool, stop: Stop) -> ClaudeProcess | Finished:
        """The process for this request, busy from now on; a Finished when there cannot be one."""
        process = self._keeper.claim(request.conversation, stop)
        if process is not None and not process.retired and process.fits(self._command, request):
            process.request = request
            return process
        if process is None and stop.reason is not None:
            return stopped(request)
        self._keeper.replace(request.conversation)
        marker = self._host.marker(request.conversation)
        variables = agent_environment(self._variables, home=self._host.home, marker=marker, chat=request.chat)
        try:
            process = ClaudeProcess(
                self._command, request, resume=resume, environment=variables, secrets=self._host.secrets, prompts=self._host.home / PROMPTS
            )
        except OSError as error:
            return self._unstartable(request, error)
        self._keeper.add(process)
        return process

    def _unstartable(self, request: TurnRequest, error: OSError) -> Finished:
        log.warning("agent cannot be started conversation=%s reason=%s", request.conversation, error)
        missing = isinstance(error, FileNotFoundError | PermissionError) and request.cwd.is_dir()
        kind: ErrorKind = "not_installed" if missing else "crashed"
        return Finished("", request.session_id, "failed", error=kind, detail=error.strerror or str(error))

    # ── turns that the agent begins by itself ──

    def _watch(self, process: ClaudeProcess) -> None:
        """Listen to an idle process until a turn wants it or it is gone."""
        try:
            self._listen(process)
        except Exception:  # a turn would wait for ever for a listener that is gone
            log.exception("agent cannot be listened to, it has to leave conversation=%s", process.conversation)
            self._keeper.settle(process, spoilt=True)

    def _listen(self, process: ClaudeProcess) -> None:
        while not self._keeper.unwatch(process):
            line = process.child.read(LOOK)
            raw = claude.parse(line) if line else None
            if raw is not None and raw.get("subtype") == "init":
                self._record(process, raw)
            elif raw is not None:
                process.tasks.feed(raw, sweep.clock())

    def _record(self, process: ClaudeProcess, first: claude.Raw) -> None:
        """Follow a turn that has just begun by itself, with the limits of the conversation's last turn."""
        recording = Recording()
        with self._open(process.conversation) as stop:
            turn = Turn(process, process.request, stop, by_itself=True, started=False, now=self._host.now)
            self._keeper.begin_own(process)
            self._places.take()
            self._own.publish(OwnTurn(process.conversation, process.session_id, str(uuid.uuid4())), recording)
            try:
                self._note(process, turn, stop, first, recording)
            except Exception:
                log.exception("own turn failed conversation=%s", process.conversation)
            finally:
                self._places.leave()
        recording.add(turn.finished or self._lost(process, turn, stop))  # whatever happens: a lane waits for the recording's end

    def _note(self, process: ClaudeProcess, turn: Turn, stop: Stop, first: claude.Raw, recording: Recording) -> None:
        try:
            with self._running(process, turn):
                for event in turn.events(first):
                    recording.add(event)
        finally:
            self._settle(process, turn, turn.finished, stop)

    # ── what runs ──

    @contextmanager
    def _open(self, conversation: str) -> Iterator[Stop]:
        """A turn that runs or waits, with the wish to stop it."""
        with self._stops.open(conversation) as stop:
            self._stops.alarm(conversation, stop, lambda: self._wake(conversation))
            yield stop

    def _wake(self, conversation: str) -> None:
        self._places.wake()
        self._keeper.wake(conversation)

    @contextmanager
    def _running(self, process: ClaudeProcess, turn: Turn) -> Iterator[None]:
        """A turn that takes messages."""
        with self._lock:
            self._turns[process.conversation] = turn
        try:
            yield
        finally:
            with self._lock:
                del self._turns[process.conversation]


def stopped(request: TurnRequest) -> Finished:
    return Finished("", request.session_id, "stopped", error="stopped")


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
