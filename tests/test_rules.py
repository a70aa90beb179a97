"""The rules of the agent: rendered, brought up to date without losing an edit, kept in step; and its memory."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.paths import Paths
from ductor_lib.workspace.placing import Found, Step, digest, steps
from ductor_lib.workspace.rules import FOLDERS, MEMORY_BYTES, SHIPPED, Rules, memory, memory_size, render, shipped, wanted

BOTH = frozenset({"claude", "codex"})
NAMES = ("CLAUDE.md", "AGENTS.md")
NOW = 1_800_000_000.0
HOME = Path("/home/me/.ductor")


# ── the shipped rules ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("signed_in", "names"),
    [
        ({"claude"}, ("CLAUDE.md",)),
        ({"codex"}, ("AGENTS.md",)),
        (BOTH, ("CLAUDE.md", "AGENTS.md")),
        ((), ("CLAUDE.md",)),
    ],
)
def test_rule_files_are_named_for_who_is_signed_in(signed_in: Collection[str], names: tuple[str, ...]) -> None:
    assert wanted(signed_in) == names


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.from_regex(r"\w{1,5}", fullmatch=True), st.text(max_size=9), max_size=3), st.text(max_size=40))
def test_rendering_fills_in_the_values_and_leaves_every_other_text(values: dict[str, str], text: str) -> None:
    template = "".join(f"{{{{{name}}}}}" for name in values)

    assert render(template, values) == "".join(values.values())
    assert render(text, {}) == text


def test_every_rule_is_rendered_completely_and_lines_fit_a_screen() -> None:
    texts = shipped(HOME, sandboxed=False)

    assert set(texts) >= {"workspace", "workspace/memory_system", "workspace/cron_tasks", "workspace/tools/user_tools"}
    assert [folder for folder, text in texts.items() if b"{{" in text] == []
    assert [line for text in texts.values() for line in text.decode().splitlines() if len(line) > 125] == []


def test_the_root_rule_is_short_and_says_what_an_agent_must_know() -> None:
    text = shipped(HOME, sandboxed=False)["workspace"].decode()

    assert len(text.splitlines()) <= 70
    for words in (
        "/home/me/.ductor/workspace", "MAINMEMORY.md", "<file:/absolute/path>", "output_to_user/", "telegram_files/", "[button:Text]",
        "ductor cron add", "ductor webhook add", "ductor send", "ductor tool", "Do not narrate your bookkeeping", "secrets",
    ):
        assert words in text


def test_the_root_rule_says_where_the_agent_works() -> None:
    assert b"without a sandbox" in shipped(HOME, sandboxed=False)["workspace"]
    assert b"in a sandbox" in shipped(HOME, sandboxed=True)["workspace"]


def test_every_folder_that_a_rule_is_for_is_a_folder_of_the_shipped_home() -> None:
    assert all((SHIPPED / folder).is_dir() for folder in shipped(HOME, sandboxed=True))


# ── bringing the files of one folder up to date ─────────────────────────────────────────────────────────────────────

OLD, NEW, EDIT, EDIT_2 = b"old text", b"new text", b"edited", b"edited otherwise"


def files(**contents: bytes) -> dict[str, Found]:
    """CLAUDE=b"..." and AGENTS=b"...", each a second younger than the one before."""
    return {f"{name}.md": Found(content, number) for number, (name, content) in enumerate(contents.items())}


@pytest.mark.parametrize(
    ("found", "names", "installed", "todo"),
    [
        (files(), NAMES, "", [Step("write", "CLAUDE.md", NEW), Step("write", "AGENTS.md", NEW)]),
        (files(CLAUDE=NEW), NAMES, digest(NEW), [Step("write", "AGENTS.md", NEW)]),
        (files(CLAUDE=NEW), ["CLAUDE.md"], "", []),
        (files(CLAUDE=OLD), ["CLAUDE.md"], digest(OLD), [Step("write", "CLAUDE.md", NEW)]),
        (files(CLAUDE=OLD), ["CLAUDE.md"], "", [Step("supersede", "CLAUDE.md", NEW)]),
        (files(CLAUDE=EDIT), ["CLAUDE.md"], digest(OLD), [Step("supersede", "CLAUDE.md", NEW)]),
        (files(CLAUDE=EDIT), ["CLAUDE.md"], digest(NEW), []),
        (files(CLAUDE=NEW, AGENTS=NEW), ["CLAUDE.md"], digest(NEW), [Step("remove", "AGENTS.md")]),
        (files(CLAUDE=NEW, AGENTS=OLD), ["CLAUDE.md"], digest(OLD), [Step("remove", "AGENTS.md")]),
        (files(CLAUDE=NEW, AGENTS=EDIT), ["CLAUDE.md"], digest(NEW), [Step("set aside", "AGENTS.md")]),
        (files(CLAUDE=EDIT, AGENTS=EDIT), ["CLAUDE.md"], digest(NEW), [Step("remove", "AGENTS.md")]),
        (files(AGENTS=EDIT), ["CLAUDE.md"], digest(NEW), [Step("write", "CLAUDE.md", EDIT), Step("remove", "AGENTS.md")]),
        (files(AGENTS=EDIT), ["CLAUDE.md"], digest(OLD), [Step("write", "CLAUDE.md", NEW), Step("set aside", "AGENTS.md")]),
        (files(CLAUDE=EDIT), NAMES, digest(NEW), [Step("write", "AGENTS.md", EDIT)]),
    ],
    ids=[
        "nothing there", "one is missing", "already there", "a new version", "an older home", "a new version over an edit",
        "an edit stays", "stale", "stale and old", "stale with an edit", "stale, the edit is in the other", "an edit changes its name",
        "an edit under the stale name and a new version", "an edit is what the other one gets",
    ],
)  # fmt: skip
def test_what_is_done_with(found: Mapping[str, Found], names: Collection[str], installed: str, todo: list[Step]) -> None:
    assert steps(found, names, shipped=NEW, installed=installed) == todo


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.builds(Found, st.sampled_from([OLD, NEW, EDIT, EDIT_2]), st.integers(0, 3))),
    st.sampled_from([NAMES, NAMES[:1], NAMES[1:], ()]),
    st.sampled_from(["", digest(OLD), digest(NEW)]),
)
def test_no_edit_is_lost_and_a_second_time_nothing_is_left_to_do(found: dict[str, Found], names: tuple[str, ...], installed: str) -> None:
    lying, aside = {name: file.content for name, file in found.items()}, set()

    for step in steps(found, names, shipped=NEW, installed=installed):
        if step.do in ("supersede", "set aside"):
            aside.add(lying.pop(step.name))
        if step.do == "remove":
            del lying[step.name]
        if step.content:
            lying[step.name] = step.content
        ours = {OLD, NEW} if installed == digest(OLD) else {NEW}
        assert {file.content for file in found.values()} - ours <= aside | set(lying.values())

    again = {name: Found(content, 0) for name, content in lying.items()}
    assert lying.keys() == set(names)
    assert steps(again, names, shipped=NEW, installed=digest(NEW)) == []


# ── in step ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "home")
    paths.create()
    return paths


@pytest.fixture
def rules(paths: Paths) -> Rules:
    return Rules(paths, now=lambda: NOW)


def put(path: Path, text: str | bytes, *, age: float = 60.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, (NOW - age, NOW - age))
    return path


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.is_file()}


def test_the_newer_text_wins(paths: Paths, rules: Rules) -> None:
    for folder in ("", "cron_tasks/news", "projects/a/b"):
        put(paths.workspace / folder / "CLAUDE.md", "first")
        put(paths.workspace / folder / "AGENTS.md", "first")
    rules.sync(BOTH)
    put(paths.workspace / "CLAUDE.md", "from claude", age=50)
    put(paths.workspace / "cron_tasks/news/AGENTS.md", "from codex", age=50)

    written = rules.sync(BOTH)

    assert written == 2
    assert texts(paths.workspace) == dict.fromkeys(("AGENTS.md", "CLAUDE.md"), "from claude")
    assert texts(paths.workspace / "cron_tasks/news") == dict.fromkeys(("AGENTS.md", "CLAUDE.md"), "from codex")
    assert rules.sync(BOTH) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_one_file_gets_the_other(paths: Paths, rules: Rules, name: str) -> None:
    path = put(paths.cron_tasks / "news" / name, b"gr\xfc\xdfe\r\n")
    path.chmod(0o640)

    rules.sync(BOTH)

    assert sorted(os.listdir(paths.cron_tasks / "news")) == ["AGENTS.md", "CLAUDE.md"]
    assert {(paths.cron_tasks / "news" / one).read_bytes() for one in NAMES} == {b"gr\xfc\xdfe\r\n"}
    assert {(paths.cron_tasks / "news" / one).stat().st_mode & 0o777 for one in NAMES} == {0o640}


def test_of_two_texts_of_the_same_time_claudes_counts(paths: Paths, rules: Rules) -> None:
    put(paths.workspace / "CLAUDE.md", "claude")
    put(paths.workspace / "AGENTS.md", "codex")

    rules.sync(BOTH)

    assert (paths.workspace / "AGENTS.md").read_text() == "claude"


def test_an_older_text_that_nobody_has_seen_is_kept_aside(paths: Paths, rules: Rules) -> None:
    put(paths.workspace / "CLAUDE.md", "newer", age=30)
    put(paths.workspace / "AGENTS.md", "older")

    rules.sync(BOTH)

    assert texts(paths.workspace) == {"AGENTS.md": "newer", "CLAUDE.md": "newer", f"AGENTS.md.edited-{NOW:.0f}": "older"}


def test_what_both_said_before_a_restart_needs_no_copy(paths: Paths) -> None:
    put(paths.workspace / "CLAUDE.md", "first")
    Rules(paths, now=lambda: NOW).sync(BOTH)
    put(paths.workspace / "CLAUDE.md", "second", age=50)
    os.utime(paths.workspace / "AGENTS.md", (NOW - 60, NOW - 60))

    Rules(paths, now=lambda: NOW).sync(BOTH)

    assert texts(paths.workspace) == {"AGENTS.md": "second", "CLAUDE.md": "second"}


def test_a_shipped_text_needs_no_copy(paths: Paths, rules: Rules) -> None:
    put(paths.home_manifest, json.dumps({"rules": {"workspace/tools": digest(b"shipped")}}))
    put(paths.tools / "CLAUDE.md", "edited", age=50)
    put(paths.tools / "AGENTS.md", "shipped")

    rules.sync(BOTH)

    assert texts(paths.tools) == {"AGENTS.md": "edited", "CLAUDE.md": "edited"}


@pytest.mark.parametrize("signed_in", [{"claude"}, {"codex"}, ()])
def test_without_both_clis_no_text_is_replaced(paths: Paths, rules: Rules, signed_in: Collection[str]) -> None:
    put(paths.workspace / "CLAUDE.md", "a")
    put(paths.workspace / "AGENTS.md", "b", age=50)

    written = rules.sync(signed_in)

    assert written == 0
    assert texts(paths.workspace) == {"CLAUDE.md": "a", "AGENTS.md": "b"}


@pytest.mark.parametrize(("provider", "other"), [("claude", "AGENTS.md"), ("codex", "CLAUDE.md")])
def test_who_is_signed_in_alone_gets_the_rules_of_a_task_that_the_other_has_begun(
    paths: Paths, rules: Rules, provider: str, other: str
) -> None:
    task = paths.cron_tasks / "news"
    put(task / other, "how to do it")

    rules.sync(())
    before = texts(task)
    written = rules.sync({provider})

    assert before == {other: "how to do it"}
    assert texts(task) == {"CLAUDE.md": "how to do it", "AGENTS.md": "how to do it"}
    assert (written, rules.sync({provider})) == (1, 0)


def test_a_file_that_is_being_written_waits_for_the_next_pass(paths: Paths) -> None:
    clock = [NOW]
    rules = Rules(paths, now=lambda: clock[0])
    put(paths.workspace / "CLAUDE.md", "half", age=0.5)

    early = rules.sync(BOTH)
    clock[0] += 10
    late = rules.sync(BOTH)

    assert (early, late) == (0, 1)


@pytest.mark.parametrize("torn", [b"", b"text\0\0\0"])
def test_a_torn_file_is_left_alone_and_named_once(paths: Paths, rules: Rules, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    put(paths.workspace / "AGENTS.md", "good")
    put(paths.workspace / "CLAUDE.md", torn, age=30)
    put(paths.tools / "CLAUDE.md", "other")

    with caplog.at_level(logging.WARNING):
        written = [rules.sync(BOTH), rules.sync(BOTH)]

    assert written == [1, 0]  # the other folder
    assert (paths.workspace / "AGENTS.md").read_text() == "good"
    assert [record.args for record in caplog.records] == [(".", "CLAUDE.md is empty, damaged or too large")]


@pytest.mark.parametrize(
    "place",
    [
        ".git", ".venv/lib", "a/node_modules/b", "a/__pycache__", "skills/mine", "telegram_files/2026-01-01", "output_to_user/site",
        "clone", "clone/docs", "1/2/3/4/5/6/7",
    ],
)
def test_rules_of_others_are_left_alone(paths: Paths, rules: Rules, place: str) -> None:
    put(paths.workspace / place / "CLAUDE.md", "theirs")
    put(paths.workspace / "clone/.git/HEAD", "ref: refs/heads/main")

    assert rules.sync(BOTH) == 0


def test_the_workspace_and_a_task_may_be_repositories(paths: Paths, rules: Rules) -> None:
    for folder in (paths.workspace, paths.cron_tasks / "news"):
        put(folder / ".git/HEAD", "ref: refs/heads/main")
        put(folder / "CLAUDE.md", "text")
    put(paths.workspace / "swept/CLAUDE.md", "text")
    (paths.workspace / "swept/.git").mkdir()

    assert rules.sync(BOTH) == 3


def test_links_are_not_followed(paths: Paths, rules: Rules, tmp_path: Path) -> None:
    put(tmp_path / "outside/CLAUDE.md", "theirs")
    (paths.workspace / "outside").symlink_to(tmp_path / "outside")
    (paths.workspace / "loop").symlink_to(".")
    put(paths.workspace / "linked/AGENTS.md", "one text")
    (paths.workspace / "linked/CLAUDE.md").symlink_to("AGENTS.md")
    put(paths.workspace / "odd/AGENTS.md/file", "a folder of that name")

    assert rules.sync(BOTH) == 0
    assert os.listdir(tmp_path / "outside") == ["CLAUDE.md"]


def test_while_nobody_can_tell_what_is_an_edit_nothing_is_written_and_it_is_said_once(
    paths: Paths, rules: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    put(paths.workspace / "CLAUDE.md", "text")
    paths.home_manifest.mkdir(parents=True)

    with caplog.at_level(logging.WARNING):
        written = [rules.sync(BOTH), rules.sync(BOTH)]

    assert written == [0, 0]
    assert len(caplog.records) == 1


def test_a_thousand_folders_are_looked_through_in_a_tenth_of_a_second(paths: Paths, rules: Rules) -> None:
    for number in range(1000):
        put(paths.cron_tasks / f"task{number}" / "CLAUDE.md", f"rules {number}")
        put(paths.cron_tasks / f"task{number}" / "AGENTS.md", f"rules {number}")
    rules.sync(BOTH)

    assert rules.sync(BOTH) == 0
    assert min(seconds(rules) for _ in range(5)) < 0.1


def seconds(rules: Rules) -> float:
    begin = time.perf_counter()
    rules.sync(BOTH)
    return time.perf_counter() - begin


def test_a_workspace_without_end_is_looked_through_up_to_a_bound(paths: Paths, rules: Rules, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(FOLDERS):
        (paths.workspace / f"f{number}").mkdir()
    put(paths.workspace / "CLAUDE.md", "root")

    with caplog.at_level(logging.WARNING):
        written = rules.sync(BOTH)

    assert written == 1
    assert [record for record in caplog.records if "the rest is not kept in step" in record.getMessage()]


# ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_memory_is_the_text_of_its_file(paths: Paths) -> None:
    put(paths.memory, "# Memory\n\n- likes tea ☕\n")

    assert memory(paths) == "# Memory\n\n- likes tea ☕\n"
    assert memory_size(paths) == len("# Memory\n\n- likes tea ☕\n".encode())


@pytest.mark.parametrize(
    "make",
    [lambda path: None, lambda path: path.mkdir(), lambda path: os.mkfifo(path), lambda path: path.symlink_to("nowhere")],
    ids=["missing", "a folder", "a pipe", "a dead link"],
)
def test_without_a_readable_file_there_is_no_memory(paths: Paths, make: Callable[[Path], None]) -> None:
    paths.memory.parent.mkdir()
    make(paths.memory)

    assert (memory(paths), memory_size(paths)) == ("", 0)


def test_of_a_huge_memory_the_end_counts_and_the_agent_is_told(paths: Paths) -> None:
    put(paths.memory, "".join(f"line {number}\n" for number in range(20_000)))

    lines = memory(paths).splitlines()

    assert "over 64 kB" in lines[0]
    assert re.fullmatch(r"line \d+", lines[1])
    assert lines[-1] == "line 19999"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_make_a_memory_that_a_program_can_be_given(tmp_path_factory: pytest.TempPathFactory, raw: bytes, huge: bool) -> None:
    paths = Paths(tmp_path_factory.getbasetemp() / "any")
    put(paths.memory, raw * (1 + huge * MEMORY_BYTES // (len(raw) + 1)))

    text = memory(paths)

    assert "\0" not in text
    assert len(text.encode()) <= 3 * MEMORY_BYTES + 200
