"""How fast the bot is there, and how much memory it has when nobody talks to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from tests.bench.figures import Figure
from tests.bench.rig import Rig, stopwatch


def start(runs: int) -> Iterator[Figure]:
    """Process start to the first getUpdates, beside an interpreter that does nothing."""
    seconds, bare = [], list[float]()
    for _ in range(runs):
        with stopwatch(bare):
            subprocess.run([sys.executable, "-c", "pass"], check=True)
        with Rig() as rig:
            first = next(call for call in rig.telegram.calls if call.method == "getUpdates")
            seconds.append(first.at - rig.started_at)
    yield Figure("start to first poll", seconds, "s", 0.5, f"an empty interpreter: {median(bare):.3f} s")


def memory(runs: int) -> Iterator[Figure]:
    """What the idle bot has in memory: after the start, and after some turns."""
    fresh, used = [], []
    for _ in range(max(1, runs // 3)):
        with Rig(warm=0) as rig:
            rig.telegram.wait(lambda telegram: any(call.method == "setMyCommands" for call in telegram.calls), what="the menu")
            rig.settle()
            fresh.append(rig.memory())
            for number in range(10):
                rig.ask(f"[[scenario:long size=4000]] {number}")
            rig.settle()
            used.append(rig.memory())
    yield Figure("idle memory after the start", fresh, "MB", 45.0, f"an empty interpreter: {_empty():.0f} MB")
    yield Figure("idle memory after 10 turns", used, "MB")


def _empty() -> float:
    """MB of an interpreter that does nothing."""
    script = "import os; print(open('/proc/self/statm').read().split()[1])"
    pages = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
