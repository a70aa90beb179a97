"""A message's text with its formatting, and where to cut it: offsets and sizes are UTF-16 units, as Telegram counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entity:
    """One stretch of formatting. `offset` and `length` are UTF-16 units; `type` is a Bot API MessageEntity type."""

    type: str
    offset: int
    length: int
    url: str = ""
    language: str = ""

    def to_dict(self) -> dict[str, str | int]:
        """The Bot API object."""
        fields: dict[str, str | int] = {"type": self.type, "offset": self.offset, "length": self.length}
        if self.url:
            fields["url"] = self.url
        if self.language:
            fields["language"] = self.language
        return fields


@dataclass(frozen=True, slots=True)
class Part:
    """What one message holds: text without leading or trailing white space, and entities in order of their offset."""

    text: str
    entities: tuple[Entity, ...] = ()


def units(text: str) -> int:
    """The length as Telegram counts it: UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
