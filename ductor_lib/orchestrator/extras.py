"""What an agent asks for with tags in its text: files to be sent, and buttons. A text without tags stays as it is."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.messages import Button, Rows
from ductor_lib.orchestrator.words import plain

MOST_BUTTONS = 8
LABEL = 40  # characters; a longer tag stays text, because a person must see all that a press sends
SHORT = 16  # characters of a label that leaves room for a second one beside it

# A tag stands on one line. "[button:x](…)" is a link, and a backslash before a tag makes it text.
_TAG = re.compile(rf"(?<!\\)(?:<file:(?P<file>[^<>\n\0]{{1,4096}})>|\[button:(?P<button>[^\[\]\n\0]{{1,{LABEL}}})\](?!\())")
_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})([^\n]*)")
_BARE = re.compile(r"[ \t>]*(?:[-*+]|\d{1,9}[.)])?[ \t]*")  # what a list or a quote leaves of a line


@dataclass(frozen=True, slots=True)
class Extras:
    """A text without its tags; `files` are absolute paths, each once; pressing a button says its text."""

    text: str
    files: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()


def extract(text: str, cwd: Path) -> Extras:
    """Take `<file:path>` and `[button:text]` out of a text. Never raises.

    Paths are relative to `cwd`, `~` is the home folder; nothing is opened. In code a tag is an example and stays, and so
    does a button beyond the eighth. A line that held nothing else goes; a file within a sentence leaves its name there.
    """
    if not _TAG.search(text):
        return Extras(text)
    files: dict[str, None] = {}
    buttons: dict[str, None] = {}
    lines: list[str] = []
    for line, tags in _lines(text):
        kept, at = [], 0
        alone = bool(tags) and _BARE.fullmatch("".join(_between(line, tags))) is not None
        for tag in tags:
            kept.append(line[at : tag.start()])
            kept.append(_take(tag, cwd, files, buttons, alone=alone))
            at = tag.end()
        rest = "".join(kept) + line[at:]
        if not tags:
            lines.append(line)
        elif not alone or not _BARE.fullmatch(rest):
            lines.append(rest.rstrip())
        elif lines and not lines[-1].strip():
            lines.pop()  # the blank line before it would now meet the one after it
    return Extras("\n".join(lines).strip("\n") if files or buttons else text, tuple(files), tuple(buttons))


def rows(buttons: tuple[str, ...]) -> Rows:
    """The texts as rows of buttons: two in a row where both are short."""
    drawn: list[tuple[Button, ...]] = []
    for text in buttons:
        button = Button(text, command=text)
        if drawn and len(drawn[-1]) == 1 and max(len(text), len(drawn[-1][0].label)) <= SHORT:
            drawn[-1] = (*drawn[-1], button)
        else:
            drawn.append((button,))
    return tuple(drawn)


def _take(tag: re.Match[str], cwd: Path, files: dict[str, None], buttons: dict[str, None], *, alone: bool) -> str:
    """Note what the tag asks for; what stands in its place from now on."""
    if tag["file"] is not None:
        path = _absolute(tag["file"].strip(), cwd)
        files[path] = None
        name = os.path.basename(path) or path
        return "" if alone else plain(name) if "`" in name else f"`{name}`"
    label = tag["button"].strip()
    if not label or (label not in buttons and len(buttons) >= MOST_BUTTONS):
        return tag[0]
    buttons[label] = None
    return ""


def _absolute(path: str, cwd: Path) -> str:
    home = os.path.expanduser("~") if path.startswith("~/") else ""
    return os.path.normpath(os.path.join(cwd, home + path[1:] if home else path))


def _between(line: str, tags: list[re.Match[str]]) -> Iterator[str]:
    at = 0
    for tag in tags:
        yield line[at : tag.start()]
        at = tag.end()
    yield line[at:]


# ── where code is ───────────────────────────────────────────────────────────────────────────────────────────────────


def _lines(text: str) -> Iterator[tuple[str, list[re.Match[str]]]]:
    """Each line with the tags in it that are no code."""
    paragraph: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.fullmatch(line)
        if not fence and not mark and line.strip():
            paragraph.append(line)
            continue
        yield from _paragraph(paragraph)
        paragraph = []
        yield line, []
        if mark and not fence and not (mark[1][0] == "`" and "`" in mark[2]):
            fence = mark[1]
        elif mark and fence and mark[1].startswith(fence) and not mark[2].strip():
            fence = ""
    yield from _paragraph(paragraph)


def _paragraph(lines: list[str]) -> Iterator[tuple[str, list[re.Match[str]]]]:
    """Code within a line may go over the end of a line, but not of a paragraph (CommonMark)."""
    spans = _code("\n".join(lines))
    begin = 0
    for line in lines:
        tags = [tag for tag in _TAG.finditer(line) if not _inside(spans, begin + tag.start())]
        yield line, tags
        begin += len(line) + 1


def _code(text: str) -> list[tuple[int, int]]:
    """Where code within lines is: from a run of backticks to the next run of the same length."""
    runs = [(run.start(), run.end()) for run in re.finditer("`+", text)]
    places: dict[int, list[int]] = {}
    for start, end in runs:
        places.setdefault(end - start, []).append(start)
    found: list[tuple[int, int]] = []
    for start, end in runs:
        if found and start < found[-1][1]:
            continue
        same = places[end - start]
        following = bisect_left(same, end)
        if following < len(same):
            found.append((start, same[following] + end - start))
    return found


def _inside(spans: list[tuple[int, int]], place: int) -> bool:
    number = bisect_left(spans, (place, place)) - 1
    return number >= 0 and spans[number][0] < place < spans[number][1]
