"""How a call to Telegram can fail, sorted by what to do about it. No text of an error ever holds the token."""

from __future__ import annotations

from typing import Literal

Remedy = Literal[
    "not_modified", "plain", "split", "skip", "send_new", "no_thread", "migrate", "dead", "ignore", "last_resort",
]

# Words of Telegram's descriptions (compared case-insensitively) and the remedy, first match wins.
# Source: the Bot API server's sources and field reports; "Bad Request: " may precede.
REMEDIES: tuple[tuple[str, Remedy], ...] = (
    ("message is not modified", "not_modified"),
    ("reply markup", "last_resort"),
    ("can't parse", "plain"),
    ("entity", "plain"),
    ("entities", "plain"),
    ("too long", "split"),
    ("too_long", "split"),
    ("must be non-empty", "skip"),
    ("text is empty", "skip"),
    ("message to edit not found", "send_new"),
    ("can't be edited", "send_new"),
    ("message_id_invalid", "send_new"),
    ("thread not found", "no_thread"),
    ("topic_closed", "no_thread"),
    ("topic_deleted", "no_thread"),
    ("chat not found", "dead"),
    ("query is too old", "ignore"),
    ("message to delete not found", "ignore"),
    ("can't be deleted", "ignore"),
)


class TelegramError(Exception):
    """Any failure of a call to Telegram."""


class RetryAfter(TelegramError):
    """Telegram asks to wait `seconds` before the next call for this chat (429)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"retry after {seconds:g} s")
        self.seconds = seconds


class Unreachable(TelegramError):
    """No usable answer came. `maybe_delivered` is False only when the request certainly had no effect."""

    def __init__(self, reason: str, *, maybe_delivered: bool) -> None:
        super().__init__(reason)
        self.maybe_delivered = maybe_delivered


class Unauthorised(TelegramError):
    """Telegram does not know the token (401, or 404 for one that was never valid)."""


class Conflict(TelegramError):
    """Another getUpdates runs for this token, or a webhook is set (409)."""


class Rejected(TelegramError):
    """Telegram understood the call and refuses it. `moved_to` is the new id of a group that was upgraded, else 0."""

    def __init__(self, code: int, description: str, *, moved_to: int = 0) -> None:
        super().__init__(f"{code} {description}")
        self.code = code
        self.description = description
        self.moved_to = moved_to

    @property
    def remedy(self) -> Remedy:
        """What to do about it; "last_resort" when nothing better is known."""
        if self.moved_to:
            return "migrate"
        if self.code == 403:
            return "dead"
        if self.code == 413:
            return "split"
        words = self.description.lower()
        return next((remedy for phrase, remedy in REMEDIES if phrase in words), "last_resort")
