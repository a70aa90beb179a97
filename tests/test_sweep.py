"""What an agent left running is found and ended, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.cli import sweep
from ductor_lib.cli.environment import HOME, MARK, mark
from ductor_lib.cli.sweep import Process, Span, leftovers, parse_ps

SOON = 20.0  # seconds
CLI = 100  # the id of Claude Code's process in the tables below
linux_only = pytest.mark.skipif(not sweep.BY_ENVIRONMENT, reason="the system does not show environments")


def tool(pid: int, started: float, *, parent: int = CLI, session: int | None = None) -> Process:
    return Process(pid, parent, pid if session is None else session, started)


def pids(found: list[Process]) -> list[int]:
    return sorted(process.pid for process in found)


def test_a_tool_of_this_turn_is_a_leftover_with_everything_in_its_session() -> None:
    members = [Process(CLI, 1, CLI, 10.0), tool(200, 50.0), tool(201, 51.0, parent=200, session=200)]

    assert pids(leftovers(members, cli=CLI, since=40.0)) == [200, 201]


def test_servers_in_the_cli_s_own_session_survive() -> None:
    members = [Process(CLI, 1, CLI, 10.0), Process(101, CLI, CLI, 60.0)]

    assert leftovers(members, cli=CLI, since=40.0) == []


def test_what_was_begun_before_the_turn_survives_with_what_it_starts_later() -> None:
    members = [Process(CLI, 1, CLI, 10.0), tool(200, 20.0), tool(201, 60.0, parent=200)]

    assert leftovers(members, cli=CLI, since=40.0) == []


def test_an_announced_background_task_survives_with_its_children() -> None:
    members = [tool(200, 50.05), tool(201, 70.0, parent=200), tool(300, 60.0)]

    found = leftovers(members, cli=CLI, since=40.0, spared=[Span(50.0, 50.1)])

    assert pids(found) == [300]


def test_a_start_that_was_rounded_down_to_before_the_turn_counts_as_in_it() -> None:
    assert pids(leftovers([tool(200, 40.0)], cli=CLI, since=40.009)) == [200]


def test_ps_output_becomes_a_table_without_zombies() -> None:
    output = "    1     0     1 Ss    10-01:02:03\n  200   100   200 S+         05:06\n  201   200   200 Z          00:01\nnonsense\n"

    table = parse_ps(output, 1_000_000.0)

    assert table == {1: Process(1, 0, 1, 1_000_000.0 - 867_723), 200: Process(200, 100, 200, 1_000_000.0 - 306)}


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_every_age_that_ps_prints_is_understood(days: int, hours: int, minutes: int, seconds: int) -> None:
    shown = f"{days}-{hours:02}:{minutes:02}:{seconds:02}" if days else f"{hours:02}:{minutes:02}:{seconds:02}"

    (process,) = parse_ps(f"5 1 5 S {shown}", 0.0).values()

    assert -process.started == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class Sleepers:
    """Real processes with an agent's marks."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run = uuid.uuid4().hex
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, *, run: str = "", home: Path | None = None, code: str = "print('up', flush=True); time.sleep(60)") -> int:
        marks = {MARK: mark(run or self.run, "chat:1"), HOME: str(home or self.home)}
        variables = {"PATH": os.environ["PATH"], **marks}
        words = [sys.executable, "-c", f"import os, signal, subprocess, time\n{code}"]
        child = subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, start_new_session=True)
        self._children.append(child)
        assert child.stdout
        assert child.stdout.readline()
        return child.pid

    def end(self) -> None:
        for child in self._children:
            child.kill()
            child.wait(SOON)
            assert child.stdout
            child.stdout.close()

    def alive(self, pid: int) -> bool:
        return pid in sweep.processes()


@pytest.fixture
def sleepers(tmp_path: Path) -> Iterator[Sleepers]:
    made = Sleepers(tmp_path)
    yield made
    made.end()


def gone(sleepers: Sleepers, pid: int) -> bool:
    until = time.monotonic() + SOON
    while sleepers.alive(pid) and time.monotonic() < until:
        threading.Event().wait(0.01)
    return not sleepers.alive(pid)


def test_a_process_that_ignores_the_polite_signal_is_killed(sleepers: Sleepers) -> None:
    pid = sleepers.start(code="signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)")

    sweep.stop([sweep.processes()[pid]], grace=0.2)

    assert gone(sleepers, pid)


def test_another_process_with_the_same_id_is_left_alone(sleepers: Sleepers) -> None:
    pid = sleepers.start()
    former = Process(pid, 1, pid, sweep.processes()[pid].started - 100)

    sweep.stop([former], grace=0.2)

    assert sleepers.alive(pid)


@linux_only
def test_family_finds_a_tool_that_left_the_session_and_lost_its_parent(sleepers: Sleepers) -> None:
    code = "p = subprocess.Popen(['sleep', '60'], start_new_session=True); print(p.pid, flush=True); os._exit(0)"
    parent = sleepers.start(code=code)

    found = sweep.family(mark(sleepers.run, "chat:1"), parent)

    orphans = [process for process in found if process.pid != parent]
    assert len(orphans) == 1
    sweep.stop(orphans)
    assert gone(sleepers, orphans[0].pid)


def test_family_finds_descendants_that_cleared_their_environment(sleepers: Sleepers) -> None:
    code = "subprocess.Popen(['/bin/sleep', '60'], env={}, start_new_session=True); print('up', flush=True); time.sleep(60)"
    parent = sleepers.start(code=code)

    found = sweep.family(mark(sleepers.run, "chat:1"), parent)

    assert len(found) == 2
    sweep.stop(found)


@linux_only
def test_agents_of_a_former_run_of_this_home_are_ended(sleepers: Sleepers) -> None:
    former = sleepers.start(run="former")

    ended = sweep.sweep_home(sleepers.home, sleepers.run)

    assert ended == 1
    assert gone(sleepers, former)


@linux_only
def test_agents_of_this_run_and_of_another_home_are_left_alone(sleepers: Sleepers, tmp_path: Path) -> None:
    current, elsewhere = sleepers.start(), sleepers.start(run="former", home=tmp_path / "other")

    ended = sweep.sweep_home(sleepers.home, sleepers.run)

    assert ended == 0
    assert sleepers.alive(current)
    assert sleepers.alive(elsewhere)


@linux_only
def test_a_bot_that_an_agent_has_started_does_not_end_itself_nor_its_ancestors(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    inner = f"from pathlib import Path\nfrom ductor_lib.cli import sweep\nprint(sweep.sweep_home(Path({str(tmp_path)!r}), 'new'))"
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}], check=True)\nprint('still here')"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), MARK: "former/chat:1", HOME: str(tmp_path)}

    done = subprocess.run([sys.executable, "-u", "-c", outer], env=variables, capture_output=True, text=True, timeout=SOON, check=False)

    assert done.stdout.split("\n")[:2] == ["0", "still here"], done.stderr


@linux_only
def test_everything_of_a_run_is_ended_at_its_end(sleepers: Sleepers) -> None:
    mine, other = sleepers.start(), sleepers.start(run="other")

    sweep.sweep_run(sleepers.run)

    assert gone(sleepers, mine)
    assert sleepers.alive(other)
    os.kill(other, signal.SIGKILL)
