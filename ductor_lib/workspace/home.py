"""The home is created, repaired and upgraded at every start. What its owner or the agent wrote is never lost by it."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import count
from os.path import exists, isdir, isfile, islink, lexists  # unlike those of Path they never raise
from pathlib import Path

from ductor_lib.paths import Paths
from ductor_lib.storage import TEMPORARY, JsonFile, write_text
from ductor_lib.workspace.placing import Found, Step, digest, digests, set_aside, steps, supersede
from ductor_lib.workspace.rules import NAMES, SHIPPED, TEMPLATE, shipped, wanted

log = logging.getLogger(__name__)

OLD_TASKS = "tasks"  # what cron_tasks was called in older homes
DEAD = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # any other error may pass, such as a drive that is not mounted yet
LEFT_BEHIND = 3600.0  # seconds; an older file in the making belongs to a writer that was killed
SHIM = """\
#!/bin/sh
# How agents and scripts find ductor. Made anew at every start of the bot.
DUCTOR_HOME=${{DUCTOR_HOME:-{home}}}
export DUCTOR_HOME
exec {command} "$@"
"""


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done to the home, as paths in it; `skipped` has a sentence for each thing that could not be done."""

    created: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def prepare(
    paths: Paths, *, signed_in: Collection[str], command: tuple[str, ...], sandboxed: bool = False, now: Callable[[], float] = time.time
) -> Changes:
    """Bring the home up to date; a second time changes nothing. Only one at a time: the bot has the lock of the home.

    `signed_in` are providers ("claude", "codex"), `command` is how ductor is started (interpreter and script),
    `sandboxed` whether the agents work in the container. What resists costs itself, never the start. Raises OSError
    where the home cannot be made at all.
    """
    paths.create()
    work = _Work(paths, now())
    work.tidy()
    work.move_tasks(paths.workspace / OLD_TASKS, paths.cron_tasks)
    work.make_folders()
    manifest = JsonFile(paths.home_manifest)
    before: Mapping[str, object] = {}
    with work.attempt(manifest.path):
        before = manifest.read()
    rules = digests(before.get("rules"))
    for folder, text in shipped(paths.home, sandboxed=sandboxed).items():
        if work.place_rules(paths.home / folder, text, wanted(signed_in), installed=rules.get(folder, "")):
            rules[folder] = digest(text)
    work.seed()
    shim = work.place_shim(_shim(paths.home, command), installed=str(before.get("shim", "")))
    with work.attempt(manifest.path), manifest.change() as data:
        data["rules"], data["shim"] = rules, shim
    if manifest.damaged:
        work.note("kept", manifest.damaged)
    changes = work.changes()
    log.info("home ready %s", " ".join(f"{name}={len(entries)}" for name, entries in work.done.items()))
    return changes


class _Work:
    """One preparation, step by step, and what it has done so far."""

    def __init__(self, paths: Paths, now: float) -> None:
        self._paths = paths
        self._now = now
        self._folders = (
            paths.memory.parent, paths.cron_tasks, paths.skills, paths.tools, paths.tools / "user_tools", paths.tools_bin,
            paths.telegram_files, paths.output_to_user, paths.requests,
        )
        self.done: dict[str, list[str]] = {one.name: [] for one in fields(Changes)}

    def changes(self) -> Changes:
        return Changes(**{name: tuple(entries) for name, entries in self.done.items()})

    def note(self, what: str, *entries: Path) -> None:
        self.done[what].append(" -> ".join(self._name(entry) for entry in entries))

    def skip(self, path: Path, reason: str) -> None:
        self.done["skipped"].append(f"{self._name(path)}: {reason}")
        log.warning("home not prepared path=%s reason=%s", path, reason)

    @contextmanager
    def attempt(self, path: Path) -> Iterator[None]:
        """What fails within costs this path only."""
        try:
            yield
        except OSError as error:
            self.skip(path, error.strerror or str(error))

    def tidy(self) -> None:
        """Keep others out, and remove links that lead nowhere from the root, and what killed writers have left."""
        workspace = self._paths.workspace
        for folder in (self._paths.config.parent, self._paths.log.parent, workspace):
            with self.attempt(folder):
                mode = folder.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & 0o077:
                    folder.chmod(stat.S_IMODE(mode) & ~0o077)
        with self.attempt(workspace):
            for path in sorted(filter(_is_dead, workspace.iterdir())):
                with self.attempt(path):
                    log.warning("dead link removed path=%s target=%s", path, os.readlink(path))
                    path.unlink()
                    self.note("removed", path)
        for folder in filter(self._is_ours, (workspace, *self._folders)):
            with self.attempt(folder):
                for path in folder.glob(f".*{TEMPORARY}"):
                    if self._now - path.lstat().st_mtime > LEFT_BEHIND:
                        path.unlink()

    def move_tasks(self, old: Path, new: Path) -> None:
        """Give the task folders of an older home their new place. Nothing is overwritten, no link is followed."""
        if not isdir(old):
            return  # a file of that name is the owner's
        with self.attempt(old):
            if not lexists(new):
                self._move(old, new)
                return
            if islink(old) or islink(new) or not isdir(new):
                self.skip(old, f"not moved to {new.name}, one of them is a link or a file")
                return
            for entry in sorted(old.iterdir()):
                with self.attempt(entry):
                    self._move(entry, _free(new / entry.name))
            if not any(old.iterdir()):
                old.rmdir()

    def _move(self, old: Path, new: Path) -> None:
        old.rename(new)
        self.note("moved", old, new)
        log.info("moved path=%s to=%s", old, new)

    def make_folders(self) -> None:
        for folder in self._folders:
            if isdir(folder) or not self._is_ours(folder.parent):
                continue
            if lexists(folder):
                self.skip(folder, "no folder, and ductor needs one of this name; rename it and restart ductor")
                continue
            with self.attempt(folder):
                folder.mkdir(mode=0o700)
                self.note("created", folder)

    def place_rules(self, folder: Path, text: bytes, names: Collection[str], *, installed: str) -> bool:
        """Bring the rule files of one folder up to date; whether all of it was done."""
        if not self._is_ours(folder):
            return False
        found: dict[str, Found] = {}
        for path in (folder / name for name in NAMES.values()):
            if islink(path):
                self.skip(path, "a link; the rules of this folder are left to you")
                return False
        with self.attempt(folder):
            for name in NAMES.values():
                path = folder / name
                if isfile(path):
                    found[name] = Found(path.read_bytes(), path.stat().st_mtime_ns)
            free = [name for name in names if name in found or not self._is_in_the_way(folder / name)]
            for step in steps(found, free, shipped=text, installed=installed):  # in order: a step relies on those before
                self._take(step, folder / step.name)
            return True
        return False

    def _take(self, step: Step, path: Path) -> None:
        if step.do == "remove":
            path.unlink()
            self.note("removed", path)
        elif step.do == "set aside":
            self.note("kept", set_aside(path, self._now))
        elif step.do == "supersede":
            self.note("kept", supersede(path, step.content, self._now))
            self.note("replaced", path)
        else:
            self._write(path, step.content)

    def _write(self, path: Path, content: bytes, *, mode: int = 0o600) -> None:
        what = "replaced" if exists(path) else "created"
        write_text(path, content, mode=mode)
        self.note(what, path)

    def seed(self) -> None:
        """Write the first version of what then belongs to the agent and its owner. What is there is not touched."""
        for source in sorted(SHIPPED.rglob("*.md")):
            path = self._paths.home / source.relative_to(SHIPPED)
            if source.name == TEMPLATE or self._paths.skills in path.parents or not self._is_ours(path.parent):
                continue
            if not isfile(path) and not self._is_in_the_way(path):
                with self.attempt(path):
                    self._write(path, source.read_bytes())

    def place_shim(self, text: bytes, *, installed: str) -> str:
        """Put the command `ductor` on the agents' path: the digest of what was written there last."""
        path = self._paths.tools_bin / "ductor"
        if not self._is_ours(path.parent):
            self.skip(path, "behind a link or not a folder, agents will not find the command ductor")
            return installed
        if islink(path) or (not isfile(path) and self._is_in_the_way(path)):
            return installed
        with self.attempt(path):
            old = path.read_bytes() if exists(path) else text
            if not exists(path) or (old != text and digest(old) == installed):
                self._write(path, text, mode=0o700)
            elif old != text:
                self.note("kept", supersede(path, text, self._now, mode=0o700))
                self.note("replaced", path)
            elif not os.access(path, os.X_OK):
                path.chmod(0o700)
                self.note("replaced", path)
            return digest(text)
        return installed

    def _is_in_the_way(self, path: Path) -> bool:
        """Whether something lies where a file of ours has to be; it stays, and the log says so."""
        if not lexists(path):
            return False
        self.skip(path, "no plain file, and ductor needs one of this name; rename it and restart ductor")
        return True

    def _is_ours(self, folder: Path) -> bool:
        """Whether the folder is there, and not reached through a link: behind one everything is the owner's."""
        base = self._paths.workspace if folder.is_relative_to(self._paths.workspace) else self._paths.home
        below = [folder, *folder.parents][: len(folder.relative_to(base).parts)]
        return isdir(folder) and not any(islink(one) for one in below)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._paths.home).as_posix()


def _shim(home: Path, command: tuple[str, ...]) -> bytes:
    return os.fsencode(SHIM.format(home=shlex.quote(str(home)), command=shlex.join(command)))


def _is_dead(path: Path) -> bool:
    """Whether this is a link that leads nowhere for certain."""
    try:
        path.stat()
    except OSError as error:
        return islink(path) and error.errno in DEAD
    return False


def _free(path: Path) -> Path:
    """The path, or with -2, -3... in its name if it is taken."""
    stem, suffix = (path.name, "") if isdir(path) else (path.stem, path.suffix)
    names = (path.with_name(f"{stem}-{number}{suffix}") for number in count(2))
    return path if not lexists(path) else next(name for name in names if not lexists(name))
