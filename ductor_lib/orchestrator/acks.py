"""An answer that only says "nothing to report": recognised whatever an agent wraps around the agreed word."""

from __future__ import annotations

import re

AROUND = re.compile(r"[\W_]+")
POLITE = frozenset({"ok", "okay", "done", "acknowledged", "all", "good", "nothing", "new", "to", "report"})  # what may stand beside it


def is_ack(text: str, token: str) -> bool:
    """Whether an answer is nothing but `token`: marks, case and a polite word or two do not count."""
    pieces = [re.escape(piece) for piece in AROUND.split(token) if piece]
    if not pieces:
        return False
    rest, found = re.subn(r"[\W_]*".join(pieces), " ", text, flags=re.IGNORECASE)
    return found > 0 and all(word in POLITE for word in AROUND.sub(" ", rest).casefold().split())


def has_token(text: str, token: str) -> bool:
    """Whether `token` stands in the text as a word of its own."""
    return bool(token) and re.search(rf"(?<![\w]){re.escape(token)}(?![\w])", text, re.IGNORECASE) is not None
