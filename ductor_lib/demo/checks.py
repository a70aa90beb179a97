"""The parameters of a call, read and checked as Telegram does: a wrong one is refused in Telegram's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ductor_lib.demo.entities import Entity, Wrong, normal, units
from ductor_lib.demo.html import parsed
from ductor_lib.demo.state import Button, Json

TEXT_UNITS = 4096
CAPTION_UNITS = 1024
RAW_BYTES = 32768  # text with its markup (Bot API server)
CALLBACK_BYTES = 64
BUTTONS_PER_ROW, BUTTONS = 8, 100
STYLES = ("danger", "success", "primary")
Rows = tuple[tuple[Button, ...], ...]


class Refused(Exception):
    """The answer is an error. `parameters` is Bot API's ResponseParameters."""

    def __init__(self, code: int, description: str, parameters: Json | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters or {}


def bad(description: str) -> Refused:
    return Refused(400, f"Bad Request: {description}")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart body."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Params:
    """The parameters of one call: everything is a string, nested values are JSON, as the Bot API server reads them."""

    values: Mapping[str, str]
    uploads: Mapping[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return self.values.get(name, "")

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("true", "yes", "1")

    def number(self, name: str, default: int = 0) -> int:
        """The value as an integer; what is not one counts as missing."""
        return int(self.text(name)) if re.fullmatch(r"[+-]?\d{1,18}", self.text(name).strip()) else default

    def json(self, name: str) -> object:
        """The nested value, None without one. Raises Refused for what is not JSON."""
        if not self.text(name):
            return None
        try:
            return json.loads(self.text(name))
        except ValueError:
            raise bad(f"can't parse {name} JSON object") from None

    def items(self, name: str) -> list[Json]:
        """A nested list of objects."""
        value = self.json(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise bad(f"can't parse {name}: expected an Array of Objects")
        return value

    def formatted(self, name: str, limit: int, entities: str = "entities") -> tuple[str, list[Entity]]:
        """A text with its formatting, at most `limit` UTF-16 units. Comes back empty when nothing is to be seen."""
        raw = self.text(name)
        if len(raw.encode()) > RAW_BYTES:
            raise bad("text is too long")
        try:
            if self.text("parse_mode"):
                text, spans = normal(*parsed(raw, self.text("parse_mode")))
            else:
                text, spans = normal(raw, [Entity(**item) for item in self.items(entities)])  # type: ignore[typeddict-item]
        except Wrong as wrong:
            raise bad(str(wrong)) from None
        if units(text) > limit:
            raise bad("message is too long" if name == "text" else "message caption is too long")
        return text, spans

    def message_text(self) -> tuple[str, list[Entity]]:
        if not self.text("text"):
            raise bad("message text is empty")
        text, spans = self.formatted("text", TEXT_UNITS)
        if not text:
            raise bad("text must be non-empty")
        return text, spans

    def buttons(self) -> Rows:
        """The inline keyboard of reply_markup; other kinds of markup are checked and come back as no rows."""
        markup = self.json("reply_markup")
        if markup is None:
            return ()
        if not isinstance(markup, dict):
            raise bad("object expected as reply markup")
        if markup.get("force_reply"):
            placeholder = str(markup.get("input_field_placeholder", ""))
            if len(placeholder) > 64:
                raise bad("BUTTON_PLACEHOLDER_INVALID")
        rows = markup.get("inline_keyboard", [])
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise bad('field "inline_keyboard" must be of type Array of Arrays')
        if any(len(row) > BUTTONS_PER_ROW for row in rows) or sum(map(len, rows)) > BUTTONS:
            raise bad("reply markup is too long")
        return tuple(tuple(_button(item) for item in row) for row in rows if row)


def _button(item: object) -> Button:
    """One inline button with exactly one action (Bot API: callback_data 1–64 bytes, copy_text 1–256)."""
    start = "can't parse inline keyboard button: "
    if not isinstance(item, dict) or not isinstance(item.get("text"), str) or not item["text"].strip():
        raise bad(start + "field \"text\" must be a non-empty String")
    actions = [key for key in ("callback_data", "url", "copy_text", "web_app", "switch_inline_query") if item.get(key) is not None]
    if not actions:
        raise bad(start + "text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:
        raise bad(start + "a button must have exactly one action")
    if "callback_data" in actions and not 1 <= len(str(item["callback_data"]).encode()) <= CALLBACK_BYTES:
        raise bad("BUTTON_DATA_INVALID")
    if "url" in actions and not re.match(r"(?i)(https?://|tg:)\S+$", str(item["url"])):
        raise bad("BUTTON_URL_INVALID")
    if "copy_text" in actions and not (isinstance(item["copy_text"], dict) and 1 <= len(str(item["copy_text"].get("text", ""))) <= 256):
        raise bad("BUTTON_COPY_TEXT_INVALID")
    if item.get("style") not in (None, *STYLES):
        raise bad(start + "invalid button style specified")
    return Button(**item)  # type: ignore[typeddict-item]
