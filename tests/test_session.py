"""Which session a conversation goes on with, and when it starts afresh."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ductor_lib.session import Bucket, Freshness, Sessions
from ductor_lib.storage import JsonFile

BERLIN = ZoneInfo("Europe/Berlin")
NEVER = Freshness(idle_minutes=0, daily_reset=False, daily_hour=4, timezone=BERLIN, max_messages=0, age_warning_hours=0)
IDLE = replace(NEVER, idle_minutes=60)
DAILY = replace(NEVER, daily_reset=True)
START = 1_700_000_000.0
HOUR = 3600.0

ZONES = ("Europe/Berlin", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "UTC")


@dataclass
class World:
    """A folder, a clock that the test moves, and the sessions kept there."""

    folder: Path
    rules: Freshness
    now: float = START
    ids: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "sessions.json"

    @property
    def sessions(self) -> Sessions:
        """A new object each time, as after a restart: what counts is what is on disk."""
        return Sessions(JsonFile(self.file), self.rules, now=lambda: self.now, new_id=self.new_id)

    def new_id(self) -> str:
        self.ids.append(f"id-{len(self.ids) + 1}")
        return self.ids[-1]

    def start(self, conversation: str = "chat:42", provider: str = "claude") -> Bucket:
        """Take a session and let the agent begin under it."""
        bucket, _ = self.sessions.take(conversation, provider, self.folder)
        self.sessions.began(conversation, provider, self.folder, bucket.session_id)
        return bucket

    def turn(self, session_id: str, *, messages: int = 1) -> Bucket | None:
        return self.sessions.record(
            "chat:42", "claude", self.folder, session_id=session_id, messages=messages, cost=0.5, tokens_in=10, tokens_out=3
        )

    def peek(self, provider: str = "claude") -> Bucket | None:
        return self.sessions.peek("chat:42", provider, self.folder)

    def take(self) -> tuple[str, str | None]:
        bucket, reason = self.sessions.take("chat:42", "claude", self.folder)
        return bucket.session_id, reason


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, NEVER)


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def bucket(last_active: float, *, created: float = START, messages: int = 1) -> Bucket:
    return Bucket("id", messages, 0.0, 0, 0, created, last_active, started=True)


# taking


def test_a_new_session_is_on_disk_before_the_prompt_is_sent(world: World) -> None:
    taken, reason = world.sessions.take("chat:42", "claude", world.folder)

    stored = json.loads(world.file.read_text())["chat:42"]["buckets"]["claude"][os.path.realpath(world.folder)]
    assert stored["session_id"] == taken.session_id == "id-1"
    assert taken == Bucket("id-1", 0, 0.0, 0, 0, START, START, started=False)
    assert reason is None


def test_a_session_goes_on_after_a_restart(world: World) -> None:
    world.start()

    assert world.take() == ("id-1", None)
    assert world.peek() == Bucket("id-1", 0, 0.0, 0, 0, START, START, started=True)


def test_taking_a_fresh_session_writes_nothing(world: World) -> None:
    world.start()
    before = world.file.stat()

    world.take()
    world.sessions.began("chat:42", "claude", world.folder, "id-1")

    assert (world.file.stat().st_ino, world.file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_id_under_which_the_agent_was_not_seen_to_begin_is_not_used_again(world: World) -> None:
    world.take()

    assert world.take() == ("id-2", None)


def test_ids_are_uuids_unless_said_otherwise(tmp_path: Path) -> None:
    sessions = Sessions(JsonFile(tmp_path / "sessions.json"), NEVER)

    ids = {sessions.take(f"chat:{number}", "claude", tmp_path)[0].session_id for number in range(5)}

    assert {len(session_id) for session_id in ids} == {36}
    assert len(ids) == 5


def test_conversations_providers_and_folders_have_sessions_of_their_own(world: World) -> None:
    other = world.folder / "other"
    other.mkdir()

    for conversation, provider, cwd in (
        ("chat:42", "claude", world.folder),
        ("chat:42:7", "claude", world.folder),
        ("chat:42", "codex", world.folder),
        ("chat:42", "claude", other),
    ):
        world.sessions.take(conversation, provider, cwd)

    assert world.ids == ["id-1", "id-2", "id-3", "id-4"]
    assert (found := world.peek())
    assert found.session_id == "id-1"


def test_a_link_to_the_folder_finds_the_same_session(world: World) -> None:
    world.start()
    link = world.folder / "link"
    link.symlink_to(world.folder)

    found = world.sessions.peek("chat:42", "claude", link)

    assert found == world.peek()


def test_peeking_at_nothing_makes_nothing(world: World) -> None:
    assert world.peek() is None
    assert not world.file.exists()


def test_the_example_in_the_page_is_a_session_that_goes_on(world: World) -> None:
    page = (Path(__file__).parent.parent / "docs" / "modules" / "session.md").read_text("utf-8")
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    entry = example["chat:42"]["buckets"]["claude"].popitem()[1]
    put(world, entry)

    assert (found := world.peek())

    assert asdict(found) == entry


# what a turn leaves


def test_turns_add_up(world: World) -> None:
    world.start()

    world.now += 60
    world.turn("id-1")
    world.now += 60
    after = world.turn("id-1")

    assert after == world.peek() == Bucket("id-1", 2, 1.0, 20, 6, START, START + 120, started=True)


def test_the_agents_own_id_replaces_the_one_it_was_offered(world: World) -> None:
    world.take()

    world.sessions.began("chat:42", "claude", world.folder, "thread-9")

    assert world.take() == ("thread-9", None)


def test_a_session_cleared_within_a_turn_goes_on_under_its_new_id_and_counts_anew(world: World) -> None:
    world.start()
    world.turn("id-1")

    world.now += 60
    world.turn("cleared")

    assert world.peek() == Bucket("cleared", 1, 0.5, 10, 3, START + 60, START + 60, started=True)


def test_a_result_without_an_id_counts_for_the_session_that_was_taken(world: World) -> None:
    world.start()

    after = world.turn("")

    assert after
    assert (after.session_id, after.messages) == ("id-1", 1)


def test_a_turn_that_never_began_does_not_make_the_session_resumable(world: World) -> None:
    world.take()

    world.turn("id-1", messages=0)

    assert (found := world.peek())
    assert not found.started


def test_a_reset_forgets_that_one_session_only(world: World) -> None:
    world.start()
    world.start(provider="codex")
    codex = world.peek("codex")

    assert world.sessions.reset("chat:42", "claude", world.folder) is True

    assert world.peek() is None
    assert world.peek("codex") == codex is not None
    assert world.sessions.reset("chat:42", "claude", world.folder) is False
    assert world.sessions.reset("chat:1", "claude", world.folder) is False


def test_what_a_turn_reports_after_a_reset_brings_nothing_back(world: World) -> None:
    world.start()
    world.sessions.reset("chat:42", "claude", world.folder)

    world.sessions.began("chat:42", "claude", world.folder, "id-1")
    after = world.turn("id-1")

    assert after is None
    assert world.peek() is None


def test_a_session_that_the_provider_has_lost_is_replaced_by_a_new_one(world: World) -> None:
    world.start()
    world.turn("id-1")

    new = world.sessions.replace("chat:42", "claude", world.folder)

    assert new == world.peek() == Bucket("id-2", 0, 0.0, 0, 0, START, START, started=False)


# freshness


def test_an_idle_session_is_left_and_the_reason_told(world: World) -> None:
    world.rules = IDLE
    world.start()

    world.now += HOUR
    assert world.take() == ("id-1", None)
    world.now += 1
    assert world.take() == ("id-2", "idle")


def test_activity_keeps_a_session_fresh(world: World) -> None:
    world.rules = IDLE
    world.start()

    for _ in range(3):
        world.now += 50 * 60
        assert world.take() == ("id-1", None)
        world.turn("id-1")


def test_a_full_session_is_left(world: World) -> None:
    world.rules = replace(NEVER, max_messages=2)
    world.start()

    world.turn("id-1")
    assert world.take() == ("id-1", None)
    world.turn("id-1")
    assert world.take() == ("id-2", "full")


def test_with_everything_off_a_session_is_never_stale() -> None:
    assert NEVER.stale(bucket(0.0, messages=10_000), START) is None


def test_a_session_is_left_at_the_daily_hour_and_not_again_that_day() -> None:
    before, after = at("2024-06-10 03:59:59"), at("2024-06-10 04:00")

    assert DAILY.stale(bucket(before), before) is None
    assert DAILY.stale(bucket(before), after) == "daily"
    assert DAILY.stale(bucket(after), at("2024-06-11 03:59:59")) is None
    assert DAILY.stale(bucket(after), at("2024-06-11 04:00")) == "daily"


@pytest.mark.parametrize(
    ("hour", "now", "last"),
    [
        (4, "2024-03-31 12:00", "2024-03-31 04:00"),  # the day with 23 hours
        (4, "2024-10-27 12:00", "2024-10-27 04:00"),  # the day with 25 hours
        (4, "2024-10-27 03:30", "2024-10-26 04:00"),
        (2, "2024-03-31 03:00", "2024-03-31 03:00"),  # 2:00 does not exist: the clocks go from 1:59:59 to 3:00
        (2, "2024-03-31 01:59:59", "2024-03-30 02:00"),
        (0, "2024-06-10 00:00", "2024-06-10 00:00"),
        (23, "2024-06-10 22:59", "2024-06-09 23:00"),
    ],
)
def test_the_daily_hour_is_that_of_the_wall_clock(hour: int, now: str, last: str) -> None:
    rules = replace(DAILY, daily_hour=hour)

    assert rules.last_reset(at(now)) == at(last)


def test_an_hour_that_comes_twice_resets_once() -> None:
    rules = replace(DAILY, daily_hour=2)
    first, second = at("2024-10-27 02:00"), at("2024-10-27 02:00", fold=1)

    assert second - first == HOUR
    assert rules.last_reset(first) == rules.last_reset(second + 60) == first
    assert rules.stale(bucket(first + 60), second + 60) is None


def test_a_day_that_a_zone_skipped_does_no_harm() -> None:
    rules = replace(DAILY, timezone=ZoneInfo("Pacific/Apia"))
    now = at("2011-12-31 00:30", "Pacific/Apia")  # half an hour after the 29th

    assert rules.last_reset(now) == at("2011-12-29 04:00", "Pacific/Apia")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 23), st.floats(1.2e9, 2.0e9))
def test_the_last_reset_is_never_ahead_and_at_most_a_long_day_back(zone: str, hour: int, now: float) -> None:
    rules = replace(DAILY, daily_hour=hour, timezone=ZoneInfo(zone))

    last = rules.last_reset(now)

    assert last <= now
    assert now - last <= 25 * HOUR or zone == "Pacific/Apia"
    assert rules.stale(bucket(now), now) is None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 23), st.floats(1.2e9, 2.0e9), st.floats(0, 1e9))
def test_a_clock_that_was_set_back_never_makes_a_session_stale(zone: str, hour: int, now: float, ahead: float) -> None:
    rules = replace(IDLE, daily_reset=True, daily_hour=hour, timezone=ZoneInfo(zone))

    assert rules.stale(bucket(now + ahead, created=now + ahead), now) is None


def test_a_session_with_a_time_in_the_future_heals_with_the_next_turn(world: World) -> None:
    world.rules = IDLE
    world.now = START + 1000 * HOUR
    world.start()

    world.now = START
    world.turn("id-1")
    world.now += HOUR + 1

    assert world.take() == ("id-2", "idle")


def test_an_old_session_is_mentioned_at_every_tenth_message(world: World) -> None:
    world.rules = replace(NEVER, age_warning_hours=12)
    world.start()

    young = [world.sessions.age_warning(after) for _ in range(10) if (after := world.turn("id-1"))]
    world.now += 13 * HOUR
    old = [world.sessions.age_warning(after) for _ in range(20) if (after := world.turn("id-1"))]

    assert young == [None] * 10
    assert [number for number, text in enumerate(old, 11) if text] == [20, 30]
    assert old[9] == "This session is 13 hours old and has 20 messages. /new starts a fresh one."


@pytest.mark.parametrize(
    ("rules", "created", "messages"),
    [(NEVER, 0.0, 10), (replace(NEVER, age_warning_hours=12), START + HOUR, 10), (replace(NEVER, age_warning_hours=12), 0.0, 0)],
    ids=["switched off", "begun in the future", "no message yet"],
)
def test_no_warning_about_age(rules: Freshness, created: float, messages: int) -> None:
    assert rules.age_warning(bucket(START, created=created, messages=messages), START) is None


# what others wrote into the file


def put(world: World, entry: object) -> None:
    world.file.write_text(json.dumps({"chat:42": {"buckets": {"claude": {os.path.realpath(world.folder): entry}}}}))


def test_missing_keys_get_defaults_and_an_id_alone_is_resumed(world: World) -> None:
    put(world, {"session_id": "by-hand"})

    assert world.take() == ("by-hand", None)
    assert world.peek() == Bucket("by-hand", 0, 0.0, 0, 0, START, START, started=True)


def test_wrong_types_are_repaired_one_by_one_and_unknown_keys_are_kept(world: World) -> None:
    numbers = {"messages": "3", "cost_usd": None, "tokens_in": -1, "tokens_out": True, "created": 1e300, "last_active": START - 9}
    put(world, {"session_id": "x", "note": {"theirs": 1}, "started": "yes", **numbers})

    after = world.turn("x")

    assert after == Bucket("x", 1, 0.5, 10, 3, START - 9, START, started=True)
    stored = json.loads(world.file.read_text())["chat:42"]["buckets"]["claude"][os.path.realpath(world.folder)]
    assert stored["note"] == {"theirs": 1}
    assert stored["messages"] == 1


def test_not_a_number_is_not_a_cost(world: World) -> None:
    put(world, {"session_id": "x", "cost_usd": float("nan"), "last_active": float("inf")})

    assert world.peek() == Bucket("x", 0, 0.0, 0, 0, START, START, started=True)


@pytest.mark.parametrize("entry", [None, 5, [], "x", {}, {"session_id": 5}, {"session_id": ""}], ids=repr)
def test_an_entry_without_an_id_is_no_session_and_gives_way_to_one(world: World, entry: object) -> None:
    put(world, entry)

    assert world.peek() is None
    assert world.turn("late") is None
    assert world.take() == ("id-1", None)
    assert world.sessions.reset("chat:42", "claude", world.folder) is True


@pytest.mark.parametrize("content", [{"chat:42": 5}, {"chat:42": {"buckets": []}}, {"chat:42": {"buckets": {"claude": "x"}}}], ids=repr)
def test_nonsense_in_one_conversation_leaves_the_others_alone(world: World, content: dict[str, object]) -> None:
    world.start("chat:7")
    file = json.loads(world.file.read_text())
    world.file.write_text(json.dumps(file | content | {"theirs": [1]}))

    assert world.take() == ("id-2", None)

    assert (found := world.sessions.peek("chat:7", "claude", world.folder))
    assert found.session_id == "id-1"
    assert json.loads(world.file.read_text())["theirs"] == [1]


KEYS = ("session_id", "messages", "cost_usd", "tokens_in", "tokens_out", "created", "last_active", "started", "other")
VALUES: st.SearchStrategy[object] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, VALUES)))
def test_any_entry_can_be_taken_used_and_reset(world: World, entry: dict[str, object]) -> None:
    world.rules = replace(IDLE, daily_reset=True, max_messages=5, age_warning_hours=1)
    put(world, entry)

    session_id, _ = world.take()
    world.sessions.began("chat:42", "claude", world.folder, session_id)
    after = world.turn(session_id)

    assert after
    assert (after.session_id, after.started, after.last_active) == (session_id, True, START)
    assert world.sessions.reset("chat:42", "claude", world.folder)


# a copy of another session


def test_a_copy_is_asked_for_until_the_agent_has_begun_it_each_time_under_a_new_id(world: World) -> None:
    world.sessions.replace("chat:42", "claude", world.folder, fork_of="original")

    first, _ = world.sessions.take("chat:42", "claude", world.folder)
    second, _ = world.sessions.take("chat:42", "claude", world.folder)

    assert (first.fork_of, second.fork_of) == ("original", "original")
    assert first.session_id != second.session_id
    world.sessions.began("chat:42", "claude", world.folder, second.session_id)
    assert (found := world.peek())
    assert (found.session_id, found.started, found.fork_of) == (second.session_id, True, "")


def test_a_copy_whose_id_the_agent_chooses_is_a_copy_no_more(world: World) -> None:
    world.sessions.replace("chat:42", "codex", world.folder, fork_of="original")

    world.sessions.began("chat:42", "codex", world.folder, "its own")

    assert (found := world.peek("codex"))
    assert (found.session_id, found.started, found.fork_of) == ("its own", True, "")


def test_a_fresh_session_copies_nothing(world: World) -> None:
    world.sessions.replace("chat:42", "claude", world.folder, fork_of="original")

    world.sessions.reset("chat:42", "claude", world.folder)

    assert world.sessions.take("chat:42", "claude", world.folder)[0].fork_of == ""


@pytest.mark.parametrize("entry", [{"started": True, "fork_of": "x"}, {"started": False, "fork_of": 7}, {"fork_of": "x"}])
def test_a_wrong_wish_for_a_copy_is_none(world: World, entry: dict[str, object]) -> None:
    put(world, {"session_id": "x", **entry})

    assert (found := world.peek())
    assert found.fork_of == ""
