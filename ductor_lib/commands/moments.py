"""Moments as people say them, in the zone of the moment."""

from __future__ import annotations

from datetime import datetime

from ductor_lib.orchestrator.words import age

NEAR = {-1: "yesterday", 0: "today", 1: "tomorrow"}
WEEK = range(2, 7)  # days from today that their weekday names without a doubt


def said(moment: datetime, now: datetime) -> str:
    """In few letters: "today 18:00", "Mon 09:00", "24 Dec 09:00", "24 Dec 2031 09:00". Both are aware."""
    today = now.astimezone(moment.tzinfo).date()
    days = (moment.date() - today).days
    day = NEAR.get(days) or (f"{moment:%a}" if days in WEEK else _date(moment, today.year))
    return f"{day} {moment:%H:%M}"


def announced(moment: datetime, now: datetime) -> str:
    """In full, for somebody who has just asked for it: "Thursday 27 Nov 09:00 (in 14 h)". Both are aware."""
    year = now.astimezone(moment.tzinfo).year
    return f"{moment:%A} {_date(moment, year)} {moment:%H:%M} (in {age(moment.timestamp() - now.timestamp())})"


def _date(moment: datetime, this_year: int) -> str:
    return f"{moment.day} {moment:%b}" + ("" if moment.year == this_year else f" {moment.year}")
