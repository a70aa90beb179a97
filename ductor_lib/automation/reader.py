"""One thread that accepts connections and reads each until its request is whole, so that a slow client holds up nobody.

A connection costs memory and no thread while it is read; when there are too many, the one that has waited longest goes.
"""

from __future__ import annotations

import logging
import queue
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ductor_lib.automation.exchange import HEAD_BYTES, Answer, Head, Request, first_line, parse, refusal
from ductor_lib.loop import Loop

CONNECTIONS = 256  # that are read at the same time
HELD_BYTES = 64_000_000  # of what they have sent so far, together
LEAVING = 2.0  # seconds for a client to read its refusal; closed at once, the unread rest of its request would destroy it
GRACE = 2.0  # seconds for the step under way at the stop
RECEIVE = 65_536  # bytes
ACCEPTS = 64  # connections in one step, so that those who have one are served as well
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger(__name__)


class Gate(Protocol):
    """Decides about a request as far as its head tells. Called by the reader's thread; must not wait for anything."""

    def before_body(self, head: Head) -> int | Answer:
        """The number of bytes of the body to wait for, or the answer at once."""

    def refused(self, answer: Answer, remote: str, path: str) -> None:
        """Note an answer that was given without a whole request. `path` may be "" or anything."""


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    remote: str
    until: float
    data: bytearray = field(default_factory=bytearray)
    head: Head | None = None
    length: int = 0


class Reader:
    """Reads what comes in at `listener`, and puts whole requests into `whole`; when that is full, the client hears 503.

    `seconds` are from the accept to the last byte of the body, however the client spreads them. `longest` is the
    largest body in bytes that the gate lets in. `now` is monotonic, in seconds.
    """

    def __init__(
        self, listener: socket.socket, gate: Gate, whole: queue.Queue[Request | None], *, seconds: float, longest: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._gate = gate
        self._whole = whole
        self._seconds = seconds
        self._most = max(HELD_BYTES, 2 * longest)
        self._now = now
        self._open: dict[socket.socket, _Connection] = {}  # in the order of their ends
        self._leaving: dict[socket.socket, _Connection] = {}  # have their answer; in the order of their ends, too
        self._held = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._alarm, self._bell = socket.socketpair()  # wakes the thread at the stop
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._loop = Loop("webhook", self._step)

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """Accept and read no more; requests that are not whole are dropped. Waits for the step under way, 2 s at most."""
        self._loop.stop()
        with suppress(OSError):  # stopped before
            self._alarm.send(b"!")
        self._loop.stop(grace=GRACE)
        self._selector.close()
        for closing in (self._listener, self._alarm, self._bell, *self._open, *self._leaving):
            closing.close()

    def _step(self) -> None:
        ends = [_oldest(known).until for known in (self._open, self._leaving) if known]
        for key, _ in self._selector.select(max(0.0, min(ends) - self._now()) if ends else None):
            if key.fileobj is self._listener:
                self._accept()
            elif connection := self._open.get(key.data):
                self._read(connection)
            elif connection := self._leaving.get(key.data):
                self._see_off(connection)
        while self._open and (oldest := _oldest(self._open)).until <= self._now():
            self._expire(oldest)
        while self._leaving and (oldest := _oldest(self._leaving)).until <= self._now():
            self._drop(oldest)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # it has gone again
                continue
            except OSError:  # out of file descriptors
                if not self._open:
                    raise
                self._drop(_oldest(self._open))
                return
            accepted.setblocking(False)
            self._open[accepted] = _Connection(accepted, str(address[0]), self._now() + self._seconds)
            self._selector.register(accepted, selectors.EVENT_READ, accepted)
            if len(self._open) > CONNECTIONS:
                self._drop(_oldest(self._open))

    def _read(self, connection: _Connection) -> None:
        try:
            self._receive(connection)
        except Exception:  # our own mistake: it costs this connection and no other
            log.exception("reading a request failed remote=%s", connection.remote)
            self._drop(connection)
        while self._open and self._held > self._most:
            self._drop(_oldest(self._open))

    def _receive(self, connection: _Connection) -> None:
        data = _received(connection.socket)
        if data is None:
            self._drop(connection)
        elif not data:
            self._end_of_file(connection)
        else:
            connection.data += data
            self._held += len(data)
            self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        """See how far the request has come."""
        if connection.head is None:
            self._read_head(connection)
        if connection.head is None or len(connection.data) < connection.length:
            return
        if self._whole.full():
            self._answer(connection, refusal(503, "Too many requests are waiting. Try again in a moment.", Retry_After="1"))
            return
        # What comes after the body is not looked at: the answer closes the connection.
        request = Request(connection.head, bytes(connection.data[: connection.length]), connection.socket, connection.remote)
        self._forget(connection)
        self._whole.put_nowait(request)  # nobody else puts anything in

    def _read_head(self, connection: _Connection) -> None:
        data = connection.data
        while data.startswith(b"\r\n"):  # RFC 9112: empty lines before a request are ignored
            self._cut(connection, 2)
        if wrong := first_line(bytes(data[:HEAD_BYTES])):
            self._answer(connection, wrong)
            return
        end = data.find(b"\r\n\r\n", 0, HEAD_BYTES) + 4
        if end < 4:
            if len(data) >= HEAD_BYTES:
                self._answer(connection, refusal(431, f"The head of the request is too large; at most {HEAD_BYTES} bytes are accepted."))
            return
        head = parse(bytes(data[:end]))
        if isinstance(head, Answer):
            self._answer(connection, head)
            return
        length = self._gate.before_body(head)
        if isinstance(length, Answer):
            self._answer(connection, length, head.path)
            return
        self._cut(connection, end)
        connection.head, connection.length = head, length
        if head.continues and len(data) < length:
            _send(connection.socket, CONTINUE)

    def _cut(self, connection: _Connection, size: int) -> None:
        del connection.data[:size]
        self._held -= size

    def _end_of_file(self, connection: _Connection) -> None:
        if connection.data or connection.head:
            self._answer(connection, refusal(400, "The request ended before it was whole; check Content-Length."))
        else:
            self._drop(connection)

    def _expire(self, connection: _Connection) -> None:
        if connection.data or connection.head:
            self._answer(connection, refusal(408, f"The request took longer than {self._seconds:g} seconds."))
        else:
            self._drop(connection)

    def _answer(self, connection: _Connection, answer: Answer, path: str = "") -> None:
        """Answer now, read what still comes for a moment, then close."""
        self._gate.refused(answer, connection.remote, path or (connection.head.path if connection.head else ""))
        self._held -= len(connection.data)
        del self._open[connection.socket], connection.data[:]
        _send(connection.socket, answer.encode())
        connection.until = self._now() + LEAVING
        self._leaving[connection.socket] = connection
        with suppress(OSError):  # it may have gone
            connection.socket.shutdown(socket.SHUT_WR)
        if len(self._leaving) > CONNECTIONS:
            self._drop(_oldest(self._leaving))

    def _see_off(self, connection: _Connection) -> None:
        if not _received(connection.socket):
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._forget(connection)
        connection.socket.close()

    def _forget(self, connection: _Connection) -> None:
        if self._open.pop(connection.socket, None) or self._leaving.pop(connection.socket, None):
            self._selector.unregister(connection.socket)
            self._held -= len(connection.data)


def _oldest(known: dict[socket.socket, _Connection]) -> _Connection:
    return next(iter(known.values()))


def _received(connection: socket.socket) -> bytes | None:
    """What has come; b"" at the end of the stream, None when the connection is broken."""
    try:
        return connection.recv(RECEIVE)
    except OSError:
        return None


def _send(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # a few hundred bytes: there is room for them, or nobody is there
        connection.send(data)
