"""Jobs and hooks from JSON: what is wrong is named with its key and what would be accepted; what is right comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.automation.definitions import Hook, Job
from ductor_lib.automation.rules import HOOK_RULES, JOB_RULES, chat_of
from ductor_lib.automation.validation import DefinitionError, check_overrides, public, read_hook, read_job, to_raw
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.codex_models import Model
from ductor_lib.messages import Chat

PAGE = (Path(__file__).parent.parent / "docs/modules/cron.md").read_text(encoding="utf-8")
JOB = {"id": "j", "title": "J", "schedule": "0 9 * * *", "task_folder": "reports", "agent_instruction": "Write."}
HOOK = {"id": "h", "title": "H", "prompt_template": "New issue: {{issue.title}}"}
SIGNED = HOOK | {"auth_mode": "hmac", "hmac_secret": "very-secret-indeed", "hmac_header": "X-Hub-Signature-256"}


def lines_of(read: object, raw: object) -> list[str]:
    assert callable(read)
    with pytest.raises(DefinitionError) as caught:
        read(raw)
    return str(caught.value).splitlines()


def test_what_is_left_out_has_its_default() -> None:
    assert read_job(JOB) == Job(id="j", title="J", schedule="0 9 * * *", task_folder="reports", agent_instruction="Write.")
    assert read_hook(HOOK) == Hook(id="h", title="H", prompt_template="New issue: {{issue.title}}")


def test_lists_and_chats_become_values_and_unknown_keys_are_nobodys_business() -> None:
    job = read_job(JOB | {"chat": "-100:7", "cli_parameters": ["--verbose", "-x"], "quiet_start": 0, "quiet_end": 0, "theirs": [1]})

    assert job.chat == Chat(-100, 7)
    assert job.cli_parameters == ("--verbose", "-x")
    assert (job.quiet_start, job.quiet_end) == (0, 0)


@pytest.mark.parametrize(
    ("value", "chat"),
    [("42", Chat(42)), (42, Chat(42)), (-100123, Chat(-100123)), ("-100123:7", Chat(-100123, 7)), (0, None), ("0", None), ("42:0", None),
     (True, None), (4.0, None), ("chat:42", None), ("", None), ("9" * 16, None), ("٤٢", None)],
)  # fmt: skip
def test_a_chat_is_a_number_or_a_text_with_a_topic(value: object, chat: Chat | None) -> None:
    assert chat_of(value) == chat


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": "a b"}, 'id: "a b" is not accepted; must be 1 to 64 letters, digits, "-" or "_"'),
        ({"id": None}, "id: null is not accepted; must be 1 to 64"),
        ({"title": ""}, "title: \"\" is not accepted; must be a line of 1 to 100 characters"),
        ({"title": "two\nlines"}, 'title: "two\\nlines" is not accepted; must be a line'),
        ({"enabled": "yes"}, 'enabled: "yes" is not accepted; must be true or false'),
        ({"enabled": 1}, "enabled: 1 is not accepted; must be true or false"),
        ({"description": 5}, "description: 5 is not accepted; must be a text"),
        ({"description": "nul \0"}, "description: \"nul \\u0000\" is not accepted; must be a text"),
        ({"description": "\ud800"}, "description: \"\\ud800\" is not accepted; must be a text"),
        ({"created_at": "yesterday"}, 'created_at: "yesterday" is not accepted; must be a moment, "2026-12-01T09:00:00+01:00"'),
        ({"schedule": "61 * * * *"}, 'schedule: "61 * * * *" is not accepted (bad minute); must be a cron expression of five fields, '
         'minute hour day month weekday: "0 9 * * 1-5"'),
        ({"schedule": "0 9 * *"}, 'schedule: "0 9 * *" is not accepted (wrong number of fields); must be a cron expression of five'),
        ({"schedule": "0 0 9 * * *"}, 'schedule: "0 0 9 * * *" is not accepted (wrong number of fields)'),
        ({"schedule": "@daily"}, 'schedule: "@daily" is not accepted (wrong number of fields)'),
        ({"schedule": "0 0 31 2 *"}, 'schedule: "0 0 31 2 *" is not accepted (bad day-of-month)'),
        ({"schedule": "0 0 */31 2 1#5"}, 'schedule: "0 0 */31 2 1#5" is not accepted (that day never comes); must be a cron'),
        ({"schedule": 9}, "schedule: 9 is not accepted; must be a cron expression"),
        ({"schedule": "9" * 5000}, "schedule: "),
        ({"schedule": ""}, 'schedule: is missing; must be a cron expression of five fields, minute hour day month weekday: "0 9 * * 1-5", '
         'or else "at", a single moment'),
        ({"at": "2026-12-01T09:00:00Z"}, 'schedule: both are given; must be a cron expression'),
        ({"schedule": "", "at": "2026-12-01T09:00:00"}, 'at: "2026-12-01T09:00:00" is not accepted; must be a moment with its offset'),
        ({"schedule": "", "at": "tomorrow"}, 'at: "tomorrow" is not accepted; must be a moment with its offset from UTC'),
        ({"schedule": "", "at": "0001-01-01T00:00:00+14:00"}, 'at: "0001-01-01T00:00:00+14:00" is not accepted'),
        ({"timezone": "Europe/Berln"}, 'timezone: "Europe/Berln" is no time zone; must be a name such as "Europe/Berlin"'),
        ({"timezone": "../etc/passwd"}, 'timezone: "../etc/passwd" is not accepted; must be the name of a time zone'),
        ({"quiet_start": 24, "quiet_end": 6}, "quiet_start: 24 is not accepted; must be a whole number from 0 to 23, or null"),
        ({"quiet_start": 6.0, "quiet_end": 8}, "quiet_start: 6.0 is not accepted; must be a whole number"),
        ({"quiet_start": True, "quiet_end": 8}, "quiet_start: true is not accepted; must be a whole number"),
        ({"quiet_start": 21}, "quiet_end: is missing; the quiet time needs both hours, from 0 to 23"),
        ({"task_folder": "../x"}, 'task_folder: "../x" is not accepted; must be the name of a folder, 1 to 64 of a-z, 0-9'),
        ({"task_folder": ""}, "task_folder: is missing; must be the name of a folder"),
        ({"agent_instruction": ""}, "agent_instruction: is missing; must be a text"),
        ({"provider": "gemini"}, 'provider: "gemini" is not accepted; must be one of "claude", "codex", or empty'),
        ({"model": "--help"}, 'model: "--help" is not accepted; must be the name of a model'),
        ({"reasoning_effort": "Very high"}, 'reasoning_effort: "Very high" is not accepted; must be a word such as "high"'),
        ({"cli_parameters": "--verbose"}, 'cli_parameters: "--verbose" is not accepted; must be a list of texts, or null'),
        ({"cli_parameters": ["a", 1]}, 'cli_parameters: ["a", 1] is not accepted; must be a list of texts, or null'),
        ({"dependency": "chrome browser"}, 'dependency: "chrome browser" is not accepted; must be a word'),
        ({"chat": "everybody"}, 'chat: "everybody" is not accepted; must be a chat, "42" or 42, with a topic "-100123:7", or null'),
        ({"silent_when": "a\nb"}, 'silent_when: "a\\nb" is not accepted; must be a line'),
        ({"into_session": "true"}, 'into_session: "true" is not accepted; must be true or false'),
        ({"missed": "always"}, 'missed: "always" is not accepted; must be one of "skip", "once"'),
        ({"ask": True, "message": "Well?"}, 'chat: is missing; must be a chat, "42" or 42'),
        ({"ask": True, "chat": 42}, "message: is missing; must be a text"),
        ({"message": ["x"]}, 'message: ["x"] is not accepted; must be a text'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_job_names_the_key_the_value_and_what_is_accepted(changes: dict[str, object], expected: str) -> None:
    (line,) = lines_of(read_job, JOB | changes)

    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mode": "sleep"}, 'mode: "sleep" is not accepted; must be one of "wake", "cron_task"'),
        ({"auth_mode": "none"}, 'auth_mode: "none" is not accepted; must be one of "bearer", "hmac"'),
        ({"hmac_algorithm": "md5"}, 'hmac_algorithm: "md5" is not accepted; must be one of "sha256", "sha1", "sha512"'),
        ({"hmac_encoding": "base32"}, 'hmac_encoding: "base32" is not accepted; must be one of "hex", "base64"'),
        ({"hmac_sig_regex": "v1=([0-9a-f]+"}, "hmac_sig_regex: is not a regular expression"),
        ({"hmac_sig_regex": "x" * 201}, "hmac_sig_regex: "),
        ({"hmac_tolerance_seconds": -1}, "hmac_tolerance_seconds: -1 is not accepted; must be a whole number from 0 to"),
        ({"hmac_tolerance_seconds": "300"}, 'hmac_tolerance_seconds: "300" is not accepted; must be a whole number'),
        ({"hmac_tolerance_seconds": 300}, "hmac_tolerance_seconds: needs hmac_payload_prefix_regex"),
        ({"hmac_secret": ""}, "hmac_secret: is empty; give the secret"),
        ({"hmac_header": ""}, "hmac_header: is ''; give the name of the header"),
    ],
)
def test_a_mistake_in_a_hook_names_the_key_and_what_is_accepted(changes: dict[str, object], expected: str) -> None:
    (line,) = lines_of(read_hook, SIGNED | changes)

    assert line.startswith(expected)


def test_all_mistakes_are_named_at_once_a_line_each() -> None:
    assert [line.partition(":")[0] for line in lines_of(read_job, {"enabled": 0, "missed": "no", "schedule": "x"})] == [
        "enabled", "missed", "id", "title", "schedule", "task_folder", "agent_instruction",
    ]  # fmt: skip


@pytest.mark.parametrize("raw", [None, 5, "job", [JOB]])
def test_what_is_no_object_is_no_job(raw: object) -> None:
    (line,) = lines_of(read_job, raw)

    assert "each entry must be an object, {…}" in line


@pytest.mark.parametrize("value", ["short", "two words here", 12345678901234, "x" * 513])
def test_no_mistake_shows_a_secret(value: object) -> None:
    (line,) = lines_of(read_hook, HOOK | {"token": value})

    assert line == "token: must be 8 to 512 characters without spaces, or empty"


def test_a_long_value_is_shown_with_its_beginning_only() -> None:
    (line,) = lines_of(read_job, JOB | {"missed": "x" * 500})

    assert line == f'missed: "{"x" * 59}… is not accepted; must be one of "skip", "once"'


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_differs_is_written() -> None:
    assert to_raw(read_job(JOB | {"chat": 42, "missed": "skip"})) == {
        "id": "j", "title": "J", "enabled": True, "created_at": "", "task_folder": "reports", "chat": "42", "schedule": "0 9 * * *",
        "agent_instruction": "Write.",
    }  # fmt: skip


def test_people_see_every_field_and_no_secret() -> None:
    hook = read_hook(SIGNED | {"token": "12345678", "chat": "-100:7"})

    shown = public(hook)

    assert list(shown) == [field.name for field in fields(Hook)]
    assert (shown["hmac_secret"], shown["token"], shown["chat"], shown["cli_parameters"]) == ("…deed", "…", "-100:7", None)
    assert "secret-indeed" not in json.dumps(shown) + repr(hook)
    assert public(read_hook(HOOK))["token"] == ""


TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
WORDS = st.text("abcxyz0189_-", max_size=10)
FITTING: Mapping[str, st.SearchStrategy[object]] = {
    "description": TEXTS, "enabled": st.booleans(), "created_at": st.sampled_from(["", "2026-03-02T12:00:00+00:00"]),
    "task_folder": WORDS.map("t{}".format), "provider": st.sampled_from(["", "claude", "codex"]), "model": WORDS.map("m{}".format),
    "reasoning_effort": st.sampled_from(["", "high"]), "cli_parameters": st.none() | st.lists(TEXTS, max_size=3), "dependency": WORDS,
    "chat": st.none() | st.sampled_from([42, "42", "-100:7"]), "silent_when": WORDS, "into_session": st.booleans(),
    "timezone": st.sampled_from(["", "Asia/Kolkata"]), "missed": st.sampled_from(["skip", "once"]), "message": TEXTS,
}  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 40) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["0 9 * * *", "*/5 * * * *", "42", "hmac", "wake", "high", "2026-03-02T12:00:00+00:00", "(a+)+", "[["]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional=FITTING), st.none() | st.tuples(st.integers(0, 23), st.integers(0, 23)))
def test_what_is_written_is_what_is_read(changes: dict[str, object], hours: tuple[int, int] | None) -> None:
    job = read_job(JOB | changes | (dict(zip(("quiet_start", "quiet_end"), hours, strict=True)) if hours else {}))
    hook = replace(read_hook(SIGNED), **{field.name: getattr(job, field.name) for field in fields(Hook) if hasattr(job, field.name)})

    assert read_job(json.loads(json.dumps(to_raw(job)))) == job
    assert read_hook(json.loads(json.dumps(to_raw(hook)))) == hook


@settings(max_examples=300, deadline=None)
@given(ANY | st.dictionaries(st.sampled_from(sorted(JOB_RULES | HOOK_RULES)), ANY, max_size=12), st.booleans())
def test_any_json_is_read_or_refused(raw: object, whole: bool) -> None:
    for read, rest in ((read_job, JOB), (read_hook, SIGNED)):
        try:
            said = json.dumps(public(read({**rest, **raw} if whole and isinstance(raw, dict) else raw)))
        except DefinitionError as error:
            said = str(error)

        assert said.encode()  # can be sent and written to the log


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Listing:
    """A list of models."""

    def __init__(self, *models: Model) -> None:
        self._models = models

    def list(self) -> tuple[Model, ...]:
        return self._models


LARGE = Model("gpt-5.5", "GPT-5.5", ("low", "high"), "low", is_default=True)
BOTH = Catalogue(Listing(), Listing(LARGE))
ONLY_CLAUDE = Catalogue(Listing(), Listing())


@pytest.mark.parametrize(
    ("catalogue", "overrides"),
    [
        (BOTH, {}), (BOTH, {"model": "opus", "reasoning_effort": "max"}), (BOTH, {"model": "gpt-5.5", "reasoning_effort": "low"}),
        (BOTH, {"provider": "codex"}), (BOTH, {"provider": "codex", "reasoning_effort": "high"}), (BOTH, {"reasoning_effort": "medium"}),
        (BOTH, {"provider": "claude", "model": "haiku"}), (ONLY_CLAUDE, {"provider": "codex", "model": "gpt-7", "reasoning_effort": "low"}),
    ],
)  # fmt: skip
def test_overrides_that_somebody_offers_are_taken(catalogue: Catalogue, overrides: dict[str, str]) -> None:
    check_overrides(Job(id="j", title="J", **overrides), catalogue)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"model": "opsu"}, ['model: "opsu" is not accepted; must be one of opus, sonnet, haiku, gpt-5.5']),
        ({"provider": "claude", "model": "gpt-5.5"}, ['model: "gpt-5.5" is not accepted; must be one of opus, sonnet, haiku']),
        ({"model": "Opus"}, ['model: "Opus" is not accepted; must be one of opus, sonnet, haiku, gpt-5.5']),
        ({"model": "gpt-5.5", "reasoning_effort": "max"}, ['reasoning_effort: "max" is not accepted; must be one of low, high']),
        ({"model": "haiku", "reasoning_effort": "low"}, ['reasoning_effort: "low" is not accepted; haiku has none, leave it empty']),
        ({"provider": "codex", "reasoning_effort": "max"}, ['reasoning_effort: "max" is not accepted; must be one of low, high']),
        ({"reasoning_effort": "huge"},
         ['reasoning_effort: "huge" is not accepted; must be one of none, minimal, low, medium, high, xhigh, max']),
    ],
)  # fmt: skip
def test_a_wrong_override_names_what_is_accepted(overrides: dict[str, str], expected: list[str]) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_overrides(Job(id="j", title="J", **overrides), BOTH)  # type: ignore[arg-type]

    assert str(caught.value).splitlines() == expected


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_field_has_a_rule_that_accepts_its_default() -> None:
    for kind, rules in ((Job, JOB_RULES), (Hook, HOOK_RULES)):
        assert set(rules) == {field.name for field in fields(kind)}
        assert [field.name for field in fields(kind) if field.default is not MISSING and not rules[field.name].fits(field.default)] == []


def test_the_page_has_a_row_for_every_field_of_a_job() -> None:
    table = PAGE.partition("<!-- fields -->\n")[2].partition("<!-- end -->")[0].splitlines()[2:]
    documented = [tuple(line.strip("| ").split(" | ")[:3]) for line in table]

    assert documented == [
        (f"`{field.name}`", "required" if field.default is MISSING else f"`{json.dumps(field.default)}`", JOB_RULES[field.name].accepted)
        for field in fields(Job)
    ]


def test_the_example_of_the_page_can_be_used() -> None:
    example = json.loads(PAGE.partition("```json\n")[2].partition("```")[0])

    jobs = [read_job(raw) for raw in example["jobs"]]

    assert [to_raw(job) for job in jobs] == example["jobs"]
    for job in jobs:
        check_overrides(job, BOTH)
