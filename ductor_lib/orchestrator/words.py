"""Small things said the same way everywhere: lengths of time, counts, the first line of a message."""

from __future__ import annotations

from ductor_lib.messages import Incoming
from ductor_lib.security import unfenced

BUTTONS = {"/attach": "⑂ go on with another session"}  # commands that nobody types, and can wait in a lane
SPECIAL = frozenset("\\`*_{}[]<>()#+-.!|~&")


def age(seconds: float) -> str:
    """A length of time: "40 s", "12 min", "5 h", "3 days"."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} days"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 message", "3 messages", "2 processes"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return "".join(f"\\{c}" if c in SPECIAL else c for c in text)


def first_line(text: str, *, most: int = 60) -> str:
    """The beginning of a message in one line, as text that Markdown leaves as it is."""
    line = " ".join(text.split())
    return plain(line if len(line) <= most else line[: most - 1] + "…") or "(no text)"


def title(item: Incoming) -> str:
    """What waits, in one line for the chat."""
    return BUTTONS.get(item.text.partition(" ")[0]) or first_line(unfenced(item.text) or item.untrusted)
