"""Who keeps processes ends them all at once, and not in the way of an answer."""

from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.environment import MARK
from ductor_lib.cli.keeper import Keeper
from ductor_lib.cli.process import WORD
from ductor_lib.messages import Chat
from ductor_lib.ports import TurnRequest

DEAF = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('{}', flush=True)\ntime.sleep(300)\n"
READER = "import sys\nsys.stdin.read()\n"
SOON = 30.0  # seconds
NEVER = 3600.0  # seconds


def process(folder: Path, conversation: str, program: str) -> ClaudeProcess:
    file = folder / "claude.py"
    file.write_text(program)
    request = TurnRequest(
        conversation=conversation, chat=Chat(1), prompt="", session_id="s", resume=False, model="m", effort="", cwd=folder,
        instructions="", permission_mode="plan", timeout=60.0, silence=60.0,
    )  # fmt: skip
    variables = {"PATH": os.environ["PATH"], MARK: f"{uuid.uuid4().hex}/{conversation}"}
    return ClaudeProcess((sys.executable, str(file)), request, resume=False, environment=variables, secrets=(), prompts=folder)


def keeper(*, warm: int = 9, courtesy: float = NEVER) -> Keeper:
    return Keeper(parallel=9, warm=warm, warm_seconds=NEVER, now=time.monotonic, courtesy=courtesy)


def test_processes_that_do_not_obey_are_ended_side_by_side(tmp_path: Path) -> None:
    kept, deaf = keeper(), [process(tmp_path, f"chat:{number}", DEAF) for number in range(4)]
    for each in deaf:
        assert each.child.read(SOON)  # from now on it does not hear TERM
        kept.add(each)

    begun = time.monotonic()
    kept.close()

    assert not any(each.child.running for each in deaf)
    assert time.monotonic() - begun < len(deaf) * WORD


def test_one_that_must_go_at_the_end_of_a_turn_goes_a_little_later(tmp_path: Path) -> None:
    kept, one = keeper(warm=0), process(tmp_path, "chat:1", READER)
    kept.add(one)

    kept.settle(one, spoilt=False)

    assert kept.names() == []
    assert one.child.running
    kept.close()
    assert not one.child.running


def test_a_new_process_of_its_conversation_does_not_wait_for_that(tmp_path: Path) -> None:
    kept, one = keeper(warm=0), process(tmp_path, "chat:1", READER)
    kept.add(one)
    kept.settle(one, spoilt=False)

    kept.replace("chat:1")

    assert not one.child.running


def test_the_answer_comes_before_the_end_also_by_default(tmp_path: Path) -> None:
    kept, one = Keeper(parallel=9, warm=0, warm_seconds=NEVER, now=time.monotonic), process(tmp_path, "chat:1", READER)
    kept.add(one)

    kept.settle(one, spoilt=False)

    assert one.child.wait(SOON)
