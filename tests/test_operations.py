"""What can be done with jobs and hooks: folder and entry together or neither, only what was named changes, a secret is told once."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ductor_lib.automation.books import HookBook, JobBook
from ductor_lib.automation.cron import Cron
from ductor_lib.automation.definitions import Job
from ductor_lib.automation.hook_operations import PRESETS
from ductor_lib.automation.intake import HookIntake
from ductor_lib.automation.job_operations import moment_of
from ductor_lib.automation.office import Office
from ductor_lib.automation.operations import OPERATIONS, operate
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.codex_models import Model
from ductor_lib.config import defaults
from ductor_lib.errors import DuctorError
from ductor_lib.messages import Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.paths import Paths
from ductor_lib.workspace.tasks import Tasks

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
USERS = (42, 43)
GROUP = -1001
PAGE = (Path(__file__).parent.parent / "docs/modules/webhook.md").read_text(encoding="utf-8")
JOB = {"title": "Morning news", "schedule": "0 9 * * *", "agent_instruction": "Collect the news."}
HOOK = {"title": "Build failed", "prompt_template": "It failed: {{url}}"}


@dataclass(frozen=True)
class Listed:
    """A list of models."""

    models: tuple[Model, ...] = ()

    def list(self) -> tuple[Model, ...]:
        return self.models


@dataclass
class Desk:
    """An office with everything real but the agents: `running` are the jobs at work, `ended` those that were stopped."""

    folder: Path
    overrides: dict[str, object] = field(default_factory=dict)
    token: str = "token-of-all-hooks"
    now: datetime = NOW
    running: set[str] = field(default_factory=set)
    ended: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        paths = Paths(self.folder / "home")
        paths.create()
        self.queue: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        settings = defaults(allowed_user_ids=USERS, allowed_group_ids=[GROUP], user_timezone="Europe/Berlin", **self.overrides)  # type: ignore[arg-type]
        jobs, hooks, ledger = JobBook(paths.cron_jobs), HookBook(paths.webhooks), Ledger(paths.ledger, now=self.clock)
        codex = Listed((Model("gpt-5.5", "GPT-5.5", ("low", "high"), "low", is_default=True),))
        self.office = Office(
            settings=settings, paths=paths, jobs=jobs, hooks=hooks, tasks=Tasks(paths.cron_tasks), ledger=ledger,
            catalogue=Catalogue(Listed(), codex), providers=lambda: frozenset({"claude"}),
            cron=Cron(settings, jobs, ledger, self.queue, now=self.clock), intake=HookIntake(settings, ledger, self.queue, now=self.clock),
            stop=self.stop, token=self.token, allows=lambda chat: chat.id in (*USERS, GROUP), now=self.clock,
        )  # fmt: skip

    def clock(self) -> float:
        return self.now.timestamp()

    def stop(self, source: str, id: str) -> bool:
        self.ended.append((source, id))
        return id in self.running

    def do(self, name: str, **args: object) -> dict[str, object]:
        """What an operation answers, by way of JSON, as requests go."""
        answer = operate(name, self.office, json.loads(json.dumps(args)))
        plain: dict[str, object] = json.loads(json.dumps(answer))
        return plain

    def refused(self, name: str, **args: object) -> str:
        """Why an operation is refused."""
        with pytest.raises(DuctorError) as caught:
            self.do(name, **args)
        return str(caught.value)

    def begin(self, id: str) -> Incoming:
        """The run of a job that was queued is at work now."""
        item = self.queue.get(timeout=1)
        assert item is not None
        assert self.office.ledger.begin(item.id)
        self.running.add(id)
        return item

    @property
    def folders(self) -> list[str]:
        return [folder.name for folder in self.office.tasks.list()]


def rows(answer: dict[str, object], name: str) -> list[dict[str, object]]:
    found = answer[name]
    assert isinstance(found, list)
    return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.office.ledger.close()


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_job_has_a_folder_named_after_its_title_and_tells_when_it_runs(desk: Desk) -> None:
    answer = desk.do("cron.add", **JOB)

    job = desk.office.jobs.all()[0]
    assert (job.task_folder, job.schedule, job.chat) == ("morning-news", "0 9 * * *", None)
    assert answer["id"] == job.id
    assert answer["next_run"] == "2026-03-03T09:00:00+01:00"
    assert answer["timezone"] == "Europe/Berlin"
    assert answer["path"] == str(desk.office.paths.cron_tasks / "morning-news")
    assert (desk.office.paths.cron_tasks / "morning-news" / "CLAUDE.md").exists()
    assert answer["notes"] == []


def test_two_jobs_of_one_title_have_two_folders_unless_they_name_one(desk: Desk) -> None:
    desk.do("cron.add", **JOB)
    desk.do("cron.add", **JOB)
    desk.do("cron.add", **JOB, task_folder="morning-news")

    assert [job.task_folder for job in desk.office.jobs.all()] == ["morning-news", "morning-news-2", "morning-news"]
    assert desk.folders == ["morning-news", "morning-news-2"]


def test_every_mistake_is_named_at_once_and_nothing_is_made(desk: Desk) -> None:
    wrong = desk.refused("cron.add", title="", schedule="0 99 * * *", timezone="Mars/Base", quiet_start=25)

    named = {line.partition(":")[0] for line in wrong.splitlines()}
    assert named == {"title", "schedule", "timezone", "quiet_start", "agent_instruction"}
    assert desk.folders == []
    assert desk.office.jobs.all() == ()


@pytest.mark.parametrize(
    ("overrides", "accepted"),
    [
        ({"model": "gpt-9"}, "model: \"gpt-9\" is not accepted; must be one of opus, sonnet, haiku, gpt-5.5"),
        ({"model": "gpt-5.5", "reasoning_effort": "max"}, 'reasoning_effort: "max" is not accepted; must be one of low, high'),
        ({"provider": "gemini"}, 'provider: "gemini" is not accepted; must be one of "claude", "codex"'),
    ],
)
def test_an_override_that_is_not_known_names_those_that_are(desk: Desk, overrides: dict[str, object], accepted: str) -> None:
    wrong = desk.refused("cron.add", **JOB, **overrides)

    assert accepted in wrong
    assert desk.folders == []


def test_a_provider_that_is_not_signed_in_is_taken_with_a_hint_and_has_its_rules_in_the_folder(desk: Desk) -> None:
    answer = desk.do("cron.add", **JOB, provider="codex")

    assert "codex is not signed in now" in str(answer["notes"])
    assert (desk.office.paths.cron_tasks / "morning-news" / "AGENTS.md").exists()


def test_a_folder_that_was_just_made_goes_again_when_the_entry_cannot_be_made(desk: Desk) -> None:
    desk.do("cron.add", **JOB, id="news", task_folder="kept")

    taken = desk.refused("cron.add", **JOB, id="news", task_folder="fresh")
    again = desk.refused("cron.add", **JOB, id="news", task_folder="kept")

    assert 'There is already a job "news"' in taken
    assert taken == again
    assert desk.folders == ["kept"]


def test_a_damaged_file_of_the_owner_is_named_with_its_line_and_leaves_no_folder(desk: Desk) -> None:
    desk.office.paths.cron_jobs.write_text('{"jobs": [\n}')

    wrong = desk.refused("cron.add", **JOB)

    assert "cron_jobs.json, line 2" in wrong
    assert desk.folders == []
    assert desk.office.paths.cron_jobs.read_text() == '{"jobs": [\n}'


def test_a_reminder_has_no_folder_and_is_called_by_what_it_says(desk: Desk) -> None:
    answer = desk.do("cron.add", at="2h", message="Call Anna\nabout the keys", here="42")

    job = desk.office.jobs.all()[0]
    assert (job.title, job.at, job.message) == ("Call Anna about the keys", "2026-03-02T15:00:00+01:00", "Call Anna\nabout the keys")
    assert (answer["folder"], answer["path"], answer["chat"]) == ("", "", "42")
    assert desk.folders == []


def test_a_reminder_with_an_instruction_is_a_contradiction(desk: Desk) -> None:
    assert "a reminder has no instruction" in desk.refused("cron.add", at="2h", message="Hello", agent_instruction="Do it.")


def test_a_question_to_the_agent_needs_one_conversation(desk: Desk) -> None:
    asked = desk.do("cron.add", schedule="0 9 * * *", message="What is new?", ask=True, here="42")
    refused = desk.refused("cron.add", schedule="0 9 * * *", message="What is new?", ask=True, here="42", everyone=True)

    assert asked["chat"] == "42"
    assert refused.startswith("chat: is missing")


def test_quiet_hours_that_will_bite_are_told(desk: Desk) -> None:
    answer = desk.do("cron.add", **{**JOB, "schedule": "0 * * * *"}, quiet_start=21, quiet_end=7)

    assert answer["notes"] == ["10 of the next 20 runs fall into the quiet time 21–7 and will be skipped."]


@pytest.mark.parametrize(
    ("args", "chat"),
    [
        ({}, None), ({"here": "43"}, "43"), ({"here": "-1001:7"}, "-1001:7"), ({"here": "43", "everyone": True}, None),
        ({"chat": "42"}, "42"), ({"chat": -1001, "here": "42"}, "-1001"),
    ],
)  # fmt: skip
def test_the_result_goes_to_the_named_chat_else_to_the_own_conversation_else_to_everybody(
    desk: Desk, args: dict[str, object], chat: str | None
) -> None:
    assert desk.do("cron.add", **JOB, **args)["chat"] == chat


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"chat": "44"}, "chat: 44 is not on the allow-list"), ({"here": "-1002"}, "chat: -1002 is not on the allow-list"),
        ({"chat": "home"}, 'chat: "home" is not accepted'), ({"chat": "42", "everyone": True}, "but not both"),
        ({"colour": "red", "size": 3}, "colour, size: not known here"), ({"created_at": "2020-01-01"}, "created_at: not known here"),
    ],
)  # fmt: skip
def test_no_other_chat_and_nothing_unknown_is_taken(desk: Desk, args: dict[str, object], why: str) -> None:
    assert why in desk.refused("cron.add", **JOB, **args)
    assert desk.folders == []


def test_an_edit_changes_what_it_names_and_keeps_what_ductor_does_not_know(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB, model="opus", silent_when="NOTHING", quiet_start=1, quiet_end=2)["id"]
    data = json.loads(desk.office.paths.cron_jobs.read_text())
    data["jobs"][0]["colour"] = "red"
    desk.office.paths.cron_jobs.write_text(json.dumps(data))

    desk.do("cron.edit", id=id, schedule="30 6 * * *", model="", quiet_start="", quiet_end="")

    raw = json.loads(desk.office.paths.cron_jobs.read_text())["jobs"][0]
    before = {**data["jobs"][0], "schedule": "30 6 * * *"}
    assert raw == {name: value for name, value in before.items() if name not in ("model", "quiet_start", "quiet_end")}


def test_a_job_that_is_given_a_moment_has_no_schedule_any_more_and_the_other_way_round(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]

    once = desk.do("cron.edit", id=id, at="tomorrow 9:00")
    again = desk.do("cron.edit", id=id, schedule="0 8 * * *")

    assert (once["next_run"], again["next_run"]) == ("2026-03-03T09:00:00+01:00", "2026-03-03T08:00:00+01:00")


def test_an_edit_that_is_refused_changes_nothing_and_makes_nothing(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]
    before = desk.office.paths.cron_jobs.read_bytes()

    said = [desk.refused("cron.edit", id=id, **args) for args in (
        {}, {"task_folder": "other", "schedule": "never"}, {"created_at": ""}, {"agent_instruction": ""}, {"model": "gpt-9"},
    )]  # fmt: skip

    assert "nothing to change" in said[0]
    assert desk.office.paths.cron_jobs.read_bytes() == before
    assert desk.folders == ["morning-news"]


def test_a_job_can_move_to_another_folder_which_is_made(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]

    desk.do("cron.edit", id=id, task_folder="press")

    assert desk.folders == ["morning-news", "press"]


def test_a_job_is_found_by_its_id_or_the_beginning_of_its_title_and_never_guessed(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]
    desk.do("cron.add", **{**JOB, "title": "Moon"})

    assert desk.do("cron.show", id="morn")["id"] == id
    assert '"mo" may mean more than one job: morning-news' in desk.refused("cron.show", id="mo")
    assert "There is no job" in desk.refused("cron.show")


def test_disabled_it_has_no_next_run_and_enabled_it_has(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]

    off = desk.do("cron.disable", id=id)
    on = desk.do("cron.enable", id=id)

    assert (off["next_run"], off["enabled"]) == ("", False)
    assert (on["next_run"], on["enabled"]) == ("2026-03-03T09:00:00+01:00", True)


def test_a_moment_that_is_past_cannot_be_enabled_again(desk: Desk) -> None:
    id = desk.do("cron.add", **{**JOB, "schedule": "", "at": "1h"})["id"]
    desk.do("cron.disable", id=id)
    desk.now += timedelta(hours=2)

    assert "is past. Give it another" in desk.refused("cron.enable", id=id)


def test_the_list_tells_what_came_of_the_last_run(desk: Desk) -> None:
    id = str(desk.do("cron.add", **JOB)["id"])
    desk.do("cron.add", at="2h", message="Hello")
    started = desk.do("cron.run", id=id)
    item = desk.begin(id)
    desk.now += timedelta(seconds=90)
    desk.office.ledger.finish(item.id, result=("success", "Three things.\nFirst"))

    news, reminder = rows(desk.do("cron.list"), "jobs")
    runs = desk.do("cron.log", id=id)["runs"]

    assert news["last"] == {"status": "success", "at": "2026-03-02T13:01:30+01:00"}
    assert (news["next_run"], news["running"], reminder["last"], reminder["reminder"]) == ("2026-03-03T09:00:00+01:00", False, None, True)
    assert runs == [{
        "run": started["run"], "at": "2026-03-02T13:00:00+01:00", "status": "success", "seconds": 90.0, "answer": "Three things.",
    }]  # fmt: skip


def test_a_run_by_hand_is_queued_whatever_the_quiet_time_and_says_when_another_goes_first(desk: Desk) -> None:
    id = str(desk.do("cron.add", **JOB, quiet_start=0, quiet_end=23)["id"])
    desk.do("cron.disable", id=id)

    first = desk.do("cron.run", id=id)
    desk.now += timedelta(seconds=1)
    second = desk.do("cron.run", id=id)

    assert (first["status"], first["notes"]) == ("unfinished", [])
    assert second["notes"] == ["An earlier run of it has not ended; this one comes after it."]
    assert desk.queue.qsize() == 2


def test_stop_ends_what_runs_and_withdraws_what_waits(desk: Desk) -> None:
    id = str(desk.do("cron.add", **JOB)["id"])
    desk.do("cron.run", id=id)
    desk.begin(id)
    desk.now += timedelta(seconds=1)
    desk.do("cron.run", id=id)

    answer = desk.do("cron.stop", id=id)

    waiting = desk.queue.get(timeout=1)
    assert waiting is not None
    assert (answer["ended"], answer["withdrawn"], desk.ended) == (True, 1, [("job", id)])
    assert desk.office.ledger.begin(waiting.id) is None
    assert [run.status for run in desk.office.ledger.runs.history("job", id)] == ["skipped:cancelled", ""]


def test_stop_says_when_there_is_nothing_to_stop(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]

    assert "does not run just now" in desk.refused("cron.stop", id=id)
    assert desk.ended == []


def test_removing_a_job_keeps_its_folder_unless_that_is_asked_for(desk: Desk) -> None:
    first, second = (desk.do("cron.add", **JOB)["id"] for _ in range(2))

    kept = desk.do("cron.remove", id=first)
    erased = desk.do("cron.remove", id=second, with_folder=True)

    assert "Its folder stays" in str(kept["notes"])
    assert (kept["folder_removed"], erased["folder_removed"]) == (False, True)
    assert desk.folders == ["morning-news"]
    assert desk.office.jobs.all() == ()


def test_a_folder_that_another_job_or_hook_works_in_is_not_erased(desk: Desk) -> None:
    job = desk.do("cron.add", **JOB)["id"]
    hook = desk.do("webhook.add", **HOOK, mode="cron_task", task_folder="morning-news")["id"]

    assert "is used by “Build failed”, too" in desk.refused("cron.remove", id=job, with_folder=True)
    assert "is used by “Morning news”, too" in desk.refused("webhook.remove", id=hook, with_folder=True)
    assert desk.folders == ["morning-news"]


def test_a_folder_is_not_erased_while_a_run_works_in_it_or_nobody_can_say_who_uses_it(desk: Desk) -> None:
    id = str(desk.do("cron.add", **JOB)["id"])
    desk.do("cron.run", id=id)
    desk.begin(id)

    running = desk.refused("cron.remove", id=id, with_folder=True)
    desk.office.paths.webhooks.write_text("{")
    damaged = desk.refused("cron.remove", id=id, with_folder=True)

    assert "has not ended, and it needs the folder" in running
    assert "webhooks.json, line 1" in damaged
    assert desk.folders == ["morning-news"]


def test_what_waits_of_a_removed_job_never_runs(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]
    desk.do("cron.run", id=id)

    answer = desk.do("cron.remove", id=id)

    item = desk.queue.get(timeout=1)
    assert item is not None
    assert "withdrawn: 1" in str(answer["notes"])
    assert desk.office.ledger.begin(item.id) is None


def test_a_log_has_as_many_runs_as_asked_for(desk: Desk) -> None:
    id = desk.do("cron.add", **JOB)["id"]
    for _ in range(3):
        desk.now += timedelta(seconds=1)
        desk.do("cron.run", id=id)

    assert len(rows(desk.do("cron.log", id=id, limit=2), "runs")) == 2
    assert "limit: must be a whole number" in desk.refused("cron.log", id=id, limit="many")


# ── the one moment of a job ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("2026-12-01T09:00", "2026-12-01T09:00:00+01:00"), ("2026-12-01 09:00:30", "2026-12-01T09:00:30+01:00"),
        ("2026-12-01T09:00:00Z", "2026-12-01T09:00:00+00:00"), ("2h", "2026-03-02T15:00:00+01:00"),
        ("tomorrow 9:00", "2026-03-03T09:00:00+01:00"), ("2026-03-29T02:30", "2026-03-29T03:00:00+02:00"),
    ],
)  # fmt: skip
def test_a_moment_is_written_in_iso_or_in_words_and_kept_with_its_offset(words: str, moment: str) -> None:
    assert moment_of(words, NOW, BERLIN) == moment


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("2026-03-01T09:00", "is in the past"), ("soon", "I do not see when. Give 2026-12-01T09:00"),
        ("2h call Anna", "“call Anna” is more"), ("2026-13-01T09:00", "Give 2026-12-01T09:00"), ("0m", "Give 2026-12-01T09:00"),
    ],
)  # fmt: skip
def test_a_moment_that_is_past_or_not_clear_is_refused_with_examples(words: str, why: str) -> None:
    with pytest.raises(DuctorError) as caught:
        moment_of(words, NOW, BERLIN)

    assert why in str(caught.value)
    assert str(caught.value).startswith("at: ")


@given(st.text(max_size=30))
@limits(max_examples=200, deadline=None)
def test_whatever_is_written_is_a_moment_to_come_or_refused(words: str) -> None:
    try:
        moment = moment_of(words, NOW, BERLIN)
    except DuctorError:
        return
    assert datetime.fromisoformat(moment) > NOW


# ── hooks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_hook_tells_its_address_and_how_to_call_it_without_the_token_of_all_hooks(desk: Desk) -> None:
    answer = desk.do("webhook.add", **HOOK, id="build")

    assert answer["url_path"] == "/hooks/build"
    assert answer["call"] == (
        'curl -s "http://127.0.0.1:8742/hooks/build" -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d \'{}\''
    )
    assert desk.token not in json.dumps(answer)
    assert "set enabled = true under [webhooks]" in str(answer["notes"])
    assert desk.folders == []


def test_a_token_that_is_made_for_a_hook_is_told_once(desk: Desk) -> None:
    made = desk.do("webhook.add", **HOOK, own_token=True)
    token = str(made["token"])

    later = [desk.do("webhook.show", id=made["id"]), desk.do("webhook.list"), desk.do("webhook.edit", id=made["id"], title="Other"),
             desk.do("webhook.disable", id=made["id"])]  # fmt: skip

    assert len(token) >= 32
    assert f"Bearer {token}" in str(made["call"])
    assert desk.office.hooks.all()[0].token == token
    assert token not in json.dumps(later)
    assert later[0]["hook"]["token"] == f"…{token[-4:]}"  # type: ignore[index]


def test_rotating_replaces_the_token_and_tells_the_new_one_once(desk: Desk) -> None:
    first = desk.do("webhook.add", **HOOK, own_token=True)

    second = desk.do("webhook.rotate", id=first["id"])

    assert second["token"] == desk.office.hooks.all()[0].token != first["token"]
    assert "webhooks.token opens it, too" in str(second["notes"])
    assert str(second["token"]) not in json.dumps(desk.do("webhook.show", id=first["id"]))


def test_rotating_a_signed_hook_replaces_its_secret_by_a_made_or_a_given_one(desk: Desk) -> None:
    id = desk.do("webhook.add", **HOOK, preset="github")["id"]

    made = desk.do("webhook.rotate", id=id)
    given_ = desk.do("webhook.rotate", id=id, hmac_secret="whsec_given_by_the_sender")

    assert len(str(made["hmac_secret"])) >= 32
    assert desk.office.hooks.all()[0].hmac_secret == "whsec_given_by_the_sender"
    assert "whsec_given_by_the_sender" not in json.dumps(given_)
    assert "token" not in made


def test_a_token_hook_takes_no_secret_of_a_sender(desk: Desk) -> None:
    id = desk.do("webhook.add", **HOOK)["id"]

    assert "has a token, and no secret" in desk.refused("webhook.rotate", id=id, hmac_secret="whsec_given")


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_fills_in_what_the_page_documents(desk: Desk, preset: str) -> None:
    shown = next(json.loads(text) for text in PAGE.split("```json\n") if f'"id": "{preset}"' in text for text in [text.partition("```")[0]])
    documented = next(hook for hook in shown["hooks"] if hook["id"] == preset)

    desk.do("webhook.add", **HOOK, preset=preset, hmac_secret="a-secret-of-the-sender")

    raw = json.loads(desk.office.paths.webhooks.read_text())["hooks"][0]
    own = {"id", "title", "prompt_template", "hmac_secret"}
    assert {name: value for name, value in raw.items() if name.startswith("hmac_") or name == "auth_mode"}.items() >= {
        name: value for name, value in documented.items() if name not in own
    }.items()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"preset": "stripe"}, "hmac_secret: Stripe makes the secret"), ({"preset": "gitlab"}, "must be one of github, stripe, slack"),
        ({"auth_mode": "hmac"}, "hmac_header"), ({"preset": "github", "own_token": True}, "own_token: a hook with signatures"),
        ({"mode": "dance"}, 'mode: "dance" is not accepted'), ({"token": "12345678"}, "token: not known here"),
    ],
)  # fmt: skip
def test_a_hook_that_could_not_be_checked_is_refused(desk: Desk, args: dict[str, object], why: str) -> None:
    assert why in desk.refused("webhook.add", **{**HOOK, **args})
    assert desk.office.hooks.all() == ()


def test_a_secret_that_is_refused_is_not_repeated(desk: Desk) -> None:
    wrong = desk.refused("webhook.add", **HOOK, preset="github", hmac_secret="s3cret" * 500)

    assert "hmac_secret" in wrong
    assert "s3cret" not in wrong


def test_a_hook_that_works_alone_has_a_folder(desk: Desk) -> None:
    desk.do("webhook.add", **HOOK, mode="cron_task")

    assert desk.folders == ["build-failed"]


def test_a_test_takes_a_payload_as_if_it_had_come(desk: Desk) -> None:
    id = str(desk.do("webhook.add", **HOOK, chat="42")["id"])

    answer = desk.do("webhook.test", id=id, payload={"url": "https://example.org/1"})

    item = desk.queue.get(timeout=1)
    assert item is not None
    assert (item.run, item.kind) == (answer["run"], "wake")
    assert "https://example.org/1" in item.text
    assert [hook["trigger_count"] for hook in rows(desk.do("webhook.list"), "hooks")] == [1]


def test_a_test_tells_at_once_when_the_hook_cannot_run(desk: Desk) -> None:
    desk.office.paths.webhooks.write_text(json.dumps({"hooks": [{**HOOK, "id": "build", "mode": "cron_task"}]}))
    desk.office.hooks.refresh()

    answer = desk.do("webhook.test", id="build")

    assert answer["status"] == "error:no_task_folder"
    assert rows(desk.do("webhook.list"), "hooks")[0]["last_error"] == "error:no_task_folder"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"id": "nobody"}, 'error:not_found: There is no hook "nobody"'), ({"id": "build", "payload": [1]}, "must be a JSON object"),
        ({"id": "build", "payload": {"a": "x" * 300_000}}, "are more than webhooks.max_body_bytes"),
    ],
)  # fmt: skip
def test_a_test_that_cannot_be_taken_says_why(desk: Desk, args: dict[str, object], why: str) -> None:
    desk.do("webhook.add", **HOOK, id="build")

    assert why in desk.refused("webhook.test", **args)


def test_the_list_counts_calls_and_names_the_last_error_until_one_succeeds(desk: Desk) -> None:
    id = str(desk.do("webhook.add", **HOOK, chat="42")["id"])
    seen = []
    for result in (("error:timeout", ""), ("success", "Done.")):
        desk.now += timedelta(minutes=1)
        desk.do("webhook.test", id=id)
        item = desk.begin(id)
        desk.office.ledger.finish(item.id, result=result)
        row = rows(desk.do("webhook.list"), "hooks")[0]
        seen.append((row["trigger_count"], row["last_triggered_at"], row["last_error"]))

    assert seen == [(1, "2026-03-02T13:01:00+01:00", "error:timeout"), (2, "2026-03-02T13:02:00+01:00", "")]


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8742/hooks/b"), ("fe80::1", "http://[fe80::1]:8742/hooks/b")])
def test_the_address_is_one_that_can_be_called(tmp_path: Path, host: str, url: str) -> None:
    desk = Desk(tmp_path, {"webhooks": {"host": host, "enabled": True}})

    answer = desk.do("webhook.add", **HOOK, id="b", own_token=True)

    assert answer["url"] == url
    assert answer["notes"] == ["This is shown once: keep it now. `ductor webhook rotate` makes another."]


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("cron.list", "webhook.list", "cleanup")])
@pytest.mark.parametrize("args", [{}, {"id": None}, {"id": ["a"], "title": 3}, {"limit": True, "chat": {"a": 1}}])
def test_arguments_that_make_no_sense_are_refused_with_a_sentence(desk: Desk, name: str, args: dict[str, object]) -> None:
    assert len(desk.refused(name, **args)) > 10


def test_a_disk_that_refuses_is_a_sentence(desk: Desk) -> None:
    desk.office.paths.cron_jobs.mkdir()

    assert "It cannot be stored" in desk.refused("cron.add", **JOB)
    assert desk.folders == []


JOB_FIELDS = st.fixed_dictionaries({}, optional={
    "title": st.text(max_size=20), "schedule": st.sampled_from(["0 9 * * *", "x", ""]), "at": st.sampled_from(["2h", "", "never"]),
    "agent_instruction": st.text(max_size=5), "message": st.text(max_size=5),
    "task_folder": st.sampled_from(["a", "A b", "../x", "con", ""]),
    "quiet_start": st.integers(-1, 24), "quiet_end": st.none() | st.integers(0, 23), "chat": st.sampled_from(["42", "99", 7, None]),
    "ask": st.booleans(), "everyone": st.booleans(),
})  # fmt: skip


def test_folder_and_entry_come_together_or_not_at_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    check(desk)()
    desk.office.ledger.close()


def check(desk: Desk) -> Callable[[], None]:
    @given(JOB_FIELDS)
    @limits(max_examples=150, deadline=None)
    def added(args: dict[str, object]) -> None:
        folders, before = desk.folders, desk.office.jobs.all()
        try:
            id = desk.do("cron.add", **args)["id"]
        except DuctorError:
            assert (desk.folders, desk.office.jobs.all()) == (folders, before)
            return
        job = desk.office.jobs.find(str(id))
        assert isinstance(job, Job)
        assert bool(job.task_folder) != bool(job.message)
        assert not job.task_folder or job.task_folder in desk.folders

    return added


@pytest.mark.parametrize(
    ("name", "given"),
    [("cron.add", {"schedule": "0 9 * * *", "agent_instruction": "x"}), ("webhook.add", {"prompt_template": "x"})],
)
def test_an_agent_in_bounds_cannot_give_itself_parameters_that_lead_out(name: str, given: dict[str, object], tmp_path: Path) -> None:
    desk = Desk(tmp_path, overrides={"permission_mode": "acceptEdits"})

    why = desk.refused(name, title="Free", cli_parameters=["--dangerously-skip-permissions"], **given)

    assert "permission_mode" in why
    assert not desk.office.jobs.all()
    assert not desk.office.hooks.all()
