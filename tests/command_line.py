"""`ductor …` as people and agents start it: a process of its own, on a home that was set up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ductor_lib import config
from ductor_lib.paths import Paths
from tests.fakes import OWNER, ROOT

GROUP = -1001
PATIENCE = 60  # seconds; a bound for what takes a quarter of one


class CommandLine:
    """A home in `folder` with settings; `more` are lines of config.toml."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.paths = Paths(folder / "home")
        self.paths.create()
        lines = (f'telegram_token = "{config.DEMO_TOKEN}"', f"allowed_user_ids = [{OWNER}]", f"allowed_group_ids = [{GROUP}]",
                 'user_timezone = "Europe/Berlin"')  # fmt: skip
        self.paths.config.write_text("\n".join((*lines, *more)) + "\n")

    def run(self, *words: str, said: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run to the end; `said` is the standard input."""
        home = {"HOME": str(self.paths.home.parent), "DUCTOR_HOME": str(self.paths.home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            [sys.executable, str(ROOT / "ductor.py"), *words], input=said, capture_output=True, encoding="utf-8", timeout=PATIENCE,
            cwd=self.paths.home.parent, env={**home, **variables},
        )  # fmt: skip

    def lines(self, *words: str, said: str = "", **variables: str) -> list[str]:
        """What it prints for people, when all went well."""
        done = self.run(*words, said=said, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def json(self, *words: str, said: str = "", **variables: str) -> dict[str, object]:
        """What it prints with --json, which must be one object and nothing else."""
        done = self.run(*words, "--json", said=said, **variables)
        assert done.stderr == ""
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        assert ("error" in answer) == bool(done.returncode)
        return answer

    def refused(self, *words: str, said: str = "", code: int = 1) -> str:
        """What it says to people when it refuses."""
        done = self.run(*words, said=said)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"ductor {words[0]}: ")
        return done.stderr
