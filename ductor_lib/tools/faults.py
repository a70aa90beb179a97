"""What a tool cannot do, as a sentence: what is wrong, and what to do next."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.errors import DuctorError

# program → its package for apt and for brew
PACKAGES = {
    "ffmpeg": ("ffmpeg", "ffmpeg"),
    "ffprobe": ("ffmpeg", "ffmpeg"),
    "pdftotext": ("poppler-utils", "poppler"),
    "pdftoppm": ("poppler-utils", "poppler"),
}


class Unusable(DuctorError):
    """The call itself cannot be meant: a page range that is none, a sheet that the file does not have."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is missing in a result or guessed, as a sentence. It stands beside the text, never in it."""

    text: str


@contextmanager
def foreign(path: Path, what: str) -> Iterator[None]:
    """Around a reader of other people's files: whatever it raises is said as DuctorError. One thread at a time.

    A damaged file makes readers raise anything, from KeyError to RecursionError; what they warn about helps nobody.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except DuctorError:
            raise
        except OSError as error:
            raise refused(path, error) from None
        except MemoryError:
            raise DuctorError(f"{path}: too large for this machine's memory. Ask for a smaller part of it.") from None
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise DuctorError(
                f"{path}: this {what} file is damaged or not finished ({reason}). Ask for it again, or for another format."
            ) from error


def refused(path: Path, error: OSError) -> DuctorError:
    """What the system said about a file, and what helps."""
    if isinstance(error, FileNotFoundError):
        return DuctorError(f"{path}: there is no such file. Look for it with `ductor tool list-files {shlex.quote(str(path.parent))}`.")
    if isinstance(error, PermissionError):
        return DuctorError(f"{path}: not readable for this user or inside this sandbox. Ask for access, or for a copy in the workspace.")
    return DuctorError(f"{path}: {error.strerror or error}. Check the name and the disk.")


def how_to_get(program: str) -> str:
    """Where a program comes from: "Debian, Ubuntu: `…`; macOS: `…`"."""
    apt, brew = PACKAGES[program]
    return f"Debian, Ubuntu: `sudo apt install {apt}`; macOS: `brew install {brew}`"


def pip_install(package: str) -> str:
    """The command that installs a Python package for the interpreter that runs ductor."""
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(package)}"
