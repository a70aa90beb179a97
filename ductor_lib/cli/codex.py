"""Codex as an agent: one server for all conversations, a thread in it for each, at most so many at work at once."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from ductor_lib.cli import sweep
from ductor_lib.cli.claude import Raw
from ductor_lib.cli.codex_exec import CLOSING, NO_TURN, CodexExec, unstartable
from ductor_lib.cli.codex_items import Tokens
from ductor_lib.cli.codex_params import codex_environment, refusal, server_argv
from ductor_lib.cli.codex_server import GONE, CodexServer, Feed
from ductor_lib.cli.codex_servers import Servers
from ductor_lib.cli.codex_turn import CodexTurn
from ductor_lib.cli.environment import home_environment
from ductor_lib.cli.host import Host
from ductor_lib.cli.places import Places
from ductor_lib.cli.pool import stopped, was_killed
from ductor_lib.cli.stops import Stops
from ductor_lib.cli.turn import Stop, settle
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Status
from ductor_lib.ports import TurnRequest

SERVER = "codex-server"  # with a number, in the mark of a server, where others have their conversation
WITHOUT_SERVER = 600.0  # seconds until a server that did not start is tried again
NOTE = "Codex's server does not start, so answers come in one piece"
ENDED = "Its server ended in the middle of the turn."
SPOILING = ("not_signed_in",)  # a server reads the login when it starts

log = logging.getLogger(__name__)


class Codex:
    """Implements `ports.Agent`. `turn` is for one worker per conversation, everything else for any thread.

    `command` starts Codex. The owner calls `close` at the end. Codex chooses the id of a new session: Started says it. It
    knows neither `max_turns` nor `max_budget_usd`, and has no price.
    """

    name = "codex"

    def __init__(self, command: Sequence[str], host: Host) -> None:
        self._command = tuple(command)
        self._host = host
        self._variables = codex_environment(host.environment, pass_env=host.pass_env, secrets=host.secrets)
        self._places = Places(host.parallel)
        self._stops = Stops()
        self._servers = Servers(self._start_server)
        self._exec = CodexExec(command, host)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._turns: dict[str, CodexTurn] = {}  # that run in a server, by conversation
        self._threads: dict[str, str] = {}  # the last thread of each conversation
        self._spent: dict[str, Tokens] = {}  # by thread
        self._unborn: set[str] = set()  # threads begun here that have had no turn: the server cannot resume them
        self._without_server = -WITHOUT_SERVER  # since when
        self._noted = False

    def turn(self, request: TurnRequest) -> Iterator[Event]:
        """Run one prompt; see `ports.Agent`. A wait for a free place comes before Started, and can be interrupted.

        A generator that is closed early ends its turn.
        """
        if detail := refusal(request.prompt):
            yield Finished("", request.session_id, "failed", error="refused", detail=detail)
            return
        with self._stops.open(request.conversation) as stop:
            try:
                finished = yield from self._placed(request, stop)
            except Exception:
                log.exception("turn failed conversation=%s", request.conversation)
                finished = Finished("", request.session_id, "failed", error="crashed")
        yield finished

    def own_turn(self, conversation: str) -> Iterator[Event]:
        """Codex begins no turn by itself."""
        return iter([NO_TURN])

    def interrupt(self, conversation: str) -> bool:
        """Stop what runs or waits in the conversation."""
        return self._stops.wish(conversation)

    def steer(self, conversation: str, text: str) -> bool:
        """Give the running turn one more message: it stops writing and goes on with it. False when no turn takes it.

        Up to some seconds.
        """
        with self._lock:
            turn = self._turns.get(conversation)
        return turn is not None and not refusal(text) and turn.steer(text)

    def release(self, conversation: str) -> None:
        """Unload the conversation's thread; a running turn ends first by itself."""
        with self._lock:
            thread = self._threads.pop(conversation, "") if conversation not in self._turns else ""
        for server in self._servers.running():
            server.unload(thread)

    def processes(self) -> Sequence[str]:
        """The conversations that are at work: between turns none has anything of its own."""
        return self._stops.names()

    def ask(self, method: str, params: Mapping[str, object], *, timeout: float) -> Raw:
        """One request about no conversation; its result, {} when there is none within `timeout` seconds."""
        feed = Feed()
        running = next(iter(self._servers.running()), None)
        try:
            with self._servers.use(running.parameters if running else ()) as server:
                server.request(feed, method, params)
                reply = feed.get(timeout)
                server.leave(feed)
        except OSError:
            return {}
        result = (reply or GONE).get("result")
        return result if isinstance(result, dict) else {}

    def close(self) -> None:
        """Stop every turn, end the servers and everything they started. Up to some seconds."""
        self.leave()
        sweep.sweep_run(self._host.run)

    def leave(self) -> None:
        """The same without the sweep, which ends what any agent of the run has left."""
        self._stops.close()
        self._stops.wait(CLOSING)
        self._servers.close()

    # ── a turn ──

    def _placed(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        self._stops.alarm(request.conversation, stop, self._places.wake)
        if not self._places.enter(stop, unattended=request.unattended):
            return stopped(request)
        try:
            return (yield from self._tries(request, stop))
        finally:
            self._places.leave()

    def _tries(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        """Run the prompt, again where the first try cannot have done anything."""
        if not request.cwd.is_dir():  # the server would not mind, and every command would fail
            return Finished("", request.session_id, "failed", error="crashed", detail=f"The folder {request.cwd} does not exist.")
        started = recovered = False
        while not request.unattended and self._host.now() >= self._without_server + WITHOUT_SERVER:
            try:
                with self._servers.use(request.parameters) as server:
                    turn = self._turn_in(server, request, stop, started=started)
                    finished = yield from self._follow(server, turn, request)
            except OSError as error:
                return unstartable(request, error)
            started = turn.started
            if finished is not None:
                return finished
            if stop.reason is not None:
                return settle(turn.parser.finished(error="crashed"), stop.reason)
            if not server.ready or turn.too_old:
                self._give_up_server(server)
            elif turn.taken or recovered:
                return self._lost(server, turn, request)
            elif turn.thread:
                request = dataclasses.replace(request, session_id=turn.thread, resume=True)
            recovered = True
        return (yield from self._by_exec(request, stop))

    def _turn_in(self, server: CodexServer, request: TurnRequest, stop: Stop, *, started: bool) -> CodexTurn:
        with self._lock:
            spent, unborn = self._spent.get(request.session_id), request.session_id in self._unborn
        marker = self._host.marker(request.conversation)
        turn = CodexTurn(server, request, stop, marker=marker, spent=spent, unborn=unborn, started=started, now=self._host.now)
        self._stops.alarm(request.conversation, stop, turn.wake)
        return turn

    def _follow(self, server: CodexServer, turn: CodexTurn, request: TurnRequest) -> Generator[Event, None, Finished | None]:
        """One turn in a server; afterwards what it has left is written down."""
        with self._lock:
            self._turns[request.conversation] = turn
        finished: Finished | None = None
        try:
            finished = yield from turn.events()
        finally:
            with self._lock:
                del self._turns[request.conversation]
                if turn.thread:
                    self._threads[request.conversation] = turn.thread
                    (self._unborn.discard if turn.taken or not turn.new else self._unborn.add)(turn.thread)
                if turn.parser.spent is not None:
                    self._spent[turn.thread] = turn.parser.spent
            if finished is None or finished.error in SPOILING:
                self._servers.retire(server)
        return finished

    def _lost(self, server: CodexServer, turn: CodexTurn, request: TurnRequest) -> Finished:
        """The words for a server that has ended in the middle of a turn."""
        code = server.child.returncode
        kind: ErrorKind = "killed" if was_killed(code) and not server.epitaph else "crashed"
        log.warning("agent server ended in a turn conversation=%s code=%s kind=%s", request.conversation, code, kind)
        return turn.parser.finished(error=kind, detail=server.epitaph or server.problem or ENDED)

    # ── the server, or none ──

    def _start_server(self, parameters: tuple[str, ...]) -> CodexServer:
        marker = self._host.marker(f"{SERVER}-{next(self._numbers)}")  # its own: the sweep after an old server must spare the new
        variables = home_environment(self._variables, home=self._host.home, marker=marker)
        words, nowhere = server_argv(self._command, parameters), Path(self._host.home.anchor)  # each thread has its own folder
        return CodexServer(words, parameters=parameters, cwd=nowhere, environment=variables, secrets=self._host.secrets, now=self._host.now)

    def _give_up_server(self, server: CodexServer) -> None:
        log.warning("agent server does not start, running one process per turn reason=%s", server.epitaph or server.problem or "too old")
        self._without_server = self._host.now()

    def _by_exec(self, request: TurnRequest, stop: Stop) -> Generator[Event, None, Finished]:
        """The turn in a process of its own; the first time the chat is told why."""
        turn = self._exec.run_turn(request, stop, lambda wake: self._stops.alarm(request.conversation, stop, wake))
        while True:
            try:
                event = next(turn)
            except StopIteration as end:
                finished: Finished = end.value
                return finished
            yield event
            if isinstance(event, Started) and not self._noted and not request.unattended:
                self._noted = True
                yield Status(NOTE)
