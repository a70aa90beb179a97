"""Claude Code's command line, environment and stream: pure functions, checked against recordings of the real program."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.cli import claude
from ductor_lib.cli.claude import TurnParser, argv, failure, parse, prompt_line, shorten, tool_detail
from ductor_lib.cli.environment import HOME, MARK, agent_environment, mark, plain_environment
from ductor_lib.errors import ErrorKind
from ductor_lib.events import Event, Finished, Started, Status, Text, Thinking, Tool, ToolDone
from ductor_lib.messages import Chat
from ductor_lib.ports import TurnRequest

DATA = Path(__file__).parent / "data"
SESSION = "11111111-2222-4333-8444-555555555555"
TOKEN = "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
REQUEST = TurnRequest(
    conversation="chat:42", chat=Chat(42), prompt="hello", session_id=SESSION, resume=False, model="opus", effort="medium",
    cwd=Path("/home/user/project"), instructions="", permission_mode="acceptEdits", timeout=600, silence=330,
)  # fmt: skip

FILE = Path("/home/user/.ductor/prompts/chat_42.md")


def raw_lines(name: str) -> Iterator[dict[str, object]]:
    for line in (DATA / f"claude-{name}.jsonl").read_text().splitlines():
        raw = json.loads(line)
        if "dir" not in raw:
            yield raw
        elif raw["dir"] == "out":
            yield raw["msg"]


def turns(name: str) -> list[list[Event]]:
    """The recording's turns, each with its events, as one process would have given them."""
    found: list[list[Event]] = [[]]
    parser = TurnParser(session_id="before")
    for raw in raw_lines(name):
        events = parser.feed(raw)
        found[-1] += events
        if any(isinstance(event, Finished) for event in events):
            parser = TurnParser(session_id=parser.session_id, spent=parser.spent)
            found.append([])
    return [turn for turn in found if turn]


def only_turn(name: str) -> list[Event]:
    (turn,) = turns(name)
    return turn


def end(turn: list[Event]) -> Finished:
    assert isinstance(turn[-1], Finished)
    return turn[-1]


def spoken(turn: list[Event]) -> str:
    return "".join(event.delta for event in turn if isinstance(event, Text))


# ── recordings ──

NAMES = sorted(path.stem.removeprefix("claude-") for path in DATA.glob("claude-*.jsonl"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_turn_starts_once_and_first_and_finishes_once_and_last(name: str) -> None:
    for turn in turns(name):
        kinds = [type(event) for event in turn]

        assert kinds.count(Finished) == 1
        assert kinds[-1] is Finished
        assert kinds.count(Started) == (0 if name == "resume-unknown" else 1)
        assert kinds[0] is (Finished if name == "resume-unknown" else Started)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_recording_is_unknown(name: str) -> None:
    parser = TurnParser(session_id="")

    for raw in raw_lines(name):
        parser.feed(raw)

    assert parser.unknown == 0


@pytest.mark.parametrize("name", ["plain", "partial"])
def test_the_text_arrives_once_with_and_without_deltas(name: str) -> None:
    turn = only_turn(name)

    assert spoken(turn) == end(turn).text == "word0 word1 word2 word3 word4 word5 word6 word7 "


def test_deltas_arrive_one_by_one() -> None:
    assert [event.delta for event in only_turn("partial") if isinstance(event, Text)] == [f"word{k} " for k in range(8)]


def test_thinking_is_told_apart_from_text() -> None:
    turn = only_turn("thinking")

    thoughts = [event.delta for event in turn if isinstance(event, Thinking)]
    assert thoughts == ["", "First ", "I think ", "about it."]
    assert spoken(turn) == end(turn).text


def test_a_tool_begins_and_ends_and_is_named_with_its_command() -> None:
    turn = only_turn("tool")

    tools = [event for event in turn if isinstance(event, Tool | ToolDone)]
    assert tools == [Tool("toolu_df0b33b0cc294950b7fb", "Bash", "echo tool-ran"), ToolDone("toolu_df0b33b0cc294950b7fb", ok=True)]
    assert end(turn).text == "The tool said: tool-ran"


def test_tokens_and_cost_are_those_of_the_turn() -> None:
    finished = end(only_turn("tool"))

    assert (finished.tokens_in, finished.tokens_out) == (240, 5)
    assert finished.cost == pytest.approx(0.001325)


def test_cost_is_the_difference_of_the_process_s_running_sums() -> None:
    costs = [end(turn).cost for turn in turns("persistent")]

    assert costs == pytest.approx([0.00065, 0.00065, 0.00013, 0.0], abs=1e-9)


def test_cached_tokens_count_as_read() -> None:
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 4}

    (finished,) = TurnParser(session_id="").feed({"type": "result", "usage": usage, "result": "x"})

    assert isinstance(finished, Finished)
    assert (finished.tokens_in, finished.tokens_out) == (321, 4)


def test_clear_changes_the_session_and_says_nothing() -> None:
    *_, before, cleared = turns("persistent")

    assert end(cleared).session_id != end(before).session_id
    assert end(cleared).text == spoken(cleared) == ""


def test_a_sub_agent_s_words_are_kept_out() -> None:
    turn = only_turn("subagent")

    assert spoken(turn).startswith("Running a command.The tool said:")
    assert [type(event) for event in turn if isinstance(event, Tool | ToolDone)] == [Tool, ToolDone]


def test_refused_tools_are_named() -> None:
    turn = only_turn("denied")

    assert end(turn).denied == ("Bash",)
    assert [event.ok for event in turn if isinstance(event, ToolDone)] == [False]


def test_the_end_of_a_background_task_is_a_turn_of_the_agent_s_own() -> None:
    parser = TurnParser(session_id="")
    own = []
    for raw in raw_lines("background"):
        if any(isinstance(event, Finished) for event in parser.feed(raw)):
            own.append(parser.by_itself)
            parser = TurnParser(session_id="", spent=parser.spent)

    assert own == [False, True]


def test_an_interrupt_ends_the_turn_as_stopped_and_keeps_its_words() -> None:
    text, tool, after = turns("interrupt")

    assert (end(text).outcome, end(text).text) == ("stopped", "tick 0 ")
    assert (end(tool).outcome, end(tool).text) == ("stopped", "Running a command.")
    assert (end(after).outcome, end(after).text) == ("done", "You said: after")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("noauth", "not_signed_in", "Not logged in"),
        ("error400", "context_full", "Prompt is too long"),
        ("error401", "not_signed_in", "Invalid API key"),
        ("error404", "unknown_model", "selected model"),
        ("error429", "rate_limited", "rate limit reached"),
        ("error500", "overloaded", "500 internal server error"),
        ("overloaded", "overloaded", "529 Overloaded"),
        ("maxturns", "max_turns", "maximum number of turns"),
        ("budget", "budget", "maximum budget"),
        ("resume-unknown", "unknown_session", "No conversation found"),
    ],
)
def test_each_failure_has_its_kind_and_the_provider_s_words_but_no_answer(name: str, kind: ErrorKind, words: str) -> None:
    turn = only_turn(name)

    assert (end(turn).outcome, end(turn).error) == ("failed", kind)
    assert words in end(turn).detail
    assert words not in spoken(turn) + end(turn).text


def test_retries_are_told() -> None:
    told = [event.text for event in only_turn("error429") if isinstance(event, Status)]

    assert told == ["retrying 1/2 (rate limit)", "retrying 2/2 (rate limit)"]
    assert end(only_turn("retry-then-ok")).outcome == "done"


# ── what is not in a recording ──


def test_a_failed_login_is_seen_with_the_first_retry() -> None:
    parser = TurnParser(session_id="")

    parser.feed({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 10, "error": "authentication_failed"})

    assert parser.not_signed_in


def test_a_retry_without_a_reason_is_a_missing_connection() -> None:
    events = TurnParser(session_id="").feed({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 10, "error": "unknown"})

    assert events == [Status("retrying 1/10 (no connection)")]


def test_compacting_is_told() -> None:
    assert TurnParser(session_id="").feed({"type": "system", "subtype": "status", "status": "compacting"}) == [Status("compacting")]


def test_a_result_without_text_has_the_last_block_s_text() -> None:
    parser = TurnParser(session_id="s")
    parser.feed({"type": "assistant", "message": {"content": [{"type": "text", "text": "the only words"}]}})

    (finished,) = parser.feed({"type": "result", "result": ""})

    assert isinstance(finished, Finished)
    assert finished.text == "the only words"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, "1", None])
def test_a_number_that_is_none_counts_as_zero(number: object) -> None:
    (finished,) = TurnParser(session_id="").feed({"type": "result", "total_cost_usd": number, "usage": {"output_tokens": number}})

    assert isinstance(finished, Finished)
    assert (finished.cost, finished.tokens_out) == (0.0, 0)


def test_an_unknown_event_is_skipped_and_counted() -> None:
    parser = TurnParser(session_id="")

    events = parser.feed({"type": "brand_new"}) + parser.feed({"type": "system", "subtype": "brand_new"})

    assert events == []
    assert parser.unknown == 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("API Error: Unable to connect to API (ECONNREFUSED)", "unreachable"),
        ("Request timed out", "unreachable"),
        ("Claude AI usage limit reached|1735689600", "rate_limited"),
        ("You've hit your session limit · resets 3pm (Europe/Berlin)", "rate_limited"),
        ("Please run /login", "not_signed_in"),
        ("something else", "refused"),
    ],
)
def test_words_alone_tell_the_kind_where_there_is_no_other_sign(text: str, kind: ErrorKind) -> None:
    assert failure(text) == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["subtype", "event", "message", "content", "delta", "error", "result", "usage", "is_error", "errors", "session_id",
     "permission_denials", "total_cost_usd", "api_error_status", "attempt", "origin", "content_block", "text"]
)  # fmt: skip
TYPES = st.sampled_from(["system", "stream_event", "assistant", "user", "result", "new"])


@settings(max_examples=300, deadline=None)
@given(TYPES, st.sampled_from(["init", "api_retry", "status", "x"]), st.dictionaries(KEYS, JSON, max_size=5))
def test_no_shape_of_a_known_event_breaks_the_parser(kind: str, subtype: str, fields: dict[str, object]) -> None:
    parser = TurnParser(session_id="s")

    events = parser.feed({"subtype": subtype, **fields, "type": kind})

    assert all(event is not None for event in events)


@given(st.binary(max_size=50))
def test_a_line_that_is_no_object_is_none(line: bytes) -> None:
    assert parse(line) is None or isinstance(parse(line), dict)


def test_a_line_nested_too_deeply_is_none() -> None:
    assert parse(b"[" * 100_000) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6), st.booleans())
def test_the_deltas_of_a_block_join_to_its_text_whether_or_not_all_were_streamed(pieces: list[str], last_too: bool) -> None:
    parser, said = TurnParser(session_id=""), []
    streamed = pieces if last_too else pieces[:-1]
    parser.feed({"type": "stream_event", "event": {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}})

    for piece in streamed:
        said += parser.feed({"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"text": piece}}})
    said += parser.feed({"type": "assistant", "message": {"content": [{"type": "text", "text": "".join(pieces)}]}})

    assert spoken(said) == parser.text == "".join(pieces)


# ── command line ──


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_a_new_session_gets_its_id_from_us_and_an_old_one_is_resumed() -> None:
    new, old = argv(["claude"], REQUEST, resume=False, instructions=FILE), argv(["claude"], REQUEST, resume=True, instructions=FILE)

    assert value(new, "--session-id") == value(old, "--resume") == SESSION
    assert "--resume" not in new
    assert "--session-id" not in old


def test_a_copy_of_a_session_is_begun_under_its_own_id_and_then_resumed_like_any_other() -> None:
    request = dataclasses.replace(REQUEST, fork_of="the original")

    new, old = argv(["claude"], request, resume=False, instructions=FILE), argv(["claude"], request, resume=True, instructions=FILE)

    assert (value(new, "--resume"), value(new, "--session-id")) == ("the original", SESSION)
    assert "--fork-session" in new
    assert old == argv(["claude"], REQUEST, resume=True, instructions=FILE)


def test_the_prompt_is_never_on_the_command_line() -> None:
    words = argv(["claude"], dataclasses.replace(REQUEST, prompt="a very private prompt"), resume=False, instructions=FILE)

    assert not any("private" in word for word in words)


def test_what_the_agent_is_told_and_remembers_is_in_a_file_and_not_on_the_command_line() -> None:
    request = dataclasses.replace(REQUEST, instructions="Be brief.", memory="The owner likes tea.", writable=(Path("/data"),))

    words = argv(["claude"], request, resume=False, instructions=FILE)

    assert not any("brief" in word or "tea" in word for word in words)
    assert claude.system_prompt(request) == "Be brief.\n\nThe owner likes tea."
    assert value(words, "--add-dir") == "/data"


def test_every_setting_has_its_flag() -> None:
    request = dataclasses.replace(REQUEST, max_turns=7, max_budget_usd=2.5, instructions="Be brief.")

    words = argv(["claude"], request, resume=False, instructions=FILE)

    given_ = {flag: value(words, flag) for flag in ("--model", "--effort", "--permission-mode", "--max-turns", "--max-budget-usd")}
    assert list(given_.values()) == ["opus", "medium", "acceptEdits", "7", "2.5"]
    assert value(words, "--append-system-prompt-file") == str(FILE)
    assert {"--include-partial-messages", "--verbose", "--replay-user-messages"} <= set(words)


def test_limits_of_zero_are_no_flags() -> None:
    words = argv(["claude"], REQUEST, resume=False, instructions=FILE)

    assert not {"--max-turns", "--max-budget-usd", "--append-system-prompt-file"} & set(words)


@pytest.mark.parametrize(("mode", "allowed"), [("acceptEdits", True), ("dontAsk", True), ("plan", False), ("bypassPermissions", False)])
def test_a_careful_agent_may_use_ductor_s_own_command_and_no_other(mode: str, allowed: bool) -> None:
    words = argv(["claude"], dataclasses.replace(REQUEST, permission_mode=mode), resume=False, instructions=FILE)

    assert ("--allowedTools" in words) is allowed
    assert not allowed or value(words, "--allowedTools") == "Bash(ductor:*)"


def test_the_agent_s_own_scheduling_is_disallowed_in_one_argument() -> None:
    words = argv(["claude"], REQUEST, resume=False, instructions=FILE)

    assert {"CronCreate", "ScheduleWakeup", "EnterWorktree"} <= set(value(words, "--disallowedTools").split(","))


def test_parameters_of_the_request_come_last() -> None:
    words = argv(["claude"], dataclasses.replace(REQUEST, parameters=("--add-dir", "/data")), resume=False, instructions=FILE)

    assert words[-2:] == ["--add-dir", "/data"]


@given(st.text(alphabet="aä€😀", max_size=200), st.integers(0, 300))
def test_long_instructions_are_cut_between_characters_and_say_so(text: str, limit: int) -> None:
    short = shorten(text, limit)

    if len(text.encode()) <= limit:
        assert short == text
    else:
        assert short.endswith(claude.CUT_NOTE)
        assert text.startswith(short.removesuffix(claude.CUT_NOTE))


def test_no_argument_is_longer_than_the_system_allows() -> None:
    request = dataclasses.replace(REQUEST, instructions="€" * 200_000)

    assert max(len(word.encode()) for word in argv(["claude"], request, resume=False, instructions=FILE)) < 131_072


@given(st.text())
def test_a_prompt_is_one_line_of_json_and_never_a_command(prompt: str) -> None:
    line = prompt_line(prompt, "key")

    sent = json.loads(line)["message"]["content"][0]["text"]
    assert b"\n" not in line
    assert not sent.startswith("/")
    assert sent == (" " + prompt if prompt.startswith("/") else prompt)


@pytest.mark.parametrize(
    ("name", "given_", "detail"),
    [
        ("Bash", {"command": "ls \n  -l"}, "ls -l"),
        ("Read", {"file_path": "/a/b.txt", "limit": 3}, "/a/b.txt"),
        ("mcp__x__y", {"count": 1, "what": "first text"}, "first text"),
        ("AskUserQuestion", {"questions": []}, ""),
        ("Bash", {"command": "x" * 500}, "x" * 199 + "…"),
    ],
)
def test_a_tool_is_described_in_one_short_line(name: str, given_: dict[str, object], detail: str) -> None:
    assert tool_detail(name, given_) == detail


# ── environment ──


def test_an_agent_gets_what_it_needs() -> None:
    names = ("HOME", "PATH", "LC_ALL", "https_proxy", "ANTHROPIC_API_KEY", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "AWS_REGION", "IS_SANDBOX")
    needed = dict.fromkeys(names, "value")

    assert plain_environment(needed) == needed


def test_an_agent_gets_nothing_else() -> None:
    others = ("SECRET", "GITHUB_TOKEN", "DUCTOR_TELEGRAM_TOKEN", "TELEGRAM_TOKEN", "CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT")

    assert plain_environment(dict.fromkeys(others, "x")) == {}


def test_more_names_can_be_asked_for_but_no_token_of_ours() -> None:
    base = {"MY_VAR": "1", "DUCTOR_DEMO_LOG": "/l", "DUCTOR_TELEGRAM_TOKEN": "t", "TELEGRAM_BOT_TOKEN": "t"}

    assert plain_environment(base, pass_env=tuple(base)) == {"MY_VAR": "1", "DUCTOR_DEMO_LOG": "/l"}


def test_a_variable_that_holds_the_token_stays_out_whatever_its_name() -> None:
    base = {"HOME": "/h", "AWS_PROFILE": f"x{TOKEN}y", "MY_VAR": TOKEN}

    assert plain_environment(base, pass_env=["MY_VAR"], secrets=[TOKEN]) == {"HOME": "/h"}


def test_an_agent_knows_its_home_and_chat_and_carries_its_mark() -> None:
    variables = agent_environment({"PATH": "/bin", MARK: "old"}, home=Path("/h"), marker=mark("run", "chat:42:7"), chat=Chat(42, 7))

    assert variables == {
        "PATH": "/h/bin:/bin", HOME: "/h", MARK: "run/chat:42:7", "DUCTOR_CHAT_ID": "42", "DUCTOR_TOPIC_ID": "7",
    }  # fmt: skip
