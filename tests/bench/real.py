"""The real command lines of both agents: under the bot, and driven by the least that can drive them. The model is a stand-in here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ductor_lib.cli import codex_params, sweep
from ductor_lib.messages import Chat
from ductor_lib.orchestrator import prompts
from ductor_lib.paths import Paths
from ductor_lib.ports import TurnRequest
from ductor_lib.workspace import rules
from tests.bench.rig import Rig, fresh

CLIS = ("claude", "codex")
CODEX_MODEL, EFFORT = "gpt-5.5", "medium"
CODEX_CONFIG = """\
model = "{model}"
model_provider = "stub"
check_for_update_on_startup = false

[model_providers.stub]
name = "stub"
base_url = "{url}"
wire_api = "responses"
"""
WRAPPER = """#!/bin/sh
case "$*" in *--include-partial-messages*) printf '%s\\0' "$@" > '{words}' ;; esac
exec '{program}' "$@"
"""
LIFE = 280.0  # seconds; a bound for an agent that never answers, never a pause
Raw = dict[str, Any]  # a line, in the CLI's own terms


def missing(cli: str) -> str:
    """Why a real agent cannot be measured here, "" when it can."""
    if shutil.which(cli) is None:
        return f"{cli} is not on PATH"
    return "" if os.path.exists("/proc/self/environ") else "this system has no /proc"


class RealRig(Rig):
    """The bot with one real agent, in a home of its own that asks the model at `url`."""

    def __init__(self, cli: str, url: str, *, warm: int = 2, parallel: int = 8, users: Sequence[int] = ()) -> None:
        self._cli = cli
        choice = [f'provider = "{cli}"', *([f'model = "{CODEX_MODEL}"'] if cli == "codex" else ())]
        super().__init__(
            warm=warm, parallel=parallel, users=users, programs={cli: ""}, settings=choice, variables=variables(url),
        )  # fmt: skip
        self._words = self.folder / "words"
        script = WRAPPER.format(words=self._words, program=shutil.which(cli))
        (self.program.parent / cli).write_text(script)
        prepare(self.folder, url)
        config = self.folder / "home" / "config" / "config.toml"
        config.write_text(config.read_text() + "[streaming]\nedit_interval_seconds = 0.1\n")  # the budget of a chat is back at once
        others = [name for name in os.environ["PATH"].split(os.pathsep) if not any((Path(name) / other).exists() for other in CLIS)]
        self.environment["PATH"] = os.pathsep.join((str(self.program.parent), *others, *node()))

    def last_command(self) -> list[str]:
        """The arguments of the Claude Code that was started last for a conversation."""
        return self._words.read_text().split("\0")[:-1]

    def agents(self) -> list[int]:
        """The processes of the agents, and what they have started."""
        home = f"DUCTOR_HOME={self.folder / 'home'}\0".encode()
        environments = {pid: read(pid, "environ") for pid in sweep.processes()}
        return [pid for pid, found in environments.items() if home in found and b"DUCTOR_MARK=" in found]

    def end_agents(self) -> None:
        """End the idle ones, so that the next turn begins without any."""
        table = sweep.processes()
        sweep.stop([table[pid] for pid in self.agents() if pid in table])


def variables(url: str) -> dict[str, str]:
    """What a real Claude Code needs to ask the model at `url`; Codex reads it from its settings."""
    return {
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "dummy", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }  # fmt: skip


def prepare(home: Path, url: str) -> None:
    """The settings of Codex in a home."""
    (home / ".codex").mkdir(exist_ok=True)
    (home / ".codex" / "config.toml").write_text(CODEX_CONFIG.format(model=CODEX_MODEL, url=url))


def read(pid: int, name: str) -> bytes:
    """A file of /proc, empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def node() -> tuple[str, ...]:
    """The folder of Node, which the wrapper of Codex needs."""
    found = shutil.which("node")
    return (os.path.dirname(found),) if found else ()


class Alone:
    """An agent without the bot: lines in, lines out. Leaving it ends its input, and waits for its end."""

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        self._child = subprocess.Popen(
            list(command), cwd=cwd, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._limit = threading.Timer(LIFE, self._child.kill)
        self._limit.daemon = True
        self._limit.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._child.communicate()
        self._limit.cancel()

    def send(self, raw: Raw) -> None:
        assert self._child.stdin
        self._child.stdin.write(json.dumps(raw).encode() + b"\n")
        self._child.stdin.flush()

    def until(self, wanted: Callable[[Raw], object]) -> Raw:
        """The first line of its kind."""
        assert self._child.stdout
        for line in self._child.stdout:
            raw = json.loads(line)
            if wanted(raw):
                return dict(raw)
        raise AssertionError("the agent has ended")


class ClaudeAlone(Alone):
    """Claude Code with the arguments that the bot would give it, and a session of its own."""

    def __init__(self, rig: RealRig) -> None:
        super().__init__([str(rig.program), *fresh(rig.last_command())], cwd=rig.workspace, environment=rig.environment)

    def first(self, prompt: str) -> float:
        """Ask, and read to the end of the turn. When the first words came, in monotonic seconds."""
        self.send({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": prompt}]}})
        self.until(lambda raw: raw.get("event", {}).get("delta", {}).get("type") == "text_delta")
        at = time.monotonic()
        self.until(lambda raw: raw["type"] == "result")
        return at


class CodexAlone(Alone):
    """A server of Codex with one thread, and the settings that the bot would give it."""

    def __init__(self, rig: RealRig) -> None:
        words, paths = codex_params.server_argv([str(rig.program.parent / "codex")], ()), Paths(rig.folder / "home")
        super().__init__(words, cwd=rig.workspace, environment=rig.environment)
        self._request = TurnRequest(
            conversation="", chat=Chat(1), prompt="", session_id="", resume=False, model=CODEX_MODEL, effort=EFFORT, cwd=rig.workspace,
            instructions=prompts.instructions(Chat(1)), permission_mode="acceptEdits", timeout=LIFE, silence=LIFE,
            memory=prompts.memory(rules.memory(paths)), writable=(paths.requests,),
        )  # fmt: skip
        self._ask("initialize", codex_params.hello())
        self.send({"method": "initialized"})
        self._thread = self._ask("thread/start", codex_params.thread_settings(self._request, "alone"))["thread"]["id"]

    def first(self, prompt: str) -> float:
        """Ask, and read to the end of the turn. When the first words came, in monotonic seconds."""
        self.send({"id": 0, "method": "turn/start", "params": codex_params.turn_start(self._thread, replace(self._request, prompt=prompt))})
        self.until(lambda raw: raw.get("method") == "item/agentMessage/delta")
        at = time.monotonic()
        self.until(lambda raw: raw.get("method") == "turn/completed")
        return at

    def _ask(self, method: str, params: Raw) -> Raw:
        self.send({"id": method, "method": method, "params": params})
        return dict(self.until(lambda raw: raw.get("id") == method)["result"])
