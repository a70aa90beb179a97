"""Every part of the bot, built once, in the order of the flow; leaving stops intake first and delivery last."""

from __future__ import annotations

import functools
import logging
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import ductor_lib
from ductor_lib import config
from ductor_lib.automation.engine import Automation
from ductor_lib.automation.operations import OPERATIONS, operate
from ductor_lib.automation.unattended import Unattended
from ductor_lib.bot.board import Board
from ductor_lib.bot.client import Client, sync_commands
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.poller import Ending, Poller
from ductor_lib.bot.sender import Sender
from ductor_lib.bot.stream import StreamViews
from ductor_lib.bot.updates import Access
from ductor_lib.cli import sweep
from ductor_lib.cli.clis import Clis
from ductor_lib.cli.own_turns import OwnTurn
from ductor_lib.cli.transcripts import Transcripts
from ductor_lib.commands.desk import Desk
from ductor_lib.commands.table import bind, menu
from ductor_lib.config import Settings
from ductor_lib.infra.requests import Requests
from ductor_lib.loop import Loop
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.dispatch import Dispatch
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.limits import Limits
from ductor_lib.orchestrator.plans import Plans
from ductor_lib.orchestrator.recovery import recover
from ductor_lib.orchestrator.router import Router
from ductor_lib.orchestrator.sending import send
from ductor_lib.orchestrator.turns import Turns
from ductor_lib.paths import Paths
from ductor_lib.security import FileAccess
from ductor_lib.session import Freshness, Sessions
from ductor_lib.storage import JsonFile
from ductor_lib.workspace.home import Changes
from ductor_lib.workspace.upkeep import Upkeep

log = logging.getLogger(__name__)

TURN_GRACE = 8.0  # seconds for ended turns to store what they have
FLUSH_GRACE = 5.0  # seconds for the last replies to leave
HOUSEKEEPING = 30.0  # seconds between two looks at idle agents
PURGE_EVERY = 3600.0  # seconds
REQUESTS_EVERY = 0.2  # seconds between two looks into the request folder
ENTRY = Path(ductor_lib.__file__).parent.parent / "ductor.py"
START = (sys.executable, str(ENTRY)) if ENTRY.exists() else (sys.executable, "-m", "ductor_lib.main")  # how this program is started
MOST_LINES = 20  # about the home, in one message
OWN_TURN_WAIT = 1.0  # seconds; how long the watcher of own turns takes to notice the end


class App:
    """The bot. Enter it to start, leave it to stop. `command` starts the agent; `environment` is what agents may inherit from.

    `state` is state.json where it was already read for the settings: what was wrong with it is told to the owner.
    Raises DuctorError and OSError when it cannot start.
    """

    def __init__(
        self, settings: Settings, paths: Paths, *, environment: Mapping[str, str] = os.environ, command: tuple[str, ...] = ("claude",),
        codex_command: tuple[str, ...] = ("codex",), state: JsonFile | None = None,
    ) -> None:
        run = uuid.uuid4().hex
        self._paths = paths
        self._run = run
        self._settings = settings
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._ending = Ending()
        self._purge_at = 0.0
        paths.create()
        self.ledger = Ledger(paths.ledger)
        self._client = Client(settings.telegram_token, settings.telegram_api_url)
        self._state_file = state or JsonFile(paths.state)
        groups, access = Groups(settings.allowed_group_ids, self._state_file), FileAccess.of(settings, paths)
        self.sender = Sender(
            self._client, self.ledger.outbox, groups, access,
            interval=settings.streaming.edit_interval_seconds, max_failures=settings.streaming.max_edit_failures,
        )
        self._sessions_file = JsonFile(paths.sessions)
        sessions = Sessions(self._sessions_file, freshness(settings))
        self.clis = Clis(settings, paths, run=run, environment=environment, claude=command, codex=codex_command)
        sign_ins, catalogue = self.clis.sign_ins, self.clis.catalogue
        choices = Choices(settings, sessions, self._state_file, catalogue, sign_ins)
        self._upkeep = Upkeep(paths, self._state_file, environment=self.clis.variables, command=START, signed_in=sign_ins.signed_in)
        board = Board(StreamViews(self.sender, settings.streaming), self.sender, self.ledger)
        mode = permission_mode(settings, environment)
        limits = Limits(settings, self.ledger, self._state_file)
        plans = Plans(settings, paths, self.ledger, sessions, choices, permission_mode=mode)
        turns = Turns(settings, paths.workspace, self.ledger, sessions, self.clis.agents, plans, sign_ins, limits, board)
        self._unattended = Unattended(settings, paths, self.ledger, self.clis.agents, choices, sign_ins, limits, permission_mode=mode)
        heard = Access(frozenset(settings.allowed_user_ids), groups, settings.allowed_user_ids[0])
        released: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self._automation = Automation(
            settings, paths, self._state_file, self.ledger, sessions, choices, catalogue, turns, self._unattended, released,
            providers=sign_ins.signed_in, place=lambda chat: groups.current(chat) if heard.allows(chat) else None,
        )
        desk = Desk(
            settings, paths, mode, self.ledger, sessions, self.clis.agents, sign_ins, catalogue, Transcripts(environment), choices, limits,
            turns, board, self._automation.office, self._automation.heartbeat, released, time.monotonic(),
        )
        self._turns, self._released = turns, released
        router = Router(bind(desk), settings.inbox.stop_words, self.ledger, turns, self._unattended, board)
        self.dispatch = Dispatch(self.ledger, router, board, released, fresh_seconds=settings.inbox.fresh_minutes * 60.0)
        operations = {name: functools.partial(operate, name, self._automation.office) for name in OPERATIONS}
        self._requests = Requests(paths.requests, {"send": functools.partial(send, self.ledger, settings, groups, access), **operations})
        self._poller = Poller(self._client, self.ledger, self.sender, self.dispatch, heard, groups, self._ending)

    def __enter__(self) -> App:
        with self._stack as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def _start(self, stack: ExitStack) -> None:
        ended = sweep.sweep_home(self._paths.home, self._run)
        if ended:
            log.warning("agents of the last run ended processes=%d", ended)
        stack.callback(self.ledger.close)
        self._report_home(self._upkeep.prepare())
        waiting = recover(self.ledger)
        self._report_damage()
        self.sender.start()
        stack.callback(self.sender.stop)
        stack.callback(self.sender.flush, FLUSH_GRACE)
        stack.callback(self.clis.close)
        self.dispatch.start()
        stack.callback(self.dispatch.stop, grace=TURN_GRACE)
        stack.callback(self._turns.close)
        stack.callback(self._unattended.close)
        for item in waiting:
            self.dispatch.put(item)
        self._upkeep.start()
        stack.callback(self._upkeep.stop)
        for loop in (
            Loop("own turns", self._take_own_turn), Loop("housekeeping", self._housekeep), Loop("requests", self._serve_requests)
        ):
            loop.start()
            stack.callback(loop.stop)
        self._automation.start()
        stack.callback(self._automation.stop)
        self._poller.start()
        stack.callback(self._poller.stop)
        log.info("started home=%s parallel=%d", self._paths.home, config.agents_parallel(self._settings))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._stack.close()

    def stop(self) -> None:
        """Let `wait` return. Any thread, and signal handlers."""
        self._ending.end()

    def wait(self) -> str:
        """Block until `stop`, or until there is a reason to give up: the reason for a person, "" without one."""
        return self._ending.wait()

    def settled(self) -> bool:
        """Whether nothing runs, nothing waits, and everything that was said has arrived."""
        return not self.ledger.unfinished() and self.sender.idle()

    def _take_own_turn(self) -> None:
        """Make an Incoming of a turn that an agent has begun by itself."""
        try:
            own: OwnTurn = self.clis.claude.own_turns.get(timeout=OWN_TURN_WAIT)
        except queue.Empty:
            return
        item = Incoming(own.key, Chat.of(own.conversation), "(a background task has ended)", kind="agent", sent_at=time.time())
        try:
            stored = self.ledger.accept([item])
        except Exception:
            self.clis.claude.own_turns.put(own)  # the loop tries again
            raise
        for one in stored:
            self._released.put(one)

    def _serve_requests(self) -> None:
        """What programs on this machine ask for."""
        if not self._requests.step():
            self._stopping.wait(REQUESTS_EVERY)

    def _housekeep(self) -> None:
        """The slow and regular work: the menu, idle agents, old rows."""
        now = time.monotonic()
        if not self._purge_at:
            sync_commands(self._client, menu())
            self._purge_at = now + PURGE_EVERY  # not at once: after a wrong clock the old rows still tell what was answered
        elif now >= self._purge_at:
            self.ledger.purge()
            self._purge_at = now + PURGE_EVERY
        self.clis.keep_up()
        self._stopping.wait(HOUSEKEEPING)

    def _report_home(self, changes: Changes) -> None:
        """Tell the owner what the upgrade of the home has moved, and what it could not do."""
        lines = [f"`{name}`: a copy of what was edited here; a new text took its place" for name in changes.kept]
        lines += [f"`{name}`: moved" for name in changes.moved]
        if lines := [*lines, *changes.skipped]:
            more = [f"and {len(lines) - MOST_LINES} more, named in `logs/agent.log`"] if len(lines) > MOST_LINES else []
            listed = "\n".join(f"• {line}" for line in [*lines[:MOST_LINES], *more])
            self.ledger.say([Reply(Chat(self._settings.allowed_user_ids[0]), f"🏠 About ductor's home:\n{listed}")])

    def _report_damage(self) -> None:
        """Tell the owner which files could not be read and where they are now."""
        self._sessions_file.read()
        damaged = (self.ledger.damaged, self._sessions_file.damaged, self._state_file.damaged)
        names = ", ".join(f"`{path.name}`" for path in damaged if path)
        if names:
            text = f"⚠️ I could not read a file of mine. It is kept as {names} in ductor's home; I started with an empty one."
            self.ledger.say([Reply(Chat(self._settings.allowed_user_ids[0]), text)])


def freshness(settings: Settings) -> Freshness:
    return Freshness(
        idle_minutes=settings.idle_timeout_minutes, daily_reset=settings.daily_reset_enabled, daily_hour=settings.daily_reset_hour,
        timezone=config.timezone(settings), max_messages=settings.max_session_messages,
        age_warning_hours=settings.session_age_warning_hours,
    )


def permission_mode(settings: Settings, environment: Mapping[str, str]) -> str:
    """The mode agents run in. Claude Code refuses bypassPermissions as root unless IS_SANDBOX=1 says that the machine is one."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if settings.permission_mode != "bypassPermissions" or not root or environment.get("IS_SANDBOX") == "1":
        return settings.permission_mode
    log.warning(
        "permission_mode is acceptEdits: ductor runs as root, where Claude Code refuses bypassPermissions. "
        "Run ductor as an ordinary user, or set IS_SANDBOX=1 if the machine may be broken."
    )
    return "acceptEdits"
