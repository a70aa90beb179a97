"""The home: made, repaired and upgraded, whatever lies in it, and without losing a byte of its owner's."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ductor_lib.paths import Paths
from ductor_lib.workspace.home import Changes, prepare
from ductor_lib.workspace.placing import digest
from ductor_lib.workspace.rules import SHIPPED, shipped

ROOT = Path(__file__).parent.parent
NOW = 1_800_000_000
BOTH = frozenset({"claude", "codex"})
COMMAND = ("python3", "/opt/ductor.py")
OLD = b"the rules as an older version shipped them\n"
FOLDERS = (
    "", "memory_system", "cron_tasks", "skills", "tools", "tools/user_tools", "telegram_files", "output_to_user", ".requests",
)  # fmt: skip
SMALL_DISK = """
import resource, sys
from pathlib import Path
from ductor_lib.paths import Paths
from ductor_lib.workspace.home import prepare
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
changes = prepare(Paths(Path(sys.argv[1])), signed_in={"claude", "codex"}, command=("python3", "/opt/ductor.py"))
print(len(changes.skipped))
"""


def run(paths: Paths, signed_in: Collection[str] = ("claude",), command: tuple[str, ...] = COMMAND, *, sandboxed: bool = False) -> Changes:
    return prepare(paths, signed_in=signed_in, command=command, sandboxed=sandboxed, now=lambda: float(NOW))


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def older(paths: Paths, **edited: str) -> None:
    """Make it the home of an older version, with both rule files in the workspace's root; some are edited."""
    put(paths.home_manifest, json.dumps({"rules": {"workspace": digest(OLD)}}))
    for name in ("CLAUDE", "AGENTS"):
        put(paths.workspace / f"{name}.md", edited.get(name, OLD))


def tree(folder: Path) -> dict[str, str]:
    """What lies below: the bytes of files, the targets of links, the modes of folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        else:
            found[name] = repr(path.read_bytes()) if path.is_file() else oct(path.stat().st_mode)
    return found


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home")


@pytest.fixture
def rule(paths: Paths) -> bytes:
    """The text of the root rule of this home."""
    return shipped(paths.home, sandboxed=False)["workspace"]


# ── made ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_home_has_every_folder_for_its_owner_alone(paths: Paths) -> None:
    run(paths)

    folders = [paths.home, paths.config.parent, paths.log.parent, *(paths.workspace / name for name in FOLDERS)]
    assert {folder.name: oct(stat.S_IMODE(folder.stat().st_mode)) for folder in folders} == {one.name: "0o700" for one in folders}


def test_a_new_home_has_rules_memory_and_nothing_that_others_can_read(paths: Paths, rule: bytes) -> None:
    changes = run(paths)

    files = [path for path in paths.workspace.rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files if path.name != "ductor"} == {"0o600"}
    assert (paths.workspace / "CLAUDE.md").read_bytes() == rule
    assert paths.memory.read_text() == (SHIPPED / "workspace/memory_system/MAINMEMORY.md").read_text()
    assert {paths.home / name for name in changes.created} >= set(files)


def test_a_second_start_changes_nothing(paths: Paths) -> None:
    older(paths, CLAUDE="edited")
    put(paths.workspace / "tasks/news/TASK_DESCRIPTION.md", "news")
    run(paths, BOTH)
    before = {path: path.stat().st_mtime_ns for path in paths.home.rglob("*")}

    changes = run(paths, BOTH)

    assert changes == Changes()
    assert {path: path.stat().st_mtime_ns for path in paths.home.rglob("*")} == before


def test_one_line_of_the_log_sums_up(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        changes = run(paths)

    assert [record.getMessage() for record in caplog.records] == [
        f"home ready created={len(changes.created)} replaced=0 kept=0 moved=0 removed=0 skipped=0"
    ]


@pytest.mark.parametrize("home", ["a b", "it's", "$(touch x)`touch y`", 'q"uo}te\\s', "ümläut", "{brace}"])
def test_ductor_runs_from_the_agents_path_whatever_the_folders_are_called(tmp_path: Path, home: str) -> None:
    paths = Paths(tmp_path / home)
    script = put(tmp_path / home / "ductor.py", "import os, sys; print(ascii([os.environ['DUCTOR_HOME'], *sys.argv[1:]]))")

    run(paths, command=(sys.executable, str(script)))

    def told(**variables: str) -> str:
        environment = {"PATH": f"{paths.tools_bin}:{os.environ['PATH']}", **variables}
        arguments = ["sh", "-c", 'exec ductor cron "a b" ""']
        return subprocess.run(arguments, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    assert told() == ascii([str(paths.home), "cron", "a b", ""])
    assert told(DUCTOR_HOME="/elsewhere") == ascii(["/elsewhere", "cron", "a b", ""])
    assert sorted(os.listdir(tmp_path)) == [home]


# ── repaired ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_missing_comes_back_and_what_was_written_since_stays(paths: Paths, rule: bytes) -> None:
    run(paths)
    put(paths.memory, "# Memory\n- likes tea\n")
    (paths.workspace / "CLAUDE.md").unlink()
    shutil.rmtree(paths.tools)

    changes = run(paths)

    assert paths.memory.read_text() == "# Memory\n- likes tea\n"
    assert (paths.workspace / "CLAUDE.md").read_bytes() == rule
    assert os.access(paths.tools_bin / "ductor", os.X_OK)
    assert (changes.replaced, changes.kept) == ((), ())


def test_a_deleted_memory_is_begun_anew(paths: Paths) -> None:
    run(paths)
    paths.memory.unlink()

    changes = run(paths)

    assert changes.created == ("workspace/memory_system/MAINMEMORY.md",)


def test_a_home_that_was_open_to_others_is_closed(paths: Paths) -> None:
    for folder in (paths.config.parent, paths.log.parent, paths.workspace):
        folder.mkdir(parents=True)
        folder.chmod(0o755)

    run(paths)

    assert {stat.S_IMODE(one.stat().st_mode) for one in (paths.config.parent, paths.log.parent, paths.workspace)} == {0o700}


def test_a_command_that_was_broken_or_is_elsewhere_now_is_made_anew(paths: Paths) -> None:
    run(paths)
    shim = paths.tools_bin / "ductor"

    moved = run(paths, command=("python3", "/new/ductor.py"))
    shim.chmod(0o600)
    locked = run(paths, command=("python3", "/new/ductor.py"))
    put(shim, "#!/bin/sh\necho mine\n")
    edited = run(paths, command=("python3", "/new/ductor.py"))

    assert [one.replaced for one in (moved, locked, edited)] == [("bin/ductor",)] * 3
    assert [one.kept for one in (moved, locked, edited)] == [(), (), (f"bin/ductor.edited-{NOW}",)]
    assert b"/new/ductor.py" in shim.read_bytes()
    assert os.access(shim, os.X_OK)


def test_only_links_that_lead_nowhere_go_and_only_from_the_root(paths: Paths, tmp_path: Path) -> None:
    paths.cron_tasks.mkdir(parents=True)
    links = {"dead": "nowhere", "loop": "loop", "CLAUDE.md": "gone.md", "cron_tasks/dead": "nowhere", "live": str(tmp_path), "up": ".."}
    for name, target in links.items():
        (paths.workspace / name).symlink_to(target)

    changes = run(paths)

    assert changes.removed == ("workspace/CLAUDE.md", "workspace/dead", "workspace/loop")
    assert [name for name in links if (paths.workspace / name).is_symlink()] == ["cron_tasks/dead", "live", "up"]
    assert (paths.workspace / "CLAUDE.md").is_file()


def test_folders_behind_links_of_the_owner_stay_and_nothing_is_written_there(paths: Paths, tmp_path: Path) -> None:
    paths.workspace.mkdir(parents=True)
    outside = tmp_path / "documents"
    outside.mkdir()
    for name in ("output_to_user", "tools", "memory_system"):
        (paths.workspace / name).symlink_to(outside)

    changes = run(paths, BOTH)

    assert os.listdir(outside) == []
    assert (paths.workspace / "tools").is_symlink()
    assert changes.skipped == ()


def test_a_folder_of_commands_that_is_a_link_is_left_alone_and_named(paths: Paths, tmp_path: Path) -> None:
    paths.home.mkdir(parents=True)
    outside = tmp_path / "documents"
    outside.mkdir()
    paths.tools_bin.symlink_to(outside)

    changes = run(paths, BOTH)

    assert os.listdir(outside) == []
    assert changes.skipped == ("bin/ductor: behind a link or not a folder, agents will not find the command ductor",)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("CLAUDE.md", lambda path: path.mkdir()),
        ("CLAUDE.md", lambda path: os.mkfifo(path)),
        ("CLAUDE.md", lambda path: path.symlink_to("AGENTS.md")),
        ("skills", lambda path: path.write_text("a file")),
        ("tools", lambda path: path.write_text("a file")),
        ("memory_system", lambda path: os.mkfifo(path)),
        ("../bin", lambda path: path.write_text("a file")),
        ("../bin/ductor", lambda path: path.mkdir()),
        ("memory_system/MAINMEMORY.md", lambda path: path.mkdir()),
        ("../config/home.json", lambda path: path.mkdir()),
    ],
)  # fmt: skip
def test_what_is_in_the_way_stays_and_is_named_and_all_else_is_done(paths: Paths, name: str, make: Callable[[Path], None]) -> None:
    path = paths.workspace / name
    path.resolve().parent.mkdir(parents=True)
    put(paths.workspace / "AGENTS.md", "mine")
    make(path)
    before = path.lstat()

    changes = run(paths, {"claude"})

    assert changes.skipped[0].startswith(path.resolve().parent.joinpath(path.name).relative_to(paths.home.resolve()).as_posix() + ": ")
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert paths.output_to_user.is_dir()
    assert "mine" in [one.read_text() for one in paths.workspace.glob("AGENTS.md*")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_folder_that_may_not_be_written_costs_only_itself(paths: Paths, mode: int) -> None:
    paths.tools.mkdir(parents=True)
    paths.tools.chmod(mode)

    changes = run(paths)
    paths.tools.chmod(0o700)
    repaired = run(paths)

    assert changes.skipped
    assert {one.partition(":")[0].split("/")[1] for one in changes.skipped} == {"tools"}
    assert "bin/ductor" in repaired.created
    assert repaired.skipped == ()


# ── upgraded ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_version_replaces_its_rules(paths: Paths, rule: bytes) -> None:
    older(paths)

    changes = run(paths, BOTH)

    assert changes.replaced == ("workspace/CLAUDE.md", "workspace/AGENTS.md")
    assert changes.kept == ()
    assert {(paths.workspace / name).read_bytes() for name in ("CLAUDE.md", "AGENTS.md")} == {rule}


def test_a_new_version_keeps_an_edited_rule_aside_and_says_so(paths: Paths, rule: bytes, caplog: pytest.LogCaptureFixture) -> None:
    older(paths, CLAUDE="edited")
    put(paths.workspace / f"CLAUDE.md.edited-{NOW}", "from another time")

    with caplog.at_level(logging.WARNING):
        changes = run(paths)

    assert changes.kept == (f"workspace/CLAUDE.md.edited-{NOW + 1}",)
    assert (paths.home / changes.kept[0]).read_text() == "edited"
    assert (paths.workspace / "CLAUDE.md").read_bytes() == rule
    assert "edited file kept aside" in caplog.text


def test_an_edit_stays_as_long_as_the_version_does(paths: Paths) -> None:
    run(paths)
    put(paths.workspace / "CLAUDE.md", "edited")

    changes = run(paths)

    assert changes == Changes()
    assert (paths.workspace / "CLAUDE.md").read_text() == "edited"


def test_who_signs_in_later_gets_the_edited_rule(paths: Paths) -> None:
    run(paths, {"claude"})
    put(paths.workspace / "CLAUDE.md", "edited")

    both = run(paths, BOTH)
    codex = run(paths, {"codex"})

    assert "workspace/AGENTS.md" in both.created
    assert "workspace/CLAUDE.md" in codex.removed
    assert (paths.workspace / "AGENTS.md").read_text() == "edited"
    assert not (paths.workspace / "CLAUDE.md").exists()
    assert codex.kept == ()


def test_a_stale_rule_file_goes_and_an_edited_one_is_kept_aside(paths: Paths) -> None:
    run(paths, BOTH)
    put(paths.tools / "AGENTS.md", "edited")

    changes = run(paths, {"claude"})

    assert "workspace/AGENTS.md" in changes.removed
    assert changes.kept == (f"workspace/tools/AGENTS.md.edited-{NOW}",)
    assert list(paths.workspace.rglob("AGENTS.md")) == []


def test_the_sandbox_is_told_to_the_agent(paths: Paths) -> None:
    run(paths)

    changes = run(paths, sandboxed=True)

    assert changes.replaced == ("workspace/CLAUDE.md",)
    assert "You work in a sandbox" in (paths.workspace / "CLAUDE.md").read_text()


def test_without_its_notes_a_home_is_upgraded_with_every_difference_kept(paths: Paths) -> None:
    older(paths)
    put(paths.home_manifest, "{broken")

    changes = run(paths)

    damaged, *_ = paths.home_manifest.parent.glob("home.json.damaged-*")
    assert damaged.read_text() == "{broken"
    assert set(changes.kept) == {
        f"workspace/CLAUDE.md.edited-{NOW}", f"workspace/AGENTS.md.edited-{NOW}", damaged.relative_to(paths.home).as_posix(),
    }


def test_notes_that_make_no_sense_are_like_none(paths: Paths) -> None:
    for notes in ({"rules": [1]}, {"rules": {"workspace": 7}, "shim": [], "in_step": 3}):
        put(paths.home_manifest, json.dumps(notes))

        assert run(paths).skipped == ()


# ── the tasks of older homes ────────────────────────────────────────────────────────────────────────────────────────


def test_the_tasks_of_an_older_home_get_their_new_place(paths: Paths) -> None:
    put(paths.workspace / "tasks/news/scripts/run.sh", "echo news")

    changes = run(paths)

    assert changes.moved == ("workspace/tasks -> workspace/cron_tasks",)
    assert (paths.cron_tasks / "news/scripts/run.sh").read_text() == "echo news"
    assert not (paths.workspace / "tasks").exists()


def test_where_a_name_is_taken_both_are_kept(paths: Paths, tmp_path: Path) -> None:
    for place, text in (("tasks", "old"), ("cron_tasks", "new")):
        put(paths.workspace / place / "news/notes", text)
        put(paths.workspace / place / "list.txt", text)
    put(paths.cron_tasks / "news-2/notes", "second")
    put(paths.workspace / "tasks/alone/notes", "old")
    (paths.workspace / "tasks/link").symlink_to(tmp_path)
    (paths.cron_tasks / "link").symlink_to("nowhere")

    changes = run(paths)

    assert len(changes.moved) == 4
    assert {name: (paths.cron_tasks / name).read_text() for name in ("news/notes", "news-2/notes", "news-3/notes", "alone/notes")} == {
        "news/notes": "new", "news-2/notes": "second", "news-3/notes": "old", "alone/notes": "old",
    }
    assert ((paths.cron_tasks / "list.txt").read_text(), (paths.cron_tasks / "list-2.txt").read_text()) == ("new", "old")
    assert (os.readlink(paths.cron_tasks / "link"), os.readlink(paths.cron_tasks / "link-2")) == ("nowhere", str(tmp_path))
    assert not (paths.workspace / "tasks").exists()


@pytest.mark.parametrize("linked", ["tasks", "cron_tasks"])
def test_task_folders_behind_a_link_are_left_alone(paths: Paths, tmp_path: Path, linked: str) -> None:
    put(tmp_path / "outside/a/notes", "theirs")
    other = {"tasks": "cron_tasks", "cron_tasks": "tasks"}[linked]
    put(paths.workspace / other / "b/notes", "mine")
    (paths.workspace / linked).symlink_to(tmp_path / "outside")

    changes = run(paths)

    assert changes.moved == ()
    assert "workspace/tasks: not moved to cron_tasks, one of them is a link or a file" in changes.skipped
    assert tree(tmp_path / "outside") == {"a": oct((tmp_path / "outside/a").stat().st_mode), "a/notes": "b'theirs'"}


def test_a_file_called_tasks_is_the_owners(paths: Paths) -> None:
    put(paths.workspace / "tasks", "to do")

    run(paths)

    assert (paths.workspace / "tasks").read_text() == "to do"


# ── nothing is lost ─────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = (
    "CLAUDE.md", "AGENTS.md", "MAINMEMORY.md", "tasks", "cron_tasks", "memory_system", "skills", "tools", "bin", "ductor", "a", "b.txt",
)
ENTRIES = st.dictionaries(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join),
    st.sampled_from([b"mine", b"mine, too", b"", OLD, b"CURRENT", "folder", "->nowhere", "->.", "->../../outside", "->a"]),
    max_size=12,
)
NOTES = st.sampled_from([None, {}, {"rules": {"workspace": digest(OLD), "workspace/tools": digest(OLD)}}, "current", "broken"])


def grow(paths: Paths, entries: dict[str, bytes | str], notes: object) -> None:
    """Make a home of random things; what does not fit on what is there is left out."""
    paths.create()
    current = shipped(paths.home, sandboxed=False)
    put(paths.home.parent / "outside/theirs.txt", "theirs")
    for name, what in entries.items():
        path = paths.workspace / name
        if any(one.is_symlink() or one.is_file() for one in (path, *path.parents)) or path.exists():
            continue
        if isinstance(what, bytes):
            folder = path.parent.relative_to(paths.home).as_posix()
            put(path, current.get(folder, b"mine") if what == b"CURRENT" else what)
        elif what == "folder":
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(what[2:])
    if notes == "current":
        notes = {"rules": {folder: digest(text) for folder, text in current.items()}}
    if notes is not None:
        put(paths.home_manifest, "{broken" if notes == "broken" else json.dumps(notes))


def belongings(paths: Paths) -> set[tuple[str, bytes]]:
    """What is the owner's: name and content of every file that is not ours as it was shipped, and every link that lives."""
    ours = {*shipped(paths.home, sandboxed=False).values(), OLD}
    found = set()
    for path in (*paths.workspace.rglob("*"), paths.home_manifest):
        if path.is_symlink() and (path.exists() or path.parent != paths.workspace):
            found.add((path.name, os.readlink(path).encode()))
        elif path.is_file() and not path.is_symlink() and (content := path.read_bytes()) not in ours:
            found.add((path.name, content))
    return found


def kept(paths: Paths, name: str, content: bytes) -> bool:
    """Whether this is still in the home: under its name, its other name, or that of a copy."""
    stem, dot, suffix = name.rpartition(".")
    names = {name, *next((pair for pair in (("CLAUDE.md", "AGENTS.md"), ("tasks", "cron_tasks")) if name in pair), ())}
    copy = re.compile(rf"{re.escape(name)}(\.(edited|damaged)-\d+|-\d+)|{re.escape(stem)}-\d+{re.escape(dot + suffix)}")
    return any(
        (path.name in names or copy.fullmatch(path.name))
        and (os.readlink(path).encode() if path.is_symlink() else path.is_file() and path.read_bytes()) == content
        for path in paths.home.rglob("*")
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ENTRIES, NOTES, st.sampled_from([BOTH, {"claude"}, {"codex"}, ()]))
def test_an_upgrade_keeps_every_byte_of_the_owners(
    tmp_path: Path, entries: dict[str, bytes | str], notes: object, signed_in: Collection[str]
) -> None:
    paths = Paths(tmp_path / "any/home")
    shutil.rmtree(paths.home.parent, ignore_errors=True)
    grow(paths, entries, notes)
    owned, outside = belongings(paths), tree(paths.home.parent / "outside")

    run(paths, signed_in)
    once = tree(paths.home)
    again = run(paths, signed_in)

    owned = {(name, content) for name, content in owned if name != "home.json" or content == b"{broken"}
    assert [one for one in owned if not kept(paths, *one)] == []
    assert tree(paths.home.parent / "outside") == outside
    assert tree(paths.home) == once
    assert again == Changes(skipped=again.skipped)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills its own copies")
def test_killed_before_any_change_it_is_repaired_by_the_next_start(tmp_path: Path) -> None:
    old = Paths(tmp_path / "old")
    older(old, CLAUDE="edited")
    for name in ("tasks/news/notes", "cron_tasks/news/notes", "tools/AGENTS.md", "../bin/ductor"):
        put(old.workspace / name, f"mine: {name}")
    (old.workspace / "dead").symlink_to("nowhere")
    owned = belongings(old)
    (tmp_path / "copies").mkdir()

    subprocess.run([sys.executable, "-m", "tests.crash_home", str(old.home), str(tmp_path / "copies")], cwd=ROOT, check=True, timeout=120)

    homes = [Paths(path) for path in sorted((tmp_path / "copies").iterdir(), key=lambda path: int(path.name))]
    assert len(homes) > 40
    for paths in homes:
        run(paths, BOTH)
        assert [one for one in owned if one[0] != "home.json" and not kept(paths, *one)] == []
        assert comparable(paths) == comparable(homes[-1])
        assert run(paths, BOTH) == Changes()


def comparable(paths: Paths) -> dict[str, str]:
    """The workspace without what a killed writer leaves, and without the path of this copy in the texts."""
    found = tree(paths.workspace)
    return {name: text.replace(str(paths.home), "HOME") for name, text in found.items() if not name.endswith(".ductor-tmp")}


@pytest.mark.parametrize("room", [0, 300, 1000, 2000])
def test_a_full_disk_loses_nothing_and_the_next_start_repairs(paths: Paths, room: int, rule: bytes) -> None:
    older(paths, CLAUDE="edited")
    put(paths.memory, "memory")
    owned = belongings(paths)

    command = [sys.executable, "-c", SMALL_DISK, str(paths.home), str(room)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout  # the limit holds for files
    between = {name: (paths.workspace / name).read_bytes() for name in ("CLAUDE.md", "AGENTS.md")}
    run(paths, BOTH)

    assert int(told) > 0
    assert between == {"CLAUDE.md": b"edited", "AGENTS.md": OLD}
    assert [one for one in owned if one[0] != "home.json" and not kept(paths, *one)] == []
    assert (paths.workspace / "CLAUDE.md").read_bytes() == rule
    assert run(paths, BOTH) == Changes()


def test_what_a_killed_writer_left_long_ago_goes(paths: Paths) -> None:
    run(paths)
    left = [put(paths.tools / f".CLAUDE.md.{name}.ductor-tmp", "half") for name in ("old", "new")]
    for path, age in zip(left, (7200, 60), strict=True):
        os.utime(path, (NOW - age, NOW - age))

    run(paths)

    assert [path.exists() for path in left] == [False, True]


# ── shipped ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_package_takes_the_home_along() -> None:
    import tomllib

    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

    (pattern,) = setup["package-data"]["ductor_lib"]
    assert {*(ROOT / "ductor_lib").glob(pattern)} >= {path for path in SHIPPED.rglob("*") if path.is_file()}
