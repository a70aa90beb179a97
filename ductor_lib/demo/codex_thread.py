"""A thread of the scripted Codex on disk: what was asked in it, and the sum of its tokens."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ductor_lib.demo.stream import new_id


class Thread:
    """One conversation, for one process at a time."""

    def __init__(self, key: str, folder: str, *, model: str) -> None:
        self.key = key
        self.folder = folder
        self.model = model
        self.variables: dict[str, str] = {}
        self.path = home() / f"{key}.json"
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.read, self.written = int(known.get("read", 0)), int(known.get("written", 0))
        self.prompts: list[str] = list(known.get("prompts", []))

    @staticmethod
    def known(key: str) -> bool:
        return (home() / f"{key}.json").exists()

    @staticmethod
    def copy(key: str) -> str:
        """The id of a new thread that begins with all that is in this one."""
        new = new_id()
        (home() / f"{new}.json").write_bytes((home() / f"{key}.json").read_bytes())
        return new

    def note(self, prompt: str, argv: list[str]) -> None:
        """Remember the prompt, also in the log that tests read."""
        self.prompts.append(prompt)
        self.store()
        if log := os.environ.get("DUCTOR_DEMO_LOG"):
            fact = {"prompt": prompt, "pid": os.getpid(), "session_id": self.key, "model": self.model, "argv": argv, "cwd": self.folder}
            with Path(log).open("a") as file:
                file.write(json.dumps({**fact, "variables": self.variables}) + "\n")

    def store(self) -> None:
        self.path.write_text(json.dumps({"read": self.read, "written": self.written, "prompts": self.prompts}))

    def usage(self) -> dict[str, int]:
        """The sum of all calls of the model."""
        return {"inputTokens": self.read, "outputTokens": self.written}


def home() -> Path:
    folder = Path(os.environ.get("HOME") or "/tmp") / ".codex-demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
