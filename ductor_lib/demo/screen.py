"""The end of the conversation on a terminal: messages grow and change where they stand, the line being typed stays below."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from os import terminal_size
from typing import TextIO

from ductor_lib.demo.render import MARGIN, plain, rows, tail
from ductor_lib.demo.state import Message

PROMPT = "you > "
KEPT = 400  # rows that may still be redrawn


class Screen:
    """Draws on a terminal that understands ANSI cursor moves. One thread.

    What has scrolled away, or was drawn before the window changed its size, cannot be reached any more: a change of
    it is shown as a new block, marked ↻.
    """

    def __init__(self, out: TextIO, size: Callable[[], terminal_size], *, colour: bool) -> None:
        self._out = out
        self._size = size
        self._colour = colour
        self._drawn_for = size()
        self._blocks: dict[int, list[str]] = {}
        self._marked: set[int] = set()
        self._dead = count(-1, -1)  # keys of rows that nothing will change any more
        self._typed = ""
        self._write("")

    def show(self, message: Message) -> None:
        """A new message, or a known one as it stands now."""
        self._look_at_size()
        block = rows(message, self._drawn_for.columns - 1, colour=self._colour)
        mark = ["↻ edited"] if message.id in self._marked else []
        if (message.id in self._blocks or not message.edits) and self._redraw(self._blocks | {message.id: [*mark, *block]}):
            return
        self._marked.add(message.id)
        self._blocks = {next(self._dead) if key == message.id else key: held for key, held in self._blocks.items()}
        self._redraw(self._blocks | {message.id: ["↻ edited", *block]})

    def remove(self, message: Message) -> None:
        """The message goes, where it can still be reached."""
        self._look_at_size()
        after = {key: held for key, held in self._blocks.items() if key != message.id}
        if not self._redraw(after):
            self._blocks = {next(self._dead) if key == message.id else key: held for key, held in self._blocks.items()}

    def note(self, text: str) -> None:
        """Words of the terminal's own."""
        self._look_at_size()
        self._redraw(self._blocks | {next(self._dead): plain(text, self._drawn_for.columns - 1)})

    def typed(self, text: str) -> None:
        """What stands in the line being typed."""
        self._look_at_size()
        self._typed = text
        self._write("")

    def leave(self) -> None:
        """Put the cursor below everything."""
        self._typed = ""
        self._out.write("\r\x1b[J")
        self._out.flush()

    def _look_at_size(self) -> None:
        if self._size() != self._drawn_for:
            self._drawn_for = self._size()
            self._blocks = {}

    def _redraw(self, blocks: dict[int, list[str]]) -> bool:
        """Write what differs, from its first row on; False when that row has scrolled away."""
        before = [row for block in self._blocks.values() for row in block]
        after = [row for block in blocks.values() for row in block]
        same = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), min(len(before), len(after)))
        back = len(before) - same
        if back > self._drawn_for.lines - 2:
            return False
        up = f"\x1b[{back}A" if back else ""
        self._write(up + "\r\x1b[J" + "".join(row + "\n" for row in after[same:]))
        self._blocks = blocks
        while len(self._blocks) > 1 and len(after) > KEPT:
            oldest = next(iter(self._blocks))
            after = after[len(self._blocks.pop(oldest)):]
        return True

    def _write(self, words: str) -> None:
        """One write, so that nothing flickers; then the line being typed, cut to one row."""
        self._out.write("\r\x1b[K" + words + "\r\x1b[K" + PROMPT + tail(self._typed, self._drawn_for.columns - 1 - MARGIN))
        self._out.flush()
