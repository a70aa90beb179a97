"""The Bot API methods of the loopback Telegram: one function and one row each, over State; errors in Telegram's words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ductor_lib.demo.checks import CAPTION_UNITS, TEXT_UNITS, Params, Upload, bad
from ductor_lib.demo.entities import Entity
from ductor_lib.demo.state import MEDIA, Json, Message, State

DOWNLOAD_BYTES = 20_000_000
DOCUMENT_BYTES = 50_000_000
PHOTO_BYTES = 10_000_000
PHOTO_SIDES, PHOTO_RATIO = 10_000, 20  # pixels of width and height together; of the longer side to the shorter
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM")
DELETABLE = 48 * 3600.0  # seconds
ACTIONS = (
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
    "choose_sticker", "find_location", "record_video_note", "upload_video_note",
)
SCOPES = ("default", "all_private_chats", "all_group_chats", "all_chat_administrators", "chat", "chat_administrators", "chat_member")
REACTIONS = frozenset([
    "👍", "👎", "❤", "🔥", "🥰", "👏", "😁", "🤔", "🤯", "😱", "🤬", "😢", "🎉", "🤩", "🤮", "💩", "🙏", "👌", "🕊", "🤡", "🥱",
    "🥴", "😍", "🐳", "❤‍🔥", "🌚", "🌭", "💯", "🤣", "⚡", "🍌", "🏆", "💔", "🤨", "😐", "🍓", "🍾", "💋", "🖕", "😈", "😴",
    "😭", "🤓", "👻", "👨‍💻", "👀", "🎃", "🙈", "😇", "😨", "🤝", "✍", "🤗", "🫡", "🎅", "🎄", "☃", "💅", "🤪", "🗿", "🆒",
    "💘", "🙉", "🦄", "😘", "💊", "🙊", "😎", "👾", "🤷‍♂", "🤷", "🤷‍♀", "😡",
])
Result = Json | list[Json] | bool
Method = Callable[[State, Params], Result]


# where to


def _chat(state: State, params: Params) -> int:
    if not params.text("chat_id"):
        raise bad("chat_id is empty")
    chat = params.number("chat_id")
    if chat not in state.chats:
        raise bad("chat not found")
    return chat


def _topic(state: State, params: Params, chat: int) -> int | None:
    """General has no thread id: Telegram refuses its 1 like an unknown one."""
    if not params.text("message_thread_id"):
        return None
    topic = params.number("message_thread_id")
    if topic == 1 or topic not in state.topics[chat]:
        raise bad("message thread not found")
    return topic


def _reply_to(state: State, params: Params, chat: int) -> int | None:
    wanted = params.json("reply_parameters")
    if not isinstance(wanted, dict):
        return None
    replied = state.messages[chat].get(int(wanted.get("message_id", 0)))
    if replied is None:
        if wanted.get("allow_sending_without_reply"):
            return None
        raise bad("message to be replied not found")
    if wanted.get("quote") and str(wanted["quote"]) not in replied.text:
        raise bad("QUOTE_TEXT_INVALID")
    return replied.id


# messages


def _send(state: State, params: Params, words: tuple[str, list[Entity]], rest: Json) -> Json:
    chat = _chat(state, params)
    message = Message(
        id=0, chat=chat, topic=_topic(state, params, chat), sender="bot", text=words[0], entities=tuple(words[1]),
        buttons=params.buttons(), silent=params.flag("disable_notification"), reply_to=_reply_to(state, params, chat),
        date=state.now(), rest=rest,
    )
    return state.message_json(state.put(message))


def send_message(state: State, params: Params) -> Json:
    _chat(state, params)
    return _send(state, params, params.message_text(), {})


def _file(state: State, params: Params, field: str) -> tuple[str, Upload]:
    """The uploaded file or the one that is already known; its file_id and content."""
    value = params.text(field)
    upload = params.uploads.get(value.removeprefix("attach://")) or params.uploads.get(field)
    if upload is None and value in state.files:
        return value, Upload(state.files[value].path.rpartition("/")[2], state.files[value].data)
    if upload is None:
        raise bad(f"there is no {field} in the request" if not value else "wrong file identifier/HTTP URL specified")
    if not upload.data:
        raise bad("file must be non-empty")
    return state.keep_file(upload.data, upload.name), upload


def send_document(state: State, params: Params) -> Json:
    _chat(state, params)
    words = params.formatted("caption", CAPTION_UNITS, "caption_entities")
    file_id, upload = _file(state, params, "document")
    if len(upload.data) > DOCUMENT_BYTES:
        raise bad("file is too big")
    document = {"file_name": upload.name, "file_id": file_id, "file_unique_id": file_id, "file_size": len(upload.data)}
    return _send(state, params, words, {"document": document})


def send_photo(state: State, params: Params) -> Json:
    _chat(state, params)
    words = params.formatted("caption", CAPTION_UNITS, "caption_entities")
    file_id, upload = _file(state, params, "photo")
    if len(upload.data) > PHOTO_BYTES:
        raise bad("file is too big")
    if not upload.data.startswith(PICTURES):
        raise bad("IMAGE_PROCESS_FAILED")
    if upload.data.startswith(PICTURES[0]):
        sides = int.from_bytes(upload.data[16:20], "big"), int.from_bytes(upload.data[20:24], "big")
        if sum(sides) > PHOTO_SIDES or max(sides) > PHOTO_RATIO * min(sides):
            raise bad("PHOTO_INVALID_DIMENSIONS")
    size = {"file_id": file_id, "file_unique_id": file_id, "file_size": len(upload.data), "width": 90, "height": 90}
    return _send(state, params, words, {"photo": [size]})


def send_message_draft(state: State, params: Params) -> bool:
    chat = _chat(state, params)
    if chat < 0:
        raise bad("TEXTDRAFT_PEER_INVALID")
    if not params.number("draft_id"):
        raise bad("draft_id must be non-zero")
    text, _ = params.formatted("text", TEXT_UNITS)
    state.drafts[chat, _topic(state, params, chat), params.number("draft_id")] = text
    return True


def _editable(state: State, params: Params) -> Message:
    message = state.messages[_chat(state, params)].get(params.number("message_id"))
    if message is None:
        raise bad("message to edit not found")
    if message.sender == "user":
        raise bad("message can't be edited")
    return message


def _edit(state: State, params: Params, message: Message, words: tuple[str, list[Entity]]) -> Json:
    """An edit without reply_markup takes the buttons away."""
    buttons = params.buttons()
    if (message.text, message.entities, message.buttons) == (words[0], tuple(words[1]), buttons):
        raise bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current content "
            "and reply markup of the message"
        )
    return state.message_json(state.replace(message, *words, buttons))


def edit_message_text(state: State, params: Params) -> Json:
    message = _editable(state, params)
    words = params.message_text()
    if any(kind in message.rest for kind in MEDIA):
        raise bad("there is no text in the message to edit")
    return _edit(state, params, message, words)


def edit_message_caption(state: State, params: Params) -> Json:
    message = _editable(state, params)
    return _edit(state, params, message, params.formatted("caption", CAPTION_UNITS, "caption_entities"))


def edit_message_reply_markup(state: State, params: Params) -> Json:
    message = _editable(state, params)
    return _edit(state, params, message, (message.text, list(message.entities)))


def delete_message(state: State, params: Params) -> bool:
    message = state.messages[_chat(state, params)].get(params.number("message_id"))
    if message is None:
        raise bad("message to delete not found")
    if message.sender == "user" and message.chat < 0:
        raise bad("message can't be deleted")  # the bot is no administrator
    if state.now() - message.date > DELETABLE:
        raise bad("message can't be deleted for everyone")
    state.remove(message)
    return True


def delete_messages(state: State, params: Params) -> bool:
    chat, ids = _chat(state, params), params.json("message_ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= 100:
        raise bad("there must be from 1 to 100 message identifiers")
    for message_id in ids:
        if message_id in state.messages[chat]:
            delete_message(state, Params({"chat_id": str(chat), "message_id": str(message_id)}))
    return True


def set_message_reaction(state: State, params: Params) -> bool:
    chat, message_id = _chat(state, params), params.number("message_id")
    reactions = params.items("reaction")
    if message_id not in state.messages[chat]:
        raise bad("message to react not found")
    if len(reactions) > 1:
        raise bad("REACTIONS_TOO_MANY")
    if any(item.get("type") != "emoji" or item.get("emoji") not in REACTIONS for item in reactions):
        raise bad("REACTION_INVALID")
    state.reactions.pop((chat, message_id), None)
    if reactions:
        state.reactions[chat, message_id] = str(reactions[0]["emoji"])
    return True


# everything else


def get_me(state: State, params: Params) -> Json:
    return state.bot | {"can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}


def get_chat(state: State, params: Params) -> Json:
    return state.chats[_chat(state, params)] | {"accent_color_id": 0, "max_reaction_count": 11}


def send_chat_action(state: State, params: Params) -> bool:
    _topic(state, params, _chat(state, params))
    if params.text("action") not in ACTIONS:
        raise bad("wrong parameter action in request")
    return True


def answer_callback_query(state: State, params: Params) -> bool:
    callback = params.text("callback_query_id")
    if len(params.text("text")) > 200:
        raise bad("MESSAGE_TOO_LONG")
    if callback not in state.open_presses:
        raise bad("query is too old and response timeout expired or query ID is invalid")
    state.open_presses.discard(callback)
    state.answered[callback] = params.text("text")
    return True


def get_file(state: State, params: Params) -> Json:
    file = state.files.get(params.text("file_id"))
    if file is None:
        raise bad("invalid file_id")
    if len(file.data) > DOWNLOAD_BYTES:
        raise bad("file is too big")
    file_id = params.text("file_id")
    return {"file_id": file_id, "file_unique_id": file_id, "file_size": len(file.data), "file_path": file.path}


def _scope(state: State, params: Params) -> str:
    """The name of one list of commands: its scope as JSON, with the language code in it when there is one."""
    scope = params.json("scope") or {"type": "default"}
    if not isinstance(scope, dict) or scope.get("type") not in SCOPES:
        raise bad("can't parse BotCommandScope: unsupported type specified")
    if str(scope["type"]) in ("chat", "chat_administrators", "chat_member") and int(scope.get("chat_id", 0)) not in state.chats:
        raise bad("chat not found")
    language = params.text("language_code")
    return json.dumps(scope | ({"language_code": language} if language else {}), sort_keys=True)


def set_my_commands(state: State, params: Params) -> bool:
    commands = params.items("commands")
    if len(commands) > 100:
        raise bad("BOT_COMMANDS_TOO_MUCH")
    for item in commands:
        if not re.fullmatch(r"[a-z0-9_]{1,32}", str(item.get("command", "")).removeprefix("/")):
            raise bad("BOT_COMMAND_INVALID")
        if not 1 <= len(str(item.get("description", "")).strip()) <= 256:
            raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
    state.commands[_scope(state, params)] = [{key: str(value) for key, value in item.items()} for item in commands]
    return True


def get_my_commands(state: State, params: Params) -> list[Json]:
    return [dict(item) for item in state.commands.get(_scope(state, params), [])]


def delete_my_commands(state: State, params: Params) -> bool:
    state.commands.pop(_scope(state, params), None)
    return True


def set_webhook(state: State, params: Params) -> bool:
    if params.text("url") and not params.text("url").startswith("https://"):
        raise bad("bad webhook: an HTTPS URL must be provided for webhook")
    state.webhook = params.text("url")
    return True


def delete_webhook(state: State, params: Params) -> bool:
    state.webhook = ""
    if params.flag("drop_pending_updates"):
        state.queue.clear()
    return True


def get_webhook_info(state: State, params: Params) -> Json:
    return {"url": state.webhook, "has_custom_certificate": False, "pending_update_count": len(state.queue)}


METHODS: dict[str, Method] = {
    "getMe": get_me, "getChat": get_chat, "getFile": get_file,
    "sendMessage": send_message, "sendDocument": send_document, "sendPhoto": send_photo, "sendMessageDraft": send_message_draft,
    "sendChatAction": send_chat_action, "setMessageReaction": set_message_reaction, "answerCallbackQuery": answer_callback_query,
    "editMessageText": edit_message_text, "editMessageCaption": edit_message_caption, "editMessageReplyMarkup": edit_message_reply_markup,
    "deleteMessage": delete_message, "deleteMessages": delete_messages,
    "setMyCommands": set_my_commands, "getMyCommands": get_my_commands, "deleteMyCommands": delete_my_commands,
    "setWebhook": set_webhook, "deleteWebhook": delete_webhook, "getWebhookInfo": get_webhook_info,
}
