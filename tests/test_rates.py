"""A minute is any sixty seconds, and nobody's memory grows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.automation.rates import NAMES, SECONDS, Rates


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_a_name_has_room_again_when_its_oldest_is_a_minute_old() -> None:
    clock = Clock()
    rates = Rates(2, 100, now=clock)

    assert rates.take("a")
    clock.time += 30
    assert rates.take("a")
    assert not rates.take("a")
    assert rates.wait("a") == 30
    clock.time += 30
    assert rates.wait("a") == 0
    assert rates.take("a")
    assert not rates.take("a")


def test_a_full_name_leaves_room_for_others_until_all_are_full() -> None:
    rates = Rates(2, 3, now=Clock())

    assert [rates.take(name) for name in ("a", "a", "a", "b", "b")] == [True, True, False, True, False]
    assert rates.wait("c") == SECONDS


def test_what_was_refused_does_not_count() -> None:
    clock = Clock()
    rates = Rates(1, 1, now=clock)
    rates.take("a")

    for _ in range(100):
        clock.time += 0.5
        assert not rates.take("a")
    clock.time += 10

    assert rates.take("a")


def test_looking_does_not_count() -> None:
    rates = Rates(1, 1, now=Clock())

    assert [rates.wait("a") for _ in range(5)] == [0.0] * 5
    assert rates.take("a")


def test_only_so_many_names_are_remembered_and_the_quietest_is_forgotten() -> None:
    rates = Rates(1, 10_000, now=Clock())
    rates.take("first")
    rates.take("second")

    for number in range(NAMES - 1):
        rates.take(f"stranger-{number}")

    assert rates.wait("first") == 0
    assert rates.wait("second") > 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 40)), max_size=40), st.integers(1, 4), st.integers(1, 6))
def test_no_minute_ever_holds_more_than_allowed(calls: list[tuple[str, float]], each: int, together: int) -> None:
    clock = Clock()
    rates = Rates(each, together, now=clock)
    taken: list[tuple[str, float]] = []

    for name, pause in calls:
        clock.time += pause
        if rates.take(name):
            taken.append((name, clock.time))

    for _, start in taken:
        minute = [name for name, moment in taken if start <= moment < start + SECONDS]
        assert len(minute) <= together
        assert all(minute.count(name) <= each for name in "ab")
