"""What the operations on jobs and hooks work with, in the running bot and without one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from ductor_lib import config
from ductor_lib.automation.books import HookBook, JobBook
from ductor_lib.automation.cron import Cron
from ductor_lib.automation.intake import HookIntake
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.config import Settings
from ductor_lib.messages import Chat
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.paths import Paths
from ductor_lib.workspace.tasks import Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """`providers` are those signed in; `stop(source, id)` ends a running run of a "job" or "hook" and says whether there was one.

    `token` is the one that opens every hook with a token. `allows` says whether a chat is on the allow-list. `now` is in unix
    seconds.
    """

    settings: Settings
    paths: Paths
    jobs: JobBook
    hooks: HookBook
    tasks: Tasks
    ledger: Ledger
    catalogue: Catalogue
    providers: Callable[[], frozenset[str]]
    cron: Cron
    intake: HookIntake
    stop: Callable[[str, str], bool]
    token: str = field(repr=False)
    allows: Callable[[Chat], bool]
    now: Callable[[], float] = time.time

    def folder(self, name: str) -> str:
        """The path of a task folder, "" for none."""
        return str(self.paths.cron_tasks / name) if name else ""

    def moment(self, seconds: float) -> str:
        """Unix seconds as ISO 8601 by the user's clock."""
        return datetime.fromtimestamp(seconds, config.timezone(self.settings)).isoformat(timespec="seconds")
