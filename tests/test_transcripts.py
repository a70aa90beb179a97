"""Sessions on disk, as both CLIs leave them: listed newest first, whatever else lies there."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.cli.transcripts import HEAD, Transcripts, claude_title, codex_title, words

DAY = Path("2026", "11", "22")


class Disk:
    """The two stores below one home, and a folder to work in."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cwd = home / "a b_c.d"
        self.cwd.mkdir(parents=True)
        self.claude_folder = home / ".claude" / "projects" / "".join(c if c.isascii() and c.isalnum() else "-" for c in str(self.cwd))
        self.codex_folder = home / ".codex" / "sessions" / DAY
        self.claude_folder.mkdir(parents=True)
        self.codex_folder.mkdir(parents=True)

    def transcripts(self, **variables: str) -> Transcripts:
        return Transcripts({"HOME": str(self.home), **variables})

    def titles(self, **variables: str) -> list[str]:
        return [found.title for found in self.transcripts(**variables).recent(self.cwd)]

    def claude(self, title: object, *, at: float = 1000.0, cwd: str = "", entries: tuple[object, ...] = (), **more: object) -> str:
        """A session of Claude Code with one prompt, written at `at`."""
        key = str(uuid.uuid4())
        user = {"type": "user", "isSidechain": False, "message": {"role": "user", "content": title}, "cwd": cwd or str(self.cwd), **more}
        rows = [{"type": "mode", "mode": "normal"}, {"type": "queue-operation", "content": title}, *entries, user]
        return self.write(self.claude_folder / f"{key}.jsonl", rows, at)

    def codex(self, title: str, *, at: float = 1000.0, cwd: str = "", source: object = "exec") -> str:
        """A thread of Codex with one prompt."""
        key = str(uuid.uuid4())
        meta = {"id": key, "cwd": cwd or str(self.cwd), "source": source, "base_instructions": {"text": "x" * 20_000}}
        around = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>\n…"}]}
        said = {"type": "item_completed", "item": {"type": "UserMessage", "content": [{"type": "text", "text": title}]}}
        kinds = {"session_meta": meta, "response_item": around, "event_msg": said}
        rows = [{"type": kind, "payload": payload} for kind, payload in kinds.items()]
        return self.write(self.codex_folder / f"rollout-2026-11-22T10-00-00-{key}.jsonl", rows, at)

    def write(self, path: Path, rows: Sequence[object], at: float) -> str:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.utime(path, (at, at))
        return path.stem[-36:]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_sessions_of_both_are_listed_newest_first_with_their_size(disk: Disk) -> None:
    oldest, middle = disk.claude("oldest", at=1), disk.codex("middle", at=2)
    newest = disk.claude([{"type": "text", "text": "new\nest"}], at=3)

    found = list(disk.transcripts().recent(disk.cwd))

    assert [(each.provider, each.id, each.title) for each in found] == [
        ("claude", newest, "new est"), ("codex", middle, "middle"), ("claude", oldest, "oldest"),
    ]  # fmt: skip
    assert found[0].modified == 3.0
    assert found[1].size > 20_000


def test_a_session_of_another_folder_is_not_listed(disk: Disk) -> None:
    disk.codex("elsewhere", cwd="/elsewhere")
    disk.claude("its folder has the same name", cwd=str(disk.cwd).replace(" ", "_"))

    assert disk.titles() == []


def test_a_folder_reached_by_another_path_is_the_same(disk: Disk) -> None:
    disk.claude("one", at=2)
    disk.codex("two", at=1)
    link = disk.home / "link"
    link.symlink_to(disk.cwd)

    assert [found.title for found in disk.transcripts().recent(link)] == ["one", "two"]


def test_the_variables_of_the_clis_move_their_stores(disk: Disk, tmp_path: Path) -> None:
    disk.claude("one", at=2)
    disk.codex("two", at=1)
    (disk.home / ".claude").rename(tmp_path / "c1")
    (disk.home / ".codex").rename(tmp_path / "c2")

    assert disk.titles() == []
    assert disk.titles(CLAUDE_CONFIG_DIR=str(tmp_path / "c1"), CODEX_HOME=str(tmp_path / "c2")) == ["one", "two"]


def test_what_no_person_wrote_is_no_title(disk: Disk) -> None:
    meta = {"type": "user", "isMeta": True, "message": {"content": "Caveat"}}
    command = {"type": "user", "message": {"content": "<command-name>/clear</command-name>"}}
    disk.claude("the real one", entries=(meta, command))

    assert disk.titles() == ["the real one"]


def test_a_session_without_a_prompt_and_a_sub_agents_thread_are_not_listed(disk: Disk) -> None:
    disk.claude("<only-this>")
    disk.codex("mine", source={"subagent": "review"})

    assert disk.titles() == []


def test_a_prompt_beyond_the_head_has_no_title_but_is_listed(disk: Disk) -> None:
    disk.claude("x" * HEAD)

    assert disk.titles() == [""]


def test_damaged_and_strange_files_are_skipped(disk: Disk) -> None:
    disk.claude("fine")
    for folder in (disk.claude_folder, disk.codex_folder):
        prefix = "rollout-x-" if folder == disk.codex_folder else ""
        for content in (b"", b"\x00\xff{", b"[1,2]\n", b"[" * 50_000, b'{"type":"user","message":7}\n', b'{"payload":[]}\n'):
            (folder / f"{prefix}{uuid.uuid4()}.jsonl").write_bytes(content)
        (folder / f"{prefix}{uuid.uuid4()}.jsonl").mkdir()
        (folder / f"{prefix}{uuid.uuid4()}.jsonl").symlink_to("/nowhere")
        os.mkfifo(folder / f"{prefix}{uuid.uuid4()}.jsonl")
        (folder / "notes.jsonl").write_text("{}")
    (disk.home / ".codex" / "sessions" / "stray").write_text("")

    assert disk.titles() == ["fine"]


def test_stores_that_do_not_exist_are_empty(tmp_path: Path) -> None:
    assert list(Transcripts({"HOME": str(tmp_path / "nowhere")}).recent(tmp_path)) == []


def test_a_session_is_found_by_provider_and_id_while_it_is_there(disk: Disk) -> None:
    key = disk.codex("wanted")
    transcripts = disk.transcripts()

    found = transcripts.find("codex", key, disk.cwd)

    assert found is not None
    assert found.title == "wanted"
    assert transcripts.find("claude", key, disk.cwd) is None
    assert transcripts.find("codex", key, disk.home) is None


@pytest.mark.parametrize("key", ["", "*", "../../etc/passwd", "x" * 5000, "\x00", "7c9e6679-7425-40de-944b-e07fc1f90ae7"])
def test_a_made_up_id_finds_nothing(disk: Disk, key: str) -> None:
    disk.claude("one")

    assert disk.transcripts().find("claude", key, disk.cwd) is None


def test_the_name_of_a_long_folder_is_cut_as_claude_code_cuts_it(disk: Disk) -> None:
    deep = disk.home / ("x" * 120) / ("y" * 120)
    deep.mkdir(parents=True)
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in str(deep))[:200]
    disk.claude_folder = disk.home / ".claude" / "projects" / f"{name}-knfpwz"
    disk.claude_folder.mkdir()
    disk.claude("deep", cwd=str(deep))

    assert [found.title for found in disk.transcripts().recent(deep)] == ["deep"]


def test_a_page_of_many_is_quick(disk: Disk) -> None:
    for number in range(250):
        disk.claude(f"c{number}", at=number)
        disk.codex(f"x{number}", at=number + 0.5)
    begun = time.monotonic()

    page = list(islice(disk.transcripts().recent(disk.cwd), 8))

    assert [each.title for each in page][:3] == ["x249", "c249", "x248"]
    assert time.monotonic() - begun < 2.0  # it takes some 20 ms


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "payload", "message", "content", "item", "cwd", "text", "source", "role", "session_meta", "user"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(json_values, max_size=4), st.binary(max_size=40))
def test_no_content_of_a_file_is_too_strange(tmp_path_factory: pytest.TempPathFactory, rows: list[object], tail: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "strange.jsonl"
    path.write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode() + tail)

    for read in (claude_title, codex_title):
        title = read(path, "/a")
        assert title is None or "\n" not in title


@given(json_values)
def test_a_title_is_one_short_line(content: object) -> None:
    assert len(words(content)) <= 200
    assert "\n" not in words(content)
