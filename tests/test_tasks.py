"""Task folders come and go as a whole, and no name, link or crash leads out of their folder."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.storage import lock, unlock
from ductor_lib.workspace.tasks import TaskError, TaskFolder, Tasks, valid

CLAUDE = frozenset({"claude"})
BOTH = frozenset({"claude", "codex"})
BAD = ["", ".", "..", "../out", "a/b", "/etc", "a\\b", "a b", "A", "-a", "_a", ".a", "a.b", "ä", "a\n", "a\0", "con", "lpt1", "a" * 65, "~"]


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path / "cron_tasks")


def make(tasks: Tasks, name: str = "news", providers: frozenset[str] = CLAUDE) -> Path:
    return tasks.create(name, title="Morning news", description="Five lines.", providers=providers)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def precious(folder: Path) -> Path:
    """A folder that no task may reach."""
    (folder / "precious").mkdir()
    (folder / "precious" / "file").write_text("keep me")
    return folder / "precious"


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


# ── making ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_has_all_that_a_run_reads(tasks: Tasks, tmp_path: Path) -> None:
    folder = make(tasks, providers=BOTH)

    assert folder == (tmp_path / "cron_tasks" / "news").resolve()
    assert names(folder) == ["AGENTS.md", "CLAUDE.md", "TASK_DESCRIPTION.md", "news_MEMORY.md", "scripts"]
    assert (folder / "TASK_DESCRIPTION.md").read_text() == "# Morning news\n\nFive lines.\n"
    assert (folder / "CLAUDE.md").read_text() == (folder / "AGENTS.md").read_text()
    assert "news_MEMORY.md" in (folder / "CLAUDE.md").read_text()


@pytest.mark.parametrize(
    ("providers", "rules"),
    [(CLAUDE, ["CLAUDE.md"]), (frozenset({"codex"}), ["AGENTS.md"]), (BOTH, ["AGENTS.md", "CLAUDE.md"]), (frozenset[str](), ["CLAUDE.md"])],
)
def test_each_signed_in_agent_gets_its_rules_and_without_one_claude(tasks: Tasks, providers: frozenset[str], rules: list[str]) -> None:
    folder = make(tasks, providers=providers)

    assert [name for name in names(folder) if name in ("CLAUDE.md", "AGENTS.md")] == rules


def test_what_was_typed_is_not_in_the_rules(tasks: Tasks) -> None:
    folder = tasks.create("news", title="@/etc/passwd {x}\n# more", description="@/etc/shadow {name}", providers=BOTH)

    assert "@/etc" not in (folder / "CLAUDE.md").read_text()
    assert (folder / "TASK_DESCRIPTION.md").read_text() == "# @/etc/passwd {x} # more\n\n@/etc/shadow {name}\n"


def test_nothing_typed_still_makes_a_folder_that_says_what_is_missing(tasks: Tasks) -> None:
    folder = tasks.create("news", title=" ", description="", providers=CLAUDE)

    assert (folder / "TASK_DESCRIPTION.md").read_text().startswith("# news\n\nWrite here")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such rights")
def test_nobody_else_may_read_it(tasks: Tasks, tmp_path: Path) -> None:
    make(tasks)

    assert {oct(path.stat().st_mode & 0o077) for path in (tmp_path / "cron_tasks").rglob("*")} == {"0o0"}


def test_an_existing_folder_is_an_error_and_stays(tasks: Tasks) -> None:
    folder = make(tasks)
    (folder / "TASK_DESCRIPTION.md").write_text("mine")

    with pytest.raises(TaskError, match="already something"):
        make(tasks)

    assert (folder / "TASK_DESCRIPTION.md").read_text() == "mine"
    assert tasks.list() == (TaskFolder("news", folder),)


def test_an_existing_folder_may_be_used(tasks: Tasks) -> None:
    folder = make(tasks)
    (folder / "TASK_DESCRIPTION.md").write_text("mine")

    again = tasks.create("news", title="Other", description="", providers=BOTH, exist_ok=True)

    assert again == folder
    assert (folder / "TASK_DESCRIPTION.md").read_text() == "mine"


@pytest.mark.parametrize("exist_ok", [True, False])
def test_a_link_is_no_existing_folder(tasks: Tasks, tmp_path: Path, exist_ok: bool) -> None:
    target = precious(tmp_path)
    (tmp_path / "cron_tasks").mkdir()
    (tmp_path / "cron_tasks" / "news").symlink_to(target)

    with pytest.raises(TaskError):
        tasks.create("news", title="", description="", providers=CLAUDE, exist_ok=exist_ok)

    assert names(target) == ["file"]


def test_a_file_instead_of_the_folder_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "cron_tasks").write_text("")

    with pytest.raises(TaskError, match="could not be made: "):
        make(Tasks(tmp_path / "cron_tasks"))
    with pytest.raises(TaskError, match="could not be read"):
        Tasks(tmp_path / "cron_tasks").list()


def test_only_one_of_many_makes_the_folder(tasks: Tasks) -> None:
    outcomes: list[object] = []

    def attempt() -> None:
        try:
            outcomes.append(make(tasks))
        except TaskError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [type(Path()).__name__, *["TaskError"] * 7]
    assert [folder.name for folder in tasks.list()] == ["news"]


# ── what a crash leaves ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trigger", ["list", "create"])
def test_what_a_crash_left_is_erased_by_the_next(tasks: Tasks, tmp_path: Path, trigger: str) -> None:
    left = tmp_path / "cron_tasks" / ".news.tmp-0123abcd" / "scripts"
    left.mkdir(parents=True)
    (left / "half").write_text("a fil")

    folders = tasks.list() if trigger == "list" else (make(tasks, "other"),)

    assert len(folders) == (trigger == "create")
    assert not left.parent.exists()


def test_what_only_looks_like_a_leftover_stays(tasks: Tasks, tmp_path: Path) -> None:
    target = precious(tmp_path)
    folder = make(tasks).parent
    for name in (".news.tmp-x", ".news", "tmp-0123abcd", ".News.tmp-0123abcd"):
        (folder / name).mkdir()
    (folder / ".link.tmp-0123abcd").symlink_to(target)
    before = names(folder)

    tasks.list()
    make(tasks, "other")

    assert names(folder) == sorted([*before, "other"])
    assert names(target) == ["file"]


def test_what_is_being_built_is_no_leftover(tasks: Tasks, tmp_path: Path) -> None:
    make(tasks)
    (tmp_path / "cron_tasks" / ".other.tmp-0123abcd").mkdir()
    file = os.open(tmp_path / "cron_tasks" / ".lock", os.O_RDWR)
    lock(file)
    listing = threading.Thread(target=tasks.list)

    listing.start()
    listing.join(0.2)

    assert listing.is_alive()
    assert (tmp_path / "cron_tasks" / ".other.tmp-0123abcd").exists()
    unlock(file)
    os.close(file)
    listing.join(30)
    assert not (tmp_path / "cron_tasks" / ".other.tmp-0123abcd").exists()


# ── virtual environments ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_virtual_environment_is_made_in_its_place(tmp_path: Path) -> None:
    python = program(tmp_path / "python", 'echo "$PWD $*" > ran; mkdir "$3"')

    folder = Tasks(tmp_path / "cron_tasks", python=python).create("news", title="", description="", providers=CLAUDE, venv=True)

    assert (folder / "ran").read_text() == f"{folder} -m venv .venv\n"
    assert (folder / ".venv").is_dir()


def test_a_virtual_environment_that_fails_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path / "cron_tasks", python=program(tmp_path / "python", "echo trying; echo ensurepip is not available >&2; exit 1"))

    with pytest.raises(TaskError, match=r"ensurepip is not available.*python3-venv"):
        tasks.create("news", title="", description="", providers=CLAUDE, venv=True)

    assert tasks.list() == ()
    assert names(tmp_path / "cron_tasks") == [".lock"]


def test_a_virtual_environment_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")  # open for writing as long as one of the two processes lives
    python = program(tmp_path / "python", f"exec 3> {tmp_path}/alive; echo x >&3; sleep 300 & sleep 300")
    tasks = Tasks(tmp_path / "cron_tasks", python=python, venv_seconds=0.5)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "alive").read_bytes()), daemon=True)
    reader.start()

    with pytest.raises(TaskError, match=r"took longer than 0\.5 seconds"):
        tasks.create("news", title="", description="", providers=CLAUDE, venv=True)

    reader.join(30)
    assert read == [b"x\n"]
    assert tasks.list() == ()


def test_a_real_python_makes_a_real_environment(tmp_path: Path) -> None:
    slim = program(tmp_path / "python", f'exec {sys.executable} "$@" --without-pip')

    folder = Tasks(tmp_path / "cron_tasks", python=slim).create("news", title="", description="", providers=CLAUDE, venv=True)

    assert str(folder) in (folder / ".venv" / "bin" / "activate").read_text()


# ── finding, listing, deleting ──────────────────────────────────────────────────────────────────────────────────────


def test_only_real_folders_with_a_name_of_a_task_are_listed(tasks: Tasks, tmp_path: Path) -> None:
    folder = make(tasks).parent
    make(tasks, "a-1_b")
    (folder / "link").symlink_to(precious(tmp_path))
    (folder / "CLAUDE.md").write_text("rules")
    for name in ("My task", ".git", "con"):
        (folder / name).mkdir()

    assert tasks.list() == (TaskFolder("a-1_b", folder / "a-1_b"), TaskFolder("news", folder / "news"))


def test_without_the_folder_there_are_no_tasks(tmp_path: Path) -> None:
    assert Tasks(tmp_path / "missing").list() == ()


def test_a_name_without_a_folder_is_an_error_for_people(tasks: Tasks) -> None:
    for act in (tasks.path, tasks.delete):
        with pytest.raises(TaskError, match='There is no task folder "news"'):
            act("news")


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_none_is_refused_everywhere(tasks: Tasks, tmp_path: Path, name: str) -> None:
    before = precious(tmp_path)

    for act in (tasks.path, tasks.delete, lambda bad: make(tasks, bad)):
        with pytest.raises(TaskError, match="cannot be the name of a task folder"):
            act(name)

    assert names(tmp_path) == ["precious"]
    assert names(before) == ["file"]


def swaps(folder: Path, target: Path) -> Iterator[tuple[str, Path]]:
    """Everything that can stand where a task folder should."""
    aims = {"out": target, "inside": folder / "real", "self": folder / "self", "dead": folder / "nothing", "up": folder}
    for name, aim in aims.items():
        (folder / name).symlink_to(aim)
        yield name, folder / name
    (folder / "file").write_text("")
    yield "file", folder / "file"


def test_a_link_in_place_of_a_folder_is_neither_opened_nor_deleted(tasks: Tasks, tmp_path: Path) -> None:
    target = precious(tmp_path)
    folder = make(tasks, "real").parent

    for name, path in swaps(folder, target):
        for act in (tasks.path, tasks.delete):
            with pytest.raises(TaskError):
                act(name)
        assert os.path.lexists(path)

    assert names(target) == ["file"]
    assert tasks.path("real").is_dir()


def test_deleting_erases_links_in_the_folder_but_not_what_they_point_to(tasks: Tasks, tmp_path: Path) -> None:
    target = precious(tmp_path)
    folder = make(tasks)
    (folder / "scripts" / "link").symlink_to(target)
    (folder / "file").symlink_to(target / "file")

    tasks.delete("news")

    assert not folder.exists()
    assert (target / "file").read_text() == "keep me"
    assert names(folder.parent) == [".lock"]


def test_the_folder_of_all_tasks_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cron_tasks").symlink_to(tmp_path / "disk")
    tasks = Tasks(tmp_path / "cron_tasks")

    folder = make(tasks)

    assert folder == (tmp_path / "disk" / "news").resolve()
    tasks.delete("news")
    assert tasks.list() == ()


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Morning news", "morning-news"),
        ("  Weather in Zürich – daily!  ", "weather-in-zurich-daily"),
        ("Straße", "strasse"),
        ("Погода", "task"),
        ("../../etc/passwd", "etc-passwd"),
        ("con", "task-con"),
        ("", "task"),
        ("x" * 300, "x" * 58),
    ],
)
def test_a_title_suggests_a_name(tasks: Tasks, title: str, name: str) -> None:
    assert tasks.name_for(title) == name


def test_a_name_that_is_taken_gets_a_number(tasks: Tasks) -> None:
    made = [make(tasks, tasks.name_for("News")).name for _ in range(3)]

    assert made == ["news", "news-2", "news-3"]


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text("abcon-_.0/1", max_size=70))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve() / "cron_tasks"
        tasks = Tasks(folder)
        suggested = tasks.name_for(name)

        assert valid(suggested)
        try:
            made = make(tasks, name)
        except TaskError:
            assert not valid(name)
            assert names(Path(place)) == []
        else:
            assert (made.parent, made.name) == (folder, name)
            tasks.delete(name)
            assert names(folder) == [".lock"]
