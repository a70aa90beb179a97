"""What a test with a real command line starts from: a stand-in for the model, and a running bot that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import claude_bot, codex_bot
from tests.e2e.claude_bot import ClaudeBot
from tests.e2e.codex_bot import CodexBot
from tests.e2e.model_stub import ModelStub
from tests.e2e.responses_stub import ResponsesStub

Assistant = ClaudeBot | CodexBot


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with ModelStub() as running:
        yield running


@pytest.fixture
def bot(tmp_path: Path, stub: ModelStub) -> Iterator[ClaudeBot]:
    with ClaudeBot(tmp_path, stub) as running:
        yield running


@pytest.fixture(params=["claude", "codex"])
def assistant(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Assistant]:
    """Each of the two; Codex runs commands in its sandbox."""
    if missing := {"claude": claude_bot, "codex": codex_bot}[request.param].MISSING:
        pytest.skip(missing)
    if request.param == "claude":
        with ModelStub() as messages, ClaudeBot(tmp_path, messages, cli_parameters={"claude": ()}) as claude:
            yield claude
    else:
        with ResponsesStub() as responses, CodexBot(tmp_path, responses) as codex:
            yield codex


@pytest.fixture
def able(assistant: Assistant) -> Assistant:
    """The same, where it can run commands."""
    if isinstance(assistant, CodexBot) and (reason := codex_bot.unsandboxed()):
        pytest.skip(reason)
    return assistant
