"""The scripted agent behaves as Claude Code does, as far as ductor can see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ductor_lib.cli import claude, sweep
from ductor_lib.cli.process import END, ChildProcess
from ductor_lib.demo.scenarios import read

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
SOON = 20.0  # seconds
STREAM = ("-p", "--output-format", "stream-json", "--verbose")
Raw = dict[str, object]


def run(folder: Path, *words: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "ductor_lib.demo.agent", *words]
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(argv, cwd=folder, env=variables, input=given, capture_output=True, text=True, timeout=SOON, check=False)


def raw_lines(output: str) -> list[Raw]:
    return [json.loads(line) for line in output.splitlines()]


class Session:
    """A conversation with the running program."""

    def __init__(self, folder: Path, *more: str) -> None:
        variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", "ductor_lib.demo.agent", *claude.STREAMING, *more]
        self.child = ChildProcess(argv, cwd=folder, environment=variables, name="scripted")

    def send(self, prompt: str) -> str:
        key = str(uuid.uuid4())
        self.child.send(claude.prompt_line(prompt, key))
        return key

    def interrupt(self) -> None:
        self.child.send(claude.interrupt_line("i-1"))

    def until(self, **fields: object) -> list[Raw]:
        """All lines up to one with these fields."""
        found: list[Raw] = []
        while (line := self.child.read(SOON)) != END:
            assert line is not None, "nothing came in time"
            found.append(json.loads(line))
            if fields.items() <= found[-1].items():
                return found
        raise AssertionError(f"ended without {fields}: {self.child.stderr}")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.child.finish(0.5)


def eventually(true: Callable[[], object]) -> bool:
    until = time.monotonic() + SOON
    while not true() and time.monotonic() < until:
        threading.Event().wait(0.01)
    return bool(true())


def said(lines: list[Raw]) -> object:
    return lines[-1]["result"]


# ── the program ──


def test_it_says_its_version_and_that_it_is_scripted(tmp_path: Path) -> None:
    assert "(Claude Code, scripted agent)" in run(tmp_path, "--version").stdout


@pytest.mark.parametrize(("signed_out", "answer", "code"), [("", True, 0), ("1", False, 1)])
def test_it_tells_whether_it_is_signed_in(tmp_path: Path, signed_out: str, answer: bool, code: int) -> None:
    done = run(tmp_path, "auth", "status", DUCTOR_DEMO_SIGNED_OUT=signed_out)

    assert (json.loads(done.stdout)["loggedIn"], done.returncode) == (answer, code)


def test_without_a_marker_it_repeats_the_prompt_and_says_what_it_is(tmp_path: Path) -> None:
    answer = run(tmp_path, "-p", "--", "hello there").stdout

    assert "> hello there" in answer
    assert "scripted agent" in answer


def test_a_plain_run_takes_its_prompt_from_stdin_too(tmp_path: Path) -> None:
    assert "> from stdin" in run(tmp_path, "-p", given="from stdin").stdout


def test_json_output_is_the_result(tmp_path: Path) -> None:
    raw = json.loads(run(tmp_path, "-p", "--output-format", "json", "--", "[[scenario:plain n=1]]").stdout)

    assert (raw["type"], raw["result"]) == ("result", "word0 ")


def test_the_stream_needs_verbose_as_with_the_real_one(tmp_path: Path) -> None:
    assert run(tmp_path, "-p", "--output-format", "stream-json", "--", "x").returncode == 1


def test_a_wrong_permission_mode_is_refused(tmp_path: Path) -> None:
    assert "invalid" in run(tmp_path, "-p", "--permission-mode", "nonsense", "--", "x").stderr


# ── sessions ──


def test_a_session_can_be_resumed_where_it_was_begun_and_nowhere_else(tmp_path: Path) -> None:
    key, elsewhere = str(uuid.uuid4()), tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(tmp_path, *STREAM, "--session-id", key, "--", "one")

    here = raw_lines(run(tmp_path, *STREAM, "--resume", key, "--", "two").stdout)
    there = run(elsewhere, *STREAM, "--resume", key, "--", "two", HOME=str(tmp_path))

    assert here[0]["session_id"] == key
    assert there.returncode == 1
    assert there.stderr == f"No conversation found with session ID: {key}\n"
    assert raw_lines(there.stdout)[0]["errors"] == [there.stderr.strip()]


def test_a_session_id_is_used_once(tmp_path: Path) -> None:
    key = str(uuid.uuid4())
    run(tmp_path, "-p", "--session-id", key, "--", "one")

    again = run(tmp_path, "-p", "--session-id", key, "--", "two")

    assert (again.returncode, again.stderr) == (1, f"Error: Session ID {key} is already in use.\n")


def test_every_prompt_is_logged_with_who_got_it(tmp_path: Path) -> None:
    key = str(uuid.uuid4())

    run(tmp_path, "-p", "--model", "opus", "--session-id", key, "--", "remember", DUCTOR_DEMO_LOG=str(tmp_path / "log"))

    (fact,) = raw_lines((tmp_path / "log").read_text())
    assert {"prompt": "remember", "session_id": key, "model": "opus", "cwd": str(tmp_path)}.items() <= fact.items()
    assert "--model" in str(fact["argv"])


# ── the stream ──


def shape(raw: Raw) -> tuple[object, ...]:
    event = raw.get("event")
    kind = event.get("type") if isinstance(event, dict) else None
    return raw["type"], raw.get("subtype"), kind


@pytest.mark.parametrize("name", ["plain", "tool", "thinking", "error400", "error404", "error429", "error500", "overloaded", "denied"])
def test_a_turn_has_the_same_kinds_of_lines_in_the_same_order_as_the_recording(tmp_path: Path, name: str) -> None:
    def skeleton(lines: list[Raw]) -> list[tuple[object, ...]]:
        kept = [shape(raw) for raw in lines if raw["type"] in ("user", "result") or raw.get("subtype") in ("init", "api_retry")]
        return list(dict.fromkeys(kept))

    recorded = skeleton(raw_lines((DATA / f"claude-{name}.jsonl").read_text()))

    mine = skeleton(raw_lines(run(tmp_path, *STREAM, "--", f"[[scenario:{name}]] hello").stdout))

    assert mine == recorded


@pytest.mark.parametrize("name", ["error400", "error401", "error404", "error429", "error500", "overloaded"])
def test_a_failure_has_the_fields_of_the_recording(tmp_path: Path, name: str) -> None:
    def facts(lines: list[Raw]) -> tuple[object, ...]:
        result, spoken = lines[-1], next(raw for raw in lines if raw["type"] == "assistant")
        return result["subtype"], result["is_error"], result["api_error_status"], result["terminal_reason"], spoken["error"]

    recorded = facts(raw_lines((DATA / f"claude-{name}.jsonl").read_text()))

    done = run(tmp_path, *STREAM, "--", f"[[scenario:{name}]]")

    assert facts(raw_lines(done.stdout)) == recorded
    assert done.returncode == 1


def test_one_process_takes_many_prompts_and_its_cost_is_a_running_sum(session: Session) -> None:
    session.send("[[scenario:plain n=1]]")
    first = session.until(type="result")
    session.send("[[scenario:plain n=2]]")
    second = session.until(type="result")

    assert (said(first), said(second)) == ("word0 ", "word0 word1 ")
    assert second[-1]["total_cost_usd"] == pytest.approx(0.002)
    assert second[0]["subtype"] == "init"


def test_a_prompt_comes_back_when_it_is_taken(session: Session) -> None:
    key = session.send("hello")

    replays = [raw for raw in session.until(type="result") if raw.get("isReplay")]

    assert [raw["uuid"] for raw in replays] == [key]


def test_prompts_that_wait_become_one_turn(session: Session, tmp_path: Path) -> None:
    session.send(f"[[scenario:hold file={tmp_path / 'go'}]]")
    session.until(type="stream_event")
    keys = [session.send("second"), session.send("[[scenario:plain n=1]]")]
    (tmp_path / "go").touch()
    session.until(type="result")

    lines = session.until(type="result")

    assert [raw["uuid"] for raw in lines if raw.get("isReplay")] == keys
    assert said(lines) == "word0 "


def test_an_interrupt_during_text_keeps_what_was_said(session: Session) -> None:
    session.send("[[scenario:slow]]")
    session.until(type="stream_event", parent_tool_use_id=None)
    while not any("text_delta" in json.dumps(raw) for raw in session.until(type="stream_event")):
        pass

    session.interrupt()
    lines = session.until(type="result")

    assert (lines[-1]["subtype"], lines[-1]["terminal_reason"]) == ("error_during_execution", "aborted_streaming")
    assert any(raw["type"] == "assistant" for raw in lines)


def test_an_interrupt_during_a_tool_kills_it_and_the_process_stays_usable(session: Session) -> None:
    session.send("[[scenario:tool cmd='sleep 60']]")
    while not any("tool_use" in json.dumps(raw) for raw in session.until(type="assistant")):
        pass

    session.interrupt()
    lines = session.until(type="result")
    session.send("[[scenario:plain n=1]]")

    assert lines[-1]["terminal_reason"] == "aborted_tools"
    assert said(session.until(type="result")) == "word0 "


def test_an_interrupt_without_a_turn_is_harmless(session: Session) -> None:
    session.send("one")
    session.until(type="result")

    session.interrupt()
    session.until(type="control_response")
    session.send("[[scenario:plain n=1]]")

    assert said(session.until(type="result")) == "word0 "


def test_a_tool_runs_in_a_session_of_its_own(session: Session) -> None:
    session.send("[[scenario:tool cmd='cut -d\" \" -f6 /proc/self/stat']]")

    answer = str(said(session.until(type="result")))

    assert int(answer.split()[-1]) != session.child.pid


def test_the_end_of_a_background_task_begins_a_turn(session: Session) -> None:
    session.send("[[scenario:background cmd='true']]")
    first = session.until(type="result")
    own = session.until(type="result")

    assert "origin" not in first[-1]
    assert own[-1]["origin"] == {"kind": "task-notification"}
    assert [raw["subtype"] for raw in own if raw["type"] == "system"] == ["task_updated", "task_notification", "init"]


def test_a_budget_is_for_the_whole_process(tmp_path: Path) -> None:
    session = Session(tmp_path, "--max-budget-usd", "0.0015")

    subtypes = []
    for _ in range(3):
        session.send("hello")
        subtypes.append(session.until(type="result")[-1]["subtype"])

    assert subtypes == ["success", "error_max_budget_usd", "error_max_budget_usd"]
    session.child.finish(SOON)
    assert session.child.returncode == 1


def test_the_end_of_input_ends_it(session: Session) -> None:
    session.send("hello")
    session.child.close_stdin()
    session.until(type="result")

    assert session.child.wait(SOON)
    assert session.child.returncode == 0


def test_a_polite_signal_kills_background_tasks_and_leaves_with_143(session: Session, tmp_path: Path) -> None:
    session.send(f"[[scenario:background cmd='echo $$ > {tmp_path / 'pid'}; sleep 60']]")
    session.until(type="result")
    assert eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())

    session.child.terminate(SOON)

    assert session.child.returncode == 143
    assert eventually(lambda: int((tmp_path / "pid").read_text()) not in sweep.processes())


def test_a_line_that_is_no_json_ends_it(session: Session) -> None:
    session.child.send(b"nonsense")

    assert session.child.read(SOON) == END
    assert session.child.returncode == 1


def test_an_option_may_hold_spaces_and_brackets() -> None:
    script = read("please [[scenario:tool cmd='echo [a] b=c' orphan=1]] now")

    assert (script.name, script.options) == ("tool", {"cmd": "echo [a] b=c", "orphan": "1"})
    assert script.prompt == "please  now"


@pytest.mark.parametrize("line", [b'{"type": "control_request", "request_id": "r", "request": {"subtype": "initialize"}}\n', b""])
def test_it_ends_when_the_driving_program_is_gone(tmp_path: Path, line: bytes) -> None:
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "ductor_lib.demo.agent", *claude.STREAMING], cwd=tmp_path, env=variables,
        stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        os.close(writing)
        os.close(reading)

        _, said = child.communicate(line, SOON)

    assert said == b""
