"""What verbs print and the codes they end with: whatever is in a name or a text, no line is forged and nothing is a traceback."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TextIO

DONE, FAILED, UNUSABLE = 0, 1, 2
UNITS = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB"))


def say(text: str, stream: TextIO, code: int) -> int:
    """Print, and return `code`. UTF-8 whatever the terminal believes; what is not UTF-8 shows as \\udcff, JSON's spelling, too."""
    try:
        stream.flush()
        stream.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace") if text else b"")
        stream.buffer.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python must not complain when it flushes at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def shown(text: str) -> str:
    """A file's name, or a sentence with one, on one line that a terminal takes for nothing but text."""
    return "".join(sign if sign.isprintable() or sign > "\x9f" else repr(sign)[1:-1] for sign in text)


def describe(error: OSError | sqlite3.OperationalError) -> str:
    """An error of the disk or of the ledger in words, with the file it is about."""
    if isinstance(error, OSError):
        where = f"{Path(os.fsdecode(error.filename))}: " if error.filename else ""
        return f"{where}{error.strerror or error}. Check the disk and the permissions of ductor's home (DUCTOR_HOME, or ~/.ductor)."
    return f"the ledger cannot be opened ({error}). Check the disk and the permissions of ductor's home."


def size(count: int) -> str:
    """Bytes in their nearest unit: "1.2 MB"."""
    unit, name = next(((unit, name) for unit, name in UNITS if count >= unit), (1, "bytes"))
    return f"{count / unit:.1f} {name}" if unit > 1 else f"{count} {name}"
