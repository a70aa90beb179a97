"""A message as rows of a terminal: wrapped by what the eye sees, styled by its entities, without control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from ductor_lib.demo.state import MEDIA, Message

MARGIN = 6  # columns of "you > "
STYLES = {
    "bold": "1", "italic": "3", "underline": "4", "strikethrough": "9", "code": "36", "pre": "36", "text_link": "4", "url": "4",
    "blockquote": "2", "expandable_blockquote": "2", "spoiler": "2", "bot_command": "34",
}
SENDERS = {"user": ("you > ", "1;32"), "bot": ("bot > ", "1;34")}
SIZES = ((1_000_000, "MB"), (1000, "kB"))  # bytes
JOINER, WIDENER = "\u200d", "\ufe0f"  # glue emoji together; make a sign an emoji
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # could turn what follows on the screen around


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands together: a character with its accents. `width` is columns, rather too many than too few."""

    text: str
    width: int
    style: str = ""


def clean(text: str) -> str:
    """Without what could move the cursor or the reading direction; line breaks stay, tabs become spaces."""
    return "".join(char for char in text.replace("\t", "    ") if _visible(char) or char == "\n")


def tail(text: str, width: int) -> str:
    """The end of the text that fits into so many columns."""
    cells = _cells((char, "") for char in clean(text))
    kept: list[Cell] = []
    while cells and (width := width - cells[-1].width) >= 0:
        kept.append(cells.pop())
    return "".join(cell.text for cell in reversed(kept))


def rows(message: Message, width: int, *, colour: bool) -> list[str]:
    """The message with its sender in front and its buttons below; no row is wider than `width` columns, from 20 on."""
    room = max(width, 20) - MARGIN
    lines: list[list[Cell]] = [[]]
    for cell in _cells(_styled(message)):
        if cell.text == "\n":
            lines.append([])
        else:
            lines[-1].append(cell)
    wrapped = [row for line in lines for row in _wrapped(line, room)]
    wrapped = [*_files(message, room), *(wrapped if message.text else []), *_buttons(message, room)] or [[]]
    name, style = SENDERS[message.sender]
    heads = [_painted([Cell(name, MARGIN, style)], colour=colour), *[" " * MARGIN] * (len(wrapped) - 1)]
    return [(head + _painted(row, colour=colour)).rstrip(" ") for head, row in zip(heads, wrapped, strict=True)]


def plain(text: str, width: int) -> list[str]:
    """Words of the terminal's own as rows."""
    lines = [_cells((char, "") for char in line) for line in text.split("\n")]
    return [_painted(row, colour=False) for line in lines for row in _wrapped(line, width)]


def _visible(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") and char not in BIDI


def _styled(message: Message) -> Iterator[tuple[str, str]]:
    """Each character with its style; behind a link, where it leads."""
    at = 0
    for char in message.text:
        inside = [item for item in message.entities if item["offset"] <= at < item["offset"] + item["length"]]
        yield char, ";".join(STYLES[item["type"]] for item in inside if item["type"] in STYLES)
        at += 1 + (char > "\uffff")
        for item in inside:
            if "url" in item and item["offset"] + item["length"] == at:
                yield from ((letter, "2") for letter in f" ({item['url']})")


def _cells(characters: Iterator[tuple[str, str]]) -> list[Cell]:
    cells: list[Cell] = []
    for char, style in characters:
        if char == "\t":
            cells.extend([Cell(" ", 1, style)] * 4)
        elif char == "\n":
            cells.append(Cell(char, 0))
        elif _visible(char):
            width = _width(char)
            last = cells[-1] if cells and cells[-1].text != "\n" else None
            if last and (width == 0 or last.text.endswith(JOINER)):
                cells[-1] = Cell(last.text + char, 2 if char == WIDENER else max(last.width, width), last.style)
            else:
                cells.append(Cell(char, width, style))
    return cells


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf") and char != "\u00ad":  # terminals show the soft hyphen
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" or char >= "\U0001f000" else 1


def _wrapped(line: list[Cell], room: int) -> list[list[Cell]]:
    """Rows that fit, broken at a space where there is one."""
    result: list[list[Cell]] = []
    row: list[Cell] = []
    used = 0
    for cell in line:
        if used + cell.width > room:
            space = max((at for at, held in enumerate(row) if held.text == " "), default=0)
            cut = space + 1 if space > 0 else len(row)
            result.append(row[:cut])
            row = row[cut:]
            used = sum(held.width for held in row)
        row.append(cell)
        used += cell.width
    return [*result, row]


def _files(message: Message, room: int) -> list[list[Cell]]:
    kept = {kind: message.rest[kind] for kind in MEDIA if kind in message.rest}
    labels = [_label(kind, value[-1] if isinstance(value, list) and value else value) for kind, value in kept.items()]
    return [row for label in labels for row in _wrapped(_cells((char, "") for char in label), room)]


def _label(kind: str, value: object) -> str:
    """📎 [report.pdf, 12 kB]; a photo has several sizes, the last one is the largest."""
    facts = value if isinstance(value, dict) else {}
    words = [str(facts.get("file_name", kind)).replace("\n", " ")]
    if isinstance(size := facts.get("file_size"), int):
        words.append(next((f"{size / unit:.1f} {name}" for unit, name in SIZES if size >= unit), f"{size} bytes"))
    return f"📎 [{', '.join(words)}]"


def _buttons(message: Message, room: int) -> list[list[Cell]]:
    """[1] label  [2] label: a row of buttons is a line, and a button that does not fit begins another."""
    result: list[list[Cell]] = []
    number = 0
    for buttons in message.buttons:
        line: list[Cell] = []
        for button in buttons:
            number += 1
            words = f"[{number}] {button['text']}".replace("\n", " ")
            cells = _cells((char, "33") for char in words)
            if line and sum(cell.width for cell in (*line, *cells)) + 2 > room:
                result.append(line)
                line = []
            line = [*line, Cell("  ", 2), *cells] if line else cells
        result.extend(_wrapped(line, room))
    return result


def _painted(row: list[Cell], *, colour: bool) -> str:
    text, style = "", ""
    for cell in row:
        if colour and cell.style != style:
            text += ("\x1b[0m" if style else "") + (f"\x1b[{cell.style}m" if cell.style else "")
            style = cell.style
        text += cell.text
    return text + ("\x1b[0m" if style else "")
