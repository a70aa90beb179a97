"""The text of a PDF, page by page: by pypdf where it is installed, else by pdftotext."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol

from ductor_lib.errors import DuctorError
from ductor_lib.tools import programs
from ductor_lib.tools.faults import Note, Unusable, how_to_get, pip_install

PACKAGE = "pypdf[crypto]"
TAIL = 65_536  # bytes; ISO 32000 wants the mark at the very end, some programs write behind it
SECONDS = 120.0  # for pdftotext

PageRanges = tuple[tuple[int, int | None], ...]
EVERY: PageRanges = ((1, None),)


class Page(Protocol):
    """What is needed of a page of pypdf."""

    def extract_text(self) -> str: ...


def page_ranges(text: str) -> PageRanges:
    """"1-3,7,9-" as first and last pages, counted from 1; None is the end. Empty text: all. Raises Unusable."""
    if not text.strip():
        return EVERY
    ranges = []
    for word in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,7})\s*(-)?\s*(\d{1,7})?\s*", word, re.ASCII)
        first, dash, last = found.groups() if found else (None, None, None)
        end = int(last) if last else None if dash else int(first or 0)
        if first is None or (last and not dash) or int(first) < 1 or (end is not None and end < int(first)):
            raise Unusable(f"--pages {text}: not a range of pages. Write 3, 1-3, 5- or 1-3,7; the first page is 1.")
        ranges.append((int(first), end))
    return tuple(ranges)


def chosen(ranges: PageRanges, count: int) -> tuple[int, ...]:
    """The page numbers that a document of `count` pages has of these ranges, in the order asked for, each once."""
    numbers = chain.from_iterable(range(first, min(last or count, count) + 1) for first, last in ranges)
    return tuple(dict.fromkeys(numbers))


def read(path: Path, file: BinaryIO, ranges: PageRanges) -> Iterator[str | Note]:
    """The pages, each after a line that names it. Raises DuctorError; over a damaged file the reader raises anything."""
    try:
        import pypdf  # an extra of the package: the bot runs without it
        from pypdf.errors import DependencyError
    except ImportError:
        if shutil.which("pdftotext"):
            return _by_pdftotext(path, ranges)
        raise DuctorError(
            f"{path}: reading PDF needs the Python package pypdf, or pdftotext, and neither is installed. "
            f"Install one: `{pip_install(PACKAGE)}`, or pdftotext ({how_to_get('pdftotext')})."
        ) from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells stderr about every oddity that it copes with
    try:
        if not _has_end(file):
            raise EOFError("its end is missing")
        reader = pypdf.PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):  # many may be read by everybody, and only not be changed
            raise _protected(path)
        return _pages(path, [*reader.pages], ranges)
    except DuctorError:
        raise
    except Exception as error:  # a damaged file makes it raise anything, and pdftotext copes with more
        if shutil.which("pdftotext"):
            return _by_pdftotext(path, ranges)
        if isinstance(error, DependencyError):
            needed = f"this PDF is encrypted, which needs one more package. Install it: `{pip_install(PACKAGE)}`."
            raise DuctorError(f"{path}: {needed}") from None
        raise


def _has_end(file: BinaryIO) -> bool:
    """Whether the mark is where it must be; pypdf would look for it byte by byte, a minute for a gigabyte."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
    return b"%%EOF" in file.read()


def _pages(path: Path, pages: Sequence[Page], ranges: PageRanges) -> Iterator[str | Note]:
    numbers = chosen(ranges, len(pages))
    if not numbers:
        raise Unusable(f"{path}: the document has {len(pages)} pages; none of those asked for is among them.")
    texts = 0
    for number in numbers:
        yield f"--- page {number} of {len(pages)} ---"
        try:
            text = pages[number - 1].extract_text().strip()
        except Exception as error:  # one bad page must not hide the others; a reader of damaged files raises anything
            yield Note(f"page {number} is damaged and cannot be read ({type(error).__name__})")
            continue
        texts += bool(text)
        yield text
    if not texts:
        yield _no_text(path)


def _by_pdftotext(path: Path, ranges: PageRanges) -> Iterator[str | Note]:
    texts = 0
    for first, last in ranges:
        until = () if last is None else ("-l", str(last))
        try:
            output = programs.run(
                ("pdftotext", "-enc", "UTF-8", "-f", str(first), *until, os.path.abspath(path), "-"), timeout=SECONDS
            )  # an absolute path is never taken for an option
        except DuctorError as error:
            raise _protected(path) if "password" in str(error) else DuctorError(f"{path}: {error}") from None
        for number, text in enumerate(output.removesuffix("\f").split("\f"), first):
            yield f"--- page {number} ---"
            texts += bool(text.strip())
            yield text.strip()
    if not texts:
        yield _no_text(path)


def _protected(path: Path) -> DuctorError:
    return DuctorError(f"{path}: this PDF is protected by a password. Ask for a copy without one.")


def _no_text(path: Path) -> Note:
    picture = shlex.quote(str(path.with_suffix("")))
    command = f"pdftoppm -r 100 -png {shlex.quote(str(path))} {picture}"
    return Note(f"no text on these pages, probably a scan: make pictures of them and look at those: `{command}` ({how_to_get('pdftoppm')})")
