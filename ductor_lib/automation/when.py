"""Read "tomorrow 9:00 call the bank": the moment, and the words that are left. What is not understood is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ductor_lib.automation.schedule import instants
from ductor_lib.errors import DuctorError

FORMS = (
    "Write 2h, 1h30m, in 10 min, 2 days, 18:30, tomorrow 9:00, friday 18:30, 24.12. 18:00 or 2026-12-01 9:00, "
    "and then what to say."
)
YEARS = 10  # nobody keeps a reminder for longer
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
UNITS = {
    "w": r"w(?:eeks?)?", "d": r"d(?:ays?)?", "h": r"h(?:(?:ou)?rs?)?", "m": r"m(?:in(?:ute)?s?)?", "s": r"s(?:ec(?:ond)?s?)?",
}  # fmt: skip
NO_LETTER = r"(?![^\W\d_])"  # "2 dogs" are not two days
END = r"(?=[\s,;:]|$)"
ONE = rf"(\d{{1,5}})\s*({'|'.join(UNITS.values())}){NO_LETTER}"
AMOUNT = re.compile(ONE, re.IGNORECASE)
SPAN = re.compile(rf"(?:in\s+)?(?P<amounts>{ONE}(?:\s*{ONE})*){END}", re.IGNORECASE)
DAY = (
    r"(?P<word>today|tomorrow)|(?P<weekday>" + "|".join(f"{name}|{name[:3]}" for name in WEEKDAYS) + ")"
    r"|(?P<iso>\d{4}-\d{1,2}-\d{1,2})|(?P<dotted>\d{1,2}\.\d{1,2}\.?(?:\d{4})?)"
)
CLOCK = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2})\s*(?P<half>[ap]m)?|\s*(?P<halved>[ap]m))"
MOMENT = re.compile(rf"(?:(?:on\s+)?(?:{DAY})[\s,T]+)?(?:at\s+)?{CLOCK}{END}", re.IGNORECASE)


class WhenError(DuctorError):
    """The words name no moment to come; the text says which forms are understood."""


def parse_when(text: str, now: datetime, zone: ZoneInfo) -> tuple[datetime, str]:
    """The moment that `text` begins with, in `zone`, and the rest of the text, which may be empty.

    Hours and minutes count as time that passes, days and weeks by the calendar: "1d" is the same time tomorrow. Of a
    time that the clocks show twice it is the next one; a time that they skip is the end of the gap, as for jobs.
    Raises WhenError for anything else, and for moments that are past or more than ten years away.
    """
    words = re.sub(r"^in\s+an?\s+", "in 1 ", text.strip(), flags=re.IGNORECASE)
    if span := SPAN.match(words):
        moment, end = _later(span["amounts"], now, zone), span.end()
    elif named := MOMENT.match(words):
        moment, end = _named(named, now, zone), named.end()
    else:
        raise WhenError(f"I do not see when. {FORMS}")
    return moment.astimezone(zone), words[end:].strip(" \t\n,;:")


def _later(amounts: str, now: datetime, zone: ZoneInfo) -> datetime:
    total = dict.fromkeys(UNITS, 0)
    for number, unit in AMOUNT.findall(amounts):
        total[unit[0].lower()] += int(number)
    days = timedelta(weeks=total["w"], days=total["d"])
    passing = timedelta(hours=total["h"], minutes=total["m"], seconds=total["s"])
    if days + passing > timedelta(days=366 * YEARS):
        raise WhenError(f"That is more than {YEARS} years away. {FORMS}")
    start = now.replace(microsecond=0)
    if days:
        wall = start.astimezone(zone).replace(tzinfo=None, fold=0) + days
        start = instants(wall, zone)[0]
    moment = start.astimezone(UTC) + passing
    if moment <= now:
        raise WhenError(f"That is now, not later. {FORMS}")
    return moment


def _named(found: re.Match[str], now: datetime, zone: ZoneInfo) -> datetime:
    clock = _clock(found)
    today = now.astimezone(zone).date()
    days = [day for day in _days(found, today) if abs(day.year - today.year) <= YEARS]
    if not days:
        raise WhenError(f"There is no such date in the next {YEARS} years. {FORMS}")
    for day in days:
        for moment in instants(datetime.combine(day, clock), zone):
            if moment > now:
                return moment
    raise WhenError(f"{days[-1]} {clock:%H:%M} is in the past. {FORMS}")


def _clock(found: re.Match[str]) -> time:
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    half = (found["half"] or found["halved"] or "").lower()
    if half and not 1 <= hour <= 12:
        raise WhenError(f"There is no {hour} {half}. {FORMS}")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        return time(hour, minute)
    except ValueError:
        raise WhenError(f"There is no time {hour}:{minute:02}. {FORMS}") from None


def _days(found: re.Match[str], today: date) -> Iterator[date]:
    """The days that may be meant, the nearest first."""
    if found["iso"]:
        year, month, day = map(int, found["iso"].split("-"))
        yield from _dates([year], month, day)
    elif found["dotted"]:
        day, month, *rest = map(int, filter(None, found["dotted"].split(".")))
        yield from _dates(rest or range(today.year, today.year + YEARS), month, day)
    elif found["weekday"]:
        wanted = next(number for number, name in enumerate(WEEKDAYS) if name.startswith(found["weekday"].lower()))
        nearest = today + timedelta(days=(wanted - today.weekday()) % 7)
        yield from (nearest, nearest + timedelta(days=7))
    else:
        word = (found["word"] or "").lower()
        yield from {"today": [today], "tomorrow": [today + timedelta(days=1)], "": [today, today + timedelta(days=1)]}[word]


def _dates(years: range | list[int], month: int, day: int) -> Iterator[date]:
    for year in years:
        try:
            yield date(year, month, day)
        except ValueError:  # 29.2. of most years, 31.11. of all
            continue
