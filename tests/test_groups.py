"""A group that Telegram upgrades is heard under its new id, also after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from ductor_lib.bot.groups import Groups
from ductor_lib.storage import JsonFile


def test_a_listed_group_is_heard_under_its_new_id_after_a_restart_too(tmp_path: Path) -> None:
    state = JsonFile(tmp_path / "state.json")
    first = Groups([-5], state)
    first.moved(-5, -1005)

    again = Groups([-5], state)

    assert -1005 in first
    assert -1005 in again
    assert -1005 not in Groups([-6], state)


def test_a_stranger_s_group_stays_one_under_any_id(tmp_path: Path) -> None:
    groups = Groups([-5], JsonFile(tmp_path / "state.json"))

    groups.moved(-7, -1007)

    assert -1007 not in groups
    assert not (tmp_path / "state.json").exists()


def test_a_state_file_that_makes_no_sense_adds_nobody(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"migrated": {"-5": "-1005", "x": 3}, "kept": 1}')

    groups = Groups([-5], JsonFile(tmp_path / "state.json"))
    groups.moved(-5, -1005)

    assert -1005 in groups
    assert JsonFile(tmp_path / "state.json").read()["kept"] == 1


def test_a_new_id_that_could_not_be_stored_is_stored_the_next_time(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    groups = Groups([-5], JsonFile(folder / "state.json"))
    with pytest.raises(FileNotFoundError):
        groups.moved(-5, -1005)
    folder.mkdir()

    groups.moved(-5, -1005)

    assert -1005 in Groups([-5], JsonFile(folder / "state.json"))
