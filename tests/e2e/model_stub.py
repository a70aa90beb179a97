"""A stand-in for the model behind Claude Code: the Messages API on loopback, which answers a request the same way each time."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.e2e.script import FAILURES, Piece, Script, pieces

Json = dict[str, Any]  # an object in the API's own terms

ASIDE = "<system-reminder>"  # how a text of the CLI's own begins
PATIENCE = 20.0  # seconds; a bound for what takes milliseconds


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the model, as the CLI made it."""

    body: Json

    @property
    def session_id(self) -> str:
        """The session that the CLI names in its metadata."""
        return str(json.loads(self.body["metadata"]["user_id"])["session_id"])

    @property
    def typed(self) -> list[str]:
        """Every text that was written by the person or for the CLI, oldest first."""
        return [block["text"] for block in self._blocks("user") if block["type"] == "text" and not block["text"].startswith(ASIDE)]

    @property
    def answered(self) -> list[str]:
        """Every text that the model is said to have written, oldest first."""
        return [block["text"] for block in self._blocks("assistant") if block["type"] == "text"]

    @property
    def tool_output(self) -> str | None:
        """What the tool said that ran after the last text, None when none did."""
        for block in reversed(self._blocks("user")):
            if block["type"] == "text" and not block["text"].startswith(ASIDE):
                return None
            if block["type"] == "tool_result":
                said = block.get("content", "")
                return said if isinstance(said, str) else " ".join(part.get("text", "") for part in said)
        return None

    def _blocks(self, role: str) -> list[Json]:
        contents = [message["content"] for message in self.body["messages"] if message["role"] == role]
        return [block for content in contents for block in ([{"type": "text", "text": content}] if isinstance(content, str) else content)]


class ModelStub:
    """A context manager; `url` is the ANTHROPIC_BASE_URL, `requests` what was asked, in order. Any thread."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._changed = threading.Condition()
        self._opened: set[str] = set()
        self._failed: Counter[str] = Counter()
        self._closing = False
        self._numbers = itertools.count(1)
        self._server = Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="model stub", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ModelStub:
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

    def wait(self, words: str) -> Request:
        """The first request whose last text holds these words. Raises AssertionError when none comes."""

        def found() -> Request | None:
            return next((request for request in self.requests if request.typed and words in request.typed[-1]), None)

        with self._changed:
            request = self._changed.wait_for(found, PATIENCE)
            assert request is not None, f"the model was not asked {words!r}"
            return request

    def answer(self, body: Json) -> tuple[int, Json | Iterator[Json]]:
        """The HTTP status and the JSON for one call, or the events of a stream."""
        request = Request(body)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        prompt = request.typed[-1] if request.typed else ""
        script = Script.of(prompt)
        with self._changed:
            self._failed[prompt] += 1
            again = self._failed[prompt] > int(script.options.get("times", 0)) > 0
            number = next(self._numbers)
        if script.name in FAILURES and not again:
            status, kind, words = FAILURES[script.name]
            return status, {"type": "error", "error": {"type": kind, "message": words}}
        answer = pieces(script, request.tool_output)
        tokens = int(script.options.get("tokens", 120))
        message = {
            "id": f"msg_{number:06}", "type": "message", "role": "assistant", "model": body["model"], "content": [], "stop_reason": None,
            "stop_sequence": None, "usage": {"input_tokens": tokens, "output_tokens": 1},
        }
        if body.get("stream"):
            return 200, self._stream(message, answer)
        text = "".join(piece.value for piece in answer if piece.kind == "text")
        return 200, {**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}

    def _stream(self, message: Json, answer: Sequence[Piece]) -> Iterator[Json]:
        """The events of a streamed message: its pieces in blocks of one kind. Ends early at a break, or at the end of the stub."""
        yield {"type": "message_start", "message": message}
        index, kind = -1, ""
        for piece in answer:
            if piece.kind == "break" or (piece.kind == "gate" and not self._pass(piece.value)):
                return
            if piece.kind == "gate":
                continue
            if piece.kind != kind:
                if kind:
                    yield {"type": "content_block_stop", "index": index}
                index, kind = index + 1, piece.kind
                yield {"type": "content_block_start", "index": index, "content_block": block(piece, f"toolu_{message['id']}_{index}")}
            yield {"type": "content_block_delta", "index": index, "delta": delta(piece)}
        yield {"type": "content_block_stop", "index": index}
        reason = "tool_use" if kind == "tool" else "end_turn"
        usage = {"output_tokens": len(answer)}
        yield {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
        yield {"type": "message_stop"}

    def _pass(self, gate: str) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: gate in self._opened or self._closing)
            return not self._closing


def block(piece: Piece, call: str) -> Json:
    """How a block of this kind begins; `call` is the id of a tool's call."""
    if piece.kind == "tool":
        return {"type": "tool_use", "id": call, "name": "Bash", "input": {}}
    return {"type": "thinking", "thinking": "", "signature": "c2lnbmVk"} if piece.kind == "thinking" else {"type": "text", "text": ""}


def delta(piece: Piece) -> Json:
    if piece.kind == "tool":
        return {"type": "input_json_delta", "partial_json": piece.value}
    return {"type": f"{piece.kind}_delta", piece.kind: piece.value}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stub: ModelStub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stub = stub

    def handle_error(self, request: object, client_address: object) -> None:
        """A CLI that was interrupted or killed closes its connections; everything else is a mistake of the stub."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._reply(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.startswith("/v1/messages?") and self.path != "/v1/messages":
            self._reply(404, {"type": "error", "error": {"type": "not_found_error", "message": "no such path"}})
            return
        status, answer = self.server.stub.answer(body)
        if isinstance(answer, dict):
            self._reply(status, answer)
            return
        self.send_response(status)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in answer:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test says what it looks for."""

    def _reply(self, status: int, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
