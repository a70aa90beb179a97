"""Codex with a process for each turn (`codex exec --json`): no live text and no questions, but nothing shared either."""

from __future__ import annotations

import dataclasses
import logging
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

from ductor_lib.cli import claude, sweep
from ductor_lib.cli.codex_events import ExecParser
from ductor_lib.cli.codex_items import Tokens, failure
from ductor_lib.cli.codex_params import codex_environment, exec_argv, exec_prompt, refusal
from ductor_lib.cli.codex_server import presentable
from ductor_lib.cli.environment import MARK, agent_environment
from ductor_lib.cli.host import Host
from ductor_lib.cli.places import Places
from ductor_lib.cli.pool import stopped, was_killed
from ductor_lib.cli.process import END, ChildProcess
from ductor_lib.cli.stops import Stops
from ductor_lib.cli.turn import Stop, settle
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished
from ductor_lib.ports import TurnRequest

ANSWER = 3.0  # seconds after INT, then TERM and KILL
EXIT = 5.0  # seconds to leave after the turn's end; it takes 0.1
LONG = 60.0  # seconds between two looks when nothing is due
CLOSING = 10.0  # seconds for running turns at the end
THREAD_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)  # what is none begins a new thread unasked
NO_TURN = Finished("", "", "failed", error="killed", detail="Codex begins no turns by itself.")

log = logging.getLogger(__name__)


class ExecTurn:
    """One turn in a process of its own. Raises OSError when that cannot be started. `wake` is for any thread."""

    def __init__(
        self, command: Sequence[str], request: TurnRequest, stop: Stop, *, environment: Mapping[str, str], secrets: Sequence[str],
        spent: Tokens | None, now: Callable[[], float],
    ) -> None:  # fmt: skip
        before = spent if request.resume else None if request.fork_of else Tokens()
        self.parser = ExecParser(session_id=request.session_id, model=request.model, spent=before)
        self.finished: Finished | None = None
        self._request = request
        self._stop = stop
        self._secrets = secrets
        self._marker = environment[MARK]
        self._now = now
        self._since = self._last = now()
        self._ending: float | None = None  # since when the turn is being ended
        self._family: list[sweep.Process] = []
        self._child = ChildProcess(exec_argv(command, request), cwd=request.cwd, environment=environment, name="codex exec")
        self._child.send(exec_prompt(request).encode("utf-8", "replace"))
        self._child.close_stdin()
        log.info("agent started conversation=%s pid=%d resumed=%s", request.conversation, self._child.pid, request.resume)

    def wake(self) -> None:
        """Let the turn look at its Stop. Returns at once."""
        self._child.wake()

    def events(self) -> Generator[Event, None, Finished]:
        """Yield what happens; returns the Finished when the process is gone, with all that it left if it was stopped."""
        try:
            while (line := self._child.read(self._patience())) != END:
                if line is not None:
                    yield from self._take(claude.parse(line))
                if self.finished is not None:
                    break
                self._check(silent_possible=line is None)
        finally:
            self._see_off()
        return self.finished or self._lost()

    def _take(self, raw: claude.Raw | None) -> Iterator[Event]:
        for event in self.parser.feed(raw or {}):
            if isinstance(event, Finished):
                self.finished = settle(event, self._stop.reason)
            elif self._request.resume and self.parser.session_id != self._request.session_id:
                self.finished = Finished("", self._request.session_id, "failed", error="unknown_session")
                self._child.interrupt()
            else:
                yield event
        if self.parser.retrying is None:
            self._last = self._now()

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = self._now()
        if self._ending is not None:
            return max(0.0, self._ending + ANSWER - now)
        due = [now + LONG, *(limit for limit, _ in self._deadlines())] if self._stop.reason is None else [now]
        return max(0.0, min(due) - now)

    def _deadlines(self) -> list[tuple[float, ErrorKind]]:
        limits: list[tuple[float, ErrorKind]] = [(self._since + self._request.timeout, "timeout")]
        if not self.parser.tools:
            limits.append((self._last + self._request.silence, self.parser.retrying or "silent"))
        return limits

    def _check(self, *, silent_possible: bool) -> None:
        """INT when the turn must end, and the harder signals when that does not help."""
        now = self._now()
        if self.parser.retrying == "not_signed_in":
            self._stop.wish("not_signed_in")
        for limit, reason in self._deadlines():
            if now >= limit and (silent_possible or reason == "timeout"):
                self._stop.wish(reason)
        if self._stop.reason is None:
            return
        if self._ending is None:
            self._ending = now
            self._family = sweep.family(self._marker, self._child.pid)  # afterwards descent says nothing any more
            self._child.interrupt()
        elif now >= self._ending + ANSWER:
            self._child.terminate()

    def _see_off(self) -> None:
        """The process leaves by itself after its turn; after a stop, or when nobody listens any more, nothing of it stays."""
        if self.finished is None or self.finished.outcome != "done" or not self._child.wait(EXIT):
            self._family += sweep.family(self._marker, self._child.pid)
            if self._child.running and self._ending is None and self.finished is None:
                self._child.interrupt()
            if not self._child.wait(ANSWER):
                self._child.terminate()
            sweep.stop([*self._family, *sweep.family(self._marker, self._child.pid)])
        self._child.abandon()
        facts = (self._request.conversation, self._child.pid, self._child.returncode, self.parser.unknown + self._child.skipped)
        log.info("agent ended conversation=%s pid=%d code=%s unknown=%d", *facts)

    def _lost(self) -> Finished:
        """The words for a process that ended without a result."""
        if self._stop.reason is not None:
            return settle(self.parser.finished(error="crashed"), self._stop.reason)
        said, code = presentable(self._child.stderr, self._secrets), self._child.returncode
        kind: ErrorKind = "killed" if was_killed(code) else failure(said)
        kind = "crashed" if kind == "refused" else kind
        log.warning("agent ended in a turn conversation=%s code=%s kind=%s", self._request.conversation, code, kind)
        return dataclasses.replace(self.parser.finished(error=kind, detail=said), exit_code=code)


class CodexExec:
    """Implements `ports.Agent` with a process per turn, for unattended runs and where the server does not start.

    `command` starts Codex. It knows neither `max_turns` nor `max_budget_usd`.
    """

    name = "codex"

    def __init__(self, command: Sequence[str], host: Host) -> None:
        self._command = tuple(command)
        self._host = host
        self._variables = codex_environment(host.environment, pass_env=host.pass_env, secrets=host.secrets)
        self._places = Places(host.parallel)
        self._stops = Stops()
        self._lock = threading.Lock()
        self._spent: dict[str, Tokens] = {}  # by thread, as far as its turns ran here

    def turn(self, request: TurnRequest) -> Iterator[Event]:
        """Run one prompt; see `ports.Agent`. A generator that is closed early ends its process."""
        if detail := refusal(request.prompt):
            yield Finished("", request.session_id, "failed", error="refused", detail=detail)
            return
        with self._stops.open(request.conversation) as stop:
            self._stops.alarm(request.conversation, stop, self._places.wake)
            if not self._places.enter(stop, unattended=request.unattended):
                finished = stopped(request)
            else:
                try:
                    finished = yield from self.run_turn(request, stop, lambda wake: self._stops.alarm(request.conversation, stop, wake))
                except Exception:
                    log.exception("turn failed conversation=%s", request.conversation)
                    finished = Finished("", request.session_id, "failed", error="crashed")
                finally:
                    self._places.leave()
        yield finished

    def run_turn(
        self, request: TurnRequest, stop: Stop, alarm: Callable[[Callable[[], None]], None]
    ) -> Generator[Event, None, Finished]:
        """One turn for who keeps places and stops himself; `alarm` is given what wakes the turn to look at its Stop."""
        wanted = request.session_id if request.resume else request.fork_of
        if wanted and not THREAD_ID.fullmatch(wanted):
            return Finished("", request.session_id, "failed", error="unknown_session")
        if stop.reason is not None:  # just before: the prompt is kept back
            return settle(Finished("", request.session_id, "failed"), stop.reason)
        marker = self._host.marker(request.conversation)
        variables = agent_environment(self._variables, home=self._host.home, marker=marker, chat=request.chat)
        with self._lock:
            spent = self._spent.get(request.session_id)
        try:
            turn = ExecTurn(
                self._command, request, stop, environment=variables, secrets=self._host.secrets, spent=spent, now=self._host.now
            )
        except OSError as error:
            return unstartable(request, error)
        alarm(turn.wake)
        finished = yield from turn.events()
        if turn.parser.spent is not None:
            with self._lock:
                self._spent[finished.session_id] = turn.parser.spent
        return finished

    def own_turn(self, conversation: str) -> Iterator[Event]:
        """Codex begins no turn by itself."""
        return iter([NO_TURN])

    def interrupt(self, conversation: str) -> bool:
        """Stop what runs or waits in the conversation."""
        return self._stops.wish(conversation)

    def steer(self, conversation: str, text: str) -> bool:
        """A process that has its prompt takes no more."""
        return False

    def release(self, conversation: str) -> None:
        """Nothing is kept between turns."""

    def processes(self) -> Sequence[str]:
        return self._stops.names()

    def close(self) -> None:
        """Stop every turn and end everything it started. Up to some seconds."""
        self._stops.close()
        self._stops.wait(CLOSING)
        sweep.sweep_run(self._host.run)


def unstartable(request: TurnRequest, error: OSError) -> Finished:
    """The words for a process that the system would not start."""
    log.warning("agent cannot be started conversation=%s reason=%s", request.conversation, error)
    missing = isinstance(error, FileNotFoundError | PermissionError) and request.cwd.is_dir()
    kind: ErrorKind = "not_installed" if missing else "crashed"
    return Finished("", request.session_id, "failed", error=kind, detail=error.strerror or str(error))
