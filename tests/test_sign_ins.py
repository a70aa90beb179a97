"""Who is signed in: asked once, refreshed beside the work, and not believed after a refusal until something changes."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from ductor_lib.cli.auth import Auth, AuthState
from ductor_lib.cli.codex_auth import CodexAuth
from ductor_lib.cli.sign_ins import SignIns

READY = AuthState(installed=True, signed_in=True, method="api_key", version="1.2.3", stamp=1)
CLAUDE = (sys.executable, "-m", "ductor_lib.demo.agent")
CODEX = (sys.executable, "-m", "ductor_lib.demo.codex_agent")
ROOT = Path(__file__).parent.parent


class Fake:
    """A CLI whose state a test decides; counts how often it was asked."""

    def __init__(self, answer: AuthState = READY) -> None:
        self.answer = answer
        self.asked = 0

    def state(self) -> AuthState:
        self.asked += 1
        return self.answer


def test_the_first_call_asks_and_later_ones_remember() -> None:
    cli = Fake()
    sign_ins = SignIns({"claude": cli})

    assert [sign_ins.state("claude") for _ in range(3)] == [READY] * 3

    assert cli.asked == 1


def test_a_refresh_asks_every_cli_again() -> None:
    claude, codex = Fake(), Fake()
    sign_ins = SignIns({"claude": claude, "codex": codex})
    sign_ins.state("claude")
    claude.answer = AuthState(True, False, "none", "1.2.3")

    sign_ins.refresh()

    assert sign_ins.providers() == ("claude", "codex")
    assert not sign_ins.state("claude").signed_in
    assert (claude.asked, codex.asked) == (2, 1)


def test_a_refused_sign_in_is_not_believed_again_although_the_cli_still_claims_it() -> None:
    sign_ins = SignIns({"claude": Fake(), "codex": Fake()})
    sign_ins.state("claude")

    sign_ins.rejected("claude")
    sign_ins.refresh()

    assert (sign_ins.state("claude").signed_in, sign_ins.state("claude").method) == (False, "rejected")
    assert sign_ins.state("codex").signed_in


def test_a_turn_that_succeeds_makes_it_believed_again() -> None:
    sign_ins = SignIns({"claude": Fake()})
    sign_ins.state("claude")
    sign_ins.rejected("claude")

    sign_ins.accepted("claude")

    assert sign_ins.state("claude") == READY


def test_new_credentials_make_it_believed_again() -> None:
    cli = Fake()
    sign_ins = SignIns({"claude": cli})
    sign_ins.state("claude")
    sign_ins.rejected("claude")
    cli.answer = AuthState(True, True, "api_key", "1.2.3", stamp=2)

    sign_ins.refresh()

    assert sign_ins.state("claude").signed_in


def test_what_is_signed_out_is_called_so_and_not_refused() -> None:
    cli = Fake(AuthState(True, False, "none", "1.2.3"))
    sign_ins = SignIns({"claude": cli})
    sign_ins.state("claude")

    sign_ins.rejected("claude")

    assert sign_ins.state("claude").method == "none"


# the states themselves


def variables(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "DUCTOR_DEMO_SIGNED_OUT": "1", **more}


@pytest.mark.parametrize(("variable", "method"), [("CLAUDE_CODE_USE_BEDROCK", "bedrock"), ("CLAUDE_CODE_USE_VERTEX", "vertex")])
def test_claude_code_on_a_cloud_needs_no_sign_in_of_its_own(tmp_path: Path, variable: str, method: str) -> None:
    on, off = variables(tmp_path, **{variable: "1"}), variables(tmp_path, **{variable: "0"})

    state = Auth(CLAUDE, variables=on).state()

    assert (state.signed_in, state.method) == (True, method)
    assert not Auth(CLAUDE, variables=off).state().signed_in


@pytest.mark.parametrize("name", ["CLAUDE_CONFIG_DIR", ""])
def test_a_new_login_of_claude_code_is_another_state(tmp_path: Path, name: str) -> None:
    folder = tmp_path / ".claude"
    folder.mkdir()
    known = variables(tmp_path, DUCTOR_DEMO_SIGNED_OUT="0", **({name: str(folder)} if name else {}))
    before = Auth(CLAUDE, variables=known).state()

    (folder / ".credentials.json").write_text("{}")

    assert Auth(CLAUDE, variables=known).state() != before
    assert before.stamp == 0


OWN = 'model_provider = "mine"\n[model_providers.mine]\nname = "Mine"\nbase_url = "http://127.0.0.1:1/v1"\n'


@pytest.mark.parametrize(("config", "signed_in"), [
    (OWN, True),
    (OWN + "requires_openai_auth = true\n", False),
    ('model_provider = "ollama"\n', True),
    ('model_provider = "openai"\n', False),
    ('model_provider = "nowhere"\n', False),
    ("model_provider = 7\nmodel_providers = 8\n", False),
    ("model_provider = [\n", False),
    ('model = "some"\n', False),
])  # fmt: skip
def test_codex_with_a_provider_of_ones_own_needs_no_login(tmp_path: Path, config: str, signed_in: bool) -> None:
    (tmp_path / "config.toml").write_text(config)

    state = CodexAuth(CODEX, variables=variables(tmp_path, CODEX_HOME=str(tmp_path))).state()

    assert (state.signed_in, state.method) == (signed_in, "own provider" if signed_in else "none")


def test_a_new_login_of_codex_is_another_state(tmp_path: Path) -> None:
    known = variables(tmp_path, DUCTOR_DEMO_SIGNED_OUT="0")
    before = CodexAuth(CODEX, variables=known).state()
    (tmp_path / ".codex").mkdir()

    (tmp_path / ".codex" / "auth.json").write_text("{}")

    after = CodexAuth(CODEX, variables=known).state()
    assert (before.method, after.method) == ("api_key", "api_key")
    assert after != before


def test_a_configuration_that_cannot_be_read_names_no_provider(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    (tmp_path / "codex").write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\nexit 1\n")
    (tmp_path / "codex").chmod(stat.S_IRWXU)

    state = CodexAuth((str(tmp_path / "codex"),), variables=variables(tmp_path, CODEX_HOME=str(tmp_path))).state()

    assert (state.installed, state.signed_in) == (True, False)
