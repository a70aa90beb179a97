"""Prepares copies of a home, and is killed before the first, the second, the third... change: `python -m tests.crash_home OLD COPIES`.

The copies are called 1, 2, 3...; the last one is the first in which the preparation came to its end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from ductor_lib.paths import Paths
from ductor_lib.workspace.home import prepare

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
COMMAND = ("python3", "/opt/ductor.py")


def die_before(number: int) -> None:
    """Kill this process before its `number`-th change to the disk. Opening for writing, and what follows it, is one."""
    seen = count(1)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main(old: Path, copies: Path) -> None:
    for number in count(1):
        home = copies / str(number)
        shutil.copytree(old, home, symlinks=True)
        child = os.fork()
        if not child:
            die_before(number)
            prepare(Paths(home), signed_in={"claude", "codex"}, command=COMMAND, now=lambda: 1_800_000_000.0)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
