"""`ductor cron …` as functions: each takes the office and JSON, changes at most what it names, and gives JSON back."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ductor_lib import config
from ductor_lib.automation import changes, schedule
from ductor_lib.automation.changes import DELIVERY, UNFINISHED, Answer, Kind, Raw
from ductor_lib.automation.definitions import Job
from ductor_lib.automation.office import Office
from ductor_lib.automation.validation import public, read_job
from ductor_lib.automation.when import FORMS, WhenError, parse_when
from ductor_lib.errors import ConfigError, DuctorError
from ductor_lib.orchestrator.runs import Run

TITLE = 60  # characters of a reminder that become its title
SHOWN = 5  # last runs in `show`
MOMENTS = 'Give 2026-12-01T09:00, or words such as "2h", "tomorrow 9:00" or "friday 18:30".'

JOBS: Kind[Job] = Kind(
    "job", "cron", lambda office: office.jobs, read_job, lambda raw: not raw.get("message"),
    frozenset(field.name for field in fields(Job)) - {"created_at"},
)  # fmt: skip


def add(office: Office, args: Raw) -> Answer:
    """A job or, with "message", a reminder. Its id, its folder, when it runs next, and what its owner should know."""
    raw = JOBS.given(args, besides=DELIVERY) | changes.delivery(office, args)
    message = raw.get("message")
    if message and (raw.get("agent_instruction") or raw.get("task_folder")):
        raise DuctorError("message: a reminder has no instruction and no folder; leave those out, or the message.")
    if isinstance(message, str) and not raw.get("title"):
        raw["title"] = " ".join(message.split())[:TITLE].strip()
    _take_moment(office, raw, str(raw.get("timezone") or ""))
    return _told(office, changes.add(office, JOBS, raw))


def edit(office: Office, args: Raw) -> Answer:
    """Change the fields that are named; one of "schedule" and "at" takes the place of the other."""
    job = JOBS.find(office, args)
    wanted = JOBS.given({name: value for name, value in args.items() if name != "id"}, besides=DELIVERY)
    if {"chat", "everyone"} & args.keys():
        wanted |= changes.delivery(office, args)
    if not wanted:
        raise DuctorError("There is nothing to change. `ductor cron edit --help` shows what can be.")
    for one, other in (("schedule", "at"), ("at", "schedule")):
        if wanted.get(one) and other not in wanted:
            wanted[other] = None
    _take_moment(office, wanted, str(wanted.get("timezone", job.timezone) or ""))
    return _told(office, changes.edit(office, JOBS, job, wanted))


def show(office: Office, args: Raw) -> Answer:
    """Everything about one job, with its last runs."""
    job = JOBS.find(office, args)
    runs = office.ledger.runs.history("job", job.id, limit=SHOWN)
    return {"job": public(job), **_told(office, job), "runs": [changes.told(office, run) for run in runs]}


def list_(office: Office, args: Raw) -> Answer:
    """A row for each job, in the order of the file."""
    latest, unfinished = office.ledger.runs.latest("job"), office.ledger.runs.open("job")
    return {"jobs": [_row(office, job, latest.get(job.id), busy=job.id in unfinished) for job in office.jobs.all()]}


def enable(office: Office, args: Raw) -> Answer:
    """Let it run by the clock. Raises DuctorError when its only moment is past."""
    job = JOBS.find(office, args)
    if job.at and office.cron.next_run(replace(job, enabled=True)) is None:
        raise DuctorError(f"The moment of “{job.title}” is past. Give it another: `ductor cron edit {job.id} --at …`, then enable it.")
    return _told(office, office.jobs.edit(job.id, {"enabled": True}))


def disable(office: Office, args: Raw) -> Answer:
    """Keep it for later. A run under way goes on."""
    job = JOBS.find(office, args)
    return _told(office, office.jobs.edit(job.id, {"enabled": False}))


def remove(office: Office, args: Raw) -> Answer:
    return changes.remove(office, JOBS, JOBS.find(office, args), with_folder=args.get("with_folder") is True)


def run(office: Office, args: Raw) -> Answer:
    """Queue it now, whatever the clock says, and whether it is enabled or not."""
    job = JOBS.find(office, args)
    return changes.queued(office, JOBS, job, lambda: office.cron.run_now(job))


def stop(office: Office, args: Raw) -> Answer:
    """End the run under way, and withdraw those that wait."""
    job = JOBS.find(office, args)
    withdrawn = office.ledger.runs.withdraw("job", job.id)
    ended = job.id in office.ledger.runs.open("job") and office.stop("job", job.id)
    if not ended and not withdrawn:
        raise DuctorError(f"“{job.title}” does not run just now, and no run of it waits.")
    return {"id": job.id, "title": job.title, "ended": ended, "withdrawn": withdrawn}


def log(office: Office, args: Raw) -> Answer:
    return changes.history(office, JOBS, JOBS.find(office, args), args)


def _told(office: Office, job: Job) -> Answer:
    """A job after it was changed."""
    moment = office.cron.next_run(job)
    notes = [schedule.bites(job, office.settings, datetime.fromtimestamp(office.now(), UTC))] if job.schedule else []
    notes += changes.hint_at_sign_in(office, job)
    if not job.enabled:
        notes.append(f"It is switched off. `ductor cron enable {job.id}` switches it on.")
    return {
        "id": job.id, "title": job.title, "enabled": job.enabled, **changes.folder_of(office, job),
        "next_run": moment.isoformat() if moment else "", "timezone": schedule.zone(job, office.settings).key,
        "chat": public(job)["chat"], "notes": list(filter(None, notes)),
    }  # fmt: skip


def _row(office: Office, job: Job, last: Run | None, *, busy: bool) -> Answer:
    moment = office.cron.next_run(job)
    return {
        "id": job.id, "title": job.title, "enabled": job.enabled, "schedule": job.schedule, "at": job.at, "reminder": bool(job.message),
        "folder": job.task_folder, "next_run": moment.isoformat() if moment else "", "running": busy,
        "last": {"status": last.status or UNFINISHED, "at": office.moment(last.ended_at or last.accepted_at)} if last else None,
    }  # fmt: skip


def _take_moment(office: Office, raw: Answer, zone_name: str) -> None:
    """Make of `at`, in words or without an offset, a moment as it stands in the file."""
    if not raw.get("at"):
        return
    try:
        zone = config.timezone(replace(office.settings, user_timezone=zone_name) if zone_name else office.settings)
    except ConfigError:
        return  # the zone's own mistake is what counts
    raw["at"] = moment_of(str(raw["at"]), datetime.fromtimestamp(office.now(), UTC), zone)


def moment_of(words: str, now: datetime, zone: ZoneInfo) -> str:
    """ISO 8601 with an offset, of such a text, of one without it, or of words. Raises DuctorError for what is past or not clear."""
    try:
        moment = datetime.fromisoformat(words.strip())
    except ValueError:
        moment = _said(words, now, zone)
    if moment.tzinfo is None:
        moment = schedule.instants(moment, zone)[0].astimezone(zone)
    if moment <= now:
        raise DuctorError(f"at: {moment.isoformat(timespec='minutes')} is in the past. {MOMENTS}")
    return moment.isoformat(timespec="seconds")


def _said(words: str, now: datetime, zone: ZoneInfo) -> datetime:
    try:
        moment, rest = parse_when(words, now, zone)
    except WhenError as error:
        raise DuctorError(f"at: {str(error).removesuffix(FORMS).strip()} {MOMENTS}") from None
    if rest:
        raise DuctorError(f"at: only the moment goes here, and “{rest}” is more. {MOMENTS}")
    return moment
