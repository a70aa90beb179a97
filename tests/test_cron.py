"""Jobs are queued at their moment: once each, whoever looks at the clock and how often, and what was missed is not forgotten."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ductor_lib.automation.books import JobBook
from ductor_lib.automation.cron import Cron
from ductor_lib.automation.definitions import Job
from ductor_lib.config import Settings, defaults
from ductor_lib.messages import Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Order
from tests.automation import drained

OWNER, PARTNER = 42, 43
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOURLY = "0 * * * *"


@dataclass
class World:
    """A folder with jobs, a ledger and a clock that stands still until it is set. `start` is what the program does at its start."""

    folder: Path
    stack: ExitStack
    settings: Settings
    now: datetime = NOON
    released: queue.SimpleQueue[Incoming | None] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.book = JobBook(self.folder / "cron_jobs.json", now=lambda: self.now)
        self.ledger = self.another_ledger()
        self.cron = Cron(self.settings, self.book, self.ledger, self.released, now=self.clock)

    def clock(self) -> float:
        return self.now.timestamp()

    def another_ledger(self) -> Ledger:
        """As another program has it: its own connection to the same file."""
        ledger = Ledger(self.folder / "ledger.db", now=self.clock)
        self.stack.callback(ledger.close)
        return ledger

    def start(self, **settings: object) -> None:
        """Start anew, as after a crash: what was in memory is gone, and so is what was not taken from the queue."""
        self.settings = defaults(**{"allowed_user_ids": (OWNER, PARTNER), "user_timezone": "UTC", **settings})  # type: ignore[arg-type]
        self.released = queue.SimpleQueue()
        self.__post_init__()
        self.cron.catch_up()

    def at(self, moment: datetime) -> list[str]:
        """Look at the clock at that moment, twice; the keys of what was queued."""
        self.now = moment
        self.cron.tick()
        self.cron.tick()
        return self.queued()

    def items(self) -> list[Incoming]:
        return drained(self.released)

    def queued(self) -> list[str]:
        return [item.key for item in self.items()]

    def add(self, id: str = "report", **fields: object) -> Job:
        work = {} if "message" in fields else {"task_folder": "work", "agent_instruction": "do it"}
        return self.book.add(Job(**{"id": id, "title": id.title(), **work, **fields}))  # type: ignore[arg-type]

    def end(self, status: str = "success") -> None:
        """End everything that was queued."""
        for item in self.ledger.recover()[1]:
            self.ledger.begin(item.id)
            self.ledger.finish(item.id, result=(status, ""))

    def statuses(self, id: str = "report") -> list[str]:
        """Of all runs of a job, in order."""
        return [run.status for run in reversed(self.ledger.runs.history("job", id))]

    def said(self) -> list[tuple[int, str]]:
        return [(outgoing.reply.chat.id, outgoing.reply.text) for outgoing in self.ledger.outbox.unsent()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        world = World(tmp_path, stack, defaults(allowed_user_ids=(OWNER, PARTNER), user_timezone="UTC"))
        world.cron.catch_up()
        yield world


def key(moment: datetime, id: str = "report") -> str:
    return f"job:{id}:{moment.isoformat(timespec='minutes')}"


# ── at most once ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_queued_once_in_its_minute_however_often_the_clock_is_looked_at(world: World) -> None:
    world.add(schedule=HOURLY)

    seconds = [world.at(NOON + HOUR + timedelta(seconds=second)) for second in range(-2, 61)]

    assert [found for found in seconds if found] == [[key(NOON + HOUR)]]
    assert seconds[2] == [key(NOON + HOUR)]


def test_a_restart_in_the_minute_of_a_job_does_not_queue_it_again(world: World) -> None:
    world.add(schedule=HOURLY, missed="once")
    assert world.at(NOON + HOUR) == [key(NOON + HOUR)]

    world.now += timedelta(seconds=20)
    world.start()

    assert world.queued() == []
    assert world.at(world.now + timedelta(seconds=20)) == []
    assert world.statuses() == [""]


def test_two_schedulers_on_one_ledger_queue_each_minute_once(world: World) -> None:
    world.add("one", schedule="* * * * *")
    world.add("two", schedule="*/2 * * * *")
    others = [Cron(world.settings, world.book, world.another_ledger(), world.released, now=world.clock) for _ in range(3)]

    for minute in range(1, 11):
        world.now = NOON + minute * MINUTE
        threads = [threading.Thread(target=cron.tick) for cron in (world.cron, *others)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        world.end()

    ones = [key(NOON + minute * MINUTE, "one") for minute in range(1, 11)]
    twos = [key(NOON + minute * MINUTE, "two") for minute in range(2, 11, 2)]
    assert sorted(world.queued()) == sorted(ones + twos)
    assert world.statuses("one") == ["success"] * 10


def test_the_row_is_on_disk_before_the_run_can_begin(world: World) -> None:
    world.add(schedule=HOURLY)
    world.at(NOON + HOUR)

    waiting = world.another_ledger().recover()[1]

    assert [item.key for item in waiting] == [key(NOON + HOUR)]
    run = world.ledger.runs.get(waiting[0].run)
    assert run is not None
    assert (run.source, run.name, run.due, run.status) == ("job", "report", (NOON + HOUR).timestamp(), "")


def test_a_disabled_job_is_not_queued_by_the_clock_but_by_hand(world: World) -> None:
    job = world.add(schedule=HOURLY, enabled=False)

    assert world.at(NOON + HOUR) == []
    world.cron.run_now(job)

    assert len(world.queued()) == 1


def test_a_job_whose_last_run_has_not_ended_is_skipped_and_comes_the_next_time(world: World) -> None:
    world.add(schedule=HOURLY)
    assert world.at(NOON + HOUR) == [key(NOON + HOUR)]

    assert world.at(NOON + 2 * HOUR) == []
    assert world.statuses() == ["", "skipped:still_running"]
    world.end()
    assert world.at(NOON + 3 * HOUR) == [key(NOON + 3 * HOUR)]


# ── what was missed ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("missed", "status", "queued"), [("skip", "skipped:missed", []), ("once", "", [key(NOON + 5 * HOUR)])])
def test_runs_missed_while_the_program_was_down_are_skipped_or_made_up_once(
    world: World, missed: str, status: str, queued: list[str]
) -> None:
    world.add(schedule=HOURLY, missed=missed)
    assert world.at(NOON + HOUR) == [key(NOON + HOUR)]
    world.end()

    world.now = NOON + 5.5 * HOUR
    world.start()
    made_up = world.queued()
    world.start()

    assert made_up == queued
    assert world.queued() == []
    assert world.statuses() == ["success", status]
    world.end()
    assert world.at(NOON + 6 * HOUR) == [key(NOON + 6 * HOUR)]


@pytest.mark.parametrize(("missed", "status"), [("skip", "skipped:missed"), ("once", "")])
def test_runs_missed_while_the_machine_slept_are_treated_alike(world: World, missed: str, status: str) -> None:
    world.add(schedule=HOURLY, missed=missed)
    world.at(NOON)

    queued = world.at(NOON + 5.5 * HOUR)

    assert queued == ([key(NOON + 5 * HOUR)] if missed == "once" else [])
    assert world.statuses() == [status]


def test_a_start_within_the_minute_of_a_job_runs_it_also_when_others_were_missed(world: World) -> None:
    world.add(schedule="* * * * *")
    world.at(NOON)

    world.now = NOON + 10 * MINUTE + timedelta(seconds=30)
    world.start()

    assert world.queued() == [key(NOON + 10 * MINUTE)]


def test_a_run_by_hand_does_not_stand_for_the_one_that_was_missed(world: World) -> None:
    job = world.add(schedule=HOURLY, missed="once")

    world.now = NOON + 1.5 * HOUR
    world.cron.run_now(job)
    world.end()
    world.start()

    assert world.queued() == [key(NOON + HOUR)]


def test_a_job_missed_nothing_before_it_was_made(world: World) -> None:
    world.add(schedule=HOURLY, missed="once")
    world.at(NOON + HOUR)
    world.end()
    world.book.remove("report")
    world.now = NOON + 3.2 * HOUR
    world.add(schedule=HOURLY, missed="once")

    world.now = NOON + 3.5 * HOUR
    world.start()

    assert world.queued() == []


def test_a_job_written_by_hand_without_a_date_misses_nothing_before_its_first_run(world: World) -> None:
    entry = {"id": "report", "title": "Report", "schedule": HOURLY, "missed": "once", "task_folder": "work", "agent_instruction": "do it"}
    (world.folder / "cron_jobs.json").write_text(json.dumps({"jobs": [entry]}))

    world.now = NOON + 1.5 * HOUR
    world.start()

    assert world.queued() == []
    assert world.at(NOON + 2 * HOUR) == [key(NOON + 2 * HOUR)]


@pytest.mark.parametrize("created", ["", (NOON - DAY).isoformat(), "2026-03-01T12:00:00"], ids=["undated", "dated", "without offset"])
def test_what_is_due_only_once_and_was_missed_runs_late_and_once(world: World, created: str) -> None:
    entry = {"id": "report", "title": "Report", "at": (NOON + HOUR).isoformat(), "task_folder": "work", "agent_instruction": "do it"}
    (world.folder / "cron_jobs.json").write_text(json.dumps({"jobs": [entry | {"created_at": created}]}))

    world.now = NOON + 3 * DAY
    world.start()
    late = world.queued()
    world.end()
    world.start()

    assert late == [key(NOON + HOUR)]
    assert world.queued() == []
    assert world.at(NOON + 4 * DAY) == []
    assert world.statuses() == ["success"]


def test_a_job_that_is_due_only_once_is_kept_and_switched_off_when_it_was_queued(world: World) -> None:
    world.add(at=(NOON + HOUR).isoformat())

    assert world.at(NOON + HOUR) == [key(NOON + HOUR)]

    assert [job.enabled for job in world.book.all()] == [False]
    assert world.at(NOON + 2 * HOUR) == []


def test_what_a_kill_left_of_a_job_that_was_due_once_is_cleared_away_and_not_run_again(world: World) -> None:
    world.add("job", at=(NOON + HOUR).isoformat())
    world.add("note", at=(NOON + HOUR).isoformat(), message="call the bank")
    before = (world.folder / "cron_jobs.json").read_bytes()
    world.at(NOON + HOUR)
    world.end()
    said = world.said()
    (world.folder / "cron_jobs.json").write_bytes(before)  # the file as it is when the kill came before its change

    world.start()

    assert world.queued() == []
    assert world.said() == said
    assert [(job.id, job.enabled) for job in world.book.all()] == [("job", False)]


def test_a_file_that_cannot_be_changed_does_not_make_a_job_run_twice(world: World) -> None:
    world.add(at=(NOON + HOUR).isoformat())
    world.add("hourly", schedule=HOURLY)
    with (world.folder / "cron_jobs.json").open("a") as file:
        file.write("broken by hand")

    assert world.at(NOON + HOUR) == [key(NOON + HOUR), key(NOON + HOUR, "hourly")]
    world.end()

    assert world.at(NOON + 2 * HOUR) == [key(NOON + 2 * HOUR, "hourly")]
    assert world.statuses() == ["success"]


# ── quiet hours ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hours", [(12, 14), (23, 14)], ids=["by day", "over midnight"])
def test_a_run_in_the_quiet_hours_is_a_row_and_nothing_else(world: World, hours: tuple[int, int]) -> None:
    world.add(schedule=HOURLY, quiet_start=hours[0], quiet_end=hours[1])

    assert world.at(NOON + HOUR) == []

    assert world.statuses() == ["skipped:quiet_hours"]
    assert world.said() == []
    assert world.at(NOON + 2 * HOUR) == [key(NOON + 2 * HOUR)]


def test_quiet_hours_are_hours_of_the_job_s_own_clock(world: World) -> None:
    world.add(schedule=HOURLY, timezone="Asia/Tokyo", quiet_start=22, quiet_end=23)

    assert world.at(NOON + HOUR) == []
    assert world.statuses() == ["skipped:quiet_hours"]


@pytest.mark.parametrize("enabled", [True, False])
def test_without_hours_of_its_own_a_job_keeps_the_heartbeat_s_if_that_is_enabled(world: World, enabled: bool) -> None:
    world.start(heartbeat={"enabled": enabled, "quiet_start": 12, "quiet_end": 14})
    world.add(schedule=HOURLY)

    queued = world.at(NOON + HOUR)

    assert queued == ([] if enabled else [key(NOON + HOUR)])


def test_a_run_that_a_person_asks_for_ignores_the_quiet_hours(world: World) -> None:
    job = world.add(schedule=HOURLY, quiet_start=0, quiet_end=23)

    number = world.cron.run_now(job)

    [item] = world.items()
    assert item.run == number
    assert world.statuses() == [""]


def test_what_is_due_once_ignores_the_quiet_hours(world: World) -> None:
    world.start(heartbeat={"enabled": True, "quiet_start": 12, "quiet_end": 14})
    world.add(at=(NOON + HOUR).isoformat(), quiet_start=12, quiet_end=14)
    world.add("note", at=(NOON + HOUR).isoformat(), message="call the bank")

    assert world.at(NOON + HOUR) == [key(NOON + HOUR)]
    assert [text for _, text in world.said()] == ["⏰ call the bank"] * 2


# ── what is queued ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reminder_is_said_to_everybody_without_an_agent_and_goes(world: World) -> None:
    world.add("note", at=(NOON + HOUR).isoformat(), message="call the bank")

    assert world.at(NOON + HOUR) == []

    assert world.said() == [(OWNER, "⏰ call the bank"), (PARTNER, "⏰ call the bank")]
    assert world.statuses("note") == ["success"]
    assert world.book.all() == ()
    world.start()
    assert len(world.said()) == 2


def test_a_reminder_that_was_missed_is_said_late_and_once(world: World) -> None:
    world.add("note", at=(NOON + HOUR).isoformat(), message="call the bank", chat=None)

    world.now = NOON + DAY
    world.start()
    world.start()

    assert world.said() == [(OWNER, "⏰ call the bank"), (PARTNER, "⏰ call the bank")]


def test_a_recurring_reminder_is_said_every_time_and_stays(world: World) -> None:
    world.add("note", schedule=HOURLY, message="drink water")

    world.at(NOON + HOUR)
    world.at(NOON + 2 * HOUR)

    assert [text for _, text in world.said()] == ["⏰ drink water"] * 4
    assert [job.id for job in world.book.all()] == ["note"]


def test_a_reminder_that_asks_is_a_turn_in_its_conversation(world: World) -> None:
    world.add("note", at=(NOON + HOUR).isoformat(), message="is the build green?", ask=True, chat="-100:7")

    world.now = NOON + HOUR
    world.cron.tick()

    [item] = world.items()
    assert (item.kind, item.lane, item.text) == ("wake", "chat:-100:7", "is the build green?")
    assert world.said() == []


def test_everything_a_job_wants_is_fixed_when_it_is_queued(world: World) -> None:
    world.add(
        schedule=HOURLY, provider="codex", model="gpt", reasoning_effort="low", cli_parameters=("-c", "x=1"), dependency="net",
        chat="-100:7", silent_when="NOTHING", into_session=True,
    )  # fmt: skip

    world.now = NOON + HOUR
    world.cron.tick()
    world.book.edit("report", {"model": "other", "chat": "42"})

    [item] = world.items()
    run = world.ledger.runs.get(item.run)
    assert (item.kind, item.lane, item.chat.lane, item.text) == ("task", "task:net", "chat:-100:7", "do it")
    assert run is not None
    assert run.order == Order("work", "codex", "gpt", "low", ("-c", "x=1"), ("chat:-100:7",), "NOTHING", True)


def test_without_a_chat_the_result_goes_to_all_allowed_users(world: World) -> None:
    world.add(schedule=HOURLY)

    world.now = NOON + HOUR
    world.cron.tick()

    [item] = world.items()
    run = world.ledger.runs.get(item.run)
    assert run is not None
    assert [chat.id for chat in run.order.places] == [OWNER, PARTNER]
    assert run.order.parameters is None


def test_the_next_run_is_told_by_the_clock_of_the_job(world: World) -> None:
    job = world.add(schedule="0 9 * * *", timezone="Asia/Tokyo")
    off = world.add("off", schedule=HOURLY, enabled=False)

    moment = world.cron.next_run(job)

    assert moment is not None
    assert moment.isoformat() == "2026-03-03T09:00:00+09:00"
    assert world.cron.next_run(off) is None
