"""The request folder: how a program on this machine asks the running bot for something, also out of a sandbox.

A request is a file that its client renames into place, and the bot renames away before it acts: whoever is faster has
it, so what was given up is never done, and what was begun is never done twice.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ductor_lib.errors import DuctorError

log = logging.getLogger(__name__)

Operation = Callable[[Mapping[str, object]], Mapping[str, object]]

MOST_BYTES = 1_000_000  # of a request or an answer
MOST_FILES = 1000  # looked at in one step
OLD_SECONDS = 3600.0  # what lies there longer belongs to nobody any more
SWEEP_SECONDS = 600.0  # between two looks for such files
PATIENCE = 5.0  # seconds in which a running bot takes a request, even one that is busy
TIMEOUT = 60.0  # seconds for the answer
POLL = 0.02  # seconds between two looks of a client

REQUEST, TAKEN, ANSWER, BAD, DRAFT = ".json", ".taken", ".answer", ".bad", ".tmp"
# Only such names are ever touched: time (ns), so that sorting is the order of asking, and a random part.
NAME = re.compile(r"(\d{20}-[0-9a-f]{16})(\.json|\.taken|\.answer|\.bad|\.json\.tmp|\.answer\.tmp)")
INTERRUPTED = "ductor was ended in the middle of this. Check what was done before you repeat it."
TOO_LARGE = f"The request is too large; at most {MOST_BYTES // 1000} kB."


class NotRunning(DuctorError):
    """Nobody took the request; it was withdrawn, and nothing was done."""


class Requests:
    """The bot's side. One thread. `operations` are the verbs that can be asked for.

    An operation gets the request's arguments and returns what is added to the answer, as JSON can hold it; what it raises
    as DuctorError is told to the client.
    """

    def __init__(self, folder: Path, operations: Mapping[str, Operation], *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._operations = operations
        self._now = now
        self._swept_at = 0.0
        self._recovered = False
        self._trouble = ""  # why the folder could not be used; it is said once

    def step(self) -> int:
        """Do what is asked for now, in the order of asking; how many requests that were. A broken one holds up nobody."""
        if not self._recovered:
            self._recovered = True
            self._each(self._names(TAKEN), self._interrupt)
        if self._now() - self._swept_at > SWEEP_SECONDS:
            self._swept_at = self._now()
            self._each([match[0] for match in self._matches()], self._sweep)
        names = self._names(REQUEST)
        self._each(names, self._serve)
        return len(names)

    def _each(self, names: Sequence[str], work: Callable[[str], object]) -> None:
        for name in names:
            try:
                work(name)
            except Exception:
                log.exception("request failed name=%s", name)

    def _interrupt(self, name: str) -> None:
        """An earlier bot had begun it."""
        log.warning("request interrupted name=%s", name)
        self._answer(name, {"error": INTERRUPTED})

    def _serve(self, name: str) -> None:
        try:
            os.rename(self._path(name, REQUEST), self._path(name, TAKEN))
        except FileNotFoundError:  # withdrawn
            return
        _flush(self._folder)  # before anything is done: a power cut must not bring the request back
        try:
            request = _read(self._path(name, TAKEN))
        except ValueError as error:
            log.warning("request unreadable name=%s reason=%s", name, error)
            os.replace(self._path(name, TAKEN), self._path(name, BAD))
            self._answer(name, {"error": f"The request cannot be read: {error}."})
            return
        begun = time.monotonic()
        answer = self._perform(request)
        verb = str(request.get("verb"))[:40]
        log.info("request answered verb=%r ok=%s seconds=%.3f", verb, "error" not in answer, time.monotonic() - begun)
        self._answer(name, answer)

    def _perform(self, request: Mapping[str, object]) -> Mapping[str, object]:
        verb, arguments = request.get("verb"), request.get("args")
        operation = self._operations.get(verb) if isinstance(verb, str) else None
        if operation is None or not isinstance(arguments, dict):
            return {"error": f"The running ductor does not know {str(verb)[:40]!r}. Restart it after an upgrade."}
        try:
            return {"ok": True, **operation(arguments)}
        except DuctorError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("operation failed verb=%s", verb)
            return {"error": "Something went wrong inside ductor itself; logs/agent.log has the details."}

    def _answer(self, name: str, answer: Mapping[str, object]) -> None:
        """Leave the answer, and only then forget that the request was begun."""
        draft = self._path(name, ANSWER + DRAFT)
        draft.unlink(missing_ok=True)
        _write(draft, json.dumps(answer).encode())
        os.replace(draft, self._path(name, ANSWER))
        self._path(name, TAKEN).unlink(missing_ok=True)

    def _names(self, ending: str) -> list[str]:
        """The names of the requests in that state, the oldest first."""
        return sorted(match[1] for match in self._matches() if match[2] == ending)

    def _matches(self) -> list[re.Match[str]]:
        """The files of requests, in no order. A folder that cannot be used has none."""
        try:
            found = self._look()
        except OSError as error:  # such as a disk that became read-only
            reason = error.strerror or str(error)
            if reason != self._trouble:
                log.warning("requests cannot be taken folder=%s reason=%s", self._folder, reason)
            self._trouble = reason
            return []
        self._trouble = ""
        return found

    def _look(self) -> list[re.Match[str]]:
        try:
            with os.scandir(self._folder) as entries:
                known = filter(None, (NAME.fullmatch(entry.name) for entry in entries))
                return list(itertools.islice(known, MOST_FILES))  # what others put there must not hide a request
        except (FileNotFoundError, NotADirectoryError):  # the first time, or somebody has tidied up
            self._folder.unlink(missing_ok=True)
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700)
            return []

    def _sweep(self, file: str) -> None:
        """Remove what nobody waits for any more. A request that old would come as a surprise."""
        path = self._folder / file
        with suppress(FileNotFoundError):
            if self._now() - path.lstat().st_mtime > OLD_SECONDS:
                path.unlink()
                log.info("request left over, removed name=%s", file)

    def _path(self, name: str, ending: str) -> Path:
        return self._folder / f"{name}{ending}"


def ask(
    folder: Path, verb: str, args: Mapping[str, object], *, timeout: float = TIMEOUT, patience: float = PATIENCE
) -> Mapping[str, object]:
    """Ask the running bot and wait up to `timeout` seconds for its answer. Any thread, any process; writes only into `folder`.

    Raises NotRunning when nobody has taken the request after `patience` seconds, DuctorError with the bot's words when
    it refuses or when the answer does not come, OSError where the folder cannot be written.
    """
    name = f"{time.time_ns():020d}-{secrets.token_hex(8)}"
    request, answer = folder / f"{name}{REQUEST}", folder / f"{name}{ANSWER}"
    body = json.dumps({"verb": verb, "args": args}).encode()
    if len(body) > MOST_BYTES:
        raise DuctorError(TOO_LARGE)
    draft = folder / f"{name}{REQUEST}{DRAFT}"
    try:
        _write(draft, body)
        os.rename(draft, request)
    except FileNotFoundError:
        raise NotRunning("ductor does not run for this home.") from None
    try:
        if not _wait(lambda: not request.exists(), min(patience, timeout)) and _withdraw(request):
            raise NotRunning("ductor does not run for this home, or is too busy to take the request. Nothing was done.")
        if not _wait(answer.exists, timeout):
            raise DuctorError(f"ductor has begun, but did not answer within {timeout:g} s. Check what was done before you repeat it.")
        return _result(answer)
    finally:
        _withdraw(request)


def _result(path: Path) -> Mapping[str, object]:
    try:
        result = _read(path)
    except ValueError as error:
        raise DuctorError(f"ductor's answer cannot be read: {error}. Check what was done before you repeat it.") from None
    path.unlink(missing_ok=True)
    if "error" in result:
        raise DuctorError(str(result["error"]))
    return result


def _withdraw(request: Path) -> bool:
    """Whether it could still be withdrawn: then nobody acts on it."""
    try:
        request.unlink()
    except FileNotFoundError:
        return False
    return True


def _wait(condition: Callable[[], bool], timeout: float) -> bool:
    pause, deadline = threading.Event(), time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        pause.wait(POLL)
    return True


def _write(path: Path, data: bytes) -> None:
    """A new file, for nobody else to read; never through a link."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)) as file:
        file.write(data)


def _read(path: Path) -> dict[str, object]:
    """The object in a file. Raises ValueError for anything else: a link, a pipe, too much, no JSON."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ValueError("it is not an ordinary file")
        with open(os.open(path, flags), "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be opened") from None
    if len(data) > MOST_BYTES:
        raise ValueError(TOO_LARGE)
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found


def _flush(folder: Path) -> None:
    """Bring the names in a folder to the disk, where a folder can be opened for that."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
