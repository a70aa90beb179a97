"""Child processes: whole lines, flat memory, and an end in steps."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.cli.process import DRAIN, END, QUEUED, STDERR_KEPT, ChildProcess, Lines, whole_lines

SOON = 20.0  # seconds; a bound for what takes milliseconds


class Children:
    def __init__(self, folder: Path) -> None:
        self.started: list[ChildProcess] = []
        self._folder = folder

    def python(self, code: str) -> ChildProcess:
        words = [sys.executable, "-u", "-c", code]
        child = ChildProcess(words, cwd=self._folder, environment={"PATH": os.environ["PATH"]}, name="child")
        self.started.append(child)
        return child


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path)
    yield made
    for child in made.started:
        child.terminate(0.1)
        child.abandon()


def all_lines(child: ChildProcess) -> list[bytes]:
    found = []
    while (line := child.read(SOON)) != END:
        assert line is not None, "nothing came in time"
        found.append(line)
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(0, 200)))
def test_lines_are_whole_wherever_the_stream_was_cut(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    places = sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})
    chunks = [data[begin:end] for begin, end in itertools.pairwise(places)]

    found = list(whole_lines(chunks))

    expected = [line.replace(b"\n", b"").strip() for line in lines]
    assert found == [line for line in expected if line]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 7))
def test_a_line_above_the_limit_is_one_skipped_line_and_costs_no_other(sizes: list[int], chunk: int) -> None:
    data = b"\n".join(b"x" * size for size in sizes)
    chunks = [data[begin : begin + chunk] for begin in range(0, len(data), chunk)]

    found = list(whole_lines(chunks, longest=20))

    assert found == [None if size > 20 else b"x" * size for size in sizes if size]


def test_a_last_line_without_an_end_is_a_line() -> None:
    assert list(whole_lines([b"one\ntw", b"o"])) == [b"one", b"two"]


def test_a_reader_waits_when_nobody_consumes_and_goes_on_when_somebody_does() -> None:
    lines, handed = Lines(limit=10), threading.Semaphore(0)

    def read() -> None:
        for _ in range(3):
            lines.put(b"x" * 10)
            handed.release()

    threading.Thread(target=read, daemon=True).start()

    assert handed.acquire(timeout=SOON)
    assert not handed.acquire(timeout=0.05)
    assert lines.get(SOON) == b"x" * 10
    assert handed.acquire(timeout=SOON)


def test_a_reader_is_never_held_up_once_the_consumer_is_gone() -> None:
    lines = Lines(limit=10)
    lines.abandon()

    went_on = [lines.put(b"x" * 100) for _ in range(5)]
    lines.end()

    assert went_on == [True] * 5
    assert lines.put(b"x") is False
    assert lines.get(SOON) == END


def test_a_wake_ends_a_wait_for_a_line() -> None:
    lines = Lines()
    threading.Timer(0.05, lines.wake).start()
    begun = time.monotonic()

    line = lines.get(SOON)

    assert line is None
    assert time.monotonic() - begun < SOON / 2


def test_what_is_sent_arrives_in_order_and_the_answers_come_as_lines(children: Children) -> None:
    child = children.python("import sys\nfor line in sys.stdin: print('got', line.strip())")

    child.send(b"one")
    child.send(b"two")
    child.close_stdin()

    assert all_lines(child) == [b"got one", b"got two"]
    assert child.returncode == 0


def test_sending_to_a_child_that_does_not_read_does_not_block(children: Children) -> None:
    child = children.python("import time\nprint('up')\ntime.sleep(60)")
    assert child.read(SOON) == b"up"

    child.send(b"x" * 5_000_000)
    child.terminate(0.2)

    assert all_lines(child) == []


def test_a_line_of_ten_megabytes_comes_whole(children: Children) -> None:
    child = children.python("print('x' * 10_000_000)\nprint('after')")

    lines = all_lines(child)

    assert [len(line) for line in lines] == [10_000_000, 5]


def test_what_waits_for_a_slow_consumer_is_bounded(children: Children) -> None:
    child = children.python("import sys\nfor k in range(50_000):\n print('x' * 1_000)\n print(k, file=sys.stderr)")
    assert child.read(SOON)

    progress = -1  # stderr tells how far the child came; it stands still when the pipe and the queue are full
    while (now := int(child.stderr.split()[-1] if child.stderr else 0)) != progress:
        progress = now
        threading.Event().wait(0.3)

    assert progress * 1_000 < QUEUED * 2
    assert len(all_lines(child)) == 50_000 - 1


def test_a_consumer_that_is_slower_than_the_exit_still_gets_every_line(children: Children) -> None:
    child = children.python(f"for k in range({QUEUED // 1_000 + 40}): print('x' * 1_000)")

    left = child.wait(DRAIN + 0.5)

    assert not left
    assert not child.running
    assert len(all_lines(child)) == QUEUED // 1_000 + 40
    assert child.ended


def test_end_means_that_the_exit_code_and_all_of_stderr_are_known(children: Children) -> None:
    child = children.python("import os, sys\nos.close(1)\nsys.stderr.write('last words')\nsys.stderr.flush()\nos._exit(7)")

    line = child.read(SOON)

    assert line == END
    assert (child.returncode, child.stderr) == (7, "last words")


def test_only_the_end_of_stderr_is_kept(children: Children) -> None:
    child = children.python("import sys\nsys.stderr.write('x' * 500_000 + 'the end')")

    assert all_lines(child) == []

    assert len(child.stderr) <= STDERR_KEPT
    assert child.stderr.endswith("the end")


def test_a_grandchild_that_holds_the_pipe_does_not_hold_up_the_end(children: Children) -> None:
    child = children.python("import subprocess\np = subprocess.Popen(['sleep', '30'], start_new_session=True)\nprint(p.pid)")
    grandchild = int(child.read(SOON) or b"0")
    begun = time.monotonic()

    assert all_lines(child) == []

    assert time.monotonic() - begun < DRAIN + SOON / 2
    os.kill(grandchild, signal.SIGKILL)


def test_a_child_that_ignores_the_polite_signal_is_killed(children: Children) -> None:
    child = children.python("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\ntime.sleep(60)")
    assert child.read(SOON) == b"up"

    child.terminate(0.2)

    assert child.returncode == -signal.SIGKILL
    assert child.wait(SOON)


def test_a_child_that_only_waits_for_the_end_of_its_input_leaves_without_a_signal(children: Children) -> None:
    child = children.python("import sys\nsys.stdin.read()")

    child.finish(SOON)

    assert child.returncode == 0


def test_a_signal_meets_the_group_of_the_child_and_never_ours(children: Children) -> None:
    child = children.python("import subprocess, time\np = subprocess.Popen(['sleep', '60'])\nprint(p.pid)\ntime.sleep(60)")
    same_group = int(child.read(SOON) or b"0")

    child.terminate(0.5)

    assert os.getpgid(0) != child.pid
    assert child.wait(SOON)
    until = time.monotonic() + SOON
    while alive(same_group) and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert not alive(same_group)


def test_a_program_that_does_not_exist_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess(["/nonexistent/claude"], cwd=tmp_path, environment={}, name="child")
