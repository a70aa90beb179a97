"""One turn of a conversation in Codex's server: what is asked, what comes back, and the clock: a turn that must end is ended in steps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterator

from ductor_lib.cli import sweep
from ductor_lib.cli.claude import Raw
from ductor_lib.cli.codex_events import TurnParser
from ductor_lib.cli.codex_items import Tokens, failure, map_of, text_of
from ductor_lib.cli.codex_params import text_input, thread_settings, turn_start
from ductor_lib.cli.codex_server import GONE, CodexServer, Feed, Loaded
from ductor_lib.cli.turn import Stop, settle
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started
from ductor_lib.ports import TurnRequest

GREETING = 30.0  # seconds a new server has to answer; it takes 0.1
ANSWER = 3.0  # seconds an interrupt has to end the turn, then the server is ended; it takes 0.01
AGAIN = 0.05  # seconds between two interrupts: one that comes before the turn has begun is refused
CLEAN = 2.0  # seconds to end the commands of an interrupted turn
STEER = 5.0  # seconds to take one more message into a turn
LONG = 60.0  # seconds between two looks when nothing is due
TOO_OLD = re.compile(r"unknown variant `thread/|method not found", re.IGNORECASE)
BUSY = "Another conversation is at work in this session."
STRANGER = "Codex has opened another session than the one it was asked for."
DISOBEYED = "Its server did not stop a turn and was ended, with all that ran in it."
NOBODY = -1  # a process id that is never found: then only the mark counts

Handler = Callable[[Raw], Iterator[Event]]


class CodexTurn:
    """One turn, from its thread to its result. `now` is in seconds; `limits` has the turn's timeout and silence.

    `spent` is the thread's sum of tokens, where it is known. A thread that never had a turn cannot be resumed: with
    `unborn` another is begun instead. `wake` and `steer` are for any thread, the rest belongs to who runs `events`.
    """

    def __init__(
        self, server: CodexServer, limits: TurnRequest, stop: Stop, *, marker: str, spent: Tokens | None, unborn: bool, started: bool,
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self.begun = sweep.clock()
        self.started = started  # Started was yielded, perhaps by an earlier try
        self.thread = ""
        self.new = not limits.resume  # the thread is begun here
        self.taken = False  # the server has accepted the prompt
        self.too_old = False  # the server does not know what it is asked
        self.parser = TurnParser(session_id=limits.session_id, spent=spent if limits.resume else None if limits.fork_of else Tokens())
        self.finished: Finished | None = None
        self._server = server
        self._limits = limits
        self._stop = stop
        self._marker = marker
        self._unborn = unborn
        self._settings = thread_settings(limits, marker)
        self._now = now
        self._feed = Feed()
        self._handlers: dict[int, Handler] = {}
        self._since = self._last = now()
        self._sent = False  # the prompt is on its way
        self._ending: float | None = None  # since when the turn is being ended
        self._interrupt_due = 0.0
        self._destroyed = False

    def wake(self) -> None:
        """Let the turn look at its Stop. Returns at once."""
        self._feed.wake()

    def steer(self, text: str) -> bool:
        """Give the running turn one more message. False when it takes none (any more). Up to some seconds."""
        if not self.parser.active or self._stop.reason is not None:
            return False
        reply = Feed()
        self._server.request(reply, "turn/steer", {"threadId": self.thread, "expectedTurnId": self.parser.turn, "input": text_input(text)})
        try:
            return "result" in (reply.get(STEER) or {})
        finally:
            self._server.leave(reply)

    def events(self) -> Generator[Event, None, Finished | None]:
        """Ask, and yield what happens. Returns the Finished, or None when the server has ended without one."""
        try:
            yield from self._open()
            while self.finished is None:
                message = self._feed.get(self._patience())
                if message is GONE:
                    return None
                if message is not None:
                    yield from self._take(message)
                if self.too_old:
                    return None
                if self.finished is None:
                    self._check(silent_possible=message is None)
            if self._ending is not None and self._sent:
                self._clean()
            return self.finished
        finally:
            if self.finished is None and self._sent:
                self._abandon()
            self._server.leave(self._feed)

    # ── the thread ──

    def _open(self) -> Iterator[Event]:
        """Ask for the thread, unless it is loaded as it must be: what it was loaded with stays until it is unloaded."""
        if self.new and self._limits.fork_of:  # its sum of tokens begins with the original's
            self._ask("thread/fork", {**self._settings, "threadId": self._limits.fork_of, "excludeTurns": True}, self._opened)
            return
        if self.new:
            self._ask("thread/start", self._settings, self._opened)
            return
        wanted = self._limits.session_id
        known = self._server.loaded(wanted)
        if not self._server.listen(wanted, self._feed):
            self._fail("refused", BUSY)
        elif known is None:
            self._resume()
        elif {**known.settings, "model": ""} == {**self._settings, "model": ""}:  # each turn says its model itself
            yield from self._begin(wanted, self._limits.model or known.model)
        else:
            self._ask("thread/unsubscribe", {"threadId": wanted}, self._unloaded)

    def _unloaded(self, reply: Raw) -> Iterator[Event]:
        self._resume()
        return iter(())

    def _resume(self) -> None:
        self._ask("thread/resume", {**self._settings, "threadId": self._limits.session_id, "excludeTurns": True}, self._opened)

    def _opened(self, reply: Raw) -> Iterator[Event]:
        result, words = map_of(reply, "result"), text_of(map_of(reply, "error"), "message")
        thread = text_of(map_of(result, "thread"), "id")
        if not thread and failure(words) == "unknown_session" and self._unborn and not self.new:
            self.new, self.parser.spent = True, Tokens()
            yield from self._open()
        elif not thread and TOO_OLD.search(words):
            self.too_old = True
        elif not thread:
            self._fail(failure(words), words)
        elif not self.new and thread != self._limits.session_id:
            self._fail("unknown_session", STRANGER)
        else:
            self._server.load(thread, Loaded(self._settings, text_of(result, "model")))
            yield from self._begin(thread, text_of(result, "model"))

    def _begin(self, thread: str, model: str) -> Iterator[Event]:
        """Send the prompt. Started comes before, so that the thread's id is kept whatever happens then."""
        self.thread = self.parser.session_id = thread
        self._server.listen(thread, self._feed)
        if not self.started:
            self.started = True
            yield Started(thread, model)
        if self._stop.reason is None:
            self._sent = True
            self._ask("turn/start", turn_start(thread, self._limits), self._accepted)

    def _accepted(self, reply: Raw) -> Iterator[Event]:
        turn = text_of(map_of(map_of(reply, "result"), "turn"), "id")
        words = text_of(map_of(reply, "error"), "message")
        if turn:
            self.taken = True
            self.parser.turn = turn
        elif failure(words) == "unknown_session" and not self.new:  # the server has unloaded it by itself
            self._sent = False
            self._resume()
        else:
            self._fail(failure(words), words)
        return iter(())

    # ── what comes, and when ──

    def _ask(self, method: str, params: dict[str, object], handler: Handler) -> None:
        self._handlers[self._server.request(self._feed, method, params)] = handler

    def _fail(self, kind: ErrorKind, detail: str) -> None:
        self.finished = settle(self.parser.finished(error=kind, detail=detail), self._stop.reason)

    def _take(self, message: Raw) -> Iterator[Event]:
        number = message.get("id")
        if "method" not in message:
            self._last = self._now()
            if isinstance(number, int) and (handler := self._handlers.pop(number, None)):
                yield from handler(message)
            return
        for event in self.parser.feed(message):
            if isinstance(event, Finished):
                self.finished = settle(event, self._stop.reason)
            else:
                yield event
        if self.parser.retrying is None:  # a server that cannot be reached is tried without end: that is no sign of life
            self._last = self._now()

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = self._now()
        if self._destroyed:
            return LONG
        due = [now + LONG] if self._server.ready else [self._server.born + GREETING]
        if self._stop.reason is None:
            due += [limit for limit, _ in self._deadlines()]
        else:
            due.append(now if self._ending is None else self._ending + ANSWER)
            due += [self._interrupt_due] if self.taken else []
        return max(0.0, min(due) - now)

    def _deadlines(self) -> list[tuple[float, ErrorKind]]:
        limits: list[tuple[float, ErrorKind]] = [(self._since + self._limits.timeout, "timeout")]
        if not self.parser.tools:
            limits.append((self._last + self._limits.silence, self.parser.retrying or "silent"))
        return limits

    def _check(self, *, silent_possible: bool) -> None:
        """Interrupt the turn when it must end, and end the server when it does not obey."""
        now = self._now()
        if not self._server.ready and now >= self._server.born + GREETING and not self._destroyed:
            self._end_server("Its server did not answer.")
        if self.parser.retrying == "not_signed_in":
            self._stop.wish("not_signed_in")  # it would try on for some seconds
        for limit, reason in self._deadlines():
            if now >= limit and (silent_possible or reason == "timeout"):
                self._stop.wish(reason)
        if self._stop.reason is None or self._destroyed:
            return
        if not self._sent:
            self.finished = settle(self.parser.finished(error="stopped"), self._stop.reason)
            return
        self._ending = now if self._ending is None else self._ending
        if now >= self._ending + ANSWER:
            self._end_server(DISOBEYED)
        elif self.taken and now >= self._interrupt_due:
            self._interrupt_due = math.inf
            self._ask("turn/interrupt", {"threadId": self.thread, "turnId": self.parser.turn}, self._interrupted)

    def _interrupted(self, reply: Raw) -> Iterator[Event]:
        if "error" in reply:
            self._interrupt_due = self._now() + AGAIN
        return iter(())

    # ── the end ──

    def _clean(self) -> None:
        """End the commands of a turn that was interrupted: Codex lets them run on until it is told."""
        number = self._server.request(self._feed, "thread/backgroundTerminals/clean", {"threadId": self.thread})
        until = self._now() + CLEAN
        while (left := until - self._now()) > 0:
            message = self._feed.get(left)
            if message is GONE or (message is not None and message.get("id") == number):
                break
        self._sweep()

    def _abandon(self) -> None:
        """Nobody wants to hear the rest, or nobody is there to tell it."""
        if self.taken:
            self._server.request(None, "turn/interrupt", {"threadId": self.thread, "turnId": self.parser.turn})
            self._server.request(None, "thread/backgroundTerminals/clean", {"threadId": self.thread})
        self._sweep()

    def _sweep(self) -> None:
        """End what a command of this turn has left running outside Codex's sight."""
        found = sweep.family(self._marker, NOBODY)
        sweep.stop([process for process in found if process.started >= self.begun - sweep.ROUNDING])

    def _end_server(self, reason: str) -> None:
        self._destroyed = True
        self._server.destroy(reason)
