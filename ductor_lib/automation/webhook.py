"""The HTTP server for webhooks: one thread reads, a few judge and store, and 202 means that it survives a crash."""

from __future__ import annotations

import errno
import ipaddress
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ductor_lib.automation.admission import Admission, Hooks, Intake
from ductor_lib.automation.exchange import Answer, Request, refusal
from ductor_lib.automation.reader import Reader
from ductor_lib.config_keys import Webhooks
from ductor_lib.errors import DuctorError

WORKERS = 8
WAITING = 64  # whole requests that no worker has taken yet; for the next one the answer is 503
WAITING_BYTES = 64_000_000  # of their bodies, together
BACKLOG = 128
REQUEST_SECONDS = 10.0  # from the accept to the last byte of the body
ANSWER_SECONDS = 5.0  # for the client to take its answer
GRACE = 5.0  # seconds for the requests under way at the stop, together

log = logging.getLogger(__name__)


def check_binding(host: str, token: str) -> None:
    """Raise DuctorError when the address can be reached from other machines and there is no token."""
    if token or host.lower() == "localhost":
        return
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise DuctorError(
        f"webhooks.host is {host}, which other machines can reach, but there is no webhooks.token. "
        "Set a token in config.toml, or set the host to 127.0.0.1."
    )


class WebhookServer:
    """Serves `GET /health` and `POST /hooks/<id>`. Made, it is bound to its port; `start` once, `stop` once.

    `token` opens every bearer hook. Raises DuctorError when the port cannot be had, or must not without a token.
    `request_seconds` is how long a client may take for its whole request.
    """

    def __init__(
        self, settings: Webhooks, hooks: Hooks, intake: Intake, *, token: str, request_seconds: float = REQUEST_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        check_binding(settings.host, token)
        self._admission = Admission(
            hooks, intake, token=token, per_minute=settings.rate_limit_per_minute, longest=settings.max_body_bytes, now=now
        )
        room = max(1, min(WAITING, WAITING_BYTES // settings.max_body_bytes))
        self._whole: queue.Queue[Request | None] = queue.Queue(room)
        listener = _listen(settings.host, settings.port)
        self.host, self.port = listener.getsockname()[:2]
        self._reader = Reader(listener, self._admission, self._whole, seconds=request_seconds, longest=settings.max_body_bytes)
        self._workers = [threading.Thread(target=self._work, name=f"webhook-{number}", daemon=True) for number in range(1, WORKERS + 1)]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()
        self._reader.start()
        log.info("webhooks served host=%s port=%d", self.host, self.port)

    def stop(self) -> None:
        """Take no more requests, and answer those that are whole; waits up to 7 s."""
        self._reader.stop()
        until = time.monotonic() + GRACE
        for _ in self._workers:
            with suppress(queue.Full):
                self._whole.put(None, timeout=max(0.0, until - time.monotonic()))
        for worker in self._workers:
            if worker.is_alive():
                worker.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (request := self._whole.get()) is not None:
            try:
                answer = self._admission.judge(request)
            except Exception:
                log.exception("webhook failed")
                answer = refusal(500, "Something went wrong here. The log of ductor says more.")
            _send(request.connection, answer)


def _send(connection: socket.socket, answer: Answer) -> None:
    """Answer and close. A client that has gone misses it."""
    with suppress(OSError), connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(answer.encode())
        connection.shutdown(socket.SHUT_WR)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # "::" means IPv4 as well
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except (OSError, UnicodeError, OverflowError) as error:
        raise DuctorError(_why(error, host, port)) from error
    listener.setblocking(False)
    return listener


def _why(error: Exception, host: str, port: int) -> str:
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else 0
    reasons = {
        errno.EADDRINUSE: f"Port {port} on {host} is taken by another program. Set webhooks.port in config.toml to a free one.",
        errno.EACCES: f"This user may not listen on port {port}. Set webhooks.port in config.toml to one above 1023.",
    }
    return reasons.get(number or 0, f"{host} is not an address of this machine. Set webhooks.host in config.toml to 127.0.0.1.")
