from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ductor_lib.bot.client import Client, Me
from ductor_lib.bot.failures import Conflict, RetryAfter, Unreachable
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.keyboard import keyboard
from ductor_lib.bot.markup import Part
from ductor_lib.bot.poller import BAD_TOKEN, Ending, Outage, Poller
from ductor_lib.bot.updates import Access
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Button, Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.storage import JsonFile

ACCESS = Access(frozenset([42]), frozenset(), 42)
DAY = 86400.0
POISON = {"message": {"message_id": "nine", "from": {"id": 42, "is_bot": False}, "chat": {"id": 42, "type": "private"}, "text": "x"}}


class Inbox:
    """Takes items and remembers them."""

    def __init__(self) -> None:
        self.items: list[Incoming] = []
        self.came = threading.Condition()

    def put(self, item: Incoming) -> None:
        with self.came:
            self.items.append(item)
            self.came.notify_all()

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self.items]

    def wait(self, number: int) -> list[str]:
        with self.came:
            assert self.came.wait_for(lambda: len(self.items) >= number, timeout=15), self.texts
            return self.texts


class Deaf(Inbox):
    def put(self, item: Incoming) -> None:
        raise RuntimeError("no room")


class Answers:
    def __init__(self) -> None:
        self.given: list[str] = []

    def answer(self, callback: str, text: str = "") -> None:
        self.given.append(callback)

    def tell(self, chat: Chat, text: str) -> None:
        self.given.append(text)


class FullOnce(Ledger):
    """A ledger whose disk is full for the first batches."""

    full = 2

    def accept(
        self, items: Sequence[Incoming], *, offset: int | None = None, poison: Sequence[tuple[int, str, str]] = ()
    ) -> list[Incoming]:
        if self.full:
            self.full -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return super().accept(items, offset=offset, poison=poison)


class World:
    """A poller with everything around it. `poller()` makes another one, as after a restart."""

    def __init__(self, telegram: LoopbackTelegram, ledger: Ledger) -> None:
        self.telegram = telegram
        self.ledger = ledger
        self.inbox = Inbox()
        self.groups = Groups([-100], JsonFile(Path("no-such-state.json")))
        self.answers = Answers()
        self.ending = Ending()
        self.now = 1000.0
        self.client = Client(telegram.token, telegram.url, patience=5.0)
        self.me: Me = self.client.me()

    def poller(self, *, silent: float = 115.0) -> Poller:
        return Poller(
            self.client, self.ledger, self.answers, self.inbox, ACCESS, self.groups, self.ending, now=lambda: self.now, silent=silent,
        )

    def poll(self) -> int:
        return self.poller().poll(self.me)


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as telegram:
        yield telegram


@pytest.fixture
def world(telegram: LoopbackTelegram, tmp_path: Path) -> Iterator[World]:
    made = World(telegram, Ledger(tmp_path / "ledger.db", now=lambda: made.now))
    yield made
    made.ledger.close()


def offsets(telegram: LoopbackTelegram) -> list[int]:
    return [int(call.params.get("offset", "0")) for call in telegram.calls if call.method == "getUpdates"]


# ── one poll ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_updates_are_stored_in_order_and_handed_on(world: World) -> None:
    for text in ("one", "two", "three"):
        world.telegram.say(text)

    assert world.poll() == 3

    assert world.inbox.texts == ["one", "two", "three"]
    assert all(item.id for item in world.inbox.items)


def test_the_next_poll_confirms_only_what_is_stored(world: World) -> None:
    world.telegram.say("one")
    world.poll()
    stored = world.ledger.offset()
    world.telegram.say("two")

    world.poll()

    assert stored is not None
    assert offsets(world.telegram) == [0, stored[0]]


def test_updates_that_come_twice_count_once(world: World) -> None:
    number = world.telegram.push({"message": _message("one")})
    world.telegram.push({"update_id": number, "message": _message("one")})

    assert world.poll() == 1

    world.telegram.push({"update_id": number, "message": _message("one")})
    world.telegram.say("two")
    world.now += 7 * DAY
    assert world.poll() == 1
    assert world.inbox.texts == ["one", "two"]


def test_a_poison_update_is_kept_aside_and_holds_up_nobody(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world.telegram.say("before")
    world.telegram.push(dict(POISON))
    world.telegram.say("after")

    world.poll()

    assert world.inbox.texts == ["before", "after"]
    assert "update kept aside" in caplog.text
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        assert "nine" in database.execute("SELECT raw FROM poison").fetchone()[0]
    world.telegram.say("next")
    world.poll()
    assert world.inbox.texts[-1] == "next"


@pytest.mark.parametrize("kind", ["message", "edited_message", "channel_post", "message_reaction", "callback_query"])
def test_strangers_are_confirmed_and_dropped(world: World, kind: str) -> None:
    stranger = {"id": 66, "is_bot": False}
    said = _message("let me in") | {"from": stranger}
    world.telegram.push({kind: {"id": "cb", "from": stranger, "message": said, "data": "/stop"} if kind == "callback_query" else said})

    assert world.poll() == 0

    assert world.inbox.items == []
    assert world.ledger.offset() is not None


def test_every_press_is_answered_and_means_its_command(world: World) -> None:
    command = "/run " + "y" * 100
    telegram, client = world.telegram, world.client
    data = keyboard(((Button("Go", command),),), world.ledger.outbox)
    telegram.say("hello")
    pressed = telegram.press(client.send(Chat(42), Part("choose"), keyboard=data), "Go")
    world.poll()

    assert world.inbox.texts == ["hello", command]
    assert world.answers.given == [pressed]
    assert world.inbox.items[1].callback == pressed


def test_an_item_that_nobody_takes_in_stays_in_the_ledger(world: World) -> None:
    world.inbox = Deaf()
    world.telegram.say("one")
    world.telegram.say("two")

    assert world.poll() == 2

    assert [item.text for item in world.ledger.recover()[1]] == ["one", "two"]


def test_nothing_is_confirmed_while_the_disk_is_full(telegram: LoopbackTelegram, tmp_path: Path) -> None:
    ledger = FullOnce(tmp_path / "full.db")
    world = World(telegram, ledger)
    telegram.say("one")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            world.poll()

    world.poll()

    assert world.inbox.texts == ["one"]
    assert offsets(telegram) == [0, 0, 0]
    ledger.close()


def test_after_a_week_of_silence_the_old_offset_is_forgotten(world: World) -> None:
    world.telegram.push({"update_id": 900_000_000, "message": _message("old")})
    world.poll()
    world.client.updates(900_000_001, timeout=1)
    world.now += 7 * DAY
    world.telegram.push({"update_id": 5, "message": _message("new count")})

    world.poll()
    world.telegram.push({"update_id": 6, "message": _message("next")})
    world.poll()

    assert world.inbox.texts == ["old", "new count", "next"]
    assert offsets(world.telegram) == [0, 900_000_001, 0, 6]


# ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_poller_goes_on_after_every_kind_of_trouble(world: World) -> None:
    for fault in ({"status": 502, "body": "<html></html>"}, {"drop": True}, {"retry_after": 0}, {"status": 200, "body": "[]"}):
        world.telegram.fail("getUpdates", **fault)
    poller = world.poller()

    poller.start()
    world.telegram.say("one")

    assert world.inbox.wait(1) == ["one"]
    poller.stop()


def test_a_message_is_handed_on_while_a_long_poll_waits(world: World) -> None:
    poller = world.poller()
    poller.start()
    world.telegram.wait(lambda t: offsets(t))

    world.telegram.say("one")

    assert world.inbox.wait(1) == ["one"]
    assert poller.last_success > 0
    poller.stop()


def test_a_crash_before_storing_loses_nothing(telegram: LoopbackTelegram, tmp_path: Path) -> None:
    crashed = World(telegram, FullOnce(tmp_path / "first.db"))
    telegram.say("one")
    with pytest.raises(sqlite3.OperationalError):
        crashed.poll()
    restarted = World(telegram, Ledger(tmp_path / "second.db"))

    restarted.poll()

    assert restarted.inbox.texts == ["one"]
    crashed.ledger.close()
    restarted.ledger.close()


def test_a_refused_token_ends_the_program_with_a_reason(world: World) -> None:
    world.telegram.fail("getUpdates", status=401)
    poller = world.poller()

    poller.start()

    assert world.ending.wait(10) == BAD_TOKEN
    poller.stop()


def test_a_second_program_is_told_about_and_outlasted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    poller = world.poller()
    poller.start()
    world.telegram.wait(lambda t: offsets(t))

    Client(world.telegram.token, world.telegram.url).updates(None, timeout=1)
    world.telegram.say("one")

    assert world.inbox.wait(1) == ["one"]
    assert caplog.text.count("another program fetches this bot's updates") == 1
    poller.stop()


def test_a_poll_that_hangs_is_replaced(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    world.telegram.fail("getUpdates", hang=20)
    poller = world.poller(silent=0.5)
    poller.start()
    world.telegram.wait(lambda t: len(offsets(t)) >= 2)

    world.telegram.say("one")

    assert world.inbox.wait(1) == ["one"]
    assert "poll hangs" in caplog.text
    poller.stop()


def test_a_long_pause_is_no_poll_that_hangs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    world.telegram.fail("getUpdates", retry_after=2)
    world.telegram.say("one")
    poller = world.poller(silent=0.7)

    poller.start()

    assert world.inbox.wait(1) == ["one"]
    assert "poll hangs" not in caplog.text
    poller.stop()


# ── outages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_outage_is_told_at_its_beginning_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage(clock=lambda: 0.0, chance=lambda: 0.0)

    pauses = [outage.pause(Unreachable("no route", maybe_delivered=False)) for _ in range(7)]
    outage.over()
    outage.over()

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [record.getMessage().split(" ")[0:2] for record in caplog.records] == [["polling", "interrupted"], ["polling", "again"]]


def test_each_kind_of_trouble_has_its_pace() -> None:
    outage = Outage(clock=lambda: 0.0, chance=lambda: 0.0)

    assert [outage.pause(Conflict("two")) for _ in range(5)] == [5.0, 10.0, 20.0, 40.0, 60.0]
    assert outage.pause(RetryAfter(17)) == 17
    assert outage.pause(sqlite3.OperationalError("disk full")) == 1.0
    assert Outage(clock=lambda: 0.0, chance=lambda: 1.0).pause(Conflict("two")) == 3.75


def _message(text: str) -> dict[str, object]:
    return {
        "message_id": 900, "from": {"id": 42, "is_bot": False}, "chat": {"id": 42, "type": "private"}, "date": 1000, "text": text,
    }
