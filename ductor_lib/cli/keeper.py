"""Keeps the processes of all conversations: who uses one, which stay warm, and how they leave."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.turn import Stop

LEAVING = 8.0  # seconds for a process that was told to leave
COURTESY = 0.1  # seconds before a process that must go is ended: the answer that has just come is stored and sent first
WAKE = 5.0  # seconds between two looks at what another thread should have announced

log = logging.getLogger(__name__)


class Keeper:
    """At most one process per conversation. `parallel` is the number of processes from which on idle ones make room.

    Up to `warm` idle ones are kept, the least recently used goes first, each for `warm_seconds`. One with background
    tasks is not idle. A process that must go leaves in a thread of its own, which ends with it; when it is the end of a
    turn that makes it go, after `courtesy` seconds. Any thread.
    """

    def __init__(
        self, *, parallel: int, warm: int, warm_seconds: float, now: Callable[[], float], courtesy: float = COURTESY
    ) -> None:
        self._parallel = parallel
        self._warm = warm
        self._warm_seconds = warm_seconds
        self._now = now
        self._courtesy = courtesy
        self._changed = threading.Condition()
        self._processes: dict[str, ClaudeProcess] = {}
        self._leaving: dict[str, tuple[threading.Thread, threading.Event]] = {}  # the event cuts the courtesy short

    def names(self) -> list[str]:
        with self._changed:
            return [name for name, process in self._processes.items() if process.child.running]

    def wake(self, conversation: str) -> None:
        """Let who listens to the conversation's process look at its Stop."""
        with self._changed:
            if process := self._processes.get(conversation):
                process.child.wake()
            self._changed.notify_all()

    def claim(self, conversation: str, stop: Stop) -> ClaudeProcess | None:
        """The conversation's process, busy from now on; a turn of its own that runs there is waited for.

        None when there is no process, or when the turn was stopped meanwhile.
        """
        with self._changed:
            while (process := self._processes.get(conversation)) is not None and process.watched and stop.reason is None:
                process.wanted = True
                process.child.wake()
                self._changed.wait(WAKE)
            if process is None:
                return None
            process.wanted = False
            if stop.reason is not None:
                return None
            process.busy = True
            return process

    def replace(self, conversation: str) -> None:
        """Make way for a new process: the old one has left when this returns, since two in one session lose a turn."""
        with self._changed:
            self._dismiss(lambda process: process.conversation == conversation)
            surplus = self._oldest(len(self._processes) + 1 - self._parallel)
            self._dismiss(lambda process: process in surplus)
            leaving = self._leaving.get(conversation)
        if leaving is not None:
            _await([leaving])

    def add(self, process: ClaudeProcess) -> None:
        """Keep a new process, busy."""
        process.busy = True
        with self._changed:
            self._processes[process.conversation] = process

    def settle(self, process: ClaudeProcess, *, spoilt: bool) -> bool:
        """The turn is over. True when somebody must listen to the process from now on, until `unwatch` says so.

        That is so once it has announced a background task: turns may begin by themselves.
        """
        with self._changed:
            process.busy = False
            process.used = self._now()
            process.retired = process.retired or spoilt or not process.child.running
            self._dismiss(lambda candidate: candidate is process and process.retired)
            surplus = self._oldest(sum(candidate.idle for candidate in self._processes.values()) - self._warm)
            self._dismiss(lambda candidate: candidate in surplus, after=self._courtesy)
            listen = self._processes.get(process.conversation) is process and process.tasks.seen and not process.watched
            process.watched = process.watched or listen
            self._changed.notify_all()
            return listen

    def unwatch(self, process: ClaudeProcess) -> bool:
        """Whether the listener may go: a turn wants the process, or there is nothing to hear any more."""
        with self._changed:
            if not (process.wanted or process.retired or process.child.ended):
                return False
            process.watched = False
            self._changed.notify_all()
            return True

    def begin_own(self, process: ClaudeProcess) -> None:
        """The process works by itself."""
        with self._changed:
            process.busy = True

    def release(self, conversation: str) -> None:
        """Let the conversation's process leave, now or at the end of its turn."""
        with self._changed:
            if process := self._processes.get(conversation):
                process.retired = True
                self._dismiss(lambda candidate: candidate is process and not candidate.busy)

    def evict_idle(self) -> None:
        """Let those leave that were idle for too long, and those that are dead."""
        oldest = self._now() - self._warm_seconds
        with self._changed:
            self._dismiss(lambda process: (process.idle and process.used < oldest) or not (process.busy or process.child.running))

    def close(self) -> None:
        """End every process, all at once. Up to some seconds."""
        with self._changed:
            self._dismiss(lambda process: not process.busy)
            self._dismiss(lambda process: True, end=lambda process: process.destroy(0.0))
            leaving = list(self._leaving.values())
        _await(leaving)

    def _oldest(self, count: int) -> list[ClaudeProcess]:
        """That many of the idle ones, the least recently used first."""
        idle = sorted((process for process in self._processes.values() if process.idle), key=lambda process: process.used)
        return idle[: max(0, count)]

    def _dismiss(
        self, unwanted: Callable[[ClaudeProcess], bool], *, after: float = 0.0, end: Callable[[ClaudeProcess], None] = ClaudeProcess.finish
    ) -> None:
        """Under the lock: forget these processes and let them leave."""
        for name, process in list(self._processes.items()):
            if unwanted(process):
                del self._processes[name]
                hurry = threading.Event()
                given = (process, hurry, after, end)
                thread = threading.Thread(target=self._see_off, args=given, name=f"claude {name} leaving", daemon=True)
                self._leaving[name] = thread, hurry
                thread.start()

    def _see_off(self, process: ClaudeProcess, hurry: threading.Event, after: float, end: Callable[[ClaudeProcess], None]) -> None:
        hurry.wait(after)
        try:
            end(process)
        except Exception:
            log.exception("agent not ended cleanly conversation=%s", process.conversation)
        with self._changed:
            if self._leaving.get(process.conversation, (None,))[0] is threading.current_thread():
                del self._leaving[process.conversation]


def _await(leaving: Sequence[tuple[threading.Thread, threading.Event]]) -> None:
    """Let these leave now, and wait for it."""
    for _, hurry in leaving:
        hurry.set()
    for thread, _ in leaving:
        thread.join(LEAVING)
