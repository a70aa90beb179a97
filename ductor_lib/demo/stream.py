"""Claude Code's side of the stream-json protocol, as the scripted agent speaks it: one writer, one turn at a time.

Shapes are those of version 2.1.197. Only light standard modules are imported: the program starts for every test.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

PRICE = 0.001  # USD a turn, made up
LONG_TOOL = 3.0  # seconds after which the real one announces a task
LOOK = 0.01  # seconds between two looks at a child or a file


class Interrupted(Exception):
    """The driving program asked to stop the turn. `where` becomes the result's terminal_reason."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


def new_id() -> str:
    """A random UUID of version 4."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


class Stream:
    """What the scripted agent writes, and the state of its process. `turn` is run by the main thread only."""

    def __init__(self, *, session_id: str, model: str, partial: bool, options: Mapping[str, str], folder: Path, quiet: bool) -> None:
        self.session_id = session_id
        self.model = model
        self.partial = partial
        self.options = options
        self.folder = folder
        self.interrupted = threading.Event()
        self.spent = 0.0
        self.failed = False  # the last result was an error
        self.denied: list[dict[str, object]] = []
        self.background: dict[str, int] = {}  # task → process group
        self.on_task_end: Callable[[str, str, str], None] = lambda task, tool, summary: None
        self.take_waiting: Callable[[], list[str]] = list  # the messages that came during a tool
        self.last: bytes | None = b"" if quiet else None  # the last line, when only that one is wanted
        self._words = 0
        self._writing = threading.Lock()

    def emit(self, kind: str, **fields: object) -> None:
        """Write one line. Any thread."""
        self.write(json.dumps({"type": kind, "session_id": self.session_id, "uuid": new_id(), **fields}).encode())

    def write(self, line: bytes) -> None:
        with self._writing:
            if self.last is not None:
                self.last = line
                return
            try:
                sys.stdout.buffer.write(line + b"\n")
                sys.stdout.buffer.flush()
            except BrokenPipeError:  # the driving program is gone: whichever thread sees it first ends all of them
                self.kill_background()
                os._exit(1)

    def wait(self, seconds: float, where: str = "aborted_streaming") -> None:
        """Let time pass; raises Interrupted as soon as the driving program asks."""
        if self.interrupted.wait(seconds) if seconds > 0 else self.interrupted.is_set():
            raise Interrupted(where)

    def begin(self) -> None:
        self._words = 0
        self.denied = []
        tools = ["Bash", "Read", "Write", "Task"]
        mode = self.options.get("--permission-mode", "default")
        self.emit("system", subtype="init", cwd=os.getcwd(), tools=tools, model=self.model, permissionMode=mode, apiKeySource="none")

    def event(self, **event: object) -> None:
        """A raw event of the model's API, in partial mode only."""
        if self.partial:
            self.emit("stream_event", event=event, parent_tool_use_id=None)

    def say(self, pieces: Iterable[str], *, delay: float = 0.0, parent: str | None = None) -> str:
        """One block of text, streamed piece by piece. What was written before an interrupt still arrives as a block."""
        said: list[str] = []
        self.event(type="message_start", message={"id": "msg_" + new_id()[:8]})
        self.event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
        try:
            for piece in pieces:
                self.wait(delay)
                said.append(piece)
                self._words += 1
                self.event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        finally:
            if said:
                self.block({"type": "text", "text": "".join(said)}, parent=parent)
        self.event(type="content_block_stop", index=0)
        return "".join(said)

    def think(self, pieces: Iterable[str], *, delay: float = 0.0) -> None:
        self.event(type="content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
        said = []
        for piece in pieces:
            self.wait(delay)
            said.append(piece)
            self.event(type="content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": piece})
        self.block({"type": "thinking", "thinking": "".join(said), "signature": ""})

    def block(self, block: Mapping[str, object], *, parent: str | None = None, **fields: object) -> None:
        message = {"id": "msg_" + new_id()[:8], "role": "assistant", "model": self.model, "content": [block]}
        self.emit("assistant", message=message, parent_tool_use_id=parent, **fields)

    def tool(self, name: str, given: Mapping[str, object]) -> str:
        """Announce a tool call; returns its id."""
        tool = "toolu_" + new_id()[:8]
        self.block({"type": "tool_use", "id": tool, "name": name, "input": given})
        return tool

    def tool_result(self, tool: str, content: str, *, error: bool = False) -> None:
        block = {"type": "tool_result", "tool_use_id": tool, "content": content, "is_error": error}
        self.emit("user", message={"role": "user", "content": [block]}, parent_tool_use_id=None)

    def run(self, command: str, *, orphan: bool = False) -> str:
        """A Bash tool: really runs, in a session of its own. An interrupt kills it, unless it shall be an `orphan`."""
        tool = self.tool("Bash", {"command": command, "description": "Run a command"})
        child, output = self._spawn(command)
        begun = time.monotonic()
        task = ""
        while child.poll() is None:
            if not task and time.monotonic() - begun > LONG_TOOL:
                task = "b" + new_id()[:8]
                self.emit("system", subtype="task_started", task_id=task, tool_use_id=tool, task_type="local_bash")
            if self.interrupted.wait(LOOK):
                if not orphan:
                    threading.Thread(target=_kill_group, args=(child.pid,), daemon=True).start()
                self.tool_result(tool, "The user doesn't want to proceed with this tool use.", error=True)
                raise Interrupted("aborted_tools")
        if task:
            self.emit("system", subtype="task_notification", task_id=task, tool_use_id=tool, status="completed")
        said = output.read_text(errors="replace").strip()
        self.tool_result(tool, said, error=child.returncode != 0)
        return said

    def run_in_background(self, command: str) -> str:
        """A background task: the tool returns at once, and its end begins a turn later. Returns the task's id."""
        tool = self.tool("Bash", {"command": command, "description": "background", "run_in_background": True})
        child, _ = self._spawn(command)
        task = "b" + new_id()[:8]
        self.background[task] = child.pid
        self.emit("system", subtype="task_started", task_id=task, tool_use_id=tool, description="background", task_type="local_bash")
        self.tool_result(tool, f"Command running in background with ID: {task}.")

        def await_end() -> None:
            code = child.wait()
            self.background.pop(task, None)
            self.on_task_end(task, tool, f'Background command "background" completed (exit code {code})')

        threading.Thread(target=await_end, daemon=True).start()
        return task

    def retry(self, attempt: int, limit: int, *, status: int, error: str) -> None:
        self.emit("system", subtype="api_retry", attempt=attempt, max_retries=limit, retry_delay_ms=1.0, error_status=status, error=error)

    def refuse(self, text: str, *, error: str, status: int | None, reason: str = "completed") -> None:
        """A failure of the model's API, in the shape that looks like a success."""
        message = {"id": new_id(), "role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": text}]}
        self.emit("assistant", message=message, parent_tool_use_id=None, error=error)
        self.result(text, is_error=True, api_error_status=status, terminal_reason=reason)

    def result(self, text: str, *, price: float = 0.0, is_error: bool = False, **fields: object) -> None:
        """End the turn. With an exhausted budget that is an error whatever the text."""
        self.spent += price
        self.failed = is_error
        budget = float(self.options.get("--max-budget-usd", "inf"))
        if self.spent >= budget and price:
            self.failed, fields = True, {"subtype": "error_max_budget_usd", "errors": [f"Reached maximum budget (${budget:g})"]}
        else:
            fields = {"subtype": "success", "result": text, "terminal_reason": "completed", **fields}
        usage = {"input_tokens": 120, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": self._words}
        self.emit("result", is_error=self.failed, total_cost_usd=self.spent, usage=usage, permission_denials=self.denied, **fields)

    def aborted(self, where: str) -> None:
        self.emit("user", message={"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]})
        self.failed = True
        facts = {"subtype": "error_during_execution", "terminal_reason": where, "errors": ["[ede_diagnostic] result_type=user"]}
        self.emit("result", is_error=True, total_cost_usd=self.spent, **facts)

    def kill_background(self) -> None:
        for group in list(self.background.values()):
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)

    def _spawn(self, command: str) -> tuple[subprocess.Popen[bytes], Path]:
        import subprocess  # 10 ms that only a tool needs

        output = self.folder / f"{new_id()}.output"
        with output.open("wb") as file:
            words = ["/bin/sh", "-c", command]
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        return child, output


def _kill_group(group: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(OSError):
            os.killpg(group, number)
        threading.Event().wait(0.5)
