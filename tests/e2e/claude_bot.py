"""The whole bot with the real Claude Code, the loopback Telegram and the stand-in for the model; and what of it runs on this machine."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ductor_lib.app import App
from ductor_lib.cli import sweep
from tests.e2e.model_stub import ModelStub, Request
from tests.fakes import NO_CODEX, SOON, Bot, is_running

CLAUDE = shutil.which("claude") or ""
TOOLS = ("--allowedTools", "Bash")  # as root, bypassPermissions is refused
PAUSE = 0.02  # seconds between two looks
MISSING = (
    "claude is not on PATH; DUCTOR_E2E=1 ./install.sh test fetches it" if not CLAUDE
    else "" if sweep.BY_ENVIRONMENT else "this system has no /proc to see in what an agent runs"
)  # fmt: skip
T = TypeVar("T")


class ClaudeBot(Bot):
    """A bot whose agent is Claude Code with an empty home; it asks the stub instead of a model. `key` signs it in."""

    def __init__(self, folder: Path, stub: ModelStub, *, command: str = CLAUDE, key: str = "dummy", **overrides: object) -> None:
        self.stub = stub
        self._variables = environment(folder, stub, key)
        wanted = {"cli_parameters": {"claude": TOOLS}, "streaming": {"edit_interval_seconds": 0.2}, **overrides}
        super().__init__(folder, command=(command,), codex=NO_CODEX, telegram=None, **wanted)

    @property
    def asked(self) -> list[Request]:
        """What the model was asked, in order."""
        return self.stub.requests

    def _build(self) -> App:
        return App(self._settings, self.paths, environment=self._variables, command=self._command, codex_command=NO_CODEX)

    def __enter__(self) -> ClaudeBot:
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        assert error or not self.agents()

    def ask(self, text: str, *, answer: str) -> None:
        """Say something and wait for the answer that shows these words."""
        self.say(text)
        self.wait_for(answer)

    def preview(self, words: str) -> str:
        """The text of the running preview, as soon as it shows these words."""
        return self.telegram.wait(
            lambda _: next((m.text for m in self.shown() if is_running(m) and words in m.text), None), timeout=SOON, what=words
        )

    def agents(self) -> dict[int, list[str]]:
        """The Claude processes of this bot's conversations that run now: process id → arguments."""
        home = f"DUCTOR_HOME={self.paths.home}".encode()
        found = {pid: (read(pid, "cmdline"), read(pid, "environ")) for pid in sweep.processes()}
        return {
            pid: words.decode().split("\0")
            for pid, (words, variables) in found.items()
            if b"--include-partial-messages" in words and home in variables.split(b"\0")
        }

    def agent(self) -> int:
        """The process id of the only one."""
        (pid,) = self.agents()
        return pid


def environment(folder: Path, stub: ModelStub, key: str) -> dict[str, str]:
    """What the bot inherits: a home that is empty at first, and the way to the stub."""
    home = folder / "user"
    (home / ".claude").mkdir(parents=True, exist_ok=True)  # where there is none, no skills are shared
    signed_in = {"ANTHROPIC_API_KEY": key} if key else {}
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "ANTHROPIC_BASE_URL": stub.url, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1", "CLAUDE_CODE_TMPDIR": str(folder), **signed_in,
    }


def running(words: str) -> list[int]:
    """The ids of all processes with these words on their command line."""
    return [pid for pid in sweep.processes() if words.encode() in read(pid, "cmdline").replace(b"\0", b" ")]


def read(pid: int, name: str) -> bytes:
    """A file of /proc, empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def until(condition: Callable[[], T], what: str) -> T:
    """The first truthy value of something that nobody announces."""
    pause, deadline = threading.Event(), time.monotonic() + SOON
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not seen within {SOON:g} s: {what}"
        pause.wait(PAUSE)
    return value
