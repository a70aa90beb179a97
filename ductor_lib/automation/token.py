"""The token that opens every hook without its own: the setting, else one that was made and is kept in state.json."""

from __future__ import annotations

import secrets

from ductor_lib.config import Settings
from ductor_lib.storage import JsonFile

KEY = "webhook_token"  # in state.json; not under "webhooks", which would be read as settings and hide the user's own
BYTES = 32


def known(settings: Settings, state: JsonFile) -> str:
    """The token, "" before the bot has made one."""
    stored = state.read().get(KEY)
    return settings.webhooks.token or (stored if isinstance(stored, str) else "")


def made(settings: Settings, state: JsonFile) -> str:
    """The token; made now if there is none. Raises OSError when it cannot be stored."""
    if token := known(settings, state):
        return token
    with state.change() as data:
        token = data[KEY] = secrets.token_urlsafe(BYTES)
    return token
