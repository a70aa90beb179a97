"""A message's text with its formatting, and where to cut it: sizes and offsets leave here as UTF-16 units, as Telegram counts."""

from __future__ import annotations

import re
import sys
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

LIMIT = 4000  # UTF-16 units; Bot API: a message holds 4096
BUDGET = 100  # Bot API: what a message has above 100 entities is dropped without an error

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_INVISIBLE = "".join(map(chr, (0xAD, 0x115F, 0x180E, *range(0x200B, 0x2010), 0x2060, 0x2800, 0x3164, 0xFE0F, 0xFEFF, 0xFFFC)))
_BLANK = re.compile(f"[\\s{_INVISIBLE}]*")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)*")
_SPACE = re.compile(r"\s*")
_JOINER = "\u200d"
# Removed, except for line breaks: terminal colours, control characters (Telegram makes them spaces or drops them), direction
# overrides (Telegram drops them), halves of surrogate pairs (cannot be sent).
_DIRT = re.compile("\r\n?|[\x85\u2028\u2029]|\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entity:
    """One stretch of formatting. `offset` and `length` are UTF-16 units; `type` is a Bot API MessageEntity type."""

    type: str
    offset: int
    length: int
    url: str = ""
    language: str = ""

    def to_dict(self) -> dict[str, str | int]:
        """The Bot API object."""
        fields: dict[str, str | int] = {"type": self.type, "offset": self.offset, "length": self.length}
        if self.url:
            fields["url"] = self.url
        if self.language:
            fields["language"] = self.language
        return fields


@dataclass(frozen=True, slots=True)
class Part:
    """What one message holds: text without white space around it, and entities in order of their offset.

    Only a `pre` at the very beginning keeps the indentation of its first line: Telegram trims up to the first entity.
    """

    text: str
    entities: tuple[Entity, ...] = ()


class Span(NamedTuple):
    """An entity of a text that is not cut yet; `start` and `end` count characters."""

    type: str
    start: int
    end: int
    url: str = ""
    language: str = ""


class Seam(NamedTuple):
    """A place between two blocks: `offset` in the text (characters), `line` of the source where the second one begins.

    `reopen` is what the source needs in front when it is cut here: the opening line of a fence. Only a `border` is a
    good place to cut a text.
    """

    offset: int
    line: int
    reopen: str = ""
    border: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """A whole document as one text; spans are nested or apart, in order of their start, longer ones first."""

    text: str
    spans: Sequence[Span]
    seams: Sequence[Seam] = ()

    def until(self, offset: int) -> Flow:
        """The document up to that character."""
        spans = [span._replace(end=min(span.end, offset)) for span in self.spans if span.start < offset]
        return Flow(self.text[:offset], spans, [seam for seam in self.seams if seam.offset < offset])


def units(text: str) -> int:
    """The length as Telegram counts it: UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def clean(text: str) -> str:
    """Without characters that cannot be sent or that Telegram would change; line breaks are "\\n", tabs stay."""
    return _DIRT.sub(lambda match: "\n" if match[0] in "\r\n\x85\u2028\u2029" else "\ufffd" if match[0] >= "\ud800" else "", text)


def blank(text: str) -> bool:
    """True when nobody would see anything; Telegram refuses such a message."""
    return _BLANK.fullmatch(text) is not None


def cuts(flow: Flow, *, limit: int, budget: int, reserve: int = 0) -> list[tuple[int, int]]:
    """Where the parts begin and end, in characters; the first part leaves `reserve` units and one entity free.

    Cuts at borders of blocks if a part is not left nearly empty by it, else between lines, words, graphemes.
    """
    borders = [seam.offset for seam in flow.seams if seam.border]
    found: list[tuple[int, int]] = []
    begin, spans, pres = 0, _Cursor(flow.spans), _starts(flow.spans)
    room, places = limit - reserve, budget - bool(reserve)
    while (begin := _skip(flow.text, pres, begin)) < len(flow.text):
        end = min(_window(flow.text, begin, room), spans.window(begin, places))
        if end < len(flow.text):
            end = _cut(flow.text, borders, begin, end)
        stop = begin + len(flow.text[begin:end].rstrip())
        if stop > begin and not blank(flow.text[begin:stop]):
            found.append((begin, stop))
            room, places = limit, budget
        begin = max(end, begin + 1)
    return found


def split(flow: Flow, *, limit: int, budget: int, reserve: int = 0) -> list[Part]:
    """The document as messages of at most `limit` UTF-16 units and `budget` entities; see `cuts`."""
    spans = _Cursor(flow.spans)
    places = cuts(flow, limit=limit, budget=budget, reserve=reserve)
    allowed = [budget - bool(reserve and not number) for number in range(len(places))]
    return [_part(flow.text[a:b], a, spans.between(a, b)[:room]) for (a, b), room in zip(places, allowed, strict=True)]


def join(upper: Part, lower: Part) -> Part:
    """Both in one message with a blank line between them. Keeping the limits is the caller's business."""
    if not upper.text or not lower.text:
        return upper if upper.text else lower
    text = upper.text + "\n\n"
    shift = units(text)
    return Part(text + lower.text, upper.entities + tuple(replace(entity, offset=entity.offset + shift) for entity in lower.entities))


def quoted(text: str, *, limit: int) -> Part:
    """Plain text as one expandable quote of at most `limit` units; the end is what stays, behind "…"."""
    text = clean(text).strip()
    if blank(text):
        return Part("")
    if units(text) > limit:
        tail = text.encode("utf-16-le")[-2 * (limit - 2):].decode("utf-16-le", "ignore")
        text = "… " + (_after_break(tail) or tail).strip()
    return Part(text, (Entity("expandable_blockquote", 0, units(text)),))


def _after_break(tail: str) -> str:
    """From the first line that begins in its first quarter, or else from the first word."""
    for mark in ("\n", " "):
        place = tail.find(mark, 0, len(tail) // 4)
        if place >= 0 and not blank(tail[place:]):
            return tail[place:]
    return ""


class _Cursor:
    """Walks once over the spans, from the beginning of the text to its end."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._next = 0
        self._open: list[Span] = []

    def between(self, begin: int, end: int) -> list[Span]:
        """The spans that touch a stretch of the text; stretches are asked for in order."""
        while self._next < len(self._spans) and self._spans[self._next].start < end:
            self._open.append(self._spans[self._next])
            self._next += 1
        touching = [span for span in self._open if span.end > begin]
        self._open = [span for span in touching if span.end > end]
        return touching

    def window(self, begin: int, budget: int) -> int:
        """How far a part that begins there may go without more than `budget` entities."""
        while self._next < len(self._spans) and self._spans[self._next].start < begin:
            self._open.append(self._spans[self._next])
            self._next += 1
        self._open = [span for span in self._open if span.end > begin]
        surplus = self._next + max(budget - len(self._open), 0)
        while surplus < len(self._spans) and self._spans[surplus].start <= begin:
            surplus += 1
        return self._spans[surplus].start if surplus < len(self._spans) else sys.maxsize


def _starts(spans: Sequence[Span]) -> tuple[list[int], list[int]]:
    """Where the `pre` spans begin and end; they never overlap."""
    pres = [span for span in spans if span.type == "pre"]
    return [span.start for span in pres], [span.end for span in pres]


def _skip(text: str, pres: tuple[list[int], list[int]], begin: int) -> int:
    """Past the white space that no part begins with; code keeps the indentation of its line."""
    begin += len(_BLANK_LINES.match(text, begin)[0])  # type: ignore[index]  # matches always
    starts, ends = pres
    number = bisect_right(starts, begin) - 1
    if number >= 0 and begin < ends[number]:
        return begin
    return begin + len(_SPACE.match(text, begin)[0])  # type: ignore[index]  # matches always


def _window(text: str, begin: int, room: int) -> int:
    """How far a part that begins there may go without more than `room` UTF-16 units."""
    piece = text[begin : begin + room]
    if piece.isascii() or not _ASTRAL.search(piece):
        return begin + len(piece)
    return begin + len(piece.encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore"))


def _cut(text: str, borders: list[int], begin: int, end: int) -> int:
    """The best place to cut in the last three quarters before `end`."""
    least = begin + (end - begin) // 4
    number = bisect_right(borders, end) - 1
    if number >= 0 and borders[number] > least:
        return borders[number]
    line = text.rfind("\n", least, end + 1)
    if line > least:
        return line
    word = text.rfind(" ", least, end + 1)
    if word > least:
        return word
    place = end
    while place > max(least, end - 40) and _joined(text[place - 1], text[place]):
        place -= 1
    return place if place > max(least, end - 40) else end


def _joined(left: str, right: str) -> bool:
    """True inside of what a reader sees as one character: accents, joined or coloured emoji, flags, Hangul parts."""
    if right.isascii():
        return False
    return (
        left == _JOINER
        or right == _JOINER
        or unicodedata.category(right) in ("Mn", "Mc", "Me")
        or "\U0001f3fb" <= right <= "\U0001f3ff"
        or ("\U0001f1e6" <= right <= "\U0001f1ff" and "\U0001f1e6" <= left <= "\U0001f1ff")
        or "\u1160" <= right <= "\u11ff"
    )


def _part(text: str, begin: int, spans: Iterable[Span]) -> Part:
    """The message of a stretch that begins at character `begin` of the document."""
    astral = [] if text.isascii() else [match.start() for match in _ASTRAL.finditer(text)]
    entities = []
    for span in spans:
        start, end = max(span.start - begin, 0), min(span.end - begin, len(text))
        if text[start:end].isspace() or start >= end:
            continue
        offset = start + bisect_left(astral, start)
        entities.append(Entity(span.type, offset, end + bisect_left(astral, end) - offset, span.url, span.language))
    return Part(text, tuple(entities))
