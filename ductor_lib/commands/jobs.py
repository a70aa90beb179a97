"""What a job looks like in a chat: one line in the list, its card, its log. Nothing here changes anything."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice

from ductor_lib import config
from ductor_lib.automation import schedule
from ductor_lib.automation.definitions import Job
from ductor_lib.commands.desk import Desk
from ductor_lib.commands.moments import said
from ductor_lib.messages import Chat
from ductor_lib.orchestrator.directives import named
from ductor_lib.orchestrator.runs import WAITING, Run
from ductor_lib.orchestrator.words import age, first_line, plain

COMING = 3  # next runs on a card
RECENT = 5  # last runs on a card
LOGGED = 15  # last runs in the log
LONGEST_TEXT = 500  # characters of a job's own words that a card shows
RESULTS = {"success": "✅", "skipped": "🌙", "error": "⚠️"}


def mark(job: Job) -> str:
    """On or off, and whether it is a reminder, in one sign or two."""
    return ("●" if job.enabled else "○") + (" ⏰" if job.message else "")


def line(desk: Desk, job: Job, last: Run | None) -> str:
    """One line of the list: state, title, when it comes next, what came of it last."""
    return " – ".join((f"{mark(job)} **{plain(job.title)}**", coming(desk, job), *([result(last, time.time())] if last else [])))


def coming(desk: Desk, job: Job) -> str:
    """When it runs next."""
    moment = desk.office.cron.next_run(job)
    return _said(desk, job, moment) if moment else "past" if job.enabled else "off"


def result(run: Run, now: float) -> str:
    """What came of a run and how long ago: "✅ success 2 h ago". `now` is in unix seconds."""
    if run.status == WAITING:
        return f"▶ running or waiting for {age(now - run.accepted_at)}"
    return f"{RESULTS.get(run.status.partition(':')[0], '⚠️')} {plain(run.status)} {age(now - (run.ended_at or run.accepted_at))} ago"


def card(desk: Desk, job: Job, here: Chat) -> str:
    """All about one job, for a chat."""
    lines = [f"{mark(job)} **{plain(job.title)}** `{job.id}`", *([plain(job.description)] if job.description else [])]
    lines += [*_times(desk, job), *_work(desk, job), f"**Result to** {_delivery(job, here)}"]
    if history := desk.ledger.runs.history("job", job.id, limit=RECENT):
        lines += ["", "**Last runs**", *(f"{result(run, time.time())}{_detail(run, 60)}" for run in history)]
    else:
        lines += ["", "It has not run yet."]
    return "\n".join(lines)


def log(desk: Desk, job: Job) -> str:
    """The last runs of a job with the beginning of what they said, and the whole of what is kept of the newest."""
    history = desk.ledger.runs.history("job", job.id, limit=LOGGED)
    if not history:
        return f"**{plain(job.title)}** has not run yet."
    zone = config.timezone(desk.settings)
    lines = [f"**{plain(job.title)}**, the last {'run' if len(history) == 1 else f'{len(history)} runs'}"]
    for run in history:
        lines.append(f"{said(datetime.fromtimestamp(run.due, zone), _now())}: {result(run, time.time())}{_detail(run, 120)}")
    newest = next((run for run in history if run.detail.strip()), None)
    if newest:
        lines += ["", "**The newest of these that said something**", plain(newest.detail.strip())]
    return "\n".join(lines)


def _times(desk: Desk, job: Job) -> list[str]:
    now, own = _now(), schedule.zone(job, desk.settings)
    if job.at:
        return [f"**Once** {_said(desk, job, datetime.fromisoformat(job.at))}"]
    lines = [f"**Schedule** `{job.schedule}`, {plain(own.key)}"]
    moments = ", ".join(_said(desk, job, moment) for moment in islice(schedule.runs(job.schedule, now, own), COMING))
    lines.append(f"**Next** {moments}" if job.enabled else f"**Off**; it would run {moments}")
    if hours := schedule.quiet_hours(job, desk.settings):
        lines.append(f"**Quiet** {hours[0]}–{hours[1]}. {schedule.bites(job, desk.settings, now)}".rstrip())
    if job.missed == "once":
        lines.append("**Missed** runs are made up once")
    return lines


def _said(desk: Desk, job: Job, moment: datetime) -> str:
    """A moment by the user's clock, marked when the job's quiet time will hold it back."""
    hours = schedule.quiet_hours(job, desk.settings)
    held = hours is not None and schedule.quiet(*hours, moment.astimezone(schedule.zone(job, desk.settings)))
    return said(moment.astimezone(config.timezone(desk.settings)), _now()) + f" {RESULTS['skipped']}" * held


def _work(desk: Desk, job: Job) -> list[str]:
    if job.message:
        to = "**To the agent of the conversation**" if job.ask else "**Says**"
        return [f"{to} {first_line(job.message, most=LONGEST_TEXT)}"]
    choice = desk.choices.ordered(job.provider, job.model, job.reasoning_effort, desk.choices.default())
    own = job.provider or job.model or job.reasoning_effort
    lines = [f"**Folder** {plain(job.task_folder)}", f"**Task** {first_line(job.agent_instruction, most=LONGEST_TEXT)}"]
    lines.append(f"**Agent** {named(desk.catalogue.behind(choice), choice.effort)}{'' if own else ' (the default)'}")
    if job.cli_parameters is not None:
        lines.append(f"**Parameters** {plain(' '.join(job.cli_parameters)) or 'none'}")
    if job.dependency:
        lines.append(f"**Queue** {plain(job.dependency)}: one after the other with all that name it")
    return lines


def _delivery(job: Job, here: Chat) -> str:
    elsewhere = f"`{job.chat.lane}`" if job.chat else "the private chats of all allowed users"
    to = "this chat" if job.chat == here else elsewhere
    silent = f"; nothing when it says {plain(job.silent_when)}" if job.silent_when else ""
    return f"{to}{', as part of the conversation' if job.into_session else ''}{silent}"


def _detail(run: Run, most: int) -> str:
    lines = run.detail.strip().splitlines()
    return f": {first_line(lines[0], most=most)}" if lines else ""


def _now() -> datetime:
    return datetime.now(UTC)
