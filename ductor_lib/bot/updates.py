"""What an update says, as an Incoming. Only people on the allow-list are heard, whatever kind of update it is.

Pure functions over Telegram's JSON (Bot API: Update). A value of the wrong type raises; the poller keeps such an update aside.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container
from dataclasses import dataclass

from ductor_lib.bot.client import Me, Raw
from ductor_lib.messages import Chat, Incoming

log = logging.getLogger(__name__)

GENERAL = 1  # Bot API: a forum's General topic, which cannot be addressed by this id
LARGEST = 2**63  # the ledger holds no larger number
GROUPS = ("group", "supergroup")
# In this order: an animation also comes as a document.
MEDIA = (
    "animation", "photo", "voice", "audio", "video", "video_note", "document", "sticker", "contact", "location", "venue", "poll",
    "dice", "story", "paid_media", "checklist", "game",
)


@dataclass(frozen=True, slots=True)
class Access:
    """Who is heard: these people, in private; these people in these groups. `owner` is told about things."""

    users: frozenset[int]
    groups: Container[int]
    owner: int

    def allows(self, chat: Chat) -> bool:
        """Whether something may be said there unasked."""
        return chat.id in (self.users if chat.private else self.groups)


def read(update: Raw, me: Me, access: Access, *, now: float) -> Incoming | None:
    """The Incoming that an update stands for, None when it is nothing for the bot.

    A press has the button's raw callback_data as its text and `now` (unix seconds) as its time, because Telegram tells none.
    Raises KeyError, TypeError or ValueError for what cannot be read.
    """
    key = f"update:{_int(update, 'update_id')}"
    if "message" in update:
        return _message(_dict(update, "message"), key, me, access, edited=False)
    if "edited_message" in update:
        return _message(_dict(update, "edited_message"), key, me, access, edited=True)
    if "callback_query" in update:
        return _press(_dict(update, "callback_query"), key, access, now)
    log.debug("update ignored kind=%s", next((name for name in update if name != "update_id"), "none"))
    return None


def number(update: Raw) -> int:
    """The update's id, 0 when it has none that can be used."""
    try:
        return _int(update, "update_id")
    except (KeyError, TypeError):
        return 0


def callback(update: Raw) -> str:
    """The id of the press that wants an answer, "" for every other update."""
    query = update.get("callback_query")
    return str(query.get("id", "")) if isinstance(query, dict) else ""


def migration(update: Raw) -> tuple[int, int] | None:
    """The old and the new id of a group that Telegram upgraded, None for every other update."""
    message = update.get("message")
    if not isinstance(message, dict) or "migrate_to_chat_id" not in message:
        return None
    return _chat(message).id, _int(message, "migrate_to_chat_id")


def _message(message: Raw, key: str, me: Me, access: Access, *, edited: bool) -> Incoming | None:
    if not _welcome(message, _dict(message, "chat"), access):
        return None
    written = _written(message)
    if written is None:
        log.debug("service message ignored message=%d", _int(message, "message_id"))
        return None
    foreign = "forward_origin" in message or "via_bot" in message
    text = "" if foreign else _own_words(written, me)
    if text is None:
        log.debug("command for another bot ignored message=%d", _int(message, "message_id"))
        return None
    quoted = "\n\n".join(filter(None, (_quoted(message, me), written if foreign else "")))
    if not (text or quoted or edited):  # a live location is edited every few seconds
        text = _media_command(message)
    if not (text or quoted):
        log.debug("message without words ignored message=%d", _int(message, "message_id"))
        return None
    return Incoming(
        key=key, chat=_chat(message), text=text, user=_int(_dict(message, "from"), "id"),
        kind="edit" if edited else "message", message_id=_int(message, "message_id"),
        sent_at=float(_int(message, "edit_date" if edited and "edit_date" in message else "date")), untrusted=quoted,
    )


def _press(query: Raw, key: str, access: Access, now: float) -> Incoming | None:
    if "message" not in query or "data" not in query:
        log.debug("press without a message or data ignored %s", key)
        return None
    message = _dict(query, "message")
    if not _welcome(query, _dict(message, "chat"), access):
        return None
    return Incoming(
        key=key, chat=_chat(message), text=_str(query, "data"), user=_int(_dict(query, "from"), "id"), kind="press",
        message_id=_int(message, "message_id"), sent_at=now, callback=_str(query, "id"),
    )


def _welcome(said: Raw, place: Raw, access: Access) -> bool:
    """Whether a listed person said it, in private or in a listed group. Logs strangers by their ids only."""
    sender = said.get("from")
    person = sender if isinstance(sender, dict) and not sender.get("is_bot") and "sender_chat" not in said else {}
    user, chat = person.get("id"), _int(place, "id")
    private = place.get("type") == "private" and chat == user
    if user in access.users and (private or (place.get("type") in GROUPS and chat in access.groups)):
        return True
    log.info("stranger ignored user=%s chat=%d kind=%s", user, chat, "press" if "data" in said else "message")
    return False


def _chat(message: Raw) -> Chat:
    topic = _int(message, "message_thread_id") if message.get("is_topic_message") else GENERAL
    return Chat(_int(_dict(message, "chat"), "id"), None if topic == GENERAL else topic)


def _written(message: Raw) -> str | None:
    """What is written in a message, "" for media without a caption, None for a service message."""
    for name in ("text", "caption"):
        if name in message:
            return _str(message, name).strip()
    return "" if _media_command(message) else None


def _own_words(text: str, me: Me) -> str | None:
    """The text without the bot's own name, None for a command that names another bot."""
    name = f"@{re.escape(me.username)}"
    text = re.sub(rf"^{name}[,:]?(?!\S)\s*|\s+{name}$", "", text, flags=re.IGNORECASE)
    named = re.match(r"(/\w+)@(\w+)", text)
    if named is None:
        return text
    return named[1] + text[named.end():] if named[2].lower() == me.username.lower() else None


def _quoted(message: Raw, me: Me) -> str:
    """What the person answers to: the words picked out, else the message's text, unless the bot wrote it."""
    if "quote" in message:
        return _str(_dict(message, "quote"), "text").strip()
    if "reply_to_message" not in message:
        return ""
    original = _dict(message, "reply_to_message")
    author = original.get("from")
    return "" if isinstance(author, dict) and author.get("id") == me.id else _written(original) or ""


def _media_command(message: Raw) -> str:
    return next((f"/media {name}" for name in MEDIA if name in message), "")


def _dict(raw: Raw, name: str) -> Raw:
    value = raw[name]
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value


def _int(raw: Raw, name: str) -> int:
    value = raw[name]
    if not isinstance(value, int) or isinstance(value, bool) or not -LARGEST <= value < LARGEST:
        raise TypeError(f"{name} is not a whole number of 64 bits")
    return value


def _str(raw: Raw, name: str) -> str:
    value = raw[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value.encode("utf-8", "replace").decode()  # JSON can carry half a character, the ledger cannot
