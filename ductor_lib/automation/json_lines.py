"""Tell on which line of a JSON text the entries of a list stand. Only for text that json has parsed already."""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SPACE = re.compile(r"[ \t\n\r]*")
scan = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one entry begins, and each key in it; lines count from 1."""

    line: int
    keys: dict[str, int]


def entries(text: str, name: str) -> tuple[int, list[Entry]]:
    """The line of `name` in the outermost object, 1 when it is not there, and the entries of the list it holds."""
    breaks = [found.start() for found in re.finditer("\n", text)]
    line, listed = 1, list[Entry]()
    for key, at, value in _members(text, _skip(text, 0)):
        if key == name:  # the last of several counts, as for json
            line, listed = _line(breaks, at), [_entry(text, item, breaks) for item in _items(text, value)]
    return line, listed


def _entry(text: str, at: int, breaks: Sequence[int]) -> Entry:
    return Entry(_line(breaks, at), {key: _line(breaks, place) for key, place, _ in _members(text, at)})


def _members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """Each key of the object that begins at `at`, where it stands, and where its value does; nothing for other values."""
    if text[at] != "{":
        return
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, end = scan(text, at)
        value = _skip(text, _skip(text, end) + 1)
        yield key, at, value
        at = _next(text, value)


def _items(text: str, at: int) -> Iterator[int]:
    """Where each item of the list that begins at `at` stands; nothing for other values."""
    if text[at] != "[":
        return
    at = _skip(text, at + 1)
    while text[at] != "]":
        yield at
        at = _next(text, at)


def _next(text: str, at: int) -> int:
    """Where the neighbour of the value at `at` begins, or the bracket that closes both."""
    at = _skip(text, scan(text, at)[1])
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def _line(breaks: Sequence[int], at: int) -> int:
    return bisect(breaks, at) + 1
