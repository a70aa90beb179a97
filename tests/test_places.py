"""Places for working agents: so many at once, in order, and a wait that can be stopped."""

from __future__ import annotations

import queue
import threading

import pytest

from ductor_lib.cli.places import Places
from ductor_lib.cli.turn import Stop

SOON = 10.0  # seconds
QUIET = 0.1


class Comers:
    """Threads that want a place; each tells its name and whether it got one."""

    def __init__(self, places: Places) -> None:
        self.told: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self._places = places

    def come(self, name: str, *, unattended: bool = False) -> Stop:
        stop = Stop()
        threading.Thread(target=lambda: self.told.put((name, self._places.enter(stop, unattended=unattended))), daemon=True).start()
        return stop

    def next(self) -> tuple[str, bool]:
        return self.told.get(timeout=SOON)

    def quiet(self) -> bool:
        try:
            self.told.get(timeout=QUIET)
        except queue.Empty:
            return True
        return False


@pytest.fixture
def places() -> Places:
    return Places(1)


@pytest.fixture
def comers(places: Places) -> Comers:
    return Comers(places)


def test_one_more_than_there_are_places_waits_until_one_is_left(places: Places, comers: Comers) -> None:
    comers.come("first")
    assert comers.next() == ("first", True)

    comers.come("second")
    assert comers.quiet()
    places.leave()

    assert comers.next() == ("second", True)


def test_who_waits_longer_is_first(places: Places, comers: Comers) -> None:
    comers.come("first")
    comers.next()
    for name in ("second", "third"):
        comers.come(name)
        assert comers.quiet()

    places.leave()
    second = comers.next()
    places.leave()

    assert [second, comers.next()] == [("second", True), ("third", True)]


def test_a_stopped_wait_ends_without_a_place_and_holds_up_nobody(places: Places, comers: Comers) -> None:
    comers.come("first")
    comers.next()
    stop = comers.come("second")
    assert comers.quiet()
    comers.come("third")

    stop.wish("stopped")
    places.wake()
    assert comers.next() == ("second", False)
    places.leave()

    assert comers.next() == ("third", True)


def test_an_agent_that_works_by_itself_takes_a_place_without_waiting(places: Places, comers: Comers) -> None:
    comers.come("first")
    comers.next()

    places.take()
    places.leave()

    comers.come("second")
    assert comers.quiet()


def test_the_first_reason_to_stop_counts() -> None:
    stop = Stop()

    stop.wish("timeout")
    stop.wish("stopped")

    assert stop.reason == "timeout"


def test_conversations_come_before_what_runs_unattended_however_long_that_waits(places: Places, comers: Comers) -> None:
    comers.come("first", unattended=True)
    assert comers.next() == ("first", True)
    for name in ("job", "another"):
        comers.come(name, unattended=True)
        assert comers.quiet()
    comers.come("person")
    assert comers.quiet()

    for name in ("person", "job", "another"):
        places.leave()
        assert comers.next() == (name, True)
