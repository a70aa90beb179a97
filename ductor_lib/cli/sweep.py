"""Finds and ends what an agent left running: by the mark in its environment where the system shows it, else by descent.

A signal is only sent to a process that is still the one that was found: same id, same start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.cli import environment

PROC = Path("/proc")
BY_ENVIRONMENT = (PROC / "self" / "environ").exists()
EARLY = 0.1 if BY_ENVIRONMENT else 1.5  # seconds a process may seem older than its announcement; ps tells whole seconds
LATE = 0.0 if BY_ENVIRONMENT else 1.5  # seconds it may seem younger
ROUNDING = 0.02  # seconds; /proc counts starts in hundredths and cuts off the rest
GRACE = 1.0  # seconds between TERM and KILL
PAUSE = 0.02  # seconds between two looks
PS_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the system. `session` is the id of its session (of its group where ps is asked).

    `started` is in seconds on the scale of `clock`.
    """

    pid: int
    parent: int
    session: int
    started: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time on the scale of `clock`, in which an announced background task was begun."""

    begin: float
    end: float

    def covers(self, moment: float) -> bool:
        return self.begin - EARLY <= moment <= self.end + LATE


def clock() -> float:
    """Now, in seconds, on the scale of process starts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if BY_ENVIRONMENT else time.time()


def family(marker: str, root: int) -> list[Process]:
    """The process `root`, its descendants, and everything that carries the mark. Milliseconds on Linux."""
    table = processes()
    members = _descendants(table, root)
    if BY_ENVIRONMENT:
        members |= {pid for pid in table if _carries(pid, lambda found: found.get(environment.MARK) == marker)}
    return [table[pid] for pid in sorted(members - {os.getpid()})]


def leftovers(members: Iterable[Process], *, cli: int, since: float, spared: Sequence[Span] = ()) -> list[Process]:
    """Which of an agent's processes are tools begun since `since` that nobody announced as a background task.

    Claude Code runs every tool in a session of its own, and MCP servers in the session of the process `cli`: those
    are left out. What a kept process started is kept too.
    """
    sessions: dict[int, list[Process]] = {}
    for process in members:
        if process.session != cli:
            sessions.setdefault(process.session, []).append(process)
    begun = {session: min(group, key=lambda process: process.started) for session, group in sessions.items()}
    owner = {process.pid: session for session, group in sessions.items() for process in group}
    kept: set[int] = set()
    for session, first in sorted(begun.items(), key=lambda item: item[1].started):
        if first.started < since - ROUNDING or owner.get(first.parent) in kept or any(span.covers(first.started) for span in spared):
            kept.add(session)
    return [process for session, group in sessions.items() if session not in kept for process in group]


def stop(found: Sequence[Process], *, grace: float = GRACE) -> None:
    """End these processes: TERM, up to `grace` seconds, KILL. Returns when they are gone or cannot be ended."""
    pause = threading.Event()
    for number in (signal.SIGTERM, signal.SIGKILL) if os.name == "posix" else ():
        for process in filter(_alive, found):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        until = time.monotonic() + grace
        while any(map(_alive, found)) and time.monotonic() < until:
            pause.wait(PAUSE)


def sweep_home(home: Path, run: str) -> int:
    """End agents that a former run of this home left behind, and their tools. Returns how many processes were ended.

    Call it before any agent is started. Never ends this process or one of its ancestors. Finds nothing where the
    system does not show environments.
    """

    def former(found: dict[str, str]) -> bool:
        mark = found.get(environment.MARK, "")
        return found.get(environment.HOME) == str(home) and bool(mark) and not mark.startswith(f"{run}/")

    return _sweep(former)


def sweep_run(run: str) -> int:
    """End everything that agents of this run started. Returns how many processes were ended."""
    return _sweep(lambda found: found.get(environment.MARK, "").startswith(f"{run}/"))


def processes() -> dict[int, Process]:
    """Every living process by its id; zombies are left out."""
    if not BY_ENVIRONMENT:
        return _from_ps()
    found = (_from_proc(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit())
    return {process.pid: process for process in found if process is not None}


def parse_ps(output: str, now: float) -> dict[int, Process]:
    """The table that `ps -A -o pid=,ppid=,pgid=,stat=,etime=` prints; the age is [[days-]hours:]minutes:seconds."""
    found = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) != 5 or words[3].startswith("Z"):
            continue
        days, _, clock_time = words[4].rpartition("-")
        age = 0
        for part in clock_time.split(":"):
            age = age * 60 + int(part)
        pid, parent, group = map(int, words[:3])
        found[pid] = Process(pid, parent, group, now - age - int(days or 0) * 86_400)
    return found


def _sweep(wanted: Callable[[dict[str, str]], bool]) -> int:
    if not BY_ENVIRONMENT:
        return 0
    ended = 0
    for _ in range(2):  # what was started while the first round went on
        table = processes()
        marked = {pid for pid in table if _carries(pid, wanted)} - _ancestors(table, os.getpid())
        stop([table[pid] for pid in sorted(marked)])
        ended += len(marked)
        if not marked:
            break
    if ended:
        log.warning("leftover processes ended count=%d", ended)
    return ended


def _descendants(table: dict[int, Process], root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    members, todo = set(), [root] if root in table else []
    while todo:
        pid = todo.pop()
        if pid not in members:
            members.add(pid)
            todo += children.get(pid, [])
    return members


def _ancestors(table: dict[int, Process], pid: int) -> set[int]:
    line = {pid}
    while pid in table and (pid := table[pid].parent) not in line:
        line.add(pid)
    return line


def _carries(pid: int, wanted: Callable[[dict[str, str]], bool]) -> bool:
    try:
        data = (PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    if environment.MARK.encode() not in data:
        return False
    pairs = (entry.partition("=") for entry in data.decode("utf-8", "surrogateescape").split("\0"))
    return wanted({name: value for name, _, value in pairs})


def _from_proc(pid: int) -> Process | None:
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # proc(5): the name in brackets may hold anything
    if fields[0] in b"ZX":
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def _from_ps() -> dict[int, Process]:
    try:
        words = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,etime="]
        output = subprocess.run(words, capture_output=True, text=True, timeout=PS_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_ps(output, time.time())


def _alive(process: Process) -> bool:
    if BY_ENVIRONMENT:
        now = _from_proc(process.pid)
        return now is not None and now.started == process.started  # the parent may have changed meanwhile
    try:
        os.kill(process.pid, 0)
    except OSError:
        return False
    return True
