"""A Telegram on this machine: the Bot API over HTTP on one side, the people who write to the bot on the other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from ductor_lib.demo.checks import Params, Refused, bad
from ductor_lib.demo.entities import normal
from ductor_lib.demo.faults import Fault, Faults, wrong_answer
from ductor_lib.demo.methods import METHODS, Result
from ductor_lib.demo.rates import Rates
from ductor_lib.demo.server import Answer, Server, refusal, success
from ductor_lib.demo.state import PERSON, Call, Change, Json, Message, State

log = logging.getLogger(__name__)

T = TypeVar("T")
POLL_SECONDS = 50  # longest getUpdates (Bot API server)
NAMES = {name.lower(): name for name in (*METHODS, "getUpdates")}  # the Bot API does not care about case


class LoopbackTelegram:
    """A context manager; every method may be called from any thread. Nothing of it outlives the `with`.

    `url` is what `telegram_api_url` takes. `now` (unix seconds) dates the messages; `strict_rates` answers 429 where
    Telegram's published guidance is overrun, counted by the same clock.
    """

    def __init__(
        self,
        *,
        token: str = "123456:" + "loopback-token-loopback-token-12345",
        port: int = 0,
        now: Callable[[], float] = time.time,
        strict_rates: bool = False,
    ) -> None:
        self.token = token
        self.calls: list[Call] = []
        self._state = State(token, now)
        self.answered = self._state.answered  # callback id → text of the answer
        self.commands = self._state.commands  # scope (JSON, with the language code in it) → setMyCommands
        self.drafts = self._state.drafts  # (chat, topic, draft_id) → text
        self.reactions = self._state.reactions  # (chat, message id) → emoji
        self._rates = Rates() if strict_rates else None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._faults = Faults()
        self._poll = 0
        self._server = Server(self, port)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> LoopbackTelegram:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._server.close()

    # the person's side

    def add_group(self, chat: int, *, topics: Collection[int] = ()) -> None:
        """A group that the bot is in; with topics a forum. `say` makes unknown ones by itself."""
        with self._changed:
            self._state.add_chat(chat, topics)

    def add_file(self, data: bytes, name: str) -> Json:
        """A file of the person's; returns Bot API's Document, to be said: say("caption", document=add_file(…))."""
        with self._changed:
            file_id = self._state.keep_file(data, name)
        return {"file_id": file_id, "file_unique_id": file_id, "file_name": name, "file_size": len(data)}

    def say(
        self,
        text: str,
        *,
        user: int = PERSON,
        chat: int | None = None,
        topic: int | None = None,
        date: float | None = None,
        reply_to: int | None = None,
        **message_fields: object,
    ) -> int:
        """The user writes, in the private chat when `chat` is None. Returns the message id.

        What Telegram finds by itself (commands, links, mentions) becomes entities. Other fields of Bot API's Message
        go in as they are; with media the text is the caption.
        """
        place = user if chat is None else chat
        text, entities = normal(text, [])
        with self._changed:
            self._state.add_chat(place, () if topic is None else (topic,))
            when = self._state.now() if date is None else date
            message = self._state.put(Message(
                id=0, chat=place, topic=topic, sender="user", text=text, entities=tuple(entities), reply_to=reply_to,
                date=when, user=user, rest=dict(message_fields),
            ))
            self._state.offer("message", self._state.message_json(message))
            self._changed.notify_all()
        return message.id

    def edit(self, message_id: int, text: str, *, chat: int = PERSON, user: int = PERSON) -> None:
        """The user changes a message."""
        text, entities = normal(text, [])
        with self._changed:
            old = self._message(chat, message_id)
            message = self._state.replace(replace(old, user=user), text, entities, old.buttons)
            self._state.offer("edited_message", self._state.message_json(message))
            self._changed.notify_all()

    def press(self, message_id: int, label: str, *, chat: int = PERSON, user: int = PERSON) -> str:
        """The user presses the button with that label, else the first whose label contains it. Returns the callback id.

        Raises AssertionError when the message has no such button, or one that tells the bot nothing.
        """
        with self._changed:
            message = self._message(chat, message_id)
            labelled = [button for row in message.buttons for button in row if label in button["text"]]
            button = min(labelled, key=lambda button: button["text"] != label, default=None)
            if button is None or "callback_data" not in button or button.get("disabled"):
                raise AssertionError(f"no button {label!r} that reaches the bot under message {message_id}:\n{self._dump()}")
            callback = self._state.press(message, user, button["callback_data"])
            self._changed.notify_all()
        return callback

    def push(self, update: Json) -> int:
        """Any raw update, also of a kind the bot has not asked for. Returns its update_id, which is added when missing.

        A well-formed message in it makes its chat, topic and message known.
        """
        with self._changed:
            number = self._state.push(update)
            self._changed.notify_all()
        return number

    def fail(
        self,
        method: str,
        *,
        status: int = 500,
        body: str | Json | None = None,
        retry_after: int | None = None,
        times: int = 1,
        hang: float = 0,
        drop: bool = False,
        after: bool = False,
    ) -> None:
        """The next `times` calls of the method go wrong; several fail() queue up.

        A str `body` is sent raw as HTML, a dict as JSON; without one the answer is Telegram's error for the status.
        `retry_after` (seconds) makes it a 429. `hang` keeps the caller waiting so many seconds first, `drop` closes
        the connection without an answer. With `after` the call takes effect and only its answer is lost.
        """
        fault = Fault(wrong_answer(status, body, retry_after), hang, drop, after)
        with self._changed:
            self._faults.add(NAMES.get(method.lower(), method), fault, times)

    # what can be seen

    def messages(self, chat: int = PERSON, topic: int | None = None) -> list[Message]:
        """The messages that are there, in their order; with a topic only those of the topic."""
        with self._changed:
            return [message for message in self._state.messages[chat].values() if topic is None or message.topic == topic]

    def last(self, chat: int = PERSON, topic: int | None = None) -> Message:
        """The bot's last message. Raises AssertionError when there is none."""
        found = [message for message in self.messages(chat, topic) if message.sender == "bot"]
        if not found:
            raise AssertionError(f"the bot has written nothing in chat {chat}")
        return found[-1]

    def wait(self, predicate: Callable[[LoopbackTelegram], T | None], *, timeout: float = 10.0, what: str = "") -> T:
        """The first truthy value of the predicate, asked anew after every change of anything here; `timeout` in seconds.

        Raises AssertionError, with the chats and the last calls in it, when the time is over.
        """
        with self._changed:
            deadline = time.monotonic() + timeout
            value = predicate(self)
            while not value and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
                value = predicate(self)
            if not value:
                raise AssertionError(f"not seen within {timeout:g} s: {what or 'the condition'}\n{self._dump()}")
            return value

    def still(self, seconds: float) -> bool:
        """Whether nothing happens in the chats for so long; False as soon as something does."""
        with self._changed:
            before = len(self._state.changes)
            return not self._changed.wait_for(lambda: len(self._state.changes) > before or self._closing.is_set(), seconds)

    def changes(self, stopping: threading.Event) -> Iterator[Change]:
        """Everything that happens from now on, as it happens; ends soon after `stopping` is set, or at the close."""
        with self._changed:
            start = len(self._state.changes)
        return self._changes_from(start, stopping)

    def _changes_from(self, at: int, stopping: threading.Event) -> Iterator[Change]:
        while not stopping.is_set() and not self._closing.is_set():
            with self._changed:
                if at == len(self._state.changes):
                    self._changed.wait(0.1)
                news = self._state.changes[at:]
            at += len(news)
            yield from news

    # the bot's side, called by the server's threads

    def answer(self, token: str, method: str, params: Params) -> Answer | None:
        """One call of the Bot API. None: the connection is to be closed without an answer."""
        if token != self.token:
            return refusal(401, "Unauthorized")
        name = NAMES.get(method.lower(), "")
        call = Call(time.monotonic(), name or method, dict(params.values), 0)
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
            fault = self._faults.next(call.method)
        answer = self._perform(name, params) if fault is None or fault.after else None
        if fault is not None:
            self._closing.wait(fault.hang)
            answer = None if fault.drop else fault.answer
        if self._closing.is_set():
            return None
        with self._changed:
            for at in range(len(self.calls) - 1, -1, -1):
                if self.calls[at] is call:
                    self.calls[at] = replace(call, status=answer.status if answer else 0)
                    break
            self._changed.notify_all()
        return answer

    def download(self, token: str, path: str) -> Answer:
        with self._changed:
            file = next((file for file in self._state.files.values() if file.path == path), None)
        if token != self.token or file is None:
            return refusal(404, "Not Found")
        return Answer(200, file.data, "application/octet-stream")

    def _perform(self, name: str, params: Params) -> Answer:
        try:
            with self._changed:
                if not name:
                    raise Refused(404, "Not Found: method not found")
                if self._rates is not None:
                    self._rates.spend(name, params.number("chat_id"), self._state.now())
                result: Result = self._get_updates(params) if name == "getUpdates" else METHODS[name](self._state, params)
                self._changed.notify_all()
                return success(result)
        except Refused as refused:
            return refusal(refused.code, refused.description, refused.parameters)
        except Exception:
            log.exception("call failed method=%s", name)
            return refusal(500, "Internal Server Error")

    def _get_updates(self, params: Params) -> list[Json]:
        """Wait for updates with the lock held (the condition lets go of it). A newer call ends an older one."""
        if self._state.webhook:
            raise Refused(409, (
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            ))
        if params.text("allowed_updates"):
            kinds = params.json("allowed_updates")
            if not isinstance(kinds, list):
                raise bad("can't parse allowed_updates: expected an Array of Strings")
            self._state.allowed = tuple(map(str, kinds))
        limit = min(max(params.number("limit", 100), 1), 100)
        deadline = time.monotonic() + min(max(params.number("timeout"), 0), POLL_SECONDS)
        self._poll += 1
        mine = self._poll
        self._changed.notify_all()
        while True:
            updates = self._state.waiting(params.number("offset"), limit)
            left = deadline - time.monotonic()
            if updates or left <= 0 or self._closing.is_set():
                return updates
            self._changed.wait(left)
            if self._poll != mine:
                raise Refused(409, (
                    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
                ))

    # helpers, called with the lock held

    def _message(self, chat: int, message_id: int) -> Message:
        message = self._state.messages[chat].get(message_id)
        if message is None:
            raise AssertionError(f"there is no message {message_id} in chat {chat}:\n{self._dump()}")
        return message

    def _dump(self) -> str:
        """The chats and the last calls, for a person who looks for a mistake."""
        lines = self._state.dump()
        for call in self.calls[-15:]:
            words = {key: value[:80] for key, value in call.params.items()}
            lines.append(f"  {call.status or 'open'} {call.method} {words}")
        return "\n".join(lines)
