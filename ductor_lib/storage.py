"""The one writer of files that are replaced: a change lands whole or not at all, and one of a JSON file under a lock."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ductor_lib.errors import DuctorError

log = logging.getLogger(__name__)

TEMPORARY = ".ductor-tmp"  # how the name of a file ends while `write_text` writes it; a killed writer leaves it behind

# The seam for file locks. A lock belongs to the open file: it keeps out threads and processes alike, and the system
# drops it when its process dies.
if sys.platform == "win32":
    import msvcrt

    LOCKED_BYTE = 0x7FFF0000  # far behind the content: a locked byte cannot be read by others

    def lock(file: int) -> None:
        """Wait until this open file (a descriptor) is ours alone."""
        while not try_lock(file):
            with contextlib.suppress(OSError):  # LK_LOCK gives up after ten seconds
                msvcrt.locking(file, msvcrt.LK_LOCK, 1)
                return

    def try_lock(file: int) -> bool:
        """Take the lock of this open file unless somebody has it. Never waits."""
        os.lseek(file, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(file: int) -> None:
        os.lseek(file, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(file: int) -> None:
        """Wait until this open file (a descriptor) is ours alone."""
        fcntl.flock(file, fcntl.LOCK_EX)

    def try_lock(file: int) -> bool:
        """Take the lock of this open file unless somebody has it. Never waits."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that this file stands for; it is made, and never removed, as a waiting process holds it open."""
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        lock(file)
        try:
            yield
        finally:
            unlock(file)  # closing is not enough: a child being forked has the same open file for a moment
    finally:
        os.close(file)


class JsonFile:
    """A JSON object in a file. Any thread, any process; every reader gets a copy of its own.

    A damaged file of the bot's own is moved aside to NAME.damaged-<unix time>, named by `damaged`, and the file starts
    empty. A damaged file of the user's (`own=False`) stays as it is, and using it raises DuctorError with file and line.
    Nothing is cached: reading and parsing anew is faster than copying a parsed object, and outside edits are seen at
    once. Raises OSError where the disk does not let us.
    """

    def __init__(self, path: Path, *, own: bool = True, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._own = own
        self._now = now
        self._lock = path.with_name(path.name + ".lock")  # never the file itself: it is replaced
        self._damaged: Path | None = None

    @property
    def damaged(self) -> Path | None:
        """The copy that was moved aside last, to tell the owner; None when all was well."""
        return self._damaged

    def read(self) -> dict[str, object]:
        """What the file holds now; empty when there is none. Waits for nobody."""
        try:
            return _parse(_bytes(self.path))
        except _Damage as damage:
            if not self._own:
                raise self._complaint(damage) from None
        with locked(self._lock):
            return self._checked()

    @contextmanager
    def change(self) -> Iterator[dict[str, object]]:
        """Change the object that is yielded, in place; it is written when the body ends without an exception.

        Keep the body short, the lock is held; a change inside a change of the same file waits for itself for ever.
        What did not change is not written. A power cut may take the last change back, but never leaves half of it.
        """
        with locked(self._lock):
            data = self._checked()
            before = json.dumps(data)  # compared as text: to Python 1, 1.0 and True are equal
            yield data
            if json.dumps(data) != before:
                self._write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")

    def _checked(self) -> dict[str, object]:
        """The object; an own damaged file is moved aside first. Only under the lock."""
        try:
            return _parse(_bytes(self.path))
        except _Damage as damage:
            if not self._own:
                raise self._complaint(damage) from None
            self._damaged = _move_aside(self.path, int(self._now()))
            log.error("file damaged moved=%s line=%d reason=%s", self._damaged.name, damage.line, damage)
            return {}

    def _write(self, text: str) -> None:
        target = Path(os.path.realpath(self.path))  # a file that is a link stays one
        # One name is enough under the lock, and what a killed writer left is overwritten by the next.
        temporary = target.with_name(target.name + ".tmp")
        with open(temporary, "wb", opener=_private) as file:
            # A lone surrogate cannot be encoded; backslashreplace writes \udXXX, which is JSON's own spelling of it.
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)

    def _complaint(self, damage: _Damage) -> DuctorError:
        return DuctorError(f"{self.path}, line {damage.line}: {damage}. Correct the file; nothing in it was changed.")


class _Damage(Exception):
    """The file is not a JSON object; `line` is the first that shows it, counted from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parse(raw: bytes | None) -> dict[str, object]:
    if raw is None:
        return {}
    try:
        data = json.loads(raw.decode("utf-8-sig"))  # Windows editors put a byte order mark in front
    except json.JSONDecodeError as error:
        raise _Damage(error.msg, error.lineno) from None
    except UnicodeDecodeError as error:
        raise _Damage("not UTF-8", raw.count(b"\n", 0, error.start) + 1) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested thousands deep
        raise _Damage(str(error), 1) from None
    if not isinstance(data, dict):
        raise _Damage("the file must hold one object, {…}", 1)
    return data


def write_text(path: Path, text: str | bytes, *, mode: int = 0o600) -> None:
    """Write a file that is not JSON: all of it or, whatever happens, nothing. A link is replaced by the file.

    Any thread, any process; of two writers the last one wins. `mode` is the file's, narrowed by the umask. Raises
    OSError where the disk does not let us; the file is then as it was.
    """
    content = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _move_aside(path: Path, stamp: int) -> Path:
    """Rename to a name that is free, so that an earlier damaged copy is kept too."""
    while (target := path.with_name(f"{path.name}.damaged-{stamp}")).exists():
        stamp += 1
    return path.rename(target)
