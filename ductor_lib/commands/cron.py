"""/cron: the jobs of the clock in one message: what runs when, what came of it, and buttons for all that can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ductor_lib import config
from ductor_lib.automation.books import JobBook
from ductor_lib.automation.definitions import Job
from ductor_lib.automation.operations import operate
from ductor_lib.commands import jobs
from ductor_lib.commands.desk import Desk
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Button, Incoming, Reply, Rows
from ductor_lib.orchestrator.words import count, first_line, plain

SLOT = "cron"
PAGE = 6  # jobs on one page of the panel
ALL = "*"  # instead of an id, which cannot be written so
EMPTY = (
    "There are no jobs yet. Ask the agent for one: “every day at 9, look at my calendar and tell me what is on”. In a terminal it is "
    "`ductor cron add`, and `/remind 2h call the bank` says something once."
)
FORMS = "Typed: `/cron`, and `/cron on`, `off`, `run`, `stop`, `log` or `remove` with the id or the beginning of a title."

BACK = ((Button("‹ Back", "/cron"),),)

Panel = tuple[str, Rows]


def cron(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/cron [page N | show|on|off|run|stop|log|remove JOB | on|off all]: show the panel, or do what a button of it does."""
    try:
        text, rows = _answer(desk, item, " ".join(words.split()))
    except DuctorError as error:
        text, rows = f"⚠️ {plain(str(error))} Nothing was changed.", BACK
    except OSError as error:
        text, rows = f"⚠️ The jobs cannot be stored: {plain(error.strerror or str(error))}. Nothing was changed.", BACK
    # A press edits the panel where it is; what was typed is answered below it, and the old panel goes.
    return [Reply(item.chat, text, buttons=rows, slot=SLOT, fresh=item.kind != "press")]


def _answer(desk: Desk, item: Incoming, words: str) -> Panel:
    verb, _, name = words.partition(" ")
    verb = verb.casefold()
    if not words or verb == "page":
        return _page(desk, int(name) if name.isdecimal() else 1)
    sure = verb == "yes"
    if sure:
        verb, _, name = name.partition(" ")
    if verb in ("on", "off") and _means_all(desk, name):
        return (_all if sure else _ask_all)(desk, verb)
    table = SURE if sure else VERBS
    job = _find(desk, item, name if verb in table else words)
    if job is None:
        return _page(desk, 1, f"There is no job “{first_line(name or words)}”, or more than one begins so.\n{FORMS}")
    return table.get(verb, _show)(desk, item, job)


def _find(desk: Desk, item: Incoming, name: str) -> Job | None:
    """The job that is meant. A button means exactly one, and no other when that is gone."""
    return desk.office.jobs.find(name) if item.kind == "press" else desk.office.jobs.match(name)


def _means_all(desk: Desk, name: str) -> bool:
    return name == ALL or (name.casefold() == "all" and desk.office.jobs.find(name) is None)


# ── what is shown ──


def _page(desk: Desk, number: int, note: str = "") -> Panel:
    every = _ordered(desk)
    parts = [part for part in (note, _complaint(desk)) if part]
    if not every:
        return "\n\n".join((*parts, EMPTY)), ()
    last = (len(every) + PAGE - 1) // PAGE
    number = min(max(number, 1), last)
    shown = every[(number - 1) * PAGE : number * PAGE]
    runs = desk.ledger.runs.latest("job")
    zone = config.timezone(desk.settings).key
    head = f"**Jobs** (times of {plain(zone)}" + (f", page {number} of {last})" if last > 1 else ")")
    parts.append("\n".join((head, *(jobs.line(desk, job, runs.get(job.id)) for job in shown))))
    turning = [Button("‹ Previous", f"/cron page {number - 1}")] * (number > 1)
    turning += [Button("Next ›", f"/cron page {number + 1}")] * (number < last)
    rows = [(Button(f"{jobs.mark(job)} {job.title}", f"/cron show {job.id}"),) for job in shown]
    return "\n\n".join(parts), (*rows, *((tuple(turning),) if turning else ()), *_all_buttons(desk))


def _ordered(desk: Desk) -> list[Job]:
    """As in the file, so that nothing moves when it is switched; reminders after the rest."""
    return sorted(desk.office.jobs.all(), key=lambda job: bool(job.message))


def _complaint(desk: Desk) -> str:
    """What is wrong with the file just now. A book of its own, because the other one tells each mistake only once, to the owner."""
    wrong = JobBook(desk.paths.cron_jobs).refresh()
    return f"⚠️ {plain(wrong)}" if wrong else ""


def _all_buttons(desk: Desk) -> Rows:
    offered = [Button(f"All {verb}", f"/cron {verb} {ALL}") for verb in ("off", "on") if _others(desk, verb)]
    return (tuple(offered),) if offered else ()


def _show(desk: Desk, item: Incoming, job: Job, note: str = "") -> Panel:
    """The card of a job."""
    running = (Button("⏹ Stop", f"/cron stop {job.id}"), Button("🔄 Refresh", f"/cron show {job.id}"))
    switch = Button("Turn off", f"/cron off {job.id}") if job.enabled else Button("Turn on", f"/cron on {job.id}")
    rows = (
        running if _busy(desk, job) else (Button("▶ Run now", f"/cron run {job.id}"),),
        (switch, Button("Log", f"/cron log {job.id}"), Button("🗑 Remove", f"/cron remove {job.id}")),
        (_to_page(desk, job),),
    )
    text = jobs.card(desk, job, item.chat)
    return f"{note}\n\n{text}" if note else text, rows


def _log(desk: Desk, item: Incoming, job: Job) -> Panel:
    return jobs.log(desk, job), ((Button("‹ Back", f"/cron show {job.id}"),),)


def _to_page(desk: Desk, job: Job) -> Button:
    place = [other.id for other in _ordered(desk)].index(job.id) // PAGE + 1
    return Button("‹ Back", f"/cron page {place}")


# ── what is done ──


def _on(desk: Desk, item: Incoming, job: Job) -> Panel:
    _operate(desk, "enable", job)
    return _show(desk, item, replace(job, enabled=True), "✅ It is on.")


def _off(desk: Desk, item: Incoming, job: Job) -> Panel:
    _operate(desk, "disable", job)
    waits = " What runs or waits goes on; Stop ends it." if _busy(desk, job) else ""
    return _show(desk, item, replace(job, enabled=False), f"○ It is off: it runs only by hand.{waits}")


def _run(desk: Desk, item: Incoming, job: Job) -> Panel:
    if _busy(desk, job):  # a button is easily pressed twice
        return _show(desk, item, job, "▶ It runs or waits for its turn already.")
    _operate(desk, "run", job)
    return _show(desk, item, job, "⏰ Said." if job.message and not job.ask else "▶ It is queued, and runs as soon as its turn comes.")


def _stop(desk: Desk, item: Incoming, job: Job) -> Panel:
    if not _busy(desk, job):
        return _show(desk, item, job, "It is not running.")
    if job.ask:
        return _show(desk, item, job, "It runs or waits in its conversation: /stop there ends it.")
    ended = _operate(desk, "stop", job)["ended"]
    return _show(desk, item, job, "⏹ It is being stopped." if ended else "⏹ It had not begun, and will not.")


def _ask_to_remove(desk: Desk, item: Incoming, job: Job) -> Panel:
    folder = f" Its folder `cron_tasks/{job.task_folder}` stays." if job.task_folder else ""
    rows = ((Button("🗑 Remove", f"/cron yes remove {job.id}"), Button("‹ Back", f"/cron show {job.id}")),)
    return f"Remove **{plain(job.title)}** for good?{folder}", rows


def _remove(desk: Desk, item: Incoming, job: Job) -> Panel:
    notes = _operate(desk, "remove", job)["notes"]
    assert isinstance(notes, list)
    return _page(desk, 1, " ".join((f"🗑 **{plain(job.title)}** is removed.", *(plain(note) for note in notes))))


def _ask_all(desk: Desk, verb: str) -> Panel:
    found = _others(desk, verb)
    if not found:
        return _page(desk, 1, f"There is nothing to turn {verb}.")
    text = f"Turn {verb} {count(len(found), 'job')}? Reminders stay as they are."
    return text, ((Button(f"Turn {verb} {len(found)}", f"/cron yes {verb} {ALL}"), Button("‹ Back", "/cron")),)


def _all(desk: Desk, verb: str) -> Panel:
    found = [job.id for job in _others(desk, verb)]
    left = desk.office.jobs.switch(found, on=verb == "on")
    note = f"{'✅' if verb == 'on' else '○'} {count(len(found) - len(left), 'job')} turned {verb}."
    if left:
        note += f" Left as they are, because the file has a mistake there: {', '.join(f'`{id}`' for id in left)}."
    return _page(desk, 1, note)


def _others(desk: Desk, verb: str) -> list[Job]:
    """What "all on" or "all off" would change: no reminders, and nothing whose only moment is over."""
    jobs_ = [job for job in desk.office.jobs.all() if not job.message]
    return [job for job in jobs_ if job.enabled != (verb == "on") and (verb == "off" or _comes(desk, job))]


def _operate(desk: Desk, name: str, job: Job) -> Mapping[str, object]:
    return operate(f"cron.{name}", desk.office, {"id": job.id})


def _busy(desk: Desk, job: Job) -> bool:
    """Whether a run of it is at work or waits."""
    return job.id in desk.ledger.runs.open("job")


def _comes(desk: Desk, job: Job) -> bool:
    return desk.office.cron.next_run(replace(job, enabled=True)) is not None


VERBS: dict[str, Callable[[Desk, Incoming, Job], Panel]] = {
    "show": _show, "on": _on, "off": _off, "run": _run, "stop": _stop, "log": _log, "remove": _ask_to_remove,
}
SURE: dict[str, Callable[[Desk, Incoming, Job], Panel]] = {"remove": _remove}
