"""The agent's rules and memory. A rule is one text under two names, CLAUDE.md and AGENTS.md, and both say the same."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile, write_text
from ductor_lib.workspace.placing import Found, digest, digests, supersede

log = logging.getLogger(__name__)

CLAUDE, CODEX = "CLAUDE.md", "AGENTS.md"
NAMES = {"claude": CLAUDE, "codex": CODEX}  # which file a provider's CLI reads
SHIPPED = Path(__file__).parent.parent / "home"  # mirrors a home; a RULES.md there becomes the rule files of its folder
TEMPLATE = "RULES.md"
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
ON_HOST = """\
You work directly on this machine, without a sandbox: every change is real and stays. What you break stays broken until
you repair it."""
IN_SANDBOX = """\
You work in a sandbox, a container on this machine. The workspace in it is the real one, at the same path: changes there
stay. What you install or change elsewhere goes with the container, and the person's other files are out of your reach."""

SKIPPED = {"node_modules", "__pycache__", "venv"}  # besides names that begin with a dot
CLOSED = {"skills", "telegram_files", "output_to_user"}  # here only the rules of the folder itself are kept in step
TASKS = "cron_tasks"
DEPTH = 6  # folders below the workspace
FOLDERS = 5_000  # looked into at most: a pass comes every ten seconds
LONGEST = 1_000_000  # bytes of a rule file
SETTLED = 2.0  # seconds without a change: a younger file may still be in the middle of being written
MEMORY_BYTES = 64_000  # some 20,000 tokens, which every session pays for


def wanted(signed_in: Collection[str]) -> tuple[str, ...]:
    """The names of the rule files for these providers ("claude", "codex"); Claude's when nobody is signed in."""
    return tuple(name for provider, name in NAMES.items() if provider in signed_in) or (CLAUDE,)


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with each `{{name}}` replaced by its value. An unknown one stays: a rule may speak of templates."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def shipped(home: Path, *, sandboxed: bool) -> dict[str, bytes]:
    """The rendered rule of each folder, by the folder's path in the home ("workspace/tools")."""
    values = {"home": str(home), "runtime": IN_SANDBOX if sandboxed else ON_HOST}
    return {
        template.parent.relative_to(SHIPPED).as_posix(): os.fsencode(render(template.read_text(encoding="utf-8"), values))
        for template in sorted(SHIPPED.rglob(TEMPLATE))
    }


def memory(paths: Paths) -> str:
    """What the agent knows about its owner, for its start; "" without a readable file. Of a file over 64 kB the end."""
    size = memory_size(paths)
    if not size:
        return ""
    try:
        with open(paths.memory, "rb") as file:
            file.seek(max(0, size - MEMORY_BYTES))
            raw = file.read(MEMORY_BYTES)
    except OSError as error:
        log.warning("memory not readable path=%s reason=%s", paths.memory, error.strerror)
        return ""
    if size <= MEMORY_BYTES:
        return _plain(raw)
    return "(The beginning of MAINMEMORY.md is left out here: it is over 64 kB. Condense it.)\n" + _plain(raw.partition(b"\n")[2] or raw)


def memory_size(paths: Paths) -> int:
    """Bytes of MAINMEMORY.md; 0 when there is none."""
    try:
        found = paths.memory.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0  # reading a pipe would wait for ever


def _plain(raw: bytes) -> str:
    return raw.decode("utf-8-sig", "replace").replace("\0", "\ufffd")  # what is text to a CLI holds no NUL


class Rules:
    """Keeps CLAUDE.md and AGENTS.md in step, in every folder of the workspace that has one of them. For one thread.

    While one CLI is signed in, it gets its file where only that of the other is, and no more. With both, the newer text
    replaces the older one, which is kept aside unless it is known: what both said before, or what was shipped. Left
    alone is what lies behind a link, in a hidden folder, in a repository (but for the workspace itself and task
    folders), and below the skills and the files of the chat.
    """

    def __init__(self, paths: Paths, *, now: Callable[[], float] = time.time) -> None:
        self._workspace = paths.workspace
        self._manifest = JsonFile(paths.home_manifest)
        self._now = now
        self._common: dict[str, str] = {}  # folder: digest of what both said last
        self._loaded = False
        self._seen: dict[str, object] = {}  # folder: what its files looked like when they were last in step
        self._told: set[tuple[str, str]] = set()

    def sync(self, signed_in: Collection[str]) -> int:
        """One pass, if a CLI is signed in: the number of files written. Never raises for a file or folder."""
        names = {NAMES[provider] for provider in NAMES.keys() & set(signed_in)}
        if not names:
            return 0
        written = 0
        try:
            if not self._loaded:
                self._common = digests(self._manifest.read().get("in_step"))
                self._loaded = True
            before, visited = dict(self._common), set()
            for folder, entries in self._folders():
                visited.add(folder)
                if len(names) > 1 or not names & entries.keys():
                    written += self._bring_in_step(folder, entries)
            for gone in self._common.keys() - visited:
                del self._common[gone]
                self._seen.pop(gone, None)
            if self._common != before:
                with self._manifest.change() as data:
                    data["in_step"] = dict(self._common)
        except OSError as error:
            self._tell(str(self._manifest.path), error.strerror or str(error))
        if written:
            log.info("rules brought in step files=%d", written)
        return written

    def _folders(self) -> Iterator[tuple[str, dict[str, os.DirEntry[str]]]]:
        """Folders with rule files, nearest first: their path in the workspace ("" for itself), and the rule files."""
        waiting = deque([""])
        for _ in range(FOLDERS):
            if not waiting:
                return
            folder = waiting.popleft()
            try:
                with os.scandir(self._workspace / folder) as entries:
                    inside = {entry.name: entry for entry in entries}
                below = [name for name, entry in inside.items() if entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                self._tell(folder, error.strerror or str(error))
                continue
            if folder and os.path.dirname(folder) != TASKS and ".git" in inside and _is_repository(inside[".git"]):
                continue
            if rules := {name: inside[name] for name in NAMES.values() if name in inside}:
                yield folder, rules
            if folder not in CLOSED and folder.count(os.sep) + bool(folder) < DEPTH:
                waiting.extend(os.path.join(folder, name) for name in sorted(below) if name[0] != "." and name not in SKIPPED)
        self._tell("", f"it has more than {FOLDERS} folders, the rest is not kept in step")

    def _bring_in_step(self, folder: str, entries: Mapping[str, os.DirEntry[str]]) -> int:
        """One folder: the number of files written."""
        try:
            stats = {name: entry.stat(follow_symlinks=False) for name, entry in entries.items()}
            look = [(name, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for name, one in stats.items()]
            if self._seen.get(folder) == look or not all(stat.S_ISREG(one.st_mode) for one in stats.values()):
                return 0
            if any(0 <= self._now() - one.st_mtime < SETTLED for one in stats.values()):
                return 0
            files = {name: Found(self._read(folder, name), one.st_mtime_ns) for name, one in stats.items()}
            newer = max(files, key=lambda name: (files[name].changed, name == CLAUDE))
            if len({file.content for file in files.values()}) == 1 < len(files):
                self._common[folder] = digest(files[newer].content)
                self._seen[folder] = look
                return 0
            self._write(folder, CODEX if newer == CLAUDE else CLAUDE, files, stat.S_IMODE(stats[newer].st_mode))
        except OSError as error:
            self._tell(folder, error.strerror or str(error))
            return 0
        return 1

    def _read(self, folder: str, name: str) -> bytes:
        """Raises OSError also for what is no rule: half written, or of another kind."""
        path = self._workspace / folder / name
        with open(path, "rb") as file:
            content = file.read(LONGEST + 1)
        if not content or b"\0" in content or len(content) > LONGEST:
            raise OSError(f"{name} is empty, damaged or too large")
        return content

    def _write(self, folder: str, target: str, files: Mapping[str, Found], mode: int) -> None:
        """Give `target` the text of the other file."""
        path = self._workspace / folder / target
        text = next(file.content for name, file in files.items() if name != target)
        old = files.get(target)
        if _changed(path) != (old.changed if old else None):
            raise OSError(f"{target} is being changed")
        if old and not self._is_known(folder, digest(old.content)):
            supersede(path, text, self._now(), mode=mode)
        else:
            write_text(path, text, mode=mode)
        self._common[folder] = digest(text)

    def _is_known(self, folder: str, old: str) -> bool:
        """Whether this text is no edit: both files said it before, or it was shipped."""
        installed = digests(self._manifest.read().get("rules"))
        return old in (self._common.get(folder), installed.get(Path(self._workspace.name, folder).as_posix()))

    def _tell(self, folder: str, reason: str) -> None:
        if (folder, reason) not in self._told:
            self._told.add((folder, reason))
            log.warning("rules not in step folder=%s reason=%s", folder or ".", reason)


def _is_repository(git: os.DirEntry[str]) -> bool:
    """An empty .git is no repository: a sandbox of Codex that was killed leaves one behind."""
    return git.is_file() or os.path.exists(os.path.join(git.path, "HEAD"))


def _changed(path: Path) -> int | None:
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return None
