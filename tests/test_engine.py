"""Everything that happens without a message, as one: it takes up what was missed, listens, and lets nothing run for ever."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ductor_lib.automation.unattended import Unattended
from ductor_lib.cli.clis import Clis
from ductor_lib.config import defaults
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.limits import Limits
from ductor_lib.orchestrator.plans import Plans
from ductor_lib.orchestrator.runs import Order, Run
from ductor_lib.orchestrator.turns import Turns, Unseen
from ductor_lib.paths import Paths
from ductor_lib.ports import View
from ductor_lib.session import Freshness, Sessions
from ductor_lib.storage import JsonFile
from tests.automation import bot_with, ended, free_port, hook, job, post, prompted, results, write
from tests.fakes import AGENT, NO_CODEX, OWNER, SOON, environment_for
from tests.program import until

FRESHNESS = Freshness(
    idle_minutes=0, daily_reset=False, daily_hour=4, timezone=ZoneInfo("UTC"), max_messages=0, age_warning_hours=0
)  # fmt: skip


class Screen:
    """Shows nothing."""

    def tell(self, chat: Chat, text: str) -> None:
        pass

    def queue(self, chat: Chat) -> None:
        pass

    def open(self, chat: Chat, slot: str, *, model: str, turn: int) -> View:
        return Unseen()


class Lanes:
    """Turns and unattended runs over one scripted agent at a time, each begun in a thread of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.settings = defaults(user_timezone="UTC", agents={"parallel": 1, "pass_env": ["PYTHONPATH", "DUCTOR_DEMO_LOG"]})
        self.folder, self.paths = folder, Paths(folder / "home")
        self.paths.create()
        (self.paths.cron_tasks / "work").mkdir(parents=True)
        self.ledger = Ledger(self.paths.ledger)
        stack.callback(self.ledger.close)
        state, sessions = JsonFile(self.paths.state), Sessions(JsonFile(self.paths.sessions), FRESHNESS)
        clis = Clis(self.settings, self.paths, run=uuid.uuid4().hex, environment=environment_for(folder), claude=AGENT, codex=NO_CODEX)
        choices = Choices(self.settings, sessions, state, clis.catalogue, clis.sign_ins)
        limits = Limits(self.settings, self.ledger, state)
        plans = Plans(self.settings, self.paths, self.ledger, sessions, choices, permission_mode="acceptEdits")
        self.turns = Turns(
            self.settings, self.paths.workspace, self.ledger, sessions, clis.agents, plans, clis.sign_ins, limits, Screen()
        )
        self.unattended = Unattended(
            self.settings, self.paths, self.ledger, clis.agents, choices, clis.sign_ins, limits, permission_mode="acceptEdits"
        )
        self._threads: list[threading.Thread] = []
        stack.callback(self.join)
        stack.callback(clis.close)

    def say(self, text: str, chat: int = OWNER) -> None:
        [item] = self.ledger.accept([Incoming(f"update:{text}", Chat(chat), text)])
        self._begin(lambda: self.turns.run(item))

    def run(self, text: str) -> int:
        run = Run("job:report:1", "job", "report", "Report", Order("work", chats=(f"chat:{OWNER}",)).pack(), 0.0)
        number, [item] = self.ledger.runs.add(run, [Incoming("job:1", Chat(OWNER), text, kind="task", task="report")])
        self._begin(lambda: self.unattended.run(item))
        return number

    def said(self) -> list[str]:
        return [outgoing.reply.text for outgoing in self.ledger.outbox.unsent()]

    def join(self) -> None:
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()

    def _begin(self, work: object) -> None:
        assert callable(work)
        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()


@pytest.fixture
def lanes(tmp_path: Path) -> Iterator[Lanes]:
    with ExitStack() as stack:
        yield Lanes(tmp_path, stack)


# ── nothing runs for ever ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_that_lasts_too_long_by_the_wall_clock_is_ended_and_one_that_waits_for_an_agent_is_not(lanes: Lanes) -> None:
    lanes.say(f"[[scenario:hold file={lanes.folder / 'never'}]] long")
    until(lambda: prompted(lanes.folder), "it is at work")
    lanes.say("waiting", chat=7)
    until(lambda: lanes.turns.running("chat:7"), "the other one waits")
    assert lanes.turns.end_overdue(3600.0) == []

    overdue: list[str] = []
    until(lambda: overdue.extend(lanes.turns.end_overdue(0.0)) or overdue, "it is overdue")  # type: ignore[func-returns-value]
    lanes.join()

    assert overdue[:1] == [f"chat:{OWNER}"]
    assert "Ended: by the clock on the wall" in lanes.said()[0]


def test_a_run_that_lasts_too_long_by_the_wall_clock_is_ended_as_one_that_took_too_long(lanes: Lanes) -> None:
    number = lanes.run(f"[[scenario:hold file={lanes.folder / 'never'}]] long")
    until(lambda: prompted(lanes.folder), "it is at work")
    assert lanes.unattended.end_overdue(3600.0) == []

    until(lambda: lanes.unattended.end_overdue(0.0), "it is overdue")
    lanes.join()

    run = lanes.ledger.runs.get(number)
    assert run is not None
    assert run.status == "error:timeout"
    assert "Ended: by the clock on the wall" in lanes.said()[0]


def test_a_run_whose_record_is_gone_is_closed_with_a_word(lanes: Lanes) -> None:
    [item] = lanes.ledger.accept([Incoming("job:1", Chat(OWNER), "do it", kind="task", task="report", run=77)])

    lanes.unattended.run(item)

    assert "record is gone" in lanes.said()[0]
    assert lanes.ledger.recover() == ([], [])


def test_after_its_close_nothing_begins_and_what_waited_still_waits(lanes: Lanes) -> None:
    lanes.unattended.close()

    lanes.run("late")
    lanes.join()

    assert [item.text for item in lanes.ledger.recover()[1]] == ["late"]
    assert prompted(lanes.folder) == []


# ── the whole of it ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_takes_up_what_was_missed(tmp_path: Path) -> None:
    moment = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    note: dict[str, object] = {"id": "note", "title": "Note", "at": moment, "message": "call the bank"}
    with bot_with(tmp_path, note, job(schedule="", at=moment)) as bot:
        bot.wait_for("⏰ call the bank")

        assert ended(bot) == ["success"]
        assert len(results(bot)) == 1
        assert [(entry["id"], entry["enabled"]) for entry in json.loads(bot.paths.cron_jobs.read_text())["jobs"]] == [("report", False)]
        bot.restart()
        bot.settle()
        assert len(prompted(tmp_path)) == 1


def test_a_job_runs_by_the_clock(tmp_path: Path) -> None:
    with bot_with(tmp_path) as bot:
        moment = datetime.now(UTC) + timedelta(seconds=1)
        write(tmp_path, "jobs", [job(schedule="", at=moment.isoformat())])

        assert ended(bot) == ["success"]
        assert len(prompted(tmp_path)) == 1


def test_a_taken_port_costs_webhooks_and_nothing_else_and_the_owner_hears_of_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with bot_with(tmp_path, hooks=[hook()], port=port) as bot:
            bot.wait_for(f"I take no webhooks: Port {port} on 127.0.0.1 is taken by another program.")

            bot.say("hello")
            bot.wait_for("You wrote:\n\nhello")


def test_a_stop_frees_the_port_and_the_next_start_has_it_again(tmp_path: Path) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook()], port=port) as bot:
        assert post(port, "push", {}) == 202
        ended(bot, "push", "hook")
        bot.restart()
        assert post(port, "push", {}) == 202

        assert ended(bot, "push", "hook", count=2) == ["success", "success"]
    with pytest.raises(ConnectionRefusedError):
        post(port, "push", {})


def test_without_a_token_one_is_made_that_opens_hooks_and_stays(tmp_path: Path) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook()], webhooks={"enabled": True, "port": port}) as bot:
        made = tokens(bot.paths.state)
        assert post(port, "push", {}) == 401
        bot.restart()

        assert tokens(bot.paths.state) == made
        assert len(made) == 1
        if os.name == "posix":
            assert stat.S_IMODE(bot.paths.state.stat().st_mode) == 0o600
        assert post(port, "push", {}, token=made[0]) == 202


def tokens(state: Path) -> list[str]:
    """The long texts in state.json."""
    return re.findall(r'"([\w-]{32,})"', state.read_text())
