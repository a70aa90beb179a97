"""Heartbeats come only to conversations that exist and are idle, and nobody notices them unless there is something to say."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ductor_lib.automation.heartbeat import Heartbeat
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.codex_models import Model
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import defaults
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.paths import Paths
from ductor_lib.ports import Choice
from ductor_lib.session import Freshness, Sessions
from ductor_lib.storage import JsonFile
from tests.automation import drained, saying
from tests.fakes import OWNER, Bot
from tests.program import until

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR = 60.0, 3600.0
HOME = f"chat:{OWNER}"
GROUP = "chat:-100:7"
FRESHNESS = Freshness(
    idle_minutes=1440, daily_reset=False, daily_hour=4, timezone=ZoneInfo("UTC"), max_messages=0, age_warning_hours=0
)  # fmt: skip


class Nothing:
    """A CLI that lists no models."""

    def list(self) -> tuple[Model, ...]:
        return ()


@dataclass
class Desk:
    """What runs now, as the lanes would know it."""

    busy: set[str] = field(default_factory=set)

    def running(self, lane: str) -> object:
        return lane in self.busy or None


class World:
    """Real sessions, choices and books in a folder, and a clock that stands still until it is set."""

    def __init__(self, folder: Path, stack: ExitStack, **heartbeat: object) -> None:
        self.now = NOON
        self.settings = defaults(
            user_timezone="UTC", heartbeat={"enabled": True, "interval_minutes": 30, "cooldown_minutes": 5, **heartbeat}
        )
        self.paths = Paths(folder)
        self.paths.create()
        self.state = JsonFile(self.paths.state)
        self.sessions = Sessions(JsonFile(self.paths.sessions), FRESHNESS, now=self.clock)
        self.choices = Choices(self.settings, self.sessions, self.state, Catalogue(Nothing(), Nothing()), SignIns({}))
        self.ledger = Ledger(self.paths.ledger, now=self.clock)
        stack.callback(self.ledger.close)
        self.lanes = Desk()
        self.allowed = {Chat.of(HOME), Chat.of(GROUP)}
        self.released: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self.heartbeat = self.begin()

    def begin(self) -> Heartbeat:
        return Heartbeat(
            self.settings, self.paths, self.state, self.sessions, self.choices, self.ledger, self.lanes, self.released,  # type: ignore[arg-type]
            allowed=self.allowed.__contains__, now=self.clock,
        )

    def clock(self) -> float:
        return self.now

    def talk(self, lane: str = HOME, provider: str = "claude") -> None:
        """A turn in that conversation, now."""
        bucket, _ = self.sessions.take(lane, provider, self.paths.workspace)
        self.sessions.began(lane, provider, self.paths.workspace, bucket.session_id)
        self.sessions.record(
            lane, provider, self.paths.workspace, session_id=bucket.session_id, cost=0.1, tokens_in=1, tokens_out=1
        )  # fmt: skip

    def at(self, minutes: float) -> list[str]:
        """Look at the clock so many minutes after noon; the conversations that get a heartbeat."""
        self.now = NOON + minutes * MINUTE
        self.heartbeat.tick()
        return [item.lane for item in self.items()]

    def items(self) -> list[Incoming]:
        return drained(self.released)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(tmp_path: Path, stack: ExitStack) -> World:
    return World(tmp_path, stack)


# ── when ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_heartbeats_come_once_an_interval_from_the_start_of_the_program_on(world: World) -> None:
    world.talk()

    beats = [minute for minute in range(95) if world.at(minute)]

    assert beats == [30, 60, 90]


def test_a_heartbeat_waits_until_the_conversation_was_quiet_for_a_while(world: World) -> None:
    world.at(28)
    world.talk()

    assert [minute for minute in range(28, 40) if world.at(minute)] == [33]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_conversation_s_own_switch_counts_before_the_setting(tmp_path: Path, stack: ExitStack, enabled: bool) -> None:
    world = World(tmp_path, stack, enabled=enabled)
    for lane in (HOME, GROUP):
        world.talk(lane)

    world.heartbeat.switch(GROUP, on=not enabled)

    assert world.at(30) == [HOME if enabled else GROUP]
    assert [world.heartbeat.chosen(lane) for lane in (HOME, GROUP)] == [None, not enabled]
    assert world.begin().on(GROUP) is not enabled


def test_no_heartbeat_comes_in_the_quiet_hours(tmp_path: Path, stack: ExitStack) -> None:
    world = World(tmp_path, stack, quiet_start=12, quiet_end=14)
    world.talk()

    assert [minute for minute in range(0, 150, 10) if world.at(minute)] == [120]


def test_no_heartbeat_comes_where_there_is_no_session_and_none_is_made(world: World) -> None:
    world.choices.make_default(Choice("claude", "opus", ""))
    world.sessions.choose(HOME, Choice("claude", "sonnet", ""))
    world.sessions.take(GROUP, "claude", world.paths.workspace)  # its agent has never begun
    before = world.paths.sessions.read_bytes()

    assert world.at(30) == []
    assert world.paths.sessions.read_bytes() == before


def test_no_heartbeat_comes_to_a_session_that_a_message_would_not_go_on_with(world: World) -> None:
    world.talk()
    before = world.paths.sessions.read_bytes()

    assert world.at(1439) == [HOME]
    assert world.at(1441 + 30) == []
    assert world.paths.sessions.read_bytes() == before


def test_no_heartbeat_comes_when_another_agent_was_chosen_than_the_session_is_of(world: World) -> None:
    world.talk()
    world.sessions.choose(HOME, Choice("codex", "gpt", ""))

    assert world.at(30) == []
    world.talk(provider="codex")
    assert world.at(60) == [HOME]


def test_no_heartbeat_comes_where_something_runs_or_waits(world: World) -> None:
    world.talk()
    world.lanes.busy.add(HOME)
    assert world.at(30) == []
    world.lanes.busy.clear()
    [waiting] = world.ledger.accept([Incoming("update:1", Chat(OWNER), "hello")])
    world.ledger.queue(waiting.id)
    assert world.at(31) == []

    world.ledger.finish(waiting.id)

    assert world.at(32) == [HOME]


def test_no_heartbeat_comes_to_a_chat_that_is_not_on_the_list_any_more(world: World) -> None:
    world.talk()
    world.talk(GROUP)

    world.allowed.remove(Chat.of(GROUP))

    assert world.at(30) == [HOME]


def test_a_conversation_with_an_unknown_name_harms_no_other(world: World) -> None:
    world.talk()
    with JsonFile(world.paths.sessions).change() as data:
        data["by hand"] = data[HOME]
        data["chat:x"] = {"buckets": 7}

    assert world.at(30) == [HOME]


def test_what_is_asked_names_the_word_that_means_nothing(tmp_path: Path, stack: ExitStack) -> None:
    world = World(tmp_path, stack, prompt="All quiet? Then say {token}. {this stays}", ack_token="PONG")
    world.talk()
    world.now += HOUR

    world.heartbeat.tick()

    [item] = world.items()
    assert (item.kind, item.text) == ("heartbeat", "All quiet? Then say PONG. {this stays}")
    assert world.ledger.recover()[1] == [item]


def test_a_gap_of_more_than_two_intervals_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.talk()
    for minute in (0.25, 30, 89):
        world.at(minute)
    assert "asleep" not in caplog.text

    world.at(89 + 61)

    assert "heartbeats missed, was the machine asleep? seconds=3660" in caplog.text


def test_a_clock_that_was_set_back_holds_heartbeats_up_for_an_interval_only(world: World) -> None:
    world.talk()
    world.now = NOON + 20 * HOUR
    world.heartbeat.tick()
    assert len(world.items()) == 1

    assert [minute for minute in range(0, 70, 5) if world.at(minute)] == [30, 60]


# ── a heartbeat's turn ──────────────────────────────────────────────────────────────────────────────────────────────

beats = count(1)


def beat(bot: Bot, text: str) -> Incoming:
    """A heartbeat that asks this, as the scheduler would queue it."""
    [item] = bot.app.ledger.accept([Incoming(f"heartbeat:{HOME}:{next(beats)}", Chat(OWNER), text, kind="heartbeat")])
    bot.app.dispatch.put(item)
    return item


def says(text: str) -> str:
    return f"[[scenario:say text='{text}']]"


def session(bot: Bot) -> dict[str, object]:
    """The only session of the conversation, as it is stored."""
    data = json.loads(bot.paths.sessions.read_text())
    [bucket] = data[HOME]["buckets"]["claude"].values()
    assert isinstance(bucket, dict)
    return bucket


def talk(bot: Bot) -> dict[str, object]:
    """A turn, so that there is a session; how it is afterwards."""
    bot.say("hello")
    bot.wait_for("You wrote:\n\nhello")
    bot.settle()
    return session(bot)


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    with Bot(tmp_path, command=saying(tmp_path)) as running:
        yield running


def test_an_empty_answer_is_neither_shown_nor_counted_but_paid_for(bot: Bot) -> None:
    before = talk(bot)

    for text in ("HEARTBEAT_OK", "**heartbeat_ok** - nothing to report."):
        beat(bot, says(text))
        bot.settle()

    after = session(bot)
    assert len(bot.prompts()) == 3
    assert len(bot.shown()) == 1
    assert len([call for call in bot.telegram.calls if call.method == "sendMessage"]) == 1
    same = ("session_id", "messages", "last_active", "created", "started")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert float(str(after["cost_usd"])) > float(str(before["cost_usd"]))
    assert sum(spent.turns for spent in bot.app.ledger.spent(0, 1e12)) == 3


def test_a_report_rings_and_is_a_part_of_the_conversation(bot: Bot) -> None:
    before = talk(bot)

    beat(bot, says("The build is red. HEARTBEAT_OK"))
    report = bot.wait_for("The build is red.")
    bot.settle()

    after = session(bot)
    assert not report.silent
    assert report.edits == 0
    assert (after["session_id"], after["messages"]) == (before["session_id"], 2)
    assert float(str(after["last_active"])) > float(str(before["last_active"]))


def test_a_message_ends_a_heartbeat_and_runs(bot: Bot) -> None:
    before = talk(bot)
    beat(bot, f"[[scenario:hold file={bot.folder / 'never'}]]")
    until(lambda: len(bot.prompts()) == 2, "the heartbeat at work")

    bot.say("good morning")
    bot.wait_for("You wrote:\n\ngood morning")
    bot.settle()

    assert len(bot.shown()) == 2
    assert (session(bot)["session_id"], session(bot)["messages"]) == (before["session_id"], 2)


def test_a_heartbeat_that_fails_is_not_mentioned(bot: Bot) -> None:
    before = talk(bot)

    beat(bot, "[[scenario:crash]]")
    bot.settle()

    assert len(bot.shown()) == 1
    assert session(bot)["messages"] == before["messages"]


def test_a_heartbeat_that_comes_to_a_busy_lane_is_dropped_and_never_on_the_card(bot: Bot) -> None:
    talk(bot)
    gate = bot.folder / "gate"
    bot.say(f"[[scenario:hold file={gate}]] first")
    bot.wait_until_it_runs()

    beat(bot, says("something new"))
    bot.say("second")
    bot.wait_for("1 message waiting")
    gate.touch()
    bot.wait_for("You wrote:\n\nsecond")
    bot.settle()

    assert [prompt for prompt in bot.prompts() if "something new" in prompt] == []
    assert bot.app.ledger.recover() == ([], [])


def test_after_a_fresh_start_a_heartbeat_is_dropped_and_begins_no_session(bot: Bot) -> None:
    talk(bot)
    bot.say("/new")
    bot.wait_for("Fresh session")
    before = bot.paths.sessions.read_bytes()

    beat(bot, says("something new"))
    bot.settle()

    assert len(bot.prompts()) == 1
    assert bot.paths.sessions.read_bytes() == before


def test_a_session_that_its_agent_has_lost_is_not_begun_anew_by_a_heartbeat(bot: Bot) -> None:
    before = talk(bot)
    bot.restart()
    for file in bot.folder.glob(f".claude-demo/*/{before['session_id']}.jsonl"):
        file.unlink()

    beat(bot, says("something new"))
    bot.settle()

    assert session(bot)["session_id"] == before["session_id"]
    assert len(bot.shown()) == 1


def test_at_a_daily_limit_a_heartbeat_is_dropped_without_a_question(tmp_path: Path) -> None:
    with Bot(tmp_path, command=saying(tmp_path), limits={"daily_tokens": 1}) as bot:
        talk(bot)
        shown = len(bot.shown())

        beat(bot, says("something new"))
        bot.settle()

        assert len(bot.prompts()) == 1
        assert len(bot.shown()) == shown


def test_a_stop_of_the_program_ends_a_heartbeat_without_a_word(bot: Bot) -> None:
    talk(bot)
    beat(bot, f"[[scenario:hold file={bot.folder / 'never'}]]")
    until(lambda: len(bot.prompts()) == 2, "the heartbeat at work")

    bot.restart()
    bot.settle()

    assert len(bot.shown()) == 1
    assert bot.app.ledger.recover() == ([], [])
