"""What operations on jobs and hooks work with while no bot runs: the same files and the same ledger, and nothing is started."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ductor_lib.automation import token
from ductor_lib.automation.books import HookBook, JobBook
from ductor_lib.automation.cron import Cron
from ductor_lib.automation.intake import HookIntake
from ductor_lib.automation.office import Office
from ductor_lib.automation.operations import operate
from ductor_lib.bot.groups import Groups
from ductor_lib.cli.catalogue import CLAUDE_EFFORTS, Catalogue
from ductor_lib.cli.codex_models import MODELS, Model, stored_models
from ductor_lib.config import load
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile
from ductor_lib.workspace.tasks import Tasks
from ductor_lib.workspace.upkeep import STATE

LATER = dict.fromkeys(("cron.run", "webhook.test"), "ductor does not run: this begins when it is started.")
FULL_NAME = "claude-"  # how Claude's models are called beside their aliases

Raw = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Known:
    """A list of models as it was last seen."""

    models: tuple[Model, ...]

    def list(self) -> tuple[Model, ...]:
        return self.models


def offline(paths: Paths, name: str, args: Raw) -> Raw:
    """Do it here; the caller has the lock of the home. What the bot would tell its owner about the files is among the notes.

    Raises ConfigError when there are no usable settings.
    """
    with _office(paths, model=str(args.get("model", ""))) as office:
        answer = dict(operate(name, office, args))
        about = [office.jobs.refresh() if name.startswith("cron.") else office.hooks.refresh(), LATER.get(name, "")]
        if office.ledger.damaged:
            about.append(f"ledger.db could not be read. It is kept as {office.ledger.damaged.name}, and a new one was begun.")
    notes = answer.get("notes")
    return answer | {"notes": [*(notes if isinstance(notes, list) else []), *filter(None, about)]}


@contextmanager
def _office(paths: Paths, *, model: str) -> Iterator[Office]:
    """`model` is what is asked for: what Claude Code offers besides its aliases can only be known by starting it."""
    state = JsonFile(paths.state)
    settings = load(paths.config, state=state.read())
    groups = Groups(settings.allowed_group_ids, state)
    jobs, hooks = JobBook(paths.cron_jobs), HookBook(paths.webhooks)
    claude = Known((Model(model, model, CLAUDE_EFFORTS, "", is_default=False),) if model.startswith(FULL_NAME) else ())
    codex = Known(stored_models(JsonFile(paths.codex_models).read().get(MODELS)))
    signed_in = state.read().get(STATE)
    released: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()  # the next start finds what is in it in the ledger
    ledger = Ledger(paths.ledger)

    def place(chat: Chat) -> Chat | None:
        return groups.current(chat) if chat.id in settings.allowed_user_ids or chat.id in groups else None

    try:
        yield Office(
            settings=settings, paths=paths, jobs=jobs, hooks=hooks, tasks=Tasks(paths.cron_tasks), ledger=ledger,
            catalogue=Catalogue(claude, codex), providers=lambda: frozenset(signed_in if isinstance(signed_in, list) else ()),
            cron=Cron(settings, jobs, ledger, released, place=place), intake=HookIntake(settings, ledger, released, place=place),
            stop=_nothing_runs, token=token.known(settings, state), allows=lambda chat: place(chat) is not None,
        )  # fmt: skip
    finally:
        ledger.close()


def _nothing_runs(source: str, id: str) -> bool:
    raise DuctorError("ductor does not run, and so does no job. One that was cut off is asked about when ductor is started.")
