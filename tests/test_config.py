"""Settings: every mistake is named with its line, unknown keys never stop the start, secrets are never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib import config
from ductor_lib.config_keys import KEYS, Key, Settings
from ductor_lib.errors import ConfigError

TOKEN = "123456789:AAEabcdefghijklmnopqrstuvwxyz012345"
GOOD = f'telegram_token = "{TOKEN}"\nallowed_user_ids = [42]\n'
Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str, **options: object) -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return config.load(path, **options)  # type: ignore[arg-type]

    return load_text


def mistakes(load: Load, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return caught.value.lines


def test_two_keys_are_enough(load: Load) -> None:
    settings = load(GOOD)

    assert settings.telegram_token == TOKEN
    assert settings.allowed_user_ids == (42,)
    assert settings == config.defaults(telegram_token=TOKEN)
    assert settings.warnings == ()


def test_values_of_sections_arrive_where_they_are_read(load: Load) -> None:
    settings = load(GOOD + 'cli_timeout = 30\n[streaming]\nmode = "off"\nedit_interval_seconds = 3\n[agents]\npass_env = ["A_KEY"]\n')

    assert settings.cli_timeout == 30
    assert settings.streaming.mode == "off"
    assert settings.streaming.edit_interval_seconds == 3.0
    assert settings.streaming.max_edit_failures == 3
    assert settings.agents.pass_env == ("A_KEY",)


def test_dotted_keys_and_inline_tables_mean_the_same_as_a_section(load: Load) -> None:
    dotted = load(GOOD + 'streaming.mode = "off"\n')
    inline = load(GOOD + 'streaming = { mode = "off" }\n')

    assert dotted == inline
    assert inline.streaming.mode == "off"


def test_every_mistake_is_named_at_once_with_its_line(load: Load) -> None:
    lines = mistakes(load, 'telegram_token = "abc"\nallowed_user_ids = 42\ncli_timeout = "ten"\n\n[streaming]\nmode = "fast"\n')

    assert [line.split(": ")[:2] for line in lines] == [
        ["config.toml line 1", "telegram_token"],
        ["config.toml line 2", "allowed_user_ids"],
        ["config.toml line 3", "cli_timeout"],
        ["config.toml line 6", "streaming.mode"],
    ]
    assert lines[2].endswith('"ten" is not accepted; must be a whole number from 1 to 86400')
    assert lines[3].endswith('"fast" is not accepted; must be one of "edit", "append", "off"')


def test_a_missing_token_and_list_say_where_to_get_them(load: Load) -> None:
    lines = mistakes(load, "allowed_user_ids = []\n")

    assert "telegram_token" in lines[0]
    assert "@BotFather" in lines[0]
    assert lines[1].startswith("config.toml line 1: allowed_user_ids: is empty")
    assert "@userinfobot" in lines[1]


def test_a_missing_file_shows_what_to_put_into_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "config.toml")

    assert str(tmp_path / "config.toml") in caught.value.lines[0]
    assert [line.strip() for line in caught.value.lines[1:]] == list(config.EXAMPLE)


def test_a_folder_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("telegram_token = abc\n", 1),
        ("cli_timeout = 5\nmodel opus\n", 2),
        ("cli_timeout = 5\ncli_timeout = 6\n", 2),
        ("cli_timeout = 5\n\nallowed_user_ids = [42\n", 3),
        ("[agents]\nwarm = 1\n[agents]\n", 3),
    ],
)
def test_text_that_is_no_toml_is_named_with_its_line(load: Load, text: str, line: int) -> None:
    (only,) = mistakes(load, text)

    assert only.startswith(f"config.toml line {line}: not valid TOML: ")


def test_a_file_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'model = "opus"\nuser_timezone = "Z\xfcrich"\n')

    with pytest.raises(ConfigError, match=r"line 2: the file is not UTF-8"):
        config.load(path)


def test_the_marks_of_a_windows_editor_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())

    assert config.load(path).allowed_user_ids == (42,)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("clitimeout = 3", "did you mean cli_timeout?"),
        ('mode = "off"', "did you mean streaming.mode?"),
        ('[streaming]\nmodel = "opus"', "model belongs above the first [section]"),
        ("[stream]\nx = 1", "did you mean streaming?"),
        ("xyzzy = 1", "unknown key, ignored"),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_known_name(load: Load, text: str, nearest: str) -> None:
    settings = load(GOOD + text)

    (warning,) = settings.warnings
    assert warning.startswith("config.toml line ")
    assert warning.endswith(nearest)


def test_a_key_inside_a_text_of_several_lines_is_not_taken_for_the_key(load: Load) -> None:
    text = GOOD + '[heartbeat]\nprompt = """\n[webhooks]\nport = 1\n"""\n[webhooks]\nport = 0\n'

    (only,) = mistakes(load, text)

    assert only.startswith("config.toml line 9: webhooks.port")


def test_a_value_in_place_of_a_section_says_how_a_section_is_written(load: Load) -> None:
    (only,) = mistakes(load, GOOD + "streaming = true\n")

    assert only == "config.toml line 3: streaming: must be a section: write [streaming] on a line of its own, its keys below"


def test_the_token_is_in_no_error_and_no_repr(load: Load) -> None:
    in_the_wrong_place = mistakes(load, f'telegram_token = "x{TOKEN}"\nallowed_user_ids = ["{TOKEN}"]\n')

    assert TOKEN not in "\n".join(in_the_wrong_place)
    assert TOKEN not in repr(load(GOOD))


@pytest.mark.parametrize(
    "line",
    [
        "cli_timeout = true", "cli_timeout = 1.5", "max_budget_usd = nan", "max_budget_usd = -1", "daily_reset_hour = 24",
        "allowed_group_ids = [5]", "allowed_group_ids = [true]", 'model = ""', 'model = "--help me"', 'telegram_api_url = "ftp://x"',
        'agents.pass_env = ["A=B"]', "agents.warm = 99999999999999999999", 'inbox.stop_words = [""]', "cleanup.enabled = 1",
    ],
)
def test_a_value_that_does_not_fit_is_refused(load: Load, line: str) -> None:
    (only,) = mistakes(load, GOOD + line)

    assert only.startswith(f"config.toml line 3: {line.split(' ')[0]}: ")
    assert "must be" in only


def test_values_that_contradict_each_other_are_refused(load: Load) -> None:
    (only,) = mistakes(load, GOOD + "[streaming]\nmin_chars = 300\nmax_chars = 250\n")

    assert only == "config.toml line 4: streaming.min_chars: 300 is more than streaming.max_chars, which is 250"


def test_a_setting_without_effect_is_a_warning(load: Load) -> None:
    settings = load(GOOD + "[docker]\nauto_build = false\n")

    assert settings.warnings == ("config.toml line 4: docker.auto_build: has no effect in this version",)


def test_a_container_that_does_not_exist_is_not_promised(load: Load) -> None:
    (only,) = mistakes(load, GOOD + "[docker]\nenabled = true\n")

    assert only.startswith("config.toml line 4: docker.enabled: this version runs agents without a container")


def test_the_api_address_loses_its_last_slash(load: Load) -> None:
    assert load(GOOD + 'telegram_api_url = "http://127.0.0.1:8081/"').telegram_api_url == "http://127.0.0.1:8081"


def test_choices_from_the_chat_win_over_the_file(load: Load) -> None:
    settings = load(GOOD + 'model = "opus"\n', state={"model": "haiku", "streaming": {"mode": "off"}, "migrated": {"-1": -1001}})

    assert settings.model == "haiku"
    assert settings.streaming.mode == "off"
    assert settings.warnings == ()


def test_a_choice_that_does_not_fit_is_passed_over_with_a_warning(load: Load) -> None:
    settings = load(GOOD, state={"provider": "nobody"})

    assert settings.provider == "claude"
    assert settings.warnings[0].startswith('state.json: provider: "nobody" is not accepted')


def test_defaults_refuse_what_the_file_could_not_have() -> None:
    with pytest.raises(ConfigError, match=r"^cli_timeuot: unknown key"):
        config.defaults(cli_timeuot=3)
    with pytest.raises(ConfigError, match=r"^agents.warm: -1 is not accepted"):
        config.defaults(agents={"warm": -1})


def test_the_time_zone_is_that_of_the_setting_then_tz_then_the_machine(tmp_path: Path) -> None:
    plain, chosen = config.defaults(), config.defaults(user_timezone="Asia/Tokyo")
    by_link, by_name, empty = tmp_path / "link", tmp_path / "name", tmp_path / "empty"
    for folder in (by_link, by_name, empty):
        folder.mkdir()
    (by_link / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Rome")
    (by_name / "timezone").write_text("Europe/Oslo\n")

    assert config.timezone(chosen, environ={"TZ": "Europe/Paris"}, etc=by_link).key == "Asia/Tokyo"
    assert config.timezone(plain, environ={"TZ": ":Europe/Paris"}, etc=by_link).key == "Europe/Paris"
    assert config.timezone(plain, environ={"TZ": "CET-1CEST,M3.5.0"}, etc=by_link).key == "Europe/Rome"
    assert config.timezone(plain, environ={}, etc=by_name).key == "Europe/Oslo"
    assert config.timezone(plain, environ={}, etc=empty).key == "UTC"


@pytest.mark.parametrize("zone", ["Europe/Berln", "Europe", "/etc/localtime", "../../etc/passwd"])
def test_a_time_zone_that_does_not_exist_is_a_mistake(load: Load, zone: str) -> None:
    (only,) = mistakes(load, GOOD + f'user_timezone = "{zone}"')

    assert only.startswith(f'config.toml line 3: user_timezone: "{zone}" is no time zone')


def test_agents_are_limited_by_memory_unless_a_number_is_given() -> None:
    by_memory, given_number = config.defaults(), config.defaults(agents={"parallel": 12})

    assert config.agents_parallel(given_number) == 12
    assert [config.agents_parallel(by_memory, memory=gb * 2**30) for gb in (0, 1, 2, 64)] == [1, 2, 5, 8]
    assert 1 <= config.agents_parallel(by_memory) <= 8


def fitting(key: Key) -> st.SearchStrategy[object]:
    low, high = int(key.rule.low or 0), int(key.rule.high or 0)
    texts = st.sampled_from(key.rule.choices) if key.rule.choices else st.from_regex(key.rule.pattern or r"[a-z ]*", fullmatch=True)
    return {
        "switch": st.booleans(), "whole number": st.integers(low, high), "number": st.floats(key.rule.low or 0, high),
        "whole numbers": st.lists(st.integers(low, high), min_size=1, max_size=3), "text": texts, "texts": st.lists(texts, max_size=3),
    }[key.type].filter(lambda value: "\\x00" not in repr(value))


FREE = [key for key in KEYS if key.name not in ("user_timezone", "telegram_api_url", "streaming.min_chars", "docker.enabled")]


@given(st.lists(st.sampled_from(FREE).flatmap(lambda key: st.tuples(st.just(key), fitting(key))), max_size=4))
def test_whatever_fits_a_key_comes_back_unchanged(tmp_path_factory: pytest.TempPathFactory, chosen: list[tuple[Key, object]]) -> None:
    tree: dict[str, object] = {"telegram_token": TOKEN, "allowed_user_ids": [42]}
    for key, value in chosen:
        holder = tree.setdefault(key.section, {}) if key.section else tree
        assert isinstance(holder, dict)
        holder[key.leaf] = value
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(tomli_w.dumps(tree), encoding="utf-8")

    settings = config.load(path)

    for key, value in {key.name: (key, value) for key, value in chosen}.values():
        holder = getattr(settings, key.section) if key.section else settings
        assert getattr(holder, key.leaf) == (tuple(value) if isinstance(value, list) else value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_makes_it_fail_in_another_way(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError):
        config.load(path)
