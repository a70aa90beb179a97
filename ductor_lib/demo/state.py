"""What the loopback Telegram remembers: chats, messages, waiting updates, files. Plain memory; the caller holds the lock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict

from ductor_lib.demo.entities import Entity

Json = dict[str, Any]  # an object in Telegram's own terms

PERSON = 42  # the user whose private chat always exists
MEDIA = ("document", "photo", "voice", "audio", "video", "video_note", "animation", "sticker")
KEPT = {"callback_query": 150.0}  # seconds that an update waits to be fetched; the rest waits a day
DAY = 86400.0
UNASKED = ("chat_member", "message_reaction", "message_reaction_count")  # kinds that come only when asked for


class Button(TypedDict, total=False):
    """Bot API: InlineKeyboardButton."""

    text: str
    callback_data: str
    url: str
    copy_text: dict[str, str]
    style: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands now. `date` and `edited` are unix seconds; `rest` is what else Telegram says of it."""

    id: int
    chat: int
    topic: int | None
    sender: Literal["bot", "user"]
    text: str
    entities: tuple[Entity, ...] = ()
    buttons: tuple[tuple[Button, ...], ...] = ()
    silent: bool = False
    reply_to: int | None = None
    edits: int = 0
    date: float = 0.0
    edited: float = 0.0
    user: int = 0
    rest: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a person would see happen. A press carries the message with the button."""

    kind: Literal["new", "edit", "delete", "press"]
    message: Message


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the bot. `at` is monotonic seconds; `status` is 0 while (or because) there is no answer."""

    at: float
    method: str
    params: dict[str, str]
    status: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """One update that the bot has not confirmed yet. `since` is unix seconds."""

    id: int
    kind: str
    since: float
    update: Json


@dataclass(frozen=True, slots=True)
class File:
    """The content behind a file_id."""

    path: str
    data: bytes


class State:
    """Everything behind the API. Not safe for threads by itself; `now` gives unix seconds."""

    def __init__(self, token: str, now: Callable[[], float]) -> None:
        self.now = now
        self.bot: Json = {"id": int(token.partition(":")[0]), "is_bot": True, "first_name": "ductor", "username": "ductor_demo_bot"}
        self.chats: dict[int, Json] = {}
        self.topics: dict[int, set[int]] = defaultdict(set)
        self.messages: dict[int, dict[int, Message]] = defaultdict(dict)
        self.changes: list[Change] = []
        self.queue: list[Waiting] = []
        self.allowed: tuple[str, ...] = ()
        self.webhook = ""
        self.files: dict[str, File] = {}
        self.drafts: dict[tuple[int, int | None, int], str] = {}
        self.reactions: dict[tuple[int, int], str] = {}
        self.commands: dict[str, list[dict[str, str]]] = {}
        self.open_presses: set[str] = set()
        self.answered: dict[str, str] = {}
        self._last_message: dict[int, int] = defaultdict(int)
        self._next_update = 700_000_001
        self._presses = 0
        self.add_chat(PERSON)

    # chats and messages

    def add_chat(self, chat: int, topics: Collection[int] = ()) -> None:
        """Make the chat known: positive ids are private chats, negative ones supergroups, with topics a forum."""
        if chat not in self.chats:
            private = {"id": chat, "type": "private", "first_name": f"User {chat}", "username": f"user{chat}"}
            self.chats[chat] = private if chat > 0 else {"id": chat, "type": "supergroup", "title": f"Group {-chat}"}
        if topics and chat < 0:
            self.chats[chat]["is_forum"] = True
        self.topics[chat] |= set(topics)

    def put(self, message: Message) -> Message:
        """A new message, numbered unless it has an id, is shown; it takes the drafts of its place away (Bot API: sendMessageDraft).

        Private chats of a bot share one row of numbers, every supergroup has its own.
        """
        row = min(message.chat, 0)
        if not message.id:
            message = replace(message, id=self._last_message[row] + 1)
        self._last_message[row] = max(self._last_message[row], message.id)
        self.messages[message.chat][message.id] = message
        for key in [key for key in self.drafts if key[:2] == (message.chat, message.topic)]:
            del self.drafts[key]
        self.changes.append(Change("new", message))
        return message

    def replace(self, old: Message, text: str, entities: Collection[Entity], buttons: tuple[tuple[Button, ...], ...]) -> Message:
        message = replace(old, text=text, entities=tuple(entities), buttons=buttons, edits=old.edits + 1, edited=self.now())
        self.messages[old.chat][old.id] = message
        self.changes.append(Change("edit", message))
        return message

    def remove(self, message: Message) -> None:
        del self.messages[message.chat][message.id]
        self.changes.append(Change("delete", message))

    def message_json(self, message: Message, *, reply: bool = True) -> Json:
        """The message in Telegram's terms. A replied message is shown one level deep."""
        words = "caption" if any(kind in message.rest for kind in MEDIA) else "text"
        sender = self.bot if message.sender == "bot" else person(message.user)
        result: Json = {"message_id": message.id, "from": sender, "chat": self.chats[message.chat], "date": int(message.date)}
        if message.edits:
            result["edit_date"] = int(message.edited)
        if message.topic is not None:
            result |= {"message_thread_id": message.topic, "is_topic_message": True}
        replied = self.messages[message.chat].get(message.reply_to or 0) if reply else None
        if replied is not None:
            result["reply_to_message"] = self.message_json(replied, reply=False)
        if message.text:
            result[words] = message.text
        if message.entities:
            result["entities" if words == "text" else "caption_entities"] = list(message.entities)
        if message.buttons:
            result["reply_markup"] = {"inline_keyboard": [list(row) for row in message.buttons]}
        return result | message.rest

    # updates

    def offer(self, kind: str, content: Json) -> int:
        """An update for the bot, unless it has not asked for that kind. Returns its id."""
        update = self._next_update
        if kind in self.allowed or (not self.allowed and kind not in UNASKED):
            self._queue({"update_id": update, kind: content})
        return update

    def push(self, update: Json) -> int:
        """Any update, whether asked for or not: Telegram may deliver stale kinds. Later ids count on from this one.

        A well-formed message in it makes its chat, topic and message known.
        """
        update.setdefault("update_id", self._next_update)
        self._queue(update)
        if isinstance(update.get("message"), dict):
            self._take_in(update["message"])
        return int(update["update_id"])

    def _queue(self, update: Json) -> None:
        number = update["update_id"]
        self._next_update = number + 1
        kind = next((key for key in update if key != "update_id"), "")
        self.queue.append(Waiting(number, kind, self.now(), update))

    def _take_in(self, content: Json) -> None:
        chat, sender = content.get("chat"), content.get("from")
        number, topic = content.get("message_id"), content.get("message_thread_id")
        if not (isinstance(chat, dict) and isinstance(chat.get("id"), int) and isinstance(number, int) and number > 0):
            return
        self.chats.setdefault(chat["id"], chat)
        self.add_chat(chat["id"], (topic,) if isinstance(topic, int) else ())
        user = sender.get("id") if isinstance(sender, dict) else None
        self.put(Message(
            id=number, chat=chat["id"], topic=topic if isinstance(topic, int) else None, sender="user",
            text=str(content.get("text", content.get("caption", ""))), date=self.now(),
            user=user if isinstance(user, int) else 0, rest={key: content[key] for key in MEDIA if key in content},
        ))

    def press(self, message: Message, user: int, data: str) -> str:
        self._presses += 1
        callback = f"press-{self._presses}"
        self.open_presses.add(callback)
        self.changes.append(Change("press", message))
        place = {"message": self.message_json(message), "chat_instance": str(message.chat)}
        self.offer("callback_query", {"id": callback, "from": person(user), "data": data} | place)
        return callback

    def waiting(self, offset: int, limit: int) -> list[Json]:
        """What the bot gets for this offset. Everything before the offset is forgotten, the rest stays for the next time."""
        now = self.now()
        kept = [item for item in self.queue if now - item.since < KEPT.get(item.kind, DAY)]
        kept.sort(key=lambda item: item.id)
        self.queue = [item for item in kept if item.id >= offset] if offset >= 0 else kept[offset:]
        return [item.update for item in self.queue[:limit]]

    # files

    def keep_file(self, data: bytes, name: str) -> str:
        """Store the content; returns its file_id."""
        number = len(self.files) + 1
        file_id = f"file-{number}"
        self.files[file_id] = File(f"documents/{number}/{name}", data)
        return file_id

    def dump(self) -> list[str]:
        """The chats, for a person who looks for a mistake."""
        lines = []
        for message in (message for messages in self.messages.values() for message in messages.values()):
            place = f"{message.chat}" if message.topic is None else f"{message.chat}:{message.topic}"
            labels = " ".join(f"[{button['text']}]" for row in message.buttons for button in row)
            lines.append(f"  {place} #{message.id} {message.sender} edits={message.edits} {message.text[:300]!r} {labels}".rstrip())
        return [*lines, f"  waiting updates: {[item.id for item in self.queue]}"]


def person(user: int) -> Json:
    """Bot API: User."""
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "username": f"user{user}", "language_code": "en"}
