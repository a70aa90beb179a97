"""One HTTP request and its answer as values, read more strictly than they could be: what is ambiguous is refused."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from io import BytesIO

HEAD_BYTES = 16_384
VERSIONS = ("HTTP/1.0", "HTTP/1.1")
# RFC 9112. In the first line anything is let through that http.server judges; header lines it would forgive are refused.
FIRST_LINE = re.compile(rb"[A-Za-z]{1,20} [\x21-\x7e]+ HTTP/\d{1,3}\.\d{1,3}\r\n")
HEADER_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*\r\n")
LENGTH = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """The request line and the headers, by lower-case name; several of one name are joined with ", ". Values as they came (latin-1).

    `path` is without the query. `media` and `charset` are what Content-Type says, in small letters; the latter may be "".
    `continues`: the client waits for "100 Continue" before it sends the body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    media: str
    charset: str
    continues: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. Whoever gets it answers on `connection` and closes it. `remote` is the client's address."""

    head: Head
    body: bytes
    connection: socket.socket
    remote: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. `body` becomes JSON; with `bare` only its length is sent, as HEAD wants it."""

    status: int
    body: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False

    def encode(self) -> bytes:
        """The bytes for the wire. Nothing in them tells what program answers."""
        content = json.dumps(self.body).encode() + b"\n"
        reason = BaseHTTPRequestHandler.responses[self.status][0]
        lines = [
            f"HTTP/1.1 {self.status} {reason}", f"Date: {formatdate(usegmt=True)}", "Content-Type: application/json",
            f"Content-Length: {len(content)}", "Connection: close", *(f"{name}: {value}" for name, value in self.headers.items()),
        ]  # fmt: skip
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + (b"" if self.bare else content)


def refusal(status: int, sentence: str, **headers: str) -> Answer:
    """An answer that says in a sentence what is wrong. Underscores in the names of headers become hyphens."""
    return Answer(status, {"error": sentence}, {name.replace("_", "-"): value for name, value in headers.items()})


def first_line(data: bytes) -> Answer | None:
    """What is wrong with a first line that has arrived; None for nothing, or while its end is missing.

    Looked at before the rest, because an HTTP/0.9 request has no rest that could be waited for.
    """
    line, end, _ = data.partition(b"\n")
    return refusal(400, "The first line is not one of an HTTP/1.1 request.") if end and not FIRST_LINE.fullmatch(line + end) else None


def parse(data: bytes) -> Head | Answer:
    """The head of a request, with the empty line at its end; or the refusal. Never raises."""
    line, _, rest = data.partition(b"\n")
    if not FIRST_LINE.fullmatch(line + b"\n") or not HEADER_LINES.fullmatch(rest):
        return refusal(400, "The head of the request is not valid HTTP.")
    parser = _Parser(data)
    if parser.refused:
        return parser.refused
    headers: dict[str, str] = {}
    for name, value in parser.headers.items():
        known = headers.get(name.lower())
        headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    if "expect" in headers and not parser.continues and parser.request_version != VERSIONS[0]:  # RFC 9110: 1.0 cannot ask
        return refusal(417, "Of what Expect can ask for, only 100-continue is known here.")
    path = re.split("[?#]", parser.path, maxsplit=1)[0]
    charset = parser.headers.get_content_charset() or ""
    return Head(parser.command, path, headers, parser.headers.get_content_type(), charset, parser.continues)


def body_length(head: Head, longest: int) -> int | Answer:
    """The number of bytes that follow the head, at most `longest`; or the refusal."""
    text = head.headers.get("content-length", "")
    if "transfer-encoding" in head.headers:
        return refusal(411, "Send the body in one piece, with Content-Length; chunks are not accepted.")
    if not text:
        return refusal(411, "Send Content-Length.")
    if not LENGTH.fullmatch(text):
        return refusal(400, "Content-Length is not one number.")
    if int(text) > longest:
        return refusal(413, f"The body is too large; at most {longest} bytes are accepted.")
    return int(text)


class _Parser(BaseHTTPRequestHandler):
    """The library's parser over a head that is already here. What it would send is kept instead."""

    protocol_version = "HTTP/1.1"  # so that Expect is looked at

    def __init__(self, head: bytes) -> None:
        self.rfile = BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        self.refused: Answer | None = None
        self.continues = False
        if self.parse_request() and self.request_version not in VERSIONS:
            self.send_error(505)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        sentences = {
            431: "The request has too many headers.",  # the library accepts 99
            505: "Only HTTP/1.0 and HTTP/1.1 are spoken here.",
        }
        self.refused = refusal(int(code), sentences.get(int(code), "The request is not valid HTTP."))

    def handle_expect_100(self) -> bool:
        self.continues = True
        return True
