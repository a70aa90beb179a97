"""When jobs are due: pure functions of a job and moments. Every moment is aware; those given out are in UTC.

UTC, because Python compares two moments of one zone by their wall clocks, and these lie in a doubled hour.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ductor_lib import config
from ductor_lib.automation.definitions import Job, Task
from ductor_lib.config_keys import Settings

COUNTED = 1000  # missed runs are counted up to here: after a year of silence nobody needs 525,600
LOOKED_AT = 20  # next runs that are held against the quiet time
SECOND = timedelta(seconds=1)
WEEK = timedelta(days=7)  # shorter than any zone keeps an offset


@dataclass(frozen=True, slots=True)
class Due:
    """The last scheduled moment of a span, and how many others of the span lie before it (at most COUNTED)."""

    moment: datetime
    missed: int


def zone(job: Job, settings: Settings) -> ZoneInfo:
    """Whose clock the job follows: its own zone, else the user's as `config.timezone` finds it. Raises ConfigError."""
    return config.timezone(replace(settings, user_timezone=job.timezone) if job.timezone else settings)


@lru_cache(maxsize=4096)
def expression(text: str) -> CronSim:
    """A cron expression of five fields, parsed by cronsim; not to be iterated. Raises CronSimError naming the field.

    cronsim would take a sixth field for seconds; runs are known by their minute, so there is none here.
    """
    if len(text.split()) != 5:
        raise CronSimError("Wrong number of fields")
    try:
        return CronSim(text, datetime(2000, 1, 1))  # without a zone: the zone is our business, see runs()
    except ValueError as error:  # a number of thousands of digits
        raise CronSimError(str(error)) from None


def runs(schedule: str, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Every moment of a cron expression strictly after `after`, in order. Ends when fifty years have none.

    As in Debian's cron, a schedule of fixed times (minute and hour begin with no `*`) runs once for each of its times:
    at the end of the gap when the clock skips it, the first time when the clock shows it twice. Any other follows the
    wall clock as it goes. cronsim alone loses whole runs of the latter where a gap is at midnight or of half an hour.
    """
    minute, hour = schedule.split()[:2]
    fixed = not minute.startswith("*") and not hour.startswith("*")
    return (_fixed if fixed else _running)(schedule, after.astimezone(UTC), zone)


def next_run(job: Job, after: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment strictly after `after` at which the job is due; None when there is none. Ignores `enabled`."""
    if job.at:
        at = datetime.fromisoformat(job.at).astimezone(UTC)
        return at if at > after else None
    return _first_run(job.schedule, after, zone)


def due(job: Job, since: datetime, until: datetime, zone: ZoneInfo) -> Due | None:
    """The last moment in (since, until] at which the job is due; None when there is none. Ignores `enabled`."""
    if job.at:
        at = next_run(job, since, zone)
        return Due(at, 0) if at and at <= until else None
    first = list(islice(_between(job.schedule, since, until, zone), COUNTED + 1))
    if len(first) <= COUNTED:
        return Due(first[-1], len(first) - 1) if first else None
    window = timedelta(hours=1)
    while not (last := list(_between(job.schedule, until - window, until, zone))):
        window *= 2
    return Due(last[-1], COUNTED)


def quiet(start: int, end: int, moment: datetime) -> bool:
    """Whether the hour of `moment`, by its own zone, lies in [start, end); 21-8 goes over midnight, 8-8 is no time at all."""
    hour = moment.hour
    return start <= hour < end if start <= end else hour >= start or hour < end


def quiet_hours(task: Task, settings: Settings) -> tuple[int, int] | None:
    """The quiet time that holds for scheduled runs: its own, else the heartbeat's while that is enabled, else None.

    None for what was asked for at one moment: `at` and reminders. Runs that a person begins by hand do not ask here.
    """
    if isinstance(task, Job) and (task.at or task.message):
        return None
    if task.quiet_start is not None and task.quiet_end is not None:
        return task.quiet_start, task.quiet_end
    return (settings.heartbeat.quiet_start, settings.heartbeat.quiet_end) if settings.heartbeat.enabled else None


def bites(job: Job, settings: Settings, now: datetime) -> str:
    """One sentence on the next runs that fall into the quiet time; "" when none of the next LOOKED_AT does."""
    hours = quiet_hours(job, settings)
    if hours is None:
        return ""
    clock = zone(job, settings)
    coming = list(islice(runs(job.schedule, now, clock), LOOKED_AT))
    silent = sum(quiet(*hours, moment.astimezone(clock)) for moment in coming)
    if not silent:
        return ""
    own = "the quiet time" if job.quiet_start is not None else "the heartbeat's quiet time, which holds for jobs without their own,"
    span = f"{own} {hours[0]}–{hours[1]}"
    if all(quiet(*hours, datetime(2000, 1, 1, hour)) for hour in expression(job.schedule).hours):
        return f"Every run falls into {span}, so it will never run."
    return f"{silent} of the next {len(coming)} runs fall into {span} and will be skipped."


def instants(wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The moments, in order, at which clocks of the zone show `wall` (naive): two in a doubled hour.

    For a time that the clocks skip it is the one at which they go on, the end of the gap.
    """
    early, late = sorted(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return (early,) if early == late else (early, late)
    return (_bisect(early, late, zone),)


@lru_cache(maxsize=4096)  # many jobs have the same times, and are due in the same minute
def _first_run(schedule: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    return next(runs(schedule, after, zone), None)


def _fixed(schedule: str, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    for wall in _walls(schedule, after.astimezone(zone).replace(tzinfo=None)):
        moment = instants(wall, zone)[0]
        if moment > after:  # not when several times of one gap meet at its end, nor for the second half of a doubled hour
            yield moment
            after = moment


def _running(schedule: str, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Span by span between two changes of the zone's offset: within one, the wall clock is a straight line."""
    start = after.astimezone(zone).replace(tzinfo=None)
    while True:
        offset = _offset(after, zone)
        for wall in _walls(schedule, start):
            moment = (wall - offset).replace(tzinfo=UTC)
            change = _first_change(after, moment, zone)
            if change:
                break
            yield moment
            after = moment
        else:
            return
        after = change
        start = change.astimezone(zone).replace(tzinfo=None) - SECOND  # the moment of the change itself counts


def _between(schedule: str, since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    return takewhile(lambda moment: moment <= until, runs(schedule, since, zone))


def _walls(schedule: str, after: datetime) -> Iterator[datetime]:
    """What clocks show at each run, strictly after `after`, where no clock is ever changed. All naive."""
    simulation = copy.copy(expression(schedule))  # shares what was parsed, which iterating only reads
    simulation.dt = after.replace(microsecond=0, fold=0)
    return simulation


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _first_change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment in (start, end] at which the zone has another offset than before; None when it keeps it."""
    while start < end:
        step = min(start + WEEK, end)
        if _offset(step, zone) != _offset(start, zone):
            return _bisect(start, step, zone)
        start = step
    return None


def _bisect(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The moment of the change, to the second, between two moments of different offsets."""
    before = _offset(start, zone)
    start = start.replace(microsecond=0)
    while end - start > SECOND:
        middle = start + timedelta(seconds=(end - start) // SECOND // 2)
        start, end = (middle, end) if _offset(middle, zone) == before else (start, middle)
    return end
