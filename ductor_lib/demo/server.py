"""HTTP for the loopback Telegram: keep-alive, one write per answer, and nothing left behind when it closes."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import selectors
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from ductor_lib.demo.checks import Params, Upload

log = logging.getLogger(__name__)

UPLOAD_BYTES = 50 << 20  # of a whole request (Bot API server)
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE


class Api(Protocol):
    """What stands behind the server. Called by many threads at once; None means that nobody gets an answer."""

    def answer(self, token: str, method: str, params: Params) -> Answer | None: ...

    def download(self, token: str, path: str) -> Answer: ...


class Server(TCPServer):
    """Listens on 127.0.0.1, a thread per connection. `start` once, `close` once; close ends every connection and thread.

    Not an HTTPServer: that one asks the name service for its own name, which takes seconds on some machines.
    """

    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, api: Api, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api = api
        self.port: int = self.server_address[1]
        self._connections: dict[socket.socket, threading.Thread] = {}  # the accepting thread's, then close()'s
        self._closing = threading.Event()
        self._accepting = threading.Thread(target=self._accept, name=f"loopback-{self.port}", daemon=True)

    def start(self) -> None:
        self._accepting.start()

    def close(self) -> None:
        self._closing.set()
        # The accepting thread waits without a timeout; a connection wakes it at once, on every system.
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._accepting.join()
        self.server_close()
        for connection in self._connections:
            with contextlib.suppress(OSError):  # the other side may be faster
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._connections.values():
            thread.join(10)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        name = f"loopback-{self.port}-{request.fileno()}"
        thread = threading.Thread(target=self._serve, args=(request, client_address), name=name, daemon=True)
        self._connections = {known: served for known, served in self._connections.items() if served.is_alive()}
        self._connections[request] = thread
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            self.handle_request()

    def _serve(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as error:
            log.debug("connection ended error=%s", type(error).__name__)
        except Exception:
            log.exception("connection failed")
        finally:
            self.shutdown_request(request)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self._body()
        if body is None:
            return
        download = re.fullmatch(r"/file/bot([^/]+)/(.+)", unquote(url.path))
        if download:
            self._write(self.server.api.download(download.group(1), download.group(2)))
            return
        call = re.fullmatch(r"/bot([^/]+)/(\w+)", unquote(url.path))
        if call is None:
            self._write(refusal(404, "Not Found"))
            return
        try:
            params = read(url.query, body, self.headers.get("Content-Type", ""))
        except UnicodeError:
            self._write(refusal(400, "Bad Request: strings must be encoded in UTF-8"))
            return
        except ValueError:
            self._write(refusal(400, "Bad Request: can't parse the body"))
            return
        self._write(self.server.api.answer(call.group(1), call.group(2), params))

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address has the token in it."""

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self._write(refusal(411, "Length Required"))
            return None
        if int(length) > UPLOAD_BYTES:
            self.close_connection = True
            self._write(refusal(413, "Request Entity Too Large"))
            return None
        return self.rfile.read(int(length)) if int(length) else b""

    def _write(self, answer: Answer | None) -> None:
        """The whole answer at once. Nothing for a caller who has gone or shall not be answered."""
        if answer is None or self._gone():
            self.close_connection = True
            return
        reason = self.responses.get(answer.status, ("Unknown", ""))[0]
        ending = "close" if self.close_connection else "keep-alive"
        head = (
            f"HTTP/1.1 {answer.status} {reason}\r\nServer: loopback\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nConnection: {ending}\r\n\r\n"
        )
        self.wfile.write(head.encode() + answer.body)

    def _gone(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            return bool(selector.select(0)) and not self.connection.recv(1, socket.MSG_PEEK)


def success(result: object) -> Answer:
    return Answer(200, json.dumps({"ok": True, "result": result}).encode())


def refusal(status: int, description: str, parameters: object = None) -> Answer:
    body: dict[str, object] = {"ok": False, "error_code": status, "description": description}
    return Answer(status, json.dumps(body | ({"parameters": parameters} if parameters else {})).encode())


def read(query: str, body: bytes, content_type: str) -> Params:
    """The parameters of a call, from the address and from a form, JSON or multipart body.

    Raises UnicodeError for what is not UTF-8 and ValueError for what cannot be read.
    """
    values = dict(parse_qsl(query, keep_blank_values=True, errors="strict"))
    uploads: dict[str, Upload] = {}
    kind, _, options = content_type.partition(";")
    if kind.strip().lower() == JSON_TYPE and body:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise ValueError("not an object")
        values |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items() if value is not None}
    elif kind.strip().lower() == "multipart/form-data":
        boundary = re.search(r'boundary="?([^";]+)"?', options)
        if boundary is None:
            raise ValueError("no boundary")
        for name, file_name, data in _parts(body, boundary.group(1).encode()):
            if file_name is None:
                values[name] = data.decode()
            else:
                uploads[name] = Upload(file_name, data)
                values.setdefault(name, f"attach://{name}")
    elif body:
        values |= dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))
    for value in values.values():
        value.encode()  # half a surrogate pair, which JSON can carry, is no UTF-8
    return Params(values, uploads)


def _parts(body: bytes, boundary: bytes) -> list[tuple[str, str | None, bytes]]:
    """Name, file name and content of every part."""
    result = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, mark, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(r'[;\s]name="([^"]*)"', head.decode())
        if not mark or name is None:
            raise ValueError("part without a name")
        plain = re.search(r'filename="([^"]*)"', head.decode())
        coded = re.search(r"filename\*=(?:utf-8|UTF-8)''([^\s;]+)", head.decode())
        file_name = unquote(coded.group(1)) if coded else unquote(plain.group(1)) if plain else None
        result.append((name.group(1), file_name, data))
    return result
