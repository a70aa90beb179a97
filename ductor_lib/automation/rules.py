"""What each field of a job and of a hook accepts, as two tables; what several fields mean together is in validation.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ductor_lib.automation.signatures import ALGORITHMS, AUTH_MODES, ENCODINGS, LONGEST_TOLERANCE, REGEX_LENGTH
from ductor_lib.cli.catalogue import PROVIDERS
from ductor_lib.config_keys import MAX_ID
from ductor_lib.messages import Chat

LONGEST_TEXT = 100_000  # characters
CHAT = re.compile(r"(-?\d{1,16})(?::(\d{1,10}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field accepts, as a function and in words. A `secret` is shown in no error and no list."""

    fits: Callable[[object], bool]
    accepted: str
    secret: bool = False


def chat_of(value: object) -> Chat | None:
    """The chat of 42, "42" or "-100:7" (chat and topic); None for anything else."""
    found = CHAT.fullmatch(value) if isinstance(value, str) else CHAT.fullmatch(str(value)) if type(value) is int else None
    if found is None or not 0 < abs(int(found[1])) <= MAX_ID or found[2] == "0":
        return None
    return Chat(int(found[1]), int(found[2]) if found[2] else None)


def _text(accepted: str, pattern: str = "", *, longest: int = LONGEST_TEXT, secret: bool = False) -> Rule:
    whole = re.compile(pattern or r"(?s:.*)")
    return Rule(
        lambda value: isinstance(value, str) and len(value) <= longest and _writable(value) and bool(whole.fullmatch(value)),
        accepted, secret,
    )  # fmt: skip


def _writable(text: str) -> bool:
    """Whether it can be handed to a program: no NUL for its arguments, no half of a character for its input."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _one_of(*choices: str) -> Rule:
    named = ", ".join(f'"{choice}"' for choice in choices if choice)
    return Rule(lambda value: isinstance(value, str) and value in choices, f"one of {named}{', or empty' if '' in choices else ''}")


def _number(low: int, high: int, *, none: bool = False) -> Rule:
    accepted = f"a whole number from {low} to {high}{', or null' if none else ''}"
    return Rule(lambda value: (none and value is None) or (type(value) is int and low <= value <= high), accepted)


def _moment(accepted: str, *, offset: bool) -> Rule:
    def fits(value: object) -> bool:
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            return value == ""
        return moment is not None and 1970 < moment.year < 9999 and (moment.tzinfo is not None or not offset)

    return Rule(fits, accepted)


def _parameters(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, str) and _writable(item) for item in value))


SWITCH = Rule(lambda value: isinstance(value, bool), "true or false")
TEXT = _text(f"a text of at most {LONGEST_TEXT:,} characters")
REGEX = _text(f"a regular expression of at most {REGEX_LENGTH} characters, or empty", longest=REGEX_LENGTH)
HOUR = _number(0, 23, none=True)

TASK_RULES = {
    "id": _text('1 to 64 letters, digits, "-" or "_"', r"[A-Za-z0-9_-]{1,64}"),
    "title": _text("a line of 1 to 100 characters", r"\S(.{0,98}\S)?"),
    "description": TEXT,
    "enabled": SWITCH,
    "created_at": _moment('a moment, "2026-12-01T09:00:00+01:00", or empty', offset=False),
    "task_folder": _text('the name of a folder, 1 to 64 of a-z, 0-9, "-" and "_", or empty', r"[a-z0-9_-]{0,64}"),
    "provider": _one_of("", *PROVIDERS),
    "model": _text("the name of a model, or empty", r"([A-Za-z0-9][A-Za-z0-9_.:/@\[\]-]*)?", longest=200),
    "reasoning_effort": _text('a word such as "high", or empty', r"[a-z]{0,20}"),
    "cli_parameters": Rule(_parameters, "a list of texts, or null"),
    "quiet_start": HOUR,
    "quiet_end": HOUR,
    "dependency": _text('a word, 1 to 64 letters, digits, ".", "-" or "_", or empty', r"[A-Za-z0-9._-]{0,64}"),
    "chat": Rule(lambda value: value is None or chat_of(value) is not None, 'a chat, "42" or 42, with a topic "-100123:7", or null'),
    "silent_when": _text("a line of at most 100 characters, or empty", r".{0,100}"),
    "into_session": SWITCH,
}
JOB_RULES = TASK_RULES | {
    "schedule": _text("a cron expression, or empty", longest=200),
    "at": _moment('a moment with its offset from UTC, "2026-12-01T09:00:00+01:00", or empty', offset=True),
    "timezone": _text('the name of a time zone such as "Europe/Berlin", or empty', r"[A-Za-z0-9_+/-]{0,64}"),
    "agent_instruction": TEXT,
    "missed": _one_of("skip", "once"),
    "message": TEXT,
    "ask": SWITCH,
}
HOOK_RULES = TASK_RULES | {
    "mode": _one_of("wake", "cron_task"),
    "prompt_template": TEXT,
    "auth_mode": _one_of(*AUTH_MODES),
    "token": _text("8 to 512 characters without spaces, or empty", r"([!-~]{8,512})?", secret=True),
    "hmac_secret": _text("a text of at most 1,000 characters, or empty", longest=1000, secret=True),
    "hmac_header": _text("the name of an HTTP header, or empty", r"\S{0,100}"),
    "hmac_algorithm": _one_of(*ALGORITHMS),
    "hmac_encoding": _one_of(*ENCODINGS),
    "hmac_sig_prefix": _text("a line of at most 64 characters, or empty", r".{0,64}"),
    "hmac_sig_regex": REGEX,
    "hmac_payload_prefix_regex": REGEX,
    "hmac_tolerance_seconds": _number(0, LONGEST_TOLERANCE),
}
