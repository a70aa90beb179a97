"""Read `config.toml` into settings: every mistake is named with its line and what would be accepted, all of them at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from ductor_lib.config_keys import KEYS, SECTIONS, Key, Settings
from ductor_lib.errors import ConfigError
from ductor_lib.logs import redact

__all__ = ["Settings", "agents_parallel", "defaults", "load", "timezone"]

BYTES_PER_AGENT = 400 * 1024 * 1024  # a Claude process after some turns, with a tool or two
DEMO_TOKEN = "10000:not-a-token-of-any-real-bot-at-all"
EXAMPLE = (
    'telegram_token = "123456789:AAE..."     # from @BotFather: /newbot',
    "allowed_user_ids = [123456789]          # your number: ask @userinfobot",
    'model = "opus"                          # or "sonnet", "haiku"',
)
REQUIRED = {
    "telegram_token": "is missing; talk to @BotFather in Telegram, send /newbot, and copy the token here",
    "allowed_user_ids": "is empty; add your Telegram number, @userinfobot tells it: [123456789]",
}
IDLE = ("docker.",)  # known, but nothing acts on them yet
BY_NAME = {key.name: key for key in KEYS}
Tree = Mapping[str, object]


def load(path: Path, *, state: Tree | None = None) -> Settings:
    """The settings of `path`, with the choices in `state` (same shape as the file) laid over them.

    Raises ConfigError with one line per mistake: `config.toml line 3: key: what is wrong, accepted values`. Unknown
    keys of the file, and values in `state` that do not fit, are ignored and named in `Settings.warnings`.
    """
    text = _read(path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax(path, text, str(error))]) from None
    values, mistakes = _check(tree)
    mistakes |= {name: wrong for name, wrong in REQUIRED.items() if name not in mistakes and not values.get(name)}
    mistakes |= _together(values, mistakes)
    if mistakes:
        places = sorted((_line(text, name), name) for name in mistakes)
        raise ConfigError([f"{path.name}{f' line {line}' if line else ''}: {name}: {mistakes[name]}" for line, name in places])
    warnings = [f"{path.name} line {_line(text, name)}: {name}: unknown key, ignored{_nearest(name)}" for name in _unknown(tree)]
    warnings += [f"{path.name} line {_line(text, name)}: {name}: has no effect in this version" for name in values if name.startswith(IDLE)]
    chosen, unusable = _check(state or {})
    warnings += [f"state.json: {name}: {wrong}; ignored" for name, wrong in unusable.items()]
    return _build(values | chosen, tuple(warnings))


def defaults(*, telegram_token: str = DEMO_TOKEN, allowed_user_ids: tuple[int, ...] = (42,), **overrides: object) -> Settings:
    """Settings without a file, as the demo and the tests want them: `defaults(cli_timeout=30, agents={"warm": 0})`.

    Raises ConfigError for an unknown key and for a value that the file could not have either.
    """
    tree = {"telegram_token": telegram_token, "allowed_user_ids": allowed_user_ids, **overrides}
    values, mistakes = _check(tree)
    mistakes |= dict.fromkeys(_unknown(tree), "unknown key") | _together(values, mistakes)
    if mistakes:
        raise ConfigError([f"{name}: {wrong}" for name, wrong in mistakes.items()])
    return _build(values, ())


def timezone(settings: Settings, *, environ: Mapping[str, str] = os.environ, etc: Path = Path("/etc")) -> ZoneInfo:
    """The user's time zone: the setting, else $TZ, else the machine's (/etc/localtime, /etc/timezone), else UTC.

    Raises ConfigError when the setting names no zone; an unusable $TZ or host file is passed over.
    """
    if settings.user_timezone:
        zone = _zone(settings.user_timezone)
        if zone is None:
            raise ConfigError([f"user_timezone: {_no_zone(settings.user_timezone)}"])
        return zone
    names = (environ.get("TZ", "").removeprefix(":"), _linked_zone(etc / "localtime"), _first_word(etc / "timezone"))
    zones = (_zone(name.rpartition("zoneinfo/")[2]) for name in names if name)
    return next((zone for zone in zones if zone), None) or ZoneInfo("UTC")


def agents_parallel(settings: Settings, *, memory: int | None = None) -> int:
    """How many agent processes may live at once: the setting, or one per 400 MB of `memory` (bytes), 1 to 8."""
    if settings.agents.parallel:
        return settings.agents.parallel
    return max(1, min(8, (_memory() if memory is None else memory) // BYTES_PER_AGENT))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        example = [f"    {line}" for line in EXAMPLE]
        raise ConfigError([f"{path}: there is no such file yet. Create it with these lines:", *example]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError([f"{path.name} line {line}: the file is not UTF-8 text; save it as UTF-8"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None


def _check(tree: Tree) -> tuple[dict[str, object], dict[str, str]]:
    """The values that fit, and what is wrong with the others, both by dotted name."""
    values: dict[str, object] = {}
    mistakes: dict[str, str] = {}
    for name in SECTIONS:
        if not isinstance(tree.get(name, {}), Mapping):
            mistakes[name] = f"must be a section: write [{name}] on a line of its own, its keys below"
    for name, value in _leaves(tree):
        key = BY_NAME.get(name)
        if key is None:
            continue
        fitting = _fit(key, value)
        if fitting is None:
            shown = "" if key.rule.secret else f"{_shown(value)} is not accepted; "
            mistakes[name] = f"{shown}must be {key.accepted}"
        else:
            values[name] = fitting
    return values, mistakes


def _fit(key: Key, value: object) -> object | None:
    """The value as the program keeps it, or None when the key does not accept it."""
    rule = key.rule
    if key.type == "switch":
        return value if isinstance(value, bool) else None
    if key.type in ("texts", "whole numbers"):
        wanted = str if key.type == "texts" else int
        items = tuple(value) if isinstance(value, list | tuple) else None
        fits = items is not None and all(type(item) is wanted and _allowed(key, item) for item in items)
        return items if fits else None
    if key.type == "text":
        if not isinstance(value, str) or (rule.choices and value not in rule.choices) or not _allowed(key, value):
            return None
        return value.rstrip("/") if key.name == "telegram_api_url" else value
    whole = type(value) is int
    if not (whole or (key.type == "number" and isinstance(value, float))) or not _allowed(key, value):
        return None
    return value if key.type == "whole number" else float(str(value))


def _allowed(key: Key, item: object) -> bool:
    rule = key.rule
    if isinstance(item, str):
        return "\0" not in item and (not rule.pattern or re.fullmatch(rule.pattern, item) is not None)
    assert isinstance(item, int | float)
    return rule.low is None or rule.high is None or rule.low <= item <= rule.high


def _together(values: Mapping[str, object], mistakes: Mapping[str, str]) -> dict[str, str]:
    """What a table of single keys cannot say: zones that do not exist, pairs that contradict each other."""
    found = {}
    zone = values.get("user_timezone")
    if isinstance(zone, str) and zone and _zone(zone) is None:
        found["user_timezone"] = _no_zone(zone)
    shortest, longest = (values.get(name, BY_NAME[name].default) for name in ("streaming.min_chars", "streaming.max_chars"))
    assert isinstance(shortest, int)
    assert isinstance(longest, int)
    if values.get("docker.enabled"):  # to believe in a sandbox that is not there would be worse than no start
        found["docker.enabled"] = "this version runs agents without a container; must be false"
    if shortest > longest and "streaming.max_chars" not in mistakes:
        found["streaming.min_chars"] = f"{shortest} is more than streaming.max_chars, which is {longest}"
    return found


def _build(values: Mapping[str, object], warnings: tuple[str, ...]) -> Settings:
    settings = Settings(warnings=warnings)
    for section in ("", *SECTIONS):
        changed = {BY_NAME[name].leaf: value for name, value in values.items() if BY_NAME[name].section == section}
        if not section:
            settings = replace(settings, **changed)  # type: ignore[arg-type]  # checked against the table
        elif changed:
            settings = replace(settings, **{section: replace(getattr(settings, section), **changed)})
    return settings


def _leaves(tree: Tree) -> Iterator[tuple[str, object]]:
    """Every value with its dotted name; only sections are looked into."""
    for name, value in tree.items():
        if name in SECTIONS and isinstance(value, Mapping):
            yield from ((f"{name}.{leaf}", item) for leaf, item in value.items())
        elif name not in SECTIONS:
            yield name, value


def _unknown(tree: Tree) -> list[str]:
    return [name for name, _ in _leaves(tree) if name not in BY_NAME]


def _nearest(name: str) -> str:
    """A hint at the key that was meant: the same word in another section, or a similar one."""
    leaf = name.rpartition(".")[2]
    leaves = {key.leaf: key.name for key in reversed(KEYS)}
    if leaf in leaves and "." not in leaves[leaf]:
        return f"; {leaf} belongs above the first [section]"
    near = [leaves[leaf]] if leaf in leaves else difflib.get_close_matches(name, [*BY_NAME, *SECTIONS], 1)
    near = near or [leaves[word] for word in difflib.get_close_matches(leaf, leaves, 1)]
    return f"; did you mean {near[0]}?" if near else ""


def _line(text: str, name: str) -> int:
    """The line on which a key or section stands, 1 for the first, 0 when it is nowhere.

    Lines inside a value of several lines are told apart by this: what is above a true key is complete TOML.
    """
    section = name.rpartition(".")[0]
    lines = text.split("\n")
    current, fallback = "", 0
    for number, line in enumerate(lines, 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        word = re.match(r"\s*([\w.\"'\s-]+?)\s*=", line)
        if not (header or word) or not _complete(lines[: number - 1]):
            continue
        if header:
            current = re.sub(r"[\"'\s]", "", header[1])
        spelled = current if header else ".".join(filter(None, (current, re.sub(r"[\"'\s]", "", word[1] if word else ""))))
        if spelled == name or spelled.startswith(f"{name}."):
            return number
        if section and spelled == section:
            fallback = number  # an inline table: streaming = { mode = "edit" }
    return fallback


def _complete(lines: list[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _syntax(path: Path, text: str, message: str) -> str:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    line, column = (int(place[1]), f" (column {place[2]})") if place else (text.rstrip().count("\n") + 1, "")
    what = redact(message[: place.start()] if place else message.removesuffix(" (at end of document)"))
    return f"{path.name} line {line}: not valid TOML: {what}{column}; texts need quotes, lists need [ ], one key = value per line"


def _shown(value: object) -> str:
    shown = {True: "true", False: "false"}[value] if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    shown = redact(shown)  # a token may have been put under the wrong key
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, "../x", a file that is no zone
        return None


def _no_zone(name: str) -> str:
    near = difflib.get_close_matches(name, zoneinfo.available_timezones(), 1)
    return f'"{name}" is no time zone; must be a name such as "{near[0] if near else "Europe/Berlin"}", or empty'


def _linked_zone(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _first_word(path: Path) -> str:
    try:
        return (path.read_text(errors="replace").split() or [""])[0]
    except OSError:
        return ""


def _memory() -> int:
    """The memory of this machine, or of the container it is, in bytes; 4 GB where the system does not say."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 4 * 1024**3
    limit = _first_word(Path("/sys/fs/cgroup/memory.max"))
    return min(total, int(limit)) if limit.isdigit() else total
