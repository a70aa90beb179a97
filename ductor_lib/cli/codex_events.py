"""What Codex says, as events: notifications of its server and lines of `exec --json`; measured with version 0.169.0.

Pure: raw messages in, events out. What the program does not know it skips and counts.
"""

from __future__ import annotations

from collections.abc import Callable

from ductor_lib.cli.claude import Raw
from ductor_lib.cli.codex_items import TOOLS, Answer, Tokens, failure, map_of, number_of, retry, text_of, tokens, tool
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Status, Thinking, Tool, ToolDone

RETRY_WORDS = "Reconnecting..."
NOTHING = Tokens()
SILENT_LINES = {"turn.started", "item.updated"}
OK_STATES = ("completed", "inProgress", "in_progress", "")
SILENT = {
    "thread/started", "thread/status/changed", "thread/readState/changed", "thread/goal/cleared", "thread/goal/updated",
    "thread/name/updated", "thread/settings/updated", "thread/closed", "turn/started", "turn/diff/updated", "turn/plan/updated",
    "turn/moderationMetadata",
    "item/commandExecution/outputDelta", "item/commandExecution/terminalInteraction", "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated", "item/mcpToolCall/progress", "item/plan/delta", "serverRequest/resolved", "warning", "guardianWarning",
    "deprecationNotice", "model/rerouted", "model/verification", "model/safetyBuffering/updated", "hook/started", "hook/completed",
    "thread/compacted", "thread/queue/changed", "thread/prediction/updated", "thread/environment/connected",
}  # fmt: skip


class TurnParser:
    """Notifications about one thread in, events of one turn out. Ends with a Finished when the turn is completed.

    `spent` is the thread's sum of tokens before the turn, when it is known. Set `turn` as soon as the turn's id is
    known: until then everything counts as left over from an earlier turn.
    """

    def __init__(self, *, session_id: str, spent: Tokens | None) -> None:
        self.session_id = session_id
        self.turn = ""
        self.spent = spent
        self.active = False  # the server works on the turn, so that it can be interrupted
        self.tools: set[str] = set()  # that the model waits for
        self.tool_began = False
        self.retrying: ErrorKind | None = None  # the last sign was a failed call of the model, for this reason
        self.unknown = 0
        self._before = spent
        self._last = Tokens()  # the sum of the turn's calls, where the sum before the turn is not known
        self._open: set[str] = set()
        self._answer = Answer()
        self._denied: list[str] = []
        self._failure: Raw = {}
        self._over = False

    @property
    def text(self) -> str:
        """The newest message, as far as it was written."""
        return self._answer.text

    def feed(self, raw: Raw) -> list[Event]:
        """The events of one notification, none for what is of no interest."""
        method, params = text_of(raw, "method"), map_of(raw, "params")
        turn = text_of(params, "turnId") or text_of(map_of(params, "turn"), "id")
        if self._over:
            return []  # a command that is ended after its turn
        if turn and turn != self.turn:
            self._earlier(method, params)
            return []
        handler = HANDLERS.get(method)
        if handler is None:
            self.active = self.active or method == "turn/started"
            self.unknown += method not in SILENT
            return []
        self.active = True
        if method != "error":
            self.retrying = None
        return handler(self, params)

    def finished(self, *, error: ErrorKind | None, detail: str = "") -> Finished:
        """The end of the turn as far as it is known; `error` None is a whole answer."""
        spent = self._last if self._before is None or self.spent is None else self.spent.since(self._before)
        return Finished(
            text=self.text, session_id=self.session_id, error=error, detail=detail, tokens_in=spent.read, tokens_out=spent.written,
            outcome="done" if error is None else "stopped" if error == "stopped" else "failed", denied=tuple(dict.fromkeys(self._denied)),
        )  # fmt: skip

    def _earlier(self, method: str, params: Raw) -> None:
        """Something of an earlier turn; a resumed thread tells its sum of tokens that way."""
        if method == "thread/tokenUsage/updated":
            self.spent = self._before = tokens(map_of(map_of(params, "tokenUsage"), "total"))

    def _item_started(self, params: Raw) -> list[Event]:
        item = map_of(params, "item")
        kind = text_of(item, "type")
        if kind in ("agentMessage", "reasoning"):
            self.tools.clear()  # the model goes on: a command that is still open was handed back to it as running
        if kind == "reasoning":
            return [Thinking("")]
        if kind == "contextCompaction":
            return [Status("compacting")]
        if kind not in TOOLS or text_of(item, "id") in self._open:
            return []
        self._open.add(text_of(item, "id"))
        self.tools.add(text_of(item, "id"))
        return [self._tool(item)]

    def _item_completed(self, params: Raw) -> list[Event]:
        item = map_of(params, "item")
        kind, key = text_of(item, "type"), text_of(item, "id")
        if kind == "agentMessage":
            return self._answer.whole(key, text_of(item, "text"))
        if kind not in TOOLS:
            return []
        events: list[Event] = [] if key in self._open else [self._tool(item)]
        self._open.discard(key)
        self.tools.discard(key)
        if text_of(item, "status") == "declined":
            self._denied.append(TOOLS[kind].name(item))
        return [*events, ToolDone(key, text_of(item, "status") in OK_STATES)]

    def _tool(self, item: Raw) -> Tool:
        self.tool_began = True
        self._answer.tool()
        return tool(item)

    def _delta(self, params: Raw) -> list[Event]:
        return self._answer.delta(text_of(params, "itemId"), text_of(params, "delta"))

    def _thought(self, params: Raw) -> list[Event]:
        return [Thinking(text_of(params, "delta"))]

    def _next_thought(self, params: Raw) -> list[Event]:
        return [Thinking("\n\n")] if number_of(params, "summaryIndex") else []

    def _usage(self, params: Raw) -> list[Event]:
        usage = map_of(params, "tokenUsage")
        last, total = tokens(map_of(usage, "last")), tokens(map_of(usage, "total"))
        self._last = Tokens(self._last.read + last.read, self._last.written + last.written)
        if total.read or total.written:  # a full context is told with sums of zero
            self.spent = total
        return []

    def _error(self, params: Raw) -> list[Event]:
        error = map_of(params, "error")
        if params.get("willRetry") is not True:
            self._failure = error
            return []
        kind = failure(text_of(error, "additionalDetails") or text_of(error, "message"), info=error.get("codexErrorInfo"))
        self.retrying = kind
        return [retry(text_of(error, "message"), kind)]

    def _completed(self, params: Raw) -> list[Event]:
        turn = map_of(params, "turn")
        status = text_of(turn, "status")
        self._over = True
        if status == "interrupted":
            return [self.finished(error="stopped")]
        if status == "completed":
            return [self.finished(error=None)]
        error = map_of(turn, "error") or self._failure
        words = text_of(error, "message")
        return [self.finished(error=failure(words, info=error.get("codexErrorInfo")), detail=words)]


HANDLERS: dict[str, Callable[[TurnParser, Raw], list[Event]]] = {
    "item/started": TurnParser._item_started,
    "item/completed": TurnParser._item_completed,
    "item/agentMessage/delta": TurnParser._delta,
    "item/reasoning/summaryTextDelta": TurnParser._thought,
    "item/reasoning/textDelta": TurnParser._thought,
    "item/reasoning/summaryPartAdded": TurnParser._next_thought,
    "thread/tokenUsage/updated": TurnParser._usage,
    "error": TurnParser._error,
    "turn/completed": TurnParser._completed,
}


class ExecParser:
    """Lines of one `codex exec --json` in, events out. Ends with a Finished when the turn has ended by itself.

    `model` is what was asked for: exec does not say. `spent` is the thread's sum of tokens before the turn; where it is
    not known (None) the turn's own share cannot be told, and counts as nothing.
    """

    def __init__(self, *, session_id: str, model: str, spent: Tokens | None) -> None:
        self.session_id = session_id
        self.spent = spent
        self.started = False
        self.tools: set[str] = set()  # that the model waits for
        self.tool_began = False
        self.retrying: ErrorKind | None = None  # the last line was a failed call of the model, for this reason
        self.unknown = 0
        self._model = model
        self._open: set[str] = set()
        self._answer = Answer()

    @property
    def text(self) -> str:
        """The newest message."""
        return self._answer.text

    def feed(self, raw: Raw) -> list[Event]:
        """The events of one line, none for what is of no interest."""
        kind = text_of(raw, "type")
        handler = LINES.get(kind)
        if handler is None:
            self.unknown += kind not in SILENT_LINES
            return []
        if kind != "error":
            self.retrying = None
        return handler(self, raw)

    def finished(self, *, error: ErrorKind | None, detail: str = "", spent: Tokens = NOTHING) -> Finished:
        """The end of the turn as far as it is known; `error` None is a whole answer."""
        return Finished(
            text=self.text, session_id=self.session_id, error=error, detail=detail, tokens_in=spent.read, tokens_out=spent.written,
            outcome="done" if error is None else "stopped" if error == "stopped" else "failed",
        )  # fmt: skip

    def _thread(self, raw: Raw) -> list[Event]:
        if self.started:
            return []
        self.started = True
        self.session_id = text_of(raw, "thread_id") or self.session_id
        return [Started(self.session_id, self._model)]

    def _item_started(self, raw: Raw) -> list[Event]:
        item = map_of(raw, "item")
        key = text_of(item, "id")
        if text_of(item, "type") not in TOOLS or key in self._open:
            return []
        self._open.add(key)
        self.tools.add(key)
        self.tool_began = True
        self._answer.tool()
        return [tool(item)]

    def _item_completed(self, raw: Raw) -> list[Event]:
        item = map_of(raw, "item")
        kind, key = text_of(item, "type"), text_of(item, "id")
        if kind in ("agent_message", "reasoning"):
            self.tools.clear()  # the model goes on: a command that is still open was handed back to it as running
        if kind == "agent_message":
            return self._answer.whole(key, text_of(item, "text"))
        if kind == "reasoning":
            return [Thinking(text_of(item, "text"))]
        if kind not in TOOLS:
            return []
        begun = self._item_started(raw)
        self._open.discard(key)
        self.tools.discard(key)
        return [*begun, ToolDone(key, text_of(item, "status") in OK_STATES)]

    def _error(self, raw: Raw) -> list[Event]:
        words = text_of(raw, "message")
        if not words.startswith(RETRY_WORDS):
            return []  # the turn's end repeats it
        self.retrying = failure(words)
        return [retry(words, self.retrying)]

    def _failed(self, raw: Raw) -> list[Event]:
        words = text_of(map_of(raw, "error"), "message")
        return [self.finished(error=failure(words), detail=words)]

    def _completed(self, raw: Raw) -> list[Event]:
        before, self.spent = self.spent, tokens(map_of(raw, "usage"))
        return [self.finished(error=None, spent=NOTHING if before is None else self.spent.since(before))]


LINES: dict[str, Callable[[ExecParser, Raw], list[Event]]] = {
    "thread.started": ExecParser._thread,
    "item.started": ExecParser._item_started,
    "item.completed": ExecParser._item_completed,
    "error": ExecParser._error,
    "turn.failed": ExecParser._failed,
    "turn.completed": ExecParser._completed,
}
