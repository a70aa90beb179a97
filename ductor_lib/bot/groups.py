"""Which groups are heard: the listed ones, and the ids they got when Telegram upgraded them. New ids are kept in state.json."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from dataclasses import replace

from ductor_lib.messages import Chat
from ductor_lib.storage import JsonFile

log = logging.getLogger(__name__)

KEY = "migrated"


class Groups:
    """The groups of the allow-list. Any thread.

    Bot API: a group that becomes a supergroup gets a new id, told once by `migrate_to_chat_id`.
    """

    def __init__(self, listed: Collection[int], state: JsonFile) -> None:
        self._state = state
        self._lock = threading.Lock()
        stored = state.read().get(KEY)
        moved = stored if isinstance(stored, dict) else {}
        self._heard = set(listed)
        self._moved: dict[int, int] = {}
        for old, new in moved.items():
            if isinstance(new, int) and old in map(str, listed):
                self._heard.add(new)
                self._moved[int(old)] = new

    def __contains__(self, chat: object) -> bool:
        with self._lock:
            return chat in self._heard

    def current(self, chat: Chat) -> Chat:
        """The same place under the id that its group has now."""
        with self._lock:
            return replace(chat, id=self._moved.get(chat.id, chat.id))

    def moved(self, old: int, new: int) -> None:
        """A group has a new id; it is heard if the old one was. Raises OSError when that cannot be stored."""
        with self._lock:
            if old not in self._heard:
                return
            known = new in self._heard
            self._heard.add(new)
            self._moved[old] = new
        if not known:
            log.warning("group was upgraded old=%d new=%d", old, new)
        with self._state.change() as data:
            moved = data.get(KEY)
            data[KEY] = {**(moved if isinstance(moved, dict) else {}), str(old): new}
