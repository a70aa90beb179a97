"""The log: nothing dropped, nothing secret, a start even without a file."""

from __future__ import annotations

import io
import logging
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib import logs

TOKEN = "123456789:AAEabcdefghijklmnopqrstuvwxyz012345"
log = logging.getLogger("tests.logs")


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    with io.StringIO() as stream:
        yield stream


def running(
    path: Path, console: io.StringIO | None, *, level: str = "INFO", verbose: bool = False, secrets: tuple[str, ...] = ()
) -> logs.Logging:
    return logs.setup(path, level=level, verbose=verbose, secrets=secrets, console=console)


def test_a_record_reaches_console_and_file_with_level_thread_and_context(tmp_path: Path, console: io.StringIO) -> None:
    path = tmp_path / "logs" / "agent.log"

    with running(path, console), logs.context("msg", -100, "1b9d6bcd-bbfd"):
        log.info("turn finished seconds=%.1f", 4.2)

    line = path.read_text(encoding="utf-8")
    assert line == console.getvalue()
    assert line.endswith(" INFO    MainThread: [msg:-100:1b9d6bcd] turn finished seconds=4.2\n")


def test_the_context_ends_with_its_block_and_belongs_to_one_thread(tmp_path: Path, console: io.StringIO) -> None:
    with running(tmp_path / "agent.log", console):
        with logs.context("cb", 42):
            other = threading.Thread(target=log.info, args=("elsewhere",), name="other")
            other.start()
            other.join()
            log.info("inside")
        log.info("after")

    elsewhere, inside, after = console.getvalue().splitlines()
    assert elsewhere.endswith(" other: elsewhere")
    assert inside.endswith(" MainThread: [cb:42] inside")
    assert after.endswith(" MainThread: after")


def test_the_level_holds_and_verbose_shows_everything(tmp_path: Path) -> None:
    quiet, loud = io.StringIO(), io.StringIO()

    with running(tmp_path / "a.log", quiet, level="WARNING"):
        log.info("hidden")
    with running(tmp_path / "b.log", loud, level="WARNING", verbose=True):
        log.debug("shown")

    assert quiet.getvalue() == ""
    assert "shown" in loud.getvalue()


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN, f"https://api.telegram.org/bot{TOKEN}/getMe", TOKEN.replace(":", "%3A"), "sk-ant-api03-abcdefghijklmnop_qrstu",
        "sk-proj-abcdefghijklmnopqrstuvw", "Authorization: Bearer abcdef.ghijkl-mnop", '"x-api-key": "abcdefghijkl"',
        "ANTHROPIC_API_KEY=abcdefghijkl", "hunter2-hunter2", "literal%20secret%2F1",
    ],
)
def test_secrets_are_hidden_in_messages_arguments_and_tracebacks(tmp_path: Path, console: io.StringIO, secret: str) -> None:
    path = tmp_path / "agent.log"

    with running(path, console, secrets=("hunter2-hunter2", "literal secret/1")):
        log.warning("message " + secret)
        log.warning("argument %s %r", secret, {"key": secret})
        try:
            raise ValueError(secret)
        except ValueError:
            log.exception("caught")

    written = path.read_text(encoding="utf-8") + console.getvalue()
    assert secret not in written
    assert written.count(logs.HIDDEN) == 8
    for part in (TOKEN, "hunter2", "literal", "abcdef"):
        assert part not in written


def test_a_thread_that_dies_is_logged_without_its_secrets(tmp_path: Path, console: io.StringIO) -> None:
    def die() -> None:
        raise RuntimeError(TOKEN)

    with running(tmp_path / "agent.log", console):
        thread = threading.Thread(target=die, name="poor-thing")
        thread.start()
        thread.join()

    assert "CRITICAL poor-thing: thread died thread=poor-thing" in console.getvalue()
    assert TOKEN not in console.getvalue()


def test_a_bad_log_call_shows_its_place_and_not_its_arguments(
    tmp_path: Path, console: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(tmp_path / "agent.log", console):
        log.info("number %d", TOKEN)
        log.info("goes on")

    assert "bad log call in" in capsys.readouterr().err
    assert "goes on" in console.getvalue()
    assert TOKEN not in console.getvalue()


def test_nothing_is_dropped_when_many_threads_log_more_than_the_queue_holds(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"

    def many(name: int) -> None:
        for number in range(2500):
            log.info("%d/%d", name, number)

    with running(path, None):
        threads = [threading.Thread(target=many, args=(name,)) for name in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lines = path.read_text(encoding="utf-8").splitlines()
    assert len({line.rpartition(" ")[2] for line in lines}) == len(lines) == 12_500


def test_the_file_is_private_and_rotates(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"
    path.write_text("left over\n")
    path.chmod(0o644)

    with running(path, None):
        for number in range(5):
            log.info("%d %s", number, "x" * (logs.FILE_BYTES - 100))

    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["agent.log", "agent.log.1", "agent.log.2", "agent.log.3"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_folder_that_cannot_be_written_costs_the_file_and_one_warning(tmp_path: Path, console: io.StringIO) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")

    with running(tmp_path / "logs" / "agent.log", console):
        log.info("goes on")

    warning, line = console.getvalue().splitlines()
    assert "WARNING" in warning
    assert "log file not writable" in warning
    assert line.endswith("goes on")


def test_other_libraries_say_warnings_only_and_bring_no_handler(tmp_path: Path, console: io.StringIO) -> None:
    logging.getLogger("TeleBot").addHandler(logging.StreamHandler(console))

    with running(tmp_path / "agent.log", console, verbose=True):
        logging.getLogger("urllib3.connectionpool").debug("GET /bot%s/getMe", TOKEN)
        logging.getLogger("TeleBot").info("started")
        logging.getLogger("TeleBot").error("once")

    assert console.getvalue().count("\n") == 1
    assert "once" in console.getvalue()


def test_closing_gives_the_root_logger_back(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:], threading.excepthook)

    running(tmp_path / "agent.log", None).close()

    assert (root.level, root.handlers[:], threading.excepthook) == before
    assert "log" not in [thread.name for thread in threading.enumerate()]


@given(st.text(max_size=30), st.text(max_size=30), st.from_regex(r"[1-9][0-9]{4,11}:[A-Za-z0-9_-]{30,50}", fullmatch=True))
def test_a_token_is_hidden_whatever_surrounds_it(before: str, after: str, token: str) -> None:


    hidden = logs.redact(before + token + after)

    assert token not in hidden


@given(st.text(alphabet="abcdefghij :/.,=-_0123456789", max_size=80))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = logs.redact(text)

    assert logs.redact(once) == once
