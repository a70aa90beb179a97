"""`python ductor.py` as people start it: a process of its own with a home, a terminal that nobody sits at, and a scripted `claude`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ductor_lib.cli import sweep
from ductor_lib.demo.telegram import LoopbackTelegram
from tests.fakes import OWNER, ROOT, SOON

MARKED = re.compile(rb"(?:^|\0)DUCTOR_MARK=[^\0/]+/(?!models\0)")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that does not show in the chat."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"not seen: {what}"
        threading.Event().wait(0.01)


def configure(folder: Path, telegram: LoopbackTelegram, *more: str) -> Path:
    """Write the settings of a home in `folder`; `more` are lines of config.toml. Returns the file."""
    config = folder / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    lines = (f'telegram_token = "{telegram.token}"', f'telegram_api_url = "{telegram.url}"', f"allowed_user_ids = [{OWNER}]")
    config.write_text("\n".join((*lines, 'permission_mode = "acceptEdits"', *more)) + "\n")
    return config


class Program:
    """`ductor.py` with these arguments, on the home in `folder`. Leaving kills it."""

    def __init__(self, folder: Path, *arguments: str, variables: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._output = folder / "output"
        environment = {"PATH": f"{scripted(folder)}:/usr/bin:/bin", "HOME": str(folder), "DUCTOR_HOME": str(folder / "home"),
                       "PYTHONFAULTHANDLER": "1"}  # fmt: skip
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "ductor.py"), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=folder, env={**environment, **(variables or {})},
            )  # fmt: skip

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        """What it and its predecessors on this home have printed."""
        return self._output.read_text()

    @property
    def log(self) -> str:
        file = self.folder / "home" / "logs" / "agent.log"
        return file.read_text() if file.exists() else ""

    def wait(self, timeout: float = SOON) -> int:
        """The exit code. A program that does not end is made to say where its threads are, and what it logged."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(timeout)
            raise AssertionError(f"it does not end\n{self.output}\n{self.log}") from None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def scripted(folder: Path) -> Path:
    """A folder for PATH with a `claude` in it that is the scripted agent."""
    claude = folder / "bin" / "claude"
    if not claude.exists():
        claude.parent.mkdir(parents=True)
        log = folder / "prompts.jsonl"
        claude.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} DUCTOR_DEMO_LOG={log} exec {sys.executable} -m ductor_lib.demo.agent "$@"\n')
        claude.chmod(0o755)
    return claude.parent


def agents(folder: Path) -> list[int]:
    """The processes that carry the mark of this home's agents, without the short one that lists the models."""
    sign = f"DUCTOR_HOME={folder / 'home'}\0".encode()
    found = []
    for pid in sweep.processes():
        try:
            environ = (sweep.PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue
        if pid != os.getpid() and sign in environ and MARKED.search(environ):
            found.append(pid)
    return found
