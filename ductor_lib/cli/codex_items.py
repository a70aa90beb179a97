"""What Codex's messages hold, in the terms of either protocol: tools, texts, sums of tokens, and kinds of failure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ductor_lib.cli.claude import Raw
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Status, Text, Tool

DETAIL_CHARS = 200
TEXT_KEPT = 1_000_000  # characters of a message that is still being written, for a turn that ends in its middle
LARGEST = 10**15  # no number of the stream is larger
STATUSES: dict[int, ErrorKind] = {
    401: "not_signed_in", 403: "not_signed_in", 404: "unknown_model", 413: "context_full", 429: "rate_limited", 529: "overloaded",
}  # fmt: skip
INFOS: dict[str, ErrorKind] = {  # codexErrorInfo
    "contextWindowExceeded": "context_full", "sessionBudgetExceeded": "budget", "usageLimitExceeded": "rate_limited",
    "rateLimitExceeded": "rate_limited", "serverOverloaded": "overloaded", "internalServerError": "overloaded",
    "flexUnavailable": "overloaded", "policyCapacityUnavailable": "overloaded", "modelNotFound": "unknown_model",
    "unauthorized": "not_signed_in", "badRequest": "refused", "cyberPolicy": "refused", "misalignmentPolicyViolation": "refused",
    "tooManyDenials": "refused", "inferenceHookDenied": "refused", "httpConnectionFailed": "unreachable",
    "responseStreamConnectionFailed": "unreachable", "responseStreamDisconnected": "unreachable",
    "responseTooManyFailedAttempts": "unreachable",
}  # fmt: skip
WORDS: tuple[tuple[str, ErrorKind], ...] = (
    (r"no rollout found|invalid session id|thread not found", "unknown_session"),
    (r"context window|context_length", "context_full"),
    (r"not logged in|codex login|missing environment variable|refresh token|token.{0,20}expired", "not_signed_in"),
    (r"usage limit|rate limit|quota", "rate_limited"),
    (r"high demand|overloaded|at capacity", "overloaded"),
    (r"\bmodel\b.*(does not exist|not found|not supported|no.such)", "unknown_model"),
    (r"stream (disconnected|closed)|error sending request|connection|network|timed? ?out", "unreachable"),
)
REASONS: dict[ErrorKind, str] = {  # of a retry
    "not_signed_in": "not signed in", "rate_limited": "rate limit", "overloaded": "overloaded", "unknown_model": "unknown model",
}  # fmt: skip
STATUS_WORDS = re.compile(r"status:? (\d{3})\b")
ATTEMPT = re.compile(r"\b(\d+/\d+)\b")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sums over a thread. What was read from a cache counts as read."""

    read: int = 0
    written: int = 0

    def since(self, before: Tokens) -> Tokens:
        return Tokens(max(0, self.read - before.read), max(0, self.written - before.written))


@dataclass(frozen=True, slots=True)
class ToolItem:
    """How a tool item is shown: its name, and its line of detail."""

    name: Callable[[Raw], str]
    detail: Callable[[Raw], str]


class Answer:
    """The messages of one turn: by deltas or whole, the text of each goes out exactly once.

    Two messages are set apart by a blank line where no tool ran between them, also when the first was broken off.
    """

    def __init__(self) -> None:
        self._item = ""
        self._newest: list[str] = []
        self._streamed = 0  # characters of the newest message that went out
        self._written = False  # since the last tool

    @property
    def text(self) -> str:
        """The newest message, as far as it was written."""
        return "".join(self._newest)

    def tool(self) -> None:
        """A tool begins."""
        self._written = False

    def delta(self, item: str, text: str) -> list[Event]:
        """More words of a message."""
        events = self._begin(item)
        if self._streamed < TEXT_KEPT:
            self._newest.append(text)
        self._streamed += len(text)
        self._written = True
        return [*events, Text(text)]

    def whole(self, item: str, text: str) -> list[Event]:
        """A message is complete: what was not streamed of it follows."""
        if not text:
            return []
        events = self._begin(item)
        rest = text[self._streamed :]
        self._newest, self._streamed, self._written = [text], len(text), True
        return [*events, Text(rest)] if rest else events

    def _begin(self, item: str) -> list[Event]:
        if item == self._item:
            return []
        self._item, self._newest, self._streamed = item, [], 0
        return [Text("\n\n")] if self._written else []


def failure(words: str, *, info: object = None) -> ErrorKind:
    """Which kind of failure Codex means: by `codexErrorInfo` (a word, or an object with a status), else by its words."""
    name, status = info if isinstance(info, str) else "", 0
    if isinstance(info, dict) and info:
        name = str(next(iter(info)))
        status = number_of(map_of(info, name), "httpStatusCode")
    if found := STATUS_WORDS.search(words):
        status = status or int(found[1])
    if kind := STATUSES.get(status) or ("overloaded" if status >= 500 else None):
        return kind
    if kind := INFOS.get(name):
        return kind
    return next((kind for pattern, kind in WORDS if re.search(pattern, words, re.IGNORECASE)), "refused")


def retry(words: str, kind: ErrorKind) -> Status:
    """ "Reconnecting... 2/5 (…)" as a person reads it."""
    attempt = ATTEMPT.search(words)
    return Status(f"retrying {attempt[1]} ({reason(kind)})" if attempt else f"retrying ({reason(kind)})")


def reason(kind: ErrorKind) -> str:
    return REASONS.get(kind, "connection")


def tokens(usage: Raw) -> Tokens:
    """The sums in a usage object of either protocol."""
    read = number_of(usage, "inputTokens") or number_of(usage, "input_tokens")
    return Tokens(read, number_of(usage, "outputTokens") or number_of(usage, "output_tokens"))


def tool(item: Raw) -> Tool:
    """A tool item of either protocol as an event."""
    shown = TOOLS[text_of(item, "type")]
    line = " ".join(shown.detail(item).split())
    return Tool(text_of(item, "id"), shown.name(item), line if len(line) <= DETAIL_CHARS else line[: DETAIL_CHARS - 1] + "…")


def command_words(command: str) -> str:
    """The command itself, without the shell that Codex wraps around it: `/bin/bash -lc 'ls'` is `ls`."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in ("-lc", "-c") else command


def _paths(item: Raw) -> str:
    changes = item.get("changes")
    return ", ".join(text_of(change, "path") for change in changes if isinstance(change, dict)) if isinstance(changes, list) else ""


def _arguments(item: Raw) -> str:
    return next((value for value in map_of(item, "arguments").values() if isinstance(value, str) and value), "")


def _named(name: str) -> Callable[[Raw], str]:
    return lambda item: name


def _field(key: str) -> Callable[[Raw], str]:
    return lambda item: text_of(item, key)


COMMAND = ToolItem(_named("Bash"), lambda item: command_words(text_of(item, "command")))
EDIT = ToolItem(_named("Edit"), _paths)
MCP = ToolItem(lambda item: f"{text_of(item, 'server')}.{text_of(item, 'tool')}", _arguments)
SEARCH = ToolItem(_named("WebSearch"), _field("query"))
TOOLS: Mapping[str, ToolItem] = {
    "commandExecution": COMMAND, "command_execution": COMMAND, "fileChange": EDIT, "file_change": EDIT, "mcpToolCall": MCP,
    "mcp_tool_call": MCP, "webSearch": SEARCH, "web_search": SEARCH, "imageView": ToolItem(_named("View"), _field("path")),
    "dynamicToolCall": ToolItem(_field("tool"), _arguments), "collabAgentToolCall": ToolItem(_named("Agent"), _field("prompt")),
    "imageGeneration": ToolItem(_named("Image"), _field("revisedPrompt")),
}  # fmt: skip


def text_of(raw: Raw, key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def number_of(raw: Raw, key: str) -> int:
    value = raw.get(key)
    return int(value) if isinstance(value, int | float) and 0 <= value < LARGEST else 0


def map_of(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}
