"""The whole bot with the real Codex, the loopback Telegram and the stand-in for the model; and what of it runs on this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from ductor_lib.app import App
from ductor_lib.cli import sweep
from tests.e2e.claude_bot import read
from tests.e2e.responses_stub import Call, ResponsesStub
from tests.fakes import Bot

CODEX = shutil.which("codex") or ""
NO_CLAUDE = ("there-is-no-claude",)
MISSING = (
    "codex is not on PATH; npm install -g @openai/codex fetches it" if not CODEX
    else "" if sweep.BY_ENVIRONMENT else "this system has no /proc to see in what an agent runs"
)  # fmt: skip
CONFIG = """\
model = "gpt-5.5"
model_provider = "stub"
check_for_update_on_startup = false

[model_providers.stub]
name = "stub"
base_url = "{url}"
wire_api = "responses"

[sandbox_workspace_write]  # a test's folders lie there
exclude_slash_tmp = true
exclude_tmpdir_env_var = true
"""


class CodexBot(Bot):
    """A bot whose agent is Codex with an empty home; it asks the stub instead of a model. Commands run in its sandbox."""

    def __init__(self, folder: Path, stub: ResponsesStub, **overrides: object) -> None:
        self.stub = stub
        home = folder / "user"
        (home / ".codex").mkdir(parents=True)
        (home / ".codex" / "config.toml").write_text(CONFIG.format(url=stub.url))
        self._variables = {"PATH": os.environ["PATH"], "HOME": str(home), "IS_SANDBOX": "1"}  # so that root may choose any mode
        super().__init__(folder, command=NO_CLAUDE, codex=(CODEX,), telegram=None, **{"provider": "codex", "model": "gpt-5.5", **overrides})

    @property
    def asked(self) -> list[Call]:
        """What the model was asked, in order."""
        return self.stub.calls

    def _build(self) -> App:
        return App(self._settings, self.paths, environment=self._variables, command=NO_CLAUDE, codex_command=self._codex)

    def __enter__(self) -> CodexBot:
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        home = f"DUCTOR_HOME={self.paths.home}".encode()
        assert error or not [pid for pid in sweep.processes() if home in read(pid, "environ").split(b"\0")]


@functools.cache
def unsandboxed() -> str:
    """Why Codex cannot run commands in its sandbox here; empty when it can."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [CODEX, "sandbox", "--", "true"], env={**os.environ, "CODEX_HOME": home}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
    return "" if done.returncode == 0 else f"Codex's sandbox does not run on this machine: {done.stderr.strip()[-300:]}"
