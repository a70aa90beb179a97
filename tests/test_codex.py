"""Codex as an agent against real programs: the contract of every agent, in its server and without, and every way a turn can end."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ductor_lib.cli import sweep
from ductor_lib.cli.codex import NOTE, Codex
from ductor_lib.cli.codex_exec import CodexExec
from ductor_lib.cli.codex_params import OWN, PROMPT_CHARS
from ductor_lib.cli.codex_turn import DISOBEYED
from ductor_lib.cli.host import Host
from ductor_lib.cli.turn import Stop
from ductor_lib.events import Event, Finished, Started, Status, Text, Thinking, Tool, ToolDone
from ductor_lib.messages import Chat
from ductor_lib.ports import TurnRequest

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
AGENT = (sys.executable, "-m", "ductor_lib.demo.codex_agent")
REPLAY = (sys.executable, str(ROOT / "tests" / "replay_codex.py"))
PASSED = ("PYTHONPATH", "DUCTOR_DEMO_LOG", "DUCTOR_DEMO_NO_SERVER")
TOKEN = "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
SOON = 30.0  # seconds; a bound for what takes milliseconds


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

    def end(self) -> list[Event]:
        """All events of the turn, as soon as it is over."""
        self.until(lambda event: isinstance(event, Finished))
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        assert self._coming.empty(), "nothing may come after Finished"
        return self._seen


class Agents:
    """Codex over the scripted one (or another `command`), in a server or with `kind=CodexExec` without one."""

    def __init__(
        self, folder: Path, *, command: tuple[str, ...] = AGENT, kind: type[Codex] | type[CodexExec] = Codex,
        now: Callable[[], float] = time.monotonic, parallel: int = 4, no_server: str = "",
    ) -> None:  # fmt: skip
        self.folder = folder
        self.log = folder / "prompts.jsonl"
        self.run = uuid.uuid4().hex
        variables = {
            "HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DUCTOR_DEMO_LOG": str(self.log),
            "DUCTOR_DEMO_NO_SERVER": no_server, "MY_SECRET": TOKEN,
        }  # fmt: skip
        self.codex = kind(command, Host(folder / "home", self.run, variables, parallel, PASSED, (TOKEN,), now))
        self.sessions: dict[str, str] = {}

    def request(self, prompt: str, conversation: str = "chat:1", **changes: object) -> TurnRequest:
        known = self.sessions.get(conversation)
        request = TurnRequest(
            conversation=conversation, chat=Chat(1), prompt=prompt, session_id=known or str(uuid.uuid4()), resume=known is not None,
            model="gpt-5.5", effort="medium", cwd=self.folder, instructions="Be brief.", permission_mode="acceptEdits", timeout=60.0,
            silence=60.0,
        )  # fmt: skip
        return replace(request, **changes)  # type: ignore[arg-type]

    def turn(self, prompt: str, conversation: str = "chat:1", **changes: object) -> Iterator[Event]:
        """A turn; like the bot, it keeps the session's id as soon as that is known."""
        for event in self.codex.turn(self.request(prompt, conversation, **changes)):
            if isinstance(event, Started):
                self.sessions[conversation] = event.session_id
            yield event

    def start(self, prompt: str, conversation: str = "chat:1", **changes: object) -> Running:
        return Running(self.turn(prompt, conversation, **changes))

    def ask(self, prompt: str, conversation: str = "chat:1", **changes: object) -> Finished:
        return end(self.start(prompt, conversation, **changes).end())

    def prompts(self) -> list[dict[str, object]]:
        """What the scripted agent really got."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def pids(self) -> list[int]:
        return [int(str(prompt["pid"])) for prompt in self.prompts()]

    def steer(self, text: str, conversation: str = "chat:1") -> bool:
        assert isinstance(self.codex, Codex)
        return self.codex.steer(conversation, text)


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    made = Agents(tmp_path)
    yield made
    made.codex.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Agents]]:
    made: list[Agents] = []

    def make(**given: object) -> Agents:
        made.append(Agents(tmp_path, **given))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.codex.close()


@pytest.fixture(params=[Codex, CodexExec], ids=["server", "exec"])
def either(request: pytest.FixtureRequest, build: Callable[..., Agents]) -> Agents:
    return build(kind=request.param)


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


def is_text(event: Event) -> bool:
    return isinstance(event, Text)


def is_tool(event: Event) -> bool:
    return isinstance(event, Tool)


# ── the contract ──

BEHAVIOURS = [
    "hello", "[[scenario:plain]]", "[[scenario:long]]", "[[scenario:thinking]]", "[[scenario:tool]]", "[[scenario:tool cmd='exit 3']]",
    "[[scenario:patch]]", "[[scenario:compact]]", "[[scenario:garbage]]", "[[scenario:bigline mb=10]]", "[[scenario:error400]]",
    "[[scenario:error401]]", "[[scenario:error404]]", "[[scenario:error429]]", "[[scenario:error429 times=1]]", "[[scenario:error500]]",
    "[[scenario:overloaded]]", "[[scenario:crash-late]]", "[[scenario:crash-late signal=9]]", "[[scenario:denied]]",
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
def test_a_turn_starts_once_and_first_and_finishes_once_and_last(either: Agents, prompt: str) -> None:
    cold = either.start(prompt).end()
    warm = either.start(prompt).end()

    assert keeps_the_contract(cold)
    assert keeps_the_contract(warm)


RECORDED = sorted(path.stem for path in DATA.glob("codex-*.jsonl"))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_turn_keeps_the_contract(build: Callable[..., Agents], name: str) -> None:
    agents = build(command=(*REPLAY, str(DATA / f"{name}.jsonl")), kind=Codex if "appserver" in name else CodexExec)
    if "resume" in name:
        recorded = "01a2032e-a06e-73d0-8d18-e6b7dc4f5f06" if name == "codex-resume" else "01a2032e-f0fe-7320-805e-221feb362551"
        agents.sessions["chat:1"] = recorded

    assert keeps_the_contract(agents.start("hello").end())


def test_the_answer_is_the_agent_s_text(either: Agents) -> None:
    events = either.start("[[scenario:plain n=3]]").end()

    assert words(events) == end(events).text == "word0 word1 word2 "
    assert (end(events).outcome, end(events).cost) == ("done", 0.0)
    assert (end(events).tokens_in, end(events).tokens_out) == (120, 10)


def test_only_the_server_tells_the_words_as_they_are_written(build: Callable[..., Agents]) -> None:
    served = build().start("[[scenario:thinking n=3]]").end()
    executed = build(kind=CodexExec).start("[[scenario:thinking n=3]]").end()

    assert [event.delta for event in served if is_text(event)] == ["word0 ", "word1 ", "word2 "]  # type: ignore[union-attr]
    assert [event.delta for event in executed if is_text(event)] == ["word0 word1 word2 "]  # type: ignore[union-attr]
    assert "".join(event.delta for event in served if isinstance(event, Thinking)) == "First I think about it."


def test_a_tool_is_run_and_reported(either: Agents) -> None:
    events = either.start("[[scenario:tool cmd='echo really']]").end()

    assert [event.detail for event in events if isinstance(event, Tool)] == ["echo really"]
    assert end(events).text == "The tool said: really"


@pytest.mark.parametrize("prompt", ["", " \n\t", "x" * (PROMPT_CHARS + 1)])
def test_a_prompt_that_cannot_be_sent_is_refused_without_an_agent(either: Agents, prompt: str) -> None:
    (finished,) = either.start(prompt).end()

    assert isinstance(finished, Finished)
    assert finished.error == "refused"
    assert not either.log.exists()


ODD = {"long": "x" * 900_000, "flag": "-h", "word": "--version", "command": "/status", "unicode": "ä€😀 \ud800", "lines": "two\nlines"}


@pytest.mark.parametrize("prompt", ODD.values(), ids=ODD)
def test_any_other_prompt_arrives_as_it_is(either: Agents, prompt: str) -> None:
    assert either.ask(prompt).outcome == "done"

    assert str(either.prompts()[0]["prompt"]).rstrip("\n") == prompt.replace("\ud800", "?")


# ── sessions ──


def test_codex_chooses_the_id_of_a_session_and_goes_on_in_it(either: Agents) -> None:
    first = either.ask("one")
    second = either.ask("two")

    assert first.session_id == second.session_id == either.sessions["chat:1"]
    assert [prompt["session_id"] for prompt in either.prompts()] == [first.session_id] * 2


def test_a_restarted_bot_goes_on_in_the_session_and_counts_only_what_is_new(build: Callable[..., Agents]) -> None:
    before, after = build(), build()
    first = before.ask("one")
    before.codex.close()

    after.sessions = before.sessions
    second = after.ask("two")

    assert second.session_id == first.session_id
    assert (second.tokens_in, second.tokens_out) == (120, 10)


def test_an_unknown_session_is_reported_and_never_replaced(either: Agents) -> None:
    unknown = either.ask("one", session_id=str(uuid.uuid4()), resume=True)
    no_id = either.ask("one", session_id="not-an-id", resume=True)

    assert (unknown.outcome, unknown.error, no_id.error) == ("failed", "unknown_session", "unknown_session")
    assert not either.log.exists()


def test_a_session_that_opens_as_another_is_an_unknown_one(build: Callable[..., Agents]) -> None:
    agents = build(command=(*REPLAY, str(DATA / "codex-resume.jsonl")), kind=CodexExec)

    (finished,) = agents.start("hello", session_id=str(uuid.uuid4()), resume=True).end()

    assert isinstance(finished, Finished)
    assert finished.error == "unknown_session"


def test_a_session_that_never_had_a_turn_is_begun_anew(agents: Agents) -> None:
    turn = agents.turn("one")
    assert isinstance(next(turn), Started)  # the id is kept before the prompt is sent
    turn.close()  # type: ignore[attr-defined]
    agents.codex.release("chat:1")

    assert agents.ask("two").outcome == "done"
    assert [prompt["prompt"] for prompt in agents.prompts()] == ["two"]


def test_two_conversations_in_one_session_are_refused(agents: Agents, tmp_path: Path) -> None:
    first = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]")
    first.until(is_text)
    agents.sessions["chat:2"] = agents.sessions["chat:1"]

    second = agents.ask("me too", "chat:2")
    (tmp_path / "go").touch()

    assert second.error == "refused"
    assert end(first.end()).text == "Holding. Going on."


def test_a_changed_permission_mode_loads_the_session_anew(agents: Agents) -> None:
    first = agents.ask("one")
    second = agents.ask("two", permission_mode="plan")

    assert second.session_id == first.session_id
    assert len(set(agents.pids())) == 1


# ── one server for all ──


def test_conversations_run_at_the_same_time_in_one_server(agents: Agents, tmp_path: Path) -> None:
    turns = [agents.start(f"[[scenario:hold file={tmp_path / 'go'}]] {name}", name) for name in ("chat:1", "chat:2", "chat:3")]
    for turn in turns:
        turn.until(is_text)
    assert sorted(agents.codex.processes()) == ["chat:1", "chat:2", "chat:3"]

    (tmp_path / "go").touch()

    assert [end(turn.end()).text for turn in turns] == ["Holding. Going on."] * 3
    assert len(set(agents.pids())) == 1
    assert len(set(agents.sessions.values())) == 3
    assert agents.codex.processes() == []


def test_only_so_many_work_at_once_and_a_wait_can_be_stopped(build: Callable[..., Agents], tmp_path: Path) -> None:
    agents = build(parallel=1)
    first = agents.start(f"[[scenario:hold file={tmp_path / 'go'}]]", "chat:1")
    first.until(is_text)
    second = agents.start("second", "chat:2")

    assert eventually(lambda: agents.codex.interrupt("chat:2"))

    assert [type(event) for event in second.end()] == [Finished]
    (tmp_path / "go").touch()
    assert end(first.end()).outcome == "done"


def test_other_parameters_are_another_server(agents: Agents) -> None:
    agents.ask("one")
    agents.ask("two", parameters=("-c", "model_verbosity=low"))

    first, second = agents.prompts()
    assert first["pid"] != second["pid"]
    assert second["argv"] == [*OWN, "-c", "model_verbosity=low", "app-server"]


def test_a_command_knows_its_chat_and_carries_its_conversation_s_mark(either: Agents) -> None:
    said = either.ask("[[scenario:tool cmd='echo $DUCTOR_CHAT_ID $DUCTOR_MARK $MY_SECRET']]").text

    assert said == f"The tool said: 1 {either.run}/chat:1"


def test_a_slow_reader_holds_up_nobody_and_loses_no_word(agents: Agents) -> None:
    slow = agents.codex.turn(agents.request("[[scenario:words mb=12]]", "chat:1"))
    assert isinstance(next(slow), Started)
    events = [next(slow)]

    assert agents.ask("[[scenario:plain]]", "chat:2").outcome == "done"

    events += list(slow)
    assert len(words(events)) == len(end(events).text) == 12_000_000


def test_a_flood_of_output_is_no_trouble(agents: Agents) -> None:
    assert agents.ask("[[scenario:flood mb=20]]").text.startswith("word0")


def test_what_codex_asks_is_declined_since_nobody_is_asked(agents: Agents) -> None:
    finished = agents.ask("[[scenario:denied]]")

    assert finished.text == "The decision is: decline"
    assert finished.denied == ("Bash",)


def test_one_more_message_reaches_the_running_turn(agents: Agents) -> None:
    turn = agents.start("[[scenario:slow]]")
    turn.until(is_text)

    assert agents.steer("[[scenario:plain n=2]]")

    events = turn.end()
    assert end(events).text == "word0 word1 "
    assert words(events).endswith("\n\nword0 word1 ")


def test_a_stop_that_comes_before_the_prompt_keeps_it_back_without_a_server(build: Callable[..., Agents]) -> None:
    agents, stop = build(kind=CodexExec), Stop()
    assert isinstance(agents.codex, CodexExec)
    stop.wish("stopped")

    turn = agents.codex.run_turn(agents.request("hello"), stop, lambda wake: None)
    with pytest.raises(StopIteration) as ended:
        next(turn)

    assert ended.value.value.outcome == "stopped"
    assert not agents.log.exists()


def test_a_message_for_no_turn_is_not_taken(agents: Agents) -> None:
    agents.ask("one")

    assert not agents.steer("more")
    assert not agents.steer("more", "chat:unknown")


# ── stops ──


@pytest.mark.parametrize("prompt", ["[[scenario:slow]]", "[[scenario:hang]]", "[[scenario:tool cmd='sleep 300']]"])
def test_an_interrupt_ends_the_turn_and_the_session_goes_on(either: Agents, prompt: str) -> None:
    turn = either.start(prompt)
    turn.until(lambda event: isinstance(event, Started))
    assert eventually(either.log.exists)

    assert either.codex.interrupt("chat:1")

    finished = end(turn.end())
    assert (finished.outcome, finished.error) == ("stopped", "stopped")
    assert not either.codex.interrupt("chat:1")
    assert either.ask("and now?").outcome == "done"
    assert len(set(either.pids())) == (1 if isinstance(either.codex, Codex) else 2)


@pytest.mark.parametrize(
    "command", ["echo $$ > {0}; exec sleep 300", "(setsid sh -c 'echo $$ > {0}; exec sleep 300' &); sleep 300"], ids=["plain", "daemon"]
)
def test_an_interrupt_leaves_no_tool_running(either: Agents, tmp_path: Path, command: str) -> None:
    turn = either.start(f'[[scenario:tool cmd="{command.format(tmp_path / "pid")}"]]')
    turn.until(is_tool)
    tool = written(tmp_path / "pid")

    either.codex.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert not running(tool)


def test_an_interrupt_spares_the_other_conversation_s_tool(agents: Agents, tmp_path: Path) -> None:
    other = agents.start(f"[[scenario:tool cmd='echo $$ > {tmp_path / 'pid'}; exec sleep 300']]", "chat:2")
    tool = written(tmp_path / "pid")
    turn = agents.start("[[scenario:tool cmd='sleep 300']]", "chat:1")
    turn.until(is_tool)

    agents.codex.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert running(tool)
    agents.codex.interrupt("chat:2")
    assert end(other.end()).outcome == "stopped"


def test_an_agent_that_does_not_obey_is_ended(either: Agents) -> None:
    turn = either.start("[[scenario:hang hard=1]]")
    turn.until(lambda event: isinstance(event, Started))
    assert eventually(either.log.exists)

    either.codex.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert eventually(lambda: not running(either.pids()[0]))
    assert either.ask("and now?").outcome == "done"


def test_what_ends_with_a_server_that_did_not_obey_is_told_why(agents: Agents) -> None:
    deaf, other = agents.start("[[scenario:hang hard=1]]", "chat:1"), agents.start("[[scenario:slow]]", "chat:2")
    other.until(is_text)
    assert eventually(lambda: len(agents.prompts()) == 2)

    agents.codex.interrupt("chat:1")

    finished = end(other.end())
    assert end(deaf.end()).outcome == "stopped"
    assert (finished.outcome, finished.error, finished.detail) == ("failed", "crashed", DISOBEYED)


@pytest.mark.parametrize(("limits", "error"), [({"timeout": 0.5}, "timeout"), ({"silence": 0.5}, "silent")])
def test_a_turn_that_takes_too_long_or_says_nothing_is_ended(either: Agents, limits: dict[str, Any], error: str) -> None:
    finished = either.ask("[[scenario:hang]]", **limits)

    assert (finished.outcome, finished.error) == ("failed", error)
    assert either.ask("and now?").outcome == "done"


def test_silence_does_not_count_while_a_command_runs(either: Agents) -> None:
    assert either.ask("[[scenario:tool cmd='sleep 1.5; echo late']]", silence=0.8).text == "The tool said: late"


def test_tries_to_reach_a_server_are_no_sign_of_life(agents: Agents) -> None:
    finished = agents.ask("[[scenario:error500 retries=1000 delay=0.05]]", silence=0.6)

    assert (finished.outcome, finished.error) == ("failed", "overloaded")


def test_a_login_that_is_missing_is_said_with_the_first_try(either: Agents) -> None:
    events = either.start("[[scenario:error401 retries=1000 delay=0.05]]").end()

    assert end(events).error == "not_signed_in"
    assert either.ask("and now?").outcome == "done"


def test_a_turn_that_nobody_follows_to_its_end_leaves_nothing_running(either: Agents, tmp_path: Path) -> None:
    turn = either.turn(f"[[scenario:tool cmd='echo $$ > {tmp_path / 'pid'}; exec sleep 300']]")
    while not is_tool(next(turn)):
        pass
    tool = written(tmp_path / "pid")

    turn.close()  # type: ignore[attr-defined]

    assert eventually(lambda: not running(tool))


def test_close_stops_what_runs_and_ends_the_agents(either: Agents) -> None:
    turn = either.start("[[scenario:slow]]")
    turn.until(lambda event: isinstance(event, Started))
    assert eventually(either.log.exists)

    either.codex.close()

    assert end(turn.end()).outcome == "stopped"
    assert not running(either.pids()[0])
    assert either.ask("and now?").outcome == "stopped"


# ── a server that dies, or does not start ──


def test_a_server_that_is_killed_fails_every_running_turn_and_the_next_message_starts_another(agents: Agents) -> None:
    turns = [agents.start("[[scenario:slow]]", name) for name in ("chat:1", "chat:2")]
    for turn in turns:
        turn.until(is_text)

    os.kill(agents.pids()[0], signal.SIGKILL)

    assert [end(turn.end()).error for turn in turns] == ["killed", "killed"]
    session = agents.sessions["chat:1"]
    assert agents.ask("and now?").session_id == session
    assert len(set(agents.pids())) == 2


def test_a_crash_in_the_middle_keeps_the_words_and_tells_what_the_server_said(agents: Agents) -> None:
    finished = agents.ask("[[scenario:crash-late]]")

    assert (finished.outcome, finished.error, finished.text) == ("failed", "crashed", "Some words before the end.")
    assert "crashes as it was told" in finished.detail


def test_a_server_that_died_while_idle_is_replaced_without_a_word(agents: Agents) -> None:
    agents.ask("one")
    os.kill(agents.pids()[0], signal.SIGKILL)

    events = agents.start("two").end()

    assert end(events).outcome == "done"
    assert not [event for event in events if isinstance(event, Status)]


@pytest.mark.parametrize("trouble", ["exit", "refuse", "old"])
def test_without_a_server_each_turn_has_a_process_and_the_chat_is_told_once(build: Callable[..., Agents], trouble: str) -> None:
    agents = build(no_server=trouble)

    first, second = agents.start("one").end(), agents.start("two").end()

    assert keeps_the_contract(first)
    assert keeps_the_contract(second)
    assert [event.text for event in first + second if isinstance(event, Status)] == [NOTE]
    assert len(set(agents.pids())) == 2
    assert end(second).session_id == end(first).session_id


def test_a_server_that_does_not_answer_can_be_stopped(build: Callable[..., Agents]) -> None:
    agents = build(no_server="silent")
    turn = agents.start("one")

    assert eventually(lambda: agents.codex.interrupt("chat:1"))

    assert end(turn.end()).outcome == "stopped"


def test_a_server_that_does_not_answer_is_given_up(build: Callable[..., Agents]) -> None:
    clock = itertools.count(1_000.0, 60.0)  # every look at it finds it a minute later
    agents = build(no_server="silent", now=lambda: next(clock))

    events = agents.start("one", timeout=36_000.0, silence=36_000.0).end()

    assert end(events).outcome == "done"
    assert NOTE in [event.text for event in events if isinstance(event, Status)]


def test_a_missing_program_is_said_so_and_a_missing_folder_too(build: Callable[..., Agents], either: Agents, tmp_path: Path) -> None:
    (missing,) = build(command=("/nonexistent/codex",), kind=type(either.codex)).start("hello").end()
    folder = either.ask("hello", cwd=tmp_path / "gone")

    assert isinstance(missing, Finished)
    assert (missing.outcome, missing.error) == ("failed", "not_installed")
    assert folder.error == "crashed"


def test_a_crash_before_the_first_event_tells_what_the_agent_said_without_secrets(build: Callable[..., Agents]) -> None:
    script = f"import sys; sys.stderr.write('x' * 9000 + ' bad {TOKEN} \\x1b[31msk-ant-{'a' * 30}'); sys.exit(3)"
    agents = build(command=(sys.executable, "-c", script))

    (finished,) = agents.start("hello").end()

    assert isinstance(finished, Finished)
    assert (finished.outcome, finished.error) == ("failed", "crashed")
    assert "bad [hidden]" in finished.detail
    assert "sk-ant" not in finished.detail
    assert "\x1b" not in finished.detail


def test_models_are_listed_by_the_server(agents: Agents) -> None:
    assert isinstance(agents.codex, Codex)

    listed = agents.codex.ask("model/list", {}, timeout=SOON)

    assert [row["id"] for row in listed["data"]] == ["scripted-large", "scripted-small"]  # type: ignore[attr-defined]
    assert agents.codex.ask("no/such", {}, timeout=SOON) == {}


def test_codex_begins_no_turn_by_itself(either: Agents) -> None:
    (finished,) = either.codex.own_turn("chat:1")

    assert isinstance(finished, Finished)
    assert finished.outcome == "failed"
