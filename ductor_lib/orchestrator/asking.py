"""The request for an agent: what is to be done in which session, with everything that the settings and the home add."""

from __future__ import annotations

from pathlib import Path

from ductor_lib.config import Settings
from ductor_lib.messages import Incoming
from ductor_lib.orchestrator import prompts
from ductor_lib.orchestrator.limits import turn_budget
from ductor_lib.orchestrator.runs import Order
from ductor_lib.paths import Paths
from ductor_lib.ports import Choice, TurnRequest
from ductor_lib.workspace import rules


class Asking:
    """Makes requests for turns of conversations and for unattended runs. Any thread; reads the memory each time."""

    def __init__(self, settings: Settings, paths: Paths, *, permission_mode: str) -> None:
        self._settings = settings
        self._paths = paths
        self._permission_mode = permission_mode

    def request(
        self, item: Incoming, choice: Choice, order: Order, *, prompt: str, cwd: Path, instructions: str, session_id: str,
        resume: bool = False, fork_of: str = "", unattended: bool = False,
    ) -> TurnRequest:
        """See `TurnRequest`; the parameters of the `order` take the place of the usual ones."""
        settings = self._settings
        usual = {"claude": settings.cli_parameters.claude, "codex": settings.cli_parameters.codex}[choice.provider]
        return TurnRequest(
            conversation=item.lane, chat=item.chat, prompt=prompt, session_id=session_id, resume=resume, model=choice.model,
            effort=choice.effort, cwd=cwd, instructions=instructions, permission_mode=self._permission_mode,
            timeout=settings.cli_timeout, silence=settings.agents.silence_timeout, max_turns=settings.max_turns,
            max_budget_usd=turn_budget(settings), parameters=usual if order.parameters is None else order.parameters,
            fork_of=fork_of, memory=prompts.memory(rules.memory(self._paths)), writable=(self._paths.requests,), unattended=unattended,
        )
