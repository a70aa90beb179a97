from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.bot.pacing import BURST, GROUP_MINUTE, Budget, backoff


def busy(budget: Budget, *, begin: float, seconds: float) -> list[float]:
    """The times of frames that are drawn as often as the budget allows."""
    times, now = [], begin
    while (now := max(now, budget.ready_at())) < begin + seconds:
        assert budget.take(now)
        times.append(now)
    return times


def test_first_words_come_at_once_and_then_at_an_even_pace() -> None:
    times = busy(Budget(private=True, interval=2.0), begin=1000.0, seconds=9.0)

    assert times == [1000.0] * BURST + [1002.0, 1004.0, 1006.0, 1008.0]


@given(st.floats(0, 1e6), st.floats(0.1, 60.0))
def test_a_group_never_sees_more_than_its_share_in_any_minute(begin: float, interval: float) -> None:
    times = busy(Budget(private=False, interval=interval), begin=begin, seconds=300.0)

    assert max(sum(begin <= later < begin + 59.99 for later in times) for begin in times) <= GROUP_MINUTE


def test_a_frame_of_many_parts_ends_where_the_budget_does() -> None:
    budget = Budget(private=True, interval=2.0)

    assert [budget.take(1000.0) for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    assert budget.ready_at() == 1002.0


def test_a_quiet_time_saves_no_more_than_a_burst() -> None:
    budget = Budget(private=True, interval=2.0)
    assert budget.take(0.0)

    assert len(busy(budget, begin=1000.0, seconds=1.0)) == BURST


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (5000, 60.0)])
def test_pauses_double_up_to_their_end(failures: int, seconds: float) -> None:
    assert backoff(failures, first=1.0, last=60.0) == seconds
