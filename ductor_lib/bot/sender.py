"""Bring replies and previews to the chats: in order within a chat, side by side between chats; finals before previews.

One call is in flight per chat id, because Telegram's limits are per chat. What may be lost is a preview: it waits for the
chat's budget and only its newest state is drawn. A final waits for nothing but its predecessors and Telegram's own pauses.
Files have threads of their own: an upload takes minutes, and must not hold up the texts of other chats.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from ductor_lib.bot.client import Client
from ductor_lib.bot.delivery import Delivery
from ductor_lib.bot.failures import Rejected, RetryAfter, TelegramError
from ductor_lib.bot.frames import Frames
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.lines import LAST_PAUSE, Line, Lines, Showing
from ductor_lib.bot.markup import render
from ductor_lib.bot.pacing import backoff
from ductor_lib.bot.preview import Preview
from ductor_lib.loop import Loop
from ductor_lib.messages import Chat
from ductor_lib.orchestrator.outbox import Outbox, Outgoing
from ductor_lib.security import FileAccess

log = logging.getLogger(__name__)

WORKERS, UPLOADERS = 4, 2
FIRST_PAUSE = 1.0  # seconds between the first two tries of a final; doubled each time
INTAKE_SECONDS = 0.5  # how long the intake takes to notice the end
MOST_ASIDES = 100  # answers to presses, and lines that cannot be stored; older ones are worthless

Job = Callable[[], None]


class Sender:
    """The way out to Telegram. Any thread.

    `files` says which files may be sent. `interval` is the seconds between two edits of a preview, `max_failures` the
    failed frames in a row after which a preview is given up, `pause` the seconds before the second try of a final.
    Nothing that is in the outbox is ever dropped, unless Telegram refuses it for good.
    """

    def __init__(
        self, client: Client, outbox: Outbox, groups: Groups, files: FileAccess, *, interval: float, max_failures: int,
        pause: float = FIRST_PAUSE, now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._groups = groups
        self._files = files
        self._max_failures = max_failures
        self._pause = pause
        self._now = now
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # something may be ready for a sender
        self._cargo = threading.Condition(self._lock)  # something may be ready for an uploader
        self._rest = threading.Condition(self._lock)  # something ended
        self._lines = Lines(interval)
        self._asides: deque[Callable[[], object]] = deque(maxlen=MOST_ASIDES)
        self._running = 0
        self._stopping = False
        self._recovered: frozenset[int] = frozenset()
        self._intake = Loop("sender-intake", self._take_in)
        self._threads = [
            *(threading.Thread(target=self._send, name=f"sender-{n}", daemon=True) for n in range(1, WORKERS + 1)),
            *(threading.Thread(target=self._upload, name=f"uploader-{n}", daemon=True) for n in range(1, UPLOADERS + 1)),
        ]

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
            self._cargo.notify_all()

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
            if self._lines.show(preview):
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
        with self._lock:
            self._lines.queue(outgoing)
            self._work.notify()

    # ── who does what next ──────────────────────────────────────────────────────────────────────────────────────────

    def _send(self) -> None:
        while job := self._next(self._work, self._ready, self._lines.nap):
            self._do(job)

    def _upload(self) -> None:
        while job := self._next(self._cargo, self._ready_upload, self._lines.nap_loaded):
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception:
            log.exception("sending failed")
        with self._lock:
            self._running -= 1
            self._rest.notify_all()
            self._work.notify()
            self._cargo.notify()

    def _next(
        self, work: threading.Condition, ready: Callable[[float], Job | None], nap: Callable[[float], float | None]
    ) -> Job | None:
        """Wait for something to do; None at the end. Holds the line of what it returns."""
        with self._lock:
            while not self._stopping:
                now = self._now()
                if job := ready(now):
                    self._running += 1
                    return job
                work.wait(nap(now))
        return None

    def _ready(self, now: float) -> Job | None:
        if self._asides:
            return partial(self._try_once, self._asides.popleft())
        if line := self._lines.speaking(now):
            line.busy = True
            return partial(self._deliver, line)
        if found := self._lines.due(now):
            line, showing = found
            line.busy, showing.changed = True, False
            return partial(self._draw, line, showing)
        return None

    def _ready_upload(self, now: float) -> Job | None:
        line = self._lines.loaded(now)
        if line is None:
            return None
        line.busy = True
        return partial(self._deliver, line)

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
                    if not line.shipping:
                        line.finals.popleft()
                        line.begun.clear()

    def _try(self, line: Line) -> float:
        """Try what comes next of the first final of the line; seconds to wait before the next try, 0.0 when that is done with."""
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
                line.begun.append(Delivery(outgoing, self._client, self._outbox, self._groups, self._files))
            delivery = line.begun[0]
            (delivery.ship if delivery.shipping else delivery.run)()
        except Rejected as error:
            log.error("reply refused for good chat=%d row=%d reason=%s", chat.id, outgoing.id, error)
            self._outbox.close(outgoing.id, "dead", str(error))
            line.begun.clear()
        except (TelegramError, sqlite3.Error, OSError):
            raise
        except Exception as error:
            log.exception("reply cannot be delivered chat=%d row=%d", chat.id, outgoing.id)
            self._outbox.close(outgoing.id, "dead", type(error).__name__)
            line.begun.clear()
        else:
            log.info("reply delivered chat=%d row=%d files_left=%d", chat.id, outgoing.id, delivery.left)

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
