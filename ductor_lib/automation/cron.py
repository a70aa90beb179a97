"""Put jobs into the queue when they are due: at most once for each minute, and nothing that was due is forgotten silently."""

from __future__ import annotations

import logging
import queue
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ductor_lib.automation import schedule
from ductor_lib.automation.books import JobBook
from ductor_lib.automation.definitions import Job, Task
from ductor_lib.automation.timetable import EVER, Timetable
from ductor_lib.config import Settings
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Order, Run
from ductor_lib.orchestrator.words import plain

LATE = 90.0  # seconds behind its moment from which on a run counts as missed: the machine slept, or ductor did not run
MOST_OWED = 1_000  # runs that wait for room on the disk
NOTED = 20.0  # seconds after which it is noted again until when the clock was watched
NOW = "now"  # in the key of a run that a person asked for

log = logging.getLogger(__name__)


def as_it_is(chat: Chat) -> Chat | None:
    """The place of a chat where no group has ever moved and nobody has left the allow-list."""
    return chat


class Cron:
    """`catch_up` once and `tick` every second belong to the scheduler's thread, `run_now` to any.

    What is put into `released` runs in its lane. `place` is as for `order`. `now` is in unix seconds.
    """

    def __init__(
        self, settings: Settings, book: JobBook, ledger: Ledger, released: queue.SimpleQueue[Incoming | None], *,
        place: Callable[[Chat], Chat | None] = as_it_is, now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._book = book
        self._ledger = ledger
        self._released = released
        self._place = place
        self._now = now
        self._timetable = Timetable(self._zone, self._moment())
        self._watched = EVER
        self._owed: list[tuple[Job, datetime, int]] = []  # what the disk refused; only the scheduler's thread looks at it

    def catch_up(self) -> None:
        """What was due while ductor did not run: made up once where the job says so, and always what is due only once."""
        known = self._ledger.runs.last_due("job", besides=f"job:%:{NOW}:%")
        now, watched = self._moment(), datetime.fromtimestamp(self._ledger.runs.watched(), UTC)
        for job in self._book.all():
            since = EVER if job.at else latest(known.get(job.id), created(job))
            if since and not job.at:  # while it was watched it was switched off or had other times, if it did not run
                since = max(since, watched)
            found = schedule.due(job, min(since, now), now, self._zone(job)) if job.enabled and since else None
            if found:
                self._take(job, found.moment, found.missed)

    def tick(self) -> None:
        """Queue what has become due since the last tick, and what the disk refused before."""
        self._timetable.update(self._book.all())
        owed, self._owed = self._owed, []
        for job, moment, missed in owed:
            self._take(job, moment, missed, level=logging.DEBUG)  # said already, and this comes every second
        now = self._moment()
        for job, moment, missed in self._timetable.due(now):
            self._take(job, moment, missed)
        if not self._owed and abs((now - self._watched).total_seconds()) >= NOTED:
            self._watched = now
            self._ledger.runs.watch(now.timestamp())

    def run_now(self, job: Job) -> int:
        """Queue a job because a person asked for it; the number of its run. Quiet hours do not count."""
        moment = self._moment()
        return self._queue(job, moment, f"job:{job.id}:{NOW}:{moment.isoformat()}")

    def next_run(self, job: Job) -> datetime | None:
        """The next moment of a job, in its own time zone; None when it will not run."""
        zone = self._zone(job)
        found = schedule.next_run(job, self._moment(), zone) if job.enabled else None
        return found.astimezone(zone) if found else None

    def _take(self, job: Job, moment: datetime, missed: int, *, level: int = logging.ERROR) -> None:
        """Queue one job; what is wrong with it keeps no other from its time."""
        try:
            self._due(job, moment, missed)
        except DuctorError as error:  # the user's file cannot be changed just now; the row in the ledger counts
            log.warning("job not marked as done job=%s reason=%s", job.id, error)
        except (sqlite3.Error, OSError) as error:
            if len(self._owed) < MOST_OWED:
                self._owed.append((job, moment, missed))  # its key keeps it from running twice
            log.log(level, "job not queued yet job=%s reason=%s", job.id, error)

    def _due(self, job: Job, moment: datetime, missed: int) -> None:
        late = self._now() - moment.timestamp() > LATE
        key = f"job:{job.id}:{moment.astimezone(UTC).isoformat(timespec='minutes')}"
        if missed or late:
            log.info("job missed job=%s runs=%d", job.id, missed + late)
        if reason := self._skipped(job, moment, late=late):
            self._ledger.runs.add(Run(key, "job", job.id, job.title, self._order(job).pack(), moment.timestamp(), reason))
            return
        self._queue(job, moment, key)
        if job.at:
            self._done_with(job)

    def _skipped(self, job: Job, moment: datetime, *, late: bool) -> str:
        """The status of a run that is not to be, "" when it is."""
        if job.at:
            return ""
        if late and job.missed != "once":
            return "skipped:missed"
        quiet = schedule.quiet_hours(job, self._settings)
        if quiet and schedule.quiet(*quiet, moment.astimezone(self._zone(job))):
            return "skipped:quiet_hours"
        return "skipped:still_running" if job.id in self._ledger.runs.open("job") else ""

    def _queue(self, job: Job, moment: datetime, key: str) -> int:
        wanted = self._order(job)
        first = wanted.places[0]
        run = Run(key, "job", job.id, job.title, wanted.pack(), moment.timestamp())
        if job.message and not job.ask:
            said = Run(key, "job", job.id, job.title, run.task, run.due, "success", job.message)
            words = f"⏰ {plain(job.message)}"
            replies = [Reply(chat, words, slot=reminder_of(job.id), fresh=True, closing=True) for chat in wanted.places]
            number, _ = self._ledger.runs.add(said, replies=replies)
            return number
        if job.ask:
            item = Incoming(key, first, job.message, kind="wake", sent_at=self._now())
        else:
            item = Incoming(key, first, job.agent_instruction, kind="task", task=job.queue, sent_at=self._now())
        number, stored = self._ledger.runs.add(run, [item])
        for one in stored:
            log.info("job queued job=%s run=%d", job.id, number)
            self._released.put(one)
        return number

    def _done_with(self, job: Job) -> None:
        """A job that is due only once: a reminder goes, another one is kept, disabled, with its result."""
        if job.message:
            self._book.remove(job.id)
        else:
            self._book.edit(job.id, {"enabled": False})

    def _order(self, job: Job) -> Order:
        return order(job, self._settings, self._place)

    def _zone(self, job: Job) -> ZoneInfo:
        return schedule.zone(job, self._settings)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)


def reminder_of(job: str) -> str:
    """The place of a reminder's confirmation, which the reminder itself takes."""
    return f"remind:{job}"


def order(task: Task, settings: Settings, place: Callable[[Chat], Chat | None]) -> Order:
    """How a job or hook is to be run, fixed now. Without a chat of its own it reports to every allowed user.

    `place` says where a chat is now, or None when it is not on the allow-list (any more): then, too, it is every allowed user.
    """
    own = place(task.chat) if task.chat else None
    if task.chat and not own:
        log.warning("chat not on the allow-list, all allowed users get the result id=%s chat=%d", task.id, task.chat.id)
    chats = (own,) if own else tuple(map(Chat, settings.allowed_user_ids))
    return Order(
        folder=task.task_folder, provider=task.provider, model=task.model, effort=task.reasoning_effort, parameters=task.cli_parameters,
        chats=tuple(chat.lane for chat in chats), silent_when=task.silent_when, into_session=task.into_session,
    )


def created(job: Job) -> datetime | None:
    """When a job was made; None when its file does not say so."""
    if not job.created_at:
        return None
    moment = datetime.fromisoformat(job.created_at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def latest(due: float | None, made: datetime | None) -> datetime | None:
    """Since when runs may have been missed: the last one that is known (unix seconds), or the making of the job if that is later."""
    if due is None:
        return made
    ran = datetime.fromtimestamp(due, UTC)
    return max(ran, made) if made else ran
