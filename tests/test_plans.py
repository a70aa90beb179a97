"""What a turn is made of, by what began it: a person, a hook with wishes of its own, a heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ductor_lib.cli.auth import AuthState
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.codex_models import Model
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings, defaults
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.plans import Plan, Plans
from ductor_lib.orchestrator.runs import Order, Run
from ductor_lib.paths import Paths
from ductor_lib.ports import Choice
from ductor_lib.session import Freshness, Sessions
from ductor_lib.storage import JsonFile

OWNER = Chat(42)
FRESHNESS = Freshness(
    idle_minutes=60, daily_reset=False, daily_hour=4, timezone=ZoneInfo("UTC"), max_messages=0, age_warning_hours=0
)  # fmt: skip


class Signed:
    """A CLI that says whether it is signed in."""

    def __init__(self, *, signed_in: bool) -> None:
        self.signed_in = signed_in

    def state(self) -> AuthState:
        return AuthState(installed=True, version="1", signed_in=self.signed_in, method="test")


class Listing:
    """A CLI that lists these models."""

    def __init__(self, *models: Model) -> None:
        self._models = models

    def list(self) -> tuple[Model, ...]:
        return self._models


class World:
    """Plans over real sessions, choices and books."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.settings: Settings = defaults(cli_parameters={"claude": ["--verbose"], "codex": ["-c", "a=1"]})
        self.ledger, self.paths, self.now = ledger, Paths(folder), 1_000_000.0
        self.paths.create()
        self.claude, self.codex = Signed(signed_in=True), Signed(signed_in=True)
        state = JsonFile(self.paths.state)
        self.sessions = Sessions(JsonFile(self.paths.sessions), FRESHNESS, now=lambda: self.now)
        self.sign_ins = SignIns({"claude": self.claude, "codex": self.codex})
        listed = Model("gpt", "GPT", ("low", "high"), "low", is_default=True)
        self.choices = Choices(self.settings, self.sessions, state, Catalogue(Listing(), Listing(listed)), self.sign_ins)
        self.plans = Plans(self.settings, self.paths, ledger, self.sessions, self.choices, permission_mode="acceptEdits")
        self._count = 0

    def make(self, text: str, **details: object) -> Plan | str:
        self._count += 1
        item = Incoming(f"update:{self._count}", OWNER, text, sent_at=self.now, **details)  # type: ignore[arg-type]
        [stored] = self.ledger.accept([item])
        return self.plans.make(stored)

    def plan(self, text: str, **details: object) -> Plan:
        plan = self.make(text, **details)
        assert isinstance(plan, Plan)
        return plan

    def woken(self, order: Order, *, source: str = "hook") -> Plan:
        """The plan for what a hook or job begins in the conversation."""
        self._count += 1
        run = Run(f"{source}:x:{self._count}", source, "x", "Build *it*", order.pack(), 0.0)
        _, [item] = self.ledger.runs.add(run, [Incoming(run.key, OWNER, "@codex look", kind="wake")])
        plan = self.plans.make(item)
        assert isinstance(plan, Plan)
        return plan

    def begun(self, plan: Plan) -> None:
        """Its agent has answered."""
        place = (OWNER.lane, plan.choice.provider, self.paths.workspace)
        self.sessions.began(*place, plan.bucket.session_id)
        self.sessions.record(*place, session_id=plan.bucket.session_id, cost=0, tokens_in=0, tokens_out=0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        yield World(tmp_path, ledger)


def test_a_message_goes_on_with_its_session_and_is_asked_as_it_is(world: World) -> None:
    first = world.plan("hello")
    world.begun(first)

    second = world.plan("and now?")

    assert (second.prompt, second.heading, second.notes, second.order) == ("and now?", "", (), Order())
    assert second.bucket.session_id == first.bucket.session_id
    request = world.plans.request(second, world.paths.workspace)
    assert (request.resume, request.parameters, request.unattended) == (True, ("--verbose",), False)
    assert request.writable == (world.paths.requests,)


def test_a_session_that_was_idle_for_too_long_is_left_and_that_is_noted(world: World) -> None:
    first = world.plan("hello")
    world.begun(first)

    world.now += 3601
    second = world.plan("and now?")

    assert second.bucket.session_id != first.bucket.session_id
    assert second.notes == ("*A fresh session: the last one had been idle for too long (`idle_timeout_minutes`).*",)


@pytest.mark.parametrize(("source", "head"), [("hook", "HOOK"), ("job", "TASK")])
def test_what_the_clock_or_a_hook_begins_is_headed_by_its_title_and_reads_no_directives(world: World, source: str, head: str) -> None:
    plan = world.woken(Order(), source=source)

    assert plan.heading == f"**{head}: Build \\*it\\***"
    assert plan.prompt == "@codex look"
    assert plan.choice == Choice("claude", "opus", "medium")


def test_a_hook_s_wishes_hold_for_its_turn_only(world: World) -> None:
    woken = world.woken(Order(provider="codex", effort="high", parameters=("-c", "b=2")))

    assert woken.choice == Choice("codex", "gpt", "high")
    assert world.plans.request(woken, world.paths.workspace).parameters == ("-c", "b=2")
    later = world.plan("hello")
    assert later.choice == Choice("claude", "opus", "medium")


def test_no_parameters_are_a_wish_too(world: World) -> None:
    plan = world.woken(Order(parameters=()))

    assert world.plans.request(plan, world.paths.workspace).parameters == ()


def test_what_happened_meanwhile_is_told_with_the_next_message_up_to_its_number(world: World) -> None:
    [item] = world.ledger.accept([Incoming("job:1", OWNER, "x", kind="task", task="x")])
    world.ledger.finish(item.id, notes=[(OWNER.lane, "first"), ("chat:7", "not ours"), (OWNER.lane, "second")])

    plan = world.plan("and now?")

    assert plan.prompt == "first\n\nsecond\n\nand now?"
    assert plan.told == world.ledger.notes(OWNER.lane)[-1][0]


@pytest.mark.parametrize("text", ["", "  "])
def test_a_message_without_words_gets_no_reminder(world: World, text: str) -> None:
    for _ in range(5):
        world.begun(world.plan("hello"))

    assert world.plan("hello").prompt.startswith("hello\n\n(ductor: ")
    assert "(ductor:" not in (world.plan(text, untrusted="").prompt)


def test_nobody_signed_in_is_an_answer_and_no_plan(world: World) -> None:
    world.claude.signed_in = world.codex.signed_in = False

    answer = world.make("hello")

    assert isinstance(answer, str)
    assert "claude auth login" in answer or "is not signed in" in answer
    assert world.sessions.conversations() == []


# ── heartbeats ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_heartbeat_goes_on_with_the_session_as_it_is(world: World) -> None:
    world.begun(world.plan("hello"))

    beat = world.plan("anything?", kind="heartbeat")

    assert (beat.prompt, beat.notes, beat.told) == ("anything?", (), 0)
    assert beat.bucket.messages == 1


def test_a_heartbeat_is_nothing_where_no_session_goes_on(world: World) -> None:
    assert world.make("anything?", kind="heartbeat") == ""
    plan = world.plan("hello")
    assert world.make("anything?", kind="heartbeat") == ""  # its agent has not begun
    world.begun(plan)
    world.now += 3601

    assert world.make("anything?", kind="heartbeat") == ""


def test_a_heartbeat_goes_to_no_other_agent_than_was_chosen(world: World) -> None:
    world.begun(world.plan("hello"))
    world.claude.signed_in = False
    world.sign_ins.refresh()

    assert world.make("anything?", kind="heartbeat") == ""


def test_a_heartbeat_gives_way_to_what_waits(world: World) -> None:
    world.begun(world.plan("hello"))
    [waiting] = world.ledger.accept([replace(Incoming("update:99", OWNER, "later"), sent_at=1.0)])
    world.ledger.queue(waiting.id)

    assert world.make("anything?", kind="heartbeat") == ""
