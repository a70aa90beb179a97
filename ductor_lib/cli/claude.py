"""Claude Code's command line and its stream of JSON lines, as pure functions; measured with version 2.1.197.

What the program does not know it skips and counts, so that a newer CLI is never fatal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Status, Text, Thinking, Tool, ToolDone
from ductor_lib.ports import TurnRequest

Raw = Mapping[str, object]

PROMPT_BYTES = 9_000_000  # the CLI refuses more than 10 MB on stdin
INSTRUCTION_BYTES = 100_000  # Linux: one argument has at most 131,072 bytes
CUT_NOTE = "\n\n(The instructions were too long and end here.)"
UNWANTED = (  # what they plan dies with the process, or they move it to another folder; scheduling is ours
    "CronCreate", "CronDelete", "CronList", "ScheduleWakeup", "EnterWorktree", "ExitWorktree",
)  # fmt: skip
CAREFUL_MODES = ("acceptEdits", "dontAsk")  # in which nobody is asked, and what is not allowed is refused
OWN_COMMAND = "Bash(ductor:*)"  # with pipes, but no other command beside it
STREAMING = (
    "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
    "--include-partial-messages", "--replay-user-messages",
)  # fmt: skip
DETAILS = {
    "Bash": "command", "Read": "file_path", "Write": "file_path", "Edit": "file_path", "NotebookEdit": "notebook_path",
    "Grep": "pattern", "Glob": "pattern", "WebFetch": "url", "WebSearch": "query", "Task": "description",
    "Agent": "description", "Skill": "skill",
}  # fmt: skip
DETAIL_CHARS = 200
LARGEST = 1e15  # no number of the stream is larger; JSON also knows NaN and Infinity
TEXT_KEPT = 1_000_000  # characters of a block that is still being written, for a turn that ends in its middle
SILENT = {"thinking_tokens", "task_started", "task_updated", "task_notification", "compact_boundary", "hook_started", "hook_response"}
OTHER = {"control_response", "control_request", "control_cancel_request", "keep_alive", "tool_progress", "rate_limit_event"}

SUBTYPES: dict[str, ErrorKind] = {"error_max_turns": "max_turns", "error_max_budget_usd": "budget"}
REASONS: dict[str, ErrorKind] = {"max_turns": "max_turns", "prompt_too_long": "context_full"}
STATUSES: dict[int, ErrorKind] = {
    401: "not_signed_in", 403: "not_signed_in", 404: "unknown_model", 413: "context_full", 429: "rate_limited", 529: "overloaded",
}  # fmt: skip
FIELDS: dict[str, ErrorKind] = {
    "authentication_failed": "not_signed_in", "oauth_org_not_allowed": "not_signed_in", "rate_limit": "rate_limited",
    "model_not_found": "unknown_model", "overloaded": "overloaded", "server_error": "overloaded",
}  # fmt: skip
WORDS: tuple[tuple[str, ErrorKind], ...] = (
    (r"no conversation found", "unknown_session"),
    (r"not logged in|/login|invalid api key|oauth token", "not_signed_in"),
    (r"unable to connect|connection (error|refused)|econnrefused|enotfound|request timed out|fetch failed", "unreachable"),
    (r"prompt is too long|context window", "context_full"),
    (r"usage limit|limit reached|hit your .{0,20}limit", "rate_limited"),
    (r"overloaded|at capacity", "overloaded"),
)


def argv(command: Sequence[str], request: TurnRequest, *, resume: bool, instructions: Path) -> list[str]:
    """The command line of a process for this request's conversation; neither the prompt nor what the agent remembers is on it.

    `instructions` is the file that holds `system_prompt(request)`.
    """
    settings = {
        "--model": request.model,
        "--effort": request.effort,
        "--permission-mode": request.permission_mode,
        "--max-turns": str(request.max_turns) if request.max_turns > 0 else "",
        "--max-budget-usd": f"{request.max_budget_usd:g}" if request.max_budget_usd > 0 else "",  # 0 crashes the CLI
        "--append-system-prompt-file": str(instructions) if system_prompt(request) else "",
        "--disallowedTools": ",".join(UNWANTED),
        "--session-id": "" if resume else request.session_id,
        "--resume": request.session_id if resume else request.fork_of,
    }
    given = [word for name, value in settings.items() if value for word in (name, value)]
    allowed = ["--allowedTools", OWN_COMMAND] if request.permission_mode in CAREFUL_MODES else []
    copy = ["--fork-session"] if request.fork_of and not resume else []
    folders = [word for folder in request.writable for word in ("--add-dir", str(folder))]
    return [*command, *STREAMING, *given, *allowed, *copy, *folders, *request.parameters]


def system_prompt(request: TurnRequest) -> str:
    """What is appended to Claude Code's own system prompt."""
    return "\n\n".join(filter(None, (shorten(request.instructions), request.memory)))


def shorten(instructions: str, limit: int = INSTRUCTION_BYTES) -> str:
    """The instructions, cut at `limit` bytes of UTF-8 with a note that says so."""
    data = instructions.encode("utf-8", "replace")
    return instructions if len(data) <= limit else data[:limit].decode("utf-8", "ignore") + CUT_NOTE


def prompt_line(prompt: str, key: str) -> bytes:
    """The prompt as a line for stdin. A leading "/" would be a command of the CLI: one space makes it text.

    `key` (a UUID) comes back when the model has got the prompt, on a `user` line with `isReplay`.
    """
    text = " " + prompt if prompt.startswith("/") else prompt
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    return _line({"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "", "uuid": key})


def interrupt_line(key: str) -> bytes:
    """The request to end the running turn, harmless when none runs."""
    return _line({"type": "control_request", "request_id": key, "request": {"subtype": "interrupt"}})


def withdraw_line(key: str) -> bytes:
    """The request to forget the message `key` if the model has not got it yet; see `withdrawn`."""
    return _line({"type": "control_request", "request_id": key, "request": {"subtype": "cancel_async_message", "message_uuid": key}})


def withdrawn(raw: Raw) -> str:
    """The key of a message that this line says is forgotten, "" when it says nothing of the kind."""
    response = _map(raw, "response")
    return _text(response, "request_id") if _map(response, "response").get("cancelled") is True else ""


def parse(line: bytes) -> Raw | None:
    """One line of the stream; None when it is not a JSON object."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def failure(text: str, *, subtype: str = "", reason: str = "", status: int = 0, field: str = "") -> ErrorKind:
    """Which kind of failure the provider means, from the most telling sign to the least; `refused` when nothing is known."""
    if kind := SUBTYPES.get(subtype) or REASONS.get(reason):
        return kind
    for pattern, meant in WORDS:
        if re.search(pattern, text, re.IGNORECASE):
            return meant
    return STATUSES.get(status) or ("overloaded" if status >= 500 else None) or FIELDS.get(field) or "refused"


class TurnParser:
    """Raw lines of one turn in, events out. Ends with a Finished when the turn's `result` was fed.

    `spent` is the process's running sum of USD before the turn; afterwards `spent` is the new sum.
    """

    def __init__(self, *, session_id: str, spent: float = 0.0) -> None:
        self.session_id = session_id
        self.spent = spent
        self._newest: list[str] = []  # the newest block of text of the main agent, in parts
        self._streamed = 0  # characters of that block which were sent as deltas
        self.started = False
        self.tools: dict[str, str] = {}  # open now: id → name
        self.tool_began = False
        self.not_signed_in = False
        self.by_itself = False  # the CLI began this turn, not a prompt
        self.unknown = 0
        self._thought = False
        self._field = ""

    @property
    def text(self) -> str:
        """The newest block of text, as far as it was written."""
        return "".join(self._newest)

    def feed(self, raw: Raw) -> list[Event]:
        """The events of one raw line, none for what is of no interest."""
        if raw.get("parent_tool_use_id"):
            return []  # a sub-agent's own talk
        handler = HANDLERS.get(_text(raw, "type"))
        if handler is not None:
            return handler(self, raw)
        self.unknown += _text(raw, "type") not in OTHER
        return []

    def _system(self, raw: Raw) -> list[Event]:
        subtype = _text(raw, "subtype")
        if subtype == "init" and not self.started:
            self.started = True
            self.session_id = _text(raw, "session_id") or self.session_id
            return [Started(self.session_id, _text(raw, "model"))]
        if subtype == "api_retry":
            self.not_signed_in = _text(raw, "error") == "authentication_failed"
            words = _text(raw, "error").replace("_", " ").replace("unknown", "") or "no connection"
            return [Status(f"retrying {_number(raw, 'attempt'):.0f}/{_number(raw, 'max_retries'):.0f} ({words})")]
        if subtype == "status":
            return [Status("compacting")] if raw.get("status") == "compacting" else []
        self.unknown += subtype not in SILENT and subtype != "init"
        return []

    def _stream_event(self, raw: Raw) -> list[Event]:
        event = _map(raw, "event")
        if _text(event, "type") == "content_block_start":
            return self._block_start(_text(_map(event, "content_block"), "type"))
        delta = _map(event, "delta")
        if text := _text(delta, "text"):
            if self._streamed < TEXT_KEPT:
                self._newest.append(text)
            self._streamed += len(text)
            return [Text(text)]
        if thought := _text(delta, "thinking"):
            return [Thinking(thought)]
        return []

    def _block_start(self, kind: str) -> list[Event]:
        if kind == "thinking":
            self._thought = True
            return [Thinking("")]
        if kind == "text":
            self._newest, self._streamed = [], 0
        return []

    def _assistant(self, raw: Raw) -> list[Event]:
        if field := _text(raw, "error"):
            self._field = field
            return []  # the provider's words for a failure are no answer; the result repeats them
        synthetic = _text(_map(raw, "message"), "model") == "<synthetic>"
        events: list[Event] = []
        for block in _maps(_map(raw, "message").get("content")):
            events += self._block(block, synthetic=synthetic)
        return events

    def _block(self, block: Raw, *, synthetic: bool) -> list[Event]:
        kind = _text(block, "type")
        if kind == "text":
            whole = _text(block, "text")
            if synthetic and whole == "(no content)":
                return []
            rest = whole[self._streamed :]
            self._newest, self._streamed = [whole], 0
            return [Text(rest)] if rest else []
        if kind == "thinking":
            streamed_thought, self._thought = self._thought, False
            return [] if streamed_thought else [Thinking(_text(block, "thinking"))]
        if kind == "tool_use":
            name = _text(block, "name")
            self.tools[_text(block, "id")] = name
            self.tool_began = True
            return [Tool(_text(block, "id"), name, tool_detail(name, _map(block, "input")))]
        return []

    def _user(self, raw: Raw) -> list[Event]:
        events: list[Event] = []
        for block in _maps(_map(raw, "message").get("content")):
            if self.tools.pop(_text(block, "tool_use_id"), None) is not None:
                events.append(ToolDone(_text(block, "tool_use_id"), block.get("is_error") is not True))
        return events

    def _result(self, raw: Raw) -> list[Event]:
        self.session_id = _text(raw, "session_id") or self.session_id  # /clear changes it
        self.by_itself = _text(_map(raw, "origin"), "kind") == "task-notification"
        usage = _map(raw, "usage")
        before, self.spent = self.spent, _number(raw, "total_cost_usd")
        said = _text(raw, "result") or "\n".join(str(error) for error in _list(raw.get("errors")))
        error = self._failure(raw, said) if raw.get("is_error") else None
        return [
            Finished(
                text=self.text if error else _text(raw, "result") or self.text,
                session_id=self.session_id,
                outcome="done" if error is None else "stopped" if error == "stopped" else "failed",
                error=error,
                detail="" if error in (None, "stopped") else said,
                cost=max(0.0, self.spent - before),
                tokens_in=sum(int(_number(usage, f"{kind}input_tokens")) for kind in ("", "cache_creation_", "cache_read_")),
                tokens_out=int(_number(usage, "output_tokens")),
                denied=tuple(dict.fromkeys(_text(denial, "tool_name") for denial in _maps(raw.get("permission_denials")))),
            )
        ]

    def _failure(self, raw: Raw, said: str) -> ErrorKind:
        reason = _text(raw, "terminal_reason")
        if reason.startswith("aborted_"):
            return "stopped"
        status = int(_number(raw, "api_error_status"))
        return failure(said, subtype=_text(raw, "subtype"), reason=reason, status=status, field=self._field)


HANDLERS: dict[str, Callable[[TurnParser, Raw], list[Event]]] = {
    "system": TurnParser._system,
    "stream_event": TurnParser._stream_event,
    "assistant": TurnParser._assistant,
    "user": TurnParser._user,
    "result": TurnParser._result,
}


def tool_detail(name: str, given: Raw) -> str:
    """One line for a person about what a tool is asked to do."""
    value = _text(given, DETAILS.get(name, "")) or next((v for v in given.values() if isinstance(v, str) and v), "")
    line = " ".join(value.split())
    return line if len(line) <= DETAIL_CHARS else line[: DETAIL_CHARS - 1] + "…"


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode()  # ASCII: a lone surrogate must not break the pipe


def _text(raw: Raw, key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def _number(raw: Raw, key: str) -> float:
    value = raw.get(key)
    return float(value) if isinstance(value, int | float) and abs(value) < LARGEST else 0.0


def _map(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else []


def _maps(value: object) -> list[Raw]:
    return [item for item in _list(value) if isinstance(item, dict)]
