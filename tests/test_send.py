"""`ductor send`: with a running bot, without one, from a script, and what it refuses. Every call is a process of its own."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ductor_lib.bot.groups import Groups
from ductor_lib.config import load
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.errors import DuctorError
from ductor_lib.infra.lock import HomeLock
from ductor_lib.infra.requests import Requests
from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.sending import send
from ductor_lib.paths import Paths
from ductor_lib.security import FileAccess
from ductor_lib.storage import JsonFile
from ductor_lib.verbs.control import perform
from tests.program import Program, configure

ROOT = Path(__file__).parent.parent
SOON = 30.0  # seconds
COMMAND = """
import argparse, sys
from ductor_lib.verbs import send
parser = argparse.ArgumentParser()
send.add(parser.add_subparsers())
options = parser.parse_args(["send", *sys.argv[1:]])
sys.exit(options.run(options))
"""

HOLD = """
import sys
from pathlib import Path
from ductor_lib.infra.lock import HomeLock
with HomeLock(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A home that was set up, with a group, and no bot in it."""
    with LoopbackTelegram() as telegram:
        configure(tmp_path, telegram, "allowed_group_ids = [-100]")
    paths = Paths(tmp_path / "home")
    paths.create()
    return paths


def run(paths: Paths, *words: str, said: bytes = b"", variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`ductor send …` in the folder above the home."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(paths.home.parent), "DUCTOR_HOME": str(paths.home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], input=said, capture_output=True, cwd=paths.home.parent, timeout=SOON,
        env={**environment, **(variables or {})},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def kept(paths: Paths) -> list[Reply]:
    """What waits in the outbox."""
    ledger = Ledger(paths.ledger)
    try:
        return [outgoing.reply for outgoing in ledger.outbox.unsent()]
    finally:
        ledger.close()


@contextmanager
def bot(paths: Paths) -> Iterator[Ledger]:
    """What a running bot does about requests: it has the lock, and takes them in a thread."""
    state = JsonFile(paths.state)
    settings = load(paths.config, state=state.read())
    ledger, over = Ledger(paths.ledger), threading.Event()
    groups, access = Groups(settings.allowed_group_ids, state), FileAccess.of(settings, paths)
    requests = Requests(paths.requests, {"send": functools.partial(send, ledger, settings, groups, access)})

    def serve() -> None:
        while not over.is_set():
            if not requests.step():
                over.wait(0.01)

    thread = threading.Thread(target=serve, name="test-requests", daemon=True)
    with HomeLock(paths.lock):
        requests.step()
        thread.start()
        yield ledger
        over.set()
        thread.join(SOON)
    ledger.close()


def test_a_running_bot_gets_the_words(paths: Paths) -> None:
    with bot(paths) as ledger:
        done = run(paths, "the", "*build*", "is", "done")
        (outgoing,) = ledger.outbox.unsent()

    assert (done.returncode, done.stdout, done.stderr) == (0, "Handed to ductor.\n", "")
    assert outgoing.reply == Reply(Chat(42), "the *build* is done")


def test_without_a_bot_they_are_kept_until_it_runs(paths: Paths) -> None:
    done = run(paths, "good night")

    assert (done.returncode, done.stdout) == (0, "Kept; it is sent when ductor runs.\n")
    assert kept(paths) == [Reply(Chat(42), "good night")]


def test_after_a_kill_the_words_are_kept_although_the_lock_still_names_the_bot(paths: Paths) -> None:
    command = [sys.executable, "-c", HOLD, str(paths.lock)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)

    assert run(paths, "still here").returncode == 0
    assert [reply.text for reply in kept(paths)] == ["still here"]


def test_text_may_come_from_the_standard_input(paths: Paths) -> None:
    assert run(paths, "-", said="Zeile 1\nZeile 2 ü\n".encode() + b"\xff").returncode == 0
    assert [reply.text for reply in kept(paths)] == ["Zeile 1\nZeile 2 ü\n\ufffd"]


def test_files_are_sent_from_where_the_script_stands(paths: Paths) -> None:
    (paths.home.parent / "a b.txt").write_text("x")
    (paths.workspace / "c.txt").write_text("x")

    done = run(paths, "--file", "a b.txt", "--file", str(paths.workspace / "c.txt"), "--silent", "--json")

    assert json.loads(done.stdout) == {"ok": True, "chat": 42, "topic": None, "files": 2, "kept": True}
    assert kept(paths) == [Reply(Chat(42), "", files=(str(paths.home.parent / "a b.txt"), str(paths.workspace / "c.txt")), silent=True)]


@pytest.mark.parametrize(
    ("words", "variables", "chat"),
    [
        (["--chat=-100:7"], {}, Chat(-100, 7)),
        (["--chat=-100"], {"DUCTOR_CHAT_ID": "42", "DUCTOR_TOPIC_ID": "3"}, Chat(-100)),
        (["--chat", "chat:-100:7"], {}, Chat(-100, 7)),
        (["--chat", "42"], {}, Chat(42)),
        ([], {"DUCTOR_CHAT_ID": "-100", "DUCTOR_TOPIC_ID": "7"}, Chat(-100, 7)),
        ([], {"DUCTOR_CHAT_ID": "-100"}, Chat(-100)),
        ([], {"DUCTOR_CHAT_ID": ""}, Chat(42)),
    ],
)
def test_the_chat_is_the_named_one_else_the_agent_s_else_the_owner_s(
    paths: Paths, words: list[str], variables: dict[str, str], chat: Chat
) -> None:
    assert run(paths, *words, "x", variables=variables).returncode == 0

    assert [reply.chat for reply in kept(paths)] == [chat]


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["--chat=7", "x"], 1, "Chat 7 is not on the allow-list"),
        (["--chat=-5", "x"], 1, "Chat -5 is not on the allow-list"),
        (["--chat", "@somebody", "x"], 2, "'@somebody' is no chat. Write its number"),
        (["--chat", "", "x"], 0, ""),
        ([], 1, "There is nothing to send"),
        (["  "], 1, "There is nothing to send"),
        (["--file", "gone.txt", "x"], 1, "gone.txt cannot be sent: there is no such file"),
        (["--file", "home/config/config.toml"], 1, "config.toml cannot be sent: it belongs to ductor itself"),
        (["--file", "home"], 1, "home cannot be sent: it is a folder"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_a_sentence(paths: Paths, words: list[str], code: int, complaint: str) -> None:
    plain, as_json = run(paths, *words), run(paths, "--json", *words)

    assert (plain.returncode, as_json.returncode) == (code, code)
    assert complaint in plain.stderr
    assert complaint in str(json.loads(as_json.stdout).get("error", ""))
    assert "Traceback" not in plain.stderr
    assert [reply.text for reply in kept(paths)] == ["x", "x"] * (code == 0)


def test_a_running_bot_refuses_in_the_same_words(paths: Paths) -> None:
    with bot(paths):
        done = run(paths, "--chat=7", "x")

    assert (done.returncode, done.stderr) == (
        1, "ductor send: Chat 7 is not on the allow-list. Add it to allowed_user_ids or allowed_group_ids in config.toml.\n"
    )


def test_a_text_of_a_megabyte_is_refused(paths: Paths) -> None:
    with bot(paths):
        done = run(paths, "-", said=b"x" * 1_100_000)

    assert done.returncode == 1
    assert "too large" in done.stderr


def test_without_settings_it_says_what_is_missing(tmp_path: Path) -> None:
    nowhere, empty = Paths(tmp_path / "nowhere"), Paths(tmp_path / "empty")
    empty.create()

    assert "There is no home of ductor" in run(nowhere, "x").stderr
    assert run(empty, "x").returncode == 2
    assert "config.toml: there is no such file yet" in run(empty, "x").stderr


def test_while_a_bot_starts_or_ends_nothing_is_stored_behind_its_back(paths: Paths) -> None:
    def never(args: Mapping[str, object]) -> Mapping[str, object]:
        raise AssertionError("done beside the bot")

    paths.requests.mkdir()
    with HomeLock(paths.lock), pytest.raises(DuctorError, match="starting or ending"):
        perform(paths, "send", {}, never)


@pytest.mark.parametrize(
    "args", [{"text": 1}, {"files": "a"}, {"files": [1]}, {"text": "x", "chat": True}, {"text": "x", "chat": 42, "topic": "7"}]
)
def test_a_request_of_the_wrong_shape_is_refused(paths: Paths, args: dict[str, object]) -> None:
    settings = load(paths.config)
    ledger = Ledger(paths.ledger)

    with pytest.raises(DuctorError):
        send(ledger, settings, (-100,), FileAccess.of(settings, paths), args)

    assert ledger.outbox.unsent() == []
    ledger.close()


def test_the_real_program_brings_what_a_script_sends_into_the_chat(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with LoopbackTelegram() as telegram:
        configure(tmp_path, telegram)
        with Program(tmp_path):
            telegram.wait(lambda t: any(call.method == "getUpdates" for call in t.calls), timeout=SOON)
            with Program(tmp_path, "send", "--file", "a.txt", "from a script") as script:
                assert script.wait() == 0
            telegram.wait(lambda t: len(t.messages()) == 2, timeout=SOON)

            words, file = telegram.messages()
            assert (words.text, file.rest["document"]["file_name"]) == ("from a script", "a.txt")
            assert "Handed to ductor." in script.output
