"""Which jobs are due now: the next run of each is computed once and only compared until it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ductor_lib.automation.definitions import Job
from ductor_lib.automation.schedule import Due, due, next_run

SET_BACK = timedelta(hours=1)  # a clock that goes back less than this repeats minutes; one that goes back more was wrong
INSTANT = timedelta(microseconds=1)
EVER = datetime.fromtimestamp(0, UTC)  # for what is due once: whether it was is known by its key


@dataclass(slots=True)
class _Row:
    job: Job
    zone: ZoneInfo
    next: datetime | None


class Timetable:
    """The enabled jobs with their next runs. For one thread. All moments are aware; those given out are in UTC.

    `now` is where it begins: nothing before it is ever due but what is due only once. `zone_of` is asked once for each schedule of a job.
    """

    def __init__(self, zone_of: Callable[[Job], ZoneInfo], now: datetime) -> None:
        self._zone_of = zone_of
        self._now = now
        self._latest = now  # of all moments we were told
        self._rows: dict[str, _Row] = {}

    def update(self, jobs: Iterable[Job]) -> None:
        """Take these jobs instead of those before. One whose times were not edited keeps its next run.

        The others count from the last `due`, so that an edit between two ticks swallows no run.
        """
        self._rows = {job.id: self._row(job) for job in jobs if job.enabled}

    def due(self, now: datetime) -> list[tuple[Job, datetime, int]]:
        """Each job that became due since the last call: its last moment up to `now`, and how many others before that.

        After a suspend or a clock set forward one call returns them all; a moment far behind `now` was missed too.
        While a clock that was set back by up to an hour catches up nothing is due, as all of it was. After a longer way
        back everything is computed anew; what then comes a second time is known by its minute in the ledger.
        """
        if now < self._latest - SET_BACK:
            self._latest = now
            for row in self._rows.values():
                row.next = next_run(row.job, now, row.zone)
        self._now, self._latest = now, max(now, self._latest)
        found = []
        for row in self._rows.values():
            if row.next and row.next <= now:
                last = _take(row, row.next, now)
                found.append((row.job, last.moment, last.missed))
        return found

    def _row(self, job: Job) -> _Row:
        known = self._rows.get(job.id)
        if known and times(known.job) == times(job):
            return _Row(job, known.zone, known.next)
        zone = self._zone_of(job)
        since = EVER if job.at else self._now  # a moment written into the file may have passed before somebody looked
        return _Row(job, zone, next_run(job, since, zone))


def times(job: Job) -> tuple[str, str, str]:
    """What decides about a job's times."""
    return job.schedule, job.at, job.timezone


def _take(row: _Row, first: datetime, now: datetime) -> Due:
    """What is due from `first` to `now`; the row then waits for what comes after."""
    row.next = next_run(row.job, first, row.zone)
    if not row.next or row.next > now:  # the usual tick: one run, one look ahead
        return Due(first, 0)
    row.next = next_run(row.job, now, row.zone)
    return due(row.job, first - INSTANT, now, row.zone) or Due(first, 0)
