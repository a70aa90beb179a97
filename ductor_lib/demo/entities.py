"""Entities of a text as Telegram keeps them: offsets in UTF-16 units, repaired where Telegram repairs, refused where it refuses."""

from __future__ import annotations

import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypedDict

SPLITTABLE = ("bold", "italic", "underline", "strikethrough", "spoiler")
QUOTES = ("blockquote", "expandable_blockquote")
CODE = ("pre", "code")
LINKS = ("text_link", "text_mention")
FOUND = ("mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number")  # Telegram finds these itself
# A longer entity comes first, and among equals the one that must be the outer one.
RANK = {kind: rank for rank, kind in enumerate((*QUOTES, *CODE, *LINKS, *FOUND, *SPLITTABLE))}
BUDGET = 100  # formatting entities per message; TDLib drops the rest without an error

FIND = re.compile(
    r"(?P<url>https?://[\w-]+(?:\.[\w-]+)+(?:[:/?#](?:[^\s<>\"]*[^\s<>\".,;:!?)\]}'])?)?)"
    r"|(?P<email>(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<bot_command>(?<![\w/<>@])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/]))"
    r"|(?P<mention>(?<![\w/])@[A-Za-z][A-Za-z0-9_]{3,31}(?!\w))"
    r"|(?P<hashtag>(?<![\w#])#\w*[^\W\d_]\w*)"
)
DROPPED = re.compile("[\r\u2028-\u202e\u0333\u033f\u030a]")  # TDLib takes these out of every text
SPACES = {code: " " for code in range(32) if chr(code) not in "\n\r"}  # and turns these into spaces
PAIRS = re.compile("[\U00010000-\U0010ffff]")
BLANK = re.compile("[\\s\u200b-\u200f\u202e\ufeff\u00a0\u2800\u3164]*")


class Entity(TypedDict, total=False):
    """Bot API: MessageEntity. `offset` and `length` are UTF-16 units."""

    type: str
    offset: int
    length: int
    url: str
    language: str
    user: dict[str, object]


class Wrong(ValueError):
    """A text that Telegram refuses; the words are Telegram's."""


@dataclass(frozen=True, slots=True)
class Span:
    """One entity with its ends, for the repair work."""

    start: int
    end: int
    kind: str
    entity: Entity


def units(text: str) -> int:
    """Length in UTF-16 units, as Telegram counts."""
    return len(text) + len(PAIRS.findall(text))


def normal(text: str, entities: Sequence[Entity]) -> tuple[str, list[Entity]]:
    """The text and entities that Telegram would store: cleaned, trimmed, repaired, within the budget.

    The text comes back empty when there is nothing to see. Raises Wrong for what refuses the whole message.
    The order of the steps is TDLib's (MessageEntity.cpp).
    """
    spans = repaired([span for span in map(_span, entities) if span.end > span.start and span.kind not in FOUND])
    text, spans = _cleaned(text, spans)
    spans = repaired(_without_blank_edges(text, spans))
    text, spans = _trimmed(text, spans)
    if BLANK.fullmatch(text):
        return "", []
    spans = repaired(_within_budget(spans))
    return text, [_entity(span) for span in sorted([*spans, *_found(text, spans)], key=_order)]


def link(url: str) -> str:
    """The address as Telegram stores it. Raises Wrong for one that fails the message (TDLib: LinkManager::check_link)."""
    url = url.strip()
    if re.match(r"(?i)(tg|ton|tonsite):", url):
        return url
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "http", url
    if scheme.lower() not in ("http", "https"):
        raise Wrong("wrong message entity: unsupported URL protocol")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(authority):]
    host, colon, port = authority.rpartition("@")[2].partition(":")
    if not host:
        raise Wrong("wrong message entity: URL host is empty")
    if colon and not (port.isdecimal() and 0 < int(port) < 65536):
        raise Wrong("wrong message entity: wrong port number specified in the URL")
    if host == "." or "." not in host or re.search(r"[\x00-\x20!\"$&'()*+,:;<=>\[\]\\^`{|}]", host):
        raise Wrong(f"wrong message entity: wrong HTTP URL {host!r}")
    kept = "" if port in ("", "80" if scheme.lower() == "http" else "443") else f":{port}"
    return f"{scheme.lower()}://{host.lower()}{kept}{path if path.startswith('/') else '/' + path}"


def repaired(spans: Iterable[Span]) -> list[Span]:
    """Overlaps solved: quotes and links win by order, code holds nothing else, bold and the like are cut to pieces."""
    ordered = sorted(spans, key=_order)
    if _nested(ordered):
        return ordered
    quotes = _apart([span for span in ordered if span.kind in QUOTES])
    solid = _apart([span for span in ordered if span.kind not in QUOTES and span.kind not in SPLITTABLE])
    solid = [span for span in solid if all(_apart_or_inside(span, quote) for quote in quotes)]
    frame = sorted([*quotes, *solid], key=_order)
    return sorted([*frame, *_split([span for span in ordered if span.kind in SPLITTABLE], frame)], key=_order)


def _span(entity: Entity) -> Span:
    kind, offset, length = entity.get("type"), entity.get("offset"), entity.get("length")
    if kind not in RANK:
        raise Wrong("can't parse MessageEntity: unsupported type specified")
    if not isinstance(offset, int) or not isinstance(length, int):
        raise Wrong("can't parse MessageEntity: can't find field \"offset\" or \"length\"")
    if not 0 <= offset <= 1_000_000:
        raise Wrong(f"receive an entity with incorrect offset {offset}")
    if not 0 <= length <= 1_000_000:
        raise Wrong(f"receive an entity with incorrect length {length}")
    rest = Entity(type=kind)
    if kind == "text_link":
        rest["url"] = link(str(entity.get("url", "")))
    if kind == "text_mention" and "user" in entity:
        rest["user"] = entity["user"]
    if kind == "pre" and entity.get("language"):
        rest["language"] = entity["language"]
    return Span(offset, offset + length, kind, rest)


def _entity(span: Span) -> Entity:
    return {**span.entity, "offset": span.start, "length": span.end - span.start}


def _order(span: Span) -> tuple[int, int, int]:
    return span.start, -span.end, RANK[span.kind]


def _nested(ordered: list[Span]) -> bool:
    """Whether nothing needs repair: every entity lies whole inside the one before or after it, and may be there."""
    outer: list[Span] = []
    ends = dict.fromkeys(SPLITTABLE, -1)
    for span in ordered:
        while outer and outer[-1].end <= span.start:
            outer.pop()
        if span.kind in SPLITTABLE:
            if span.start <= ends[span.kind]:
                return False
            ends[span.kind] = span.end
        if outer and (span.end > outer[-1].end or not _may_hold(outer, span)):
            return False
        outer.append(span)
    return True


def _may_hold(outer: list[Span], span: Span) -> bool:
    kinds = {other.kind for other in outer}
    if outer[-1].kind in CODE:
        return False
    if span.kind in CODE:
        return kinds <= set(QUOTES)
    if span.kind in SPLITTABLE:
        return True
    solid = kinds - set(SPLITTABLE)
    return not solid if span.kind in QUOTES else solid <= set(QUOTES)


def _apart(ordered: list[Span]) -> list[Span]:
    """The first of those that overlap stays."""
    kept: list[Span] = []
    for span in ordered:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _apart_or_inside(span: Span, quote: Span) -> bool:
    return span.end <= quote.start or span.start >= quote.end or (quote.start <= span.start and span.end <= quote.end)


def _split(splittable: list[Span], frame: list[Span]) -> list[Span]:
    """Runs of one kind joined, cut wherever another entity begins and at every border of the frame, and kept out of code."""
    runs: list[Span] = []
    for kind in SPLITTABLE:
        last: Span | None = None
        for span in (span for span in splittable if span.kind == kind):
            if last is not None and span.start <= last.end:
                runs[-1] = last = replace(last, end=max(last.end, span.end))
            else:
                runs.append(span)
                last = span
    cuts = sorted({run.start for run in runs} | {edge for span in frame for edge in (span.start, span.end)})
    code = [span for span in frame if span.kind in CODE]
    starts = [span.start for span in code]
    pieces = []
    for run in runs:
        edges = [run.start, *cuts[bisect_right(cuts, run.start):bisect_left(cuts, run.end)], run.end]
        for start, end in pairwise(edges):
            at = bisect_right(starts, start) - 1
            if at < 0 or code[at].end <= start:
                pieces.append(Span(start, end, run.kind, run.entity))
    return pieces


def _cleaned(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    """Control characters gone, and the entities moved with the text. Raises Wrong for an end that no character has."""
    codes = _codes(text)
    for span in spans:
        if span.start >= len(codes):
            raise Wrong(f"entity begins after the end of the text at UTF-16 offset {span.start}")
        if span.end > len(codes):
            raise Wrong(f"entity beginning at UTF-16 offset {span.start} ends after the end of the text at UTF-16 offset {span.end}")
        if 0xDC00 <= codes[span.start] < 0xE000:
            raise Wrong(f"entity begins in a middle of a UTF-16 symbol at UTF-16 offset {span.start}")
        if span.end < len(codes) and 0xDC00 <= codes[span.end] < 0xE000:
            raise Wrong(f"entity beginning at UTF-16 offset {span.start} ends in a middle of a UTF-16 symbol at UTF-16 offset {span.end}")
    kept = DROPPED.sub("", text).translate(SPACES)
    if len(kept) < len(text):
        gone = [at for at, code in enumerate(codes) if DROPPED.match(chr(code))]  # all of them are one unit long
        moved = [(span.start - bisect_left(gone, span.start), span.end - bisect_left(gone, span.end)) for span in spans]
        spans = [replace(span, start=start, end=end) for span, (start, end) in zip(spans, moved, strict=True)]
    return kept, spans


def _codes(text: str) -> memoryview:
    """The UTF-16 units of the text."""
    return memoryview(array("H", text.encode("utf-16-le" if sys.byteorder == "little" else "utf-16-be")))


def _without_blank_edges(text: str, spans: list[Span]) -> list[Span]:
    """Spaces at the front of an entity leave it, also of a code block; an entity of spaces alone goes."""
    codes = _codes(text)
    result = []
    for span in spans:
        start = span.start
        while start < span.end and codes[start] in (10, 32):
            start += 1
        if start < span.end:
            result.append(span if start == span.start or span.kind in LINKS else replace(span, start=start))
    return result


def _trimmed(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    """Spaces off both ends; at the front not beyond the first entity."""
    text = text.rstrip(" \n")
    end = units(text)
    front = min(len(text) - len(text.lstrip(" \n")), min((span.start for span in spans), default=end))
    cut = [replace(span, start=span.start - front, end=min(span.end, end) - front) if front or span.end > end else span for span in spans]
    return text[front:], [span for span in cut if span.end > span.start]


def _within_budget(spans: list[Span]) -> list[Span]:
    """Code, links and quotes are taken first, then bold and the like, each in the order of the text."""
    solid = [span for span in spans if span.kind not in SPLITTABLE]
    return [*solid, *_split([span for span in spans if span.kind in SPLITTABLE], [])][:BUDGET]


def _found(text: str, spans: list[Span]) -> list[Span]:
    """What Telegram finds by itself, outside of code and links."""
    if not re.search(r"[/@#]", text):
        return []
    solid = [span for span in spans if span.kind in CODE or span.kind in LINKS]
    result = []
    for match in FIND.finditer(text):
        kind = str(match.lastgroup)
        start = units(text[:match.start()])
        end = start + units(match.group())
        if all(end <= span.start or start >= span.end for span in solid):
            result.append(Span(start, end, kind, Entity(type=kind)))
    return result
