"""The line being typed: bytes of a terminal in, whole lines out. No thread, no terminal of its own."""

from __future__ import annotations

import codecs
import re
import unicodedata

SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])")  # cursor and function keys
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?$")


class TypingLine:
    """Backspace, Ctrl-W and Ctrl-U erase a character, a word, the line; Ctrl-D in an empty line ends the input."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""

    def feed(self, data: bytes) -> list[str]:
        """Take what was typed; returns the lines that it finishes. `text` is what stands in the line then."""
        typed = SEQUENCE.sub("", self._pending + self._decoder.decode(data))
        unfinished = UNFINISHED.search(typed)
        self._pending = unfinished.group() if unfinished else ""
        typed = typed[:unfinished.start()] if unfinished else typed
        lines = []
        for key in typed.replace("\r\n", "\n"):
            if key in "\r\n":
                lines.append(self.text)
                self.text = ""
            elif key == "\x04" and not self.text:
                self.ended = True
            else:
                self.text = _after(self.text, key)
        return lines


def _after(text: str, key: str) -> str:
    if key in "\x7f\x08":
        text = text.rstrip("\u200d\ufe0f")
        while text and unicodedata.combining(text[-1]):
            text = text[:-1]
        return text[:-1]
    if key == "\x15":
        return ""
    if key == "\x17":
        return re.sub(r"\S*\s*$", "", text)
    return text + (" " if key == "\t" else key if unicodedata.category(key) != "Cc" else "")
