"""Read jobs and hooks from JSON, and write them: every mistake is named with its key and what would be accepted, all at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSimError

from ductor_lib import config
from ductor_lib.automation import signatures
from ductor_lib.automation.definitions import Hook, Job, Task
from ductor_lib.automation.rules import HOOK_RULES, JOB_RULES, Rule, chat_of
from ductor_lib.automation.schedule import expression, runs
from ductor_lib.cli.catalogue import EFFORTS, PROVIDERS, Catalogue
from ductor_lib.cli.codex_models import Model
from ductor_lib.config_keys import Settings
from ductor_lib.errors import ConfigError, DuctorError
from ductor_lib.logs import redact
from ductor_lib.messages import Chat

ALWAYS_WRITTEN = ("id", "title", "enabled", "created_at")
LEGIBLE = 16  # characters of a secret from which its last four may be shown
SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
FIELDS_OF_CRON = 'a cron expression of five fields, minute hour day month weekday: "0 9 * * 1-5"'


class DefinitionError(DuctorError):
    """A job or hook that cannot be used. `mistakes` has what is wrong by key; the text has a line for each."""

    def __init__(self, mistakes: Mapping[str, str]) -> None:
        super().__init__("\n".join(f"{key}: {wrong}" if key else wrong for key, wrong in mistakes.items()))
        self.mistakes = dict(mistakes)


def read_job(raw: object) -> Job:
    """The job that a JSON value describes; unknown keys are ignored. Raises DefinitionError."""
    values, mistakes = _values(raw, JOB_RULES)
    _add_missing(mistakes, values, ("id", "title"))
    for key, check in (("schedule", _cron), ("timezone", _zone)):
        if key in values and (wrong := check(str(values[key]))):
            mistakes.setdefault(key, wrong)
    _add_quiet(mistakes, values)
    if bool(values.get("schedule")) == bool(values.get("at")) and not {"schedule", "at"} & mistakes.keys():
        there = "both are given" if values.get("at") else "is missing"
        mistakes["schedule"] = f'{there}; must be {FIELDS_OF_CRON}, or else "at", a single moment'
    _add_missing(mistakes, values, ("message", "chat") if values.get("ask") else ())
    if not values.get("message") and "message" not in mistakes:  # not a reminder, so there must be work
        _add_missing(mistakes, values, ("task_folder", "agent_instruction"))
    if mistakes:
        raise DefinitionError(mistakes)
    return Job(**values)  # type: ignore[arg-type]  # checked against the table


def read_hook(raw: object) -> Hook:
    """The hook that a JSON value describes; unknown keys are ignored. Raises DefinitionError."""
    values, mistakes = _values(raw, HOOK_RULES)
    _add_missing(mistakes, values, ("id", "title"))
    _add_quiet(mistakes, values)
    if mistakes:
        raise DefinitionError(mistakes)
    hook = Hook(**values)  # type: ignore[arg-type]  # checked against the table
    found = (sentence.partition(" ") for sentence in signatures.mistakes(hook))
    if unusable := {name: wrong for name, _, wrong in found}:
        raise DefinitionError(unusable)
    return hook


def check_overrides(task: Task, catalogue: Catalogue) -> None:
    """Hold provider, model and effort against the model lists. Raises DefinitionError naming what is accepted.

    A model of Codex is taken as it is while Codex lists nothing. May take some seconds, as the catalogue does.
    """
    providers = (task.provider,) if task.provider else PROVIDERS
    listed: dict[str, Model] = {}
    for provider in providers:
        listed |= {model.id: model for model in catalogue.models(provider)}
        if task.model in listed:  # before Codex is asked, which is slow
            break
    mistakes = {}
    if task.model and task.model not in listed and listed:
        mistakes["model"] = f"{_shown(task.model)} is not accepted; must be one of {', '.join(listed)}"
    model = listed.get(task.model)
    if not task.model and task.provider:
        default = catalogue.default(task.provider)
        model = default.model if default else None
    efforts = model.efforts if model else EFFORTS
    if task.reasoning_effort and task.reasoning_effort not in efforts:
        wanted = f"must be one of {', '.join(efforts)}" if efforts else f"{model.id if model else 'the model'} has none, leave it empty"
        mistakes["reasoning_effort"] = f"{_shown(task.reasoning_effort)} is not accepted; {wanted}"
    if mistakes:
        raise DefinitionError(mistakes)


def to_raw(item: Task) -> dict[str, object]:
    """The item as it is written: what differs from the defaults, in the order of the fields. Holds the secrets."""
    return {
        field.name: _plain(value)
        for field in fields(item)
        if (value := getattr(item, field.name)) != field.default or field.name in ALWAYS_WRITTEN
    }


def public(item: Task) -> dict[str, object]:
    """Every field as in the file, with secrets masked: "…abcd". For people, logs and `--json`."""
    rules = HOOK_RULES if isinstance(item, Hook) else JOB_RULES
    plain = {field.name: _plain(getattr(item, field.name)) for field in fields(item)}
    return {name: _masked(str(value)) if value and rules[name].secret else value for name, value in plain.items()}


def nearest(key: str, kind: type[Task]) -> str:
    """A hint at the field that was meant, or ""."""
    near = difflib.get_close_matches(key, [field.name for field in fields(kind)], 1)
    return f"; did you mean {near[0]}?" if near else ""


def _values(raw: object, rules: Mapping[str, Rule]) -> tuple[dict[str, object], dict[str, str]]:
    """The values that fit, as the program keeps them, and what is wrong with the others."""
    if not isinstance(raw, Mapping):
        raise DefinitionError({"": f"{_shown(raw)} is not accepted; each entry must be an object, {{…}}"})
    values: dict[str, object] = {}
    mistakes: dict[str, str] = {}
    for name, rule in rules.items():
        if name not in raw:
            continue
        value = raw[name]
        if not rule.fits(value):
            mistakes[name] = f"{'' if rule.secret else f'{_shown(value)} is not accepted; '}must be {rule.accepted}"
        else:
            values[name] = _kept(name, value)
    return values, mistakes


def _kept(name: str, value: object) -> object:
    if name == "chat":
        return None if value is None else chat_of(value)
    return tuple(value) if isinstance(value, list) else value


def _plain(value: object) -> object:
    if isinstance(value, Chat):
        return value.lane.removeprefix("chat:")
    return list(value) if isinstance(value, tuple) else value


def _add_missing(mistakes: dict[str, str], values: Mapping[str, object], names: tuple[str, ...]) -> None:
    for name in names:
        if not values.get(name):
            rules = HOOK_RULES if name in HOOK_RULES else JOB_RULES
            mistakes.setdefault(name, f"is missing; must be {rules[name].accepted.removesuffix(', or empty')}")


def _add_quiet(mistakes: dict[str, str], values: Mapping[str, object]) -> None:
    given = {name for name in ("quiet_start", "quiet_end") if values.get(name) is not None}
    for name in {"quiet_start", "quiet_end"} - given:
        if given:
            mistakes.setdefault(name, "is missing; the quiet time needs both hours, from 0 to 23")


def _cron(text: str) -> str:
    """What is wrong with a cron expression, or ""."""
    if not text:
        return ""
    try:
        expression(text)
    except CronSimError as error:
        return f"{_shown(text)} is not accepted ({str(error).lower()}); must be {FIELDS_OF_CRON}"
    never = next(runs(text, SOME_DAY, ZoneInfo("UTC")), None) is None
    return f"{_shown(text)} is not accepted (that day never comes); must be {FIELDS_OF_CRON}" if never else ""


def _zone(name: str) -> str:
    """What is wrong with the name of a time zone, or ""."""
    try:
        config.timezone(replace(Settings(), user_timezone=name))
    except ConfigError as error:
        return error.lines[0].partition(": ")[2]
    return ""


def _shown(value: object) -> str:
    try:
        shown = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()
    except RecursionError:  # nested a thousand deep
        shown = "[[…]]"
    shown = redact(shown)  # a secret may have been put under the wrong key
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _masked(secret: str) -> str:
    return f"…{secret[-4:]}" if len(secret) >= LEGIBLE else "…"
