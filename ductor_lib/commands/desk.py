"""What every command can reach."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.automation.heartbeat import Heartbeat
from ductor_lib.automation.office import Office
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.cli.transcripts import Transcripts
from ductor_lib.config import Settings
from ductor_lib.messages import Incoming
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.limits import Limits
from ductor_lib.orchestrator.turns import Turns
from ductor_lib.paths import Paths
from ductor_lib.ports import Agent, Views
from ductor_lib.session import Sessions


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts a command works with. `started` in monotonic seconds; what is put into `released` runs in its lane."""

    settings: Settings
    paths: Paths
    permission_mode: str
    ledger: Ledger
    sessions: Sessions
    agents: Mapping[str, Agent]
    sign_ins: SignIns
    catalogue: Catalogue
    transcripts: Transcripts
    choices: Choices
    limits: Limits
    turns: Turns
    views: Views
    office: Office
    heartbeat: Heartbeat
    released: queue.SimpleQueue[Incoming | None]
    started: float

    @property
    def cwd(self) -> Path:
        """Where the agents of conversations work."""
        return self.paths.workspace
