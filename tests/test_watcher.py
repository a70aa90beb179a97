"""Files of the user's are watched: an edit takes effect within seconds, and a broken one is told once and costs nothing else."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ductor_lib.automation.books import HookBook, JobBook
from ductor_lib.automation.watcher import Watcher
from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from tests.automation import bot_with, free_port, hook, job, post, run_now, write
from tests.fakes import OWNER
from tests.program import until

EFFECT = 5.0  # seconds
HAND = '{"jobs": [\n  {"id": "a", "title": "A", "schedule": "* * * * *", "message": "x"},\n  {"id": "b", "title": ""}\n]}'


def said(ledger: Ledger) -> list[tuple[int, str]]:
    return [(outgoing.reply.chat.id, outgoing.reply.text) for outgoing in ledger.outbox.unsent()]


def test_what_is_wrong_is_told_to_the_owner_once_and_again_when_it_is_wrong_in_another_way(tmp_path: Path) -> None:
    jobs, hooks = JobBook(tmp_path / "cron_jobs.json"), HookBook(tmp_path / "webhooks.json")
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        watcher = Watcher((jobs, hooks), ledger, Chat(OWNER))
        watcher.look()
        (tmp_path / "cron_jobs.json").write_text(HAND)
        (tmp_path / "webhooks.json").write_text("{")
        watcher.look()
        watcher.look()
        first = said(ledger)
        (tmp_path / "cron_jobs.json").write_text(HAND.replace('"schedule": "* * * * *"', '"schedule": "never"'))
        watcher.look()

        assert [chat for chat, _ in first] == [OWNER, OWNER]
        assert "cron_jobs.json line 3: title: " in first[0][1]
        assert "webhooks.json" in first[1][1]
        assert "cron_jobs.json line 2: schedule: " in said(ledger)[2][1]
        assert [found.id for found in jobs.all()] == ["a"]


class FullOnce:
    """A ledger on a disk that has no room the first time."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._full = True

    def say(self, replies: Sequence[Reply]) -> None:
        if self._full:
            self._full = False
            raise sqlite3.OperationalError("database or disk is full")
        self.said += [reply.text for reply in replies]


def test_what_could_not_be_told_is_told_at_the_next_look(tmp_path: Path) -> None:
    jobs, ledger = JobBook(tmp_path / "cron_jobs.json"), FullOnce()
    watcher = Watcher((jobs,), ledger, Chat(OWNER))  # type: ignore[arg-type]
    (tmp_path / "cron_jobs.json").write_text(HAND)

    with pytest.raises(sqlite3.OperationalError):
        watcher.look()
    watcher.look()
    watcher.look()

    [told] = ledger.said
    assert "cron_jobs.json line 3" in told


def test_edits_by_hand_take_effect_within_five_seconds(tmp_path: Path) -> None:
    port = free_port()
    with bot_with(tmp_path, hooks=[hook(enabled=False)], port=port) as bot:
        assert post(port, "push", {}) == 403

        begun = time.monotonic()
        write(tmp_path, "hooks", [hook()])
        moment = datetime.now(UTC) + timedelta(seconds=1)
        write(tmp_path, "jobs", [{"id": "note", "title": "Note", "at": moment.isoformat(), "message": "call the bank"}])
        until(lambda: post(port, "push", {}) == 202, "the hook is on")
        bot.wait_for("⏰ call the bank")

        assert time.monotonic() - begun < EFFECT
        assert json.loads(bot.paths.cron_jobs.read_text())["jobs"] == []


def test_a_broken_edit_keeps_the_last_good_version_and_tells_the_line(tmp_path: Path) -> None:
    with bot_with(tmp_path, job(agent_instruction="version one"), job("other")) as bot:
        entries = json.loads(bot.paths.cron_jobs.read_text())["jobs"]
        entries[0] |= {"agent_instruction": "version two", "schedule": "at nine"}
        entries[1] |= {"agent_instruction": "version two"}
        broken = json.dumps({"jobs": entries}, indent=1)
        bot.paths.cron_jobs.write_text(broken)

        told = bot.wait_for("A file of yours cannot be read as it is")
        run_now(bot)
        run_now(bot, "other")

        line = next(number for number, text in enumerate(broken.splitlines(), 1) if "at nine" in text)
        assert f'cron_jobs.json line {line}: schedule: "at nine" is not accepted' in told.text
        assert [prompt.partition("\n")[0] for prompt in bot.prompts()] == ["version one", "version two"]
        assert bot.paths.cron_jobs.read_text() == broken
