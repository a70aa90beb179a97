"""Moments as people say them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ductor_lib.commands.moments import announced, said

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 19, 0, tzinfo=BERLIN)  # a Thursday


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2026, 11, 26, 23, 5), "today 23:05"), (datetime(2026, 11, 27, 0, 0), "tomorrow 00:00"),
        (datetime(2026, 11, 25, 9, 0), "yesterday 09:00"), (datetime(2026, 11, 30, 9, 0), "Mon 09:00"),
        (datetime(2026, 12, 2, 9, 0), "Wed 09:00"), (datetime(2026, 12, 3, 9, 0), "3 Dec 09:00"),
        (datetime(2026, 11, 24, 9, 0), "24 Nov 09:00"), (datetime(2027, 1, 1, 0, 0), "1 Jan 2027 00:00"),
    ],
)  # fmt: skip
def test_a_moment_is_named_by_its_day_as_seen_from_today(moment: datetime, words: str) -> None:
    assert said(moment.replace(tzinfo=BERLIN), NOW) == words


def test_today_is_that_of_the_zone_of_the_moment() -> None:
    late = datetime(2026, 11, 26, 23, 30, tzinfo=ZoneInfo("UTC"))

    assert said(late.astimezone(BERLIN), datetime(2026, 11, 26, 22, 0, tzinfo=ZoneInfo("UTC"))) == "tomorrow 00:30"


def test_what_was_asked_for_is_announced_in_full_with_the_time_until_then() -> None:
    assert announced(datetime(2026, 11, 27, 9, 0, tzinfo=BERLIN), NOW) == "Friday 27 Nov 09:00 (in 14 h)"
    assert announced(datetime(2027, 3, 28, 9, 0, tzinfo=BERLIN), NOW) == "Sunday 28 Mar 2027 09:00 (in 122 days)"


def test_an_hour_that_is_shown_twice_counts_as_it_passes() -> None:
    before = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)

    assert announced(before.replace(fold=1), before).endswith("(in 60 min)")
