"""Bring replies and previews to the chats: in order within a chat, side by side between chats; finals before previews.

One call is in flight per chat id, because Telegram's limits are per chat. What may be lost is a preview: it waits for the
chat's budget and only its newest state is drawn. A final waits for nothing but its predecessors and Telegram's own pauses.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ductor_lib.bot.client import Client
from ductor_lib.bot.delivery import Delivery
from ductor_lib.bot.failures import Rejected, RetryAfter, TelegramError
from ductor_lib.bot.frames import Frames
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.markup import render
from ductor_lib.bot.pacing import Budget, backoff
from ductor_lib.bot.preview import Preview
from ductor_lib.loop import Loop
from ductor_lib.messages import Chat
from ductor_lib.orchestrator.outbox import Outbox, Outgoing

log = logging.getLogger(__name__)

WORKERS = 4
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0  # seconds between the tries of a final, doubled each time
INTAKE_SECONDS = 0.5  # how long the intake takes to notice the end
REMEMBERED = 64  # previews that are over; their last show() may come late
MOST_ASIDES = 100  # answers to presses, and lines that cannot be stored; older ones are worthless


@dataclass(slots=True)
class Showing:
    """A preview that is open. `frames` are begun by the worker that draws the first one."""

    preview: Preview
    frames: list[Frames] = field(default_factory=list)
    changed: bool = True
    drawn_at: float = 0.0
    failures: int = 0
    given_up: bool = False


@dataclass(slots=True)
class Line:
    """All that waits for one chat id. `busy` while a call is in flight; nothing begins before `not_before` (monotonic)."""

    budget: Budget
    finals: deque[Outgoing] = field(default_factory=deque)
    begun: list[Delivery] = field(default_factory=list)  # of the first final, when a try was made
    previews: dict[tuple[Chat, str], Showing] = field(default_factory=dict)
    busy: bool = False
    not_before: float = 0.0
    failures: int = 0


class Sender:
    """The way out to Telegram. Any thread.

    `interval` is the seconds between two edits of a preview, `max_failures` the failed frames in a row after which a
    preview is given up, `pause` the seconds before the second try of a final. Nothing that is in the outbox is ever
    dropped, unless Telegram refuses it for good.
    """

    def __init__(
        self, client: Client, outbox: Outbox, groups: Groups, *, interval: float, max_failures: int, pause: float = FIRST_PAUSE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._groups = groups
        self._interval = interval
        self._max_failures = max_failures
        self._pause = pause
        self._now = now
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # something may be ready to begin
        self._rest = threading.Condition(self._lock)  # something ended
        self._lines: dict[int, Line] = {}
        self._asides: deque[Callable[[], object]] = deque(maxlen=MOST_ASIDES)
        self._over: deque[Preview] = deque(maxlen=REMEMBERED)
        self._running = 0
        self._stopping = False
        self._recovered: frozenset[int] = frozenset()
        self._intake = Loop("sender-intake", self._take_in)
        self._threads = [threading.Thread(target=self._serve, name=f"sender-{n}", daemon=True) for n in range(1, WORKERS + 1)]

    def start(self) -> None:
        """Go on with what an earlier run left, then take what is said from now on."""
        left = self._outbox.unsent()
        self._recovered = frozenset(outgoing.id for outgoing in left)
        for outgoing in left:
            self._queue(outgoing)
        self._intake.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing any more. What is in flight is left to itself; the outbox knows about it."""
        self._intake.stop()
        with self._lock:
            self._stopping = True
            self._work.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until everything is delivered; whether it is."""
        deadline = time.monotonic() + timeout
        while not self.idle():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._lock:
                self._rest.wait(min(left, 0.1))
        return True

    def idle(self) -> bool:
        """Nothing is unsent and no call is in flight."""
        with self._lock:
            if self._running or self._asides:
                return False
        return not self._outbox.unsent()

    def answer(self, callback: str, text: str = "") -> None:
        """End a button's waiting animation, soon. Not stored: it is worthless a minute later."""
        self._aside(partial(self._client.answer, callback, text))

    def tell(self, chat: Chat, text: str) -> None:
        """Say one Markdown line that cannot be stored. It is tried once, and may be lost."""
        self._aside(partial(self._client.send, chat, render(text)[0]))

    def show(self, preview: Preview) -> None:
        """See `Screen`."""
        with self._lock:
            if any(preview is old for old in self._over):
                return
            line, key = self._line(preview.chat), (preview.chat, preview.slot)
            showing = line.previews.get(key)
            if showing is None or showing.preview is not preview:
                self._forget(line, key)
                line.previews[key] = Showing(preview)
            elif showing.changed or showing.given_up:
                return
            else:
                showing.changed = True
            self._work.notify()

    def _aside(self, call: Callable[[], object]) -> None:
        with self._lock:
            self._asides.append(call)
            self._work.notify()

    # ── what waits ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_in(self) -> None:
        try:
            outgoing = self._outbox.fresh.get(timeout=INTAKE_SECONDS)
        except queue.Empty:
            return
        if outgoing.id not in self._recovered:
            self._queue(outgoing)

    def _queue(self, outgoing: Outgoing) -> None:
        reply = outgoing.reply
        with self._lock:
            line = self._line(reply.chat)
            line.finals.append(outgoing)
            self._forget(line, (reply.chat, reply.slot))
            self._work.notify()

    def _line(self, chat: Chat) -> Line:
        if chat.id not in self._lines:
            self._lines[chat.id] = Line(Budget(private=chat.private, interval=self._interval))
        return self._lines[chat.id]

    def _forget(self, line: Line, key: tuple[Chat, str]) -> None:
        """The preview in this slot is over; who still holds it may go on calling show()."""
        if showing := line.previews.pop(key, None):
            self._over.append(showing.preview)

    # ── who does what next ──────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        while job := self._next():
            try:
                job()
            except Exception:
                log.exception("sending failed")
            with self._lock:
                self._running -= 1
                self._rest.notify_all()
                self._work.notify()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; None at the end. Holds the line of what it returns."""
        with self._lock:
            while not self._stopping:
                now = self._now()
                if job := self._ready(now):
                    self._running += 1
                    return job
                self._work.wait(self._nap(now))
        return None

    def _ready(self, now: float) -> Callable[[], None] | None:
        if self._asides:
            return partial(self._try_once, self._asides.popleft())
        free = [line for line in self._lines.values() if not line.busy and line.not_before <= now]
        speaking = [line for line in free if line.finals]
        if speaking:
            line = min(speaking, key=lambda line: line.finals[0].id)
            line.busy = True
            return partial(self._deliver, line)
        due = [(line, showing) for line in free for showing in line.previews.values() if self._due_at(line, showing) <= now]
        if not due:
            return None
        line, showing = min(due, key=lambda pair: pair[1].drawn_at)
        line.busy, showing.changed = True, False
        return partial(self._draw, line, showing)

    def _nap(self, now: float) -> float | None:
        """Seconds until something becomes ready by itself, None for never."""
        idle = [line for line in self._lines.values() if not line.busy]
        times = [line.not_before for line in idle if line.finals]
        times += [self._due_at(line, showing) for line in idle for showing in line.previews.values() if not showing.given_up]
        return max(0.0, min(times) - now) if times else None

    def _due_at(self, line: Line, showing: Showing) -> float:
        """When the preview may be drawn again. After a failure it waits: a short outage must not use up all its tries."""
        if showing.given_up:
            return float("inf")
        wanted = 0.0 if showing.changed else showing.drawn_at + showing.preview.redraw
        if showing.failures:
            wanted = showing.drawn_at + backoff(showing.failures, first=self._interval, last=LAST_PAUSE)
        return max(wanted, line.not_before, line.budget.ready_at())

    # ── doing it ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _try_once(self, call: Callable[[], object]) -> None:
        try:
            call()
        except TelegramError as error:
            log.debug("aside not delivered reason=%s", error)

    def _deliver(self, line: Line) -> None:
        pause = LAST_PAUSE
        try:
            pause = self._try(line)
        finally:
            with self._lock:
                line.busy = False
                line.not_before = self._now() + pause
                if not pause:
                    line.failures = 0
                    line.finals.popleft()
                    line.begun.clear()

    def _try(self, line: Line) -> float:
        """Try the first final of the line; seconds to wait before the next try, 0.0 when it is done with."""
        outgoing = line.finals[0]
        try:
            self._bring(line, outgoing)
        except RetryAfter as error:
            log.warning("telegram wants a pause chat=%d row=%d seconds=%.0f", outgoing.reply.chat.id, outgoing.id, error.seconds)
            return max(error.seconds, self._pause)
        except (TelegramError, sqlite3.Error, OSError) as error:
            line.failures += 1
            pause = backoff(line.failures, first=self._pause, last=LAST_PAUSE)
            log.warning("reply waits chat=%d row=%d seconds=%.0f reason=%s", outgoing.reply.chat.id, outgoing.id, pause, error)
            return pause
        return 0.0

    def _bring(self, line: Line, outgoing: Outgoing) -> None:
        """Deliver the row, or close it when that is hopeless."""
        chat = outgoing.reply.chat
        try:
            if not line.begun:
                line.begun.append(Delivery(outgoing, self._client, self._outbox, self._groups))
            messages = line.begun[0].run()
        except Rejected as error:
            log.error("reply refused for good chat=%d row=%d reason=%s", chat.id, outgoing.id, error)
            self._outbox.close(outgoing.id, "dead", str(error))
        except (TelegramError, sqlite3.Error, OSError):
            raise
        except Exception as error:
            log.exception("reply cannot be delivered chat=%d row=%d", chat.id, outgoing.id)
            self._outbox.close(outgoing.id, "dead", type(error).__name__)
        else:
            log.info("reply delivered chat=%d row=%d messages=%d", chat.id, outgoing.id, messages)

    def _draw(self, line: Line, showing: Showing) -> None:
        pause, failed, drawn = 0.0, True, False
        try:
            if not showing.frames:
                showing.frames.append(Frames(showing.preview, self._client, self._outbox))
            drawn = showing.frames[0].draw(lambda: line.budget.take(self._now()))
            failed = False
        except RetryAfter as error:
            log.warning("telegram wants a pause, no previews chat=%d seconds=%.0f", showing.preview.chat.id, error.seconds)
            pause, failed = error.seconds, False
        except (TelegramError, sqlite3.Error, OSError) as error:
            log.info("preview failed chat=%d reason=%s", showing.preview.chat.id, error)
        finally:
            with self._lock:
                line.busy = False
                line.not_before = max(line.not_before, self._now() + pause)
                showing.drawn_at = self._now()
                showing.failures = showing.failures + 1 if failed else 0
                showing.given_up = showing.failures >= self._max_failures
                showing.changed = showing.changed or not drawn
