"""Keep the agent's world in order while the bot runs: the home at the start, rules in step, skills shared."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import ductor_lib
from ductor_lib.loop import Loop
from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile
from ductor_lib.workspace import home
from ductor_lib.workspace.home import Changes
from ductor_lib.workspace.rules import Rules
from ductor_lib.workspace.skills import Skills

RULES_SECONDS = 10.0  # between two looks at the rule files
SKILLS_SECONDS = 30.0  # between two looks at the skills
LAST_SECONDS = 2.0  # for a look under way at the end
STATE = "signed_in"  # in state.json: who was signed in when somebody looked last; asking takes longer than a start may
BUNDLED = Path(ductor_lib.__file__).parent / "home" / "workspace" / "skills"

log = logging.getLogger(__name__)


class Upkeep:
    """`prepare` once before agents are started, then `start` and `stop`, each once, by the owner.

    `command` is how ductor is started. `signed_in` says which providers are, and may take some seconds.
    """

    def __init__(
        self, paths: Paths, state: JsonFile, *, environment: Mapping[str, str], command: tuple[str, ...],
        signed_in: Callable[[], frozenset[str]], clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._state = state
        self._command = command
        self._signed_in = signed_in
        self._clock = clock
        self._rules = Rules(paths)
        self._skills = Skills(paths.skills, BUNDLED, environment=environment, home=Path(environment.get("HOME") or Path.home()))
        self._known: frozenset[str] = frozenset()
        self._skills_at = 0.0  # by `clock`; when they are due
        self._stopping = threading.Event()
        self._loop = Loop("workspace", self._look)

    def prepare(self) -> Changes:
        """Create, repair and upgrade the home; what was done. Raises OSError where it cannot be made at all."""
        stored = self._state.read().get(STATE)
        self._known = frozenset(name for name in stored if isinstance(name, str)) if isinstance(stored, list) else frozenset()
        changes = self._prepare(self._known)
        self._share()  # the bundled ones first: a new home has them from its first turn on
        return changes

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        """End the loop, then take our links away. Up to some seconds."""
        self._stopping.set()
        self._loop.stop(grace=LAST_SECONDS)
        self._skills.remove()

    def step(self) -> None:
        """Look at everything once."""
        signed_in = self._signed_in()
        if signed_in != self._known:
            self._prepare(signed_in)
            with self._state.change() as data:
                data[STATE] = sorted(signed_in)
            self._known = signed_in  # last: what failed is tried again
        self._rules.sync(signed_in)
        if self._clock() >= self._skills_at:
            self._share()

    def _look(self) -> None:
        self.step()
        self._stopping.wait(RULES_SECONDS)

    def _prepare(self, signed_in: frozenset[str]) -> Changes:
        return home.prepare(self._paths, signed_in=signed_in, command=self._command)

    def _share(self) -> None:
        self._skills_at = self._clock() + SKILLS_SECONDS
        self._skills.sync()
