"""/memory: what the agent knows about its owner, as it stands in the file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator.words import age
from ductor_lib.workspace import rules

LONGEST = 16_000  # bytes that are shown: some screens of a phone
HOW = "To change it, tell the agent what to remember or to forget, or edit the file: `{path}`"
MISSING = "There is no memory yet. It comes with the next start of ductor; the agent can also begin it: tell it what to remember.\n\n{path}"


def memory(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/memory: MAINMEMORY.md, its size and age, and how to change it."""
    path = desk.paths.memory
    how = HOW.format(path=path)
    try:
        facts = path.stat()
    except OSError:
        return [Reply(item.chat, MISSING.format(path=f"`{path}`"))]
    text = rules.memory(desk.paths)
    if not text.strip():
        readable = path.is_file() and os.access(path, os.R_OK)
        empty = "is empty: nothing was remembered yet" if readable else "cannot be read"
        return [Reply(item.chat, f"The memory {empty}.\n\n{how}")]
    head = f"**Memory** {size(facts.st_size)}, changed {age(time.time() - facts.st_mtime)} ago"
    return [Reply(item.chat, "\n\n".join((head, how, "———", end_of(text))))]


def end_of(text: str) -> str:
    """The text, of a long one the end from the beginning of a line on, with a note."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= LONGEST:
        return text
    rest = raw[-LONGEST:].partition(b"\n")[2] or raw[-LONGEST:]
    shown = rest.decode("utf-8", "ignore")  # the cut may lie within a letter
    return f"*It is long; this is its end, the last {size(len(rest))}. The rest is in the file.*\n\n{shown}"


def size(number: int) -> str:
    """Bytes for people: "950 bytes", "1.2 kB"."""
    return f"{number} bytes" if number < 1000 else f"{number / 1000:.1f} kB"
