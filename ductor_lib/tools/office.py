"""The text of Word documents and Excel workbooks. Both are zip archives of XML, measured before they are unpacked.

Word is read here, without a library: python-docx leaves out what was inserted with changes being tracked and what
stands in form fields. Excel is read by openpyxl, which knows what its numbers mean.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from itertools import islice, zip_longest
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from ductor_lib.errors import DuctorError
from ductor_lib.tools.faults import Note, Unusable, pip_install

MOST_UNPACKED = 200_000_000  # bytes; a small file can unpack to terabytes
CHUNK = 1_048_576  # bytes
DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
OVERLAP = 17  # bytes: one less than the longest of them
MOST_ROWS = 1_048_576  # of a sheet, by Excel itself; a damaged file may claim any number

DOCX_PARTS = (  # in this order, with the heading over all but the first
    ("header", r"word/header\d*\.xml"),
    ("", r"word/document\d*\.xml"),
    ("footer", r"word/footer\d*\.xml"),
    ("footnotes", r"word/footnotes\.xml"),
    ("endnotes", r"word/endnotes\.xml"),
    ("comments", r"word/comments\.xml"),
)
# Deleted and moved away; shapes said a second time for old programs; what is no text of a run: tab stops, former properties.
LEFT_OUT = frozenset({"del", "moveFrom", "Fallback", "tabs", "pPrChange", "rPrChange"})
SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read_docx(path: Path, file: BinaryIO) -> Iterator[str | Note]:
    """Paragraphs, headings after #, table rows with | between the cells, then notes and comments; tracked changes as accepted."""
    with zipfile.ZipFile(file) as archive:
        _check(path, archive)
        names = archive.namelist()
        beginnings = _beginnings(archive.read("word/styles.xml")) if "word/styles.xml" in names else {}
        found = False
        for heading, pattern in DOCX_PARTS:
            for name in sorted(filter(re.compile(pattern).fullmatch, names)):
                lines = [line for line in _paragraphs(archive.read(name), beginnings) if line.strip()]
                found = found or bool(lines)
                yield from ([f"--- {heading} ---"] if heading and lines else [])
                yield from lines
        if not found:
            yield Note("no text in this document; it may consist of pictures (`unzip` shows them in word/media)")


def read_xlsx(path: Path, file: BinaryIO, sheet: str) -> Iterator[str | Note]:
    """Each sheet, or the one of this name or number, as CSV without empty rows; dates as ISO 8601.

    A formula whose result was never stored is shown itself.
    """
    try:
        import openpyxl  # an extra of the package: the bot runs without it
    except ImportError:
        raise DuctorError(
            f"{path}: reading Excel workbooks needs the Python package openpyxl. Install it: `{pip_install('openpyxl')}`."
        ) from None
    with zipfile.ZipFile(file) as archive:
        _check(path, archive)
    values, formulas = (
        openpyxl.load_workbook(file, read_only=True, keep_links=False, data_only=results) for results in (True, False)
    )
    names = [each.title for each in values.worksheets]
    for name in _chosen(path, names, sheet):
        shown, written = values[name], formulas[name]
        for each in (shown, written):
            each.reset_dimensions()  # what the file says about its size may be wrong
        yield f"--- sheet {names.index(name) + 1} of {len(names)}: {name}{'' if shown.sheet_state == 'visible' else ' (hidden)'} ---"
        rows = zip(shown.iter_rows(values_only=True), written.iter_rows(values_only=True), strict=False)
        yield from _csv(islice(rows, MOST_ROWS))


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what would fill the memory: too much text, or entities, which office programs never write."""
    entries = archive.infolist()
    if sum(entry.file_size - entry.compress_size for entry in entries) > MOST_UNPACKED:  # pictures hardly grow
        most = f"{MOST_UNPACKED // 1_000_000} MB"
        raise DuctorError(f"{path}: more than {most} when unpacked. Ask for a smaller file, or for one as CSV or PDF.")
    for entry in entries:
        if not entry.filename.endswith((".xml", ".rels")):
            continue
        with archive.open(entry) as part:
            before = b""
            while chunk := part.read(CHUNK):
                if any(mark in before + chunk for mark in DOCTYPES):
                    raise DuctorError(
                        f"{path}: declares a document type, which no office program does. Do not trust this file; ask where it is from."
                    )
                before = chunk[-OVERLAP:]


def _beginnings(styles: bytes) -> dict[str, str]:
    """What a paragraph of a style begins with: "## ", "- ". Ids are translated ("berschrift2"), names never ("heading 2")."""
    found = {}
    for style in ElementTree.fromstring(styles):
        parts = {_name(part): part for part in style.iter()}
        heading = re.fullmatch(r"heading ([1-6])", _value(parts["name"]).lower()) if "name" in parts else None
        if heading or "numPr" in parts:
            key = next((value for key, value in style.items() if key.endswith("styleId")), "")
            found[key] = f"{'#' * int(heading[1])} " if heading else "- "
    return found


def _paragraphs(data: bytes, beginnings: dict[str, str]) -> Iterator[str]:
    """The lines of one part. Paragraphs may hold text boxes with paragraphs, and cells may hold tables: hence the stacks."""
    paragraphs: list[list[str]] = []
    cells: list[list[str]] = []
    rows: list[list[str]] = []
    hidden = 0
    for event, element in ElementTree.iterparse(io.BytesIO(data), events=("start", "end")):
        name = _name(element)
        if name in LEFT_OUT:
            hidden += 1 if event == "start" else -1
        if hidden:
            continue
        if event == "start":
            stack = {"p": paragraphs, "tc": cells, "tr": rows}.get(name)
            if stack is not None:
                stack.append([])
            continue
        line = None
        if name == "t" and paragraphs:
            paragraphs[-1].append(element.text or "")
        elif name in SIGNS and paragraphs:
            paragraphs[-1].append(SIGNS[name])
        elif name == "pStyle" and paragraphs:
            paragraphs[-1] += filter(None, [beginnings.get(_value(element))])
        elif name == "numPr" and paragraphs and not paragraphs[-1]:
            paragraphs[-1].append("- ")
        elif name == "p":
            line = "".join(paragraphs.pop())
            element.clear()
        elif name == "tc":
            rows[-1].append(" ".join(filter(None, cells.pop())))
        elif name == "tr":
            line = " | ".join(rows.pop())
        if line is not None and cells:
            cells[-1].append(line)
        elif line is not None:
            yield line


def _name(element: ElementTree.Element) -> str:
    """The tag without its namespace: the strict form of the format has other ones."""
    return element.tag.rpartition("}")[2]


def _value(element: ElementTree.Element) -> str:
    return next((value for key, value in element.items() if key.endswith("}val")), "")


def _chosen(path: Path, names: list[str], wanted: str) -> list[str]:
    """The sheets to show: the name counts before the number, which is counted from 1."""
    if not wanted:
        return names
    if wanted in names:
        return [wanted]
    if wanted.isascii() and wanted.isdigit() and 0 < int(wanted) <= len(names):
        return [names[int(wanted) - 1]]
    raise Unusable(f"{path}: there is no sheet {wanted}. It has: {', '.join(names)}. --sheet takes a name or a number from 1.")


def _csv(rows: Iterable[tuple[tuple[object, ...], tuple[object, ...]]]) -> Iterator[str]:
    """Pairs of values and formulas as lines of CSV."""
    for values, formulas in rows:
        cells = [_cell(formula if value is None else value) for value, formula in zip_longest(values, formulas)]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            line = io.StringIO()
            csv.writer(line, lineterminator="").writerow(cells)
            yield line.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}"  # as Excel shows it: 0.3, not 0.30000000000000004
    if isinstance(value, datetime):
        return (value.date() if value.time() == time() else value).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(getattr(value, "text", value))  # a formula over several cells is an object with a text
