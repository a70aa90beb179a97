"""Serve each conversation in order, and many conversations at once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ductor_lib import logs
from ductor_lib.messages import Button, Chat, Incoming, Reply
from ductor_lib.orchestrator.ledger import TASK, Ledger
from ductor_lib.orchestrator.words import age, count, title
from ductor_lib.ports import Place, Views

log = logging.getLogger(__name__)

MOST_WORKERS = 64
MOST_TASKS = 48  # workers from which on no lane of a job begins: the others are for conversations
PANELS = 2


class Work(Protocol):
    """What is done with an item (the router)."""

    def place(self, item: Incoming) -> Place: ...

    def run(self, item: Incoming) -> None: ...

    def end_turn(self, lane: str, *, before: int) -> bool: ...

    def make_way(self, lane: str) -> None: ...


class Dispatch:
    """Takes stored items and gives each to a thread of its place: its lane, the panels, or the urgent one.

    A lane is served by one worker at a time, so one item of a conversation runs after the other. Any thread may `put`.
    Messages older than `fresh_seconds` are held, and one card per conversation asks what to do with them. What comes
    through `released` runs however old it is: a person asked for it, or the agent began it by itself.
    """

    def __init__(
        self, ledger: Ledger, work: Work, views: Views, released: queue.SimpleQueue[Incoming | None], *,
        fresh_seconds: float, now: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._released = released
        self._work = work
        self._views = views
        self._fresh_seconds = fresh_seconds
        self._now = now
        self._lock = threading.Lock()
        self._lanes: dict[str, deque[Incoming]] = {}  # the active ones; the running item is not in its deque
        self._parked: deque[str] = deque()  # active lanes beyond the last worker
        self._workers: set[threading.Thread] = set()
        self._closed = False
        self._urgent: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self._panels: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, args=(self._urgent,), name="urgent", daemon=True),
            threading.Thread(target=self._serve_released, name="released", daemon=True),
        ]
        self._threads += [
            threading.Thread(target=self._serve, args=(self._panels,), name=f"panel-{n}", daemon=True) for n in range(1, PANELS + 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, item: Incoming) -> None:
        """Give a stored item to its place. Returns at once."""
        place = self._work.place(item)
        if place == "urgent":
            self._urgent.put(item)
        elif place == "panel":
            self._panels.put(item)
        elif place == "lane" and item.kind == "message" and self._now() - item.sent_at > self._fresh_seconds:
            self._ledger.hold(item.id)
            self._ledger.say([held_card(item.chat, self._ledger.held(item.lane), self._now())])
        elif place == "next":
            self._enqueue(item, first=True)
            self._work.end_turn(item.lane, before=item.id)
        else:
            self._enqueue(item, first=False)
            if item.kind in ("message", "press"):
                self._work.make_way(item.lane)

    def stop(self, *, grace: float) -> None:
        """Begin nothing more; wait up to `grace` seconds for what runs. What waits is in the ledger."""
        with self._lock:
            self._closed = True
            threads = [*self._threads, *self._workers]
        for items in (self._urgent, self._released, *[self._panels] * PANELS):
            items.put(None)
        deadline = time.monotonic() + grace
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _enqueue(self, item: Incoming, *, first: bool) -> None:
        with self._lock:
            waiting = self._lanes.get(item.lane)
            busy = waiting is not None
            if waiting is None:
                self._lanes[item.lane] = deque([item])
                self._open(item.lane)
            elif item.kind != "heartbeat":
                (waiting.appendleft if first else waiting.append)(item)
        if busy and item.kind == "heartbeat":
            self._ledger.drop([item])  # somebody is being served there
        elif busy and not first and item.kind != "task":
            self._ledger.queue(item.id)
            self._views.queue(item.chat)

    def _open(self, lane: str) -> None:
        """Find a worker for a lane that has become active; call with the lock held."""
        if self._closed:
            return
        if len(self._workers) >= most(lane):
            self._parked.append(lane)
            return
        worker = threading.Thread(target=self._work_lanes, args=(lane,), name=f"lane {lane}", daemon=True)
        self._workers.add(worker)
        worker.start()

    def _work_lanes(self, lane: str) -> None:
        while True:
            while item := self._next(lane):
                self._run(item)
            with self._lock:
                others = len(self._workers) - 1
                found = next((parked for parked in self._parked if others < most(parked)), None)
                if found is None:
                    self._workers.discard(threading.current_thread())
                    return
                self._parked.remove(found)
                lane = found

    def _next(self, lane: str) -> Incoming | None:
        """The lane's next item; None closes the lane."""
        with self._lock:
            if self._lanes[lane] and not self._closed:
                return self._lanes[lane].popleft()
            del self._lanes[lane]
            return None

    def _serve_released(self) -> None:
        while (item := self._released.get()) is not None:
            try:
                self._enqueue(item, first=item.kind == "agent")
            except Exception:  # a full disk, say: the item has its place all the same, only the card does not show it
                log.exception("released item failed id=%s", item.id)

    def _serve(self, items: queue.SimpleQueue[Incoming | None]) -> None:
        while (item := items.get()) is not None:
            self._run(item)

    def _run(self, item: Incoming) -> None:
        with logs.context("cb" if item.kind == "press" else "msg", item.chat.id):
            try:
                self._work.run(item)
            except Exception:
                log.exception("item failed id=%s kind=%s", item.id, item.kind)


def most(lane: str) -> int:
    """How many workers there may be with one for this lane."""
    return MOST_TASKS if lane.startswith(TASK) else MOST_WORKERS


def held_card(chat: Chat, held: list[Incoming], now: float) -> Reply:
    """The one card of a conversation about messages that came while nobody answered."""
    oldest = max(0.0, now - min((other.sent_at for other in held), default=now))
    shown = "\n".join(f"• {title(other)}" for other in held[:10]) + ("\n• …" if len(held) > 10 else "")
    text = f"📥 **{count(len(held), 'message')} came while I was away**, the oldest {age(oldest)} ago. What shall I do?\n\n{shown}"
    row = (Button("Run in order", "/held run"), Button("Merge", "/held merge"), Button("Discard", "/held discard"))
    return Reply(chat, text, buttons=(row,), slot="held")
