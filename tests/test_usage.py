"""The books are summed by days of the user's calendar, and /usage shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.commands.usage import short, table
from ductor_lib.demo.state import Message
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator import usage
from ductor_lib.orchestrator.ledger import Ledger, Spent, TurnRecord
from ductor_lib.orchestrator.usage import Total
from tests.fakes import CODEX, OWNER, SOON, Bot

BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86400.0
OPUS = Spent("claude", "opus", "chat:42", 3, 0.75, 12_000, 400)
HAIKU = Spent("claude", "haiku", "chat:7", 1, 0.25, 500, 20)
CODEX_HERE = Spent("codex", "gpt-5.5", "chat:42", 2, 0.0, 3_000, 100)
ROWS = [HAIKU, CODEX_HERE, OPUS]


def moment(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def book(ledger: Ledger, *, at: float, cost: float = 0.5, chat: int = OWNER, provider: str = "claude") -> None:
    """One finished turn in the books."""
    [item] = ledger.accept([Incoming(f"update:{at}:{chat}:{provider}", Chat(chat), "hi")])
    ledger.begin(item.id)
    ledger.finish(item.id, turn=TurnRecord(provider, "m", "s", at, 1.0, "done", "", cost, 100, 10))


# ── days ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_day_begins_at_midnight_where_the_user_lives() -> None:
    begin, end = usage.period(1, moment("2026-07-01T00:10"), BERLIN)

    assert (begin, end) == (moment("2026-07-01T00:00"), moment("2026-07-02T00:00"))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clocks_change_is_shorter_or_longer(day: str, hours: int) -> None:
    begin, end = usage.period(1, moment(f"{day}T12:00"), BERLIN)

    assert end - begin == hours * 3600


def test_seven_days_are_today_and_the_six_before() -> None:
    begin, end = usage.period(7, moment("2026-07-10T23:59"), BERLIN)

    assert (begin, end) == (moment("2026-07-04T00:00"), moment("2026-07-11T00:00"))


@settings(max_examples=200, deadline=None)
@given(
    now=st.floats(0, 4e9),
    days=st.sampled_from([1, 7, 30]),
    zone=st.sampled_from(["Europe/Berlin", "Pacific/Apia", "America/Havana", "Asia/Beirut", "Asia/Kathmandu", "UTC"]),
)
def test_now_is_always_within_the_period(now: float, days: int, zone: str) -> None:
    begin, end = usage.period(days, now, ZoneInfo(zone))

    assert begin <= now < end
    assert end - begin <= days * DAY + 25 * 3600  # a zone may cross the date line


def test_what_a_clock_that_ran_ahead_has_written_counts_for_no_day_before(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    now = moment("2026-07-01T12:00")
    for at in (now + 30 * DAY, now + 3600, now, now - 13 * 3600):  # next month, later today, now, yesterday
        book(ledger, at=at)

    assert usage.total(usage.spent(ledger, 1, now=now, zone=BERLIN)).turns == 2
    assert usage.total(usage.spent(ledger, 30, now=now, zone=BERLIN)).turns == 3
    assert usage.spent(ledger, 1, now=now - 90 * DAY, zone=BERLIN) == []


# ── sums ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_books_hold_a_sum_per_conversation_and_model(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    for at, chat, provider in ((1.0, 42, "claude"), (2.0, 42, "claude"), (3.0, 7, "claude"), (4.0, 42, "codex")):
        book(ledger, at=at, chat=chat, provider=provider)

    assert ledger.spent(0, 10) == [
        Spent("claude", "m", "chat:42", 2, 1.0, 200, 20), Spent("claude", "m", "chat:7", 1, 0.5, 100, 10),
        Spent("codex", "m", "chat:42", 1, 0.5, 100, 10),
    ]  # fmt: skip
    assert [row.turns for row in ledger.spent(2, 4)] == [1, 1]


def test_sums_add_turns_cost_and_tokens() -> None:
    assert usage.total(ROWS) == Total(6, 1.0, 15_500, 520)
    assert usage.total([]) == Total()


def test_the_dearest_comes_first_then_the_one_with_most_tokens() -> None:
    assert list(usage.by(ROWS, lambda row: row.model)) == ["opus", "haiku", "gpt-5.5"]
    assert usage.by(ROWS, lambda row: row.lane)["chat:42"] == Total(5, 0.75, 15_000, 500)


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_has_a_line_per_model_and_the_share_of_the_conversation() -> None:
    text = table(ROWS, "chat:42")

    assert "| Claude opus | 3 | $0.75 | 12.4k |" in text
    assert "| all | 6 | $1.00 | 16.0k |" in text
    assert "**This conversation:** 5 turns, $0.75 (75%), 15.5k tokens (97%)" in text


def test_an_agent_that_is_part_of_the_model_name_is_named_once() -> None:
    assert "| Claude opus\\-4\\-8 |" in table([replace(OPUS, model="claude-opus-4-8")], "chat:42")


def test_codex_has_tokens_and_no_price() -> None:
    assert "| Codex gpt\\-5\\.5 | 2 | no price | 3.1k |" in table(ROWS, "chat:42")
    assert "$" not in table([CODEX_HERE], "chat:42")


@pytest.mark.parametrize(("usd", "shown"), [(0.0, "$0.00"), (0.0012, "$0.0012"), (0.1, "$0.10"), (1234.5, "$1,234.50")])
def test_small_amounts_have_four_digits(usd: float, shown: str) -> None:
    assert usage.money(usd) == shown


def test_without_turns_there_is_no_table() -> None:
    assert table([], "chat:42") == "No turns yet."


@pytest.mark.parametrize(("number", "shown"), [(0, "0"), (999, "999"), (1000, "1.0k"), (999_949, "999.9k"), (999_950, "1.0M"),
                                               (2_345_000_000, "2,345.0M")])  # fmt: skip
def test_large_counts_are_shortened(number: int, shown: str) -> None:
    assert short(number) == shown


# ── in the chat ─────────────────────────────────────────────────────────────────────────────────────────────────────


def card(bot: Bot, words: str) -> Message:
    return bot.telegram.wait(
        lambda _: next((message for message in bot.shown() if words in message.text), None), timeout=SOON, what=words
    )


def test_a_press_changes_the_period_in_place_and_a_command_shows_a_new_card(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.say("hello")
        bot.wait_for("hello")
        bot.settle()

        bot.say("/usage")
        first = card(bot, "Usage: today")
        assert "This conversation: 1 turn, $" in first.text
        bot.telegram.press(first.id, "7 days")
        assert card(bot, "Usage: 7 days").id == first.id

        bot.say("/usage 30")
        assert card(bot, "Usage: 30 days").id > first.id
        bot.telegram.wait(lambda _: all(message.id != first.id for message in bot.shown()), timeout=SOON, what="the old card to go")


def test_turns_of_both_agents_are_in_the_table(tmp_path: Path) -> None:
    with Bot(tmp_path, codex=CODEX, provider="codex", model="gpt-5.5") as bot:
        bot.say("hello")
        bot.wait_for("hello")
        bot.settle()

        bot.say("/usage")

        assert "no price" in card(bot, "Usage: today").text


def test_an_unknown_period_is_answered_with_those_that_are_known(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.say("/usage tomorrow")

        assert "/usage 30" in card(bot, "I know").text
