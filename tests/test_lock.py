"""One bot per home, with real second processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ductor_lib.errors import DuctorError
from ductor_lib.infra.lock import HomeLock

HOLD = """
import subprocess, sys
from pathlib import Path
from ductor_lib.infra.lock import HomeLock
with HomeLock(Path(sys.argv[1])):
    child = None
    if "child" in sys.argv:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, stdout=subprocess.DEVNULL, close_fds=False)
    print(child.pid if child else "held", flush=True)
    input()
"""

ROOT = Path(__file__).parent.parent


@contextmanager
def holder(path: Path, *extra: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds the lock, and the line it printed; it ends when its input closes."""
    command = [sys.executable, "-c", HOLD, str(path), *extra]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ductor.lock"


def test_the_lock_file_names_the_holder_and_is_empty_afterwards(path: Path) -> None:
    with HomeLock(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o777 == 0o600

    assert path.read_text() == ""


def test_a_second_bot_is_refused_with_the_pid_and_what_to_do(path: Path) -> None:
    with holder(path) as (process, _):
        with pytest.raises(DuctorError, match=rf"already runs for this home \(pid {process.pid}\).*Stop that one first.*DUCTOR_HOME"):
            HomeLock(path)

        assert path.read_text() == f"{process.pid}\n"


def test_a_second_lock_in_the_same_process_is_refused_too(path: Path) -> None:
    with HomeLock(path), pytest.raises(DuctorError, match=f"pid {os.getpid()}"):
        HomeLock(path)


def test_the_lock_is_free_after_a_clean_end(path: Path) -> None:
    with holder(path) as (process, _):
        process.communicate("\n", timeout=30)

    with HomeLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_after_an_exception(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), HomeLock(path):
        raise ZeroDivisionError

    with HomeLock(path):
        pass


def test_the_lock_is_free_after_kill_9(path: Path) -> None:
    with holder(path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait(30)

        with HomeLock(path):
            assert path.read_text() == f"{os.getpid()}\n"


def test_a_child_that_outlives_the_bot_does_not_keep_the_lock(path: Path) -> None:
    with holder(path, "child") as (process, child):
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        os.kill(int(child), 0)  # it lives

        with HomeLock(path):
            os.kill(int(child), 0)


@pytest.mark.parametrize("content", ["", "not a pid", "99999999999999999999999999", "-1\n", "٣"])
def test_whatever_the_file_held_before_does_not_matter(path: Path, content: str) -> None:
    path.write_text(content, "utf-8")

    with HomeLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_written_its_pid_yet_is_refused_without_one(path: Path) -> None:
    with HomeLock(path):
        path.write_text("")

        with pytest.raises(DuctorError, match=r"runs for this home\. Stop"):
            HomeLock(path)


def test_two_homes_run_side_by_side(path: Path) -> None:
    with HomeLock(path), HomeLock(path.with_name("other.lock")) as other:
        assert other
