"""The scripted Codex's `app-server`: threads and turns over JSON lines, many at once, as version 0.169.0 speaks.

`$DUCTOR_DEMO_NO_SERVER` makes it fail as an old version's would: "exit", "refuse", "old" or "silent".
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping

from ductor_lib.demo.codex_stream import Failed, Play, act, dump
from ductor_lib.demo.codex_thread import Thread
from ductor_lib.demo.scenarios import read
from ductor_lib.demo.stream import Interrupted, new_id

MODELS = [
    {"id": "scripted-large", "displayName": "Scripted Large", "isDefault": True, "hidden": False, "defaultReasoningEffort": "medium",
     "supportedReasoningEfforts": [{"reasoningEffort": effort} for effort in ("low", "medium", "high")]},
    {"id": "scripted-small", "displayName": "Scripted Small", "isDefault": False, "hidden": False, "defaultReasoningEffort": "low",
     "supportedReasoningEfforts": [{"reasoningEffort": "low"}]},
]  # fmt: skip
Params = Mapping[str, object]


class Refusal(Exception):
    """A request that is answered with an error."""


class Turn:
    """One turn in the server, in a thread of its own: how it is told, and what it can be asked meanwhile."""

    def __init__(self, server: Server, thread: Thread, prompt: str) -> None:
        self.id = new_id()
        self.thread = thread
        self.prompts = [prompt]
        self.play = Play(self)
        self.steered = False
        self._server = server
        self._decisions: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> None:
        self._server.turns[self.thread.key] = self  # only from now on it can be interrupted, as with the real one
        self.tell("turn/started", turn={"id": self.id, "status": "inProgress"})
        status, error = "completed", None
        while True:
            self.thread.note(self.prompts[-1], self._server.argv)
            self.play.interrupted.clear()
            try:
                act(self.play, read(self.prompts[-1]), variables=self.thread.variables, folder=self.thread.folder)
            except Interrupted:
                if self.steered:
                    self.steered = False
                    continue
                status = "interrupted"
            except Failed as failed:
                status, error = "failed", {"message": failed.words, "codexErrorInfo": failed.info}
                self.tell("error", error=error, willRetry=False)
            break
        self.thread.store()
        self._server.turns.pop(self.thread.key, None)
        self.tell("turn/completed", turn={"id": self.id, "items": [], "status": status, "error": error})

    def tell(self, method: str, **params: object) -> None:
        self._server.emit({"method": method, "params": {"threadId": self.thread.key, "turnId": self.id, **params}})

    def decide(self, decision: str) -> None:
        self._decisions.put(decision)

    def item(self, state: str, item: Params) -> None:
        self.tell(f"item/{state}", item=item)

    def delta(self, item: str, kind: str, text: str) -> None:
        self.tell(f"item/{kind}", itemId=item, delta=text)

    def retry(self, attempt: str, info: object, words: str) -> None:
        error = {"message": f"Reconnecting... {attempt}", "codexErrorInfo": info, "additionalDetails": words}
        self.tell("error", error=error, willRetry=True)

    def usage(self, read: int, written: int) -> None:
        self.thread.read += read
        self.thread.written += written
        last = {"inputTokens": read, "outputTokens": written}
        self.tell("thread/tokenUsage/updated", tokenUsage={"last": last, "total": self.thread.usage()})

    def raw(self, line: bytes) -> None:
        self._server.write(line)

    def approve(self, command: str) -> str:
        asked = {"threadId": self.thread.key, "turnId": self.id, "command": command}
        self._server.ask(self, "item/commandExecution/requestApproval", asked)
        return self._decisions.get(timeout=20)


class Server:
    """`app-server`: one reader of requests, a thread for each running turn, one writer at a time."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.turns: dict[str, Turn] = {}
        self._threads: dict[str, Thread] = {}
        self._plays: dict[str, list[Play]] = {}
        self._asked: list[Turn] = []
        self._writing = threading.Lock()

    def run(self) -> int:
        trouble = os.environ.get("DUCTOR_DEMO_NO_SERVER", "")
        if trouble == "exit":
            print("error: unrecognized subcommand 'app-server'", file=sys.stderr)
            return 2
        for line in sys.stdin.buffer:
            with contextlib.suppress(ValueError):
                request = json.loads(line)
                if trouble == "refuse":
                    self.emit({"id": request.get("id"), "error": {"code": -32600, "message": "too old"}})
                elif trouble == "old" and str(request.get("method")).startswith("thread/"):
                    words = f"Invalid request: unknown variant `{request['method']}`"
                    self.emit({"id": request.get("id"), "error": {"code": -32600, "message": words}})
                elif trouble != "silent":
                    self._serve(request)
        for plays in self._plays.values():
            for play in plays:
                play.clean()
        os._exit(0)

    def emit(self, message: Params) -> None:
        self.write(dump(message))

    def write(self, line: bytes) -> None:
        with self._writing:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()

    def ask(self, turn: Turn, method: str, params: Params) -> None:
        """A request of the server's own; the reply goes to the turn."""
        self._asked.append(turn)
        self.emit({"id": len(self._asked) - 1, "method": method, "params": params})

    def _serve(self, request: Mapping[str, object]) -> None:
        method, params, number = request.get("method"), request.get("params"), request.get("id")
        given = params if isinstance(params, dict) else {}
        if method is None and isinstance(number, int):
            result = request.get("result")
            self._asked[number].decide(str(result.get("decision")) if isinstance(result, dict) else "error")
            return
        if number is None:
            return
        handler = getattr(self, "do_" + str(method).replace("/", "_"), None)
        try:
            if handler is None:
                raise Refusal(f"Invalid request: unknown variant `{method}`")
            result = handler(given)
        except Refusal as refusal:
            self.emit({"id": number, "error": {"code": -32600, "message": str(refusal)}})
            return
        turn = result.pop("begin", None)
        self.emit({"id": number, "result": result})
        if turn is not None:
            threading.Thread(target=turn.run, name="turn", daemon=True).start()

    def do_initialize(self, given: Params) -> dict[str, object]:
        return {"userAgent": "scripted/9.9.9"}

    def do_model_list(self, given: Params) -> dict[str, object]:
        return {"data": MODELS, "nextCursor": None}

    def do_thread_start(self, given: Params) -> dict[str, object]:
        return self._open(new_id(), given)

    def do_thread_resume(self, given: Params) -> dict[str, object]:
        key = str(given.get("threadId"))
        if not Thread.known(key) and key not in self._threads:
            raise Refusal(f"no rollout found for thread id {key}")
        opened = self._open(key, given)
        self.emit({"method": "thread/tokenUsage/updated", "params": {
            "threadId": key, "turnId": "an earlier one", "tokenUsage": {"last": {}, "total": self._threads[key].usage()}}})  # fmt: skip
        return opened

    def do_thread_fork(self, given: Params) -> dict[str, object]:
        key = str(given.get("threadId"))
        if not Thread.known(key):
            raise Refusal(f"no rollout found for thread id {key}")
        return self._open(Thread.copy(key), given)

    def do_thread_unsubscribe(self, given: Params) -> dict[str, object]:
        self._threads.pop(str(given.get("threadId")), None)
        return {"status": "unsubscribed"}

    def do_turn_start(self, given: Params) -> dict[str, object]:
        thread = self._threads.get(str(given.get("threadId")))
        if thread is None:
            raise Refusal(f"thread not found: {given.get('threadId')}")
        turn = Turn(self, thread, text_of(given))
        self._plays.setdefault(thread.key, []).append(turn.play)
        return {"turn": {"id": turn.id, "status": "inProgress"}, "begin": turn}

    def do_turn_steer(self, given: Params) -> dict[str, object]:
        turn = self._running(given)
        turn.prompts.append(text_of(given))
        turn.steered = True
        turn.play.interrupted.set()
        return {"turnId": turn.id}

    def do_turn_interrupt(self, given: Params) -> dict[str, object]:
        self._running(given).play.interrupted.set()
        return {}

    def do_thread_backgroundTerminals_clean(self, given: Params) -> dict[str, object]:  # noqa: N802 – the method's name
        for play in self._plays.pop(str(given.get("threadId")), []):
            play.clean()
        return {}

    def _running(self, given: Params) -> Turn:
        turn = self.turns.get(str(given.get("threadId")))
        if turn is None:
            raise Refusal("no active turn to interrupt")
        return turn

    def _open(self, key: str, given: Params) -> dict[str, object]:
        thread = Thread(key, str(given.get("cwd") or os.getcwd()), model=str(given.get("model") or "scripted-large"))
        config = given.get("config")
        for name, value in config.items() if isinstance(config, dict) else ():
            if name.startswith("shell_environment_policy.set."):
                thread.variables[name.rpartition(".")[2]] = str(value)
        self._threads[key] = thread
        return {"thread": {"id": key, "cwd": thread.folder}, "model": thread.model}


def text_of(given: Params) -> str:
    parts = given.get("input")
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict)) if isinstance(parts, list) else ""
