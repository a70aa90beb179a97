"""What Codex says as events: pure functions, checked against recordings of the real program in both protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.cli.codex_events import ExecParser, TurnParser
from ductor_lib.cli.codex_items import Answer, Tokens, command_words, failure
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Status, Text, Thinking, Tool, ToolDone

DATA = Path(__file__).parent / "data"
SERVED = sorted(path.stem.removeprefix("codex-") for path in DATA.glob("codex-appserver*.jsonl"))
EXECUTED = sorted(path.stem.removeprefix("codex-") for path in DATA.glob("codex-*.jsonl") if "appserver" not in path.stem)


def messages(name: str) -> Iterator[tuple[str, dict[str, object]]]:
    for line in (DATA / f"codex-{name}.jsonl").read_text().splitlines():
        raw = json.loads(line)
        yield raw["dir"], raw["msg"]


def turns(name: str) -> list[list[Event]]:
    """The turns of a server's recording, as one conversation would have seen them."""
    found: list[list[Event]] = []
    parser = TurnParser(session_id="s", spent=None if "resume" in name else Tokens())
    for direction, raw in messages(name):
        if direction == "in" or ("id" in raw and "method" in raw):
            continue
        result = raw.get("result")
        if isinstance(result, dict) and "turn" in result and result["turn"]["id"] != parser.turn:
            parser = parser if not parser.turn else TurnParser(session_id="s", spent=parser.spent)
            parser.turn = result["turn"]["id"]
            found.append([])
        params = raw.get("params")
        if isinstance(params, dict) and "threadId" in params:  # the rest is about the whole server
            if events := parser.feed(raw):
                found[-1] += events
            assert parser.unknown == 0
    return found


def executed(name: str, *, spent: Tokens | None = Tokens()) -> list[Event]:  # noqa: B008 – a value
    parser = ExecParser(session_id="s", model="gpt-5.5", spent=spent)
    events = [event for line in (DATA / f"codex-{name}.jsonl").read_text().splitlines() for event in parser.feed(json.loads(line))]
    assert parser.unknown == 0
    return events


def end(turn: list[Event]) -> Finished:
    assert isinstance(turn[-1], Finished)
    return turn[-1]


def spoken(turn: list[Event]) -> str:
    return "".join(event.delta for event in turn if isinstance(event, Text))


# ── the server's recordings ──


@pytest.mark.parametrize("name", SERVED)
def test_every_recorded_turn_finishes_once_and_last(name: str) -> None:
    for turn in turns(name):
        kinds = [type(event) for event in turn]

        assert kinds.count(Finished) == 1
        assert kinds[-1] is Finished


def test_deltas_arrive_one_by_one_and_once() -> None:
    plain, thinking = turns("appserver")

    assert [event.delta for event in plain if isinstance(event, Text)] == [f"word{k} " for k in range(4)]
    assert spoken(plain) == end(plain).text
    assert [event.delta for event in thinking if isinstance(event, Thinking)] == ["", "First ", "I think ", "about it."]


def test_tokens_are_differences_of_the_thread_s_sums() -> None:
    spent = [(end(turn).tokens_in, end(turn).tokens_out, end(turn).cost) for turn in turns("appserver")]

    assert spent == [(120, 10, 0.0), (120, 10, 0.0)]


def test_a_resumed_thread_s_earlier_tokens_are_not_this_turn_s() -> None:
    (turn,) = turns("appserver-resume")

    assert (end(turn).tokens_in, end(turn).tokens_out) == (120, 10)


def test_an_interrupt_ends_the_turn_as_stopped_and_keeps_its_words() -> None:
    text, tool, steered, output = turns("appserver-interrupt")

    assert (end(text).outcome, end(text).text) == ("stopped", "tick 0 ")
    assert (end(tool).outcome, end(tool).error) == ("stopped", "stopped")
    assert [event.detail for event in tool if isinstance(event, Tool)] == ["sleep 60"]
    assert end(steered).text == "You said: second, while the first runs"
    assert spoken(steered) == "tick 0 \n\nYou said: second, while the first runs"
    assert [type(event) for event in output if isinstance(event, Tool | ToolDone)] == [Tool, ToolDone]


def test_what_a_person_would_have_been_asked_and_was_refused_is_named() -> None:
    accepted, declined, *_ = turns("appserver-approval")

    assert end(accepted).denied == ()
    assert end(declined).denied == ("Bash",)
    assert [event.ok for event in declined if isinstance(event, ToolDone)] == [False]


def test_a_failure_has_its_kind_and_the_provider_s_words_and_retries_are_told() -> None:
    not_signed_in, limited, unknown, full = turns("appserver-error")

    assert [end(turn).error for turn in (not_signed_in, limited, unknown, full)] == [
        "not_signed_in", "rate_limited", "unknown_model", "context_full",
    ]  # fmt: skip
    assert "401 Unauthorized" in end(not_signed_in).detail
    told = [event.text for event in not_signed_in if isinstance(event, Status)]
    assert told == [f"retrying {attempt}/5 (not signed in)" for attempt in range(1, 6)]


# ── the recordings of exec ──


@pytest.mark.parametrize("name", EXECUTED)
def test_every_run_starts_once_and_first_and_finishes_once_and_last(name: str) -> None:
    events = executed(name)
    kinds = [type(event) for event in events]

    assert kinds[0] is Started
    assert kinds[-1] is Finished
    assert kinds.count(Started) == kinds.count(Finished) == 1


def test_a_run_names_its_thread_its_tools_and_its_answer() -> None:
    events = executed("tool")

    assert events[0] == Started("01a2032e-a663-71a3-8e54-f8e82abdcf97", "gpt-5.5")
    tools = [event for event in events if isinstance(event, Tool | ToolDone)]
    assert tools == [Tool("item_1", "Bash", "echo one; sleep 1; echo two"), ToolDone("item_1", ok=True)]
    assert end(events).text.endswith("one\ntwo")
    assert spoken(events) == f"Running a command.{end(events).text}"


@pytest.mark.parametrize(
    ("name", "tool"),
    [("tool-failed", ("Bash", "echo out; exit 3", False)), ("patch", ("Edit", "/home/user/project/hello.txt", True))],
)
def test_tools_end_well_or_not(name: str, tool: tuple[str, str, bool]) -> None:
    events = executed(name)

    (began,) = [event for event in events if isinstance(event, Tool)]
    (done,) = [event for event in events if isinstance(event, ToolDone)]
    assert (began.name, began.detail, done.ok) == tool


def test_a_resumed_run_costs_what_the_sum_has_grown_by_and_nothing_where_that_is_not_known() -> None:
    known, unknown = executed("resume", spent=Tokens(120, 10)), executed("resume", spent=None)

    assert (end(known).tokens_in, end(known).tokens_out) == (120, 10)
    assert (end(unknown).tokens_in, end(unknown).tokens_out) == (0, 0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error400", "context_full"), ("error401", "not_signed_in"), ("error404", "unknown_model"), ("error429", "rate_limited"),
        ("error500", "overloaded"), ("cut", "unreachable"),
    ],
)  # fmt: skip
def test_a_failed_run_has_its_kind_and_no_answer(name: str, kind: ErrorKind) -> None:
    finished = end(executed(name))

    assert (finished.outcome, finished.error, finished.text) == ("failed", kind, "")
    assert finished.detail


# ── what is not in a recording ──


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ("usageLimitExceeded", "rate_limited"), ("serverOverloaded", "overloaded"), ("unauthorized", "not_signed_in"),
        ({"httpConnectionFailed": {"httpStatusCode": 529}}, "overloaded"),
        ({"httpConnectionFailed": {"httpStatusCode": None}}, "unreachable"),
        ({"responseStreamDisconnected": {"httpStatusCode": 401}}, "not_signed_in"), ({"brandNew": 7}, "refused"),
        ("other", "refused"), ({}, "refused"), (None, "refused"), ("sandboxError", "refused"),
    ],
)  # fmt: skip
def test_the_provider_s_word_for_a_failure_has_a_kind(info: object, kind: ErrorKind) -> None:
    assert failure("", info=info) == kind


def notification(method: str, **params: object) -> dict[str, object]:
    return {"method": method, "params": {"threadId": "s", "turnId": "t", **params}}


def parser_in_a_turn() -> TurnParser:
    parser = TurnParser(session_id="s", spent=Tokens())
    parser.turn = "t"
    return parser


def test_a_late_word_about_an_earlier_turn_is_no_part_of_this_one() -> None:
    parser = parser_in_a_turn()

    assert parser.feed({"method": "item/agentMessage/delta", "params": {"turnId": "before", "itemId": "m", "delta": "old"}}) == []
    assert parser.text == ""


def test_a_command_that_was_handed_back_as_running_is_not_waited_for() -> None:
    parser = parser_in_a_turn()
    parser.feed(notification("item/started", item={"type": "commandExecution", "id": "c", "command": "sleep 99"}))
    assert parser.tools == {"c"}

    parser.feed(notification("item/started", item={"type": "agentMessage", "id": "m"}))

    assert parser.tools == set()
    done = parser.feed(notification("item/completed", item={"type": "commandExecution", "id": "c", "status": "completed"}))
    assert done == [ToolDone("c", ok=True)]


def test_compacting_is_told() -> None:
    assert parser_in_a_turn().feed(notification("item/started", item={"type": "contextCompaction", "id": "x"})) == [Status("compacting")]


def test_deltas_that_were_dropped_follow_with_the_whole_message() -> None:
    parser = parser_in_a_turn()
    parser.feed(notification("item/agentMessage/delta", itemId="m", delta="one "))

    rest = parser.feed(notification("item/completed", item={"type": "agentMessage", "id": "m", "text": "one two three"}))

    assert rest == [Text("two three")]
    assert parser.text == "one two three"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/bin/bash -lc 'ls -l'", "ls -l"), ("/bin/bash -lc \"echo 'a b'\"", "echo 'a b'"), ("git status", "git status"),
        ("bash -c 'unbalanced", "bash -c 'unbalanced"), ("", ""),
    ],
)  # fmt: skip
def test_the_shell_around_a_command_is_not_shown(command: str, shown: str) -> None:
    assert command_words(command) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["item", "turn", "turnId", "error", "tokenUsage", "delta", "itemId", "willRetry", "summaryIndex", "type", "id", "text", "status",
     "command", "changes", "usage", "message", "thread_id", "arguments"]
)  # fmt: skip
ITEMS = st.dictionaries(KEYS, JSON, max_size=4) | st.fixed_dictionaries(
    {"type": st.sampled_from(["agentMessage", "commandExecution", "fileChange", "mcpToolCall", "agent_message", "reasoning"])},
    optional={"id": JSON, "text": JSON, "command": JSON, "changes": JSON, "status": JSON, "arguments": JSON},
)
METHODS = st.sampled_from(
    ["item/started", "item/completed", "item/agentMessage/delta", "error", "turn/completed", "thread/tokenUsage/updated", "new"]
)
LINES = st.sampled_from(["thread.started", "item.started", "item.completed", "error", "turn.failed", "turn.completed", "new"])


@settings(max_examples=200, deadline=None)
@given(METHODS, LINES, ITEMS, st.dictionaries(KEYS, JSON, max_size=4))
def test_no_shape_of_a_known_message_breaks_a_parser(method: str, line: str, item: dict[str, object], fields: dict[str, object]) -> None:
    served, executed_ = parser_in_a_turn(), ExecParser(session_id="s", model="m", spent=None)

    events = served.feed({"method": method, "params": {**fields, "item": item, "turnId": "t"}})
    events += executed_.feed({**fields, "item": item, "type": line})

    assert all(event is not None for event in events)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6), st.integers(0, 6))
def test_the_words_of_a_message_go_out_once_however_many_deltas_were_seen(pieces: list[str], seen: int) -> None:
    answer, said = Answer(), []

    for piece in pieces[:seen]:
        said += answer.delta("m", piece)
    said += answer.whole("m", "".join(pieces))

    assert spoken(said) == answer.text == "".join(pieces)
