"""One more message for a turn that runs: the same for both agents, against the scripted ones; and what only Claude Code does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ductor_lib.cli.claude_process import ClaudeProcess
from ductor_lib.cli.codex import Codex
from ductor_lib.cli.environment import MARK
from ductor_lib.cli.turn import HELD, Stop, Turn
from ductor_lib.events import Event, Finished, Started, Text, Tool
from ductor_lib.messages import Chat
from ductor_lib.ports import Agent, TurnRequest
from tests import test_codex, test_pool
from tests.test_pool import end, eventually, is_text, is_tool, words

HOLD = "[[scenario:hold file={}]] the first"
WAITING_TOOL = "[[scenario:tool cmd='until test -e {}; do sleep 0.01; done; echo tool-ran']]"


class Claude(test_pool.Agents):
    @property
    def agent(self) -> Agent:
        return self.pool


class CodexAgents(test_codex.Agents):
    @property
    def agent(self) -> Agent:
        assert isinstance(self.codex, Codex)
        return self.codex


@pytest.fixture
def claude(tmp_path: Path) -> Iterator[Claude]:
    made = Claude(tmp_path)
    yield made
    made.agent.close()


@pytest.fixture(params=[Claude, CodexAgents], ids=["claude", "codex"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Claude | CodexAgents]:
    made = request.param(tmp_path)
    yield made
    made.agent.close()


def keeps_the_contract(events: list[Event]) -> bool:
    kinds = [type(event) for event in events]
    return kinds[0] is Started and kinds[-1] is Finished and kinds.count(Started) == kinds.count(Finished) == 1


def asked(agents: Claude | CodexAgents) -> list[object]:
    return [prompt["prompt"] for prompt in agents.prompts()]


# ── both ──


def test_a_message_in_the_middle_of_the_words_is_answered_in_the_same_turn(either: Claude | CodexAgents, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    turn = either.start(HOLD.format(gate))
    turn.until(is_text)

    taken = either.agent.steer("chat:1", "[[scenario:plain n=2]]")
    gate.touch()

    events = turn.end()
    assert taken
    assert keeps_the_contract(events)
    assert (end(events).outcome, end(events).text) == ("done", "word0 word1 ")
    assert words(events).startswith("Holding. ")
    assert words(events).endswith("\n\nword0 word1 ")
    assert asked(either) == [HOLD.format(gate), "[[scenario:plain n=2]]"]


def test_what_is_given_to_no_turn_is_not_taken(either: Claude | CodexAgents) -> None:
    before = either.agent.steer("chat:1", "more")
    either.ask("one")

    assert not before
    assert not either.agent.steer("chat:1", "more")
    assert not either.agent.steer("chat:unknown", "more")
    assert asked(either) == ["one"]


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_message_is_not_taken(either: Claude | CodexAgents, tmp_path: Path, text: str) -> None:
    turn = either.start(HOLD.format(tmp_path / "gate"))
    turn.until(is_text)

    taken = either.agent.steer("chat:1", text)
    (tmp_path / "gate").touch()

    assert not taken
    assert end(turn.end()).text == "Holding. Going on."


def test_a_stop_after_it_ends_both_and_the_session_goes_on(either: Claude | CodexAgents, tmp_path: Path) -> None:
    turn = either.start(WAITING_TOOL.format(tmp_path / "never"))
    turn.until(is_tool)
    either.agent.steer("chat:1", "[[scenario:hang]] more")

    either.agent.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert either.ask("go on").outcome == "done"
    assert not either.agent.steer("chat:1", "more")


# ── Claude Code, which goes on by itself with what came too late for the model ──


def test_a_message_during_a_tool_reaches_the_model_with_the_tool_s_output(claude: Claude, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    turn = claude.start(WAITING_TOOL.format(gate))
    turn.until(is_tool)

    claude.pool.steer("chat:1", "more")
    gate.touch()

    events = turn.end()
    assert keeps_the_contract(events)
    assert end(events).text == "The tool said: tool-ran You added: more"
    assert end(events).cost == pytest.approx(0.001)
    assert claude.ask("next").outcome == "done"


def test_two_messages_in_the_last_words_are_one_more_answer_and_both_are_paid_for(claude: Claude, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    turn = claude.start(HOLD.format(gate))
    turn.until(is_text)

    claude.pool.steer("chat:1", "one thing")
    claude.pool.steer("chat:1", "and another")
    gate.touch()

    events = turn.end()
    assert "> and another" in end(events).text
    assert end(events).cost == pytest.approx(0.002)
    assert end(events).tokens_in == 240
    assert asked(claude)[1:] == ["one thing", "and another"]
    assert claude.ask("next").cost == pytest.approx(0.001)
    assert len(set(claude.pids())) == 1


def test_after_a_stop_the_agent_never_goes_on_with_what_waited(claude: Claude, tmp_path: Path) -> None:
    turn = claude.start(HOLD.format(tmp_path / "never"))
    turn.until(is_text)
    claude.pool.steer("chat:1", "never to be seen")

    claude.pool.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert claude.ask("next").outcome == "done"
    assert asked(claude) == [HOLD.format(tmp_path / "never"), "next"]
    assert len(set(claude.pids())) == 1


def test_a_process_that_is_tried_again_gets_the_message_again(claude: Claude, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    turn = claude.start(HOLD.format(gate))
    turn.until(is_text)
    claude.pool.steer("chat:1", "more")

    os.kill(int(str(claude.pids()[0])), signal.SIGKILL)
    gate.touch()

    assert end(turn.end()).outcome == "done"
    assert asked(claude)[1] == f"{HOLD.format(gate)}\n\nmore"


def test_a_process_that_dies_after_its_first_answer_is_not_tried_again(claude: Claude, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    turn = claude.start(HOLD.format(gate))
    turn.until(is_text)
    claude.pool.steer("chat:1", "[[scenario:crash-late signal=9]]")

    gate.touch()

    finished = end(turn.end())
    assert finished.error == "killed"
    assert finished.cost == pytest.approx(0.001)
    assert len(claude.prompts()) == 2


def test_a_turn_that_waits_for_its_place_takes_no_message(tmp_path: Path) -> None:
    agents, gate = Claude(tmp_path, parallel=1), tmp_path / "gate"
    first = agents.start(HOLD.format(gate))
    first.until(is_text)
    second = agents.start("two", "chat:2")

    taken = agents.pool.steer("chat:2", "more")
    gate.touch()

    assert not taken
    assert (end(first.end()).outcome, end(second.end()).outcome) == ("done", "done")
    agents.pool.close()


# ── one turn of a program that says what the test wants ──

READS = """\
import json, sys

def get():
    return json.loads(sys.stdin.readline())

def say(**raw):
    print(json.dumps(raw), flush=True)

"""
INIT = "say(type='system', subtype='init', session_id='s', model='m')\n"
RESULT = "say(type='result', result='done', session_id='s', total_cost_usd=1.0)\n"


def one_turn(folder: Path, program: str, stop: Stop, now: Callable[[], float] = time.monotonic) -> tuple[ClaudeProcess, Turn]:
    file = folder / "claude.py"
    file.write_text(READS + program)
    request = TurnRequest(
        conversation="chat:1", chat=Chat(1), prompt="begin", session_id="s", resume=False, model="m", effort="", cwd=folder,
        instructions="", permission_mode="plan", timeout=600.0, silence=600.0,
    )  # fmt: skip
    variables = {"PATH": os.environ["PATH"], MARK: f"{uuid.uuid4().hex}/chat:1"}
    command = (sys.executable, str(file))
    process = ClaudeProcess(command, request, resume=False, environment=variables, secrets=(), prompts=folder)
    return process, Turn(process, request, stop, by_itself=False, started=False, now=now)


def test_a_stop_that_comes_before_the_prompt_keeps_it_back(tmp_path: Path) -> None:
    stop = Stop()
    process, turn = one_turn(tmp_path, "open('prompt', 'w').write(sys.stdin.readline())\n", stop)
    stop.wish("stopped")

    events = list(turn.events())
    process.finish()

    assert events == []
    assert turn.finished is not None
    assert turn.finished.outcome == "stopped"
    assert (tmp_path / "prompt").read_text() == ""


def test_an_agent_that_forgets_a_message_does_not_hold_up_the_turn_and_is_not_kept(tmp_path: Path) -> None:
    clock = [0.0]
    process, turn = one_turn(tmp_path, f"get(); get()\n{INIT}{RESULT}sys.stdin.read()\n", Stop(), lambda: clock[0])
    feeding = threading.Thread(target=lambda: eventually(lambda: turn.steer("more")), name="person", daemon=True)
    feeding.start()

    for _ in turn.events():
        clock[0] += 60.0

    assert turn.finished is not None
    assert turn.finished.text == "done"
    assert turn.owes
    process.destroy(0.0)


@pytest.mark.parametrize("count", [10, HELD + 500])
def test_words_that_may_belong_to_another_turn_are_kept_up_to_a_limit(tmp_path: Path, count: int) -> None:
    task = "say(type='assistant', message={'content': [{'type': 'tool_use', 'id': 't', 'name': 'Bash', 'input': {}}]})\n"
    task += "say(type='system', subtype='task_started', task_id='t', tool_use_id='t')\n"
    task += "say(type='user', message={'content': [{'type': 'tool_result', 'tool_use_id': 't'}]})\n"
    end_of_task = "say(type='system', subtype='task_notification', task_id='t', tool_use_id='t')\n"
    delta = "say(type='stream_event', event={'delta': {'text': 'word '}})\n"
    tool = "say(type='assistant', message={'content': [{'type': 'tool_use', 'id': 'u', 'name': 'Bash', 'input': {}}]})\n"
    replay = "say(type='user', uuid=prompt['uuid'])\n"
    program = f"get()\n{INIT}{task}{RESULT}prompt = get()\n{end_of_task}{INIT}for _ in range({count}):\n    {delta}{tool}{replay}{RESULT}"
    process, first = one_turn(tmp_path, program, Stop())
    list(first.events())

    second = Turn(process, process.request, Stop(), by_itself=False, started=False, now=time.monotonic)
    events = list(second.events())
    process.finish()

    assert sum(isinstance(event, Text) for event in events) == min(count, HELD)
    assert [event.id for event in events if isinstance(event, Tool)] == ["u"]
