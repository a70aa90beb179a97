"""Everything that happens without a message, built whole and started together."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from contextlib import ExitStack

from ductor_lib.automation import losses, token
from ductor_lib.automation.books import HookBook, JobBook
from ductor_lib.automation.cleanup import Cleanup
from ductor_lib.automation.cron import Cron
from ductor_lib.automation.heartbeat import Heartbeat
from ductor_lib.automation.intake import HookIntake
from ductor_lib.automation.losses import Losses
from ductor_lib.automation.office import Office
from ductor_lib.automation.scheduler import Scheduler
from ductor_lib.automation.unattended import Unattended
from ductor_lib.automation.watcher import EVERY, Watcher
from ductor_lib.automation.webhook import WebhookServer
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.config import Settings
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.turns import Turns
from ductor_lib.paths import Paths
from ductor_lib.session import Sessions
from ductor_lib.storage import JsonFile
from ductor_lib.workspace.tasks import Tasks

TICK = 1.0  # seconds between two looks at what is due
HEARTBEAT = 15.0  # seconds between two looks at who is due for a heartbeat
OVERDUE = 60.0  # seconds between two looks at turns that run for too long

log = logging.getLogger(__name__)


class Automation:
    """Jobs, hooks, heartbeats and cleanup. The owner calls `start` and `stop` once each; the parts have their own rules."""

    def __init__(
        self, settings: Settings, paths: Paths, state: JsonFile, ledger: Ledger, sessions: Sessions, choices: Choices,
        catalogue: Catalogue, turns: Turns, unattended: Unattended, released: queue.SimpleQueue[Incoming | None], *,
        providers: Callable[[], frozenset[str]], place: Callable[[Chat], Chat | None],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._turns = turns
        self._unattended = unattended
        self._owner = Chat(settings.allowed_user_ids[0])
        self._stack = ExitStack()
        jobs, hooks = JobBook(paths.cron_jobs), HookBook(paths.webhooks)
        self._hooks = hooks

        def allows(chat: Chat) -> bool:
            return place(chat) is not None

        self._cron = Cron(settings, jobs, ledger, released, place=place)
        self._intake = HookIntake(settings, ledger, released, place=place)
        self._token = token.made(settings, state)
        self.heartbeat = Heartbeat(settings, paths, state, sessions, choices, ledger, turns, released, allowed=allows)
        self.office = Office(
            settings=settings, paths=paths, jobs=jobs, hooks=hooks, tasks=Tasks(paths.cron_tasks), ledger=ledger, catalogue=catalogue,
            providers=providers, cron=self._cron, intake=self._intake, stop=unattended.stop, token=self._token, allows=allows,
        )
        self._cleanup = Cleanup(settings, paths, state, ledger)
        self._losses = Losses(ledger, self._owner)
        self._watcher = Watcher((jobs, hooks), ledger, self._owner)

    def start(self) -> None:
        """Take up what was due meanwhile, then watch the clock and listen. A port that cannot be had is told to the owner."""
        self._watcher.look()
        self._cron.catch_up()
        scheduler = Scheduler({
            self._cron.tick: TICK, self._watcher.look: EVERY, self.heartbeat.tick: HEARTBEAT, self._end_overdue: OVERDUE,
            self._losses.look: losses.EVERY,
        })
        scheduler.start()
        self._stack.callback(scheduler.stop)
        self._cleanup.start()
        self._stack.callback(self._cleanup.stop)
        if self._settings.webhooks.enabled:
            self._listen()

    def stop(self) -> None:
        """Accept and queue nothing more. Up to some seconds: requests under way are answered."""
        self._stack.close()

    def _listen(self) -> None:
        try:
            server = WebhookServer(self._settings.webhooks, self._hooks, self._intake, token=self._token)
        except DuctorError as error:
            log.error("webhooks not served reason=%s", error)
            self._ledger.say([Reply(self._owner, f"⚠️ I take no webhooks: {error}")])
            return
        server.start()
        self._stack.callback(server.stop)

    def _end_overdue(self) -> None:
        """After a sleep of the machine the clocks of turns have stood still: by the clock on the wall they end all the same."""
        limit = 2.0 * self._settings.cli_timeout
        for lane in (*self._turns.end_overdue(limit), *self._unattended.end_overdue(limit)):
            log.warning("turn ended, it ran for too long lane=%s", lane)
