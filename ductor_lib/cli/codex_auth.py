"""Is Codex there and signed in: asked from the CLI itself, remembered for a minute."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from ductor_lib.cli.auth import ASK_SECONDS, VERSION, AuthState, Remembering, written

METHODS = (("api key", "api_key"), ("chatgpt", "chatgpt"))  # in the words of `login status`: our word
BUILT_IN = ("amazon-bedrock", "lmstudio", "ollama")  # providers that Codex knows without a table


class CodexAuth(Remembering):
    """Asks Codex for its version and its login. A provider of the user's own in Codex's configuration may need none."""

    def _ask(self) -> AuthState:
        version = self._run("--version")
        if version is None or version[0] != 0:  # 127: there is no node to run it
            return AuthState(installed=False, signed_in=False, method="none", version="")
        found = VERSION.search(version[1])
        code, words = self._run("login", "status") or (1, "")
        home = Path(self._variables.get("CODEX_HOME") or Path(self._variables.get("HOME", "~")).expanduser() / ".codex")
        known = method(words) if code == 0 else "own provider" if own_provider(home / "config.toml") else "none"
        stamp = written(home / "auth.json", home / "config.toml")
        return AuthState(True, known != "none", known, found[0] if found else "", stamp)

    def _run(self, *words: str) -> tuple[int, str] | None:
        """Its exit code and all that it prints (the login is told on stderr); None when it cannot be started or does not answer."""
        try:
            argv = [*self._command, *words]
            done = subprocess.run(argv, env=self._variables, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def own_provider(file: Path) -> bool:
    """Whether the configuration names a provider of models that wants no login with OpenAI. A broken file names none."""
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    name, providers = settings.get("model_provider"), settings.get("model_providers")
    provider = providers.get(name) if isinstance(name, str) and isinstance(providers, dict) else None
    return name in BUILT_IN or (isinstance(provider, dict) and provider.get("requires_openai_auth") is not True)


def method(words: str) -> str:
    """How Codex is signed in, from what `login status` says."""
    return next((ours for theirs, ours in METHODS if theirs in words.lower()), "other")
