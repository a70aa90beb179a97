"""JSON files: whole, never lost, shared by threads and processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ductor_lib.errors import DuctorError
from ductor_lib.storage import JsonFile, write_text

COUNT = """
import sys
from pathlib import Path
from ductor_lib.storage import JsonFile
file = JsonFile(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    with file.change() as data:
        data["n"] = data.get("n", 0) + 1
"""

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from ductor_lib.storage import JsonFile
file = JsonFile(Path(sys.argv[1]))
while True:
    with file.change() as data:
        data["n"] = data.get("n", 0) + 1
        data["padding"] = str(data["n"] % 10) * 300_000
        print("writing", flush=True)
"""

DIE_WITHIN_THE_WRITE = """
import resource, signal, sys
from pathlib import Path
from ductor_lib.storage import JsonFile
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with JsonFile(Path(sys.argv[1])).change() as data:
    data["padding"] = "x" * 100_000
"""

DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from ductor_lib.storage import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except OSError:
    sys.exit(7)
"""

ROOT = Path(__file__).parent.parent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_a_file_that_is_not_there_is_empty_and_reading_makes_none(path: Path) -> None:
    file = JsonFile(path)

    with file.change():
        pass

    assert file.read() == {}
    assert file.damaged is None
    assert not path.exists()


def test_a_change_is_on_disk_when_the_block_ends_and_unknown_keys_stay(path: Path) -> None:
    path.write_text('{"theirs": [1, 2]}')

    with JsonFile(path).change() as data:
        data["ours"] = "größer"

    assert json.loads(path.read_text("utf-8")) == {"theirs": [1, 2], "ours": "größer"}
    assert "größer" in path.read_text("utf-8")


def test_only_the_owner_can_read_what_is_written(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o644)

    with JsonFile(path).change() as data:
        data["token"] = "1"

    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}


def test_a_change_that_raises_changes_nothing(path: Path) -> None:
    file = JsonFile(path)
    with file.change() as data:
        data["n"] = 1

    with pytest.raises(ZeroDivisionError), file.change() as data:
        data["n"] = 1 // 0

    assert file.read() == {"n": 1}
    with file.change() as data:  # and the lock is free again
        data["n"] = 2
    assert file.read() == {"n": 2}


def test_what_cannot_be_written_as_json_leaves_the_old_content(path: Path) -> None:
    file = JsonFile(path)
    with file.change() as data:
        data["n"] = 1

    with pytest.raises(TypeError), file.change() as data:
        data["n"] = object()

    assert file.read() == {"n": 1}


def test_unchanged_content_is_not_written(path: Path) -> None:
    path.write_text('{ "by_hand":1,\n"other": {"b": 1, "a": 2} }')
    before = path.stat()

    with JsonFile(path).change() as data:
        data["by_hand"] = 1

    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_one_and_true_are_different_content(path: Path) -> None:
    path.write_text('{"n": 1}')

    with JsonFile(path).change() as data:
        data["n"] = True

    assert JsonFile(path).read()["n"] is True


def test_readers_and_changers_share_no_objects(path: Path) -> None:
    file = JsonFile(path)
    with file.change() as kept:
        kept["list"] = [1]

    kept["list"] = "spoiled"
    file.read()["list"] = "spoiled"

    assert file.read() == {"list": [1]}


def test_an_edit_from_outside_is_seen_at_once_even_with_the_same_size_and_time(path: Path) -> None:
    path.write_text('{"n": 1}')
    before = path.stat()
    file = JsonFile(path)
    assert file.read() == {"n": 1}

    path.write_text('{"n": 2}')
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert file.read() == {"n": 2}


def test_a_link_stays_a_link(path: Path) -> None:
    elsewhere = path.with_name("dotfiles.json")
    elsewhere.write_text("{}")
    path.symlink_to(elsewhere)

    with JsonFile(path).change() as data:
        data["n"] = 1

    assert path.is_symlink()
    assert json.loads(elsewhere.read_text()) == {"n": 1}


def test_a_byte_order_mark_is_no_damage(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}')

    assert JsonFile(path, own=False).read() == {"n": 1}


DAMAGED = {
    "empty": b"",
    "cut": b'{"n": 1,\n "m":',
    "not an object": b"[1]",
    "not utf-8": b'{"n":\n "\xff"}',
    "zeros after a power cut": b"\0" * 512,
    "a number that never ends": b'{"n": ' + b"9" * 5000 + b"}",
    "endless nesting": b"[" * 200_000,
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_own_file_is_moved_aside_and_the_owner_can_be_told(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    file = JsonFile(path, now=lambda: 1700000000.5)

    data = file.read()

    assert data == {}
    assert file.damaged == path.with_name("state.json.damaged-1700000000")
    assert file.damaged.read_bytes() == raw
    with file.change() as fresh:
        fresh["n"] = 1
    assert file.read() == {"n": 1}


def test_damage_found_while_changing_is_moved_aside_too(path: Path) -> None:
    path.write_text("{")
    file = JsonFile(path)

    with file.change() as data:
        data["n"] = 1

    assert file.damaged is not None
    assert file.damaged.read_text() == "{"
    assert file.read() == {"n": 1}


def test_a_second_damage_in_the_same_second_keeps_the_first_copy(path: Path) -> None:
    file = JsonFile(path, now=lambda: 5.0)

    for raw in ("first", "second"):
        path.write_text(raw)
        file.read()

    assert path.with_name("state.json.damaged-5").read_text() == "first"
    assert path.with_name("state.json.damaged-6").read_text() == "second"


@pytest.mark.parametrize(
    ("raw", "line"),
    [(b"", 1), (b'{\n"n": 1\n"m": 2}', 3), (b"[]", 1), (b'{"a": 1,\n"b": "\xff"}', 2), (b"[" * 200_000, 1)],
    ids=["empty", "comma missing", "not an object", "not utf-8", "endless nesting"],
)
def test_a_damaged_file_of_the_users_stays_and_is_named_with_its_line(path: Path, raw: bytes, line: int) -> None:
    path.write_bytes(raw)
    file = JsonFile(path, own=False)

    with pytest.raises(DuctorError, match=rf"state\.json, line {line}: ") as reading:
        file.read()
    with pytest.raises(DuctorError, match=rf"line {line}: "), file.change() as data:
        data["n"] = 1

    assert str(path) in str(reading.value)
    assert path.read_bytes() == raw
    assert file.damaged is None


def test_threads_lose_no_change(path: Path) -> None:
    file = JsonFile(path)

    def count() -> None:
        for _ in range(50):
            with file.change() as data:
                number = data.get("n", 0)
                assert isinstance(number, int)
                data["n"] = number + 1

    threads = [threading.Thread(target=count, name=f"count-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert file.read() == {"n": 200}


def test_processes_lose_no_change(path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", COUNT, str(path), "100"], cwd=ROOT) for _ in range(4)]

    codes = [child.wait(60) for child in children]

    assert codes == [0] * 4
    assert JsonFile(path).read() == {"n": 400}


def test_a_writer_that_dies_within_the_write_leaves_the_old_content(path: Path) -> None:
    path.write_text('{"n": 1}')

    child = subprocess.run([sys.executable, "-c", DIE_WITHIN_THE_WRITE, str(path)], cwd=ROOT, timeout=30, check=False)

    assert child.returncode == -signal.SIGXFSZ
    assert path.read_text() == '{"n": 1}'
    with JsonFile(path).change() as data:
        data["n"] = 2
    assert [entry.name for entry in sorted(path.parent.iterdir())] == ["state.json", "state.json.lock"]


def test_kill_9_between_two_changes_or_within_one_leaves_old_or_new_content_and_no_lock(path: Path) -> None:
    last = 0

    for attempt in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout
            for _ in range(2 + attempt):
                child.stdout.readline()
            child.send_signal(signal.SIGKILL)
        file = JsonFile(path, own=False)
        data = file.read()
        with file.change() as again:
            again["seen"] = attempt

        number = data.get("n", 0)
        assert isinstance(number, int)
        assert number >= last
        assert data.get("padding", "") == (str(number % 10) * 300_000 if number else "")
        last = number

    assert last > 0
    assert {entry.name for entry in path.parent.iterdir()} <= {"state.json", "state.json.lock", "state.json.tmp"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(st.characters(), max_size=8), JSON, max_size=4))
def test_what_is_written_is_what_is_read(path: Path, content: dict[str, object]) -> None:
    path.unlink(missing_ok=True)

    with JsonFile(path, own=False).change() as data:
        data.update(content)

    assert JsonFile(path, own=False).read() == content


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_kept(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    file = JsonFile(path)

    data = file.read()

    assert isinstance(data, dict)
    assert (file.damaged or path).read_bytes() == raw
    if file.damaged:
        file.damaged.unlink()


# ── files that are not JSON ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_written_whole_with_its_mode_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "note.md"

    write_text(path, "old")
    write_text(path, "grüße \udc80\n", mode=0o700)

    assert path.read_bytes() == "grüße \\udc80\n".encode()
    assert path.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "note.md").symlink_to("theirs")

    write_text(tmp_path / "note.md", "ours")

    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "note.md").is_symlink()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("old")

    child = subprocess.run([sys.executable, "-c", DISK_FULL, str(path)], cwd=ROOT, timeout=30, check=False)

    assert child.returncode == 7
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
