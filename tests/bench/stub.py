"""The stand-in for a model in a process of its own, so that it costs neither the bot nor the fake Telegram: `… stub claude`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.model_stub import ModelStub
from tests.e2e.responses_stub import ResponsesStub


@contextmanager
def stub_of(cli: str) -> Iterator[str]:
    """The address of a running model for this agent."""
    words = [sys.executable, "-m", "tests.bench.stub", cli]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        yield child.stdout.readline().strip()
        child.communicate()


def main() -> None:
    """Print the address, and serve until the input ends."""
    with ModelStub() if sys.argv[1] == "claude" else ResponsesStub() as stub:
        print(stub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
