"""/remind: say something in this chat at a moment to come, without a model; or ask its agent then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ductor_lib import config
from ductor_lib.automation.cron import reminder_of
from ductor_lib.automation.definitions import Job
from ductor_lib.automation.operations import operate
from ductor_lib.automation.when import FORMS, WhenError, parse_when
from ductor_lib.commands.desk import Desk
from ductor_lib.commands.moments import announced, said
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Button, Chat, Incoming, Reply
from ductor_lib.orchestrator.words import first_line, plain

SLOT = "reminders"
MOST_SHOWN = 20
TITLE_CHARS = 60
EXAMPLES = """\
`/remind 2h call the bank`: I say it here at that time
`/remind tomorrow 9:00 ask is the build through?`: the agent is asked then, and answers here"""
GONE = "That reminder does not wait any more."


def remind(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/remind [WHEN [ask] TEXT]: keep a reminder, or list those of this chat."""
    verb, _, id = words.partition(" ")
    try:
        if not words:
            return [_list(desk, item)]
        if verb in ("cancel", "drop") and (item.kind == "press" or desk.office.jobs.find(id)):
            return _cancel(desk, item, id, listed=verb == "drop")
        return [_add(desk, item, words)]
    except WhenError as error:
        return [Reply(item.chat, f"{plain(str(error))}\n\n{EXAMPLES}")]
    except DuctorError as error:
        return [Reply(item.chat, f"⚠️ {plain(str(error))} No reminder was changed.")]


def _add(desk: Desk, item: Incoming, words: str) -> Reply:
    """Raises WhenError for what is not understood, DuctorError while cron_jobs.json is damaged."""
    now = datetime.now(UTC)
    moment, text = parse_when(words, now, config.timezone(desk.settings))
    first, *rest = text.split(maxsplit=1)[:2] or [""]
    ask = first.casefold().rstrip(":,") == "ask"
    text = "".join(rest) if ask else text
    if not text:
        raise WhenError(f"{announced(moment, now)}: and what shall I {'ask' if ask else 'say'} then?")
    chat = item.chat.lane.removeprefix("chat:")
    kept = {"title": title(text), "chat": chat, "at": moment.isoformat(timespec="seconds"), "message": text, "ask": ask}
    id = str(operate("cron.add", desk.office, kept)["id"])
    to = "\n*That goes to the agent of this conversation, which answers here.*" if ask else ""
    button = Button("✖ Cancel", f"/remind cancel {id}")
    return Reply(item.chat, f"⏰ {announced(moment, now)}: {plain(text)}{to}", buttons=((button,),), slot=reminder_of(id), fresh=True)


def title(text: str) -> str:
    """The head of a reminder: its words in one line, cut if they are many."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


def _list(desk: Desk, item: Incoming, note: str = "") -> Reply:
    now, zone = datetime.now(UTC), config.timezone(desk.settings)
    found = _coming(desk, item.chat)
    lines = [f"{number}. {said(moment.astimezone(zone), now)}{' 🤖' * job.ask}: {first_line(job.message)}"
             for number, (moment, job) in enumerate(found[:MOST_SHOWN], 1)]  # fmt: skip
    if len(found) > MOST_SHOWN:
        lines.append(f"… and {len(found) - MOST_SHOWN} more: /cron")
    head = "⏰ **Reminders of this chat**" if found else "No reminders wait in this chat."
    buttons = tuple((Button(f"✖ Cancel {number}", f"/remind drop {job.id}"),) for number, (_, job) in enumerate(found[:MOST_SHOWN], 1))
    text = "\n\n".join(filter(None, (note, "\n".join((head, *lines)), f"{plain(FORMS)}\n{EXAMPLES}")))
    return Reply(item.chat, text, buttons=buttons, slot=SLOT, fresh=item.kind != "press")


def _coming(desk: Desk, chat: Chat) -> list[tuple[datetime, Job]]:
    """The reminders that this chat will get, the next one first."""
    mine = (job for job in desk.office.jobs.all() if job.message and job.chat == chat)
    found = ((desk.office.cron.next_run(job), job) for job in mine)
    return sorted(((moment, job) for moment, job in found if moment), key=lambda pair: (pair[0].timestamp(), pair[1].id))


def _cancel(desk: Desk, item: Incoming, id: str, *, listed: bool) -> list[Reply]:
    """A press on Cancel: under the answer that promised the reminder, or in the list."""
    job = desk.office.jobs.find(id)
    known = job is not None and job.message and job.chat == item.chat
    if known:
        operate("cron.remove", desk.office, {"id": id})
    if listed:
        note = f"✖ Cancelled: {first_line(job.message)}" if known and job else GONE
        return [Reply(item.chat, "", slot=reminder_of(id), closing=True), _list(desk, item, note)]
    text = f"✖ Cancelled: {plain(job.message)}" if known and job else GONE
    return [Reply(item.chat, text, slot=reminder_of(id), closing=True)]
