"""What a test with a real command line starts from: a stand-in for the model, and a running bot that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.claude_bot import ClaudeBot
from tests.e2e.model_stub import ModelStub


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with ModelStub() as running:
        yield running


@pytest.fixture
def bot(tmp_path: Path, stub: ModelStub) -> Iterator[ClaudeBot]:
    with ClaudeBot(tmp_path, stub) as running:
        yield running
