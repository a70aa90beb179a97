"""Share skills between ductor, Claude Code and Codex by links; what somebody else made is never changed."""

from __future__ import annotations

import logging
import os
import subprocess
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DUCTOR, CLAUDE, CODEX, BUNDLED = range(4)  # the folders that our links may point into; the first three also hold links
SHIPPED = ("ductor_lib", "home", "workspace", "skills")  # how the folder of bundled skills ends, wherever the program lies
SKIPPED = frozenset({"__pycache__", "node_modules"})  # besides every name that begins with a dot
MKLINK = ("cmd", "/c", "mklink", "/J")
MKLINK_SECONDS = 10.0
NOT_PERMITTED = 1314  # Windows: ERROR_PRIVILEGE_NOT_HELD, what os.symlink meets without developer mode
SPECIAL = frozenset('%&|<>^!"')  # cmd would not take these in a path literally

Kind = Literal["skill", "ours", "taken"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """What one sync did, as counts of links. `failed`: wanted, but something was in the way."""

    linked: int = 0
    retargeted: int = 0
    removed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a skills folder.

    "skill": a directory, or somebody's link to one elsewhere. "ours": a link that we made, to `target` in the folder
    number `root`. "taken": anything else.
    """

    name: str
    kind: Kind
    target: str = ""
    root: int = -1


@dataclass(frozen=True, slots=True)
class Place:
    """A skills folder as it was found, its entries by `same`; None: it could not be read, so nobody knows what it has."""

    root: int
    folder: str
    entries: Mapping[str, Sequence[Entry]] | None


@dataclass(frozen=True, slots=True)
class Step:
    """Links to remove, then perhaps one to make at `place`. `taken`: what is in the way of a wanted link."""

    drop: tuple[str, ...] = ()
    place: str = ""
    target: str = ""
    taken: str = ""


def link(
    target: str, place: str, *, symlink: Callable[[str, str, bool], None] = os.symlink, mklink: Sequence[str] = MKLINK
) -> None:  # fmt: skip
    """Make `place` a link to the directory `target`: the seam for directory links. Raises OSError.

    Windows lets only administrators and developers make symbolic links; everybody may make junctions.
    """
    try:
        symlink(target, place, True)
    except OSError as error:
        if getattr(error, "winerror", None) != NOT_PERMITTED:
            raise
        _junction(target, place, mklink)


def same(name: str) -> str:
    """Names that any system takes for one name have the same key: macOS and Windows ignore case, macOS normalises."""
    return unicodedata.normalize("NFC", name).casefold()


def plan(bundled: Mapping[str, str], places: Sequence[Place]) -> Iterator[Step]:
    """What makes every skill reachable in every place. `bundled`: paths of bundled skills by `same`. Pure."""
    readable = [(place, place.entries) for place in places if place.entries is not None]
    hidden = {place.root for place in places if place.entries is None}
    for key in sorted({*bundled, *(key for _, entries in readable for key in entries)}):
        here = [(place, entries.get(key, ())) for place, entries in readable]
        source = _source(bundled.get(key, ""), here)
        for place, entries in here:
            if not any(entry.root in hidden for entry in entries):
                step = _step(place, entries, source, bundled.get(key, ""))
                if step != Step():
                    yield step


class Skills:
    """Keeps `folder` (the workspace's skills) and the skills folders of Claude Code and Codex in step. One thread at a time.

    A skill in one of them is linked into the others where that CLI has a home. For the same name ductor goes before
    Claude Code before Codex. `environment` has CLAUDE_CONFIG_DIR and CODEX_HOME as the CLIs get them, `home` is the
    user's. `bundled` holds the skills that come with the program. Never raises OSError: what goes wrong is logged,
    once for as long as it lasts.
    """

    def __init__(
        self, folder: Path, bundled: Path, *, environment: Mapping[str, str], home: Path, link: Callable[[str, str], None] = link
    ) -> None:
        claude = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude") / "skills"
        codex = Path(environment.get("CODEX_HOME") or home / ".codex") / "skills"
        self._folders = tuple(os.path.abspath(path) for path in (folder, claude, codex, bundled))
        self._link = link
        self._troubles: dict[tuple[str, object], str] = {}
        self._told: frozenset[tuple[str, object]] = frozenset()

    def sync(self) -> Changes:
        """Link what is missing, point wrong links of ours to the right place, remove broken ones. Milliseconds."""
        done = [self._do(step) for step in plan(self._bundled(), self._look())]
        changes = Changes(*map(sum, zip(*done, strict=True))) if done else Changes()
        self._report()
        if changes.linked or changes.retargeted or changes.removed:
            log.info("skills synced linked=%d retargeted=%d removed=%d", changes.linked, changes.retargeted, changes.removed)
        return changes

    def remove(self) -> None:
        """Remove every link of ours, at the end of the program; the next `sync` makes them again."""
        ours = [
            os.path.join(place.folder, entry.name)
            for place in self._look()
            for entries in (place.entries or {}).values()
            for entry in entries
            if entry.kind == "ours"
        ]
        removed = sum(map(self._unlink, ours))
        self._report()
        log.info("skill links removed count=%d", removed)

    def _look(self) -> list[Place]:
        """The places as they are. Two names for one folder are one place: the more important one."""
        roots = self._roots()
        places, seen = [], set()
        for root, folder in enumerate(self._folders[:BUNDLED]):
            real = os.path.realpath(folder)
            if real in seen or (root != DUCTOR and not os.path.isdir(os.path.dirname(folder))):
                continue
            seen.add(real)
            entries: dict[str, list[Entry]] | None = None
            if (items := self._items(folder)) is not None:
                entries = {}
                for item in items:
                    entries.setdefault(same(item.name), []).append(_entry(root, item, roots))
            places.append(Place(root, folder, entries))
        return places

    def _roots(self) -> dict[str, int]:
        """The number of each folder by its path: as it is spelled, and as it is without links in between."""
        roots = {os.path.normcase(folder): root for root, folder in enumerate(self._folders)}
        for root, folder in enumerate(self._folders):
            roots.setdefault(os.path.normcase(os.path.realpath(folder)), root)
        return roots

    def _bundled(self) -> dict[str, str]:
        return {same(item.name): item.path for item in self._items(self._folders[BUNDLED]) or () if _is_folder(item)}

    def _items(self, folder: str) -> list[os.DirEntry[str]] | None:
        """What may be a skill in that folder, sorted; None if the folder could not be read."""
        try:
            with os.scandir(folder) as found:
                items = [item for item in found if not item.name.startswith(".") and item.name not in SKIPPED]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._trouble(folder, error)
            return None
        return sorted(items, key=lambda item: item.name)

    def _do(self, step: Step) -> tuple[int, int, int, int]:
        """Links made, re-targeted, removed, failed."""
        if step.taken:
            self._troubles[step.taken, "taken"] = f"skill not linked path={step.taken!r} reason=something else has this name"
        dropped = sum(map(self._unlink, step.drop))
        failed = len(step.drop) - dropped + bool(step.taken)
        if not step.place or dropped < len(step.drop):
            return 0, 0, dropped, failed
        try:
            os.makedirs(os.path.dirname(step.place), exist_ok=True)
            self._link(step.target, step.place)
        except OSError as error:
            self._trouble(step.place, error)
            return 0, 0, dropped, failed + 1
        return not dropped, bool(dropped), max(0, dropped - 1), failed

    def _unlink(self, path: str) -> bool:
        try:
            os.unlink(path)  # also a junction; fails on a directory that has come in between
        except FileNotFoundError:
            pass
        except OSError as error:
            self._trouble(path, error)
            return False
        return True

    def _trouble(self, path: str, error: OSError) -> None:
        key = (os.path.dirname(path), error.errno)  # one line, not one per skill
        self._troubles.setdefault(key, f"skill sync failed path={path!r} reason={error.strerror or error}")

    def _report(self) -> None:
        for key, line in self._troubles.items():
            if key not in self._told:
                log.warning("%s", line)
        self._told = frozenset(self._troubles)
        self._troubles = {}


def _source(bundled: str, here: Sequence[tuple[Place, Sequence[Entry]]]) -> str:
    """Where the skill lies or, if it is a bundled one, will be linked; "" for none."""
    for place, entries in here:
        if name := next((entry.name for entry in entries if entry.kind == "skill"), ""):
            return os.path.join(place.folder, name)
        if bundled and place.root == DUCTOR and all(entry.kind == "ours" for entry in entries):
            return os.path.join(place.folder, os.path.basename(bundled))
    return ""


def _step(place: Place, entries: Sequence[Entry], source: str, bundled: str) -> Step:
    ours = {os.path.join(place.folder, entry.name): entry.target for entry in entries if entry.kind == "ours"}
    others = [entry for entry in entries if entry.kind != "ours"]
    wanted, target = os.path.join(place.folder, os.path.basename(source)), source
    if wanted == source:
        target = bundled
    if not source or others:
        wanted = target = ""
    right = bool(target) and ours.get(wanted) == target
    drop = tuple(path for path in ours if not (right and path == wanted))
    taken = next((entry.name for entry in others), "") if source and all(entry.kind == "taken" for entry in others) else ""
    return Step(drop, "" if right else wanted, "" if right else target, os.path.join(place.folder, taken) if taken else "")


def _entry(root: int, item: os.DirEntry[str], roots: Mapping[str, int]) -> Entry:
    target = _target(item.path)
    if not target:
        return Entry(item.name, "skill" if _is_folder(item) else "taken")
    parent, name = os.path.split(target)
    into = roots.get(os.path.normcase(parent), -1)
    if into < 0 and root == DUCTOR and tuple(parent.split(os.sep)[-len(SHIPPED) :]) == SHIPPED:
        into = BUNDLED  # a bundled skill of the program before it was moved
    if into >= 0 and same(name) == same(item.name):  # a link of ours is called like what it points to
        return Entry(item.name, "ours", target, into)
    real = os.path.realpath(target)
    shared = any(_related(os.path.normcase(path), roots) for path in (target, real))
    return Entry(item.name, "skill" if os.path.isdir(real) and not shared else "taken")


def _target(path: str) -> str:
    """Where the link or junction at `path` points, one step, absolute; "" if it is none."""
    try:
        target = os.readlink(path).removeprefix("\\\\?\\")  # how Windows spells the target of a junction
    except (OSError, ValueError):
        return ""
    return os.path.normpath(os.path.join(os.path.dirname(path), target))


def _related(real: str, roots: Mapping[str, int]) -> bool:
    """Is it another name of a skill that is shared already, or does it hold one of the folders, and so itself?"""
    path = os.path.join(real, "")
    return any(path.startswith(folder := os.path.join(root, "")) or folder.startswith(path) for root in roots)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _junction(target: str, place: str, mklink: Sequence[str]) -> None:
    if SPECIAL & {*target, *place}:
        raise OSError(f"a junction cannot have one of {' '.join(sorted(SPECIAL))} in its path: {place}")
    try:
        subprocess.run([*mklink, place, target], stdin=subprocess.DEVNULL, capture_output=True, timeout=MKLINK_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        raise OSError(f"mklink did not make {place}: {error}") from None
