"""Buttons and what pressing them means: a press is a command line, like a typed one."""

from __future__ import annotations

import json

from ductor_lib.messages import Button, Rows
from ductor_lib.orchestrator.outbox import Outbox

DATA_BYTES = 64  # Bot API: callback_data has 1-64 bytes
COPY_CHARACTERS = 256  # Bot API: copy_text has 1-256 characters
SHORT = "~"  # callback_data that begins so is a short name, kept in the outbox
STALE = "/stale"  # what the press of a button means whose short name is forgotten


def keyboard(rows: Rows, outbox: Outbox) -> str:
    """reply_markup as JSON, "" without buttons. A text that is too long to copy loses its button: half of it would be a trap."""
    drawn = [row for row in ([_button(button, outbox) for button in buttons if _fits(button)] for buttons in rows) if row]
    return json.dumps({"inline_keyboard": drawn}, ensure_ascii=False) if drawn else ""


def command_line(data: str, outbox: Outbox) -> str:
    """The command line behind a button's callback_data; "/stale" when nobody knows it any more."""
    if not data.startswith(SHORT):
        return data or STALE
    return outbox.command(data.removeprefix(SHORT)) or STALE


def _fits(button: Button) -> bool:
    return bool(button.command) or 1 <= len(button.copy) <= COPY_CHARACTERS


def _button(button: Button, outbox: Outbox) -> dict[str, object]:
    if not button.command:
        return {"text": button.label, "copy_text": {"text": button.copy}}
    fits = len(button.command.encode()) <= DATA_BYTES and not button.command.startswith(SHORT)
    return {"text": button.label, "callback_data": button.command if fits else SHORT + outbox.token(button.command)}
