"""The text of a document, as much as is asked for: what was left out or guessed is said in a note."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ductor_lib.errors import DuctorError
from ductor_lib.tools import encodings, kinds, office, pdf
from ductor_lib.tools.faults import Note, Unusable, foreign
from ductor_lib.tools.files import open_file
from ductor_lib.tools.kinds import Kind

MAX_CHARS = 20_000  # characters; Claude Code shows its agent at most 30,000 of what a command prints
SAMPLE = 65_536  # bytes by which an encoding is known
WIDEST = 4  # bytes of one character, in every encoding that is detected

# What is no text, and what helps there. A format stands before its group.
INSTEAD = {
    "epub": "an e-book is a zip archive of web pages. Unpack it into a folder with `unzip`, then read those.",
    "image": "{kind} has no text in it. Look at the picture itself with your own tool for that.",
    "sound": "{kind} is no document. Get its words with `ductor tool transcribe {file}`.",
    "video": "{kind} is no document. Use `ductor tool video {file}`, or `ductor tool transcribe {file}` for its words.",
    "archive": "{kind} has to be unpacked first, into a folder of its own.",
    "data": "no text, and no document that is known here. `ductor tool file-info {file}` says more; --encoding NAME reads it anyway.",
    "empty": "the file is empty. If it should not be, ask for it to be sent again.",
}
# What LibreOffice makes readable, by the suffix of the file; what is not here becomes a PDF.
CONVERTED = {"doc": "docx", "odt": "docx", "rtf": "docx", "xls": "xlsx", "xlsb": "xlsx", "ods": "xlsx"}
MORE = {
    "pdf": "go on with --pages, or give --max-chars more",
    "xlsx": "choose a --sheet, or give --max-chars more",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Which part is wanted, and how: `pages` of a PDF, a `sheet` of a workbook by name or number, `encoding` of a text."""

    pages: str = ""
    sheet: str = ""
    encoding: str = ""
    max_chars: int = MAX_CHARS


@dataclass(frozen=True, slots=True)
class Document:
    """`notes` are sentences about what is missing or guessed; `cut` says that there is more than `text`."""

    path: str
    kind: str
    format: str
    text: str
    cut: bool
    notes: tuple[str, ...]


WHOLE = Part()
Reader = Callable[[Path, BinaryIO, Part], Iterator["str | Note"]]


def read_document(path: Path, part: Part = WHOLE) -> Document:
    """The text of a PDF, Word or Excel file, or of a text in any encoding. Nothing behind `part.max_chars` is read.

    Raises DuctorError with a sentence for what cannot be read, Unusable for pages or sheets that do not exist.
    """
    with open_file(path) as file:
        kind = kinds.kind(file, path.name)
        _fits(path, kind, part)
        with foreign(path, kind.format):
            text, cut, notes = _collect(READERS.get(kind.format, _text)(path, file, part), part.max_chars)
    if cut:
        notes = (*notes, f"cut at {part.max_chars} characters; {MORE.get(kind.format, 'give --max-chars more')}")
    return Document(str(path), kind.group, kind.format, text, cut, notes)


def _fits(path: Path, kind: Kind, part: Part) -> None:
    """Refuse what holds no text, and name what helps there; refuse options that are meant for something else."""
    shown = shlex.quote(str(path))
    if kind.group == "document" and kind.format not in READERS and kind.format not in INSTEAD:
        target = CONVERTED.get(path.suffix[1:].lower(), "pdf")
        what = "an older Office file, or one with a password" if kind.format == "ole" else f"{kind.format} is not read here"
        raise DuctorError(
            f"{path}: {what}. Let LibreOffice convert it: `soffice --headless --convert-to {target} {shown}`, and read that."
        )
    if kind.format not in READERS and kind.group != "text" and not (part.encoding and kind.group == "data"):
        sentence = INSTEAD.get(kind.format) or INSTEAD[kind.group]
        raise DuctorError(f"{path}: {sentence.format(kind=kind, file=shown)}")
    if part.pages and kind.format != "pdf":
        raise Unusable(f"--pages is for PDF files, and {path} is {kind}. Leave it out.")
    if part.sheet and kind.format != "xlsx":
        raise Unusable(f"--sheet is for Excel workbooks, and {path} is {kind}. Leave it out.")


def _collect(pieces: Iterable[str | Note], most: int) -> tuple[str, bool, tuple[str, ...]]:
    """The pieces, a line each, until there are more than `most` characters: cut, and the rest is never asked for."""
    lines: list[str] = []
    notes: list[str] = []
    length = -1  # no line end before the first
    for piece in pieces:
        if isinstance(piece, Note):
            notes.append(piece.text)
            continue
        lines.append(piece)
        length += 1 + len(piece)
        if length > most:
            return "\n".join(lines)[:most], True, tuple(notes)
    return "\n".join(lines), False, tuple(notes)


def _pdf(path: Path, file: BinaryIO, part: Part) -> Iterator[str | Note]:
    return pdf.read(path, file, pdf.page_ranges(part.pages))


def _docx(path: Path, file: BinaryIO, part: Part) -> Iterator[str | Note]:
    return office.read_docx(path, file)


def _xlsx(path: Path, file: BinaryIO, part: Part) -> Iterator[str | Note]:
    return office.read_xlsx(path, file, part.sheet)


def _text(path: Path, file: BinaryIO, part: Part) -> Iterator[str | Note]:
    data = file.read(max(SAMPLE, (part.max_chars + 1) * WIDEST))
    encoding = part.encoding or encodings.detect(data) or encodings.GUESSES[1]
    try:
        text = encodings.decode(data, encoding)
    except LookupError:
        raise Unusable(f"--encoding {encoding}: there is no such encoding. Names are such as utf-8, cp1251, shift_jis.") from None
    if text is None:
        raise DuctorError(f"{path}: not {encoding}. Leave --encoding out, or name another one.")
    if not part.encoding and encoding in encodings.GUESSES:
        yield Note(f"the encoding {encoding} is a guess; where letters look wrong, name another one, such as --encoding cp1251")
    yield text.replace("\r\n", "\n").removesuffix("\n")


READERS: dict[str, Reader] = {"pdf": _pdf, "docx": _docx, "xlsx": _xlsx}
