"""Tables as aligned plain text, for a font in which every character is one or two columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

WIDEST = 40  # columns that a cell is padded to; a longer one only pushes the rest of its own row aside
MOST = 20  # cells in a row; a table with more is not aligned, its blanks would be most of it
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"


def aligned(rows: Sequence[Sequence[str]], aligns: Sequence[str]) -> str:
    """The table as lines, its first row above a rule; a blank first row is left out.

    `aligns` has "left", "right", "center" or "" for each column; no row is longer than it.
    """
    widths = [min(WIDEST, max(map(width, column))) for column in zip_longest(*rows, fillvalue="")]
    if len(aligns) > MOST:
        widths = [1] * len(aligns)
    lines = [" | ".join(map(_pad, row, widths, aligns)).rstrip() for row in rows]
    if not any(rows[0]):
        return "\n".join(lines[1:])
    return "\n".join((lines[0], "-+-".join("-" * size for size in widths), *lines[1:]))


def width(text: str) -> int:
    """Columns of a monospaced font: East Asian wide characters and emoji take two, marks none."""
    if text.isascii():
        return len(text)
    columns, last, joined = 0, 0, False
    for letter in text:
        if letter < "\u0300":
            columns, last = columns + 1, 1
        elif joined or letter == _JOINER:
            joined = letter == _JOINER
        elif letter == _EMOJI_STYLE and last:
            columns, last = columns + 2 - last, 2
        elif not "\U0001f3fb" <= letter <= "\U0001f3ff" and unicodedata.category(letter) not in ("Mn", "Me", "Cf"):
            last = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
            columns += last
    return columns


def _pad(cell: str, size: int, align: str) -> str:
    if not align or align == "left":
        return cell + " " * (size - width(cell))
    room = max(size - width(cell), 0)
    left = room if align == "right" else room // 2
    return " " * left + cell + " " * (room - left)
