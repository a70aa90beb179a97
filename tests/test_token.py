"""The token of all hooks: the user's own counts, else one is made once and kept."""

from __future__ import annotations

from pathlib import Path

from ductor_lib.automation import token
from ductor_lib.config import defaults, load
from ductor_lib.storage import JsonFile


def test_a_token_is_made_once_and_kept(tmp_path: Path) -> None:
    state = JsonFile(tmp_path / "state.json")

    first = token.made(defaults(), state)

    assert len(first) >= 40
    assert token.made(defaults(), state) == token.known(defaults(), JsonFile(state.path)) == first
    assert state.path.stat().st_mode & 0o777 == 0o600


def test_a_token_that_the_user_sets_later_takes_the_place_of_the_made_one(tmp_path: Path) -> None:
    state = JsonFile(tmp_path / "state.json")
    token.made(defaults(), state)
    settings = tmp_path / "config.toml"
    settings.write_text(
        'telegram_token = "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"\nallowed_user_ids = [42]\n[webhooks]\ntoken = "my-own-token"\n'
    )

    loaded = load(settings, state=state.read())

    assert token.known(loaded, state) == "my-own-token"
    assert loaded.warnings == ()
