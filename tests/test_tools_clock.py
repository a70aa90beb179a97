"""The time is told for the user, wherever it is asked for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ductor_lib.errors import DuctorError
from ductor_lib.tools.clock import PLACES, moments, user_zone
from ductor_lib.tools.faults import Unusable

NOW = datetime(2026, 7, 31, 22, 30, 5, tzinfo=UTC)


def config(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def zone(path: Path, *, tz: str = "Asia/Tokyo") -> tuple[str, str]:
    found, note = user_zone(path, environ={"TZ": tz}, etc=path.parent)
    return found.key, note


def test_the_users_time_comes_first_then_what_was_asked_for_then_common_places(tmp_path: Path) -> None:
    user, _ = user_zone(config(tmp_path, 'user_timezone = "Europe/Berlin"'))

    first, second, *others = moments(NOW, user, zones=["Asia/Kathmandu"])

    assert (first.place, first.zone, first.iso, first.weekday) == ("user", "Europe/Berlin", "2026-08-01T00:30:05+02:00", "Saturday")
    assert (second.place, second.offset) == ("Asia/Kathmandu", "+05:45")
    assert [(each.place, each.zone) for each in others] == list(PLACES)
    assert {datetime.fromisoformat(each.iso) for each in (first, second, *others)} == {NOW}


def test_no_other_setting_is_needed_and_no_mistake_in_one_counts(tmp_path: Path) -> None:
    path = config(tmp_path, 'user_timezone = "Europe/Berlin"\nmodel = 7\n')

    assert zone(path) == ("Europe/Berlin", "")


def test_an_empty_setting_means_the_machines_zone_and_needs_no_note(tmp_path: Path) -> None:
    assert zone(config(tmp_path, "")) == ("Asia/Tokyo", "")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('user_timezone = "Europe/Berln"', 'user_timezone: "Europe/Berln" is no time zone; must be a name such as "Europe/Berlin"'),
        ("user_timezone = 1", "user_timezone must be a text in quotes"),
        ("user_timezone = ", "is not valid TOML"),
        ("\0", "is not valid TOML"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_the_machines_zone_taken(tmp_path: Path, text: str, note: str) -> None:
    found, said = zone(config(tmp_path, text))

    assert found == "Asia/Tokyo"
    assert note in said
    assert said.endswith("the machine's time zone is taken")


def test_a_file_that_is_missing_or_out_of_reach_is_named(tmp_path: Path) -> None:
    missing, unreadable = zone(tmp_path / "config.toml"), zone(tmp_path)

    assert missing == ("Asia/Tokyo", f"there is no {tmp_path}/config.toml; the machine's time zone is taken")
    assert unreadable[0] == "Asia/Tokyo"
    assert f"{tmp_path} cannot be read here" in unreadable[1]


def test_without_any_zone_it_is_utc(tmp_path: Path) -> None:
    assert zone(tmp_path / "config.toml", tz="")[0] == "UTC"


@pytest.mark.parametrize(
    ("name", "near"),
    [("tokyo", "Asia/Tokyo"), ("new york", "America/New_York"), ("Europe/Berln", "Europe/Berlin"), ("?", "Europe/Berlin")],
)
def test_a_zone_that_is_none_is_answered_with_one_that_may_be_meant(name: str, near: str) -> None:
    with pytest.raises(Unusable, match=rf"no such time zone\. Names are such as .*{near}"):
        moments(NOW, user_zone(Path(os.devnull))[0], zones=[name])


@pytest.mark.parametrize("name", ["", "..", "/etc/passwd", "Europe", "\0"])
def test_no_name_of_a_zone_leads_to_another_file(name: str) -> None:
    with pytest.raises(DuctorError, match="no such time zone"):
        moments(NOW, user_zone(Path(os.devnull))[0], zones=[name])
