"""A stand-in for the model behind Codex: the Responses API on loopback, which answers a request the same way each time."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.e2e.script import FAILURES, Piece, Script, pieces

Json = dict[str, Any]  # an object in the API's own terms

CODES = {400: "context_length_exceeded", 401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
PATIENCE = 20.0  # seconds; a bound for what takes milliseconds
USAGE = {
    "input_tokens": 120, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 130,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model, as Codex made it."""

    body: Json

    @property
    def typed(self) -> list[str]:
        """Every text that was written by the person, oldest first; Codex's own begin with a tag."""
        found = [part["text"] for item in self._items("user") for part in item["content"] if part["type"] == "input_text"]
        return [text for text in found if not text.startswith("<")]

    @property
    def instructed(self) -> str:
        """What Codex was told by others than the person."""
        return "\n".join(part["text"] for item in self._items("developer") for part in item["content"] if "text" in part)

    @property
    def tool_output(self) -> str | None:
        """What the tool said that ran after the last text, None when none did."""
        for item in reversed(self.body["input"]):
            if str(item.get("type", "")).endswith("_call_output"):
                said = item.get("output", "")
                return said if isinstance(said, str) else json.dumps(said)
            if item.get("role") == "user":
                return None
        return None

    def _items(self, role: str) -> list[Json]:
        return [item for item in self.body["input"] if item.get("role") == role]


class ResponsesStub:
    """A context manager; `url` is the provider's base_url, `calls` what was asked, in order. Any thread."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._changed = threading.Condition()
        self._opened: set[str] = set()
        self._failed: Counter[str] = Counter()
        self._closing = False
        self._numbers = itertools.count(1)
        self._server = Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="responses stub", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ResponsesStub:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def open(self, gate: str) -> None:
        """Let answers that wait at the gate go on; later ones find it open."""
        with self._changed:
            self._opened.add(gate)
            self._changed.notify_all()

    def answer(self, body: Json) -> tuple[int, Json | Iterator[Json]]:
        """The HTTP status and the JSON of an error for one call, or the events of a stream."""
        call = Call(body)
        prompt = call.typed[-1] if call.typed else ""
        script = Script.of(prompt)
        with self._changed:
            self.calls.append(call)
            self._failed[prompt] += 1
            again = self._failed[prompt] > int(script.options.get("times", 0)) > 0
            number = next(self._numbers)
        if script.name in FAILURES and not again:
            status, kind, words = FAILURES[script.name]
            return status, {"error": {"type": kind, "code": CODES.get(status, "server_error"), "message": words, "param": None}}
        return 200, self._stream(number, pieces(script, call.tool_output), body)

    def _stream(self, number: int, answer: Sequence[Piece], body: Json) -> Iterator[Json]:
        """The events of a streamed response: its pieces in items of one kind. Ends early at a break, or at the end of the stub."""
        response: Json = {"id": f"resp_{number:06}", "object": "response", "created_at": 0, "model": body.get("model"), "output": []}
        output: list[Json] = []
        yield {"type": "response.created", "response": {**response, "status": "in_progress"}}
        for kind, run in itertools.groupby(self._passed(answer), key=lambda piece: piece.kind):
            item_id, index = f"{kind}_{number:06}_{len(output)}", len(output)
            said: list[str] = []
            for piece in run:
                if kind == "break":
                    return
                if not said and kind != "tool":
                    yield {"type": "response.output_item.added", "output_index": index, "item": item(kind, item_id, "")}
                said.append(piece.value)
                if kind != "tool":
                    yield delta(kind, item_id, index, piece.value)
            output.append(item(kind, item_id, "".join(said)))
            yield {"type": "response.output_item.done", "output_index": index, "item": output[-1]}
        yield {"type": "response.completed", "response": {**response, "status": "completed", "output": output, "usage": USAGE}}

    def _passed(self, answer: Sequence[Piece]) -> Iterator[Piece]:
        for piece in answer:
            if piece.kind != "gate":
                yield piece
            elif not self._pass(piece.value):
                yield Piece("break")

    def _pass(self, gate: str) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: gate in self._opened or self._closing)
            return not self._closing


def item(kind: str, item_id: str, said: str) -> Json:
    """An item of the output. A tool's `said` is the script's JSON, of which Codex's own tool takes the command."""
    if kind == "tool":
        arguments = json.dumps({"cmd": json.loads(said)["command"]})
        return {"type": "function_call", "id": item_id, "call_id": f"call_{item_id}", "name": "exec_command", "arguments": arguments}
    if kind == "thinking":
        summary = [{"type": "summary_text", "text": said}] if said else []
        return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": "c2lnbmVk"}
    content = [{"type": "output_text", "text": said, "annotations": []}] if said else []
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed" if said else "in_progress", "content": content}


def delta(kind: str, item_id: str, index: int, words: str) -> Json:
    place = {"item_id": item_id, "output_index": index, "delta": words}
    if kind == "thinking":
        return {"type": "response.reasoning_summary_text.delta", "summary_index": 0, **place}
    return {"type": "response.output_text.delta", "content_index": 0, **place}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stub: ResponsesStub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stub = stub


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._reply(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/responses":
            self._reply(404, {"error": {"message": "no such path"}})
            return
        status, answer = self.server.stub.answer(body)
        if isinstance(answer, dict):
            self._reply(status, answer)
            return
        self.send_response(status)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for event in answer:
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        except OSError:
            return  # Codex was interrupted or killed

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test says what it looks for."""

    def _reply(self, status: int, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
