"""Turns that agents begin by themselves: announced to the owner, and kept until somebody asks what happened in them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ductor_lib.events import Event, Finished, Started

KEPT = 5_000  # events of one turn that may wait for a reader; then only its beginning and its end are kept


@dataclass(frozen=True, slots=True)
class OwnTurn:
    """The agent has begun a turn by itself, because a background task has ended. `key` is unique to the turn."""

    conversation: str
    session_id: str
    key: str


class Recording:
    """The events of one such turn, for one writer and one reader; the last event is a Finished."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        for event in events:
            self._events.put(event)

    def add(self, event: Event) -> None:
        if isinstance(event, Started | Finished) or self._events.qsize() < KEPT:
            self._events.put(event)

    def play(self) -> Iterator[Event]:
        """The events, live or as they were."""
        while True:
            event = self._events.get()
            yield event
            if isinstance(event, Finished):
                return


class OwnTurns:
    """The recordings of all conversations; each is announced once and played once. Any thread."""

    def __init__(self) -> None:
        self.announced: queue.SimpleQueue[OwnTurn] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._kept: dict[str, deque[Recording]] = {}

    def publish(self, turn: OwnTurn, recording: Recording) -> None:
        with self._lock:
            self._kept.setdefault(turn.conversation, deque()).append(recording)
        self.announced.put(turn)

    def oldest(self, conversation: str) -> Recording:
        """The conversation's oldest recording, which is forgotten here; when there is none, one that says so."""
        with self._lock:
            kept = self._kept.get(conversation)
            recording = kept.popleft() if kept else None
            if not kept:
                self._kept.pop(conversation, None)
        lost = Finished("", "", "failed", error="killed", detail="The turn that the agent began by itself is gone.")
        return recording or Recording([lost])
