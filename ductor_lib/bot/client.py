"""Calls to Telegram: typed in, sorted failures out. The only module that imports telebot.

telebot gives the calls and their serialisation. Everything else is ours, because telebot's own transport puts all text
into the URL, keeps its address in a global shared by all bots, and writes the token into errors: its global address
is set once to "whatever is handed over as the token", its transport hook to `_post`, which sends a form body and raises
only the exceptions of `failures`.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

import requests
import urllib3
from telebot import apihelper, types

from ductor_lib.bot.failures import Conflict, Rejected, RetryAfter, TelegramError, Unauthorised, Unreachable
from ductor_lib.bot.markup import Part
from ductor_lib.bot.multipart import Multipart
from ductor_lib.messages import Chat

log = logging.getLogger(__name__)

PATIENCE = 15.0  # seconds for a connection and for an answer
IDLE_SECONDS = 60.0  # an idle connection may be gone without a trace; a new one costs less than a doubtful send
DEFAULT_WAIT = 5.0  # seconds, for a 429 that does not say how long, or says nonsense: nobody could wait for that
LONGEST_WAIT = 86400.0 * 7  # seconds
SLOWEST = 250_000  # bytes a second; Telegram hands a file on before it answers
DELETE_AT_ONCE = 100  # Bot API: deleteMessages takes 1-100 ids
UPDATE_KINDS = ("message", "edited_message", "callback_query")

NO_LINK_PREVIEW = types.LinkPreviewOptions(is_disabled=True)

Raw = dict[str, object]


@dataclass(frozen=True, slots=True)
class Me:
    """The bot itself; `username` without @."""

    id: int
    username: str


class Client:
    """The bot's calls. Any thread; calls that overlap have a connection each.

    `url` is the server's address, `patience` the seconds to wait for it. Every method raises RetryAfter, Rejected,
    Unreachable, Unauthorised or Conflict, and nothing else.
    """

    def __init__(self, token: str, url: str = "https://api.telegram.org", *, patience: float = PATIENCE) -> None:
        self._address = f"{url.rstrip('/')}/bot{token}"
        self._patience = patience

    def me(self) -> Me:
        raw = apihelper.get_me(self._address)
        return Me(int(raw["id"]), str(raw.get("username", "")))

    def updates(self, offset: int | None, *, timeout: int) -> list[Raw]:
        """Wait up to `timeout` seconds (at least 1) for updates from `offset` on, and confirm all before it."""
        raw = apihelper.get_updates(
            self._address, offset, timeout=self._patience, long_polling_timeout=timeout, allowed_updates=list(UPDATE_KINDS)
        )
        if not isinstance(raw, list) or not all(isinstance(update, dict) for update in raw):
            raise Unreachable("getUpdates: not a list of updates", maybe_delivered=True)
        return raw

    def send(self, chat: Chat, part: Part, *, keyboard: str = "", silent: bool = False) -> int:
        """Send a new message and return its id. Not idempotent. `keyboard` is reply_markup as JSON."""
        raw = apihelper.send_message(
            self._address, chat.id, part.text, reply_markup=keyboard, disable_notification=silent or None, timeout=self._patience,
            entities=_entities(part), message_thread_id=chat.topic, link_preview_options=NO_LINK_PREVIEW,
        )
        _compare(part, raw)
        return int(raw["message_id"])

    def edit(self, chat: Chat, message: int, part: Part, *, keyboard: str = "") -> None:
        """Make the message this part; the keyboard goes when none is given. Idempotent."""
        try:
            raw = apihelper.edit_message_text(
                self._address, part.text, chat.id, message, entities=_entities(part), reply_markup=keyboard, timeout=self._patience,
                link_preview_options=NO_LINK_PREVIEW,
            )
        except Rejected as error:
            if error.remedy != "not_modified":
                raise
        else:
            _compare(part, raw)

    def upload(
        self, chat: Chat, file: BinaryIO, *, name: str, kind: Literal["photo", "document"], caption: str = "", silent: bool = False
    ) -> int:
        """Send an open file from where it stands, and return the message's id. Not idempotent. `caption` is plain text.

        Bot API: a photo has at most 10 MB, is compressed and loses its name; a document has at most 50 MB.
        """
        call = apihelper.send_photo if kind == "photo" else functools.partial(apihelper.send_data, data_type="document")
        raw = call(
            self._address, chat.id, (name, file), caption=caption, disable_notification=silent or None, timeout=self._patience,
            message_thread_id=chat.topic,
        )
        return int(raw["message_id"])

    def delete(self, chat: Chat, messages: Sequence[int]) -> None:
        """Delete messages; those that are gone are passed over, and those too old to delete lose their buttons. Idempotent."""
        for start in range(0, len(messages), DELETE_AT_ONCE):
            some = list(messages[start:start + DELETE_AT_ONCE])
            try:
                apihelper.delete_messages(self._address, chat.id, some)
            except Rejected as error:
                log.warning("deletion refused chat=%d reason=%s", chat.id, error)
                self._disarm(chat, some)

    def _disarm(self, chat: Chat, messages: Sequence[int]) -> None:
        """Take the buttons off messages that have to stay."""
        for message in messages:
            try:
                apihelper.edit_message_reply_markup(self._address, chat.id, message, timeout=self._patience)
            except Rejected as error:
                log.debug("buttons not removed chat=%d message=%d reason=%s", chat.id, message, error)

    def answer(self, callback: str, text: str = "") -> None:
        """End the waiting animation of a pressed button. Bot API: at most 200 characters, within a few minutes."""
        apihelper.answer_callback_query(self._address, callback, text=text or None)

    def commands(self, rows: Sequence[tuple[str, str]]) -> None:
        """Set the menu: (name, description). Bot API: at most 100, names of 1-32 from a-z 0-9 _, descriptions of 1-256."""
        apihelper.set_my_commands(self._address, [types.BotCommand(name, description) for name, description in rows])


def sync_commands(client: Client, rows: Sequence[tuple[str, str]]) -> None:
    """Bring Telegram's menu of commands up to date. A failure is logged: the menu is a convenience."""
    try:
        client.commands(rows)
    except TelegramError as error:
        log.warning("menu of commands not set reason=%s", error)


def _entities(part: Part) -> list[dict[str, str | int]]:
    return [entity.to_dict() for entity in part.entities]


def _compare(part: Part, raw: object) -> None:
    """Say it in the log when Telegram shows something else than was meant. Links it finds by itself are welcome."""
    if not isinstance(raw, dict):
        return
    if str(raw.get("text", "")).strip() != part.text.strip():
        log.warning("text changed by telegram message=%s meant=%d shown=%d characters", raw.get("message_id"), len(part.text),
                    len(str(raw.get("text", ""))))
    shown = Counter(str(entity.get("type")) for entity in raw.get("entities", ()))
    lost = Counter(entity.type for entity in part.entities) - shown
    if lost:
        log.warning("formatting lost by telegram message=%s lost=%s", raw.get("message_id"), dict(lost))


# ── transport ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Answer:
    """What telebot reads of a response. Only successful ones get this far."""

    body: Raw
    status_code: int = 200
    reason: str = "OK"
    text: str = ""  # telebot would format it for its debug log

    def json(self) -> Raw:
        return self.body


class _Connections:
    """HTTP sessions, each lent to one call at a time: requests does not promise that sessions may be shared.

    The one that came back last goes out first, so that a quiet bot talks over one open connection whichever thread
    speaks; each new one costs two round trips, and 25 ms for reading the certificates.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[requests.Session, float]] = []  # with the time of the last use (monotonic)

    @contextmanager
    def lend(self) -> Iterator[requests.Session]:
        with self._lock:
            session, used = self._idle.pop() if self._idle else (requests.Session(), time.monotonic())
        if time.monotonic() - used > IDLE_SECONDS:
            session.close()
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append((session, time.monotonic()))


_connections = _Connections()


def _post(
    _method: str, url: str, *, params: Mapping[str, object] | None = None, files: Mapping[str, tuple[str, BinaryIO]] | None = None,
    timeout: tuple[float, float] = (PATIENCE, PATIENCE), proxies: object = None,
) -> _Answer:
    """telebot's transport hook: a form body instead of the query, and failures instead of exceptions with secrets.

    At most one file; the answer to it may take the longer the larger it is.
    """
    head, _, call = url.rpartition("/")
    token = head.rpartition("/bot")[2]
    form = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in (params or {}).items()}
    body: dict[str, str] | Multipart = form
    headers = {}
    for field, (name, file) in (files or {}).items():
        body = Multipart(form, field, name, file)
        headers = {"Content-Type": body.content_type}
        timeout = (timeout[0], timeout[1] + len(body) / SLOWEST)
    try:
        with _connections.lend() as session:
            response = session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        raise Unreachable(f"{call}: {_cause(error)}", maybe_delivered=not _never_left(error)) from None
    try:
        answer = json.loads(response.content)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("ok") is True and "result" in answer:
        return _Answer(answer)
    raise _failure(call, response.status_code, answer if isinstance(answer, dict) and "ok" in answer else None, token) from None


def _never_left(error: requests.RequestException) -> bool:
    """Whether the request certainly did not reach the server."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError | requests.exceptions.SSLError | ValueError):
        return True  # ValueError: an address that cannot be one
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)


def _cause(error: requests.RequestException) -> str:
    """The innermost kind of failure, by its class name only: the texts of these errors hold the URL."""
    inner: object = error
    while isinstance(inner, BaseException):
        name = type(inner).__name__
        inner = getattr(inner, "reason", None) or next((arg for arg in inner.args if isinstance(arg, BaseException)), None)
    return name


def _failure(call: str, status: int, body: Raw | None, token: str) -> TelegramError:
    """Sort a refusal. `body` is None when it is not the Bot API's: then a gateway has spoken."""
    if body is None:
        if status == 429:
            return RetryAfter(DEFAULT_WAIT)
        if status in (413, 414, 431):
            return Rejected(413, "request is too large")
        return Unreachable(f"{call}: HTTP {status} without a Bot API answer", maybe_delivered=status < 300 or status >= 500)
    found, extra = body.get("error_code"), body.get("parameters")
    code = found if isinstance(found, int) else status
    details = extra if isinstance(extra, dict) else {}
    description = str(body.get("description", "")).replace(token, "[token]")
    if code == 429:
        wait = details.get("retry_after")
        return RetryAfter(float(wait) if isinstance(wait, int | float) and 0 <= wait <= LONGEST_WAIT else DEFAULT_WAIT)
    if code == 401 or (code == 404 and description == "Not Found"):
        return Unauthorised(f"{call}: {code} {description}")
    if code == 409:
        return Conflict(f"{call}: {description}")
    if code >= 500:
        return Unreachable(f"{call}: {code} {description}", maybe_delivered=True)
    return Rejected(code, description, moved_to=int(details.get("migrate_to_chat_id", 0)))


apihelper.API_URL = "{0}/{1}"  # type: ignore[assignment]
apihelper.CUSTOM_REQUEST_SENDER = _post  # type: ignore[assignment]
for _name in ("TeleBot", "urllib3", "requests"):  # below WARNING they log addresses, and those hold the token
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("TeleBot").handlers.clear()  # telebot writes to stderr by itself
