"""What a request has to pass before it counts, in one order; nobody learns from the answers which hooks there are."""

from __future__ import annotations

import json
import logging
import math
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol
from urllib.parse import unquote

from ductor_lib import logs
from ductor_lib.automation.definitions import Hook
from ductor_lib.automation.exchange import Answer, Head, Request, body_length, refusal
from ductor_lib.automation.rates import Rates
from ductor_lib.automation.signatures import authentic

HEALTH = "/health"
HOOK = re.compile(r"/hooks/([^/]+)")
ALL_HOOKS = 10  # times what one hook may have in a minute
FAILED_LOGINS = 20  # in a minute from one address; more are answered with 429 and no longer logged one by one
ALL_FAILED_LOGINS = 200
LOGGED = 60  # refusals in a minute; more are logged below WARNING
SHOWN_ID = 40  # characters of a stranger's id in the log
DELIVERIES = ("x-github-delivery", "webhook-id")  # GitHub; Standard Webhooks. The same value means the same event
DELIVERY = re.compile(r"[\x21-\x7e]{1,200}")
RETRY_SECONDS = "30"
EVERYBODY = "everybody"
OK = Answer(200, {"status": "ok"})

log = logging.getLogger(__name__)


class Hooks(Protocol):
    """The hooks that there are now."""

    def find(self, id: str) -> Hook | None:
        """The hook of that id. Any thread; returns at once."""


class Intake(Protocol):
    """Takes what a hook was triggered with, so that it survives a crash."""

    def take(self, hook: Hook, payload: Mapping[str, object], *, key: str) -> int:
        """Store a run and return its id once it is flushed to disk; the same key gives the same id and no second run.

        Called by several threads at once, without a lock held. Raises sqlite3.OperationalError or OSError when nothing
        can be stored.
        """


class Admission:
    """Judges requests. `token` opens every bearer hook. Per hook `per_minute` requests, bodies of `longest` bytes at most.

    Any thread. `now` in unix seconds, for the age of signatures; `clock` is monotonic, for the rates.
    """

    def __init__(
        self, hooks: Hooks, intake: Intake, *, token: str, per_minute: int, longest: int,
        now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hooks = hooks
        self._intake = intake
        self._token = token
        self._longest = longest
        self._now = now
        self._rates = Rates(per_minute, ALL_HOOKS * per_minute, now=clock)
        # Of their own, and looked at only after the credentials were wrong: however many strangers knock, also from the
        # address of a real sender (behind a proxy all have the same), right credentials are let in.
        self._strangers = Rates(FAILED_LOGINS, ALL_FAILED_LOGINS, now=clock)
        self._logged = Rates(LOGGED, LOGGED, now=clock)

    def before_body(self, head: Head) -> int | Answer:
        """The length of the body to wait for, or the answer."""
        decided = self._before_body(head)
        return replace(decided, bare=True) if isinstance(decided, Answer) and head.method == "HEAD" else decided

    def judge(self, request: Request) -> Answer:
        """The answer to a whole request that `before_body` has let through. 202 only after the intake has stored it.

        The body has been read for every hook, known or not: were it read for those only that need it for a signature,
        the moment of a 401 would tell which hooks there are.
        """
        id = _hook_id(request.head)
        hook = self._hooks.find(id)
        right = authentic(hook, request.head.headers, request.body, token=self._token, now=self._now())
        if hook is None or not right:
            answer = self._stranger(request)
        else:
            with logs.context("wh", hook.id):
                answer = self._friend(hook, request)
        if answer.status >= 400:
            self.refused(answer, request.remote, request.head.path)
        return answer

    def refused(self, answer: Answer, remote: str, path: str) -> None:
        """Log an answer other than success, in one line, with nothing secret in it; many in a minute go to DEBUG."""
        if answer.status >= 400:
            level = logging.WARNING if self._logged.take(EVERYBODY) else logging.DEBUG
            found = HOOK.fullmatch(path)  # other paths are not shown: somebody may have put a token there
            shown = re.sub(r"[^\w.-]", "?", unquote(found[1]), flags=re.ASCII)[:SHOWN_ID] if found else "-"
            log.log(level, "webhook refused status=%d hook=%s remote=%s", answer.status, shown, remote)

    def _before_body(self, head: Head) -> int | Answer:
        if head.path == HEALTH:
            return OK if head.method in ("GET", "HEAD") else refusal(405, "Only GET is accepted here.", Allow="GET, HEAD")
        if not (id := _hook_id(head)):
            return refusal(404, "There is nothing here. Hooks are at /hooks/<id>.")
        if head.method != "POST":
            return refusal(405, "Only POST is accepted here.", Allow="POST")
        if wait := self._rates.wait(id):
            return _too_many(wait)
        length = body_length(head, self._longest)
        return length if isinstance(length, Answer) else _wrong_type(head) or length

    def _stranger(self, request: Request) -> Answer:
        if self._strangers.take(request.remote):
            return refusal(401, "The hook or the credentials are wrong.", WWW_Authenticate="Bearer")
        return _too_many(self._strangers.wait(request.remote))

    def _friend(self, hook: Hook, request: Request) -> Answer:
        if not self._rates.take(hook.id):  # others may have come since the head was read
            return _too_many(self._rates.wait(hook.id))
        if not hook.enabled:
            return refusal(403, "This hook is switched off.")
        payload = _payload(request.body)
        if payload is None:
            return refusal(400, "The body is not a JSON object.")
        try:
            run = self._intake.take(hook, payload, key=f"hook:{hook.id}:{_delivery(request.head)}")
        except (sqlite3.OperationalError, OSError) as error:
            log.error("webhook not stored hook=%s error=%s", hook.id, error)
            return refusal(503, "The request could not be stored just now. Send it again later.", Retry_After=RETRY_SECONDS)
        return Answer(202, {"id": str(run)})


def _hook_id(head: Head) -> str:
    found = HOOK.fullmatch(head.path)
    return unquote(found[1]) if found else ""


def _too_many(wait: float) -> Answer:
    return refusal(429, "Too many requests. Try again later.", Retry_After=str(max(1, math.ceil(wait))))


def _wrong_type(head: Head) -> Answer | None:
    if head.media != "application/json" and not head.media.endswith("+json"):
        return refusal(415, "Send JSON, and say so: Content-Type: application/json.")
    if head.charset not in ("", "utf-8", "utf8", "us-ascii"):
        return refusal(415, "Send JSON in UTF-8.")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        return refusal(415, "Send the body as it is, without Content-Encoding.")
    return None


def _payload(body: bytes) -> dict[str, object] | None:
    try:
        payload = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _delivery(head: Head) -> str:
    """What tells one event from another: the sender's id for it, else one that was never used."""
    given = next((head.headers[name] for name in DELIVERIES if name in head.headers), "")
    return given if DELIVERY.fullmatch(given) else uuid.uuid4().hex
