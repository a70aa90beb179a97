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

    @property
    def cron_jobs(self) -> Path:
        return self.home / "cron_jobs.json"

    @property
    def webhooks(self) -> Path:
        return self.home / "webhooks.json"

    @property
    def home_manifest(self) -> Path:
        """What ductor itself has written into the home, by hash: how an edited file is told from an old one."""
        return self.home / "config" / "home.json"

    @property
    def memory(self) -> Path:
        return self.workspace / "memory_system" / "MAINMEMORY.md"

    @property
    def cron_tasks(self) -> Path:
        return self.workspace / "cron_tasks"

    @property
    def skills(self) -> Path:
        return self.workspace / "skills"

    @property
    def tools(self) -> Path:
        return self.workspace / "tools"

    @property
    def tools_bin(self) -> Path:
        """The folder on the agent's PATH in which it finds `ductor`; outside the workspace, where a careful agent may write."""
        return self.home / "bin"

    @property
    def telegram_files(self) -> Path:
        return self.workspace / "telegram_files"

    @property
    def output_to_user(self) -> Path:
        return self.workspace / "output_to_user"

    @property
    def requests(self) -> Path:
        return self.workspace / ".requests"

    def create(self) -> None:
        """Make the folders, readable by nobody else. Raises OSError where the disk does not let us."""
        for folder in (self.home, self.config.parent, self.log.parent, self.workspace):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
