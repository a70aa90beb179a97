"""The real Codex as an agent: in its server and without, asked by the bot's own parts, against a stand-in for the model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ductor_lib.cli import sweep
from ductor_lib.cli.codex import Codex
from ductor_lib.cli.codex_auth import CodexAuth
from ductor_lib.cli.codex_exec import CodexExec
from ductor_lib.cli.codex_models import parse
from ductor_lib.cli.codex_params import codex_environment
from ductor_lib.events import Finished, Started, Status, Text, Thinking, Tool, ToolDone
from ductor_lib.ports import TurnRequest
from tests.e2e.codex_bot import CODEX, CONFIG, MISSING
from tests.e2e.responses_stub import ResponsesStub
from tests.test_codex import SOON, Agents, end, eventually, is_text, is_tool, keeps_the_contract, running, words, written

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)


class RealAgents(Agents):
    """The real program with an empty home; commands run outside its sandbox, which not every machine has."""

    def __init__(self, folder: Path, stub: ResponsesStub, kind: type[Codex] | type[CodexExec]) -> None:
        (folder / ".codex").mkdir(exist_ok=True)
        (folder / ".codex" / "config.toml").write_text(CONFIG.format(url=stub.url))
        super().__init__(folder, command=(CODEX,), kind=kind)

    def request(self, prompt: str, conversation: str = "chat:1", **changes: object) -> TurnRequest:
        return super().request(prompt, conversation, **{"permission_mode": "bypassPermissions", **changes})


@pytest.fixture
def stub() -> Iterator[ResponsesStub]:
    with ResponsesStub() as running_:
        yield running_


@pytest.fixture
def build(tmp_path: Path, stub: ResponsesStub) -> Iterator[Callable[..., RealAgents]]:
    made: list[RealAgents] = []

    def make(kind: type[Codex] | type[CodexExec] = Codex) -> RealAgents:
        made.append(RealAgents(tmp_path, stub, kind))
        return made[-1]

    yield make
    for each in made:
        each.codex.close()
        left = [pid for pid in sweep.processes() if each.run.encode() in read(pid, "environ")]
        assert left == []


def read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # gone meanwhile
        return b""


def server_of(agents: RealAgents) -> int:
    """The process id of the server's wrapper; the program itself is its child."""
    return min(pid for pid in sweep.processes() if b"app-server" in read(pid, "cmdline") and agents.run.encode() in read(pid, "environ"))


@pytest.fixture
def agents(build: Callable[..., RealAgents]) -> RealAgents:
    return build()


@pytest.fixture(params=[Codex, CodexExec], ids=["server", "exec"])
def either(request: pytest.FixtureRequest, build: Callable[..., RealAgents]) -> RealAgents:
    return build(request.param)


def test_a_prompt_is_answered_and_the_model_is_asked_as_the_settings_say(either: RealAgents, stub: ResponsesStub) -> None:
    events = either.start("good morning").end()

    assert keeps_the_contract(events)
    assert words(events) == end(events).text == "You said: good morning"
    assert (end(events).tokens_in, end(events).tokens_out) == (120, 10)
    (call,) = stub.calls
    assert call.typed[-1].strip() == "good morning"
    assert "Be brief." in call.instructed
    assert (call.body["model"], call.body["reasoning"]["effort"]) == ("gpt-5.5", "medium")


def test_words_and_thoughts_arrive_as_the_model_writes_them(agents: RealAgents, stub: ResponsesStub) -> None:
    turn = agents.start("[[scenario:thinking gate=half]]")
    turn.until(lambda event: isinstance(event, Thinking) and bool(event.delta))

    stub.open("half")

    events = turn.end()
    assert "".join(event.delta for event in events if isinstance(event, Thinking)) == "First I think about it."
    assert [event.delta for event in events if isinstance(event, Text)] == ["word0 ", "word1 "]


def test_a_command_runs_for_its_chat_and_is_reported(either: RealAgents) -> None:
    events = either.start("[[scenario:tool cmd='echo chat $DUCTOR_CHAT_ID mark $DUCTOR_MARK']]").end()

    assert keeps_the_contract(events)
    (tool,) = [event for event in events if isinstance(event, Tool)]
    assert (tool.name, tool.detail) == ("Bash", "echo chat $DUCTOR_CHAT_ID mark $DUCTOR_MARK")
    assert [event.ok for event in events if isinstance(event, ToolDone)] == [True]
    assert f"chat 1 mark {either.run}/chat:1" in end(events).text
    assert (end(events).tokens_in, end(events).tokens_out) == (240, 20)


def test_an_interrupt_in_the_middle_of_the_words_keeps_them_and_the_session_goes_on(agents: RealAgents, stub: ResponsesStub) -> None:
    turn = agents.start("[[scenario:plain gate=never]] the first")
    turn.until(is_text)

    agents.codex.interrupt("chat:1")

    finished = end(turn.end())
    assert finished.outcome == "stopped"
    assert finished.text.startswith("word0 ")
    assert agents.ask("go on").text == "You said: go on"
    assert any("the first" in text for text in stub.calls[-1].typed)


def test_an_interrupt_right_after_the_prompt_ends_the_turn_and_not_the_server(agents: RealAgents) -> None:
    agents.ask("hello", "chat:2")
    server = server_of(agents)
    turn = agents.start("[[scenario:plain gate=never]]")
    turn.until(lambda event: isinstance(event, Started))

    agents.codex.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert server_of(agents) == server


@pytest.mark.parametrize(
    "command",
    [
        "echo $$ > {0}; exec sleep 300", "trap '' TERM; echo $$ > {0}; sleep 300; sleep 300",
        "(setsid sh -c 'echo $$ > {0}; exec sleep 300' &); sleep 300",
    ],
    ids=["plain", "deaf to TERM", "daemon"],
)  # fmt: skip
def test_an_interrupt_leaves_no_process_of_a_command(either: RealAgents, command: str) -> None:
    place = either.folder / "pid"
    turn = either.start(f'[[scenario:tool cmd="{command.format(place)}"]]')
    turn.until(is_tool)
    pid = written(place)

    either.codex.interrupt("chat:1")

    assert end(turn.end()).outcome == "stopped"
    assert eventually(lambda: not running(pid))
    assert either.ask("go on").outcome == "done"


def test_two_conversations_run_at_the_same_time_and_a_stop_is_for_one(agents: RealAgents, stub: ResponsesStub) -> None:
    one, two = (agents.start("[[scenario:plain gate=both]]", name) for name in ("chat:1", "chat:2"))
    one.until(is_text)
    two.until(is_text)

    agents.codex.interrupt("chat:1")
    assert end(one.end()).outcome == "stopped"
    stub.open("both")

    assert end(two.end()).text == "word0 word1 word2 word3 word4 word5 word6 word7 "
    assert len(set(agents.sessions.values())) == 2


def test_one_more_message_reaches_the_running_turn(agents: RealAgents) -> None:
    turn = agents.start("[[scenario:plain gate=never]]")
    turn.until(is_text)

    assert agents.steer("something else")

    assert end(turn.end()).text == "You said: something else"


def test_a_restarted_bot_goes_on_with_the_session_in_either_way(build: Callable[..., RealAgents], stub: ResponsesStub) -> None:
    before, after, other = build(), build(), build(CodexExec)
    first = before.ask("remember the blue door")
    before.codex.close()
    after.sessions = other.sessions = before.sessions

    second = after.ask("which colour?")
    after.codex.close()
    third = other.ask("and now?")

    assert first.session_id == second.session_id == third.session_id
    assert [text.strip() for text in stub.calls[-1].typed] == ["remember the blue door", "which colour?", "and now?"]
    assert (second.tokens_in, second.tokens_out) == (120, 10)


def test_a_changed_permission_mode_counts_from_the_next_turn(agents: RealAgents) -> None:
    kept, refused = agents.folder / "kept", agents.folder / "refused"
    agents.ask(f"[[scenario:tool cmd='touch {kept}']]")

    agents.ask(f"[[scenario:tool cmd='touch {refused}']]", permission_mode="plan")

    assert kept.exists()
    assert not refused.exists()


def test_an_unknown_session_is_never_replaced(either: RealAgents, stub: ResponsesStub) -> None:
    unknown = either.ask("hello", session_id="11111111-2222-4333-8444-555555555555", resume=True)
    no_id = either.ask("hello", session_id="no-id", resume=True)

    assert (unknown.error, no_id.error) == ("unknown_session", "unknown_session")
    assert stub.calls == []


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("error400", "context_full"), ("error401", "not_signed_in"), ("error404", "unknown_model"), ("error429", "rate_limited"),
    ],
)  # fmt: skip
def test_a_failure_of_the_model_has_its_kind_and_the_next_message_is_answered(either: RealAgents, scenario: str, kind: str) -> None:
    finished = either.ask(f"[[scenario:{scenario}]]")

    assert (finished.outcome, finished.error) == ("failed", kind)
    assert either.ask("and now?", "chat:2").text == "You said: and now?"


def test_a_failure_that_passes_is_no_more_than_a_status(agents: RealAgents) -> None:
    events = agents.start("[[scenario:error500 times=1]] hello").end()

    assert end(events).text == "You said: hello"
    assert [event.text for event in events if isinstance(event, Status)] in ([], ["retrying 1/5 (overloaded)"])


def test_a_killed_server_fails_the_turn_and_the_next_message_starts_another(agents: RealAgents) -> None:
    turn = agents.start("[[scenario:plain gate=never]]")
    turn.until(is_text)

    os.kill(server_of(agents), signal.SIGKILL)  # the wrapper; the program that it has started goes too

    finished = end(turn.end())
    assert (finished.outcome, finished.error) == ("failed", "killed")
    assert agents.ask("go on").text == "You said: go on"


def test_the_models_and_the_login_are_told(agents: RealAgents) -> None:
    assert isinstance(agents.codex, Codex)
    variables = codex_environment({"HOME": str(agents.folder), "PATH": os.environ["PATH"]}, pass_env=(), secrets=())

    models = parse(agents.codex.ask("model/list", {}, timeout=SOON))
    state = CodexAuth((CODEX,), variables=variables).state()

    assert any(model.is_default for model in models)
    assert all(model.default_effort in model.efforts for model in models)
    assert (state.installed, state.signed_in, state.method) == (True, True, "own provider")  # the stub is one
    assert state.version


def test_the_user_s_own_parameters_are_understood(either: RealAgents, stub: ResponsesStub) -> None:
    finished = either.ask("hello", parameters=("-c", "model_verbosity=low"))

    assert isinstance(finished, Finished)
    assert finished.text == "You said: hello"
    assert stub.calls[-1].body["text"]["verbosity"] == "low"
