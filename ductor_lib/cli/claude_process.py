"""One running Claude Code: what it was started with, what it has spent, which background tasks it has; ended with all it left."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ductor_lib import logs
from ductor_lib.cli import claude, sweep
from ductor_lib.cli.environment import MARK
from ductor_lib.cli.process import ChildProcess
from ductor_lib.ports import TurnRequest
from ductor_lib.storage import write_text

BUDGET_USED = 0.1  # share of a turn's budget that a process may have spent before: its own limit is for its whole life
EOF_SECONDS = 3.0  # an idle process leaves in 80 ms; one with background tasks would wait 5 s for them, and needs a signal
DETAIL_CHARS = 300

log = logging.getLogger(__name__)


class Tasks:
    """The background tasks that an agent has announced, from its raw lines.

    A task is in the background once the call that began it has returned: a slow foreground command is announced too.
    """

    def __init__(self) -> None:
        self.seen = False  # one was ever announced: turns may begin by themselves
        self.ended = 0  # since the last turn began: the next turn may be about them
        self._calls: dict[str, float] = {}  # open calls and those of open tasks: id → begun
        self._returned: set[str] = set()
        self._open: dict[str, tuple[str, sweep.Span]] = {}

    @property
    def background(self) -> list[sweep.Span]:
        """When each task that runs now was begun, on the scale of `sweep.clock`."""
        return [span for call, span in self._open.values() if call in self._returned]

    def feed(self, raw: claude.Raw, now: float) -> None:
        """Take one raw line, read at `now` (`sweep.clock`)."""
        kind, subtype = raw.get("type"), raw.get("subtype")
        if kind in ("assistant", "user"):
            self._note_calls(raw, now)
        elif subtype == "task_started":
            call = str(raw.get("tool_use_id"))
            self._open[str(raw.get("task_id"))] = call, sweep.Span(self._calls.get(call, now), now)
        elif subtype == "task_notification":
            self._open.pop(str(raw.get("task_id")), None)
            self.ended += str(raw.get("tool_use_id")) in self._returned
        elif subtype == "init":
            self.ended = 0
        elif kind == "result":
            self.seen = self.seen or bool(self.background)
            still = {call for call, _ in self._open.values()}
            self._calls = {call: begun for call, begun in self._calls.items() if call in still}
            self._returned &= still

    def _note_calls(self, raw: claude.Raw, now: float) -> None:
        message = raw.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else []:
            if isinstance(block, dict) and block.get("type") == "tool_use":
                self._calls[str(block.get("id"))] = now
            elif isinstance(block, dict) and block.get("type") == "tool_result":
                self._returned.add(str(block.get("tool_use_id")))
                self.seen = self.seen or bool(self.background)


class ClaudeProcess:
    """A process for one conversation; its system prompt lies in the folder `prompts`. Raises OSError when it cannot be started.

    Used by one consumer at a time; the pool guards who that is (`busy`, `watched`, `wanted`, `retired` are the pool's).
    """

    def __init__(
        self, command: Sequence[str], request: TurnRequest, *, resume: bool, environment: Mapping[str, str], secrets: Sequence[str],
        prompts: Path,
    ) -> None:
        self.conversation = request.conversation
        self.request = request
        self.marker = environment[MARK]
        self.session_id = request.session_id
        self.spent = 0.0
        self.skipped = 0  # lines that were no JSON
        self.unknown = 0  # events that the parser did not know
        self.tasks = Tasks()
        self.turns = 0
        self.used = 0.0
        self.busy = self.watched = self.wanted = self.retired = False
        self._logged = False
        self._secrets = secrets
        self._identity = identity(command, request)
        name = f"claude {request.conversation}"
        instructions = prompts / f"{request.conversation.replace(':', '_')}.md"
        prompts.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(instructions, claude.system_prompt(request))
        words = claude.argv(command, request, resume=resume, instructions=instructions)
        self.child = ChildProcess(words, cwd=request.cwd, environment=environment, name=name)
        log.info("agent started conversation=%s pid=%d resumed=%s", self.conversation, self.child.pid, resume)

    @property
    def idle(self) -> bool:
        """True when nothing would be lost with it."""
        return not self.busy and not self.tasks.background

    @property
    def problem(self) -> str:
        """What it said on stderr at last, fit to be shown: without secrets, at most 300 characters."""
        text = self.child.stderr
        for secret in filter(None, self._secrets):
            text = text.replace(secret, logs.HIDDEN)
        return logs.redact(text)[-DETAIL_CHARS:]

    def fits(self, command: Sequence[str], request: TurnRequest) -> bool:
        """Whether this process can take the request: alive, and everything on its command line still matches."""
        affordable = not request.max_budget_usd or self.spent <= request.max_budget_usd * BUDGET_USED
        same = self.session_id == request.session_id and self._identity == identity(command, request)
        return same and affordable and self.child.running and self._quiet()

    def finish(self) -> None:
        """Let an idle process leave, with its background tasks, and end what is left of its own session. Up to some seconds."""
        self.child.finish(0.0 if self.tasks.background else EOF_SECONDS)
        sweep.stop([process for process in sweep.family(self.marker, self.child.pid) if process.session == self.child.pid])
        self._log_end()

    def destroy(self, since: float) -> None:
        """End it at once, with its servers and every tool begun since `since` (`sweep.clock`)."""
        noted = sweep.family(self.marker, self.child.pid)  # afterwards descent says nothing any more
        self.child.terminate()
        members = {process.pid: process for process in (*noted, *sweep.family(self.marker, self.child.pid))}.values()
        own = [process for process in members if process.session == self.child.pid]
        sweep.stop([*own, *sweep.leftovers(members, cli=self.child.pid, since=since)])
        self.child.abandon()
        self._log_end()

    def sweep(self, since: float) -> None:
        """After an interrupt: end tools begun since `since`; announced background tasks and servers stay."""
        members = sweep.family(self.marker, self.child.pid)
        sweep.stop(sweep.leftovers(members, cli=self.child.pid, since=since, spared=self.tasks.background))

    def _quiet(self) -> bool:
        """Take what it said while nobody listened. False when it has begun something by itself, or is gone.

        Where turns may begin by themselves there was a listener, and what came since then is for the turn to tell apart.
        """
        if self.tasks.seen:
            return not self.child.ended
        while (line := self.child.read(0)) is not None:
            raw = claude.parse(line)
            if not line or (raw and raw.get("subtype") == "init"):
                return False
            if raw:
                self.tasks.feed(raw, sweep.clock())
        return True

    def _log_end(self) -> None:
        """Once, however often it is ended."""
        if self._logged:
            return
        self._logged = True
        facts = (self.conversation, self.child.pid, self.child.returncode, self.turns, self.skipped + self.child.skipped, self.unknown)
        log.info("agent ended conversation=%s pid=%d code=%s turns=%d skipped=%d unknown=%d", *facts)
        if problem := self.problem:
            log.debug("agent said on stderr conversation=%s text=%r", self.conversation, problem)


def identity(command: Sequence[str], request: TurnRequest) -> tuple[str, ...]:
    """Everything that is fixed when a process starts, except its session, which `/clear` may change, and its memory."""
    fixed = dataclasses.replace(request, session_id="", memory="")
    return (str(request.cwd), fixed.instructions, *claude.argv(command, fixed, resume=True, instructions=Path()))
