"""What time it is for the user and elsewhere; it works where the settings cannot be read, and says so."""

from __future__ import annotations

import difflib
import os
import tomllib
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ductor_lib import config
from ductor_lib.errors import ConfigError
from ductor_lib.tools.faults import Unusable

PLACES = (
    ("UTC", "UTC"),
    ("New York", "America/New_York"),
    ("Los Angeles", "America/Los_Angeles"),
    ("London", "Europe/London"),
    ("Berlin", "Europe/Berlin"),
    ("Dubai", "Asia/Dubai"),
    ("Mumbai", "Asia/Kolkata"),
    ("Singapore", "Asia/Singapore"),
    ("Tokyo", "Asia/Tokyo"),
    ("Sydney", "Australia/Sydney"),
)
USER = "user"


@dataclass(frozen=True, slots=True)
class Moment:
    """One row: `iso` is local time with its offset, `weekday` an English word."""

    place: str
    zone: str
    iso: str
    weekday: str
    offset: str


def user_zone(settings: Path, *, environ: Mapping[str, str] = os.environ, etc: Path = Path("/etc")) -> tuple[ZoneInfo, str]:
    """The zone of the user, and a note where it is not the one of config.toml; the note is empty when all is well.

    Only this one setting is read: inside a sandbox the file may be out of reach, and its other mistakes do not count.
    """
    name, note = _setting(settings)
    try:
        return config.timezone(config.defaults(user_timezone=name), environ=environ, etc=etc), note
    except ConfigError as error:
        zone = config.timezone(config.defaults(), environ=environ, etc=etc)
        return zone, f"{settings.name}: {error}; the machine's time zone is taken"


def moments(now: datetime, user: ZoneInfo, *, zones: Iterable[str] = ()) -> tuple[Moment, ...]:
    """The moment `now` (aware) for the user, in the zones asked for, and in common places. Raises Unusable for no zone."""
    asked = [(name, _zone(name)) for name in zones]
    common = [(place, ZoneInfo(name)) for place, name in PLACES]
    return tuple(_moment(place, now.astimezone(zone), zone) for place, zone in ((USER, user), *asked, *common))


def _moment(place: str, there: datetime, zone: ZoneInfo) -> Moment:
    iso = there.isoformat(timespec="seconds")
    return Moment(place, zone.key, iso, f"{there:%A}", iso[19:])


def _setting(path: Path) -> tuple[str, str]:
    """user_timezone as it stands in the file, and a note when it cannot be known."""
    try:
        value = tomllib.loads(path.read_bytes().decode("utf-8-sig")).get("user_timezone", "")
    except FileNotFoundError:
        return "", f"there is no {path}; the machine's time zone is taken"
    except OSError as error:
        return "", f"{path} cannot be read here ({error.strerror}); the machine's time zone is taken"
    except ValueError:  # TOMLDecodeError and UnicodeDecodeError are both
        return "", f"{path} is not valid TOML; the machine's time zone is taken"
    if not isinstance(value, str):
        return "", f"{path}: user_timezone must be a text in quotes; the machine's time zone is taken"
    return value, ""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = sorted(zoneinfo.available_timezones())
        wanted = name.replace(" ", "_").lower()
        inside = [zone for zone in known if wanted and wanted in zone.lower()]  # "tokyo" is meant for Asia/Tokyo
        near = (inside or difflib.get_close_matches(name, known, 3))[:3]
        raise Unusable(f'--zone {name}: no such time zone. Names are such as {", ".join(near or ["Europe/Berlin"])}.') from None
