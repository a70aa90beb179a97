"""Where everything of one home lies. The only module that spells file names of the home."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of one ductor home."""

    home: Path

    @classmethod
    def default(cls) -> Paths:
        """`$DUCTOR_HOME`, or `~/.ductor`."""
        return cls(Path(os.environ.get("DUCTOR_HOME") or Path.home() / ".ductor").expanduser().absolute())

    @property
    def config(self) -> Path:
        return self.home / "config" / "config.toml"

    @property
    def state(self) -> Path:
        return self.home / "state.json"

    @property
    def sessions(self) -> Path:
        return self.home / "sessions.json"

    @property
    def ledger(self) -> Path:
        return self.home / "ledger.db"

    @property
    def lock(self) -> Path:
        return self.home / "ductor.lock"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "agent.log"

    @property
    def codex_models(self) -> Path:
        return self.home / "config" / "codex_models.json"

    @property
    def workspace(self) -> Path:
        return self.home / "workspace"

    def create(self) -> None:
        """Make the folders, readable by nobody else. Raises OSError where the disk does not let us."""
        for folder in (self.home, self.config.parent, self.log.parent, self.workspace):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
