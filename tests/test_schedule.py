"""When jobs are due: on days when clocks are changed, after a silence, in the quiet time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ductor_lib import config
from ductor_lib.automation.definitions import Hook, Job
from ductor_lib.automation.schedule import COUNTED, Due, bites, due, expression, instants, next_run, quiet, quiet_hours, runs, zone
from ductor_lib.errors import ConfigError

MINUTE = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday

# Clocks: Berlin +1 on 29 March 2026 2:00, -1 on 25 October 3:00. New York 8 March, 1 November. Sydney back on 5 April 3:00,
# forward on 4 October 2:00. Santiago back on 4 April 24:00, forward on 5 September 24:00. Lord Howe half an hour: back
# on 5 April 2:00, forward on 4 October 2:00. Kolkata never. Sao Paulo never since 2019; before, forward at midnight.
CHANGES = [
    # times that are skipped, and fixed: once, at the end of the gap
    ("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00", "29 03:00+02 · 30 02:30+02"),
    ("Europe/Berlin", "0,30 2 * * *", "2026-03-28 12:00", "29 03:00+02 · 30 02:00+02"),
    ("Europe/Berlin", "0 2,3 * * *", "2026-03-28 12:00", "29 03:00+02 · 30 02:00+02 · 30 03:00+02"),
    ("America/New_York", "30 2 * * *", "2026-03-07 12:00", "08 03:00-04 · 09 02:30-04"),
    ("Australia/Sydney", "30 2 * * *", "2026-10-03 12:00", "04 03:00+11 · 05 02:30+11"),
    ("America/Santiago", "30 0 * * *", "2026-09-05 12:00", "06 01:00-03 · 07 00:30-03"),
    ("America/Sao_Paulo", "0 0 * * *", "2018-11-03 12:00", "04 01:00-02 · 05 00:00-02"),
    ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00", "04 02:30+11 · 05 02:15+11"),
    # times that come twice, and fixed: once, the first time
    ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", "25 02:30+02 · 26 02:30+01"),
    ("America/New_York", "30 1 * * *", "2026-10-31 12:00", "01 01:30-04 · 02 01:30-05"),
    ("Australia/Sydney", "30 2 * * *", "2026-04-04 12:00", "05 02:30+11 · 06 02:30+10"),
    ("America/Santiago", "30 23 * * *", "2026-04-04 12:00", "04 23:30-03 · 05 23:30-04"),
    ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00", "05 01:45+11 · 06 01:45+1030"),
    # skipped, and with a star: they are not there, and the next is the next
    ("Europe/Berlin", "*/30 2 * * *", "2026-03-28 12:00", "30 02:00+02 · 30 02:30+02"),
    ("Europe/Berlin", "*/30 * * * *", "2026-03-29 01:00", "29 01:30+01 · 29 03:00+02 · 29 03:30+02"),
    ("Europe/Berlin", "0 */2 * * *", "2026-03-29 00:00", "29 04:00+02 · 29 06:00+02"),
    ("America/New_York", "15 * * * *", "2026-03-08 01:00", "08 01:15-05 · 08 03:15-04 · 08 04:15-04"),
    ("Australia/Sydney", "*/30 * * * *", "2026-10-04 01:00", "04 01:30+10 · 04 03:00+11 · 04 03:30+11"),
    ("America/Santiago", "*/30 * * * 0", "2026-09-05 12:00", "06 01:00-03 · 06 01:30-03"),
    ("America/Santiago", "*/30 1 * * 0", "2026-09-05 12:00", "06 01:00-03 · 06 01:30-03 · 13 01:00-03"),
    ("America/Sao_Paulo", "*/30 * * 11 *", "2018-11-03 23:00", "03 23:30-03 · 04 01:00-02 · 04 01:30-02"),
    ("Australia/Lord_Howe", "0 * * * *", "2026-10-04 00:30", "04 01:00+1030 · 04 03:00+11 · 04 04:00+11"),
    ("Australia/Lord_Howe", "*/15 3 * * *", "2026-10-03 12:00", "04 03:00+11 · 04 03:15+11 · 04 03:30+11"),
    # twice, and with a star: both times
    ("Europe/Berlin", "*/30 2 * * *", "2026-10-24 12:00", "25 02:00+02 · 25 02:30+02 · 25 02:00+01 · 25 02:30+01 · 26 02:00+01"),
    ("Europe/Berlin", "30 * * * *", "2026-10-25 01:00", "25 01:30+02 · 25 02:30+02 · 25 02:30+01 · 25 03:30+01"),
    ("America/New_York", "30 * * * *", "2026-11-01 00:40", "01 01:30-04 · 01 01:30-05 · 01 02:30-05"),
    ("Australia/Sydney", "0 */2 * * *", "2026-04-05 00:30", "05 02:00+11 · 05 02:00+10 · 05 04:00+10"),
    ("America/Santiago", "*/30 * * * 6", "2026-04-04 23:10", "04 23:30-03 · 04 23:00-04 · 04 23:30-04 · 11 00:00-04"),
    ("Australia/Lord_Howe", "*/15 * * * *", "2026-04-05 01:31", "05 01:45+11 · 05 01:30+1030 · 05 01:45+1030 · 05 02:00+1030"),
    # no change
    ("Asia/Kolkata", "30 2 * * *", "2026-03-28 12:00", "29 02:30+0530 · 30 02:30+0530"),
    ("Asia/Kolkata", "*/30 * * * *", "2026-10-25 01:40", "25 02:00+0530 · 25 02:30+0530 · 25 03:00+0530"),
    ("America/Sao_Paulo", "0 0 * * *", "2026-11-03 12:00", "04 00:00-03 · 05 00:00-03"),
    ("UTC", "30 2 * * *", "2026-03-28 12:00", "29 02:30+00 · 30 02:30+00"),
]


def shown(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%d %H:%M%z").removesuffix("00")


def job(schedule: str = "", **fields: object) -> Job:
    return Job(id="j", title="J", schedule=schedule, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "schedule", "after", "expected"), CHANGES, ids=[f"{row[0]} {row[1]} {row[2][5:10]}" for row in CHANGES])
def test_a_schedule_on_a_day_when_clocks_are_changed(name: str, schedule: str, after: str, expected: str) -> None:
    there = ZoneInfo(name)
    start = datetime.fromisoformat(after).replace(tzinfo=there)

    coming = [shown(moment, there) for moment in islice(runs(schedule, start, there), expected.count("·") + 1)]

    assert " · ".join(coming) == expected


def test_the_table_of_the_page_is_what_happens() -> None:
    page = (Path(__file__).parent.parent / "docs/modules/cron.md").read_text(encoding="utf-8")
    table = page.partition("<!-- clocks -->\n")[2].partition("<!-- end -->")[0].splitlines()[2:]

    for schedule, name, after, documented in ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in table):
        there = ZoneInfo(name)
        start = datetime.fromisoformat(after).replace(tzinfo=there)
        assert documented == ", ".join(shown(moment, there) for moment in islice(runs(schedule, start, there), documented.count(",") + 1))

    assert len(table) == 10


@pytest.mark.parametrize(
    ("name", "schedule", "after", "ours", "its"),
    [
        ("America/Santiago", "*/30 1 * * 0", "2026-09-05 12:00", "06 01:00-03", "13 01:00-03"),
        ("Australia/Lord_Howe", "*/15 3 * * *", "2026-10-03 12:00", "04 03:00+11", "04 03:30+11"),
        ("Australia/Lord_Howe", "*/15 3 * * *", "2026-04-04 12:00", "05 03:00+1030", "05 03:30+1030"),
    ],
)
def test_cronsim_alone_would_lose_runs(name: str, schedule: str, after: str, ours: str, its: str) -> None:
    """Why `runs` goes from change to change by itself. If this fails, cronsim has become better than that."""
    there = ZoneInfo(name)
    start = datetime.fromisoformat(after).replace(tzinfo=there)

    assert shown(next(runs(schedule, start, there)), there) == ours
    assert shown(next(CronSim(schedule, start)).astimezone(UTC), there) == its


@pytest.mark.parametrize("hour", ["2", "2,3", "1-3"])
def test_looking_from_within_the_second_of_two_equal_hours_never_leads_back(hour: str) -> None:
    second = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)

    moment = next_run(job(f"30 {hour} * * *"), second, BERLIN)

    assert moment
    assert moment > second.astimezone(UTC)


# Half-hour steps, so that a window of three days can be counted out minute by minute.
MINUTES = st.sampled_from(["0", "30", "15,45", "*", "*/15", "0-10", "59"])
HOURS = st.sampled_from(["0", "1", "2", "1-3", "*", "*/2", "23", "0,2", "3"])
DAYS = st.sampled_from(["* * *", "* * 0", "* 3,4,9,10 *", "1-7 * *"])
MOMENTS = st.sampled_from(
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 1)), ("Europe/Berlin", datetime(2026, 10, 25, 1)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15)), ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30)),
        ("America/Santiago", datetime(2026, 4, 5, 3)), ("America/Santiago", datetime(2026, 9, 6, 4)),
        ("America/Sao_Paulo", datetime(2018, 11, 4, 3)), ("Asia/Kolkata", datetime(2026, 5, 1)),
    ]
)  # fmt: skip


def matches(schedule: str, wall: datetime) -> bool:
    return next(CronSim(schedule, wall - timedelta(seconds=1))) == wall


def counted_out(schedule: str, start: datetime, end: datetime, there: ZoneInfo) -> list[datetime]:
    """The same as `runs`, the slow way: look at the clock in every minute."""
    fixed = not any(field.startswith("*") for field in schedule.split()[:2])
    found, moment, before = [], start, start.astimezone(there).replace(tzinfo=None)
    while (moment := moment + MINUTE) <= end:
        local = moment.astimezone(there)
        wall = local.replace(tzinfo=None)
        walls = [before + MINUTE * number for number in range(1, (wall - before) // MINUTE)] if fixed else []
        if any(matches(schedule, each) for each in [*walls, wall]) and not (fixed and local.fold):
            found.append(moment)
        before = wall
    return found


@settings(max_examples=50, deadline=None)
@given(MINUTES, HOURS, DAYS, MOMENTS, st.integers(-600, 0))
def test_runs_are_those_that_somebody_would_count_who_looks_at_the_clock(
    minute: str, hour: str, days: str, change: tuple[str, datetime], offset: int
) -> None:
    name, around = change
    schedule, there = f"{minute} {hour} {days}", ZoneInfo(name)
    start = around.replace(tzinfo=UTC) + offset * MINUTE
    end = start + timedelta(hours=11)

    found = list(takewhile(lambda moment: moment <= end, runs(schedule, start, there)))

    assert found == counted_out(schedule, start, end, there)


@given(MINUTES, HOURS, DAYS, MOMENTS, st.floats(-1e7, 1e7))
@settings(deadline=None)
def test_the_next_run_is_strictly_after_and_a_whole_minute(
    minute: str, hour: str, days: str, change: tuple[str, datetime], seconds: float
) -> None:
    after = change[1].replace(tzinfo=UTC) + timedelta(seconds=seconds)

    moment = next_run(job(f"{minute} {hour} {days}"), after, ZoneInfo(change[0]))

    assert moment
    assert moment > after
    assert (moment.second, moment.microsecond, moment.tzinfo) == (0, 0, UTC)


@settings(max_examples=60, deadline=None)
@given(MINUTES, HOURS, MOMENTS, st.lists(st.integers(1, 2000), min_size=1, max_size=5))
def test_looked_at_piece_by_piece_no_run_is_due_twice_or_never(
    minute: str, hour: str, change: tuple[str, datetime], steps: list[int]
) -> None:
    there, start = ZoneInfo(change[0]), change[1].replace(tzinfo=UTC) - timedelta(hours=8)
    task, total = job(f"{minute} {hour} * * *"), 0
    since = start

    for step in steps:
        found = due(task, since, since + step * MINUTE, there)
        total += found.missed + 1 if found else 0
        since += step * MINUTE

    assume(total < COUNTED)
    assert total == len(list(takewhile(lambda moment: moment <= since, runs(task.schedule, start, there))))


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-03-02 08:59:59", "2026-03-02 09:00:00", Due(datetime(2026, 3, 2, 9, tzinfo=UTC), 0)),
        ("2026-03-02 09:00:00", "2026-03-02 09:00:30", None),
        ("2026-03-01 08:00:00", "2026-03-04 10:00:00", Due(datetime(2026, 3, 4, 9, tzinfo=UTC), 3)),
        ("2026-03-02 10:00:00", "2026-03-02 09:30:00", None),
    ],
)
def test_due_is_the_last_moment_of_a_span_and_counts_those_before(since: str, until: str, expected: Due | None) -> None:
    start, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until))

    assert due(job("0 9 * * *"), start, end, ZoneInfo("UTC")) == expected


@pytest.mark.parametrize("schedule", ["* * * * *", "* 3 1 1 *"])
def test_after_ten_years_of_silence_the_last_moment_is_found_and_the_others_are_counted_up_to_a_limit(schedule: str) -> None:
    until = datetime(2036, 1, 1, 3, 20, 30, tzinfo=UTC)
    long = until - timedelta(days=40 * 366)

    assert due(job(schedule), long, until, ZoneInfo("UTC")) == Due(until.replace(second=0), COUNTED)


def test_a_single_moment_is_due_once_and_then_never() -> None:
    reminder = job(at="2026-03-02T13:00:00+01:00")
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)

    assert next_run(reminder, noon - MINUTE, BERLIN) == noon
    assert due(reminder, noon - MINUTE, noon + MINUTE, BERLIN) == Due(noon, 0)
    assert next_run(reminder, noon, BERLIN) is None
    assert due(reminder, noon, noon + MINUTE, BERLIN) is None
    assert due(reminder, noon - 2 * MINUTE, noon - MINUTE, BERLIN) is None


@pytest.mark.parametrize("schedule", ["0 0 */31 2 1#5", "0 0 */30 2 1#5"])
def test_a_day_that_never_comes_has_no_next_run(schedule: str) -> None:
    assert next_run(job(schedule), NOW, BERLIN) is None
    assert due(job(schedule), NOW, NOW + timedelta(days=999), BERLIN) is None


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "x * * * *", "9" * 5000 + " * * * *", "@daily"])
def test_what_is_no_expression_of_five_fields_is_refused(text: str) -> None:
    with pytest.raises(CronSimError):
        expression(text)


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        ("2026-03-02 12:00", ("11:00",)),
        ("2026-03-29 02:30", ("01:00",)),  # the end of the gap: 3:00 in Berlin
        ("2026-10-25 02:30", ("00:30", "01:30")),
    ],
)
def test_what_clocks_show_is_one_moment_or_two_or_the_end_of_a_gap(wall: str, expected: tuple[str, ...]) -> None:
    found = instants(datetime.fromisoformat(wall), BERLIN)

    assert tuple(moment.strftime("%H:%M") for moment in found) == expected


# ── zones and the quiet time ────────────────────────────────────────────────────────────────────────────────────────


def test_the_zone_is_the_jobs_own_else_the_users() -> None:
    mine = config.defaults(user_timezone="Asia/Kolkata")

    assert zone(job(timezone="America/Santiago"), mine).key == "America/Santiago"
    assert zone(job(), mine).key == "Asia/Kolkata"
    with pytest.raises(ConfigError):
        zone(job(timezone="Europe/Atlantis"), mine)


@given(st.integers(0, 23), st.integers(0, 23), st.integers(0, 23))
def test_the_quiet_time_goes_from_one_hour_to_the_other_over_midnight_too(start: int, end: int, hour: int) -> None:
    silent = {(start + number) % 24 for number in range((end - start) % 24)}

    assert quiet(start, end, datetime(2026, 3, 2, hour, 59, tzinfo=UTC)) == (hour in silent)


def test_the_quiet_time_is_the_own_one_else_that_of_a_heartbeat_that_is_enabled() -> None:
    off = config.defaults()
    on = config.defaults(heartbeat={"enabled": True, "quiet_start": 20, "quiet_end": 7})

    assert quiet_hours(job("0 9 * * *"), off) is None
    assert quiet_hours(job("0 9 * * *"), on) == (20, 7)
    assert quiet_hours(job("0 9 * * *", quiet_start=1, quiet_end=2), on) == (1, 2)
    assert quiet_hours(Hook(id="h", title="H"), on) == (20, 7)


@pytest.mark.parametrize("fields", [{"at": "2026-03-02T23:00:00Z"}, {"schedule": "0 23 * * *", "message": "Sleep"}])
def test_what_was_asked_for_at_a_moment_knows_no_quiet_time(fields: dict[str, object]) -> None:
    settings = config.defaults(heartbeat={"enabled": True})

    assert quiet_hours(job(quiet_start=0, quiet_end=23, **fields), settings) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "fields", "expected"),
    [
        ("0 23 * * *", {},
         "Every run falls into the heartbeat's quiet time, which holds for jobs without their own, 21–8, so it will never run."),
        ("0 23 * * *", {"quiet_start": 22, "quiet_end": 6}, "Every run falls into the quiet time 22–6, so it will never run."),
        ("0 */4 * * *", {"quiet_start": 22, "quiet_end": 3},
         "4 of the next 20 runs fall into the quiet time 22–3 and will be skipped."),
        ("*/2 20-22 * * *", {"quiet_start": 13, "quiet_end": 22},
         "20 of the next 20 runs fall into the quiet time 13–22 and will be skipped."),
        ("0 9 * * *", {}, ""), ("0 23 * * *", {"quiet_start": 0, "quiet_end": 0}, ""), ("", {"at": "2026-03-02T23:00:00Z"}, ""),
    ],
)  # fmt: skip
def test_one_sentence_says_how_the_quiet_time_bites(schedule: str, fields: dict[str, object], expected: str) -> None:
    settings = config.defaults(user_timezone="UTC", heartbeat={"enabled": True})
    evening = datetime(2026, 3, 2, 19, 59, tzinfo=UTC)

    assert bites(job(schedule, **fields), settings, evening) == expected
