"""The agent's world while the bot runs: made at the start, in order afterwards, and told about where it matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from ductor_lib.app import MOST_LINES
from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile
from ductor_lib.workspace.upkeep import STATE, Upkeep
from tests.fakes import NO_CODEX, Bot


class World:
    """A home, and a person's own with a Claude Code in it."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder / "home")
        self.signed_in = frozenset({"claude"})
        self.time = 0.0
        (folder / ".claude").mkdir()
        self.folder = folder
        self.paths.create()
        self.state = JsonFile(self.paths.state)
        self.upkeep = Upkeep(
            self.paths, self.state, environment={"HOME": str(folder)}, command=("ductor",),
            signed_in=lambda: self.signed_in, clock=lambda: self.time,
        )  # fmt: skip

    def rules(self) -> set[str]:
        return {name for name in ("CLAUDE.md", "AGENTS.md") if (self.paths.workspace / name).exists()}


def test_a_sign_in_brings_its_rules_and_is_remembered_for_the_next_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.upkeep.prepare()
    before = world.rules()

    world.signed_in = frozenset({"claude", "codex"})
    world.upkeep.step()

    assert before == {"CLAUDE.md"}
    assert world.rules() == {"CLAUDE.md", "AGENTS.md"}
    assert world.state.read()[STATE] == ["claude", "codex"]


def test_a_sign_in_whose_rules_could_not_be_written_is_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.upkeep.prepare()
    world.signed_in = frozenset({"claude", "codex"})
    logs = world.paths.log.parent
    logs.rmdir()
    logs.write_text("a file in the way")

    with pytest.raises(FileExistsError):
        world.upkeep.step()
    logs.unlink()
    world.upkeep.step()

    assert world.rules() == {"CLAUDE.md", "AGENTS.md"}
    assert world.state.read()[STATE] == ["claude", "codex"]


def test_skills_are_shared_at_the_start_and_every_half_minute_and_unshared_at_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.upkeep.prepare()
    shared = tmp_path / ".claude" / "skills" / "ductor-skills"
    at_the_start = shared.is_symlink()
    mine = world.paths.skills / "mine"
    mine.mkdir()
    (mine / "SKILL.md").write_text("---\nname: mine\n---\n")

    world.time = 10.0
    world.upkeep.step()
    too_early = (tmp_path / ".claude" / "skills" / "mine").exists()
    world.time = 40.0
    world.upkeep.step()
    in_time = (tmp_path / ".claude" / "skills" / "mine").exists()
    world.upkeep.stop()

    assert (at_the_start, too_early, in_time) == (True, False, True)
    assert not shared.is_symlink()
    assert mine.is_dir()


def test_the_owner_is_told_of_what_an_upgrade_has_moved(tmp_path: Path) -> None:
    older = tmp_path / "home" / "workspace" / "tasks" / "report"
    older.mkdir(parents=True)
    (older / "notes.md").write_text("mine")

    with Bot(tmp_path, codex=NO_CODEX) as bot:
        told = bot.wait_for("About ductor's home")

        assert "workspace/tasks -> workspace/cron_tasks: moved" in told.text
        assert (bot.paths.cron_tasks / "report" / "notes.md").read_text() == "mine"


def test_of_many_moves_the_owner_gets_the_first_and_their_number(tmp_path: Path) -> None:
    for number in range(MOST_LINES + 5):
        (tmp_path / "home" / "workspace" / "tasks" / f"task-{number:02}").mkdir(parents=True)
    (tmp_path / "home" / "workspace" / "cron_tasks").mkdir()

    with Bot(tmp_path, codex=NO_CODEX) as bot:
        told = bot.wait_for("About ductor's home").text

    assert "tasks/task-00 ->" in told
    assert told.count("•") == MOST_LINES + 1
    assert told.endswith("• and 5 more, named in logs/agent.log")
