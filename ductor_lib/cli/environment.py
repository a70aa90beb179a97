"""The environment of agents: what they need and nothing else; tools inherit all of it, so no token of ours is ever in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ductor_lib.messages import Chat
from ductor_lib.paths import Paths

HOME = "DUCTOR_HOME"
MARK = "DUCTOR_MARK"  # "<run>/<conversation>": the sweep finds an agent's processes by it
NAMES = frozenset({
    "HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "COLORTERM", "TMPDIR", "TMP", "TEMP", "TZ",
    "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "CLOUD_ML_REGION", "IS_SANDBOX", "API_TIMEOUT_MS", "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_TIMEOUT_MS", "BASH_MAX_OUTPUT_LENGTH",
    "MAX_THINKING_TOKENS", "MAX_MCP_OUTPUT_TOKENS", "MCP_TIMEOUT", "MCP_TOOL_TIMEOUT", "VIRTUAL_ENV", "JAVA_HOME", "GOPATH",
    "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA", "PROGRAMFILES", "PROGRAMDATA",
})  # fmt: skip
PREFIXES = ("LC_", "XDG_", "SSL_", "ANTHROPIC_", "CLAUDE_", "AWS_", "GOOGLE_", "VERTEX_", "DISABLE_")
SUFFIXES = ("_PROXY", "_proxy")
INSIDE = ("CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT")  # set where we run inside Claude Code; an agent must not think it does
FOR_TOOLS = ("DUCTOR_TRANSCRIBE", "DUCTOR_WHISPER_MODEL")  # read by `ductor tool`
OURS = ("DUCTOR_", "TELEGRAM_")  # the bot's own; a token among them is not handed on even when asked for


def mark(run: str, conversation: str) -> str:
    """The value of MARK, unique to the conversation and the run."""
    return f"{run}/{conversation}"


def plain_environment(base: Mapping[str, str], *, pass_env: Sequence[str] = (), secrets: Sequence[str] = ()) -> dict[str, str]:
    """What a CLI may see of this process's environment.

    `pass_env` are more names to hand on. A variable whose value holds one of `secrets` stays out whatever its name.
    """
    allowed = {name: value for name, value in base.items() if _allowed(name) or (name in pass_env and not _is_token(name))}
    return {name: value for name, value in allowed.items() if not any(secret and secret in value for secret in secrets)}


def agent_environment(plain: Mapping[str, str], *, home: Path, marker: str, chat: Chat) -> dict[str, str]:
    """The environment of one conversation's agent: what it may see, where it belongs, and the mark for the sweep."""
    topic = {} if chat.topic is None else {"DUCTOR_TOPIC_ID": str(chat.topic)}
    return {**home_environment(plain, home=home, marker=marker), "DUCTOR_CHAT_ID": str(chat.id), **topic}


def home_environment(plain: Mapping[str, str], *, home: Path, marker: str) -> dict[str, str]:
    """The environment of a process that works for no conversation in particular. It finds the command `ductor` on its PATH."""
    path = os.pathsep.join(filter(None, (str(Paths(home).tools_bin), plain.get("PATH", ""))))
    return {**plain, HOME: str(home), MARK: marker, "PATH": path}


def _allowed(name: str) -> bool:
    if name in FOR_TOOLS:
        return True
    return name not in INSIDE and (name in NAMES or name.startswith(PREFIXES) or name.endswith(SUFFIXES)) and not name.startswith(OURS)


def _is_token(name: str) -> bool:
    return name.startswith(OURS) and "TOKEN" in name
