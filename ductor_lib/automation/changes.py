"""What changing a job and changing a hook have in common: the folder is made first and the entry last, and neither stays alone."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ductor_lib.automation.books import Book
from ductor_lib.automation.definitions import Task
from ductor_lib.automation.office import Office
from ductor_lib.automation.rules import chat_of
from ductor_lib.automation.validation import check_overrides, to_raw
from ductor_lib.errors import DuctorError
from ductor_lib.orchestrator.runs import WAITING, Run
from ductor_lib.storage import JsonFile
from ductor_lib.workspace.tasks import TaskError

T = TypeVar("T", bound=Task)
Raw = Mapping[str, object]
Answer = dict[str, object]
NO_ID = "new"  # stands in for the id that the book makes, while the rest is checked
DELIVERY = frozenset({"chat", "here", "everyone"})
OVERRIDES = frozenset({"provider", "model", "reasoning_effort"})
LOGGED = 20  # runs of a log, unless another number is asked for
MOST_LOGGED = 200
LINE = 200  # characters of an answer's first line
NAMED = 6  # ids that an error lists
UNFINISHED = "unfinished"  # a run that waits or is at work


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """Jobs, or hooks. `works` says of an entry whether it needs a task folder, `fields` what may be given."""

    source: str  # in the ledger: "job", "hook"
    verb: str  # "cron", "webhook"
    book: Callable[[Office], Book[T]]
    read: Callable[[object], T]
    works: Callable[[Raw], bool]
    fields: frozenset[str]

    def find(self, office: Office, args: Raw) -> T:
        """The one that `args` names by its id, or by the beginning of its id or title."""
        words = str(args.get("id", ""))
        found = self.book(office).matches(words)
        if len(found) > 1:
            ids = ", ".join(item.id for item in found[:NAMED])
            raise DuctorError(f'"{words}" may mean more than one {self.source}: {ids}{", …" * (len(found) > NAMED)}. Say the id.')
        if not found:
            raise DuctorError(f'There is no {self.source} "{words}". `ductor {self.verb} list` shows the ids of all.')
        return found[0]

    def given(self, args: Raw, *, besides: Container[str]) -> Answer:
        """The fields in `args`. Raises DuctorError when there is anything else that is not expected."""
        if unknown := [name for name in args if name not in self.fields and name not in besides]:
            raise DuctorError(f"{', '.join(sorted(unknown))}: not known here. `ductor {self.verb} --help` shows what is.")
        return {name: value for name, value in args.items() if name in self.fields}


# ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def add(office: Office, kind: Kind[T], given: Raw) -> T:
    """Make the folder if it is missing, then the entry. Raises DefinitionError with all mistakes before anything is made."""
    _guard(office, given)
    raw = {name: value for name, value in given.items() if value not in (None, "")}
    if kind.works(raw) and "task_folder" not in raw:
        raw["task_folder"] = office.tasks.name_for(str(raw.get("title", "")))
    item = kind.read({"id": NO_ID, **raw})
    if "id" not in raw:
        item = replace(item, id="")
    if OVERRIDES & raw.keys():
        check_overrides(item, office.catalogue)
    with _folder(office, item):
        return kind.book(office).add(item)


def _guard(office: Office, given: Raw) -> None:
    """An agent that is kept in bounds must not get out of them by a job of its own."""
    if given.get("cli_parameters") and office.settings.permission_mode != "bypassPermissions":
        raise DuctorError(
            "cli_parameters can lift what `permission_mode` forbids, so with that setting they are not taken here. "
            "Write them into the file of jobs or hooks by hand."
        )


def edit(office: Office, kind: Kind[T], item: T, given: Raw) -> T:
    """Change the named fields and no others; an empty value is the default again."""
    _guard(office, given)
    changes = {name: None if value == "" else value for name, value in given.items()}
    raw = {name: value for name, value in {**to_raw(item), **changes}.items() if value is not None}
    if kind.works(raw) and "task_folder" not in raw and "task_folder" not in changes:
        changes["task_folder"] = raw["task_folder"] = office.tasks.name_for(str(raw.get("title", "")))
    changed = kind.read(raw)
    if OVERRIDES & changes.keys():
        check_overrides(changed, office.catalogue)
    with _folder(office, changed):
        return kind.book(office).edit(item.id, changes)


def remove(office: Office, kind: Kind[T], item: T, *, with_folder: bool) -> Answer:
    """Take out the entry and what waits of it; `with_folder` erases its folder, unless something else needs that."""
    runs, folder = office.ledger.runs, item.task_folder if with_folder else ""
    if folder:
        _refuse_if_needed(office, kind, item)
    kind.book(office).remove(item.id)
    withdrawn = runs.withdraw(kind.source, item.id)
    notes = [f"Waiting runs that were withdrawn: {withdrawn}."] if withdrawn else []
    if item.id in runs.open(kind.source):
        notes.append("A run of it is under way; it goes on and is reported.")
    if folder:
        try:
            office.tasks.delete(folder)
        except TaskError as error:
            raise DuctorError(f"“{item.title}” is removed, but its folder is not. {error}") from error
    elif item.task_folder:
        notes.append(f"Its folder stays: {office.folder(item.task_folder)}")
    return {"id": item.id, "title": item.title, "folder_removed": bool(folder), "notes": notes}


def delivery(office: Office, args: Raw) -> Answer:
    """The field `chat`, where `args` say something about it: "chat", "everyone", or "here" where neither is given."""
    if args.get("everyone"):
        if args.get("chat"):
            raise DuctorError("chat: name a chat, or everyone, but not both.")
        return {"chat": None}
    wanted = args["chat"] if "chat" in args else args.get("here")
    chat = chat_of(wanted)
    if chat and not office.allows(chat):
        raise DuctorError(
            f"chat: {chat.id} is not on the allow-list. Name the chat of an allowed user or group, "
            "or add it to allowed_user_ids or allowed_group_ids in config.toml."
        )
    return {"chat": chat.lane.removeprefix("chat:") if chat else wanted} if wanted is not None else {}


@contextmanager
def _folder(office: Office, item: Task) -> Iterator[None]:
    """Make the task folder if it is missing; if the body fails, it goes again."""
    name = item.task_folder
    if not name or any(known.name == name for known in office.tasks.list()):
        yield
        return
    providers = office.providers() | frozenset(filter(None, [item.provider]))
    office.tasks.create(name, title=item.title, description=item.description, providers=providers)
    try:
        yield
    except BaseException:
        office.tasks.delete(name)
        raise


def _refuse_if_needed(office: Office, kind: Kind[T], item: T) -> None:
    """Raises DuctorError when the folder of `item` must stay, or when it cannot be known whether it must."""
    for path in (office.paths.cron_jobs, office.paths.webhooks):
        JsonFile(path, own=False).read()  # raises for a damaged file: something in it may use the folder
    others = [one for one in (*office.jobs.all(), *office.hooks.all()) if one.task_folder == item.task_folder]
    if used := [f"“{one.title}”" for one in others if (type(one), one.id) != (type(item), item.id)]:
        raise DuctorError(f"The folder {item.task_folder} is used by {', '.join(used)}, too. Leave the folder, or remove those first.")
    if item.id in office.ledger.runs.open(kind.source):
        raise DuctorError(f"A run of “{item.title}” has not ended, and it needs the folder. `ductor {kind.verb} log {item.id}` shows it.")


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def told(office: Office, run: Run) -> Answer:
    """One run, as a log has it. `seconds` go from its row to its end, None before that; `answer` is the first line."""
    lines = run.detail.strip().splitlines()
    return {
        "run": run.id, "at": office.moment(run.accepted_at), "status": run.status or UNFINISHED,
        "seconds": None if run.ended_at is None else round(run.ended_at - run.accepted_at, 1),
        "answer": lines[0][:LINE] if lines else "",
    }  # fmt: skip


def history(office: Office, kind: Kind[T], item: T, args: Raw) -> Answer:
    """The last runs, newest first; `args` may have another "limit"."""
    limit = args.get("limit", LOGGED)
    if not isinstance(limit, int) or not 1 <= limit <= MOST_LOGGED:
        raise DuctorError(f"limit: must be a whole number from 1 to {MOST_LOGGED}.")
    found = office.ledger.runs.history(kind.source, item.id, limit=limit)
    return {"id": item.id, "title": item.title, "runs": [told(office, run) for run in found]}


def last_error(office: Office, kind: Kind[T], item: T) -> str:
    """The status of the last run that has ended, if it failed."""
    ended = (run.status for run in office.ledger.runs.history(kind.source, item.id, limit=LOGGED) if run.status != WAITING)
    return next((status if status.startswith("error:") else "" for status in ended), "")


def queued(office: Office, kind: Kind[T], item: T, start: Callable[[], int]) -> Answer:
    """Begin a run by hand; how it is told."""
    busy = item.id in office.ledger.runs.open(kind.source)
    number = start()
    run = office.ledger.runs.get(number)
    notes = ["An earlier run of it has not ended; this one comes after it."] if busy else []
    return {"id": item.id, "title": item.title, "run": number, "status": (run.status if run else "") or UNFINISHED, "notes": notes}


def folder_of(office: Office, item: Task) -> Answer:
    """Where it works, for answers."""
    return {"folder": item.task_folder, "path": office.folder(item.task_folder)}


def hint_at_sign_in(office: Office, item: Task) -> list[str]:
    """A sentence when the provider that it names cannot work now."""
    missing = item.provider and item.provider not in office.providers()
    return [f"{item.provider} is not signed in now; until it is, its runs end with an error."] if missing else []
