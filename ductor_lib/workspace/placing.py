"""How ductor's own text gets into a file that others may have edited: never over an edit without a copy of it."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ductor_lib.storage import write_text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it lies there. `changed` is its time in nanoseconds."""

    content: bytes
    changed: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do with a file: write it, supersede it (a copy is kept), set it aside, or remove it."""

    do: Literal["write", "supersede", "set aside", "remove"]
    name: str
    content: bytes = b""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digests(table: object) -> dict[str, str]:
    """A table of digests as the manifest has it; what makes no sense there is left out."""
    return {str(key): one for key, one in table.items() if isinstance(one, str)} if isinstance(table, dict) else {}


def steps(found: Mapping[str, Found], names: Collection[str], *, shipped: bytes, installed: str) -> list[Step]:
    """What brings the files that carry one text, such as the rules of a folder, up to date: in order, no edit is lost.

    `names` are the files to have. `installed` is the digest of the text that was shipped when they were last brought up
    to date, "" if unknown. A new text replaces all of them; otherwise an edit stays, and is what a missing file gets.
    """
    new = digest(shipped)
    edits = {name: file for name, file in found.items() if digest(file.content) not in (installed, new)}
    text = shipped
    if installed == new and edits:
        text = max(edits.values(), key=lambda file: file.changed).content
    todo, kept = [], set()
    for name in names:
        file = found.get(name)
        if file and (installed == new or file.content == shipped):
            kept.add(file.content)
            continue
        todo.append(Step("supersede" if name in edits else "write", name, text))
        kept.add(text)
    for name in sorted(found.keys() - set(names)):
        lost = name in edits and found[name].content not in kept
        todo.append(Step("set aside" if lost else "remove", name))
    return todo


def set_aside(path: Path, now: float) -> Path:
    """Rename to NAME.edited-<unix time>, or the next number that is free. Raises OSError."""
    stamp = int(now)
    while os.path.lexists(target := path.with_name(f"{path.name}.edited-{stamp}")):
        stamp += 1
    path.rename(target)
    log.warning("edited file kept aside path=%s", target)
    return target


def supersede(path: Path, content: bytes, now: float, *, mode: int = 0o600) -> Path:
    """Write, and keep what was there aside: its new path. Raises OSError; then all is as before."""
    aside = set_aside(path, now)
    try:
        write_text(path, content, mode=mode)
    except OSError:
        with suppress(OSError):
            aside.rename(path)
        raise
    return aside
