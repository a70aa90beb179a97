"""A daily limit warns, then asks; what it stops is never lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ductor_lib.config import defaults
from ductor_lib.demo.state import Message
from ductor_lib.demo.stream import PRICE
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger, TurnRecord
from ductor_lib.orchestrator.limits import STATE, Limits, Meter, meters, turn_budget
from ductor_lib.orchestrator.usage import Total
from ductor_lib.storage import JsonFile
from tests.fakes import OWNER, SOON, Bot

CHAT = Chat(OWNER)
GROUP = -100
DAY = 86400.0
NOON = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"  # a zone in which no midnight comes in between


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.time


class Desk:
    """The limits with a ledger and a clock of their own."""

    def __init__(self, folder: Path, **rules: object) -> None:
        self.clock = Clock()
        self.ledger = Ledger(folder / "ledger.db", now=self.clock)
        self.file = JsonFile(folder / "state.json")
        self.settings = defaults(user_timezone="UTC", limits=rules)
        self.limits = self.again()
        self._number = 0

    def again(self) -> Limits:
        return Limits(self.settings, self.ledger, self.file, now=self.clock)

    def item(self, *, kind: str = "message") -> Incoming:
        self._number += 1
        [stored] = self.ledger.accept([Incoming(f"update:{self._number}", CHAT, "do it", kind=kind, message_id=self._number)])  # type: ignore[arg-type]
        return stored

    def turn(self, cost: float, *, tokens: int = 0) -> TurnRecord:
        return TurnRecord("claude", "opus", "s", self.clock.time, 1.0, "done", "", cost, tokens, 0)

    def spend(self, cost: float, *, tokens: int = 0) -> str:
        """A turn that is warned about like in a chat, and then booked."""
        turn = self.turn(cost, tokens=tokens)
        warning = self.limits.warning(turn)
        item = self.item()
        self.ledger.begin(item.id)
        self.ledger.finish(item.id, turn=turn)
        return warning


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Desk]:
    return lambda **rules: Desk(tmp_path, **rules)


# ── pure ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_limits_that_are_set_have_a_meter() -> None:
    spent = Total(1, 2.0, 300, 200)

    assert meters(spent, daily_usd=0, daily_tokens=0) == []
    assert meters(spent, daily_usd=4, daily_tokens=1000) == [Meter("daily_usd", 2.0, 4), Meter("daily_tokens", 500, 1000)]


def test_many_small_costs_reach_a_limit_that_is_their_sum() -> None:
    [meter] = meters(Total(cost=sum([0.1] * 10)), daily_usd=1.0, daily_tokens=0)

    assert meter.used >= meter.limit


def test_a_meter_reads_as_money_or_as_tokens() -> None:
    assert str(Meter("daily_usd", 4.1, 5.0)) == "$4.10 of $5.00 (`limits.daily_usd`)"
    assert str(Meter("daily_tokens", 81_000, 100_000)) == "81,000 of 100,000 tokens (`limits.daily_tokens`)"


@pytest.mark.parametrize(("turn", "whole", "smaller"), [(0, 0, 0), (2, 0, 2), (0, 3, 3), (2, 3, 2), (3, 2, 2)])
def test_the_smaller_budget_of_a_turn_counts_where_both_are_set(turn: float, whole: float, smaller: float) -> None:
    assert turn_budget(defaults(max_budget_usd=whole, limits={"turn_usd": turn})) == smaller


# ── warnings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_eighty_percent_on_one_answer_of_the_day_warns(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)

    assert desk.spend(0.7) == ""
    assert desk.spend(0.1) == "*Today's limit is near:* $0.80 of $1.00 (`limits.daily_usd`)"
    assert desk.spend(0.1) == ""
    desk.clock.time += DAY
    assert desk.spend(0.7) == ""
    assert "reached" in desk.spend(0.7)


def test_each_limit_warns_for_itself_and_both_on_one_line(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0, daily_tokens=1000)

    assert "daily_tokens" in desk.spend(0.0, tokens=900)
    assert desk.spend(0.9) == "*Today's limit is near:* $0.90 of $1.00 (`limits.daily_usd`)"
    desk.clock.time += DAY
    assert desk.spend(0.9, tokens=900) == (
        "*Today's limit is near:* $0.90 of $1.00 (`limits.daily_usd`), 900 of 1,000 tokens (`limits.daily_tokens`)"
    )


def test_of_conversations_that_end_at_once_one_is_warned(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    start = threading.Barrier(8)
    said: list[str] = []

    def end() -> None:
        start.wait(SOON)
        said.append(desk.limits.warning(desk.turn(0.9)))

    threads = [threading.Thread(target=end, name="end", daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert len(said) == 8
    assert len(list(filter(None, said))) == 1


def test_a_turn_that_began_yesterday_does_not_count_today(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    turn = desk.turn(5.0)
    desk.clock.time += DAY

    assert desk.limits.warning(turn) == ""


def test_a_state_that_cannot_be_written_does_not_cost_the_answer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, daily_usd=1.0)
    missing = Limits(desk.settings, desk.ledger, JsonFile(tmp_path / "gone" / "state.json"), now=desk.clock)

    assert missing.warning(desk.turn(0.9)) == ""


# ── the limit itself ────────────────────────────────────────────────────────────────────────────────────────────────


def test_below_the_limit_nothing_is_stopped(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.spend(0.99)

    assert not desk.limits.stops(item := desk.item())
    assert desk.ledger.begin(item.id)


def test_at_the_limit_a_message_is_put_aside_together_with_its_question(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.spend(1.0)

    assert desk.limits.stops(item := desk.item())

    assert desk.ledger.state(CHAT, item.message_id) == "limited"
    [asked] = desk.ledger.outbox.unsent()
    assert [button.command for row in asked.reply.buttons for button in row] == [f"/limit on {item.id}", f"/limit off {item.id}"]
    assert "$1.00 of $1.00" in asked.reply.text


def test_a_message_that_was_cancelled_meanwhile_is_not_asked_about(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.spend(1.0)
    item = desk.item()
    desk.ledger.cancel(item.id, item.lane)

    assert desk.limits.stops(item)
    assert desk.ledger.state(CHAT, item.message_id) == "dropped"
    assert desk.ledger.outbox.unsent() == []


def test_what_the_agent_began_by_itself_is_not_stopped(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.spend(1.0)

    assert not desk.limits.stops(desk.item(kind="agent"))


def test_lifted_limits_stay_lifted_until_midnight_also_after_a_restart(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.spend(1.0)

    desk.limits.lift()

    assert not desk.again().stops(desk.item())
    assert desk.limits.warning(desk.turn(5.0)) == ""
    desk.clock.time += DAY
    assert desk.limits.reached() == []
    desk.spend(1.0)
    assert desk.limits.reached()


def test_a_clock_that_goes_back_neither_lifts_a_limit_nor_counts_what_it_wrote_ahead(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.clock.time += 400 * DAY
    desk.spend(50.0)
    desk.limits.lift()
    desk.clock.time -= 400 * DAY

    assert desk.limits.reached() == []  # nothing was spent on this day
    desk.spend(1.0)
    assert desk.limits.reached()  # and the lifting was for another one


@pytest.mark.parametrize("damage", [None, [], "x", {"lifted": 7}, {"warned_daily_usd": []}])
def test_damaged_notes_lift_nothing_and_are_replaced(make: Callable[..., Desk], damage: object) -> None:
    desk = make(daily_usd=1.0)
    desk.file.path.write_text(json.dumps({STATE: damage, "mine": 1}))

    assert "reached" in desk.spend(1.0)
    assert desk.limits.reached()
    desk.limits.lift()
    assert desk.limits.reached() == []
    assert desk.file.read()["mine"] == 1


def test_edits_and_stop_reach_a_message_that_the_limit_stopped(make: Callable[..., Desk]) -> None:
    desk = make(daily_usd=1.0)
    desk.spend(1.0)
    desk.limits.stops(item := desk.item())

    assert desk.ledger.amend(Incoming("e", CHAT, "do that", kind="edit", message_id=item.message_id))
    assert [other.text for other in desk.ledger.held(state="limited")] == ["do that"]
    assert desk.ledger.drop_before(item.id + 1, item.lane) == 1


# ── in the chat ─────────────────────────────────────────────────────────────────────────────────────────────────────


def limited(folder: Path, **rules: float) -> Bot:
    """A bot whose limit is reached by one turn."""
    return Bot(folder, user_timezone=NOON, limits=rules or {"daily_usd": PRICE})


def use_up(bot: Bot) -> None:
    bot.say("the first")
    bot.wait_for("the first")
    bot.settle()


def asked(bot: Bot, words: str = "", *, chat: int = OWNER) -> Message:
    """The question about a message."""

    def shown(_: object) -> Message | None:
        cards = (message for message in bot.shown(chat) if any("Go on" in button["text"] for row in message.buttons for button in row))
        return next((message for message in cards if words in message.text), None)

    return bot.telegram.wait(shown, timeout=SOON, what=f"the question about {words}")


def prompted(bot: Bot, words: str) -> bool:
    return any(words in prompt for prompt in bot.prompts())


def test_the_answer_that_reaches_the_limit_says_so_and_the_next_message_is_asked_about(tmp_path: Path) -> None:
    with limited(tmp_path) as bot:
        bot.say("the first")
        assert "Today's limit is reached" in bot.wait_for("the first").text

        bot.say("the second")

        assert "(limits.daily_usd)" in asked(bot, "the second").text
        bot.settle()
        assert not prompted(bot, "the second")


def test_go_on_today_runs_what_was_stopped_in_order_and_asks_no_more(tmp_path: Path) -> None:
    with limited(tmp_path) as bot:
        use_up(bot)
        bot.say("the second")
        asked(bot, "the second")
        bot.say("the third")

        bot.telegram.press(asked(bot, "the third").id, "Go on today")

        bot.wait_for("You wrote:\n\nthe third")
        bot.settle()
        bot.say("the fourth")
        bot.wait_for("You wrote:\n\nthe fourth")
        assert [words for prompt in bot.prompts() for words in ("first", "second", "third", "fourth") if f"the {words}" in prompt] == [
            "first", "second", "third", "fourth",
        ]  # fmt: skip
        assert not any("Go on" in str(message.buttons) for message in bot.shown())


def test_stop_drops_the_message_and_its_button_works_once(tmp_path: Path) -> None:
    with limited(tmp_path) as bot:
        use_up(bot)
        bot.say("the second")
        card = asked(bot, "the second")

        bot.telegram.press(card.id, "Stop")

        assert bot.wait_for("Not begun").id == card.id
        bot.settle()
        assert bot.app.ledger.held(state="limited") == []
        bot.say("/limit on 2")
        bot.wait_for("nothing waits for it any more")
        assert not prompted(bot, "the second")


def test_the_question_is_asked_again_after_a_restart_and_can_still_be_answered(tmp_path: Path) -> None:
    with limited(tmp_path) as bot:
        use_up(bot)
        bot.say("the second")
        asked(bot, "the second")
        bot.settle()

        bot.restart()
        again = asked(bot, "A daily limit was reached before")
        bot.settle()
        assert not prompted(bot, "the second")
        bot.telegram.press(again.id, "Go on today")

        bot.wait_for("You wrote:\n\nthe second")


def test_go_on_today_survives_a_restart(tmp_path: Path) -> None:
    with limited(tmp_path) as bot:
        use_up(bot)
        bot.say("the second")
        bot.telegram.press(asked(bot, "the second").id, "Go on today")
        bot.wait_for("You wrote:\n\nthe second")
        bot.settle()

        bot.restart()
        bot.say("the third")

        bot.wait_for("You wrote:\n\nthe third")


def test_each_conversation_answers_for_its_own_messages(tmp_path: Path) -> None:
    with Bot(tmp_path, user_timezone=NOON, limits={"daily_usd": PRICE}, allowed_group_ids=[GROUP]) as bot:
        bot.telegram.add_group(GROUP)
        use_up(bot)
        bot.say("in private")
        bot.say("in the group", chat=GROUP)
        here, there = asked(bot, "in private"), asked(bot, "in the group", chat=GROUP)

        bot.telegram.press(here.id, "Go on today")
        bot.wait_for("You wrote:\n\nin private")
        bot.settle()

        assert not prompted(bot, "in the group")
        bot.telegram.press(there.id, "Go on today", chat=GROUP)
        bot.wait_for("You wrote:\n\nin the group", chat=GROUP)


def test_conversations_that_meet_the_limit_at_once_all_keep_their_messages(tmp_path: Path) -> None:
    topics = range(1, 7)
    with Bot(tmp_path, user_timezone=NOON, limits={"daily_usd": PRICE}, allowed_group_ids=[GROUP]) as bot:
        bot.telegram.add_group(GROUP, topics=topics)
        use_up(bot)

        for topic in topics:
            bot.say(f"in topic {topic}", chat=GROUP, topic=topic)

        bot.telegram.wait(lambda _: len(bot.app.ledger.held(state="limited")) == len(topics), timeout=SOON, what="all to be asked about")
        bot.settle()
        assert sorted(item.text for item in bot.app.ledger.held(state="limited")) == [f"in topic {topic}" for topic in topics]
        assert len(bot.prompts()) == 1


def test_slash_stop_drops_the_message_and_takes_its_question_away(tmp_path: Path) -> None:
    with limited(tmp_path) as bot:
        use_up(bot)
        bot.say("the second")
        card = asked(bot, "the second")

        bot.say("/stop")

        bot.wait_for("1 waiting message dropped")
        bot.telegram.wait(lambda _: all(message.id != card.id for message in bot.shown()), timeout=SOON, what="the question to go")


def test_a_limit_counts_tokens_too(tmp_path: Path) -> None:
    with limited(tmp_path, daily_tokens=100) as bot:
        use_up(bot)

        bot.say("the second")

        assert "limits.daily_tokens" in asked(bot, "the second").text


def test_a_turn_that_costs_too_much_is_ended_by_the_agent(tmp_path: Path) -> None:
    with limited(tmp_path, turn_usd=PRICE / 2) as bot:
        bot.say("the first")

        bot.wait_for("spending limit")
