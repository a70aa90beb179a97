"""Say something to a chat on behalf of a program on this machine: what `ductor send` does, with a running bot or without."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

from ductor_lib.config import Settings
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.security import FileAccess, Unsendable, open_sendable


def send(
    ledger: Ledger, settings: Settings, groups: Container[int], access: FileAccess, args: Mapping[str, object]
) -> Mapping[str, object]:
    """Put a text, files or both into the outbox; tells where to. `groups` are the groups that are heard.

    `args`: "text" (Markdown), "files" (absolute paths), "chat" and "topic" (numbers; the owner's chat when missing),
    "silent". Files are looked at now, so that the caller gets to know, and again when they are sent.
    Raises DuctorError when there is nothing to send, or not there, or not that.
    """
    text, files = _text(args.get("text", "")), _texts(args.get("files", ()))
    chat = _chat(args) or Chat(settings.allowed_user_ids[0])
    if chat.id not in settings.allowed_user_ids and chat.id not in groups:
        raise DuctorError(f"Chat {chat.id} is not on the allow-list. Add it to allowed_user_ids or allowed_group_ids in config.toml.")
    if not text.strip() and not files:
        raise DuctorError("There is nothing to send. Give a text, or - to read it from the standard input, or a file.")
    for file in files:
        try:
            open_sendable(file, access).close()
        except Unsendable as error:
            raise DuctorError(f"{Path(file).name} cannot be sent: {error}. Nothing was sent.") from None
    ledger.say([Reply(chat, text, silent=args.get("silent") is True, files=files)])
    return {"chat": chat.id, "topic": chat.topic, "files": len(files)}


def _chat(args: Mapping[str, object]) -> Chat | None:
    number, topic = args.get("chat"), args.get("topic")
    if number is None:
        return None
    if type(number) is not int or type(topic) not in (int, type(None)):
        raise DuctorError("A chat is a number, and so is its topic.")
    return Chat(number, topic if isinstance(topic, int) else None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise DuctorError("What is to be said must be a text.")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise DuctorError("Files must be a list of paths.")
    return tuple(dict.fromkeys(value))
