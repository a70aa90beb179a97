"""One turn of a Claude process: lines in, events out, with the clock in its hands: a turn that must end is ended in steps."""

from __future__ import annotations

import dataclasses
import logging
import threading
import uuid
from collections.abc import Callable, Generator, Iterator

from ductor_lib.cli import claude, sweep
from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.process import END
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Text, Thinking
from ductor_lib.ports import TurnRequest

ANSWER = 2.0  # seconds an interrupt has to end the turn, then the process is ended
NEXT = 30.0  # seconds after a result to go on with a message that was given to the turn; it takes some milliseconds
LONG = 60.0  # seconds between two looks when nothing is due
HELD = 5_000  # events that are kept until it is known whose turn they belong to; further words are dropped
BETWEEN = "\n\n"  # what stands between an answer and the next one of the same turn

log = logging.getLogger(__name__)


class Stop:
    """The wish to end a turn. The first reason counts. Any thread may wish."""

    def __init__(self) -> None:
        self.reason: ErrorKind | None = None

    def wish(self, reason: ErrorKind) -> None:
        self.reason = self.reason or reason


class Turn:
    """One turn, from the prompt to its result. `now` is in seconds; `limits` has the turn's timeout and silence.

    A turn that the agent begins by itself has no prompt: it is `by_itself`, and its first line is given to `events`.
    `own` collects turns that the agent began by itself before it took the prompt, each as its Started and Finished.
    `steer` is for any thread, the rest belongs to who runs `events`. Claude Code gives a message that comes meanwhile to
    the model after its next tool; what comes too late for that begins one more turn at once, which is taken as part of
    this one.
    """

    def __init__(
        self, process: ClaudeProcess, limits: TurnRequest, stop: Stop, *, by_itself: bool, started: bool, now: Callable[[], float]
    ) -> None:
        self.started = started  # Started was yielded, perhaps by an earlier try
        self.begun = sweep.clock()
        self.heard = False  # any sign of life
        self.taken = by_itself  # the model has got the prompt
        self.own: list[tuple[Started, Finished]] = []
        self.steered: list[str] = []  # the messages that were given to it
        self.parser = claude.TurnParser(session_id=process.session_id, spent=process.spent)
        self._process = process
        self._limits = limits
        self._stop = stop
        self._by_itself = by_itself
        self._now = now
        self._key = str(uuid.uuid4())
        self._since = self._last = now()
        self._asked: float | None = None  # when the interrupt was sent
        self._destroyed = False
        self._init: Started | None = None
        self._held: list[Event] | None = None  # events of a turn that may not be the prompt's
        self._answered: Finished | None = None  # the result so far, where the turn goes on with what was given to it
        self._next_by = 0.0  # until when it must have gone on
        self._lock = threading.Lock()
        self._open = by_itself  # takes messages
        self._waiting: set[str] = set()  # keys of messages that the model has not got yet
        self.finished: Finished | None = None

    @property
    def acted(self) -> bool:
        """Whether it may have done something that must not be done twice."""
        return self.parser.tool_began or self._answered is not None

    @property
    def owes(self) -> bool:
        """Whether the process still has a message of this turn, with which it would go on by itself."""
        return bool(self._waiting)

    def whole(self, last: Finished) -> Finished:
        """The end of a turn that may have answered before: the last words, and what all of them cost."""
        if (before := self._answered) is None:
            return last
        return dataclasses.replace(
            last, cost=before.cost + last.cost, tokens_in=before.tokens_in + last.tokens_in,
            tokens_out=before.tokens_out + last.tokens_out, denied=tuple(dict.fromkeys((*before.denied, *last.denied))),
        )  # fmt: skip

    def steer(self, text: str) -> bool:
        """Give the running turn one more message. False when it takes none (any more). Returns at once."""
        key = str(uuid.uuid4())
        with self._lock:
            if not self._open or self._stop.reason is not None:
                return False
            self._waiting.add(key)
            self.steered.append(text)
            self._process.child.send(claude.prompt_line(text, key))
            return True

    def events(self, first: claude.Raw | None = None) -> Generator[Event, None, Finished | None]:
        """Send the prompt and yield what happens. Returns the Finished, or None when the process has ended without one."""
        if not self._by_itself:
            self._begin()
        if first is not None:
            yield from self._take(first)
        while self.finished is None:
            line = self._process.child.read(self._patience())
            if line == END:
                return None
            if line is not None:
                self._last = self._now()
                raw = claude.parse(line)
                self._process.skipped += raw is None
                if raw is not None:
                    yield from self._take(raw)
            if self.finished is None:
                self._check(silent_possible=line is None)
        return self.finished

    def _begin(self) -> None:
        with self._lock:
            if self._stop.reason is not None:
                self.finished = settle(Finished("", self._process.session_id, "failed"), self._stop.reason)
                return
            self._open = True
            self._process.child.send(claude.prompt_line(self._limits.prompt, self._key))

    def _take(self, raw: claude.Raw) -> Iterator[Event]:
        self.heard = True
        if raw.get("subtype") == "init" and self._process.tasks.ended and not self.taken:
            self._held = []  # this turn is probably about a task that has just ended
        self._process.tasks.feed(raw, sweep.clock())
        self._got(str(raw.get("uuid")))
        self._got(claude.withdrawn(raw))
        if raw.get("uuid") == self._key:
            self.taken = True
            yield from self._let_go()
        for event in self.parser.feed(raw):
            if isinstance(event, Started):
                self._init = event
                if not self.started:
                    self.started = True
                    yield event
            elif isinstance(event, Finished):
                yield from self._end(event)
            elif self._held is None:
                yield event
            elif len(self._held) < HELD or not isinstance(event, Text | Thinking):
                self._held.append(event)

    def _got(self, key: str) -> None:
        """The model has the message, or will never have it."""
        with self._lock:
            self._waiting.discard(key)

    def _end(self, finished: Finished) -> Iterator[Event]:
        self._process.spent = self.parser.spent
        self._process.session_id = self.parser.session_id
        self._process.unknown += self.parser.unknown
        self._process.turns += 1
        if self.parser.by_itself and not self.taken:
            self.own.append((self._init or Started(finished.session_id, self._limits.model), finished))
            self.parser = claude.TurnParser(session_id=finished.session_id, spent=self.parser.spent)
            self._held = None
            return
        yield from self._let_go()
        with self._lock:
            self._open = bool(self._waiting) and self._stop.reason is None
        whole = self.whole(finished)
        if self._open:
            self._answered, self._next_by = whole, self._now() + NEXT
            self.parser = claude.TurnParser(session_id=finished.session_id, spent=self.parser.spent)
            yield Text(BETWEEN)
        else:
            self.finished = settle(whole, self._stop.reason)

    def _let_go(self) -> Iterator[Event]:
        held, self._held = self._held, None
        yield from held or ()

    def _patience(self) -> float:
        """Seconds until something is due."""
        now, due = self._now(), [LONG]
        if self._destroyed:
            return LONG
        if self._stop.reason is None:
            due += [limit - now for limit, _ in self._deadlines()]
            due += [self._next_by - now] if self._stuck else []
        else:
            due.append(0.0 if self._asked is None else self._asked + ANSWER - now)
        return max(0.0, min(due))

    def _deadlines(self) -> list[tuple[float, ErrorKind]]:
        limits: list[tuple[float, ErrorKind]] = [(self._since + self._limits.timeout, "timeout")]
        if not self.parser.tools:
            limits.append((self._last + self._limits.silence, "silent"))
        return limits

    @property
    def _stuck(self) -> bool:
        """Whether it has answered and has not begun yet to go on."""
        return self._answered is not None and not self.parser.started

    def _check(self, *, silent_possible: bool) -> None:
        """Ask the agent to end the turn when it must end, and end the process when it does not obey."""
        now = self._now()
        if self._stuck and now >= self._next_by and self._stop.reason is None:
            log.warning("agent did not go on conversation=%s", self._process.conversation)
            self._close()
            self.finished = self._answered
            return
        if self.parser.not_signed_in:
            self._stop.wish("not_signed_in")  # the CLI would try for minutes
        for limit, reason in self._deadlines():
            if now >= limit and (silent_possible or reason == "timeout"):
                self._stop.wish(reason)
        if self._stop.reason is None:
            return
        if self._asked is None:
            self._asked = now
            for key in self._close():
                self._process.child.send(claude.withdraw_line(key))  # else it would go on with them after the interrupt
            self._process.child.send(claude.interrupt_line(str(uuid.uuid4())))
        elif now >= self._asked + ANSWER and not self._destroyed:
            self._destroyed = True
            self._process.destroy(self.begun)

    def _close(self) -> list[str]:
        """Take no more messages; the keys of those that still wait."""
        with self._lock:
            self._open = False
            return list(self._waiting)


def settle(finished: Finished, reason: ErrorKind | None) -> Finished:
    """The end of a turn that was asked to end for `reason`: a whole answer stays one, except when a person said stop."""
    if reason is None or (finished.outcome == "done" and reason != "stopped"):
        return finished
    return dataclasses.replace(finished, outcome="stopped" if reason == "stopped" else "failed", error=reason, detail="")
