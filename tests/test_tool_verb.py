"""`ductor tool` is for an agent's shell: short, the same in every mode, and never a traceback."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from ductor_lib.tools import documents
from ductor_lib.verbs import tool
from tests.shell import Shell
from tests.test_tools_documents import docx, p, pdf
from tests.test_tools_files import png

TOOLS = [each.name for each in tool.TOOLS]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_facts_of_a_file_are_few_lines(shell: Shell) -> None:
    (shell.folder / "a b.txt").write_bytes(png(640, 480))
    os.utime(shell.folder / "a b.txt", (1_800_000_000, 1_800_000_000))

    result = shell.tool("file-info", "a b.txt")

    lines = result.stdout.splitlines()
    assert lines[:2] == ["a b.txt", "kind      image (png), 640 x 480 pixels"]
    assert re.fullmatch(r"size      \d+ bytes", lines[2])
    assert lines[3] == "modified  2027-01-15T09:00:00+01:00"
    assert re.fullmatch(r"sha256    [0-9a-f]{64}", lines[4])
    assert (result.returncode, result.stderr) == (0, "")


def test_a_listing_is_a_table(shell: Shell) -> None:
    folder = shell.folder / "out"
    folder.mkdir()
    for number, (name, content) in enumerate([("old.txt", b"x" * 1500), ("new.docx", docx(p("hello")))]):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (1_700_000_000 + number, 1_700_000_000 + number))

    lines = shell.tool("list-files", "out").stdout.splitlines()

    assert lines[0] == "2 of 2 files in out, newest first"
    assert re.fullmatch(r"2023-11-14 23:13  \d+ days  \d+ bytes +document \(docx\)  new\.docx", lines[1])
    assert re.fullmatch(r"2023-11-14 23:13  \d+ days  1.5 kB +text \(txt\) +old.txt", lines[2])


def test_without_a_folder_the_listing_is_of_what_was_sent_by_telegram(shell: Shell) -> None:
    received = shell.folder / ".ductor" / "workspace" / "telegram_files" / "2026-03-01"
    received.mkdir(parents=True)
    (received / "letter.txt").write_text("Dear all")

    lines = shell.tool("list-files").stdout.splitlines()

    assert lines[0] == f"1 of 1 files in {received.parent}, newest first"
    assert lines[1].endswith("2026-03-01/letter.txt")


def test_an_empty_folder_says_that_it_is_empty(shell: Shell) -> None:
    (shell.folder / "out").mkdir()

    assert shell.tool("list-files", "out").stdout == "no files in out; hidden ones are left out\n"


def test_a_document_is_its_text_and_notes_in_brackets(shell: Shell) -> None:
    (shell.folder / "letter.pdf").write_bytes(pdf("Dear Sir", "Yours"))

    result = shell.tool("read-document", "letter.pdf", "--pages", "2", "--max-chars", "21")

    assert result.stdout == "--- page 2 of 2 ---\nY\n[cut at 21 characters; go on with --pages, or give --max-chars more]\n"


def test_the_time_of_the_user_comes_first(shell: Shell) -> None:
    lines = shell.tool("time", "--zone", "Asia/Kathmandu").stdout.splitlines()

    assert re.fullmatch(r"user            \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00  \w+day +Europe/Berlin", lines[0])
    assert re.fullmatch(r"Asia/Kathmandu  .*\+05:45  .*", lines[1])
    assert lines[-1] == f"[there is no {shell.folder}/.ductor/config/config.toml; the machine's time zone is taken]"


def test_the_time_needs_the_setting_only(shell: Shell) -> None:
    config = shell.folder / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('user_timezone = "Asia/Tokyo"\n')

    answer = shell.json("time", DUCTOR_HOME=str(shell.folder / "home"))

    assert isinstance(answer["times"], list)
    assert (answer["times"][0]["zone"], answer["note"]) == ("Asia/Tokyo", "")
    assert list(config.parent.parent.iterdir()) == [config.parent], "looking at the time writes nothing"


def test_json_has_every_fact(shell: Shell) -> None:
    (shell.folder / "größe.csv").write_text("größe;1\n", encoding="utf-8")

    info, listing, text = shell.json("file-info", "größe.csv"), shell.json("list-files", "."), shell.json("read-document", "größe.csv")

    assert (info["path"], info["kind"], info["format"], info["encoding"], info["lines"]) == ("größe.csv", "text", "csv", "utf-8", 1)
    assert isinstance(listing["files"], list)
    assert (listing["total"], listing["files"][0]["path"]) == (1, "größe.csv")
    assert (text["text"], text["cut"], text["notes"]) == ("größe;1", False, [])


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["file-info", "read-document", "transcribe", "video", "list-files"])
@pytest.mark.parametrize("target", ["missing", "empty", "folder", "noise.pdf", "pipe", "loop"])
def test_every_tool_answers_everything_with_a_sentence_or_a_result(shell: Shell, name: str, target: str) -> None:
    (shell.folder / "empty").touch()
    (shell.folder / "folder").mkdir()
    (shell.folder / "noise.pdf").write_bytes(b"%PDF-1.4\n" + bytes(range(256)))
    os.mkfifo(shell.folder / "pipe")
    (shell.folder / "loop").symlink_to("loop")

    answer = shell.json(name, target)

    if "error" in answer:
        assert re.fullmatch(r"(?s)\S.*[.`]", str(answer["error"]))
        assert "Traceback" not in str(answer["error"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("read-document", "a.pdf", "--pages", "x"), "--pages x: not a range of pages."),
        (("read-document", "a.pdf", "--pages", "9"), "a.pdf: the document has 1 pages;"),
        (("read-document", "a.pdf", "--sheet", "1"), "--sheet is for Excel workbooks,"),
        (("read-document", "a.pdf", "--max-chars", "0"), "--max-chars 0: must be a whole number from 1 to 10000000."),
        (("list-files", ".", "--limit", "-1"), "--limit -1: must be a whole number"),
        (("list-files", ".", "--limit", "٣"), "--limit ٣: must be a whole number"),
        (("transcribe", "a.pdf", "--timeout", "soon"), "--timeout soon: must be a whole number"),
        (("time", "--zone", "tokyo"), "--zone tokyo: no such time zone. Names are such as Asia/Tokyo."),
    ],
)
def test_a_call_that_cannot_be_meant_is_told_from_one_that_failed(shell: Shell, words: tuple[str, ...], sentence: str) -> None:
    (shell.folder / "a.pdf").write_bytes(pdf("a"))

    result = shell.tool(*words)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert json.loads(shell.tool(*words, "--json").stdout) == {"error": result.stderr.strip()}


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks only have names in UTF-8")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_name_in_another_encoding_is_shown_and_found(shell: Shell, locale: str) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (shell.folder / name).write_text("x")

    table = shell.tool("list-files", ".", LC_ALL=locale).stdout
    answer = shell.json("list-files", ".", LC_ALL=locale)
    missing = shell.tool("file-info", name + "x", LC_ALL=locale)

    assert "caf\\udce9.txt" in table
    assert isinstance(answer["files"], list)
    assert os.fsencode(answer["files"][0]["path"]) == b"caf\xe9.txt"
    assert "caf\\udce9.txtx: there is no such file" in missing.stderr


def test_a_name_with_a_line_end_cannot_forge_a_line(shell: Shell) -> None:
    (shell.folder / "a\nb\x1b[31m.txt").touch()

    lines = shell.tool("list-files", ".").stdout.splitlines()

    assert len(lines) == 2
    assert lines[1].endswith(r"a\nb\x1b[31m.txt")
    assert shell.tool("file-info", "c\nd\x1b[31m").stderr.splitlines()[0].startswith(r"c\nd\x1b[31m: there is no such file")


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell) -> None:
    (shell.folder / "long.txt").write_text("line\n" * 500_000)

    with shell.start("read-document", "long.txt", "--max-chars", "2000000") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()

    assert (process.returncode, errors) == (0, "")


def test_an_interrupt_is_no_traceback(shell: Shell) -> None:
    (shell.folder / "voice").write_bytes(b"OggS" + bytes(40))
    shell.install("mytool", 'kill -INT "$PPID"; sleep 600')

    result = shell.tool("transcribe", "voice", DUCTOR_TRANSCRIBE="mytool")

    assert (result.returncode, result.stderr) == (1, "interrupted\n")


def test_help_names_every_tool_and_what_it_does(shell: Shell) -> None:
    said = shell.tool("--help").stdout

    assert [name for name in TOOLS if not re.search(rf"^    {name}\s", said, re.MULTILINE)] == []


def test_the_page_of_tools_names_every_tool_and_the_cut() -> None:
    page = (Path(__file__).parent.parent / "docs" / "modules" / "tools.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `ductor tool ([a-z-]+)", page, re.MULTILINE)

    assert rows == TOOLS
    assert f"{documents.MAX_CHARS:,} characters" in page


def test_running_a_tool_leaves_the_signals_as_they_were(shell: Shell, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    options = argparse.Namespace(file=shell.folder / "missing", json=True, work=tool.file_info)

    assert tool.run(options) == 1
    assert signal.getsignal(signal.SIGTERM) is before
    assert b"there is no such file" in capfdbinary.readouterr().out
