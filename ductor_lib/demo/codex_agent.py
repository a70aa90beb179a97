"""The scripted Codex: a program that stands in for `codex`, for the demo and for tests. No model is asked.

It understands `app-server`, `exec --json`, `login status` and `--version` as ductor uses them; `codex_stream.py` lists
what it does. Every prompt is appended as a JSON line to `$DUCTOR_DEMO_LOG` when that is set.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from ductor_lib.demo.codex_app_server import Server
from ductor_lib.demo.codex_stream import Failed, Play, act, dump
from ductor_lib.demo.codex_thread import Thread
from ductor_lib.demo.scenarios import read
from ductor_lib.demo.stream import Interrupted, new_id

VERSION = "codex-cli 9.9.9"
SNAKE = {"agentMessage": "agent_message", "commandExecution": "command_execution", "fileChange": "file_change"}
Params = Mapping[str, object]


def main(argv: list[str]) -> int:
    """Run as `codex` would; returns the exit code."""
    if "--version" in argv:
        print(VERSION)
        return 0
    if argv[:2] == ["login", "status"]:
        signed_out = os.environ.get("DUCTOR_DEMO_SIGNED_OUT") == "1"
        print("Not logged in" if signed_out else "API key configured - scripted", file=sys.stderr)
        return 1 if signed_out else 0
    if "app-server" in argv:
        return Server(argv).run()
    if "exec" in argv:
        return run_once(argv)
    print(f"error: unrecognized arguments {argv}", file=sys.stderr)
    return 2


class Lines:
    """How `exec --json` tells a turn: whole messages, and numbered items."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._numbers: dict[object, str] = {}

    def emit(self, kind: str, **fields: object) -> None:
        self.raw(dump({"type": kind, **fields}))

    def item(self, state: str, item: Params) -> None:
        kind = str(item["type"])
        if (kind in ("agentMessage", "reasoning") and state == "started") or kind == "contextCompaction":
            return
        key = self._numbers.setdefault(item["id"], f"item_{len(self._numbers)}")
        told = {name: value for name, value in item.items() if name not in ("aggregatedOutput", "exitCode", "summary")}
        told |= {"text": "".join(map(str, summary))} if isinstance(summary := item.get("summary"), list) else {}
        status = "in_progress" if item.get("status") == "inProgress" else item.get("status")
        self.emit(f"item.{state}", item={**told, "id": key, "type": SNAKE.get(kind, kind), "status": status})

    def delta(self, item: str, kind: str, text: str) -> None:
        """Not told here."""

    def retry(self, attempt: str, info: object, words: str) -> None:
        self.emit("error", message=f"Reconnecting... {attempt} ({words})")

    def usage(self, read: int, written: int) -> None:
        self._thread.read += read
        self._thread.written += written

    def raw(self, line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def approve(self, command: str) -> str:
        return "decline"


def run_once(argv: list[str]) -> int:
    """`exec --json`: one turn; the prompt is all of stdin."""
    resume = "resume" in argv
    key = argv[-2] if resume else new_id()
    if "fork" in argv and Thread.known(argv[-2]):
        key = Thread.copy(argv[-2])
    if resume and not Thread.known(key):
        print(f"Error: thread/resume: no rollout found for thread id {key} (code -32600)", file=sys.stderr)
        return 1
    model = argv[argv.index("-m") + 1] if "-m" in argv else "scripted-large"
    thread = Thread(key, os.getcwd(), model=model)
    lines = Lines(thread)
    play = Play(lines)
    signal.signal(signal.SIGINT, lambda number, frame: play.interrupted.set())
    prompt = sys.stdin.read()
    lines.emit("thread.started", thread_id=key)
    lines.emit("turn.started")
    thread.note(prompt, argv)
    try:
        act(play, read(prompt), variables={}, folder=os.getcwd())
    except Interrupted:
        play.clean()
        return 1
    except Failed as failed:
        lines.emit("error", message=failed.words)
        lines.emit("turn.failed", error={"message": failed.words})
        return 1
    thread.store()
    lines.emit("turn.completed", usage={"input_tokens": thread.read, "output_tokens": thread.written})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
