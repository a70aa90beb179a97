"""Which session of the agent a conversation goes on with; it is stored before a prompt is sent under its id."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from ductor_lib.ports import Choice
from ductor_lib.storage import JsonFile

log = logging.getLogger(__name__)

Reset = Literal["idle", "daily", "full"]

CHOICE = "choice"
HOUR = 3600.0  # seconds
WARN_EVERY = 10  # messages between two warnings about an old session
LARGEST = 1e15  # no count and no time is larger; what is, is not a number we wrote


@dataclass(frozen=True, slots=True)
class Bucket:
    """One session of one provider in one working directory. Times in unix seconds, cost in USD.

    `started` is false until the agent has really begun under the id: only then can the session be resumed. Until then
    `fork_of` may name another session that it begins as a copy of.
    """

    session_id: str
    messages: int
    cost_usd: float
    tokens_in: int
    tokens_out: int
    created: float
    last_active: float
    started: bool
    fork_of: str = ""


@dataclass(frozen=True, slots=True)
class Freshness:
    """When a session is too old to go on with. 0 turns `idle_minutes`, `max_messages` and `age_warning_hours` off.

    The daily reset is at `daily_hour`:00 of `timezone`; where that hour does not exist on a day it is the moment
    the clocks skip it, where it comes twice it is the first.
    """

    idle_minutes: float
    daily_reset: bool
    daily_hour: int
    timezone: ZoneInfo
    max_messages: int
    age_warning_hours: float

    def stale(self, bucket: Bucket, now: float) -> Reset | None:
        """Why the session is not to be continued at `now` (unix seconds), None if it is.

        A `last_active` in the future (the clock was set back) never makes a session stale.
        """
        if self.idle_minutes and now - bucket.last_active > self.idle_minutes * 60:
            return "idle"
        if self.daily_reset and bucket.last_active < self.last_reset(now):
            return "daily"
        if self.max_messages and bucket.messages >= self.max_messages:
            return "full"
        return None

    def last_reset(self, now: float) -> float:
        """The latest daily reset at or before `now`, both in unix seconds."""
        today = datetime.fromtimestamp(now, self.timezone).date()
        # Compared as timestamps: datetimes of one zone compare by the wall clock, which goes back in autumn. Three days,
        # because a zone that crosses the date line skips one.
        days = (datetime.combine(today - timedelta(days), clock(self.daily_hour), self.timezone) for days in range(3))
        return max(moment for day in days if (moment := day.timestamp()) <= now)

    def age_warning(self, bucket: Bucket, now: float) -> str | None:
        """One sentence for the user, at every tenth message of a session that has grown old."""
        age = now - bucket.created
        if not self.age_warning_hours or age < self.age_warning_hours * HOUR:
            return None
        if not bucket.messages or bucket.messages % WARN_EVERY:
            return None
        return f"This session is {age / HOUR:.0f} hours old and has {bucket.messages} messages. /new starts a fresh one."


class Sessions:
    """The sessions of all conversations, in one file. Any thread; that a conversation has one turn at a time is the caller's promise.

    A conversation is a lane ("chat:42"); within it a session is found by provider and real path of the working
    directory, because that is where the agents look for theirs. Entries that make no sense are repaired one by one,
    and keys that are unknown here are kept.
    """

    def __init__(
        self,
        file: JsonFile,
        rules: Freshness,
        *,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._file = file
        self._rules = rules
        self._now = now
        self._new_id = new_id

    def take(self, conversation: str, provider: str, cwd: Path) -> tuple[Bucket, Reset | None]:
        """The session for the next turn, and why the one before was left, if it was.

        A new session is on disk when this returns. An id under which the agent was never seen to begin is not handed
        out again: it may have begun all the same, and Claude refuses to begin twice ("already in use").
        """
        reason: Reset | None = None
        bucket = self.peek(conversation, provider, cwd)
        if bucket and bucket.started:
            reason = self._rules.stale(bucket, self._now())
            if not reason:
                return bucket, None
        fresh = self.replace(conversation, provider, cwd, fork_of=bucket.fork_of if bucket else "")
        log.info("session begun conversation=%s provider=%s reason=%s", conversation, provider, reason or "new")
        return fresh, reason

    def peek(self, conversation: str, provider: str, cwd: Path) -> Bucket | None:
        """The session as it is, stale or not. Changes nothing."""
        entry = _find(self._file.read(), _keys(conversation, provider, cwd))
        return _bucket(entry, self._now()) if entry else None

    def continued(self, conversation: str, provider: str, cwd: Path) -> Bucket | None:
        """The session that a message would go on with now; None when one would begin afresh. Changes nothing."""
        bucket = self.peek(conversation, provider, cwd)
        return bucket if bucket and bucket.started and not self._rules.stale(bucket, self._now()) else None

    def conversations(self) -> list[str]:
        """Every conversation that has sessions."""
        return [name for name, entry in self._file.read().items() if isinstance(entry, dict) and "buckets" in entry]

    def began(self, conversation: str, provider: str, cwd: Path, session_id: str) -> None:
        """The agent has begun under that id, ours or its own. Written once per session; does nothing after a reset."""
        bucket = self.peek(conversation, provider, cwd)
        if bucket and bucket.started and bucket.session_id == session_id:
            return
        self._update(conversation, provider, cwd, session_id, lambda bucket: dataclasses.replace(bucket, started=True, fork_of=""))

    def record(
        self,
        conversation: str,
        provider: str,
        cwd: Path,
        *,
        session_id: str,
        messages: int = 1,
        cost: float,
        tokens_in: int,
        tokens_out: int,
        active: bool = True,
    ) -> Bucket | None:
        """Add what one turn used (USD, tokens), and take over the id it ended with: Claude's /clear changes it.

        A turn that nobody asked for and nobody hears of is not `active`: the session grows old as if there had been none.
        Returns the session as it is now. None after a reset during the turn: a late result brings nothing back.
        """
        return self._update(
            conversation,
            provider,
            cwd,
            session_id,
            lambda bucket: dataclasses.replace(
                bucket,
                messages=bucket.messages + messages,
                cost_usd=bucket.cost_usd + cost,
                tokens_in=bucket.tokens_in + tokens_in,
                tokens_out=bucket.tokens_out + tokens_out,
                last_active=self._now() if active else bucket.last_active,
            ),
        )

    def reset(self, conversation: str, provider: str, cwd: Path) -> bool:
        """Forget this one session; other providers and folders keep theirs. False if there was none."""
        *parents, folder = _keys(conversation, provider, cwd)
        with self._file.change() as data:
            buckets = _find(data, parents)
            return bool(buckets and buckets.pop(folder, None))

    def replace(self, conversation: str, provider: str, cwd: Path, *, fork_of: str = "") -> Bucket:
        """Begin anew under a new id, stored before this returns; also for a session that the provider has lost.

        With `fork_of` it begins as a copy of that session.
        """
        bucket = dataclasses.replace(_begin(self._new_id(), self._now()), fork_of=fork_of)
        *parents, folder = _keys(conversation, provider, cwd)
        with self._file.change() as data:
            _make(data, parents)[folder] = asdict(bucket)
        return bucket

    def choice(self, conversation: str) -> Choice | None:
        """Who was chosen to answer this conversation; None: nobody in particular."""
        entry = _find(self._file.read(), [conversation, CHOICE])
        words = [entry.get(name) for name in ("provider", "model", "effort")] if entry else []
        provider, model, effort = words if all(isinstance(word, str) for word in words) and words else ("", "", "")
        return Choice(str(provider), str(model), str(effort)) if provider and model else None

    def choose(self, conversation: str, choice: Choice) -> None:
        """Remember who answers this conversation from the next turn on. Sessions stay as they are."""
        with self._file.change() as data:
            _make(data, [conversation])[CHOICE] = asdict(choice)

    def age_warning(self, bucket: Bucket) -> str | None:
        """One sentence for the user after every tenth message of an old session, else None."""
        return self._rules.age_warning(bucket, self._now())

    def _update(self, conversation: str, provider: str, cwd: Path, session_id: str, step: Callable[[Bucket], Bucket]) -> Bucket | None:
        with self._file.change() as data:
            entry = _find(data, _keys(conversation, provider, cwd))
            bucket = _bucket(entry, self._now()) if entry else None
            if entry is None or bucket is None:
                return None
            if session_id and session_id != bucket.session_id:
                bucket = dataclasses.replace(_begin(session_id, self._now()), started=bucket.started)
            bucket = step(bucket)
            entry.update(asdict(bucket))
            return bucket


def _begin(session_id: str, now: float) -> Bucket:
    return Bucket(session_id, messages=0, cost_usd=0.0, tokens_in=0, tokens_out=0, created=now, last_active=now, started=False)


def _keys(conversation: str, provider: str, cwd: Path) -> tuple[str, ...]:
    return conversation, "buckets", provider, os.path.realpath(cwd)


def _find(data: dict[str, object], keys: Iterable[str]) -> dict[str, object] | None:
    """The object at the end of the keys, None where something else stands in the way."""
    for key in keys:
        child = data.get(key)
        if not isinstance(child, dict):
            return None
        data = child
    return data


def _make(data: dict[str, object], keys: Iterable[str]) -> dict[str, object]:
    """The same, with objects put where there are none."""
    for key in keys:
        child = data.get(key)
        if not isinstance(child, dict):
            child = data[key] = {}
        data = child
    return data


def _bucket(entry: dict[str, object], now: float) -> Bucket | None:
    """Read an entry that anybody may have edited. None without an id; an id without `started` was put there to be resumed."""
    session_id = entry.get("session_id")
    if not isinstance(session_id, str) or not session_id:
        return None
    last_active = _number(entry.get("last_active"), _number(entry.get("created"), now))
    return Bucket(
        session_id=session_id,
        messages=int(_number(entry.get("messages"), 0)),
        cost_usd=_number(entry.get("cost_usd"), 0),
        tokens_in=int(_number(entry.get("tokens_in"), 0)),
        tokens_out=int(_number(entry.get("tokens_out"), 0)),
        created=_number(entry.get("created"), last_active),
        last_active=last_active,
        started=entry.get("started") is not False,
        fork_of=fork_of if isinstance(fork_of := entry.get("fork_of"), str) and entry.get("started") is False else "",
    )


def _number(value: object, default: float) -> float:
    """A count or a time: not true or false, not negative, not NaN, not endless."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LARGEST:
        return default
    return float(value)
