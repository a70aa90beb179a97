"""Codex's servers by what they were started with: usually one, shared by all conversations, replaced when it is gone or retired."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ductor_lib.cli.codex_server import CodexServer

LEAVING = 8.0  # seconds for servers that were told to leave
COURTESY = 0.1  # seconds before one that must go is ended: the turn that made it go, or waits for the next, comes first
STARTING = 30.0  # seconds to start a process; it takes milliseconds

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """A server and how many use it. A retired one gets no new users and leaves with its last."""

    server: CodexServer
    users: int = 0
    retired: bool = False


class Servers:
    """Starts a server when it is needed (`start` takes the parameters of its command line, and may raise OSError). Any thread.

    A server that must go leaves in a thread of its own, which ends with it, after `courtesy` seconds.
    """

    def __init__(self, start: Callable[[tuple[str, ...]], CodexServer], *, courtesy: float = COURTESY) -> None:
        self._start = start
        self._courtesy = courtesy
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._entries: dict[tuple[str, ...], Entry] = {}
        self._starting: set[tuple[str, ...]] = set()
        self._leaving: set[threading.Thread] = set()

    @contextmanager
    def use(self, parameters: tuple[str, ...]) -> Iterator[CodexServer]:
        """The server for these parameters, as long as it is used. Raises OSError when it cannot be started."""
        entry = self._obtain(parameters)
        try:
            yield entry.server
        finally:
            with self._changed:
                entry.users -= 1
                if entry.retired and not entry.users:
                    self._see_off(entry.server)

    def retire(self, server: CodexServer) -> None:
        """Give this server no more work; it leaves when the turns in it are over."""
        with self._changed:
            for parameters, entry in list(self._entries.items()):
                if entry.server is server:
                    self._retire(parameters)

    def running(self) -> list[CodexServer]:
        with self._changed:
            return [entry.server for entry in self._entries.values()]

    def close(self) -> None:
        """End every server. Up to some seconds."""
        self._closing.set()
        with self._changed:
            for entry in self._entries.values():
                self._see_off(entry.server)
            self._entries.clear()
            leaving = list(self._leaving)
        for thread in leaving:
            thread.join(LEAVING)

    def _obtain(self, parameters: tuple[str, ...]) -> Entry:
        with self._changed:
            self._changed.wait_for(lambda: parameters not in self._starting, STARTING)
            entry = self._entries.get(parameters)
            if entry is not None and entry.server.running:
                entry.users += 1
                return entry
            self._retire(parameters)
            for other in [known for known, entry in self._entries.items() if not entry.users]:
                self._retire(other)  # of no use since the parameters are others
            self._starting.add(parameters)
        try:
            server = self._start(parameters)
        except OSError:
            with self._changed:
                self._started(parameters)
            raise
        with self._changed:
            entry = self._entries[parameters] = Entry(server, users=1)
            self._started(parameters)
            return entry

    def _started(self, parameters: tuple[str, ...]) -> None:
        self._starting.discard(parameters)
        self._changed.notify_all()

    def _retire(self, parameters: tuple[str, ...]) -> None:
        entry = self._entries.pop(parameters, None)
        if entry is not None:
            entry.retired = True
            if not entry.users:
                self._see_off(entry.server)

    def _see_off(self, server: CodexServer) -> None:
        """Under the lock: let a server leave."""
        thread = threading.Thread(target=self._end, args=(server,), name="codex server leaving", daemon=True)
        self._leaving.add(thread)
        thread.start()

    def _end(self, server: CodexServer) -> None:
        self._closing.wait(self._courtesy)
        try:
            server.destroy()
        except Exception:
            log.exception("agent server not ended cleanly")
        with self._changed:
            self._leaving.discard(threading.current_thread())
