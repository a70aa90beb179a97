"""Both agents with all that is known about them: who is signed in, which models there are. Built whole, closed whole."""

from __future__ import annotations

from collections.abc import Mapping

from ductor_lib import config
from ductor_lib.cli import sweep
from ductor_lib.cli.auth import Auth
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.claude_models import ClaudeModels
from ductor_lib.cli.codex import Codex
from ductor_lib.cli.codex_auth import CodexAuth
from ductor_lib.cli.codex_models import Models
from ductor_lib.cli.codex_params import codex_environment
from ductor_lib.cli.environment import plain_environment
from ductor_lib.cli.host import Host
from ductor_lib.cli.pool import ClaudePool
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings
from ductor_lib.paths import Paths
from ductor_lib.ports import Agent

MODELS_WAIT = 10.0  # seconds for Codex to list its models


class Clis:
    """The command lines `claude` and `codex` start the agents; `environment` is what these may inherit from.

    `run` is unique to this run of the program. Any thread; `close` once, at the end.
    """

    def __init__(
        self, settings: Settings, paths: Paths, *, run: str, environment: Mapping[str, str], claude: tuple[str, ...], codex: tuple[str, ...]
    ) -> None:
        pass_env, secrets = settings.agents.pass_env, (settings.telegram_token,)
        host = Host(paths.home, run, environment, config.agents_parallel(settings), pass_env, secrets)
        self.claude = ClaudePool(claude, host, warm=settings.agents.warm, warm_seconds=settings.agents.warm_minutes * 60.0)
        self.codex = Codex(codex, host)
        self._run = run
        self.agents: dict[str, Agent] = {"claude": self.claude, "codex": self.codex}
        self.variables = plain_environment(environment, pass_env=pass_env, secrets=secrets)
        self.sign_ins = SignIns({
            "claude": Auth(claude, variables=self.variables),
            "codex": CodexAuth(codex, variables=codex_environment(environment, pass_env=pass_env, secrets=secrets)),
        })
        self._codex_models = Models(paths.codex_models, self._list_codex_models)
        self._claude_models = ClaudeModels(claude, home=paths.home, run=run, variables=self.variables)
        self.catalogue = Catalogue(self._claude_models, self._codex_models)

    def keep_up(self) -> None:
        """Let idle agents go, and ask again for sign-ins and models. Some seconds; for the housekeeping."""
        self.claude.evict_idle()
        self.sign_ins.refresh()
        self._codex_models.list()
        self._claude_models.refresh()

    def close(self) -> None:
        """Stop every turn, end every process and what it started. Up to some seconds."""
        self.claude.leave()
        self.codex.leave()
        sweep.sweep_run(self._run)

    def _list_codex_models(self) -> Mapping[str, object]:
        return self.codex.ask("model/list", {}, timeout=MODELS_WAIT)
