"""What a file is and what a folder holds: looked at by content, never followed out of the folder, never waited for."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import heapq
import os
import shlex
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ductor_lib.errors import DuctorError
from ductor_lib.tools import encodings, kinds
from ductor_lib.tools.faults import refused
from ductor_lib.tools.kinds import Kind

CHUNK = 1_048_576  # bytes of one read
LOOKED_AT = 100_000  # files of one listing
LEFT_OUT = frozenset({"node_modules", "__pycache__"})  # besides what begins with a dot


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Facts of one file; `size` in bytes, `modified` with the machine's offset, `encoding` and `lines` of a text only."""

    path: str
    kind: str
    format: str
    size: int
    modified: str
    sha256: str
    encoding: str | None = None
    lines: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a listing; `path` is relative to the folder, `age` in seconds. A link is named and not followed."""

    path: str
    kind: str
    size: int
    modified: str
    age: int


@dataclass(frozen=True, slots=True)
class Listing:
    """`total` counts what was found, `complete` is False when the folder has more than is looked at."""

    folder: str
    files: tuple[Entry, ...]
    total: int
    complete: bool


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. Raises DuctorError with a sentence for everything that is no readable file.

    A pipe would make us wait for its writer, and a device may never end: both are refused.
    """
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if os.path.isdir(path):  # Windows opens no folders
            raise _is_folder(path) from None
        raise refused(path, error) from None
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(file, "rb")
    os.close(file)
    if stat.S_ISDIR(mode):
        raise _is_folder(path)
    raise DuctorError(f"{path}: a pipe, socket or device, not a file. Save what comes out of it to a file first.")


def file_kind(path: Path) -> Kind:
    """What a file is. Raises DuctorError as `open_file` does."""
    with open_file(path) as file:
        return kinds.kind(file, path.name)


def file_info(path: Path) -> FileInfo:
    """Everything about one file; it is read once as a whole. Raises DuctorError as `open_file` does."""
    with open_file(path) as file:
        try:
            found = kinds.kind(file, path.name)
            pixels = kinds.image_size(file, found.format) or (None, None)
            file.seek(0)
            digest, encoding, lines = _through(file, text=found.group == "text")
            facts = os.fstat(file.fileno())
        except OSError as error:  # the disk, or a file that is not there after all: a cloud folder offline
            raise refused(path, error) from None
    return FileInfo(
        str(path), found.group, found.format, facts.st_size, stamp(facts.st_mtime), digest, encoding, lines, *pixels
    )  # fmt: skip


def list_files(folder: Path, *, limit: int = 20, now: float | None = None) -> Listing:
    """The newest files of a folder and its subfolders. Hidden ones are left out. Raises DuctorError without a folder."""
    try:
        os.scandir(folder).close()
    except NotADirectoryError:
        raise DuctorError(f"{folder}: a file, not a folder. Use `ductor tool file-info {shlex.quote(str(folder))}`.") from None
    except OSError as error:
        raise refused(folder, error) from None
    total = 0
    complete = True

    def counted() -> Iterator[tuple[float, str, os.stat_result]]:
        nonlocal total, complete
        for path, facts in _walk(folder):
            if total == LOOKED_AT:
                complete = False
                return
            total += 1
            yield facts.st_mtime, path, facts

    newest = heapq.nlargest(limit, counted(), key=lambda row: row[:2])
    moment = time.time() if now is None else now
    rows = (
        Entry(os.path.relpath(path, folder), _entry_kind(path, facts), facts.st_size, stamp(modified), round(moment - modified))
        for modified, path, facts in newest
    )
    return Listing(str(folder), tuple(rows), total, complete)


def stamp(seconds: float) -> str:
    """A moment as ISO 8601 with the machine's offset; empty for one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def _is_folder(path: Path) -> DuctorError:
    return DuctorError(f"{path}: a folder. List it with `ductor tool list-files {shlex.quote(str(path))}`.")


def _through(file: BinaryIO, *, text: bool) -> tuple[str, str | None, int | None]:
    """The digest of a file, and of a text its encoding and number of lines."""
    digest = hashlib.sha256()
    chunk = file.read(CHUNK)
    encoding = encodings.detect(chunk) if text else None
    decoder = codecs.getincrementaldecoder(encoding)() if encoding else None
    lines, last = 0, "\n"
    while chunk:
        digest.update(chunk)
        if decoder:
            try:
                letters = decoder.decode(chunk)
            except UnicodeError:  # the beginning looked like something else
                encoding = encodings.GUESSES[0]
                decoder = codecs.getincrementaldecoder(encodings.GUESSES[1])()  # it takes every byte
                letters = decoder.decode(chunk)
            lines += letters.count("\n")
            last = letters[-1:] or last
        chunk = file.read(CHUNK)
    return digest.hexdigest(), encoding, lines + (last != "\n") if encoding else None


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below the folder that is not hidden. What cannot be looked into is passed over."""
    waiting = [os.fspath(folder)]
    while waiting:
        for entry in _entries(waiting.pop()):
            with contextlib.suppress(OSError):  # gone in the meantime
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.path, entry.stat(follow_symlinks=False)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.name not in LEFT_OUT]
    except OSError:
        return []


def _entry_kind(path: str, facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return "link"
    if not stat.S_ISREG(facts.st_mode):
        return "no file"
    try:
        return str(file_kind(Path(path)))
    except (DuctorError, OSError):
        return "not readable"
