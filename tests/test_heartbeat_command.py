"""/heartbeat through the whole bot: the switch, when the next one may come, and what keeps it from coming."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ductor_lib.demo.state import Message
from tests.fakes import CODEX, OWNER, SOON, Bot
from tests.program import until

ALWAYS = {"quiet_start": 8, "quiet_end": 8}  # no quiet time


def quiet_now() -> dict[str, int]:
    """A quiet time that has begun an hour ago and lasts for two more."""
    hour = datetime.now(UTC).hour
    return {"quiet_start": (hour - 1) % 24, "quiet_end": (hour + 3) % 24}


def bot_with(folder: Path, **heartbeat: object) -> Bot:
    return Bot(folder, user_timezone="UTC", heartbeat={**ALWAYS, **heartbeat})


def panel(bot: Bot, words: str) -> Message:
    def shown(_: object) -> Message | None:
        return next((message for message in bot.shown() if words in message.text), None)

    found = bot.telegram.wait(shown, timeout=SOON, what=f"a panel with {words}")
    assert isinstance(found, Message)
    return found


def typed(bot: Bot, words: str, answer: str) -> Message:
    bot.say(f"/heartbeat {words}".strip())
    return panel(bot, answer)


def talk(bot: Bot) -> None:
    """A turn, so that there is a session."""
    bot.say("hello")
    bot.wait_for("You wrote")
    bot.settle()


def stored(bot: Bot) -> object:
    return json.loads(bot.paths.state.read_text()).get("heartbeats")


def labels(message: Message) -> list[str]:
    return [str(button["text"]) for row in message.buttons for button in row]


@pytest.mark.parametrize(("enabled", "state"), [(False, "off"), (True, "on")])
def test_where_nothing_was_said_the_setting_counts_and_that_is_told(tmp_path: Path, enabled: bool, state: str) -> None:
    with bot_with(tmp_path, enabled=enabled) as bot:
        said = typed(bot, "", f"Heartbeat {state} in this conversation").text

    assert f"so enabled = {str(enabled).lower()} of [heartbeat] in config.toml counts" in said
    assert "Every 30 minutes, and not before 5 minutes without a message" in said
    assert "Quiet" not in said


def test_the_buttons_switch_in_one_message_and_the_choice_outlives_a_restart(tmp_path: Path) -> None:
    with bot_with(tmp_path) as bot:
        card = typed(bot, "", "Heartbeat off")
        bot.telegram.press(card.id, "Turn on")
        on = panel(bot, "Heartbeat on in this conversation: that was chosen here")
        assert (on.id, labels(on)) == (card.id, ["Turn off"])
        assert stored(bot) == {f"chat:{OWNER}": True}

        bot.restart()

        typed(bot, "", "Heartbeat on in this conversation: that was chosen here")
        typed(bot, "OFF", "Heartbeat off in this conversation: that was chosen here")
        assert stored(bot) == {f"chat:{OWNER}": False}


def test_without_a_session_none_comes_and_that_is_said(tmp_path: Path) -> None:
    with bot_with(tmp_path) as bot:
        said = typed(bot, "on", "There is no session yet, and a heartbeat never begins one").text

    assert "Next" not in said


def test_the_next_one_is_an_interval_after_the_start_at_the_earliest(tmp_path: Path) -> None:
    with bot_with(tmp_path, interval_minutes=600) as bot:
        talk(bot)

        said = typed(bot, "on", "at the earliest, with Claude Code").text

    assert "⚠️" not in said
    due = datetime.now(UTC) + timedelta(minutes=600)
    found = re.search(r"Next (today|tomorrow) (\d\d):(\d\d) at", said)
    assert found
    apart = (due.hour * 60 + due.minute - int(found[2]) * 60 - int(found[3])) % 1440
    assert apart <= 1


def test_a_long_cooldown_counts_from_the_last_message(tmp_path: Path) -> None:
    with bot_with(tmp_path, interval_minutes=1, cooldown_minutes=300) as bot:
        talk(bot)

        said = typed(bot, "on", "at the earliest").text

    due = datetime.now(UTC) + timedelta(minutes=300)
    assert any(f"{moment:%H:%M} at the earliest" in said for moment in (due, due - timedelta(minutes=1)))


def test_in_the_quiet_time_the_next_one_is_at_its_end(tmp_path: Path) -> None:
    hours = quiet_now()
    with bot_with(tmp_path, interval_minutes=1, cooldown_minutes=0, **hours) as bot:
        talk(bot)

        said = typed(bot, "on", "at the earliest").text

    assert f"Quiet from {hours['quiet_start']}:00 to {hours['quiet_end']}:00 (UTC)" in said
    assert f" {hours['quiet_end']:02}:00 at the earliest" in said


def test_an_agent_whose_sign_in_was_refused_is_named_and_no_other_takes_its_place(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX, user_timezone="UTC", heartbeat=ALWAYS) as bot:
        talk(bot)
        bot.say("[[scenario:error401]] two")
        bot.wait_for("not signed in")
        bot.settle()

        said = typed(bot, "on", "No heartbeat goes to another agent").text

    assert "Claude Code's sign-in was refused" in said


def test_a_limit_that_is_reached_is_named(tmp_path: Path) -> None:
    with Bot(tmp_path, heartbeat=ALWAYS, limits={"daily_tokens": 1}) as bot:
        talk(bot)

        assert "limits.daily_tokens" in typed(bot, "on", "Today's limit is reached").text


def test_what_runs_here_is_named(tmp_path: Path) -> None:
    with bot_with(tmp_path) as bot:
        talk(bot)
        bot.say("[[scenario:hang]] work")
        until(lambda: len(bot.prompts()) == 2, "the agent's prompt")

        typed(bot, "on", "Something runs or waits here")


@pytest.mark.parametrize("words", ["maybe", "on off", "*"])
def test_other_words_change_nothing(tmp_path: Path, words: str) -> None:
    with bot_with(tmp_path) as bot:
        typed(bot, words, "I know /heartbeat, /heartbeat on and /heartbeat off")

        assert stored(bot) is None
