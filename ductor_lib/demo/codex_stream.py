"""What the scripted Codex does in a turn, and the two ways it is told: notifications of a server, lines of `exec --json`.

Shapes are those of version 0.169.0; each scenario of `scenarios.py` that makes sense here behaves as with Claude's double.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ductor_lib.demo.scenarios import ECHOED, Script
from ductor_lib.demo.stream import LOOK, Interrupted, new_id

if TYPE_CHECKING:
    import subprocess

FAILURES: dict[str, tuple[object, str]] = {  # name: codexErrorInfo, words
    "error400": ("contextWindowExceeded", "Codex ran out of room in the model's context window. Start a new thread."),
    "error401": ({"httpConnectionFailed": {"httpStatusCode": 401}}, "unexpected status 401 Unauthorized: invalid x-api-key"),
    "error404": ("modelNotFound", "model: no-such-model"),
    "error429": ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "exceeded retry limit, last status: 429 Too Many Requests"),
    "error500": ("internalServerError", "We’re currently experiencing high demand, which may cause temporary errors."),
    "overloaded": ({"httpConnectionFailed": {"httpStatusCode": 529}}, "unexpected status 529: Overloaded"),
}
AT_ONCE = {"error400", "error404", "error429"}
TOKENS = (120, 10)  # read and written by each call of the model


class Failed(Exception):
    """The turn ends with an error: codexErrorInfo, and words."""

    def __init__(self, info: object, words: str) -> None:
        super().__init__(words)
        self.info = info
        self.words = words


class Wire(Protocol):
    """How a turn is told."""

    def item(self, state: str, item: Mapping[str, object]) -> None:
        """An item is "started" or "completed"."""

    def delta(self, item: str, kind: str, text: str) -> None:
        """More of an item; `kind` is agentMessage/delta, reasoning/summaryTextDelta or commandExecution/outputDelta."""

    def retry(self, attempt: str, info: object, words: str) -> None:
        """A call of the model has failed and is tried again."""

    def usage(self, read: int, written: int) -> None:
        """A call of the model is over."""

    def raw(self, line: bytes) -> None:
        """A line as it is."""

    def approve(self, command: str) -> str:
        """Ask whether a command may run; the decision."""


class Play:
    """One turn, for the thread that plays it. `interrupted` and `steered` are for any thread."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.interrupted = threading.Event()
        self.last = ""
        self.commands: list[subprocess.Popen[bytes]] = []

    def wait(self, seconds: float) -> None:
        """Let time pass; raises Interrupted as soon as the driving program asks."""
        if self.interrupted.wait(seconds) if seconds > 0 else self.interrupted.is_set():
            raise Interrupted("interrupted")

    def say(self, pieces: Iterable[str], *, delay: float = 0.0) -> None:
        """One message. What is interrupted gets no end."""
        key, said = f"msg_{new_id()[:8]}", []
        self.wire.item("started", {"type": "agentMessage", "id": key, "text": ""})
        for piece in pieces:
            self.wait(delay)
            said.append(piece)
            self.wire.delta(key, "agentMessage/delta", piece)
        self.last = "".join(said)
        self.wire.item("completed", {"type": "agentMessage", "id": key, "text": self.last})
        self.wire.usage(*TOKENS)

    def think(self, pieces: Iterable[str], *, delay: float = 0.0) -> None:
        key, said = f"rs_{new_id()[:8]}", []
        self.wire.item("started", {"type": "reasoning", "id": key, "summary": []})
        for piece in pieces:
            self.wait(delay)
            said.append(piece)
            self.wire.delta(key, "reasoning/summaryTextDelta", piece)
        self.wire.item("completed", {"type": "reasoning", "id": key, "summary": ["".join(said)]})

    def run(self, command: str, *, variables: Mapping[str, str], folder: str) -> str:
        """A command: really runs, in a session of its own, and runs on when the turn is interrupted, as with the real one."""
        import subprocess  # 10 ms that only a tool needs

        item: dict[str, object] = {"type": "commandExecution", "id": f"call_{new_id()[:8]}", "command": f"/bin/sh -c '{command}'"}
        words = ["/bin/sh", "-c", command]
        child = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.commands.append(child)
        self.wire.item("started", {**item, "status": "inProgress", "aggregatedOutput": None, "exitCode": None})
        while child.poll() is None:
            self.wait(LOOK)
        assert child.stdout
        said = child.stdout.read().decode(errors="replace").strip()
        status = "completed" if child.returncode == 0 else "failed"
        self.wire.item("completed", {**item, "status": status, "aggregatedOutput": said, "exitCode": child.returncode})
        return said

    def clean(self) -> None:
        """End the commands that still run. Any thread."""
        for child in self.commands:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def act(play: Play, script: Script, *, variables: Mapping[str, str], folder: str) -> None:
    """Play one script up to its end. Raises Interrupted and Failed."""
    if script.name in FAILURES:
        fail(play, script)
    elif script.name == "tool":
        play.say(["Running ", "a command."])
        said = play.run(script.text("cmd", "echo tool-ran"), variables=variables, folder=folder)
        play.say(["The tool ", "said: ", said[:200]])
    else:
        SCENARIOS.get(script.name, echo)(play, script)


def echo(play: Play, script: Script) -> None:
    prompt = script.prompt if len(script.prompt) <= ECHOED else script.prompt[:ECHOED] + " …"
    quoted = "\n".join(f"> {line}" for line in (prompt or "(nothing)").splitlines())
    answer = f"I am the **scripted Codex** of the demo: no model is asked. You wrote:\n\n{quoted}\n\nSay anything and I will repeat it."
    play.say(re.findall(r"\S+\s*|\s+", answer), delay=script.number("delay", 0))


def plain(play: Play, script: Script) -> None:
    play.say((f"word{k} " for k in range(int(script.number("n", 8)))), delay=script.number("delay", 0.01))


def long(play: Play, script: Script) -> None:
    size = int(script.number("size", 20_000))
    part = "## Part {0}\n\nSome **bold** text, `code`:\n\n- one\n- two\n\n```python\nprint({0})\n```\n\n"
    body = "".join(part.format(k) for k in range(size // 60 + 1))[:size]
    play.say((body[k : k + 200] for k in range(0, size, 200)), delay=script.number("delay", 0))


def thinking(play: Play, script: Script) -> None:
    play.think(["First ", "I think ", "about it."], delay=script.number("delay", 0.01))
    plain(play, script)


def slow(play: Play, script: Script) -> None:
    delay = script.number("delay", 0.1)
    play.say((f"tick {k} " for k in range(max(1, int(script.number("secs", 20) / delay)))), delay=delay)


def hold(play: Play, script: Script) -> None:
    def pieces() -> Iterable[str]:
        yield "Holding. "
        while not Path(script.text("file", "/nonexistent")).exists():
            play.wait(LOOK)
        yield "Going on."

    play.say(pieces())


def crash(play: Play, script: Script) -> None:
    print("Error: the scripted Codex crashes as it was told", file=sys.stderr, flush=True)
    if "signal" in script.options:
        os.kill(os.getpid(), int(script.number("signal", signal.SIGKILL)))
    os._exit(int(script.number("code", 1)))


def crash_late(play: Play, script: Script) -> None:
    play.say(["Some words ", "before the end."])
    crash(play, script)


def hang(play: Play, script: Script) -> None:
    if script.text("hard", "") == "1":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            play.wait(3600)
        except Interrupted:
            if script.text("hard", "") != "1":
                raise
            play.interrupted.clear()


def garbage(play: Play, script: Script) -> None:
    for line in (b"this is no JSON", b"\xff\xfe\x00binary", b"{half", b"[1, 2]", b'"text"', b"", b"null", b"[" * 5000, b'{"id": [1]}'):
        play.wire.raw(line)
    play.wire.raw(b'{"type": "brand_new_event", "method": "brand/new", "params": {"threadId": 7}}')
    plain(play, script)


def bigline(play: Play, script: Script) -> None:
    item = {"type": "commandExecution", "id": "call_big", "command": "cat big.txt", "status": "completed", "exitCode": 0}
    play.wire.item("started", {**item, "status": "inProgress"})
    play.wire.item("completed", {**item, "aggregatedOutput": "x" * int(script.number("mb", 10) * 1_000_000)})
    plain(play, script)


def flood(play: Play, script: Script) -> None:
    piece = "x" * 2_000
    for _ in range(int(script.number("mb", 50) * 1_000_000 / 2_000)):
        play.wait(0)
        play.wire.delta("call_flood", "commandExecution/outputDelta", piece)
    plain(play, script)


def words(play: Play, script: Script) -> None:
    """More text than a slow reader can take: `mb` megabytes in deltas of 2 kB."""
    play.say("x" * 1_999 + " " for _ in range(int(script.number("mb", 10) * 500)))


def patch(play: Play, script: Script) -> None:
    item = {"type": "fileChange", "id": "call_patch", "changes": [{"path": "/home/user/project/hello.txt", "kind": "add"}]}
    play.wire.item("started", {**item, "status": "inProgress"})
    play.wire.item("completed", {**item, "status": "completed"})
    plain(play, script)


def approval(play: Play, script: Script) -> None:
    decision = play.wire.approve("touch made.txt")
    item = {"type": "commandExecution", "id": "call_asked", "command": "/bin/sh -c 'touch made.txt'"}
    play.wire.item("started", {**item, "status": "inProgress"})
    play.wire.item("completed", {**item, "status": "declined" if decision == "decline" else "completed"})
    play.say(["The decision is: ", decision])


def compact(play: Play, script: Script) -> None:
    for state in ("started", "completed"):
        play.wire.item(state, {"type": "contextCompaction", "id": "compact_1"})
    plain(play, script)


def fail(play: Play, script: Script) -> None:
    """`retries=2` attempts, `delay` seconds apart; with `times=1` the second attempt is answered."""
    info, said = FAILURES[script.name]
    limit = 0 if script.name in AT_ONCE and "times" not in script.options else int(script.number("retries", 2))
    for attempt in range(1, limit + 1):
        play.wire.retry(f"{attempt}/{limit}", info, said)
        play.wait(script.number("delay", 0.01))
        if attempt == script.number("times", 0):
            echo(play, script)
            return
    raise Failed(info, said)


SCENARIOS: dict[str, Callable[[Play, Script], None]] = {
    "plain": plain, "long": long, "thinking": thinking, "slow": slow, "hold": hold, "crash": crash, "crash-late": crash_late,
    "hang": hang, "garbage": garbage, "bigline": bigline, "flood": flood, "words": words, "patch": patch, "denied": approval,
    "compact": compact, "echo": echo,
}  # fmt: skip


def dump(message: Mapping[str, object]) -> bytes:
    return json.dumps(message).encode()
