"""Is Claude Code there and signed in, and what to tell a person when it is not: asked from the CLI itself, remembered for a minute."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ductor_lib import logs
from ductor_lib.errors import SENTENCES, ErrorKind

ASK_SECONDS = 10.0  # `auth status` needs 0.3 s and no network
UNKNOWN = "unknown"
REMEMBERED = 60.0  # seconds
DETAIL_CHARS = 300
CLOUDS = {"CLAUDE_CODE_USE_BEDROCK": "bedrock", "CLAUDE_CODE_USE_VERTEX": "vertex"}  # their own credentials are the cloud's
VERSION = re.compile(r"\d+\.\d+\.\d+\S*")
TELLING: dict[ErrorKind, str] = {  # where the provider's own words add something: what they must contain
    "rate_limited": r"reset|until|\d",
    "refused": r".",
    "crashed": r".",
    "killed": r".",
    "unreachable": r".",
    "unknown_model": r".",
    "context_full": r"\d",
}
EPOCH = re.compile(r"\|(\d{10})\b")  # "usage limit reached|1735689600", unix seconds


@dataclass(frozen=True, slots=True)
class Cli:
    """What a person needs to know about one CLI."""

    title: str
    install: str
    login: str


CLIS = {
    "claude": Cli("Claude Code", "npm install -g @anthropic-ai/claude-code", "claude auth login"),
    "codex": Cli("Codex", "npm install -g @openai/codex", "codex login"),
}


@dataclass(frozen=True, slots=True)
class AuthState:
    """`method` is the CLI's word for how it is signed in: "claude.ai", "api_key", "oauth_token", "none".

    `stamp` is when its credentials were written last, in nanoseconds, 0 where that cannot be seen: a new login is another state.
    """

    installed: bool
    signed_in: bool
    method: str
    version: str
    stamp: int = 0


class Remembering(ABC):
    """Asks a CLI, `command`, for its state and remembers the answer for a minute. How it is asked is the subclass's part."""

    def __init__(self, command: Sequence[str], *, variables: Mapping[str, str], now: Callable[[], float] = time.monotonic) -> None:
        self._command = tuple(command)
        self._variables = dict(variables)
        self._now = now
        self._lock = threading.Lock()
        self._known: tuple[float, AuthState] | None = None

    def state(self) -> AuthState:
        """The state, at most a minute old. May take some seconds: not for a thread that others wait for. Any thread."""
        with self._lock:
            known = self._known
        if known is not None and self._now() - known[0] < REMEMBERED:
            return known[1]
        state = self._ask()
        with self._lock:
            self._known = self._now(), state
        return state

    @abstractmethod
    def _ask(self) -> AuthState:
        """Ask now; may take some seconds."""


class Auth(Remembering):
    """Asks Claude Code for its version and its login. Presence is all that it tells: an expired login still counts as one."""

    def _ask(self) -> AuthState:
        version = self._run("--version")
        if version is None:
            return AuthState(installed=False, signed_in=False, method="none", version="")
        found = VERSION.search(version)
        facts = claimed(self._run("auth", "status") or "")
        signed_in, method = facts.get("loggedIn") is True, str(facts.get("authMethod") or "none")
        if not facts:  # it does not tell, as an older one: only a turn can show it
            signed_in, method = True, UNKNOWN
        if cloud := next((name for variable, name in CLOUDS.items() if self._variables.get(variable) == "1"), ""):
            signed_in, method = True, cloud
        home = Path(self._variables.get("CLAUDE_CONFIG_DIR") or Path(self._variables.get("HOME", "~")).expanduser() / ".claude")
        return AuthState(True, signed_in, method, found[0] if found else "", written(home / ".credentials.json"))

    def _run(self, *words: str) -> str | None:
        """What it prints; None when it cannot be started, "" when it does not answer in time."""
        try:
            argv = [*self._command, *words]
            done = subprocess.run(argv, env=self._variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        except OSError:
            return None
        return done.stdout.decode("utf-8", "replace")


def written(*files: Path) -> int:
    """When the newest of the files was written, in nanoseconds; 0 when there is none."""
    stamps = [0]
    for file in files:
        with contextlib.suppress(OSError):
            stamps.append(file.stat().st_mtime_ns)
    return max(stamps)


def claimed(output: str) -> Mapping[str, object]:
    """The JSON object in what `auth status` prints, {} when there is none."""
    try:
        facts = json.loads(output)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def sentence(kind: ErrorKind, cli: str = "claude", detail: str = "") -> str:
    """What to tell a person about a failure, with the provider's own words (`detail`) where they add something."""
    known = CLIS[cli]
    text = SENTENCES[kind].format(cli=known.title, install=known.install, login=known.login)
    words = " ".join(EPOCH.sub(_until, logs.redact(detail)).removeprefix("API Error:").split())
    if kind not in TELLING or not re.search(TELLING[kind], words):
        return text
    return f"{text}\n\n{known.title}: {words if len(words) <= DETAIL_CHARS else words[: DETAIL_CHARS - 1] + '…'}"


def _until(found: re.Match[str]) -> str:
    return time.strftime(", until %Y-%m-%d %H:%M UTC", time.gmtime(int(found[1])))
