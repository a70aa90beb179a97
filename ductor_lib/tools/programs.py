"""Run a program that somebody installed: without a shell, with an end, and its group ends with us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ductor_lib.errors import DuctorError

WORD = 2.0  # seconds a program has to act on a signal
MOST = 20_000_000  # bytes of output that are kept
TAIL = 4_000  # bytes from the end of stderr, where the reason stands


def run(command: Sequence[str], *, timeout: float) -> str:
    """What the program prints, after at most `timeout` seconds. stdin is empty.

    Raises DuctorError when it cannot be started, fails, or takes longer; with the last line of its stderr.
    """
    name = Path(command[0]).name
    # Files and not pipes: a grandchild that lives on may hold a pipe open for ever.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True)
        except OSError as error:
            raise DuctorError(f"{name} cannot be started: {error.strerror or error}. Check how it is installed.") from None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DuctorError(f"{name} took longer than {timeout:g} s and was ended. Give it more with --timeout, or less to do.") from None
        finally:
            _end(process)
        if code:
            raise DuctorError(f"{name} failed (exit code {code}): {_last_line(errors) or 'it does not say why'}")
        output.seek(0)
        return output.read(MOST).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """TERM, wait, KILL, for the whole group: what the program started must not work on unseen."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(WORD)


def _last_line(file: IO[bytes]) -> str:
    """Where a program says what went wrong."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
    lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
