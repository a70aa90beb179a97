"""The sessions that both CLIs keep of a folder, also those begun in a terminal: only the head of each file is read.

What is damaged is skipped. Where they lie was measured with Claude Code 2.1.197 and Codex 0.169.0.
"""

from __future__ import annotations

import heapq
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ductor_lib.cli.claude import Raw
from ductor_lib.cli.codex_items import map_of, text_of

HEAD = 131_072  # bytes; Codex's instructions alone take 30,000 before the first prompt
MOST_FILES = 5000  # of one CLI, the newest first
NAME_CHARS = 200  # Claude Code cuts the name of a longer folder there and adds a hash
TITLE_CHARS = 200
SESSION = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FILE = re.compile(rf"(?:rollout-.*-)?({SESSION})\.jsonl")
INSERTED = ("<", "# AGENTS.md")  # how words begin that no person wrote: commands, reminders, the surroundings


@dataclass(frozen=True, slots=True)
class Transcript:
    """One session. `title` is its first prompt, "" when that is not in the head; `modified` in unix seconds, `size` in bytes."""

    provider: str
    id: str
    title: str
    modified: float
    size: int


@dataclass(frozen=True, slots=True)
class File:
    """A file that may be a session's."""

    path: Path
    id: str
    modified: float
    size: int


class Transcripts:
    """Lists sessions. `environment` has CLAUDE_CONFIG_DIR, CODEX_HOME and HOME, as the CLIs get them. Any thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        home = Path(environment.get("HOME") or Path.home())
        self._claude = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude") / "projects"
        self._codex = Path(environment.get("CODEX_HOME") or home / ".codex") / "sessions"

    def recent(self, cwd: Path) -> Iterator[Transcript]:
        """Every session of the folder, newest first; files are read as far as the iterator is."""
        lists = [self._listed(provider, os.path.realpath(cwd), "") for provider in ("claude", "codex")]
        return heapq.merge(*lists, key=lambda transcript: -transcript.modified)

    def find(self, provider: str, session_id: str, cwd: Path) -> Transcript | None:
        """That session, if the folder has it now. The id may come from anybody: it is compared, and never part of a path."""
        return next(self._listed(provider, os.path.realpath(cwd), session_id), None) if session_id else None

    def _listed(self, provider: str, cwd: str, only: str) -> Iterator[Transcript]:
        if provider == "claude":
            paths = (path for folder in self._folders(cwd) for path in children(folder))
        else:
            days = (day for year in children(self._codex) for month in children(year) for day in children(month))
            paths = (path for day in days for path in children(day))
        files = sorted((file for path in paths if (file := look(path))), key=lambda file: -file.modified)
        for file in islice((file for file in files if only in ("", file.id)), MOST_FILES):
            title = claude_title(file.path, cwd) if provider == "claude" else codex_title(file.path, cwd)
            if title is not None:
                yield Transcript(provider, file.id, title, file.modified, file.size)

    def _folders(self, cwd: str) -> list[Path]:
        name = re.sub(r"[^A-Za-z0-9]", "-", cwd)
        if len(name) <= NAME_CHARS:
            return [self._claude / name]
        return [folder for folder in children(self._claude) if folder.name.startswith(f"{name[:NAME_CHARS]}-")]


def children(folder: Path) -> list[Path]:
    """What a folder holds; nothing when it is none."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def look(path: Path) -> File | None:
    """What is known of a session's file from outside; None for what is none."""
    match = FILE.fullmatch(path.name)
    try:
        found = path.stat() if match else None
    except OSError:
        return None
    if match is None or found is None or not stat.S_ISREG(found.st_mode):  # a pipe would never end
        return None
    return File(path, match[1], found.st_mtime, found.st_size)


def claude_title(path: Path, cwd: str) -> str | None:
    """The first prompt of a session of Claude Code in that folder; None when it is no such session."""
    whole = True
    for raw in head(path):
        if raw is None:
            whole = False
            break
        if text_of(raw, "cwd") and os.path.realpath(text_of(raw, "cwd")) != cwd:  # "a/b" and "a-b" share a folder
            return None
        mine = raw.get("type") == "user" and not raw.get("isMeta") and not raw.get("isSidechain")
        if mine and (title := words(map_of(raw, "message").get("content"))):
            return title
    return None if whole else ""


def codex_title(path: Path, cwd: str) -> str | None:
    """The same for Codex."""
    known, whole = False, True
    for raw in head(path):
        if raw is None:
            whole = False
            break
        payload = map_of(raw, "payload")
        if raw.get("type") == "session_meta":
            known = os.path.realpath(text_of(payload, "cwd")) == cwd and isinstance(payload.get("source"), str)  # else a sub-agent's
        if not known:
            return None
        if title := codex_words(payload):
            return title
    return "" if known and not whole else None


def codex_words(payload: Raw) -> str:
    """What a person says in one entry, "" when nobody does."""
    item = map_of(payload, "item")
    if payload.get("type") == "user_message":
        return words(payload.get("message"))
    if item.get("type") == "UserMessage":
        return words(item.get("content"))
    return words(payload.get("content")) if payload.get("role") == "user" else ""


def words(content: object) -> str:
    """The text of a prompt in one line, shortened; "" for one that no person wrote."""
    blocks = content if isinstance(content, list) else [{"text": content}]
    parts = [text_of(block, "text") for block in blocks if isinstance(block, dict)]
    text = next((part.strip() for part in parts if part.strip() and not part.lstrip().startswith(INSERTED)), "")
    return " ".join(text[:TITLE_CHARS].split())


def head(path: Path) -> Iterator[Raw | None]:
    """The entries at the beginning of a file; None at last when there may be more. Lines that are no entries are left out."""
    left = HEAD
    try:
        with path.open("rb") as file:
            while line := file.readline(left):
                left -= len(line)
                if left <= 0:
                    yield None
                    return
                try:
                    raw = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(raw, dict):
                    yield raw
    except OSError:
        return
