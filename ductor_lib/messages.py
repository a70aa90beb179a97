"""The values that cross every border: what comes in, and what is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["message", "press", "edit", "agent", "wake", "heartbeat", "task"]


@dataclass(frozen=True, slots=True)
class Chat:
    """One place to talk: a private chat, a group, or one topic of a forum.

    `topic` is Telegram's message_thread_id; None for private chats, plain groups and a forum's General topic,
    which Telegram refuses to be addressed by its id.
    """

    id: int
    topic: int | None = None

    @property
    def lane(self) -> str:
        """The conversation's name, also its lane: "chat:42", "chat:-100:7"."""
        return f"chat:{self.id}" if self.topic is None else f"chat:{self.id}:{self.topic}"

    @classmethod
    def of(cls, lane: str) -> Chat:
        """The chat of a conversation's name. Raises ValueError when the name is not one of a chat."""
        kind, *numbers = lane.split(":")
        if kind != "chat" or not 1 <= len(numbers) <= 2:
            raise ValueError(f"not a chat's lane: {lane}")
        return cls(*map(int, numbers))

    @property
    def private(self) -> bool:
        """True for a chat with one person (Bot API: groups and channels have negative ids)."""
        return self.id > 0


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a message. It does exactly one thing: run a command line, or copy a text."""

    label: str
    command: str = ""
    copy: str = ""


Rows = tuple[tuple[Button, ...], ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """Something that wants attention, from any edge. Stored in the ledger before anybody acts on it.

    `key` makes it unique ("update:9"): the same key is stored once. `sent_at` is in unix seconds, by the clock of
    the one who sent it. `message_id` is Telegram's, 0 without one; for a press it is the message with the button.
    `callback` is the id that Telegram wants answered for a press. `id` is the ledger's row, 0 until stored.
    `untrusted` holds text quoted from somebody else; it is fenced before an agent sees it.

    Kinds: "message", "press" and "edit" come from a person; "agent" is a turn that the agent has begun by itself;
    "wake" and "heartbeat" are turns that a hook or the clock begins in the conversation of `chat`; "task" is an
    unattended run in a session of its own, in the lane `task:<task>`, whose reports go to `chat`. `run` is the row of
    `orchestrator/runs.py` that the item belongs to, 0 for none.
    """

    key: str
    chat: Chat
    text: str
    user: int = 0
    kind: Kind = "message"
    message_id: int = 0
    sent_at: float = 0.0
    callback: str = ""
    untrusted: str = ""
    task: str = ""
    run: int = 0
    id: int = 0

    @property
    def lane(self) -> str:
        return f"task:{self.task}" if self.task else self.chat.lane


@dataclass(frozen=True, slots=True)
class Reply:
    """Something to say in a chat, in Markdown. The only way anything is said.

    A `slot` is a named place of the chat that holds one message (or a run of them, for a long text): a reply with a
    slot edits what the slot holds instead of adding a message, and an empty text takes the slot's messages away.
    `fresh` sends a new message all the same, so that the phone rings, and then removes what the slot held.
    `closing` forgets the slot afterwards: its messages stay as they are.
    `earlier` is text the agent wrote before its final words; it is shown above them in an expandable quote.
    `silent` asks Telegram not to ring. `files` are absolute paths; each is sent as a message of its own after the text,
    and one that cannot be sent is named in the chat with the reason.
    """

    chat: Chat
    text: str
    buttons: Rows = ()
    slot: str = ""
    fresh: bool = False
    closing: bool = False
    earlier: str = ""
    silent: bool = False
    files: tuple[str, ...] = ()
