"""The pool of Claude processes against real programs: the contract of every agent, and every way a turn can end."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ductor_lib.cli import sweep
from ductor_lib.cli.claude import PROMPT_BYTES
from ductor_lib.cli.claude_process import ClaudeProcess, Tasks
from ductor_lib.cli.environment import MARK
from ductor_lib.cli.host import Host
from ductor_lib.cli.pool import ClaudePool
from ductor_lib.cli.turn import Stop, Turn
from ductor_lib.events import Event, Finished, Recovering, Started, Status, Text, Tool, ToolDone
from ductor_lib.messages import Chat
from ductor_lib.ports import TurnRequest

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
AGENT = (sys.executable, "-m", "ductor_lib.demo.agent")
REPLAY = (sys.executable, str(ROOT / "tests" / "replay_claude.py"))
PASSED = ("PYTHONPATH", "DUCTOR_DEMO_LOG", "DUCTOR_DEMO_TASK_DELAY")
TOKEN = "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
SOON = 30.0  # seconds; a bound for what takes milliseconds
QUIET = 0.2  # seconds


class Running:
    """A turn that is followed by a worker thread."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._coming: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._seen: list[Event] = []
        self._thread = threading.Thread(target=self._follow, args=(events,), name="worker", daemon=True)
        self._thread.start()

    def _follow(self, events: Iterator[Event]) -> None:
        for event in events:
            self._coming.put(event)

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        while not wanted(event := self._coming.get(timeout=SOON)):
            self._seen.append(event)
        self._seen.append(event)
        return event

    def is_quiet(self) -> bool:
        """Whether nothing happens for a moment."""
        try:
            self._coming.get(timeout=QUIET)
        except queue.Empty:
            return True
        return False

    def end(self) -> list[Event]:
        """All events of the turn, as soon as it is over."""
        self.until(lambda event: isinstance(event, Finished))
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        assert self._coming.empty(), "nothing may come after Finished"
        return self._seen


class Agents:
    """A pool over the scripted agent (or another `command`), with a home and sessions."""

    def __init__(
        self, folder: Path, *, command: tuple[str, ...] = AGENT, now: Callable[[], float] = time.monotonic, **limits: float
    ) -> None:
        self.folder = folder
        self.log = folder / "prompts.jsonl"
        self.run = uuid.uuid4().hex
        self.variables = {
            "HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DUCTOR_DEMO_LOG": str(self.log), "MY_SECRET": TOKEN,
        }  # fmt: skip
        sizes = {"parallel": 4, "warm": 2, "warm_seconds": 900.0, **limits}
        self.variables["DUCTOR_DEMO_TASK_DELAY"] = str(sizes.pop("task_delay", 0))
        host = Host(folder / "home", self.run, self.variables, int(sizes["parallel"]), PASSED, (TOKEN,), now)
        self.pool = ClaudePool(command, host, warm=int(sizes["warm"]), warm_seconds=sizes["warm_seconds"])
        self._sessions: dict[str, str] = {}

    def request(self, prompt: str, conversation: str = "chat:1", **changes: object) -> TurnRequest:
        resume = conversation in self._sessions
        session = self._sessions.setdefault(conversation, str(uuid.uuid4()))
        request = TurnRequest(
            conversation=conversation, chat=Chat(1), prompt=prompt, session_id=session, resume=resume, model="opus", effort="medium",
            cwd=self.folder, instructions="", permission_mode="acceptEdits", timeout=60.0, silence=60.0,
        )  # fmt: skip
        return replace(request, **changes)  # type: ignore[arg-type]

    def start(self, prompt: str, conversation: str = "chat:1", **changes: object) -> Running:
        return Running(self.pool.turn(self.request(prompt, conversation, **changes)))

    def ask(self, prompt: str, conversation: str = "chat:1", **changes: object) -> Finished:
        return end(self.start(prompt, conversation, **changes).end())

    def prompts(self) -> list[dict[str, object]]:
        """What the scripted agent really got."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def pids(self) -> list[object]:
        return [prompt["pid"] for prompt in self.prompts()]


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    made = Agents(tmp_path)
    yield made
    made.pool.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Agents]]:
    made: list[Agents] = []

    def make(**given: object) -> Agents:
        made.append(Agents(tmp_path, **given))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.pool.close()


def end(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def words(events: list[Event]) -> str:
    return "".join(event.delta for event in events if isinstance(event, Text))


def eventually(true: Callable[[], object]) -> bool:
    until = time.monotonic() + SOON
    while not true() and time.monotonic() < until:
        threading.Event().wait(0.01)
    return bool(true())


def running(pid: int) -> bool:
    return pid in sweep.processes()


def written(path: Path) -> int:
    """The process id that a tool writes to a file."""
    assert eventually(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def is_tool(event: Event) -> bool:
    return isinstance(event, Tool)


def is_text(event: Event) -> bool:
    return isinstance(event, Text)


# ── the contract ──

BEHAVIOURS = [
    "hello", "[[scenario:plain]]", "[[scenario:long]]", "[[scenario:thinking]]", "[[scenario:tool]]", "[[scenario:tool cmd='exit 3']]",
    "[[scenario:background]]", "[[scenario:empty]]", "[[scenario:subagent]]", "[[scenario:denied]]", "[[scenario:compact]]",
    "[[scenario:garbage]]", "[[scenario:bigline mb=10]]", "[[scenario:error400]]", "[[scenario:error401]]", "[[scenario:error404]]",
    "[[scenario:error429]]", "[[scenario:error429 times=1]]", "[[scenario:error500]]", "[[scenario:overloaded]]",
    "[[scenario:crash-late]]", "[[scenario:crash-late signal=9]]", "[[scenario:tool cmd='kill -9 $PPID']]",
]  # fmt: skip


def keeps_the_contract(events: list[Event]) -> bool:
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert kinds[-1] is Finished
    assert kinds.count(Started) == kinds.count(Finished) == 1
    open_tools = [event.id for event in events if isinstance(event, Tool)]
    assert all(event.id in open_tools for event in events if isinstance(event, ToolDone))
    return True


@pytest.mark.parametrize("prompt", BEHAVIOURS)
def test_a_turn_starts_once_and_first_and_finishes_once_and_last(agents: Agents, prompt: str) -> None:
    cold = agents.start(prompt).end()
    warm = agents.start(prompt).end()

    assert keeps_the_contract(cold)
    assert keeps_the_contract(warm)


RECORDED = sorted(path.stem for path in DATA.glob("claude-*.jsonl") if path.stem != "claude-resume-unknown")


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_turn_keeps_the_contract(build: Callable[..., Agents], name: str) -> None:
    agents = build(command=(*REPLAY, str(DATA / f"{name}.jsonl")))

    assert keeps_the_contract(agents.start("hello").end())


def test_the_answer_is_the_agent_s_text(agents: Agents) -> None:
    events = agents.start("[[scenario:plain n=3]]").end()

    assert words(events) == end(events).text == "word0 word1 word2 "
    assert end(events).outcome == "done"


def test_a_tool_is_run_and_reported(agents: Agents) -> None:
    events = agents.start("[[scenario:tool cmd='echo really']]").end()

    assert [event.detail for event in events if isinstance(event, Tool)] == ["echo really"]
    assert end(events).text == "The tool said: really"


@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_an_empty_prompt_is_refused_without_an_agent(agents: Agents, prompt: str) -> None:
    events = agents.start(prompt).end()

    assert [(event.error, event.detail) for event in events if isinstance(event, Finished)] == [("refused", "The message is empty.")]
    assert agents.pool.processes() == []


def test_a_prompt_that_is_too_large_is_refused_and_a_large_one_is_taken(agents: Agents) -> None:
    assert agents.ask("x" * (PROMPT_BYTES + 1)).error == "refused"
    assert agents.ask("x" * 8_000_000).outcome == "done"


def test_a_leading_slash_is_text_for_the_agent(agents: Agents) -> None:
    agents.ask("/cost")

    assert [prompt["prompt"] for prompt in agents.prompts()] == [" /cost"]


# ── processes ──


def test_the_next_turn_goes_to_the_same_process(agents: Agents) -> None:
    agents.ask("one")
    agents.ask("two")

    assert len(set(agents.pids())) == 1
    assert agents.pool.processes() == ["chat:1"]


def test_a_changed_setting_resumes_the_session_in_a_new_process(agents: Agents) -> None:
    first = agents.ask("one")
    second = agents.ask("two", model="sonnet")

    assert second.session_id == first.session_id
    assert [prompt["model"] for prompt in agents.prompts()] == ["opus", "sonnet"]
    assert len(set(agents.pids())) == 2


def test_a_process_that_died_while_idle_is_replaced_without_a_word(agents: Agents) -> None:
    agents.ask("one")
    os.kill(int(str(agents.pids()[0])), signal.SIGKILL)

    events = agents.start("two").end()

    assert end(events).outcome == "done"
    assert not [event for event in events if isinstance(event, Status)]


def test_a_session_that_another_process_has_begun_is_resumed(agents: Agents) -> None:
    first = agents.ask("one", "chat:1")
    agents.pool.release("chat:1")

    again = agents.ask("two", "chat:1", resume=False)

    assert (again.outcome, again.session_id) == ("done", first.session_id)


def test_an_unknown_session_is_reported_and_not_replaced(agents: Agents) -> None:
    finished = agents.ask("one", session_id=str(uuid.uuid4()), resume=True)

    assert (finished.outcome, finished.error) == ("failed", "unknown_session")


def test_a_changed_memory_waits_for_the_next_process(agents: Agents) -> None:
    agents.ask("one", instructions="Be brief.", memory="likes tea")
    agents.ask("two", instructions="Be brief.", memory="likes coffee")
    told = agents.folder / "home" / "prompts" / "chat_1.md"

    assert len(set(agents.pids())) == 1
    assert told.read_text() == "Be brief.\n\nlikes tea"
    assert told.stat().st_mode & 0o777 == 0o600


def test_with_no_warm_processes_each_turn_has_its_own(build: Callable[..., Agents]) -> None:
    agents = build(warm=0)

    agents.ask("one")
    agents.ask("two")

    assert len(set(agents.pids())) == 2
    assert agents.pool.processes() == []


def test_the_least_recently_used_idle_process_goes_first(build: Callable[..., Agents]) -> None:
    agents = build(warm=2)

    for conversation in ("chat:1", "chat:2", "chat:1", "chat:3"):
        agents.ask("hi", conversation)

    assert sorted(agents.pool.processes()) == ["chat:1", "chat:3"]


def test_an_idle_process_goes_after_its_time_and_one_with_a_background_task_stays(build: Callable[..., Agents]) -> None:
    clock = [1_000.0]
    agents = build(now=lambda: clock[0], warm_seconds=60.0)
    agents.ask("one", "chat:1")
    agents.ask("[[scenario:background cmd='sleep 60']]", "chat:2")

    clock[0] += 61.0
    agents.pool.evict_idle()

    assert agents.pool.processes() == ["chat:2"]


def test_release_lets_an_idle_process_leave(agents: Agents) -> None:
    agents.ask("one")

    agents.pool.release("chat:1")

    assert agents.pool.processes() == []
    assert eventually(lambda: not running(int(str(agents.pids()[0]))))


def test_a_process_released_in_a_turn_leaves_after_it(agents: Agents, tmp_path: Path) -> None:
    turn = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]")
    turn.until(is_text)

    agents.pool.release("chat:1")
    (tmp_path / "go").touch()

    assert end(turn.end()).outcome == "done"
    assert agents.pool.processes() == []


def test_a_turn_that_nobody_follows_to_its_end_ends_its_process(agents: Agents) -> None:
    turn = agents.pool.turn(agents.request("[[scenario:slow]]"))
    assert isinstance(next(turn), Started)

    turn.close()  # type: ignore[attr-defined]

    assert agents.pool.processes() == []
    assert eventually(lambda: not running(int(str(agents.pids()[0]))))


def test_a_budget_is_for_a_turn_and_a_process_that_hit_its_own_is_replaced(agents: Agents) -> None:
    first = agents.ask("one", max_budget_usd=0.0001)
    second = agents.ask("two", max_budget_usd=0.05)
    third = agents.ask("three", max_budget_usd=0.05)

    assert [first.error, second.error, third.error] == ["budget", None, None]
    assert agents.pids()[0] != agents.pids()[1] == agents.pids()[2]


def test_cost_starts_again_at_zero_with_a_new_process(agents: Agents) -> None:
    costs = [agents.ask("one").cost, agents.ask("two").cost, agents.ask("three", model="sonnet").cost]

    assert costs == pytest.approx([0.001, 0.001, 0.001])


def test_an_agent_sees_its_chat_and_home_but_no_secret(agents: Agents) -> None:
    said = agents.ask("[[scenario:tool cmd='env | grep -c DUCTOR_CHAT_ID=1; env | grep -c AAbbCC']]").text

    assert said == "The tool said: 1\n0"


# ── ends ──


def test_a_missing_program_is_said_so(build: Callable[..., Agents]) -> None:
    events = build(command=("/nonexistent/claude",)).start("hello").end()

    assert [(event.outcome, event.error) for event in events if isinstance(event, Finished)] == [("failed", "not_installed")]
    assert len(events) == 1


def test_a_missing_folder_is_not_a_missing_program(agents: Agents, tmp_path: Path) -> None:
    assert agents.ask("hello", cwd=tmp_path / "gone").error == "crashed"


def test_a_crash_before_the_first_event_tells_what_the_agent_said_without_secrets(build: Callable[..., Agents]) -> None:
    script = f"import sys; sys.stderr.write('x' * 9000 + ' bad {TOKEN} sk-ant-{'a' * 30}'); sys.exit(3)"
    agents = build(command=(sys.executable, "-c", script))

    (finished,) = agents.start("hello").end()

    assert isinstance(finished, Finished)
    assert (finished.outcome, finished.error) == ("failed", "crashed")
    assert "bad [hidden]" in finished.detail
    assert "sk-ant" not in finished.detail
    assert len(finished.detail) <= 300


def test_a_crash_in_the_middle_keeps_the_words(agents: Agents) -> None:
    finished = agents.ask("[[scenario:crash-late]]")

    assert (finished.outcome, finished.error) == ("failed", "crashed")
    assert finished.text == "Some words before the end."


def test_an_agent_killed_before_any_tool_is_tried_again_once(agents: Agents, tmp_path: Path) -> None:
    events = agents.start(f"[[scenario:crash-late signal=9 once={tmp_path / 'flag'}]]").end()

    assert keeps_the_contract(events)
    assert end(events).text == "Recovered."
    assert events.count(Recovering()) == 1


def test_an_agent_that_is_killed_twice_is_reported(agents: Agents) -> None:
    finished = agents.ask("[[scenario:crash-late signal=9]]")

    assert (finished.error, len(agents.prompts())) == ("killed", 2)


def test_nothing_is_tried_again_once_a_tool_has_begun(agents: Agents) -> None:
    finished = agents.ask("[[scenario:tool cmd='kill -9 $PPID; sleep 60']]")

    assert (finished.error, len(agents.prompts())) == ("killed", 1)


def test_a_tool_does_not_outlive_an_agent_that_was_killed(agents: Agents, tmp_path: Path) -> None:
    agents.ask(f"[[scenario:tool cmd='echo $$ > {tmp_path / 'pid'}; kill -9 $PPID; sleep 60']]")

    assert not running(written(tmp_path / "pid"))


def test_a_failed_login_ends_the_turn_at_the_first_retry(agents: Agents) -> None:
    begun = time.monotonic()

    finished = agents.ask("[[scenario:error401 retries=10 delay=10]]")

    assert finished.error == "not_signed_in"
    assert time.monotonic() - begun < SOON
    assert agents.pool.processes() == []


# ── stop ──


def test_stop_in_the_middle_of_text_keeps_the_words_and_the_process(agents: Agents) -> None:
    turn = agents.start("[[scenario:slow delay=0.05]]")
    turn.until(is_text)

    assert agents.pool.interrupt("chat:1") is True

    events = turn.end()
    assert (end(events).outcome, end(events).error) == ("stopped", "stopped")
    assert end(events).text == words(events) != ""
    assert agents.ask("next").outcome == "done"
    assert len(set(agents.pids())) == 1


def test_stop_leaves_no_process_of_a_running_tool(agents: Agents, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    command = f"echo $$ > {inside}; setsid sh -c \"echo \\$\\$ > {outside}; sleep 60\" & trap \"\" TERM; sleep 60; sleep 60"
    turn = agents.start(f"[[scenario:tool cmd='{command}']]")
    pids = [written(inside), written(outside)]

    agents.pool.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert not any(map(running, pids))
    assert agents.pool.processes() == ["chat:1"]


def test_stop_spares_the_background_task_that_was_announced(agents: Agents, tmp_path: Path) -> None:
    server, tool = tmp_path / "server", tmp_path / "tool"
    agents.ask(f"[[scenario:background cmd='echo $$ > {server}; sleep 60']]")
    agents.ask("[[scenario:plain]]")  # a model would need even longer between two tools
    turn = agents.start(f"[[scenario:tool orphan=1 cmd='echo $$ > {tool}; sleep 60']]")
    pids = written(server), written(tool)

    agents.pool.interrupt("chat:1")
    turn.end()

    assert [running(pid) for pid in pids] == [True, False]


def test_stop_drops_an_answer_that_never_comes(agents: Agents) -> None:
    turn = agents.start("[[scenario:hang]]")
    turn.until(lambda event: isinstance(event, Started))

    agents.pool.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"


def test_an_agent_that_does_not_obey_is_ended_in_steps_and_its_session_goes_on(agents: Agents) -> None:
    turn = agents.start("[[scenario:hang hard=1]]")
    turn.until(lambda event: isinstance(event, Started))

    agents.pool.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert not running(int(str(agents.pids()[0])))
    assert agents.ask("next").outcome == "done"


def test_stop_right_at_the_start_stops_and_the_session_can_be_used(agents: Agents) -> None:
    turn = agents.start("[[scenario:slow]]")

    assert eventually(lambda: agents.pool.interrupt("chat:1"))

    assert end(turn.end()).outcome == "stopped"
    assert agents.ask("next").outcome == "done"


def test_stop_without_a_turn_says_so(agents: Agents) -> None:
    assert agents.pool.interrupt("chat:1") is False
    agents.ask("hello")
    assert agents.pool.interrupt("chat:1") is False


def test_stop_is_for_one_conversation(agents: Agents, tmp_path: Path) -> None:
    other = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]", "chat:2")
    mine = agents.start("[[scenario:slow]]", "chat:1")
    other.until(is_text)
    mine.until(is_text)

    agents.pool.interrupt("chat:1")
    stopped = end(mine.end())
    (tmp_path / "go").touch()

    assert (stopped.outcome, end(other.end()).text) == ("stopped", "Holding. Going on.")


# ── time ──


def test_silence_ends_a_turn_and_the_next_one_works(agents: Agents) -> None:
    agents.ask("warm up")

    finished = agents.ask("[[scenario:hang]]", silence=0.2)

    assert (finished.outcome, finished.error) == ("failed", "silent")
    assert agents.ask("next").outcome == "done"


def test_a_running_tool_is_not_silence(agents: Agents) -> None:
    agents.ask("warm up")

    assert agents.ask("[[scenario:tool cmd='sleep 0.6; echo awake']]", silence=0.3).text == "The tool said: awake"


def test_a_turn_that_takes_too_long_is_ended_even_while_it_talks(agents: Agents) -> None:
    finished = agents.ask("[[scenario:slow delay=0.01]]", timeout=1.0)

    assert (finished.outcome, finished.error) == ("failed", "timeout")
    assert finished.text.startswith("tick 0")


# ── places ──


def test_conversations_run_side_by_side(agents: Agents, tmp_path: Path) -> None:
    held = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]", "chat:1")
    held.until(is_text)

    other = agents.ask("hello", "chat:2")
    (tmp_path / "go").touch()

    assert (other.outcome, end(held.end()).outcome) == ("done", "done")


def test_one_more_than_may_work_waits_and_idle_ones_make_room(build: Callable[..., Agents], tmp_path: Path) -> None:
    agents = build(parallel=1)
    agents.ask("hello", "chat:3")
    held = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]", "chat:1")
    held.until(is_text)
    assert agents.pool.processes() == ["chat:1"]

    waiting = agents.start("hello", "chat:2")
    assert waiting.is_quiet()
    assert len(agents.prompts()) == 2
    (tmp_path / "go").touch()

    assert end(held.end()).outcome == end(waiting.end()).outcome == "done"


def test_a_turn_that_waits_for_its_place_can_be_stopped(build: Callable[..., Agents], tmp_path: Path) -> None:
    agents = build(parallel=1)
    held = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]", "chat:1")
    held.until(is_text)
    waiting = agents.start("hello", "chat:2")

    assert eventually(lambda: agents.pool.interrupt("chat:2"))

    assert [event.outcome for event in waiting.end() if isinstance(event, Finished)] == ["stopped"]
    (tmp_path / "go").touch()
    assert end(held.end()).outcome == "done"
    assert len(agents.prompts()) == 1


# ── turns that the agent begins by itself ──


def test_the_end_of_a_background_task_becomes_a_turn_of_its_own(agents: Agents) -> None:
    agents.ask("[[scenario:background cmd='sleep 0.2']]")

    own = agents.pool.own_turns.get(timeout=SOON)
    events = Running(agents.pool.own_turn(own.conversation)).end()

    assert (own.conversation, own.key != "") == ("chat:1", True)
    assert keeps_the_contract(events)
    assert end(events).text.startswith("The task is done:")
    assert end(events).cost == pytest.approx(0.001)


def test_a_message_sent_during_an_own_turn_gets_its_own_answer_and_neither_is_lost(build: Callable[..., Agents]) -> None:
    agents = build(task_delay=0.2)
    agents.ask("[[scenario:background cmd='true']]")
    agents.pool.own_turns.get(timeout=SOON)

    mine = agents.ask("[[scenario:plain n=1]]")
    own = end(Running(agents.pool.own_turn("chat:1")).end())

    assert mine.text == "word0 "
    assert own.text.startswith("The task is done:")


def test_a_task_that_ends_during_a_turn_is_told_after_it(agents: Agents, tmp_path: Path) -> None:
    done, go = tmp_path / "done", tmp_path / "go"
    agents.ask(f"[[scenario:background cmd='while [ ! -e {done} ]; do sleep 0.02; done']]")
    turn = agents.start(f"[[scenario:hold file={go}]]")
    turn.until(is_text)

    done.touch()
    go.touch()

    assert end(turn.end()).text == "Holding. Going on."
    assert agents.pool.own_turns.get(timeout=SOON).conversation == "chat:1"
    assert end(Running(agents.pool.own_turn("chat:1")).end()).text.startswith("The task is done:")


def overtaken(folder: Path, *own: str, at_once: bool = False) -> tuple[str, ...]:
    """A program whose second prompt is overtaken by turns of its own with these texts, each after a background task has ended.

    Or they come right after the first answer: `at_once`.
    """

    def said(text: str) -> dict[str, object]:
        return {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}

    def begun(task: str) -> list[dict[str, object]]:
        block = {"type": "tool_use", "id": task, "name": "Bash", "input": {}}
        call: dict[str, object] = {"type": "assistant", "message": {"content": [block]}}
        answer: dict[str, object] = {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": task}]}}
        return [call, {"type": "system", "subtype": "task_started", "task_id": task, "tool_use_id": task}, answer]

    def ended(task: str) -> list[dict[str, object]]:
        result = {"type": "result", "result": task, "origin": {"kind": "task-notification"}, "and_on": not at_once}
        return [{"type": "system", "subtype": "task_notification", "task_id": task, "tool_use_id": task}, init, said(task), result]

    init: dict[str, object] = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}
    first = [init, *(raw for task in own for raw in begun(task)), {"type": "result", "result": "1", "and_on": at_once}]
    mine = [init, {"type": "user", "uuid": "$KEY", "isReplay": True}, said("mine"), {"type": "result", "result": "mine"}]
    script = folder / "overtaken.jsonl"
    script.write_text("\n".join(json.dumps(raw) for raw in (*first, *(raw for task in own for raw in ended(task)), *mine)))
    return *REPLAY, str(script)


def test_an_own_turn_that_overtakes_a_prompt_is_told_apart(build: Callable[..., Agents], tmp_path: Path) -> None:
    agents = build(command=overtaken(tmp_path, "own"))
    agents.ask("begin", session_id="s")

    events = agents.start("me", session_id="s").end()

    assert keeps_the_contract(events)
    assert words(events) == end(events).text == "mine"
    assert end(Running(agents.pool.own_turn("chat:1")).end()).text == "own"
    assert agents.pool.own_turns.get(timeout=SOON).conversation == "chat:1"


def test_two_own_turns_that_overtake_a_prompt_have_a_key_each(build: Callable[..., Agents], tmp_path: Path) -> None:
    agents = build(command=overtaken(tmp_path, "one", "two"))
    agents.ask("begin", session_id="s")

    answer = agents.ask("me", session_id="s")

    assert answer.text == "mine"
    assert len({agents.pool.own_turns.get(timeout=SOON).key for _ in range(2)}) == 2
    assert [end(Running(agents.pool.own_turn("chat:1")).end()).text for _ in range(2)] == ["one", "two"]


def test_a_turn_that_has_just_begun_by_itself_does_not_cost_the_process(tmp_path: Path) -> None:
    request = TurnRequest(
        conversation="chat:1", chat=Chat(1), prompt="begin", session_id="s", resume=False, model="m", effort="", cwd=tmp_path,
        instructions="", permission_mode="plan", timeout=60.0, silence=60.0,
    )  # fmt: skip
    command = overtaken(tmp_path, "own", at_once=True)
    variables = {"PATH": os.environ["PATH"], MARK: f"{uuid.uuid4().hex}/chat:1"}
    process = ClaudeProcess(command, request, resume=False, environment=variables, secrets=(), prompts=tmp_path)
    list(Turn(process, request, Stop(), by_itself=False, started=False, now=time.monotonic).events())

    fits = process.fits(command, request)
    next_turn = Turn(process, request, Stop(), by_itself=False, started=False, now=time.monotonic)
    list(next_turn.events())
    process.destroy(0.0)

    assert fits
    assert [ended.text for _, ended in next_turn.own] == ["own"]
    assert next_turn.finished is not None
    assert next_turn.finished.text == "mine"


def test_no_shape_of_a_task_s_line_ends_who_listens() -> None:
    tasks = Tasks()
    strangers: list[object] = [[], {}, None, 1.5]

    for strange in strangers:
        for subtype in ("task_started", "task_notification"):
            tasks.feed({"type": "system", "subtype": subtype, "task_id": strange, "tool_use_id": strange}, 0.0)

    assert not tasks.seen


def test_stop_ends_an_own_turn(build: Callable[..., Agents]) -> None:
    agents = build(task_delay=30)
    agents.ask("[[scenario:background cmd='true']]")
    agents.pool.own_turns.get(timeout=SOON)

    assert agents.pool.interrupt("chat:1") is True

    assert end(Running(agents.pool.own_turn("chat:1")).end()).outcome == "stopped"
    assert agents.ask("next").outcome == "done"


def test_stop_ends_an_own_turn_and_the_message_that_waits_for_it(build: Callable[..., Agents]) -> None:
    agents = build(task_delay=30)
    agents.ask("[[scenario:background cmd='true']]")
    agents.pool.own_turns.get(timeout=SOON)
    waiting = agents.start("me too")
    assert waiting.is_quiet()

    agents.pool.interrupt("chat:1")

    assert end(waiting.end()).outcome == "stopped"
    assert end(Running(agents.pool.own_turn("chat:1")).end()).outcome == "stopped"
    assert len(agents.prompts()) == 1


def test_an_own_turn_that_is_gone_is_said_so(agents: Agents) -> None:
    (finished,) = agents.pool.own_turn("chat:1")

    assert isinstance(finished, Finished)
    assert finished.outcome == "failed"


# ── the end ──


def test_close_stops_every_turn_and_leaves_no_process_and_no_thread(agents: Agents, tmp_path: Path) -> None:
    agents.ask(f"[[scenario:background cmd='echo $$ > {tmp_path / 'server'}; sleep 60']]", "chat:1")
    turn = agents.start(f"[[scenario:tool cmd='echo $$ > {tmp_path / 'tool'}; sleep 60']]", "chat:2")
    pids = [written(tmp_path / "server"), written(tmp_path / "tool"), *(int(str(pid)) for pid in agents.pids())]

    agents.pool.close()

    assert end(turn.end()).outcome == "stopped"
    assert not any(map(running, pids))
    assert eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("claude chat")])
    assert [event.outcome for event in agents.start("late").end() if isinstance(event, Finished)] == ["stopped"]


def test_memory_stays_flat_through_fifty_megabytes(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from tests.test_pool import Agents, end
agents = Agents(Path(sys.argv[1]))
agents.ask("[[scenario:bigline mb=1]]")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
text = agents.ask("[[scenario:flood mb=50]]").text
print(text.strip().split()[-1], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
agents.pool.close()
"""
    words_ = [sys.executable, "-c", script, str(tmp_path)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(words_, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False)

    last_word, megabytes = done.stdout.split()
    assert last_word == "word7", done.stderr
    assert int(megabytes) < 20
