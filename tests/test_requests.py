"""The request folder, with real second processes: asked once is done once, in order, whatever lies in the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.errors import DuctorError
from ductor_lib.infra.requests import MOST_BYTES, MOST_FILES, NotRunning, Requests, ask

ROOT = Path(__file__).parent.parent
SOON = 20.0  # seconds

SERVE = """
import sys, threading
from pathlib import Path
from ductor_lib.infra.requests import Requests
journal = open(sys.argv[2], "a")
def note(args):
    print(args["text"], file=journal, flush=True)
    if args.get("hang"):
        threading.Event().wait()
    return {"echo": args["text"]}
requests = Requests(Path(sys.argv[1]), {"note": note})
requests.step()
print("ready", flush=True)
while True:
    if not requests.step():
        threading.Event().wait(0.005)
"""
ASK = """
import sys
from pathlib import Path
from ductor_lib.infra.requests import ask
for text in sys.argv[2:]:
    print(ask(Path(sys.argv[1]), "note", {"text": text})["echo"])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".requests"


@contextmanager
def bot(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that takes requests; what it does stands in `journal` beside the folder."""
    command = [sys.executable, "-c", SERVE, str(folder), str(folder.parent / "journal")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def journal(folder: Path) -> list[str]:
    return (folder.parent / "journal").read_text().split()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def serving(folder: Path, **operations: Callable[[Mapping[str, object]], Mapping[str, object]]) -> Iterator[Requests]:
    """Take requests in a thread of this process."""
    requests, over = Requests(folder, operations), threading.Event()

    def serve() -> None:
        while not over.is_set():
            if not requests.step():
                over.wait(0.005)

    requests.step()
    thread = threading.Thread(target=serve, name="test-requests", daemon=True)
    thread.start()
    yield requests
    over.set()
    thread.join(SOON)


def into(done: list[Mapping[str, object]]) -> Callable[[Mapping[str, object]], Mapping[str, object]]:
    """An operation that keeps its arguments, and gives them back."""

    def keep(args: Mapping[str, object]) -> Mapping[str, object]:
        done.append(args)
        return {"echo": args}

    return keep


def put(folder: Path, content: bytes, *, number: int = 1) -> str:
    """A request as a stranger might write it; its name."""
    folder.mkdir(exist_ok=True)
    name = f"{number:020d}-{'0' * 16}"
    (folder / f"{name}.json").write_bytes(content)
    return name


def answer(folder: Path, name: str) -> dict[str, object]:
    found = json.loads((folder / f"{name}.answer").read_text())
    assert isinstance(found, dict)
    return found


def request(text: str) -> bytes:
    return json.dumps({"verb": "note", "args": {"text": text}}).encode()


def test_a_request_is_answered_and_nothing_is_left(folder: Path) -> None:
    with bot(folder):
        command = [sys.executable, "-c", ASK, str(folder), "hello", "wörld"]
        said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True, timeout=SOON).stdout

    assert said.split() == ["hello", "wörld"]
    assert journal(folder) == ["hello", "wörld"]
    assert left(folder) == []


def test_two_hundred_requests_are_done_in_the_order_of_asking(folder: Path) -> None:
    for number in range(200):
        put(folder, request(str(number)), number=1_000_000_000_000_000_000 + 7 * number)

    with bot(folder):
        ask(folder, "note", {"text": "last"}, timeout=SOON)

    assert journal(folder) == [*map(str, range(200)), "last"]


def test_twenty_clients_at_once_get_their_own_answers(folder: Path) -> None:
    with bot(folder), ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda n: ask(folder, "note", {"text": str(n)}, timeout=SOON)["echo"], range(20)))

    assert answers == list(map(str, range(20)))
    assert sorted(journal(folder), key=int) == list(map(str, range(20)))


def test_a_request_that_a_kill_cut_off_is_not_repeated_and_its_client_is_told(folder: Path) -> None:
    with bot(folder) as process, ThreadPoolExecutor(1) as client:
        asked = client.submit(ask, folder, "note", {"text": "once", "hang": True}, timeout=SOON)
        deadline = time.monotonic() + SOON
        while not (folder.parent / "journal").read_text():
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(SOON)

        with bot(folder):
            with pytest.raises(DuctorError, match=r"in the middle of this\. Check what was done before you repeat it"):
                asked.result(SOON)
            ask(folder, "note", {"text": "more"}, timeout=SOON)

    assert journal(folder) == ["once", "more"]
    assert left(folder) == []


def test_without_a_bot_the_request_is_withdrawn(folder: Path) -> None:
    with pytest.raises(NotRunning):
        ask(folder, "note", {})
    folder.mkdir()

    with pytest.raises(NotRunning, match="Nothing was done"):
        ask(folder, "note", {}, patience=0.05)

    assert left(folder) == []


def test_what_was_given_up_is_never_done(folder: Path) -> None:
    with serving(folder, note=lambda args: {}):
        pass
    with pytest.raises(NotRunning):
        ask(folder, "note", {"text": "late"}, patience=0.05)
    done: list[Mapping[str, object]] = []

    with serving(folder, note=into(done)):
        ask(folder, "note", {"text": "now"}, timeout=SOON)

    assert done == [{"text": "now"}]


def test_an_answer_that_takes_too_long_is_told_as_doubtful(folder: Path) -> None:
    go_on = threading.Event()

    with serving(folder, note=lambda args: {"waited": go_on.wait(SOON)}):
        with pytest.raises(DuctorError, match="did not answer within") as caught:
            ask(folder, "note", {}, timeout=0.3)
        go_on.set()

    assert not isinstance(caught.value, NotRunning)


def refuse(args: Mapping[str, object]) -> Mapping[str, object]:
    raise DuctorError("There is no job 'x'. `ductor cron list` shows them.")


def fail(args: Mapping[str, object]) -> Mapping[str, object]:
    raise RuntimeError("a secret detail")


@pytest.mark.parametrize(
    ("verb", "words"), [("refuse", "There is no job 'x'"), ("fail", "inside ductor itself"), ("unknown", "does not know 'unknown'")]
)
def test_a_refusal_reaches_the_client_in_words(folder: Path, verb: str, words: str) -> None:
    with serving(folder, refuse=refuse, fail=fail), pytest.raises(DuctorError) as caught:
        ask(folder, verb, {}, timeout=SOON)

    assert words in str(caught.value)
    assert "secret detail" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (MOST_BYTES + 1), "too large"),
        (b"{}", "does not know 'None'"),
        (b'{"verb": ["note"], "args": {}}', "does not know"),
        (b'{"verb": "note", "args": [1]}', "does not know"),
        (b'{"verb": "note"}', "does not know"),
    ],
)
def test_a_request_that_makes_no_sense_gets_an_error_and_holds_up_nobody(folder: Path, content: bytes, words: str) -> None:
    name = put(folder, content)
    after = put(folder, request("after"), number=2)

    Requests(folder, {"note": lambda args: {"echo": args["text"]}}).step()

    assert words in str(answer(folder, name)["error"])
    assert answer(folder, after) == {"ok": True, "echo": "after"}


def test_an_unreadable_request_is_kept_aside(folder: Path) -> None:
    name = put(folder, b"nonsense")

    Requests(folder, {}).step()

    assert (folder / f"{name}.bad").read_bytes() == b"nonsense"


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_what_is_no_ordinary_file_is_refused_without_waiting(folder: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere.json").write_bytes(request("from elsewhere"))
    name = put(folder, b"")
    path = folder / f"{name}.json"
    path.unlink()
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere.json")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    done: list[Mapping[str, object]] = []
    requests = Requests(folder, {"note": into(done)})

    requests.step()

    assert "cannot be read" in str(answer(folder, name)["error"])
    assert done == []
    assert requests.step() == 0
    assert (tmp_path / "elsewhere.json").read_bytes() == request("from elsewhere")


def test_an_answer_never_goes_through_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    name = put(folder, request("x"))
    for ending in (".answer", ".answer.tmp"):
        (folder / f"{name}{ending}").symlink_to(tmp_path / "precious")

    Requests(folder, {"note": lambda args: {}}).step()

    assert (tmp_path / "precious").read_text() == "precious"
    assert answer(folder, name) == {"ok": True}


def test_files_of_others_are_never_touched(folder: Path) -> None:
    folder.mkdir()
    others = ["package.json", "1.json", f"{1:020d}-{'g' * 16}.json", ".json", f"{1:020d}-{'0' * 16}.json.bak"]
    for name in others:
        (folder / name).write_text("{}")
        os.utime(folder / name, (0, 0))

    assert Requests(folder, {}).step() == 0

    assert left(folder) == sorted(others)


def test_what_is_left_over_for_an_hour_goes_undone(folder: Path) -> None:
    name = put(folder, request("old"))
    for ending in (".json", ".json.tmp", ".answer", ".answer.tmp", ".bad"):
        (folder / f"{name}{ending}").write_bytes(request("old"))
        os.utime(folder / f"{name}{ending}", (time.time() - 3700, time.time() - 3700))
    young = put(folder, request("young"), number=2)
    done: list[Mapping[str, object]] = []

    Requests(folder, {"note": into(done)}).step()

    assert done == [{"text": "young"}]
    assert left(folder) == [f"{young}.answer"]


@pytest.mark.parametrize("instead", ["nothing", "a file", "a dangling link"])
def test_a_folder_that_is_gone_is_made_again(folder: Path, tmp_path: Path, instead: str) -> None:
    if instead == "a file":
        folder.write_text("x")
    elif instead == "a dangling link":
        folder.symlink_to(tmp_path / "nowhere")

    assert Requests(folder, {}).step() == 0

    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_said_once_and_used_as_soon_as_it_can(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "workspace").write_text("a file where the folder above has to be")
    requests = Requests(tmp_path / "workspace" / folder.name, {"note": dict})

    done = [requests.step() for _ in range(3)]
    said = caplog.messages.copy()
    (tmp_path / "workspace").unlink()
    done.append(requests.step())
    name = put(tmp_path / "workspace" / folder.name, request("a"))

    assert requests.step() == 1
    assert done == [0, 0, 0, 0]
    assert len(said) == 1
    assert "requests cannot be taken" in said[0]
    assert answer(tmp_path / "workspace" / folder.name, name)["ok"] is True
    assert (tmp_path / "workspace").stat().st_mode & 0o777 == 0o700


def test_a_request_among_thousands_of_other_files_is_found(folder: Path) -> None:
    folder.mkdir()
    for number in range(MOST_FILES + 200):
        (folder / f"other-{number}").touch()
    names = [put(folder, request("a"), number=number) for number in range(3)]

    done = Requests(folder, {"note": dict}).step()

    assert done == len(names)


def test_requests_and_answers_are_for_nobody_else_to_read(folder: Path) -> None:
    modes: list[int] = []

    def look(args: Mapping[str, object]) -> Mapping[str, object]:
        modes.extend(path.stat().st_mode & 0o777 for path in folder.iterdir())
        return {}

    with serving(folder, look=look):
        ask(folder, "look", {}, timeout=SOON)

    assert modes == [0o600]


def test_a_request_that_is_too_large_is_not_even_written(folder: Path) -> None:
    folder.mkdir()

    with pytest.raises(DuctorError, match="too large"):
        ask(folder, "note", {"text": "x" * MOST_BYTES})

    assert left(folder) == []


def test_looking_into_an_empty_folder_costs_next_to_nothing(folder: Path) -> None:
    requests = Requests(folder, {})
    requests.step()
    begun = time.perf_counter()

    for _ in range(1000):
        requests.step()

    assert time.perf_counter() - begun < 2.0


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3))


@given(args=st.dictionaries(st.text(), JSON, max_size=4))
@settings(max_examples=40, deadline=None)
def test_arguments_arrive_as_they_were_given(tmp_path_factory: pytest.TempPathFactory, args: dict[str, object]) -> None:
    folder = tmp_path_factory.getbasetemp() / "any" / ".requests"
    got: list[Mapping[str, object]] = []

    with serving(folder, note=into(got)):
        answer = ask(folder, "note", args, timeout=SOON)

    assert got == [args]
    assert answer["echo"] == args
