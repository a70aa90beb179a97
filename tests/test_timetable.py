"""Which jobs are due now: once each, whatever the clock does, and fast."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.automation.definitions import Job
from ductor_lib.automation.timetable import Timetable

UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def job(schedule: str = "", id: str = "j", **fields: object) -> Job:
    return Job(id=id, title="J", schedule=schedule, **fields)  # type: ignore[arg-type]


def timetable(*jobs: Job, now: datetime = NOON) -> Timetable:
    table = Timetable(lambda job: ZoneInfo(job.timezone or "UTC"), now)
    table.update(jobs)
    return table


def moments(table: Timetable, now: datetime) -> list[tuple[str, int]]:
    return [(moment.strftime("%H:%M"), missed) for _, moment, missed in table.due(now)]


def test_a_job_is_due_from_its_minute_on_and_once() -> None:
    table = timetable(job("30 12 * * *"))

    ticks = [moments(table, NOON + timedelta(seconds=seconds)) for seconds in (0, 1799, 1800, 1801, 3600)]

    assert ticks == [[], [], [("12:30", 0)], [], []]


def test_what_lies_before_the_beginning_is_not_due() -> None:
    table = timetable(job("0 12 * * *"))

    assert table.due(NOON + MINUTE) == []


def test_what_is_due_only_once_is_due_also_when_its_moment_has_passed_before_it_was_seen() -> None:
    table = timetable(job(id="r", at="2026-03-02T11:59:00Z"))

    assert [len(table.due(NOON + seconds * MINUTE)) for seconds in (0, 1)] == [1, 0]


def test_a_disabled_job_and_one_that_was_removed_are_not_due() -> None:
    table = timetable(job("* * * * *", enabled=False), job("* * * * *", id="gone"))

    table.update([job("* * * * *", enabled=False)])

    assert table.due(NOON + MINUTE) == []


def test_a_new_text_keeps_the_next_run_and_a_new_schedule_is_computed_anew() -> None:
    table = timetable(job("1 12 * * *"), job("1 12 * * *", id="k"))

    table.update([replace(job("1 12 * * *"), title="New"), job("2 12 * * *", id="k")])

    assert [(job.title, moment) for job, moment, _ in table.due(NOON + MINUTE)] == [("New", NOON + MINUTE)]
    assert [job.id for job, _, _ in table.due(NOON + 2 * MINUTE)] == ["k"]


def test_an_edit_between_two_ticks_swallows_no_run() -> None:
    table = timetable(job("0 9 * * *"))
    table.due(NOON + timedelta(seconds=58))

    table.update([job("1 12 * * *")])  # edited at 12:00:59, seen at 12:01:02

    assert moments(table, NOON + timedelta(seconds=62)) == [("12:01", 0)]


def test_each_job_follows_its_own_zone() -> None:
    table = timetable(job("1 13 * * *", timezone="Europe/Berlin"), job("1 13 * * *", id="utc"))

    assert [job.id for job, _, _ in table.due(NOON + MINUTE)] == ["j"]


def test_after_a_suspend_the_last_moment_is_due_and_the_others_are_counted() -> None:
    table = timetable(job("*/10 * * * *"), job("0 13 * * *", id="once"), job(id="r", at="2026-03-02T12:15:00Z"))

    assert moments(table, NOON + timedelta(hours=3, minutes=5)) == [("15:00", 17), ("13:00", 0), ("12:15", 0)]
    assert moments(table, NOON + timedelta(hours=3, minutes=10)) == [("15:10", 0)]


def test_a_clock_that_is_set_back_a_little_runs_no_minute_twice() -> None:
    table = timetable(job("* * * * *"))
    table.due(NOON + 10 * MINUTE)

    ticks = [moments(table, NOON + minutes * MINUTE) for minutes in (1, 2, 10, 11)]

    assert ticks == [[], [], [], [("12:11", 0)]]


def test_a_job_that_is_new_while_the_clock_catches_up_does_not_wait_for_that() -> None:
    table = timetable(job("* * * * *"), now=NOON + 30 * MINUTE)
    table.due(NOON)

    table.update([job("* * * * *"), job("* * * * *", id="new")])

    assert [job.id for job, _, _ in table.due(NOON + MINUTE)] == ["new"]


def test_a_clock_that_was_wrong_by_years_blocks_nothing() -> None:
    table = timetable(job("0 13 * * *"), now=NOON.replace(year=2031))
    table.due(NOON.replace(year=2031, hour=14))

    assert moments(table, NOON) == []
    assert moments(table, NOON + timedelta(hours=1)) == [("13:00", 0)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-50, 200), max_size=30))
def test_however_the_clock_jumps_within_the_hour_each_moment_is_due_at_most_once_and_none_is_lost(jumps: list[int]) -> None:
    table = timetable(job("*/7 * * * *"))
    now = latest = NOON
    seen: list[datetime] = []
    passed = 0

    for jump in jumps:
        now = max(now + jump * MINUTE, latest - 59 * MINUTE)
        latest = max(now, latest)
        for _, moment, missed in table.due(now):
            seen.append(moment)
            passed += missed + 1

    assert seen == sorted(set(seen))
    assert passed == sum((NOON + number * MINUTE).minute % 7 == 0 for number in range(1, (latest - NOON) // MINUTE + 1))


@pytest.mark.parametrize(
    "schedules",
    [[f"{number % 60} {number // 60} * * *" for number in range(1000)], [f"1,{2 + number % 58} * * * *" for number in range(1000)]],
    ids=["through the day", "all in the same minute"],
)
def test_a_tick_of_a_thousand_jobs_takes_less_than_50_ms(schedules: list[str]) -> None:
    table = timetable(*(job(schedule, id=str(number)) for number, schedule in enumerate(schedules)))
    took = []

    for minutes in range(1, 31):
        began = time.thread_time()  # what others do on the machine meanwhile does not count
        table.due(NOON + minutes * MINUTE)
        took.append(time.thread_time() - began)

    assert statistics.median(took) < 0.05
    assert took[0] < 0.05  # the minute in which all are due
