"""What a webhook has brought: stored before it is answered, in the right lanes, once per delivery; and nothing of it is lost to a kill."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ductor_lib.automation.definitions import Hook
from ductor_lib.automation.intake import HookIntake
from ductor_lib.config import defaults
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from tests.automation import NO_CLAUDE, TOKEN, bot_with, drained, ended, free_port, hook, post, prompted, results, runs, write
from tests.fakes import OWNER, ROOT, SOON, Bot
from tests.program import until

PARTNER = 43
GROUP = -100
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
AGAIN = "(sent again: it is not known whether the first try arrived)"
WAKE = Hook(id="push", title="Push", prompt_template="Look: {{branch}} {{nothing}}")
TASK = replace(WAKE, id="build", mode="cron_task", task_folder="work")


class Taken:
    """An intake on a real ledger, and what it has queued."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: object) -> None:
        self.ledger = Ledger(folder / "ledger.db")
        stack.callback(self.ledger.close)
        self.released: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        chosen = defaults(**{"allowed_user_ids": (OWNER, PARTNER), "user_timezone": "UTC", **settings})  # type: ignore[arg-type]
        self._intake = HookIntake(chosen, self.ledger, self.released, now=lambda: NOON)

    def take(self, hook: Hook, key: str = "1") -> int:
        return self._intake.take(hook, {"branch": "main"}, key=key)

    def items(self) -> list[Incoming]:
        return drained(self.released)

    def status(self, number: int) -> str:
        run = self.ledger.runs.get(number)
        assert run is not None
        return run.status

    def said(self) -> list[tuple[int, str, bool]]:
        replies = [outgoing.reply for outgoing in self.ledger.outbox.unsent()]
        return [(reply.chat.id, reply.text, reply.silent) for reply in replies]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def taken(tmp_path: Path, stack: ExitStack) -> Taken:
    return Taken(tmp_path, stack)


# ── what is queued ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hook_that_wakes_is_a_turn_in_the_conversation_of_every_allowed_user(taken: Taken) -> None:
    number = taken.take(WAKE)

    items = taken.items()
    assert [(item.kind, item.lane, item.run) for item in items] == [("wake", "chat:42", number), ("wake", "chat:43", number)]
    assert taken.ledger.recover()[1] == items


def test_a_hook_with_a_chat_wakes_only_that_one(taken: Taken) -> None:
    taken.take(replace(WAKE, chat=Chat(GROUP, 7)))

    assert [item.lane for item in taken.items()] == ["chat:-100:7"]


@pytest.mark.parametrize(("dependency", "lane"), [("", "task:build"), ("net", "task:net")])
def test_a_hook_that_runs_a_task_is_one_item_in_the_lane_of_its_dependency(taken: Taken, dependency: str, lane: str) -> None:
    taken.take(replace(TASK, dependency=dependency))

    assert [(item.kind, item.lane, item.chat.id) for item in taken.items()] == [("task", lane, OWNER)]


def test_what_came_from_outside_stands_in_the_prompt_as_data(taken: Taken) -> None:
    taken.take(replace(TASK, chat=Chat(OWNER)))

    [item] = taken.items()
    assert "It comes from: the webhook “Push”\n\nLook: [" in item.text
    assert re.search(r"\[UNTRUSTED-TEXT \w+ BEGIN\] main \[.* END\] \{\{\?nothing\}\}$", item.text)


def test_the_same_delivery_is_the_same_run_and_queues_nothing_more(taken: Taken) -> None:
    first = taken.take(WAKE, "delivery-1")
    assert len(taken.items()) == 2

    assert taken.take(WAKE, "delivery-1") == first
    assert taken.items() == []
    assert taken.take(WAKE, "delivery-2") != first


# ── what is not run ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hook", "status"), [(replace(WAKE, mode="dance"), "error:unknown_mode_dance"), (replace(TASK, task_folder=""), "error:no_task_folder")]
)
def test_a_hook_that_cannot_run_is_refused_in_the_chats_that_wait_for_it(taken: Taken, hook: Hook, status: str) -> None:
    number = taken.take(hook)

    assert taken.status(number) == status
    assert taken.items() == []
    assert [(chat, status in text, silent) for chat, text, silent in taken.said()] == [(OWNER, True, False), (PARTNER, True, False)]


def test_in_its_quiet_hours_a_hook_does_not_run_and_that_is_said_without_a_sound(taken: Taken) -> None:
    number = taken.take(replace(WAKE, quiet_start=10, quiet_end=13, title="Push *it*"))

    assert taken.status(number) == "skipped:quiet_hours"
    assert taken.items() == []
    [(_, text, silent), _] = taken.said()
    assert "Push \\*it\\*” was called and was not run (skipped:quiet_hours)" in text
    assert silent
    taken.take(replace(WAKE, quiet_start=10, quiet_end=13))
    assert len(taken.said()) == 2  # the same delivery


@pytest.mark.parametrize("enabled", [True, False])
def test_without_hours_of_its_own_a_hook_keeps_the_heartbeat_s_if_that_is_enabled(tmp_path: Path, stack: ExitStack, enabled: bool) -> None:
    taken = Taken(tmp_path, stack, heartbeat={"enabled": enabled, "quiet_start": 12, "quiet_end": 13})

    number = taken.take(WAKE)

    assert taken.status(number) == ("skipped:quiet_hours" if enabled else "")


# ── the whole way ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_answered_in_the_conversation_under_the_title_of_its_hook(tmp_path: Path) -> None:
    port = free_port()
    wake = hook("push", mode="wake", title="Push *it*", prompt_template="new on {{branch}}")
    with bot_with(tmp_path, hooks=[wake], port=port) as bot:
        bot.say("hello")
        bot.wait_for("hello")

        assert post(port, "push", {"branch": "main"}) == 202
        answer = bot.wait_for("HOOK: Push *it*")

        assert ended(bot, "push", "hook") == ["success"]
        assert "new on" in answer.text
        assert len({prompt["session_id"] for prompt in prompted(tmp_path)}) == 1
        assert bot.app.ledger.runs.counts("hook") == {"push": 1}


def test_a_delivery_that_is_sent_again_runs_once(tmp_path: Path) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook()], port=port) as bot:
        statuses = [post(port, "push", {}, delivery="7c1ab2d0") for _ in range(3)]

        assert statuses == [202, 202, 202]
        assert ended(bot, "push", "hook") == ["success"]
        assert len(prompted(tmp_path)) == 1
        assert len(results(bot, "Push")) == 1


def test_a_hook_that_wakes_waits_for_its_turn_and_its_silence_is_a_success(tmp_path: Path) -> None:
    port = free_port()
    gate = tmp_path / "gate"
    with bot_with(tmp_path, hooks=[hook(mode="wake", silent_when="DO")], port=port) as bot:
        bot.say(f"[[scenario:hold file={gate}]] first")
        bot.wait_until_it_runs()

        assert post(port, "push", {}) == 202
        bot.wait_for("1 message waiting")
        assert len(prompted(tmp_path)) == 1
        gate.touch()

        assert ended(bot, "push", "hook") == ["success"]
        assert not any("HOOK" in message.text for message in bot.shown())


def test_a_hook_that_wakes_several_succeeds_when_one_of_them_gave_an_answer(tmp_path: Path) -> None:
    port = free_port()
    once = f"[[scenario:crash-late once={tmp_path / 'first'}]]"  # the first agent crashes, the others answer
    with bot_with(tmp_path, hooks=[hook(mode="wake", prompt_template=once)], port=port, allowed_user_ids=[OWNER, PARTNER]) as bot:
        bot.say("/start", user=PARTNER)

        assert post(port, "push", {}) == 202

        assert ended(bot, "push", "hook") == ["success"]
        assert "Recovered." in runs(bot, "push", "hook")[0].detail


def test_a_hook_that_wakes_nobody_says_why(tmp_path: Path) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook(mode="wake")], port=port, command=NO_CLAUDE) as bot:
        assert post(port, "push", {}) == 202

        assert ended(bot, "push", "hook")[0].startswith("error:")
        bot.wait_for("Claude Code is not installed")


# ── killed ──────────────────────────────────────────────────────────────────────────────────────────────────────────

POSTS, KILLS, CLIENTS = 500, 3, 6
TOPICS = (2, 3, 4)
EVERY = 25  # posts, of which one runs a task: that needs a process of its own


class Victims:
    """The real bot in a process of its own, killed and started again on the same home and port."""

    def __init__(self, folder: Path, telegram: LoopbackTelegram, settings: dict[str, object]) -> None:
        self._said = folder / "stderr"
        self._arguments = [sys.executable, "-m", "tests.crash", str(folder), telegram.url, telegram.token, json.dumps(settings)]
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
        self.start()

    def start(self) -> None:
        with self._said.open("ab") as stderr:
            self._process = subprocess.Popen(self._arguments, cwd=ROOT, env=self._environment, stderr=stderr)

    def kill(self) -> None:
        assert self._process.poll() is None, self._said.read_text()
        self._process.kill()
        self._process.wait()


class Callers:
    """Services that call hooks, each number once, and call again with the same delivery id until they have their 202."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = iter(range(POSTS))
        self._lock = threading.Lock()
        self.accepted = 0
        self.strange: list[int] = []
        self._threads = [threading.Thread(target=self._call) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _call(self) -> None:
        while (number := self._next()) is not None:
            name = "task" if number % EVERY == 0 else f"wake{TOPICS[number % len(TOPICS)]}"
            while (status := self._post(name, number)) != 202:
                if status:
                    self.strange.append(status)
                threading.Event().wait(0.05)  # as a service would
            with self._lock:
                self.accepted += 1

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _post(self, name: str, number: int) -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return post(self._port, name, {"number": f"n{number}n"}, delivery=f"delivery-{number}")
        return 0


def test_of_500_requests_and_kills_in_the_middle_every_202_is_answered_or_reported_and_none_runs_twice(tmp_path: Path) -> None:
    port = free_port()
    hooks = [hook(f"wake{topic}", mode="wake", prompt_template="{{number}}", chat=f"{GROUP}:{topic}") for topic in TOPICS]
    hooks.append(hook("task", prompt_template="{{number}}", chat=f"{GROUP}:9"))
    listening = {"enabled": True, "port": port, "token": TOKEN, "rate_limit_per_minute": 10_000}
    settings: dict[str, object] = {"webhooks": listening, "allowed_group_ids": [GROUP], "agents": {"warm": 4, "parallel": 4}}
    (tmp_path / "home" / "workspace" / "cron_tasks" / "work").mkdir(parents=True)
    write(tmp_path, "hooks", hooks)
    with LoopbackTelegram() as telegram:
        telegram.add_group(GROUP, topics=[*TOPICS, 9])
        victims = Victims(tmp_path, telegram, settings)
        callers = Callers(port)

        for kill in range(1, KILLS + 1):
            until(lambda kill=kill: callers.accepted >= POSTS * kill // (KILLS + 1), "so many accepted")  # type: ignore[misc]
            threading.Event().wait(random.uniform(0, 0.4))
            victims.kill()
            victims.start()
        callers.join()
        victims.kill()
        with Bot(tmp_path, telegram=telegram, **settings) as bot:  # type: ignore[arg-type]
            wait_for_all(bot)
            check(bot, telegram)
        assert callers.strange == []


def wait_for_all(bot: Bot) -> None:
    deadline = time.monotonic() + 3 * SOON
    while not bot.app.settled() and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    bot.settle()


def check(bot: Bot, telegram: LoopbackTelegram) -> None:
    """Each of the 500 numbers ran at most once, and its answer or a report of it is in the chat; its run says which."""
    prompts = Counter(re.findall(r"n(\d+)n", "".join(bot.raw_prompts())))
    texts = [message.text for message in telegram.messages(GROUP) if message.sender == "bot"]
    reports = Counter(number for text in texts if "in the middle of this" in text for number in re.findall(r"n(\d+)n", text))
    finals = [text for text in texts if re.search(r"^(HOOK|TASK): ", text, re.MULTILINE)]  # a mark may stand above
    answers = Counter(number for text in finals for number in re.findall(r"n(\d+)n", text))
    surely = Counter(number for text in finals if AGAIN not in text for number in re.findall(r"n(\d+)n", text))
    everything = {str(number) for number in range(POSTS)}
    names = (*(f"wake{topic}" for topic in TOPICS), "task")
    found = [run for name in names for run in bot.app.ledger.runs.history("hook", name, limit=POSTS)]

    assert max(prompts.values()) == 1
    assert answers.keys() | reports.keys() == everything
    assert not answers.keys() & reports.keys()
    assert max(surely.values()) == 1
    assert answers.keys() <= prompts.keys()
    assert Counter(run.status for run in found) == {"success": len(answers), "error:interrupted": len(reports)}
    assert len(found) == POSTS
    assert len(reports) <= 4 * (KILLS + 1)  # lanes that were at work
