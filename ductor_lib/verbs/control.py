"""The one way for verbs that change something: the running bot does it, or, when none runs, the same function here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ductor_lib.errors import DuctorError
from ductor_lib.infra.lock import HomeLock
from ductor_lib.infra.requests import NotRunning, Operation, ask
from ductor_lib.paths import Paths


def perform(paths: Paths, verb: str, args: Mapping[str, object], offline: Operation) -> Mapping[str, object]:
    """Ask the running bot for `verb`, or call `offline` with the same arguments under the lock of the home.

    Returns the operation's result with "ok" added. Raises DuctorError with a sentence for a person, and what `offline`
    raises.
    """
    if not _resting(paths.lock):
        try:
            return ask(paths.requests, verb, args)
        except NotRunning:
            pass  # it was killed, and its pid still stands in the lock; or a container hides the lock
    try:
        lock = HomeLock(paths.lock)
    except FileNotFoundError:
        raise DuctorError(f"There is no home of ductor in {paths.home}. Start `ductor` once, or set DUCTOR_HOME.") from None
    except OSError as error:
        reason = f"ductor does not run, and its home cannot be changed from here ({error.strerror})"
        raise DuctorError(f"{reason}. Start ductor, then try again.") from None
    except DuctorError:
        raise DuctorError("ductor takes no requests just now: it is starting or ending. Try again in a minute.") from None
    with lock:
        return {"ok": True, **offline(args)}


def _resting(lock: Path) -> bool:
    """Whether certainly no bot runs: a bot leaves its lock empty. Never takes the lock: a bot may be starting."""
    try:
        return not lock.read_bytes().strip()
    except OSError:
        return False
