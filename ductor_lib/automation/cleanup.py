"""Remove old files once a day: only where ductor puts files for people, and copies of its own; no link is ever followed."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from ductor_lib import config
from ductor_lib.automation.office import Office
from ductor_lib.config import Settings
from ductor_lib.loop import Loop
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.paths import Paths
from ductor_lib.storage import TEMPORARY, JsonFile
from ductor_lib.workspace.rules import NAMES, SKIPPED

DAY = 86_400.0  # seconds
COPIES_DAYS = 30  # that damaged and edited copies are kept
RUNS_DAYS = 90  # that runs of jobs and hooks are kept
RUNS_KEPT = 50  # of each, however old
LEFT_DAYS = 1  # after which a file in the making belongs to a writer that was killed
DEPTH = 8  # folders below the workspace that are looked into
LOOK = 60.0  # seconds between two looks at the clock
LISTED = 300  # files that a dry run names
KEY = "cleanup_day"  # in state.json
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
COPY = re.compile(r"(.+)\.(damaged|edited)-(\d{1,12})(-wal|-shm)?")  # NAME.damaged-<unix time>
LEFT = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(TEMPORARY)}")
EDITED = frozenset({*NAMES.values(), "ductor"})  # what is ever set aside as NAME.edited-…

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Old:
    """Something that may go: `parts` lead to it from the folder `root`. `size` in bytes."""

    root: Path
    parts: tuple[str, ...]
    size: int
    is_folder: bool = False

    @property
    def path(self) -> Path:
        return self.root.joinpath(*self.parts)


@dataclass(frozen=True, slots=True)
class Gone:
    """What was removed, or could not be."""

    files: int = 0
    bytes: int = 0
    folders: int = 0
    runs: int = 0
    failed: int = 0


class Cleanup:
    """`start` and `stop` belong to the owner; without `cleanup.enabled` nothing is started. `now` is in unix seconds."""

    def __init__(
        self, settings: Settings, paths: Paths, state: JsonFile, ledger: Ledger, *, now: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._state = state
        self._ledger = ledger
        self._now = now
        self._zone = config.timezone(settings)
        self._stopping = threading.Event()
        self._told: set[Path] = set()
        self._last = ""  # the day that is done, where state.json could not be written
        self._loop = Loop("cleanup", self._look)

    def start(self) -> None:
        if self._settings.cleanup.enabled:
            self._loop.start()

    def stop(self) -> None:
        """Begin nothing more. Returns at once."""
        self._stopping.set()
        self._loop.stop()

    def step(self) -> Gone | None:
        """Clean up if it is time to; None when it is not."""
        last = self._last or str(self._state.read().get(KEY, ""))
        day = due(datetime.fromtimestamp(self._now(), self._zone), self._settings.cleanup.check_hour, last)
        if not day:
            return None
        self._last = day  # first: should something fail below, it fails once a day
        gone = clean(self._settings, self._paths, self._ledger, self._now(), told=self._told)
        with self._state.change() as data:
            data[KEY] = day
        return gone

    def _look(self) -> None:
        self.step()
        self._stopping.wait(LOOK)


def due(now: datetime, hour: int, last: str) -> str:
    """The day (ISO) whose cleanup is to be done now, "" when it was done. `now` by the user's clock, `last` was done last.

    A day begins at `hour`. What was missed is made up. A `last` of tomorrow only means that the clock was set back.
    """
    day = now.date() if now.hour >= hour else now.date() - timedelta(days=1)
    return "" if last in (day.isoformat(), (day + timedelta(days=1)).isoformat()) else day.isoformat()


def is_old(touched: float, now: float, days: float) -> bool:
    """Whether what was last changed at `touched` has been kept for that many days. Both in unix seconds."""
    return now - touched > days * DAY


def operation(office: Office, args: Mapping[str, object]) -> Mapping[str, object]:
    """`ductor cleanup`: do it now, or with "dry_run" tell what would go."""
    settings, paths, ledger, now = office.settings, office.paths, office.ledger, office.now()
    if args.get("dry_run") is not True:
        gone = clean(settings, paths, ledger, now)
        return {"files": gone.files, "bytes": gone.bytes, "folders": gone.folders, "runs": gone.runs, "failed": gone.failed}
    found = find(settings, paths, now)
    files = [one for one in found if not one.is_folder]
    return {
        "would_remove": [{"path": str(one.path), "bytes": one.size} for one in files[:LISTED]], "more": len(files[LISTED:]),
        "files": len(files), "bytes": sum(one.size for one in files), "folders": len(found) - len(files),
        "runs": ledger.runs.old(now - RUNS_DAYS * DAY, RUNS_KEPT),
    }  # fmt: skip


def clean(settings: Settings, paths: Paths, ledger: Ledger, now: float, *, told: set[Path] | None = None) -> Gone:
    """Remove what is old. What resists is skipped, and logged unless it is in `told`, where it is then put. Any thread."""
    begun = time.monotonic()
    gone = remove(find(settings, paths, now), set() if told is None else told)
    try:
        gone = replace(gone, runs=ledger.runs.purge(now - RUNS_DAYS * DAY, RUNS_KEPT))
    except sqlite3.OperationalError as error:
        log.warning("old runs kept reason=%s", error)
    log.info(
        "cleaned up files=%d bytes=%d folders=%d runs=%d failed=%d seconds=%.1f",
        gone.files, gone.bytes, gone.folders, gone.runs, gone.failed, time.monotonic() - begun,
    )
    return gone


# ── what is old ─────────────────────────────────────────────────────────────────────────────────────────────────────


def find(settings: Settings, paths: Paths, now: float) -> list[Old]:
    """Everything that may go, a date folder after its files. Changes nothing."""
    rules = settings.cleanup
    today = datetime.fromtimestamp(now, config.timezone(settings)).date()
    kept = ((paths.telegram_files, rules.telegram_files_days), (paths.output_to_user, rules.output_to_user_days))
    found = [old for folder, days in kept for old in _received(paths.workspace, folder.name, now, days, today)]
    return found + list(_copies(paths, now))


def _received(root: Path, folder: str, now: float, days: int, today: date) -> Iterator[Old]:
    """Old files at the top of a folder and in its date folders, and those date folders that then hold nothing."""
    for entry, status in _entries(root, (folder,)):
        if _is_date(entry) and stat.S_ISDIR(status.st_mode):
            inside = _entries(root, (folder, entry))
            old = [Old(root, (folder, entry, name), one.st_size) for name, one in inside if _may_go(one, now, days)]
            yield from old
            if len(old) == len(inside) and (today - date.fromisoformat(entry)).days > 1:  # not one that is being filled
                yield Old(root, (folder, entry), 0, is_folder=True)
        elif entry not in NAMES.values() and _may_go(status, now, days):  # the rules of the folder stay
            yield Old(root, (folder, entry), status.st_size)


def _may_go(status: os.stat_result, now: float, days: float) -> bool:
    """Old, and a file or a link. A link is as old as it is itself."""
    return (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)) and is_old(status.st_mtime, now, days)


def _copies(paths: Paths, now: float) -> Iterator[Old]:
    """Copies of ductor's own files that were set aside, and what killed writers have left."""
    own = {path.name for path in (paths.state, paths.sessions, paths.ledger, paths.home_manifest, paths.codex_models)}
    at_home = {(): own, (paths.config.parent.name,): own, (paths.tools_bin.name,): EDITED}
    for parts, names in at_home.items():
        yield from (Old(paths.home, (*parts, name), size) for name, size in _aside(paths.home, parts, names, now))
    for parts in _folders(paths.workspace):
        yield from (Old(paths.workspace, (*parts, name), size) for name, size in _aside(paths.workspace, parts, EDITED, now))


def _aside(root: Path, parts: tuple[str, ...], names: AbstractSet[str], now: float) -> Iterator[tuple[str, int]]:
    """Name and size of such files in one folder. A copy is as old as its name says: renaming keeps a file's time."""
    for name, status in _entries(root, parts):
        if not stat.S_ISREG(status.st_mode):
            continue
        copy = COPY.fullmatch(name)
        set_aside = copy and copy[1] in names and is_old(max(float(copy[3]), status.st_mtime), now, COPIES_DAYS)
        if set_aside or (LEFT.fullmatch(name) and is_old(status.st_mtime, now, LEFT_DAYS)):
            yield name, status.st_size


def _folders(root: Path) -> Iterator[tuple[str, ...]]:
    """The folders of the workspace, itself included; none that is hidden, a link or full of other people's code."""
    for path, folders, _ in os.walk(root):  # links are not followed
        parts = Path(path).relative_to(root).parts
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".") and len(parts) < DEPTH]
        yield parts


def _entries(root: Path, parts: Sequence[str]) -> list[tuple[str, os.stat_result]]:
    """What lies in a folder, in order; nothing when it cannot be read or is reached by a link below `root`."""
    if any(root.joinpath(*parts[:count]).is_symlink() for count in range(1, len(parts) + 1)):
        return []
    found = []
    with suppress(OSError), os.scandir(root.joinpath(*parts)) as entries:
        for entry in entries:
            with suppress(OSError):  # it has gone meanwhile
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return sorted(found)


def _is_date(name: str) -> bool:
    with suppress(ValueError):
        return bool(DATE.fullmatch(name)) and bool(date.fromisoformat(name))
    return False


# ── removing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def remove(found: Sequence[Old], told: set[Path]) -> Gone:
    """Remove these; what has gone meanwhile is no failure, and a folder that is not empty stays."""
    files = size = folders = failed = 0
    for old in found:
        try:
            with _opened(old.root, old.parts[:-1]) as folder:
                (os.rmdir if old.is_folder else os.unlink)(old.parts[-1] if folder is not None else old.path, dir_fd=folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            if old.is_folder:
                continue
            failed += 1
            if old.path not in told:
                told.add(old.path)
                log.warning("old file not removed path=%s reason=%s", old.path, error.strerror)
            continue
        files, size, folders = files + (not old.is_folder), size + old.size, folders + old.is_folder
    return Gone(files, size, folders, failed=failed)


@contextmanager
def _opened(root: Path, parts: Sequence[str]) -> Iterator[int | None]:
    """The folder as an open file, so that no link which is put in its place meanwhile is followed; None on Windows."""
    if os.name != "posix":
        yield None
        return
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)
