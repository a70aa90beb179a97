"""One after the other within a conversation, side by side across them."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ductor_lib.events import Event
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.dispatch import MOST_TASKS, MOST_WORKERS, Dispatch, held_card
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.ports import Place, View

NOW = 1_000_000.0
SOON = 10.0  # seconds; a generous bound, never a pause


class Worker:
    """Does what an item's text says: "hold NAME" waits until that name is let go; commands run beside."""

    def __init__(self, ledger: Ledger) -> None:
        self.done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.ended: list[str] = []
        self.ways: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.over = threading.Event()
        self._ledger = ledger

    def gate(self, name: str) -> threading.Event:
        return self.gates.setdefault(name, threading.Event())

    def let_all_go(self) -> None:
        self.over.set()
        for gate in list(self.gates.values()):
            gate.set()

    def place(self, item: Incoming) -> Place:
        places: dict[str, Place] = {"/stop": "urgent", "/status": "panel", "/new": "next"}
        return places.get(item.text, "lane")

    def run(self, item: Incoming) -> None:
        if item.text == "break":
            raise RuntimeError("a broken item")
        if not self._ledger.begin(item.id):
            return
        self.begun.put(item.text)
        if item.text.startswith("hold"):
            gate = self.gate(item.text.split()[1])
            assert self.over.is_set() or gate.wait(SOON)
        self._ledger.finish(item.id)
        self.done.put(item.text)

    def make_way(self, lane: str) -> None:
        self.ways.append(lane)

    def end_turn(self, lane: str, *, before: int) -> bool:
        self.ended.append(lane)
        for gate in self.gates.values():
            gate.set()
        return True


class Screen:
    """Counts how often the queue card was asked for."""

    def __init__(self) -> None:
        self.cards: queue.SimpleQueue[Chat] = queue.SimpleQueue()
        self.disk_is_full = False

    def queue(self, chat: Chat) -> None:
        if self.disk_is_full:
            self.disk_is_full = False
            raise sqlite3.OperationalError("database or disk is full")
        self.cards.put(chat)

    def tell(self, chat: Chat, text: str) -> None: ...

    def open(self, chat: Chat, slot: str, *, model: str, turn: int) -> View:
        return self

    def show(self, event: Event) -> None: ...


class Bench:
    """A dispatch with a worker, and messages that are accepted before they are put."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        self.worker, self.screen = Worker(self.ledger), Screen()
        self.released: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self.dispatch = Dispatch(self.ledger, self.worker, self.screen, self.released, fresh_seconds=1800, now=lambda: NOW)
        self.dispatch.start()
        self._count = 0

    def send(self, *texts: str, chat: int = 42, sent_at: float = NOW) -> list[Incoming]:
        items = []
        for text in texts:
            self._count += 1
            items += self.ledger.accept([Incoming(f"update:{self._count}", Chat(chat), text, message_id=self._count, sent_at=sent_at)])
        for item in items:
            self.dispatch.put(item)
        return items


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "ledger.db")
    yield made
    made.worker.let_all_go()
    made.dispatch.stop(grace=SOON)
    made.ledger.close()


def test_twenty_messages_to_a_busy_conversation_run_in_the_order_they_came(bench: Bench) -> None:
    texts = [str(number) for number in range(20)]
    bench.send("hold it", *texts)

    bench.worker.gate("it").set()

    assert [bench.worker.done.get(timeout=SOON) for _ in range(21)] == ["hold it", *texts]


def test_conversations_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.send("hold one", chat=1)
    bench.send("two", chat=2)

    assert bench.worker.done.get(timeout=SOON) == "two"


def test_more_conversations_than_workers_are_all_served(bench: Bench) -> None:
    for chat in range(1, MOST_WORKERS + 11):
        bench.send("hold all", chat=chat)

    bench.worker.gate("all").set()

    assert [bench.worker.done.get(timeout=SOON) for _ in range(MOST_WORKERS + 10)] == ["hold all"] * (MOST_WORKERS + 10)


def test_however_many_jobs_run_and_wait_a_conversation_is_served_at_once_and_so_are_they_all(bench: Bench) -> None:
    jobs = MOST_WORKERS + 10
    items = [Incoming(f"job:{n}", Chat(42), "hold all", kind="task", task=f"job-{n}", sent_at=NOW) for n in range(jobs)]
    for item in bench.ledger.accept(items):
        bench.dispatch.put(item)
    for _ in range(MOST_TASKS):
        bench.worker.begun.get(timeout=SOON)

    bench.send("hello")
    assert bench.worker.done.get(timeout=SOON) == "hello"
    bench.worker.gate("all").set()

    assert [bench.worker.done.get(timeout=SOON) for _ in range(jobs)] == ["hold all"] * jobs


def test_urgent_words_and_panels_never_wait_for_a_lane(bench: Bench) -> None:
    bench.send("hold it")
    bench.send("/stop")

    assert {bench.worker.begun.get(timeout=SOON) for _ in range(2)} == {"hold it", "/stop"}
    bench.send("/status")
    assert {bench.worker.done.get(timeout=SOON) for _ in range(2)} == {"/stop", "/status"}


def test_a_fresh_start_ends_the_running_turn_and_goes_before_what_waits(bench: Bench) -> None:
    bench.send("hold it", "later")
    assert bench.worker.begun.get(timeout=SOON) == "hold it"

    bench.send("/new")

    assert [bench.worker.done.get(timeout=SOON) for _ in range(3)] == ["hold it", "/new", "later"]
    assert bench.worker.ended == ["chat:42"]


def test_a_broken_item_does_not_stop_its_lane(bench: Bench) -> None:
    bench.send("break", "next")

    assert bench.worker.done.get(timeout=SOON) == "next"


def test_a_message_that_waits_is_put_on_the_card_and_one_that_runs_at_once_is_not(bench: Bench) -> None:
    bench.send("hold it", "second")

    assert bench.screen.cards.get(timeout=SOON) == Chat(42)
    assert [item.text for item in bench.ledger.waiting("chat:42")] == ["second"]
    assert bench.screen.cards.empty()


def test_old_messages_are_held_with_one_question_and_run_once_they_are_released(bench: Bench) -> None:
    bench.send("old *one*", "old two", sent_at=NOW - 7200)

    cards = [bench.ledger.outbox.fresh.get(timeout=SOON).reply for _ in range(2)]
    assert [card.slot for card in cards] == ["held", "held"]
    assert "2 messages came" in cards[-1].text
    assert "2 h ago" in cards[-1].text
    assert [button.label for button in cards[-1].buttons[0]] == ["Run in order", "Merge", "Discard"]
    for item in bench.ledger.release("chat:42", merge=False):
        bench.released.put(item)
    assert [bench.worker.done.get(timeout=SOON) for _ in range(2)] == ["old *one*", "old two"]


def test_a_card_that_cannot_be_shown_does_not_end_the_releasing_of_messages(bench: Bench) -> None:
    bench.send("old one", "old two", sent_at=NOW - 7200)
    bench.send("hold it")
    assert bench.worker.begun.get(timeout=SOON) == "hold it"
    bench.screen.disk_is_full = True

    for item in bench.ledger.release("chat:42", merge=False):
        bench.released.put(item)

    assert bench.screen.cards.get(timeout=SOON) == Chat(42)
    bench.worker.gate("it").set()
    assert [bench.worker.done.get(timeout=SOON) for _ in range(3)] == ["hold it", "old one", "old two"]


def test_the_card_of_old_messages_shows_the_words_of_a_forwarded_one() -> None:
    forwarded = Incoming("update:1", Chat(42), "", untrusted="Lunch at noon?", sent_at=NOW)

    assert "• Lunch at noon?" in held_card(Chat(42), [forwarded], NOW).text


def test_a_clock_that_went_back_makes_no_message_old(bench: Bench) -> None:
    bench.send("from the future", sent_at=NOW + 90_000)

    assert bench.worker.done.get(timeout=SOON) == "from the future"


def test_what_waits_at_a_stop_stays_in_the_ledger(bench: Bench) -> None:
    bench.send("hold it", "later")
    assert bench.worker.begun.get(timeout=SOON) == "hold it"

    bench.dispatch.stop(grace=0)
    bench.worker.gate("it").set()
    bench.dispatch.stop(grace=SOON)

    assert [item.text for item in bench.ledger.recover()[1]] == ["later"]
