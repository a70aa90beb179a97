"""`python ductor.py` as a person or a service meets it: exit codes, one clear line, a prompt end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ductor_lib import __version__
from ductor_lib.demo.telegram import LoopbackTelegram
from tests.fakes import OWNER, ROOT, SOON
from tests.program import Program, agents, configure, until

PROMPTLY = 3.0  # seconds from SIGTERM to the exit, when nothing runs


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as running:
        yield running


def polled(telegram: LoopbackTelegram) -> bool:
    return any(call.method == "getUpdates" for call in telegram.calls)


def test_without_settings_and_without_a_terminal_it_says_what_to_write_and_where(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        assert program.wait() == 2

    assert str(tmp_path / "home" / "config" / "config.toml") in program.output
    assert "telegram_token" in program.output
    assert "@BotFather" in program.output
    assert "Traceback" not in program.output


def test_the_version_is_told() -> None:
    told = subprocess.run([sys.executable, "ductor.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert told.stdout == f"ductor {__version__}\n"


def test_an_unknown_verb_is_an_error_that_lists_the_verbs(tmp_path: Path) -> None:
    with Program(tmp_path, "dance") as program:
        assert program.wait() == 2

    assert "demo" in program.output


@pytest.mark.parametrize(("verb", "word"), [("cron", "enable"), ("webhook", "rotate"), ("tool", "transcribe")])
def test_a_verb_that_needs_another_word_lists_those_it_knows(tmp_path: Path, verb: str, word: str) -> None:
    with Program(tmp_path, verb) as program:
        assert program.wait() == 2

    assert word in program.output


def test_as_a_program_it_answers_and_ends_at_a_signal_without_leaving_an_agent(tmp_path: Path, telegram: LoopbackTelegram) -> None:
    configure(tmp_path, telegram)
    with Program(tmp_path) as program:
        telegram.say("hello")
        telegram.wait(lambda t: [m for m in t.messages(OWNER) if "You wrote:\n\nhello" in m.text and not m.buttons], timeout=SOON)
        assert agents(tmp_path)  # kept warm

        begun = time.monotonic()
        program.stop()
        code = program.wait()

    assert code == 0
    assert time.monotonic() - begun < PROMPTLY
    assert agents(tmp_path) == []
    assert "Traceback" not in program.output + program.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_first_moments_ends_it_too(number: signal.Signals, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    configure(tmp_path, telegram)
    with Program(tmp_path) as program:
        telegram.wait(lambda t: t.calls, timeout=SOON)
        program.process.send_signal(number)
        code = program.wait()

    assert code == 0
    assert "Traceback" not in program.output


def test_a_signal_in_the_middle_of_a_turn_keeps_what_there_is_and_offers_the_rest(tmp_path: Path, telegram: LoopbackTelegram) -> None:
    configure(tmp_path, telegram)
    with Program(tmp_path) as program:
        telegram.say(f"[[scenario:hold file={tmp_path / 'gate'}]] work")
        telegram.wait(lambda t: any("Holding" in m.text for m in t.messages(OWNER)), timeout=SOON)
        program.stop()
        assert program.wait() == 0

    *_, said, question = [m for m in telegram.messages(OWNER) if m.sender == "bot"]
    assert "Holding." in said.text
    assert [button["text"] for row in question.buttons for button in row] == ["Run again", "Forget"]
    assert agents(tmp_path) == []


def test_a_second_bot_for_the_same_home_does_not_start(tmp_path: Path, telegram: LoopbackTelegram) -> None:
    configure(tmp_path, telegram)
    with Program(tmp_path) as first:
        telegram.wait(polled, timeout=SOON)
        with Program(tmp_path) as second:
            assert second.wait() == 2
        assert f"ductor already runs for this home (pid {first.process.pid})" in second.output
        telegram.say("still there?")
        telegram.wait(lambda t: any("still there?" in m.text and m.sender == "bot" for m in t.messages(OWNER)), timeout=SOON)


def test_a_token_that_telegram_does_not_know_ends_it_with_one_clear_line(tmp_path: Path, telegram: LoopbackTelegram) -> None:
    config = configure(tmp_path, telegram)
    wrong = "654321:" + "another-token-another-token-another-to"
    config.write_text(config.read_text().replace(telegram.token, wrong))

    with Program(tmp_path) as program:
        assert program.wait() == 1

    assert "Telegram does not accept the bot's token" in program.output
    assert "Traceback" not in program.output
    assert wrong not in program.output + program.log


def test_a_telegram_out_of_reach_is_tried_again_until_it_is_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with LoopbackTelegram(port=port) as telegram:
        configure(tmp_path, telegram)
    with Program(tmp_path) as program:
        until(lambda: "polling interrupted" in program.log, "the first try")
        assert program.process.poll() is None

        with LoopbackTelegram(port=port) as telegram:
            telegram.say("at last")
            telegram.wait(lambda t: [m for m in t.messages(OWNER) if "You wrote:\n\nat last" in m.text], timeout=SOON)
            program.stop()
            assert program.wait() == 0

    assert telegram.token not in program.output + program.log


def test_the_demo_says_what_it_is_told_to_and_leaves(tmp_path: Path) -> None:
    variables = {"DUCTOR_DEMO_SIGNED_OUT": "1"}
    with Program(tmp_path, "demo", "--say", "hello from a test", "--say", "/status", variables=variables) as program:
        assert program.wait() == 0

    assert "hello from a test" in program.output
    assert "scripted agent" in program.output
    assert "Traceback" not in program.output


CONFIGS = {  # a damaged config.toml, and what its one line must say
    "not TOML": (b"telegram_token = \n", "config.toml line 1"),
    "not UTF-8": (b'model = "\xff"\n', "config.toml line 1"),
    "wrong type": (b'allowed_user_ids = "42"\n', "config.toml line 1: allowed_user_ids"),
    "no users": (b"allowed_user_ids = []\n", "config.toml line 1: allowed_user_ids: is empty"),
    "a word for a number": (b'cli_timeout = "soon"\n', "config.toml line 1: cli_timeout"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_used_is_named_with_its_line_and_left_alone(name: str, tmp_path: Path, telegram: LoopbackTelegram) -> None:
    content, line = CONFIGS[name]
    config = configure(tmp_path, telegram)
    config.write_bytes(content)

    with Program(tmp_path) as program:
        assert program.wait() == 2

    assert line in program.output
    assert "Traceback" not in program.output
    assert config.read_bytes() == content
    assert not telegram.calls


@pytest.mark.parametrize("name", ["ledger.db", "sessions.json", "state.json"])
@pytest.mark.parametrize("content", [b"\xff\xfe garbage \x00" * 500, b'["not an object"]'], ids=["garbage", "something else"])
def test_a_damaged_file_of_the_bots_own_is_moved_aside_and_the_owner_is_told(
    name: str, content: bytes, tmp_path: Path, telegram: LoopbackTelegram
) -> None:
    configure(tmp_path, telegram)
    (tmp_path / "home" / name).write_bytes(content)

    with Program(tmp_path) as program:
        told = telegram.wait(lambda t: [m for m in t.messages(OWNER) if f"{name}.damaged-" in m.text], timeout=SOON)
        telegram.say("hello")
        telegram.wait(lambda t: [m for m in t.messages(OWNER) if "You wrote:\n\nhello" in m.text], timeout=SOON)

    assert len(told) == 1
    [aside] = (tmp_path / "home").glob(f"{name}.damaged-*[0-9]")
    assert aside.read_bytes() == content
    assert "Traceback" not in program.output


def test_a_home_that_cannot_be_written_is_a_clear_start_error(tmp_path: Path, telegram: LoopbackTelegram) -> None:
    configure(tmp_path, telegram)
    home = tmp_path / "home"
    root = os.geteuid() == 0
    if root and not shutil.which("setpriv"):
        pytest.skip("for root there are no read-only folders")
    without_rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if root else []
    home.chmod(0o500)
    try:
        done = subprocess.run(
            [*without_rights, sys.executable, str(ROOT / "ductor.py")], capture_output=True, text=True, timeout=SOON,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DUCTOR_HOME": str(home)},
        )  # fmt: skip
    finally:
        home.chmod(0o700)

    assert done.returncode == 2
    assert f"ductor cannot start: {home}" in done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def without_packages(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program with a Python that has the standard library only."""
    return subprocess.run([sys.executable, "-S", *words], capture_output=True, text=True, timeout=SOON, check=False)


def test_a_python_without_what_ductor_needs_is_told_what_to_do(tmp_path: Path) -> None:
    shutil.copy(ROOT / "ductor.py", tmp_path)
    (tmp_path / "ductor_lib").symlink_to(ROOT / "ductor_lib")

    bare = without_packages(tmp_path / "ductor.py")

    assert bare.returncode != 0
    assert "Run ./install.sh first" in bare.stderr
    assert "Traceback" not in bare.stderr


def test_a_python_without_what_ductor_needs_hands_over_to_the_one_that_has_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "ductor.py", tmp_path)
    (tmp_path / "ductor_lib").symlink_to(ROOT / "ductor_lib")
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "taken over: $*"\n')
    own.chmod(0o755)

    bare = without_packages(tmp_path / "ductor.py", "--version")

    assert bare.stdout.startswith("taken over: ")
    assert bare.stdout.rstrip().endswith("--version")
