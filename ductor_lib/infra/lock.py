"""One bot per home: two would take each other's updates and write into the same sessions."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from ductor_lib.errors import DuctorError
from ductor_lib.storage import try_lock, unlock


class HomeLock:
    """The right to run a bot for a home, held from construction until the `with` block ends. Any one thread.

    The system takes it back when the process dies in any way, and programs started meanwhile do not inherit it.
    The file `path` holds the pid of the holder; it stays afterwards, empty. Raises DuctorError while another bot has
    the lock, and OSError where the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        if not try_lock(self._file):
            holder = _holder(self._file)
            os.close(self._file)
            raise DuctorError(
                f"ductor already runs for this home{holder}. Stop that one first, or set DUCTOR_HOME to another folder for a second bot."
            )
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, b"%d\n" % os.getpid())

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.ftruncate(self._file, 0)
        unlock(self._file)  # closing is not enough: a child being forked has the same open file for a moment
        os.close(self._file)


def _holder(file: int) -> str:
    """' (pid 42)', or nothing in the moment before the holder has written it."""
    os.lseek(file, 0, os.SEEK_SET)
    digits = os.read(file, 20).strip()
    return f" (pid {int(digits)})" if digits.isdigit() else ""
