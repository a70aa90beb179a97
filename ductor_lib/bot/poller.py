"""Fetch updates and store them: Telegram forgets an update only after it is in the ledger.

One loop, raw JSON, one update at a time: an update that cannot be read is kept aside and never holds up the others.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from ductor_lib.bot.client import Client, Me, Raw
from ductor_lib.bot.failures import Conflict, RetryAfter, TelegramError, Unauthorised
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.keyboard import command_line
from ductor_lib.bot.pacing import backoff
from ductor_lib.bot.updates import Access, callback, migration, number, read
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger

log = logging.getLogger(__name__)

LONG_POLL = 25  # seconds
SILENT_SECONDS = 90.0 + LONG_POLL  # a poll that has not ended by then never will
WATCH_SECONDS = 5.0
HEAD_START = 0.003  # seconds; the next poll costs a millisecond of this process, which the turns that begin have first
LOOK = 1.0  # seconds between two looks of the main thread at what signals have asked for
FORGET_SECONDS = 6 * 86400.0  # Bot API: update ids may start anywhere after a week without updates
BAD_TOKEN = (
    "Telegram does not accept the bot's token. Put the one that @BotFather shows into `telegram_token` in config.toml, "
    "then start again."
)


FULL_DISK = "⚠️ The machine's disk takes nothing, so I cannot begin. Your message is safe with Telegram for a day; I keep trying."


class Intake(Protocol):
    """Where stored items go to be worked on."""

    def put(self, item: Incoming) -> None: ...


class Answers(Protocol):
    """Says small things that are not stored. Returns at once."""

    def answer(self, callback: str, text: str = "") -> None: ...

    def tell(self, chat: Chat, text: str) -> None: ...


class Ending:
    """Where the main thread waits for the end of the program, and learns why: a text for a person, "" if all is well.

    A queue, not an Event: `end` is called by signal handlers, which run in the main thread in the middle of `wait`. There
    Event.set can meet the lock that Event.wait holds and block for ever; SimpleQueue.put is safe (Python: reentrant).
    """

    def __init__(self) -> None:
        self._reasons: queue.SimpleQueue[str] = queue.SimpleQueue()

    def end(self, reason: str = "") -> None:
        """Let the program end. Any thread, and signal handlers."""
        self._reasons.put(reason)

    def wait(self, timeout: float | None = None) -> str:
        """The first reason. Raises queue.Empty after `timeout` seconds.

        Without one it looks up now and then: a signal in the instant before a wait begins wakes nobody.
        """
        while timeout is None:
            with suppress(queue.Empty):
                return self._reasons.get(timeout=LOOK)
        return self._reasons.get(timeout=timeout)


class Poller:
    """The way in from Telegram: getUpdates, allow-list, ledger, intake.

    `start` and `stop` are called once, by the owner. `stop` does not wait for the poll under way: nothing that it
    brings is confirmed, so the next start gets it again.
    """

    def __init__(
        self, client: Client, ledger: Ledger, answers: Answers, intake: Intake, access: Access, groups: Groups, ending: Ending, *,
        now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic, silent: float = SILENT_SECONDS,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._answers = answers
        self._intake = intake
        self._access = access
        self._groups = groups
        self._ending = ending
        self._now = now
        self._clock = clock
        self._silent = silent
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ended = threading.Event()  # of the current polling thread; the watchdog gives each thread its own
        self._complained = False
        self._begun_at = clock()
        self._last_success = clock()
        self._watchdog = threading.Thread(target=self._watch, name="poller-watchdog", daemon=True)

    @property
    def last_success(self) -> float:
        """When the last getUpdates was completed, by the monotonic clock."""
        return self._last_success

    def start(self) -> None:
        self._renew()
        self._watchdog.start()

    def stop(self) -> None:
        with self._lock:
            self._stopping.set()
            self._ended.set()

    def poll(self, me: Me) -> int:
        """One getUpdates: store what it brings, then hand it on; the number of new items.

        Raises what the client and the ledger raise. Nothing is confirmed then, and the same updates come again.
        """
        updates = self._client.updates(self._offset(), timeout=LONG_POLL)
        self._last_success = self._clock()
        if not updates:
            return 0
        items, poison = self._read(updates, me)
        last = max(map(number, updates))
        if not last:
            raise ValueError("updates without an id: nothing can be confirmed")
        try:
            new = self._ledger.accept(items, offset=last + 1, poison=poison)
        except (sqlite3.Error, OSError):
            self._complain(items)
            raise
        self._complained = False
        for item in new:
            try:
                self._intake.put(item)
            except Exception:  # it is stored, the next start finds it
                log.exception("item not taken in id=%d", item.id)
        if new:
            self._stopping.wait(HEAD_START)
        return len(new)

    def _read(self, updates: list[Raw], me: Me) -> tuple[list[Incoming], list[tuple[int, str, str]]]:
        """The items in a batch, and the updates that cannot be read as rows for `Ledger.accept`."""
        items, poison = [], []
        for update in updates:
            try:
                if pressed := callback(update):
                    self._answers.answer(pressed)
                if moved := migration(update):
                    self._groups.moved(*moved)
                item = read(update, me, self._access, now=self._now())
                if item is not None:
                    items.append(self._resolve(item))
            except sqlite3.Error:
                raise
            except Exception as error:  # whatever is wrong with one update, the others go on
                log.exception("update kept aside update=%d", number(update))
                poison.append((number(update), json.dumps(update), f"{type(error).__name__}: {error}"))
        return items, poison

    def _complain(self, items: list[Incoming]) -> None:
        """Tell those who wait, once an outage, that the disk takes nothing. Their messages stay with Telegram."""
        if not self._complained:
            self._complained = True
            for chat in {item.chat for item in items}:
                self._answers.tell(chat, FULL_DISK)

    def _resolve(self, item: Incoming) -> Incoming:
        return replace(item, text=command_line(item.text, self._ledger.outbox)) if item.kind == "press" else item

    def _offset(self) -> int | None:
        known = self._ledger.offset()
        return known[0] if known and self._now() - known[1] < FORGET_SECONDS else None

    # ── threads ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _renew(self) -> None:
        """Leave the polling thread there is to itself, if any, and begin a new one, which has a new connection."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._ended.set()
            self._ended = threading.Event()
            self._begun_at = self._clock()
            threading.Thread(target=self._run, args=(self._ended,), name="poller", daemon=True).start()

    def _run(self, ended: threading.Event) -> None:
        me: Me | None = None
        outage = Outage(clock=self._clock)
        while not ended.is_set():
            self._begun_at = self._clock()
            try:
                me = me or self._client.me()
                self.poll(me)
                outage.over()
            except Unauthorised as error:
                log.error("telegram refuses the token reason=%s", error)
                self._ending.end(BAD_TOKEN)
                return
            except Exception as error:  # the loop goes on, whatever it is
                if ended.is_set():
                    return
                pause = outage.pause(error)
                self._begun_at = self._clock() + pause  # a pause is no poll that hangs
                ended.wait(pause)

    def _watch(self) -> None:
        while not self._stopping.wait(min(WATCH_SECONDS, self._silent)):
            silent = self._clock() - self._begun_at
            if silent > self._silent:
                log.error("poll hangs, a new one begins seconds=%.0f", silent)
                self._renew()


@dataclass(slots=True)
class Outage:
    """Failed polls in a row: how long to pause after each, and one log line at the beginning and the end."""

    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    failures: int = 0
    began_at: float = 0.0
    kind: type[Exception] | None = None

    def pause(self, error: Exception) -> float:
        """Seconds to wait after this failure, with up to a quarter of jitter."""
        if not self.failures:
            self.began_at = self.clock()
        self.failures = self.failures + 1 if type(error) is self.kind else 1
        if type(error) is not self.kind:
            self.kind = type(error)
            _tell(error)
        if isinstance(error, RetryAfter):
            return error.seconds
        first, last = (5.0, 60.0) if isinstance(error, Conflict) else (1.0, 30.0)
        return backoff(self.failures, first=first, last=last) * (1.0 - self.chance() / 4)

    def over(self) -> None:
        """A poll was completed."""
        if self.failures:
            log.info("polling again after=%.0fs", self.clock() - self.began_at)
        self.failures, self.kind = 0, None


def _tell(error: Exception) -> None:
    if isinstance(error, Conflict):
        log.error("another program fetches this bot's updates; stop it, or remove its webhook reason=%s", error)
    elif isinstance(error, TelegramError):
        log.warning("polling interrupted reason=%s", error)
    elif isinstance(error, sqlite3.Error | OSError):
        log.error("updates cannot be stored, telegram keeps them reason=%s", error)
    else:
        log.error("polling failed", exc_info=error)
