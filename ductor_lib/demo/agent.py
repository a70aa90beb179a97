"""The scripted agent: a program that stands in for `claude`, for the demo and for tests. No model is asked.

It understands the flags ductor uses and speaks the same stream of JSON lines; `scenarios.py` lists the markers that
make it misbehave. Every prompt is appended as a JSON line to `$DUCTOR_DEMO_LOG` when that is set; `at` is the moment it was
read, in monotonic seconds, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ductor_lib.demo.scenarios import crash, play, read
from ductor_lib.demo.stream import PRICE, Interrupted, Stream, new_id

VERSION = "9.9.9 (Claude Code, scripted agent)"
SWITCHES = {"-p", "--print", "--verbose", "--include-partial-messages", "--replay-user-messages", "--dangerously-skip-permissions",
            "--fork-session"}  # fmt: skip
EFFORTS = {"low", "medium", "high", "xhigh", "max"}
MODES = {"default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions"}
LEVELS = ["low", "medium", "high", "xhigh", "max"]
MODELS = [  # what `initialize` lists, in the form of the real one
    {"value": "default", "displayName": "Default (recommended)", "supportsEffort": True, "supportedEffortLevels": LEVELS},
    {"value": "opus", "displayName": "Opus", "supportsEffort": True, "supportedEffortLevels": LEVELS},
    {"value": "opus[1m]", "displayName": "Opus (1M context)", "supportsEffort": True, "supportedEffortLevels": LEVELS[:3]},
    {"value": "sonnet", "displayName": "Sonnet", "supportsEffort": True, "supportedEffortLevels": LEVELS},
    {"value": "haiku", "displayName": "Haiku"},
]
BACKGROUND_SECONDS = 5.0  # what the real one grants background tasks at the end of its input


def main(argv: list[str]) -> int:
    """Run as `claude` would; returns the exit code."""
    if "--version" in argv:
        print(VERSION)
        return 0
    if argv[:2] == ["auth", "status"]:
        signed_in = os.environ.get("DUCTOR_DEMO_SIGNED_OUT") != "1"
        print(json.dumps({"loggedIn": signed_in, "authMethod": "scripted" if signed_in else "none", "apiProvider": "none"}))
        return 0 if signed_in else 1
    try:
        options, prompt = parse(argv)
        session_id, path = open_session(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return Program(argv, options, session_id, path).run(prompt)


def parse(argv: list[str]) -> tuple[dict[str, str], str]:
    """The options by name ("" for a switch), and the prompt after `--` or left over. Raises ValueError as the real one complains."""
    options: dict[str, str] = {}
    left: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            left += words
        elif word in SWITCHES:
            options[word] = ""
        elif word.startswith("--"):
            options[word] = next(words, "")
        else:
            left.append(word)
    if options.get("--output-format") == "stream-json" and "--verbose" not in options:
        raise ValueError("Error: When using --print, --output-format=stream-json requires --verbose")
    if options.get("--permission-mode", "default") not in MODES:
        raise ValueError(f"error: option '--permission-mode <mode>' argument '{options['--permission-mode']}' is invalid.")
    if options.get("--effort", "high") not in EFFORTS:
        print(f"Warning: unknown effort {options['--effort']}", file=sys.stderr)
    return options, " ".join(left)


def open_session(options: dict[str, str]) -> tuple[str, Path]:
    """The session's id and its file, found per working directory like the real ones. Raises ValueError."""
    folder = Path(os.environ.get("HOME") or "/tmp") / ".claude-demo" / os.getcwd().replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    resumed, named = options.get("--resume", ""), options.get("--session-id", "")
    if resumed and not (folder / f"{resumed}.jsonl").exists():
        if options.get("--output-format") == "stream-json":
            told = [f"No conversation found with session ID: {resumed}"]
            raw = {"type": "result", "subtype": "error_during_execution", "is_error": True, "session_id": resumed, "errors": told}
            print(json.dumps({**raw, "total_cost_usd": 0, "usage": {}, "permission_denials": []}), flush=True)
        raise ValueError(f"No conversation found with session ID: {resumed}")
    if named and (folder / f"{named}.jsonl").exists():
        raise ValueError(f"Error: Session ID {named} is already in use.")
    if named and len(named) != len(new_id()):
        raise ValueError("Error: Invalid session ID. Must be a valid UUID.")
    if resumed and "--fork-session" in options:
        copy = named or new_id()
        (folder / f"{copy}.jsonl").write_bytes((folder / f"{resumed}.jsonl").read_bytes())
        return copy, folder / f"{copy}.jsonl"
    session_id = resumed or named or new_id()
    return session_id, folder / f"{session_id}.jsonl"


class Program:
    """One run of the scripted agent. Its main thread plays the turns, one more reads stdin."""

    def __init__(self, argv: list[str], options: dict[str, str], session_id: str, path: Path) -> None:
        self.argv = argv
        self.path = path
        self.options = options
        self.stream = Stream(
            session_id=session_id, model=options.get("--model", "scripted"), partial="--include-partial-messages" in options,
            options=options, folder=path.parent, quiet=options.get("--output-format", "text") != "stream-json",
        )  # fmt: skip
        self.stream.on_task_end = lambda task, tool, summary: self.put((task, tool, summary))
        self.stream.take_waiting = self.take_waiting
        self.work: queue.Queue[dict[str, object] | tuple[str, str, str] | None] = queue.Queue()
        self.lock = threading.Lock()
        self.open = 0  # prompts and task ends that were taken in and are not answered yet
        self.closed = False

    def run(self, prompt: str) -> int:
        signal.signal(signal.SIGTERM, self.terminate)
        if self.options.get("--input-format") != "stream-json":
            return self.once(prompt or sys.stdin.read())
        threading.Thread(target=self.read_stdin, daemon=True).start()
        while True:
            try:
                item = self.work.get(timeout=BACKGROUND_SECONDS if self.closed else None)
            except queue.Empty:
                break
            if item is None:
                self.closed = True
            elif isinstance(item, tuple):
                self.task_turn(*item)
            else:
                self.user_turn([item])
            if self.closed and self.work.empty() and not self.stream.background:
                break
        self.stream.kill_background()
        return 1 if self.stream.failed else 0

    def once(self, prompt: str) -> int:
        """A run with the prompt on argv or a plain stdin, and one answer."""
        self.turn(prompt)
        if self.stream.last is not None:
            raw = json.loads(self.stream.last)
            print(json.dumps(raw) if self.options.get("--output-format") == "json" else raw.get("result", ""))
        return 1 if self.stream.failed else 0

    def put(self, item: dict[str, object] | tuple[str, str, str]) -> None:
        with self.lock:
            self.open += 1
        self.work.put(item)

    def done(self, count: int) -> None:
        """So many prompts are answered; an interrupt that came too late is forgotten."""
        with self.lock:
            self.open -= count
            self.stream.interrupted.clear()

    def read_stdin(self) -> None:
        for line in sys.stdin.buffer:
            try:
                raw = json.loads(line)
            except ValueError:
                print("Error parsing streaming input line", file=sys.stderr, flush=True)
                os._exit(1)
            if raw.get("type") == "user":
                self.put(raw)
            elif raw.get("type") == "control_request":
                self.control(raw)
        self.work.put(None)

    def control(self, raw: dict[str, object]) -> None:
        request = raw.get("request")
        given = request if isinstance(request, dict) else {}
        with self.lock:
            if given.get("subtype") == "interrupt" and self.open:
                self.stream.interrupted.set()
        if given.get("subtype") == "set_model":
            self.stream.model = str(given.get("model"))
        told: dict[str, object] = {"models": MODELS} if given.get("subtype") == "initialize" else {}
        if given.get("subtype") == "cancel_async_message":
            told = {"cancelled": self.withdraw(given.get("message_uuid"))}
        self.stream.emit("control_response", response={"subtype": "success", "request_id": raw.get("request_id"), "response": told})

    def withdraw(self, key: object) -> bool:
        """Forget a message that still waits."""
        with self.work.mutex:
            found = [item for item in self.work.queue if isinstance(item, dict) and item.get("uuid") == key]
            for item in found:
                self.work.queue.remove(item)
        with self.lock:
            self.open -= len(found)
        return bool(found)

    def take_waiting(self) -> list[str]:
        """The messages that came during a tool: the model gets them with the tool's output, as with the real one."""
        with self.work.mutex:
            found = [item for item in self.work.queue if isinstance(item, dict)]
            for item in found:
                self.work.queue.remove(item)
        with self.lock:
            self.open -= len(found)
        for raw in found:
            self.note(_text_of(raw))
        self.replay(found)
        return [_text_of(raw) for raw in found]

    def user_turn(self, messages: list[dict[str, object]]) -> None:
        """All prompts that wait become one turn, as with the real one."""
        with contextlib.suppress(queue.Empty):
            while isinstance(more := self.work.get_nowait(), dict):
                messages.append(more)
            self.work.put(more)
        for message in messages[:-1]:
            self.note(_text_of(message))
        self.turn(_text_of(messages[-1]), messages)
        self.done(len(messages))

    def turn(self, prompt: str, messages: Sequence[dict[str, object]] = ()) -> None:
        self.note(prompt)
        script = read(prompt)
        if script.name == "crash":
            crash(self.stream, script)
        self.stream.begin()
        self.replay(messages)
        try:
            play(self.stream, script)
        except Interrupted as interrupted:
            self.stream.aborted(interrupted.where)

    def replay(self, messages: Sequence[dict[str, object]]) -> None:
        """Say that the model has these messages."""
        for raw in messages if "--replay-user-messages" in self.options else ():
            key = raw.get("uuid") or new_id()
            self.stream.emit("user", message=raw.get("message"), isReplay=True, parent_tool_use_id=None, uuid=key)

    def task_turn(self, task: str, tool: str, summary: str) -> None:
        """The turn that the end of a background task begins by itself; `$DUCTOR_DEMO_TASK_DELAY` makes it slow, in seconds."""
        self.stream.emit("system", subtype="task_updated", task_id=task, patch={"status": "completed"})
        self.stream.emit("system", subtype="task_notification", task_id=task, tool_use_id=tool, status="completed", summary=summary)
        self.stream.begin()
        try:
            said = self.stream.say(["The task is done: ", summary], delay=float(os.environ.get("DUCTOR_DEMO_TASK_DELAY", "0")))
            self.stream.result(said, price=PRICE, origin={"kind": "task-notification"})
        except Interrupted as interrupted:
            self.stream.aborted(interrupted.where)
        self.done(1)

    def note(self, prompt: str) -> None:
        """Remember the prompt in the session's file, and in the log that tests read."""
        fact = {"at": time.monotonic(), "prompt": prompt, "pid": os.getpid()}
        fact |= {"session_id": self.stream.session_id, "model": self.stream.model}
        with self.path.open("a") as file:
            file.write(json.dumps({"prompt": prompt}) + "\n")
        if log := os.environ.get("DUCTOR_DEMO_LOG"):
            with Path(log).open("a") as file:
                file.write(json.dumps({**fact, "argv": self.argv, "cwd": os.getcwd()}) + "\n")

    def terminate(self, number: int, frame: object) -> None:
        """Like the real one: background tasks are killed, a foreground tool runs on."""
        self.stream.kill_background()
        os._exit(143)


def _text_of(message: dict[str, object]) -> str:
    inner = message.get("message")
    content = inner.get("content", "") if isinstance(inner, dict) else ""
    blocks = content if isinstance(content, list) else [{"text": content}]
    return "\n".join(str(block.get("text", "")) for block in blocks if isinstance(block, dict))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
