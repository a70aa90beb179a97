"""Scripted trouble for the loopback Telegram: which calls go wrong, and how."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from dataclasses import dataclass
from http import HTTPStatus

from ductor_lib.demo.server import Answer, refusal
from ductor_lib.demo.state import Json


@dataclass(frozen=True, slots=True)
class Fault:
    """How one call shall go wrong: `after` it took effect or instead, `hang` seconds late, without an answer if `drop`."""

    answer: Answer
    hang: float
    drop: bool
    after: bool


class Faults:
    """What is still to go wrong, in its order for each method. The caller holds the lock."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Fault]] = defaultdict(deque)

    def add(self, method: str, fault: Fault, times: int) -> None:
        self._waiting[method].extend([fault] * times)

    def next(self, method: str) -> Fault | None:
        return self._waiting[method].popleft() if self._waiting.get(method) else None


def wrong_answer(status: int, body: str | Json | None, retry_after: int | None) -> Answer:
    """A str body is sent raw as HTML, a dict as JSON; without one Telegram's error for the status, or a 429 with its pause."""
    if retry_after is not None:
        return refusal(429, f"Too Many Requests: retry after {retry_after}", {"retry_after": retry_after})
    if isinstance(body, str):
        return Answer(status, body.encode(), "text/html")
    if body is not None:
        return Answer(status, json.dumps(body).encode())
    return refusal(status, HTTPStatus(status).phrase)
