"""Skills are shared by links, and nothing that somebody else made is ever changed."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.workspace.skills import Changes, Skills, link, same

SHIPPED = Path("ductor_lib", "home", "workspace", "skills")
REAL = Path(__file__).parent.parent / SHIPPED


class World:
    """A machine with a ductor home, a user with both CLIs, and a program with bundled skills."""

    def __init__(self, folder: Path) -> None:
        self.user = folder / "user"
        self.ductor = folder / "workspace" / "skills"
        self.claude = self.user / ".claude" / "skills"
        self.codex = self.user / ".codex" / "skills"
        self.bundled = folder / "program" / SHIPPED
        self.outside = folder / "outside"
        self.places = (self.ductor, self.claude, self.codex)
        for path in (*self.places, self.bundled, self.outside):
            path.mkdir(parents=True)
        self.skills = self.make()

    def make(self, environment: Mapping[str, str] | None = None) -> Skills:
        return Skills(self.ductor, self.bundled, environment=environment or {}, home=self.user)


def skill(folder: Path, name: str) -> Path:
    """A real skill in that folder."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "SKILL.md").write_text(f"from {folder}")
    return path


def tree(folder: Path) -> dict[str, str | bytes]:
    """Everything below: where a link points, what a file holds; a directory is "/"."""
    found: dict[str, str | bytes] = {}
    for path in sorted(folder.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = os.readlink(path) if path.is_symlink() else path.read_bytes() if is_file else "/"
    return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("home", [0, 1, 2], ids=["ductor", "claude", "codex"])
def test_a_skill_in_one_place_can_be_reached_in_all(world: World, home: int) -> None:
    path = skill(world.places[home], "weather")

    changes = world.skills.sync()

    assert changes == Changes(linked=2)
    assert {(place / "weather").resolve() for place in world.places} == {path}
    assert world.skills.sync() == Changes()


def test_a_cli_without_a_home_gets_none(world: World) -> None:
    world.codex.rmdir()
    world.codex.parent.rmdir()
    skill(world.ductor, "weather")

    world.skills.sync()

    assert (world.claude / "weather").exists()
    assert not world.codex.parent.exists()


def test_a_home_without_a_folder_of_skills_gets_one_when_there_is_something_to_link(world: World) -> None:
    world.claude.rmdir()
    world.skills.sync()
    before = world.claude.exists()
    skill(world.codex, "weather")

    world.skills.sync()

    assert not before
    assert (world.claude / "weather" / "SKILL.md").exists()


def test_the_homes_of_the_clis_may_be_elsewhere(world: World, tmp_path: Path) -> None:
    elsewhere = {"CLAUDE_CONFIG_DIR": str(tmp_path / "c"), "CODEX_HOME": str(tmp_path / "x")}
    for folder in elsewhere.values():
        Path(folder).mkdir()
    skill(world.ductor, "weather")

    world.make(elsewhere).sync()

    assert (tmp_path / "c" / "skills" / "weather").exists()
    assert (tmp_path / "x" / "skills" / "weather").exists()
    assert tree(world.user) == {".claude": "/", ".claude/skills": "/", ".codex": "/", ".codex/skills": "/"}


def test_the_workspace_goes_before_claude_and_claude_before_codex(world: World) -> None:
    first = skill(world.ductor, "both"), skill(world.claude, "pair")
    second = skill(world.claude, "both"), skill(world.codex, "pair")

    world.skills.sync()

    assert (world.codex / "both").resolve() == first[0]
    assert (world.ductor / "pair").resolve() == first[1]
    assert not any(path.is_symlink() for path in (*first, *second))


def test_a_link_turns_to_a_better_source(world: World) -> None:
    skill(world.codex, "weather")
    world.skills.sync()
    (world.ductor / "weather").unlink()
    path = skill(world.ductor, "weather")

    changes = world.skills.sync()

    assert changes == Changes(retargeted=1)
    assert (world.claude / "weather").resolve() == path


def test_links_to_a_skill_that_is_gone_are_removed(world: World) -> None:
    path = skill(world.claude, "weather")
    world.skills.sync()
    path.rename(world.outside / "weather")

    changes = world.skills.sync()

    assert changes == Changes(removed=2)
    assert [list(place.iterdir()) for place in world.places] == [[], [], []]


def test_somebodys_link_to_a_directory_is_shared_and_stays(world: World) -> None:
    path = skill(world.outside, "dotfile")
    (world.claude / "mine").symlink_to(path)

    world.skills.sync()
    world.skills.remove()
    world.skills.sync()

    assert os.readlink(world.claude / "mine") == str(path)
    assert (world.ductor / "mine").resolve() == (world.codex / "mine").resolve() == path


def test_another_name_for_a_shared_skill_is_left_alone(world: World) -> None:
    skill(world.claude, "weather")
    (world.claude / "alias").symlink_to("weather")

    world.skills.sync()
    world.skills.remove()

    assert os.readlink(world.claude / "alias") == "weather"
    assert list(world.ductor.iterdir()) == list(world.codex.iterdir()) == []


def test_a_link_to_a_folder_that_holds_everything_is_not_handed_on(world: World) -> None:
    (world.claude / "all").symlink_to(world.user)
    (world.claude / "self").symlink_to(world.claude)

    world.skills.sync()

    assert list(world.ductor.iterdir()) == list(world.codex.iterdir()) == []


def test_links_in_a_circle_and_into_nothing_harm_nobody(world: World) -> None:
    (world.ductor / "round").symlink_to(world.claude / "round")
    (world.claude / "round").symlink_to(world.codex / "round")
    (world.codex / "round").symlink_to(world.ductor / "round")
    (world.codex / "self").symlink_to("self")
    (world.claude / "there").symlink_to("back")
    (world.claude / "back").symlink_to("there")
    (world.claude / "dead").symlink_to(world.outside / "nothing")

    changes = world.skills.sync()

    assert changes == Changes(removed=4)
    assert sorted(path.name for place in world.places for path in place.iterdir()) == ["back", "dead", "there"]


@pytest.mark.parametrize("name", [".claude", ".system", ".git", ".venv", ".x", "__pycache__", "node_modules"])
def test_some_names_are_no_skills(world: World, name: str) -> None:
    for place in (world.claude, world.bundled):
        skill(place, name)

    assert world.skills.sync() == Changes()


def test_names_that_differ_in_case_only_are_one_name(world: World) -> None:
    best = skill(world.ductor, "weather")
    other = skill(world.claude, "Weather")

    changes = world.skills.sync()

    assert changes == Changes(linked=1)
    assert (world.codex / "weather").resolve() == best
    assert list(world.claude.iterdir()) == [other]


def test_a_link_takes_over_the_case_of_a_better_source(world: World) -> None:
    skill(world.codex, "Weather")
    world.skills.sync()
    (world.ductor / "Weather").unlink()
    skill(world.ductor, "weather")

    world.skills.sync()

    assert [path.name for path in world.claude.iterdir()] == ["weather"]


def test_a_file_in_the_way_stays_and_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    skill(world.ductor, "weather")
    (world.claude / "weather").write_text("mine")

    changes = [world.skills.sync() for _ in range(3)]

    assert changes == [Changes(linked=1, failed=1), Changes(failed=1), Changes(failed=1)]
    assert (world.claude / "weather").read_text() == "mine"
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_is_in_the_way_again_is_told_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    skill(world.ductor, "weather")
    for _ in range(2):
        (world.claude / "weather").write_text("mine")
        world.skills.sync()
        (world.claude / "weather").unlink()
        world.skills.sync()
        (world.claude / "weather").unlink()

    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_a_file_instead_of_the_folder_is_told_once_for_all_skills(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.claude.rmdir()
    world.claude.write_text("a file")
    for number in range(20):
        skill(world.ductor, f"skill-{number}")

    changes = [world.skills.sync(), world.skills.sync()]

    assert changes == [Changes(linked=20, failed=20), Changes(failed=20)]
    assert len(caplog.records) == 1
    assert (world.codex / "skill-7").exists()


def test_links_into_a_folder_that_cannot_be_read_are_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    skill(world.claude, "weather")
    world.skills.sync()
    world.claude.rename(world.outside / "skills")
    world.claude.symlink_to("skills")  # a link to itself: reading it fails for everybody, root too

    changes = world.skills.sync()

    assert changes == Changes()
    assert (world.codex / "weather").is_symlink()
    assert len(caplog.records) == 1


def test_a_link_that_is_refused_is_told_once_and_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def refused(target: str, place: str) -> None:
        raise PermissionError(13, "Permission denied", place)

    skills = Skills(world.ductor, world.bundled, environment={}, home=world.user, link=refused)
    for number in range(3):
        skill(world.ductor, f"skill-{number}")

    changes = [skills.sync(), skills.sync()]

    assert changes == [Changes(failed=6)] * 2
    assert len(caplog.records) == 2  # a line per folder
    assert world.skills.sync() == Changes(linked=6)


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are always text there")
def test_a_name_that_is_not_text_is_shared_too(world: World) -> None:
    path = skill(world.claude, os.fsdecode(b"caf\xe9"))

    changes = world.skills.sync()

    assert changes == Changes(linked=2)
    assert (world.codex / path.name / "SKILL.md").exists()


def test_one_folder_under_two_names_is_one_place(world: World) -> None:
    world.codex.rmdir()
    world.codex.symlink_to(world.claude)
    skill(world.ductor, "weather")
    skill(world.codex, "music")

    changes = [world.skills.sync(), world.skills.sync()]

    assert changes == [Changes(linked=2), Changes()]
    world.skills.remove()
    assert tree(world.claude) == {"music": "/", "music/SKILL.md": (world.codex / "music" / "SKILL.md").read_bytes()}


# ── skills that come with the program ───────────────────────────────────────────────────────────────────────────────


def test_bundled_skills_are_linked_through_the_workspace(world: World) -> None:
    path = skill(world.bundled, "creator")
    (world.bundled / "RULES.md").write_text("a file is no skill")

    changes = world.skills.sync()

    assert changes == Changes(linked=3)
    assert os.readlink(world.ductor / "creator") == str(path)
    assert os.readlink(world.codex / "creator") == str(world.ductor / "creator")


def test_the_users_own_skill_wins_over_a_bundled_one(world: World) -> None:
    skill(world.bundled, "creator")
    world.skills.sync()
    (world.ductor / "creator").unlink()
    path = skill(world.ductor, "creator")

    world.skills.sync()

    assert not path.is_symlink()
    assert (world.claude / "creator").resolve() == path


def test_a_bundled_skill_goes_before_one_of_a_cli(world: World) -> None:
    path = skill(world.bundled, "creator")
    skill(world.claude, "creator")

    world.skills.sync()

    assert (world.ductor / "creator").resolve() == (world.codex / "creator").resolve() == path
    assert not (world.claude / "creator").is_symlink()


@pytest.mark.parametrize("still_there", [True, False])
def test_links_of_a_program_that_has_moved_are_re_targeted(world: World, tmp_path: Path, still_there: bool) -> None:
    former = tmp_path / "former" / SHIPPED
    for name in ("creator", "dropped"):
        (world.ductor / name).symlink_to(former / name)
        if still_there:
            skill(former, name)
    path = skill(world.bundled, "creator")

    changes = world.skills.sync()

    assert changes == Changes(linked=2, retargeted=1, removed=1)
    assert os.readlink(world.ductor / "creator") == str(path)


@pytest.mark.parametrize("name", [path.name for path in REAL.iterdir() if path.is_dir()])
def test_a_bundled_skill_says_its_name_and_when_it_applies(name: str) -> None:
    text = (REAL / name / "SKILL.md").read_text(encoding="utf-8")

    head, body = text.removeprefix("---\n").split("\n---\n", 1)

    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert fields["name"] == name
    assert 80 < len(fields["description"]) <= 1024  # the format's limit is 1024
    assert ": " not in fields["description"]  # YAML would take it for a key
    assert "when" in fields["description"].lower()
    assert len(body.splitlines()) < 150


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_our_links_go_at_the_end_and_come_back_at_the_next_start(world: World, tmp_path: Path) -> None:
    skill(world.bundled, "creator")
    for place in world.places:
        skill(place, f"of-{place.parent.name}")
    before = tree(tmp_path)

    world.skills.sync()
    linked = tree(tmp_path)
    world.skills.remove()

    assert tree(tmp_path) == before
    world.make().sync()
    assert tree(tmp_path) == linked


def test_what_a_killed_run_left_is_removed_by_the_next(world: World, tmp_path: Path) -> None:
    skill(world.claude, "weather")
    before = tree(tmp_path)
    world.skills.sync()

    world.make().remove()

    assert tree(tmp_path) == before


# ── Windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def not_permitted(target: str, place: str, is_folder: bool) -> None:
    error = OSError(22, "A required privilege is not held by the client", place)
    error.winerror = 1314  # type: ignore[attr-defined,unused-ignore]
    raise error


def program(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "mklink"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path), "/J"


def test_where_symbolic_links_are_not_permitted_a_junction_is_made(world: World, tmp_path: Path) -> None:
    mklink = program(tmp_path, '[ "$1" = /J ] && ln -s "$3" "$2"')
    skills = Skills(
        world.ductor, world.bundled, environment={}, home=world.user, link=partial(link, symlink=not_permitted, mklink=mklink)
    )  # fmt: skip
    path = skill(world.ductor, "two words")

    changes = skills.sync()

    assert changes == Changes(linked=2)
    assert (world.claude / "two words").resolve() == path


def test_a_junction_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    mklink = program(tmp_path, "exit 1")

    with pytest.raises(OSError, match="mklink did not make"):
        link(str(tmp_path), str(tmp_path / "place"), symlink=not_permitted, mklink=mklink)


@pytest.mark.parametrize("name", ["a&calc", "%PATH%", 'a"b', "a^b"])
def test_a_name_that_the_windows_shell_would_read_never_gets_there(tmp_path: Path, name: str) -> None:
    mklink = program(tmp_path, f"touch {tmp_path}/ran")

    with pytest.raises(OSError, match="a junction cannot"):
        link(str(tmp_path / name), str(tmp_path / "place"), symlink=not_permitted, mklink=mklink)

    assert not (tmp_path / "ran").exists()


def test_any_other_trouble_with_a_link_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link(str(tmp_path), str(tmp_path / "missing" / "place"), mklink=("false",))


# ── any tree ────────────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["a", "b", "A", ".hidden", "node_modules"])
PLACE = st.integers(0, 2)
WHAT = st.one_of(
    st.sampled_from(["skill", "file", "outside", "dead", "former", "bundled", "self", "relative", "above"]),
    st.tuples(PLACE, NAMES),
)
TREES = st.dictionaries(st.tuples(PLACE, NAMES), WHAT, max_size=12)


def build(world: World, entries: Mapping[tuple[int, str], str | tuple[int, str]]) -> None:
    for (place, name), what in entries.items():
        path = world.places[place] / name
        links = {
            "outside": world.outside / "skill", "dead": world.outside / "nothing", "bundled": world.bundled / name, "self": path,
            "former": world.outside / SHIPPED / name, "relative": Path("..", "skills", "b"), "above": world.user,
        }  # fmt: skip
        if what == "skill":
            skill(world.places[place], name)
        elif what == "file":
            path.write_text("a file")
        else:
            path.symlink_to(links[what] if isinstance(what, str) else world.places[what[0]] / what[1])


def is_ours(world: World, path: Path) -> bool:
    """The rule once more, in other words: a visible link called like what it points to, in one of the four folders."""
    if not path.is_symlink() or path.name.startswith(".") or path.name == "node_modules":
        return False
    target = Path(os.path.normpath(path.parent / os.readlink(path)))
    former = path.parent == world.ductor and target.parent == world.outside / SHIPPED
    return (target.parent in (*world.places, world.bundled) or former) and same(target.name) == same(path.name)


@settings(max_examples=200, deadline=None)
@given(TREES, st.sets(st.sampled_from(["a", "b"])))
def test_whatever_lies_there_only_our_links_change(entries: Mapping[tuple[int, str], str | tuple[int, str]], bundled: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder).resolve())
        skill(world.outside, "skill")
        for name in bundled:
            skill(world.bundled, name)
        build(world, entries)
        root = world.user.parent
        theirs = {name: what for name, what in tree(root).items() if not is_ours(world, root / name)}

        world.skills.sync()
        linked = tree(root)
        again = world.skills.sync()

        assert theirs.items() <= linked.items()
        assert all(is_ours(world, root / name) and (root / name).is_dir() for name in linked.keys() - theirs.keys())
        assert (again.linked, again.retargeted, again.removed) == (0, 0, 0)
        assert tree(root) == linked
        for (place, name), what in entries.items():
            if what == "skill" and not name.startswith(".") and name != "node_modules":
                assert all(same(name) in map(same, os.listdir(other)) for other in world.places), (place, name)
        world.skills.remove()
        assert tree(root) == theirs


def test_two_hundred_skills_take_no_time(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for number in range(200):
        skill(world.places[number % 3], f"skill-{number}")
    world.skills.sync()

    times = []
    for _ in range(5):
        begun = time.perf_counter()
        changes = world.skills.sync()
        times.append(time.perf_counter() - begun)

    assert changes == Changes()
    assert min(times) < 0.1
    assert [record.getMessage() for record in caplog.records] == ["skills synced linked=400 retargeted=0 removed=0"]
