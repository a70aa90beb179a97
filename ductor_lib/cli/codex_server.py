"""One running `codex app-server` for all conversations: requests out, replies and notifications in to whoever waits for them.

The thread that reads never waits for a conversation, so that one slow reader cannot hold up the others.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ductor_lib import logs
from ductor_lib.cli import codex_params, sweep
from ductor_lib.cli.claude import Raw, parse
from ductor_lib.cli.environment import MARK
from ductor_lib.cli.process import END, ChildProcess

QUEUED = 4_194_304  # bytes that may wait for one conversation; then deltas are dropped, whole items never
LONG = 60.0  # seconds between two looks when nothing comes
EOF_SECONDS = 3.0  # at the end of its input it leaves in 0.1 s, and ends its commands
DETAIL_CHARS = 300
HIDDEN = "[hidden]"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
GONE: Raw = {}  # what `Feed.get` returns when the server says no more; a message is never empty

DECLINED: dict[str, Mapping[str, object]] = {  # what the server is answered when it asks, since nobody is asked here
    "item/commandExecution/requestApproval": {"decision": "decline"},
    "item/fileChange/requestApproval": {"decision": "decline"},
    "item/permissions/requestApproval": {"permissions": {}},
    "item/tool/requestUserInput": {"answers": {}},
    "mcpServer/elicitation/request": {"action": "decline"},
    "applyPatchApproval": {"decision": "denied"},
    "execCommandApproval": {"decision": "denied"},
}
UNSUPPORTED = {"code": -32601, "message": "ductor does not do this"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A thread in the server's memory: what it was loaded with, and the model it has."""

    settings: Mapping[str, object]
    model: str


class Feed:
    """What the server says to one turn, in order: replies to its requests, and notifications about its thread.

    From `limit` bytes on, deltas of an item are dropped, and then all of that item's, so that what was read is always
    the beginning of the text that comes with the item's end. One reader, any writer.
    """

    def __init__(self, limit: int = QUEUED) -> None:
        self._limit = limit
        self._waiting: deque[tuple[Raw, int]] = deque()
        self._bytes = 0
        self._cut: set[object] = set()  # items whose deltas are dropped
        self._ended = self._woken = False
        self._changed = threading.Condition()

    def put(self, message: Raw, size: int) -> None:
        """Hand over one message that was `size` bytes long. Returns at once."""
        with self._changed:
            if self._surplus(message):
                return
            self._waiting.append((message, size))
            self._bytes += size
            self._changed.notify_all()

    def get(self, timeout: float) -> Raw | None:
        """The next message; GONE after the last one; None when `timeout` seconds have passed or somebody called `wake`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._woken, timeout)
            self._woken = False
            if self._waiting:
                message, size = self._waiting.popleft()
                self._bytes -= size
                return message
            return GONE if self._ended else None

    def wake(self) -> None:
        """Let a waiting `get` return at once. Any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing will come any more; what waits is still handed out."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _surplus(self, message: Raw) -> bool:
        params = message.get("params")
        if not str(message.get("method", "")).lower().endswith("delta") or not isinstance(params, dict):
            return False
        item = str(params.get("itemId"))
        if self._bytes >= self._limit:
            self._cut.add(item)
        return item in self._cut


class CodexServer:
    """A server from its start to its end. Raises OSError when it cannot be started. Any thread.

    `parameters` are those of the user in `argv`. `ready` is true once it has answered the greeting: until then requests wait.
    """

    def __init__(
        self, argv: Sequence[str], *, parameters: tuple[str, ...] = (), cwd: Path, environment: Mapping[str, str],
        secrets: Sequence[str] = (), now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.parameters = parameters
        self.born = now()  # seconds
        self.ready = False
        self.epitaph = ""  # why we ended it, when we did
        self.unknown = 0  # messages that belong to nobody and are not known
        self._marker = environment[MARK]
        self._secrets = secrets
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiters: dict[int, Feed | None] = {}
        self._listeners: dict[str, Feed] = {}
        self._loaded: dict[str, Loaded] = {}
        self._held: list[bytes] = []  # requests until the greeting is answered
        self._over = False
        self.child = ChildProcess(argv, cwd=cwd, environment=environment, name="codex server")
        self._greeting = next(self._numbers)
        self.child.send(_line({"id": self._greeting, "method": "initialize", "params": codex_params.hello()}))
        threading.Thread(target=self._read, name="codex server link", daemon=True).start()
        log.info("agent server started pid=%d", self.child.pid)

    @property
    def running(self) -> bool:
        """Whether requests still reach it."""
        with self._lock:
            return not self._over and self.child.running

    @property
    def problem(self) -> str:
        """What it said on stderr at last, fit to be shown: without secrets and colours, at most 300 characters."""
        return presentable(self.child.stderr, self._secrets)

    def request(self, feed: Feed | None, method: str, params: Mapping[str, object]) -> int:
        """Ask for something; the reply comes to `feed` under the number that is returned. Never waits."""
        with self._lock:
            number = next(self._numbers)
            line = _line({"id": number, "method": method, "params": params})
            if self._over:
                if feed is not None:
                    feed.end()
            elif self.ready:
                self._waiters[number] = feed
                self.child.send(line)
            else:
                self._waiters[number] = feed
                self._held.append(line)
            return number

    def listen(self, thread: str, feed: Feed) -> bool:
        """Give `feed` what is said about a thread. False when another turn has it: two in one thread steer each other."""
        with self._lock:
            if self._listeners.get(thread, feed) is not feed:
                return False
            self._listeners[thread] = feed
            return True

    def leave(self, feed: Feed) -> None:
        """Nobody reads this feed any more."""
        with self._lock:
            self._listeners = {thread: other for thread, other in self._listeners.items() if other is not feed}
            self._waiters = {number: other for number, other in self._waiters.items() if other is not feed}

    def loaded(self, thread: str) -> Loaded | None:
        """What is known of a thread in memory; None when it is not loaded."""
        with self._lock:
            return self._loaded.get(thread)

    def load(self, thread: str, loaded: Loaded) -> None:
        """Remember that a thread is in memory."""
        with self._lock:
            self._loaded[thread] = loaded

    def unload(self, thread: str) -> None:
        """Let an idle thread go, so that it is loaded anew by its next turn."""
        with self._lock:
            known = self._loaded.pop(thread, None)
        if known is not None:
            self.request(None, "thread/unsubscribe", {"threadId": thread})

    def destroy(self, reason: str = "") -> None:
        """End it with everything it has started: end of input, TERM, KILL, sweep. Up to some seconds."""
        self.epitaph = self.epitaph or reason
        noted = sweep.family(self._marker, self.child.pid)  # afterwards descent says nothing any more
        self.child.close_stdin()
        if not self.child.wait(EOF_SECONDS):
            self.child.terminate()
        sweep.stop([*noted, *sweep.family(self._marker, self.child.pid)])

    # ── the thread that reads ──

    def _read(self) -> None:
        while (line := self.child.read(LONG)) != END:
            if line is None:
                continue
            message = parse(line)
            try:
                if message is None:
                    self.unknown += 1
                else:
                    self._route(message, len(line))
            except Exception:
                log.exception("agent message not understood")
        with self._lock:
            self._over = True
            feeds = {id(feed): feed for feed in (*self._waiters.values(), *self._listeners.values()) if feed is not None}
        for feed in feeds.values():
            feed.end()
        facts = (self.child.pid, self.child.returncode, self.unknown + self.child.skipped)
        log.info("agent server ended pid=%d code=%s unknown=%d", *facts)
        if problem := self.problem:
            log.debug("agent server said on stderr text=%r", problem)

    def _route(self, message: Raw, size: int) -> None:
        number, method = message.get("id"), message.get("method")
        if isinstance(method, str) and number is not None:
            self.child.send(_line({"id": number, **answer(method)}))
            log.info("agent asked and was declined method=%s", method)
        elif isinstance(method, str):
            self._notify(method, message, size)
        elif number == self._greeting:
            self._greeted(message)
        elif isinstance(number, int):
            with self._lock:
                feed = self._waiters.pop(number, None)
            if feed is not None:
                feed.put(message, size)
        else:
            self.unknown += 1

    def _greeted(self, message: Raw) -> None:
        if "result" not in message:
            log.warning("agent server refused the greeting reason=%s", message.get("error"))
            self.child.close_stdin()  # it is of no use; its end is what the turns see
            return
        with self._lock:
            self.child.send(_line({"method": "initialized"}))
            for line in self._held:
                self.child.send(line)
            self._held.clear()
            self.ready = True

    def _notify(self, method: str, message: Raw, size: int) -> None:
        params = message.get("params")
        thread = params.get("threadId") if isinstance(params, dict) else None
        if not isinstance(thread, str):
            return  # about the whole server: accounts, configuration
        with self._lock:
            if method == "thread/closed":
                self._loaded.pop(thread, None)
            feed = self._listeners.get(thread)
        if feed is not None:
            feed.put(message, size)


def answer(method: str) -> dict[str, object]:
    """The reply to a request of the server's own: what needs a person is declined, the rest is refused."""
    return {"result": DECLINED[method]} if method in DECLINED else {"error": UNSUPPORTED}


def presentable(stderr: str, secrets: Sequence[str]) -> str:
    """The end of what a program said on stderr, fit to be shown: without secrets and colours, at most 300 characters."""
    for secret in filter(None, secrets):
        stderr = stderr.replace(secret, HIDDEN)
    return logs.redact(COLOURS.sub("", stderr))[-DETAIL_CHARS:]


def _line(message: Mapping[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")  # with half a surrogate pair it would not be read
