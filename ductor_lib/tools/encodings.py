"""Which encoding a text has: by its mark, by trying, and a guess only where nothing else is left."""

from __future__ import annotations

import codecs

MARKS = (  # the longer ones first: UTF-32 begins like UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GUESSES = ("cp1252", "latin-1")  # one byte a letter: nearly everything fits, so that it fits proves nothing
CONTROLS = frozenset(map(chr, (*range(7), *range(14, 27), 28, 29, 30, 31, 127)))  # a text has next to none
MOST_CONTROLS = 1 / 50
LEAST_PLAIN = 1 / 50  # blanks, line ends, ASCII: scarce in Chinese, absent in binary data read as UTF-16


def detect(data: bytes) -> str | None:
    """Python's name of the encoding, or None: no text. `data` may be the beginning of a file, cut anywhere."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return name if _is_text(decode(data, name)) else None
    if b"\0" in data:
        return _utf_16(data)
    return next((name for name in ("utf-8", *GUESSES) if _is_text(decode(data, name))), None)


def decode(data: bytes, encoding: str) -> str | None:
    """The text of the beginning of a file, without a last letter that was cut; None when it is not of this encoding.

    Raises LookupError for a name that is no text encoding.
    """
    try:
        b" ".decode(encoding, "replace")  # refuses what encodes no text, such as "base64"
        return codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeError:
        return None


def _is_text(text: str | None) -> bool:
    return text is not None and sum(map(text.count, CONTROLS)) <= len(text) * MOST_CONTROLS


def _utf_16(data: bytes) -> str | None:
    """UTF-16 without a mark: read with the wrong order of bytes a text has hardly a blank in it."""
    plain = {name: _plain(decode(data, name)) for name in ("utf-16-le", "utf-16-be")}
    best = max(plain, key=plain.__getitem__)
    return best if plain[best] >= LEAST_PLAIN else None


def _plain(text: str | None) -> float:
    """The share of ASCII among the letters; 0 for what is no text."""
    if not text or "\0" in text or not _is_text(text):
        return 0
    return sum(character < "\x7f" for character in text) / len(text)
