"""What agents are started with on this machine, whichever they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.cli.environment import mark


@dataclass(frozen=True, slots=True)
class Host:
    """The home agents belong to, what they may inherit, and how many may work at once.

    `run` is unique to this run of the program: it is in the mark of every process. `environment` is that of this process,
    of which agents get the part they need, plus the names in `pass_env`. `secrets` are kept out of environments and of
    errors. At most `parallel` turns of each agent run at once. `now` is in seconds.
    """

    home: Path
    run: str
    environment: Mapping[str, str]
    parallel: int
    pass_env: Sequence[str] = ()
    secrets: Sequence[str] = ()
    now: Callable[[], float] = time.monotonic

    def marker(self, name: str) -> str:
        """The mark of a conversation's processes, or of others with a name of their own."""
        return mark(self.run, name)
