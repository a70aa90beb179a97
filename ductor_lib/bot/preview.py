"""What a running turn shows, as a picture that a sender takes whenever the chat's budget allows a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ductor_lib.bot.markup import Part
from ductor_lib.messages import Chat, Rows

REDRAW = 10.0  # seconds: often enough for elapsed time, rare enough for the chat's budget


@dataclass(frozen=True, slots=True)
class Draft:
    """One frame: `parts` in order, each of them one message, and `buttons` under the last. No parts: nothing to show yet."""

    parts: tuple[Part, ...] = ()
    buttons: Rows = ()


class Preview(Protocol):
    """Something that can be drawn into `slot` of `chat`, again and again."""

    @property
    def chat(self) -> Chat: ...

    @property
    def slot(self) -> str: ...

    @property
    def redraw(self) -> float:
        """Seconds after which the screen draws it again by itself, so that what depends on time moves."""

    def draw(self) -> Draft:
        """The newest state. Called by a sender's thread; quick, and safe beside the thread that feeds the preview."""


class Screen(Protocol):
    """Shows previews."""

    def show(self, preview: Preview) -> None:
        """Say that this preview has something new. Returns at once; `draw` is called later, or never.

        """

    def tell(self, chat: Chat, text: str) -> None:
        """Say one Markdown line that cannot be stored. Returns at once; it is tried once, and may be lost."""
