"""`ductor tool …` as an agent's shell starts it: a process of its own, on a PATH with exactly the programs that a test made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.fakes import ROOT


class Shell:
    """A folder to work in, with a home and programs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so in a shell's background; what we start would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.variables = {"HOME": str(folder), "PATH": str(self.programs), "TZ": "Europe/Berlin"}

    def install(self, name: str, script: str) -> None:
        """Put a program on the PATH: a script for sh, whose own programs are those of the system."""
        program = self.programs / name
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        program.chmod(0o755)

    def tool(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one tool to its end."""
        with self.start(*words, **variables) as process:
            try:
                output, errors = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def json(self, *words: str | Path, **variables: str) -> dict[str, object]:
        """What a tool prints with --json, which must be one object and nothing else."""
        result = self.tool(*words, "--json", **variables)
        assert result.stderr == ""
        answer = json.loads(result.stdout)
        assert isinstance(answer, dict)
        assert ("error" in answer) == bool(result.returncode)
        return answer

    def start(self, *words: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Start one tool and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "ductor.py"), "tool", *map(str, words)], cwd=self.folder, env={**self.variables, **variables},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
