"""What people write for a moment is understood, or refused with the forms that are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.automation.when import FORMS, WhenError, parse_when

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 12, 30, 15, 999, tzinfo=BERLIN)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "moment", "rest"),
    [
        ("2h water the plants", "2026-11-25 14:30:15", "water the plants"),
        ("90m tea", "2026-11-25 14:00:15", "tea"),
        ("1h30m tea", "2026-11-25 14:00:15", "tea"),
        ("1 h 30 min: tea", "2026-11-25 14:00:15", "tea"),
        ("45s egg", "2026-11-25 12:31:00", "egg"),
        ("in 2 hours call Anna", "2026-11-25 14:30:15", "call Anna"),
        ("in 10 min", "2026-11-25 12:40:15", ""),
        ("in an hour stretch", "2026-11-25 13:30:15", "stretch"),
        ("In 3 days, 1 hour, dentist", "2026-11-28 12:30:15", "1 hour, dentist"),
        ("2 days dentist", "2026-11-27 12:30:15", "dentist"),
        ("1d 2h dentist", "2026-11-26 14:30:15", "dentist"),
        ("2 weeks tax", "2026-12-09 12:30:15", "tax"),
        ("18:30 cook", "2026-11-25 18:30:00", "cook"),
        ("9:00 cook", "2026-11-26 09:00:00", "cook"),
        ("at 9am cook", "2026-11-26 09:00:00", "cook"),
        ("9:15 pm cook", "2026-11-25 21:15:00", "cook"),
        ("12am sleep", "2026-11-26 00:00:00", "sleep"),
        ("today 23:59 sleep", "2026-11-25 23:59:00", "sleep"),
        ("tomorrow 9:00 call the bank", "2026-11-26 09:00:00", "call the bank"),
        ("Tomorrow at 9:00\ncall\nthe bank", "2026-11-26 09:00:00", "call\nthe bank"),
        ("friday 18:30 beer", "2026-11-27 18:30:00", "beer"),
        ("on Fri 18:30 beer", "2026-11-27 18:30:00", "beer"),
        ("wednesday 13:00 lunch", "2026-11-25 13:00:00", "lunch"),
        ("wednesday 12:00 lunch", "2026-12-02 12:00:00", "lunch"),
        ("2026-12-01 9:00 rent", "2026-12-01 09:00:00", "rent"),
        ("2026-12-01T09:00 rent", "2026-12-01 09:00:00", "rent"),
        ("24.12. 18:00", "2026-12-24 18:00:00", ""),
        ("24.12 18:00 candles", "2026-12-24 18:00:00", "candles"),
        ("1.3. 8:00 spring", "2027-03-01 08:00:00", "spring"),
        ("1.3.2028 8:00 spring", "2028-03-01 08:00:00", "spring"),
        ("29.2. 8:00 leap", "2028-02-29 08:00:00", "leap"),
    ],
)
def test_a_moment_and_what_is_left(text: str, moment: str, rest: str) -> None:
    found, words = parse_when(text, NOW, BERLIN)

    assert (found.strftime("%Y-%m-%d %H:%M:%S"), words) == (moment, rest)
    assert found.tzinfo is BERLIN


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "do not see when"), ("call the bank", "do not see when"), ("2 dogs", "do not see when"), ("in 6 months", "do not see when"),
        ("tomorrow call", "do not see when"), ("9 eggs", "do not see when"), ("2h30", "do not see when"), ("18:305", "do not see when"),
        ("-2h back", "do not see when"), ("today 8:00 breakfast", "is in the past"), ("2026-11-25 12:30 lunch", "is in the past"),
        ("2020-01-01 9:00", "is in the past"), ("0m nothing", "is now"), ("in 0 days", "is now"), ("25:00 x", "no time 25:00"),
        ("9:60 x", "no time 9:60"), ("13pm x", "no 13 pm"), ("0am x", "no 0 am"), ("31.11. 9:00 x", "no such date"),
        ("2026-02-30 9:00", "no such date"),
        ("2099-01-01 9:00", "no such date in the next 10 years"), ("9999-12-31 23:59", "no such date"), ("0001-01-01 9:00", "no such date"),
        ("0000-00-00 9:00", "no such date"), ("99999 weeks later", "10 years away"), ("99999d", "10 years away"),
        ("99999h", "10 years away"), ("99999999h", "do not see"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_forms_that_are_understood(text: str, reason: str) -> None:
    with pytest.raises(WhenError) as caught:
        parse_when(text, NOW, BERLIN)

    assert reason in str(caught.value)
    assert str(caught.value).endswith(FORMS)


def test_every_form_that_a_refusal_names_is_understood() -> None:
    forms = FORMS.removeprefix("Write ").partition(", and then")[0].replace(" or ", ", ").split(", ")

    assert len(forms) == 9
    assert [parse_when(f"{form} tea", NOW, BERLIN)[1] for form in forms] == ["tea"] * 9


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-03-28 12:00", "tomorrow 2:30", "2026-03-29T03:00:00+02:00"),  # skipped: the end of the gap
        ("2026-03-28 02:30", "1d", "2026-03-29T03:00:00+02:00"),
        ("2026-03-28 12:00", "24h", "2026-03-29T13:00:00+02:00"),  # hours pass,
        ("2026-03-28 12:00", "1d", "2026-03-29T12:00:00+02:00"),  # days are those of the calendar
        ("2026-10-24 12:00", "tomorrow 2:30", "2026-10-25T02:30:00+02:00"),  # twice: the first
        ("2026-10-25 02:45", "2:30", "2026-10-25T02:30:00+01:00"),  # the first is past: the second
        ("2026-10-25 02:45", "30m", "2026-10-25T02:15:00+01:00"),
    ],
)
def test_a_moment_on_a_day_when_clocks_are_changed(now: str, text: str, expected: str) -> None:
    moment, _ = parse_when(text, datetime.fromisoformat(now).replace(tzinfo=BERLIN), BERLIN)

    assert moment.isoformat() == expected


DAYS = ["tomorrow", "today", "fri", "24.12.", "29.2", "2026-12-01"]
WORDS = st.sampled_from([*DAYS, "in", "at", "on", "2h", "1", "30", "min", "d", "99999h", "9:00", "23:59", "am", "T", "tea"])


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=6).map(" ".join) | st.text(max_size=20), st.integers(0, 3 * 365 * 24 * 60))
def test_whatever_is_written_is_refused_or_a_moment_to_come(text: str, minutes: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)

    try:
        moment, rest = parse_when(text, now, BERLIN)
    except WhenError:
        return

    assert moment.astimezone(UTC) > now
    assert moment.year <= now.year + 11
    assert text.strip().endswith(rest)
