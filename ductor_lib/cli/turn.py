"""One turn of a Claude process: lines in, events out, with the clock in its hands: a turn that must end is ended in steps."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Generator, Iterator

from ductor_lib.cli import claude, sweep
from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.process import END
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started
from ductor_lib.ports import TurnRequest

ANSWER = 2.0  # seconds an interrupt has to end the turn, then the process is ended
LONG = 60.0  # seconds between two looks when nothing is due


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
    """

    def __init__(
        self, process: ClaudeProcess, limits: TurnRequest, stop: Stop, *, by_itself: bool, started: bool, now: Callable[[], float]
    ) -> None:
        self.started = started  # Started was yielded, perhaps by an earlier try
        self.begun = sweep.clock()
        self.heard = False  # any sign of life
        self.taken = by_itself  # the model has got the prompt
        self.own: list[tuple[Started, Finished]] = []
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
        self.finished: Finished | None = None

    @property
    def tool_began(self) -> bool:
        return self.parser.tool_began

    def events(self, first: claude.Raw | None = None) -> Generator[Event, None, Finished | None]:
        """Send the prompt and yield what happens. Returns the Finished, or None when the process has ended without one."""
        if not self._by_itself:
            self._process.child.send(claude.prompt_line(self._limits.prompt, self._key))
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

    def _take(self, raw: claude.Raw) -> Iterator[Event]:
        self.heard = True
        if raw.get("subtype") == "init" and self._process.tasks.ended and not self.taken:
            self._held = []  # this turn is probably about a task that has just ended
        self._process.tasks.feed(raw, sweep.clock())
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
            elif self._held is not None:
                self._held.append(event)
            else:
                yield event

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
        self.finished = settle(finished, self._stop.reason)

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
        else:
            due.append(0.0 if self._asked is None else self._asked + ANSWER - now)
        return max(0.0, min(due))

    def _deadlines(self) -> list[tuple[float, ErrorKind]]:
        limits: list[tuple[float, ErrorKind]] = [(self._since + self._limits.timeout, "timeout")]
        if not self.parser.tools:
            limits.append((self._last + self._limits.silence, "silent"))
        return limits

    def _check(self, *, silent_possible: bool) -> None:
        """Ask the agent to end the turn when it must end, and end the process when it does not obey."""
        now = self._now()
        if self.parser.not_signed_in:
            self._stop.wish("not_signed_in")  # the CLI would try for minutes
        for limit, reason in self._deadlines():
            if now >= limit and (silent_possible or reason == "timeout"):
                self._stop.wish(reason)
        if self._stop.reason is None:
            return
        if self._asked is None:
            self._asked = now
            self._process.child.send(claude.interrupt_line(str(uuid.uuid4())))
        elif now >= self._asked + ANSWER and not self._destroyed:
            self._destroyed = True
            self._process.destroy(self.begun)


def settle(finished: Finished, reason: ErrorKind | None) -> Finished:
    """The end of a turn that was asked to end for `reason`: a whole answer stays one, except when a person said stop."""
    if reason is None or (finished.outcome == "done" and reason != "stopped"):
        return finished
    return dataclasses.replace(finished, outcome="stopped" if reason == "stopped" else "failed", error=reason, detail="")
