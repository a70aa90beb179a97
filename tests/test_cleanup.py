"""The daily cleanup: what is old goes, everything else stays, whatever lies there and whatever happens meanwhile."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ductor_lib.automation import cleanup
from ductor_lib.automation.cleanup import DAY, Cleanup, Gone, Old, clean, due, find, is_old, remove
from ductor_lib.config import Settings, defaults
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Run
from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile
from tests.command_line import CommandLine
from tests.program import until

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")
SETTINGS = defaults(user_timezone="Europe/Berlin", cleanup={"telegram_files_days": 30, "output_to_user_days": 7})


class Home:
    """A home with files of known ages, in days."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder / "home")
        self.paths.create()
        for one in (self.paths.telegram_files, self.paths.output_to_user):
            one.mkdir()
        self.ledger = Ledger(self.paths.ledger, now=lambda: NOW)

    def put(self, name: str, *, days: float = 0.0, size: int = 3) -> Path:
        """A file in the home."""
        path = self.paths.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        self.date(path, days)
        return path

    def date(self, path: Path, days: float) -> None:
        os.utime(path, (NOW - days * DAY, NOW - days * DAY), follow_symlinks=False)

    def clean(self, settings: Settings = SETTINGS) -> Gone:
        return clean(settings, self.paths, self.ledger, NOW)

    def left(self, folder: Path) -> list[str]:
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.ledger.close()


# ── files of the chat ───────────────────────────────────────────────────────────────────────────────────────────────


def test_old_files_at_the_top_and_in_date_folders_go_and_younger_ones_stay(home: Home) -> None:
    for name, days in (("old.pdf", 31), ("young.pdf", 29), ("2026-01-15/old.ogg", 46), ("2026-01-15/touched.ogg", 2)):
        home.put(f"workspace/telegram_files/{name}", days=days, size=10)

    gone = home.clean()

    assert home.left(home.paths.telegram_files) == ["2026-01-15", "2026-01-15/touched.ogg", "young.pdf"]
    assert gone == Gone(files=2, bytes=20)


def test_each_of_the_two_folders_has_its_own_time(home: Home) -> None:
    for folder in ("telegram_files", "output_to_user"):
        home.put(f"workspace/{folder}/ten.txt", days=10)

    home.clean()

    assert (home.left(home.paths.telegram_files), home.left(home.paths.output_to_user)) == (["ten.txt"], [])


def test_a_date_folder_that_is_empty_goes_unless_it_may_be_filled_just_now(home: Home) -> None:
    home.put("workspace/telegram_files/2026-01-01/a.jpg", days=60)
    for name in ("2026-02-01", "2026-03-01", "2026-03-02", "2026-03-03"):
        (home.paths.telegram_files / name).mkdir()

    gone = home.clean()

    assert home.left(home.paths.telegram_files) == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert (gone.files, gone.folders) == (1, 2)


@pytest.mark.parametrize("name", ["projects/a.txt", "2026-01/a.txt", "2026-99-99/a.txt", "2026-01-01/deeper/a.txt", "x2026-01-01/a.txt"])
def test_other_folders_are_the_owners(home: Home, name: str) -> None:
    path = home.put(f"workspace/output_to_user/{name}", days=900)

    assert home.clean() == Gone()
    assert path.exists()


@pytest.mark.parametrize("name", ["CLAUDE.md", "AGENTS.md"])
def test_the_rules_of_the_folder_stay_however_old_they_are(home: Home, name: str) -> None:
    rules = home.put(f"workspace/telegram_files/{name}", days=900)

    home.clean()

    assert rules.exists()


def test_the_workspace_beside_the_two_folders_is_not_touched(home: Home) -> None:
    paths = [home.put(f"workspace/{name}", days=900) for name in ("notes.txt", "2026-01-01/a.txt", "memory_system/MAINMEMORY.md")]

    assert home.clean() == Gone()
    assert all(path.exists() for path in paths)


# ── links ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_old_link_goes_and_what_it_leads_to_stays(home: Home, tmp_path: Path) -> None:
    target, folder = tmp_path / "mine.txt", tmp_path / "folder"
    target.write_text("mine")
    folder.mkdir()
    (folder / "inside.txt").write_text("mine")
    for path in (target, folder / "inside.txt"):
        home.date(path, 900)
    links = {"to-file": target, "to-folder": folder, "2026-01-01": folder, "to-nowhere": tmp_path / "nothing"}
    for name, where in links.items():
        (home.paths.telegram_files / name).symlink_to(where)
        home.date(home.paths.telegram_files / name, 31)
    (home.paths.telegram_files / "young").symlink_to(target)
    home.date(home.paths.telegram_files / "young", 1)

    home.clean()

    assert os.listdir(home.paths.telegram_files) == ["young"]
    assert (target.read_text(), (folder / "inside.txt").read_text()) == ("mine", "mine")


def test_a_folder_of_the_chat_that_is_a_link_itself_is_left_alone(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "old.txt").write_text("mine")
    home.date(elsewhere / "old.txt", 900)
    home.paths.telegram_files.rmdir()
    home.paths.telegram_files.symlink_to(elsewhere)

    assert home.clean() == Gone()
    assert (elsewhere / "old.txt").exists()


def test_a_link_that_takes_the_place_of_a_folder_after_the_look_is_not_followed(home: Home, tmp_path: Path) -> None:
    home.put("workspace/telegram_files/2026-01-01/a.txt", days=900)
    found = find(SETTINGS, home.paths, NOW)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_text("mine")
    date_folder = home.paths.telegram_files / "2026-01-01"
    date_folder.rename(tmp_path / "moved")
    date_folder.symlink_to(elsewhere)

    gone = remove(found, set())

    assert (elsewhere / "a.txt").exists()
    assert (gone.files, gone.failed) == (0, 1)


def test_what_is_neither_file_nor_link_stays(home: Home) -> None:
    pipe = home.paths.telegram_files / "pipe"
    os.mkfifo(pipe)
    home.date(pipe, 900)

    assert home.clean() == Gone()
    assert pipe.exists()


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_vanishes_after_the_look_is_no_failure(home: Home) -> None:
    path = home.put("workspace/telegram_files/a.txt", days=900)
    found = find(SETTINGS, home.paths, NOW)
    path.unlink()

    assert remove(found, set()) == Gone()


def test_a_file_that_resists_is_told_once_and_the_others_go(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    other = home.put("workspace/telegram_files/z.txt", days=900)
    (home.paths.telegram_files / "folder").mkdir()
    found = [Old(home.paths.workspace, ("telegram_files", "folder"), 3), *find(SETTINGS, home.paths, NOW)]
    told: set[Path] = set()

    with caplog.at_level(logging.WARNING):
        first, second = remove(found, told), remove(found[:1], told)

    assert (first.files, first.failed, second.failed) == (1, 1, 1)
    assert not other.exists()
    assert len(caplog.records) == 1


def test_folders_that_are_not_there_are_no_failure(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home")

    assert find(SETTINGS, paths, NOW) == []


def test_thousands_of_files_take_moments(home: Home) -> None:
    for number in range(5000):
        (home.paths.telegram_files / f"{number}.txt").touch()
        home.date(home.paths.telegram_files / f"{number}.txt", 40)
    begun = time.monotonic()

    gone = home.clean()

    assert gone.files == 5000
    assert time.monotonic() - begun < 3.0


# ── ductor's own copies and history ─────────────────────────────────────────────────────────────────────────────────


def stamp(days: float) -> int:
    return int(NOW - days * DAY)


def test_copies_that_were_set_aside_are_as_old_as_their_name_says(home: Home) -> None:
    old = [
        home.put(name, days=900) for name in (
            f"sessions.json.damaged-{stamp(31)}", f"ledger.db.damaged-{stamp(40)}-wal", f"config/codex_models.json.damaged-{stamp(31)}",
            f"workspace/CLAUDE.md.edited-{stamp(31)}", f"workspace/cron_tasks/news/AGENTS.md.edited-{stamp(31)}",
            f"bin/ductor.edited-{stamp(31)}",
        )
    ]  # fmt: skip
    young = home.put(f"state.json.damaged-{stamp(29)}", days=900)  # the content is old, the damage is not
    touched = home.put(f"sessions.json.damaged-{stamp(300)}", days=1)

    home.clean()

    assert [path for path in old if path.exists()] == []
    assert young.exists()
    assert touched.exists()


@pytest.mark.parametrize(
    "name",
    [
        "mine.damaged-1000000000", "cron_jobs.json.damaged-1000000000", "workspace/report.edited-1000000000", "sessions.json.damaged-",
        "workspace/sessions.json.damaged-1000000000", "workspace/.git/CLAUDE.md.edited-1000000000", "sessions.json.damaged-1000000000x",
        "workspace/node_modules/CLAUDE.md.edited-1000000000", "config/config.toml.damaged-1000000000", "sessions.json.bak",
    ],
)  # fmt: skip
def test_what_only_looks_like_such_a_copy_stays(home: Home, name: str) -> None:
    path = home.put(name, days=900)

    assert home.clean() == Gone()
    assert path.exists()


def test_files_in_the_making_go_when_their_writer_must_be_gone(home: Home) -> None:
    left = home.put("workspace/cron_tasks/news/.CLAUDE.md.0123abcd.ductor-tmp", days=2)
    busy = home.put("workspace/cron_tasks/news/.CLAUDE.md.4567abcd.ductor-tmp", days=0.5)
    foreign = home.put("workspace/mine.ductor-tmp", days=900)

    home.clean()

    assert [left.exists(), busy.exists(), foreign.exists()] == [False, True, True]


def test_old_runs_go_but_for_the_latest_of_each_job(tmp_path: Path) -> None:
    moment = [NOW - 100 * DAY]
    ledger = Ledger(tmp_path / "ledger.db", now=lambda: moment[0])
    for name, count in (("often", 60), ("rarely", 3)):
        for number in range(count):
            ledger.runs.add(Run(f"{name}:{number}", "hook", name, name, "{}", due=float(number), status="success"))
    moment[0] = NOW
    ledger.runs.add(Run("often:new", "hook", "often", "often", "{}", due=NOW, status="success"))

    gone = clean(SETTINGS, Paths(tmp_path), ledger, NOW)

    assert gone.runs == 11
    assert len(ledger.runs.history("hook", "often", limit=100)) == 50
    assert ledger.runs.counts("hook") == {"often": 61, "rarely": 3}
    assert clean(SETTINGS, Paths(tmp_path), ledger, NOW).runs == 0
    assert ledger.runs.counts("hook") == {"often": 61, "rarely": 3}
    ledger.close()


# ── when ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("now", "last", "day"),
    [
        ("2026-03-02T02:59", "2026-03-01", ""), ("2026-03-02T03:00", "2026-03-01", "2026-03-02"), ("2026-03-02T12:00", "2026-03-02", ""),
        ("2026-03-02T12:00", "", "2026-03-02"), ("2026-03-02T01:00", "", "2026-03-01"), ("2026-03-05T01:00", "2026-03-02", "2026-03-04"),
        ("2026-03-02T02:30", "2026-03-02", ""), ("2026-03-02T12:00", "2031-01-01", "2026-03-02"), ("2026-03-02T12:00", "?", "2026-03-02"),
    ],
)  # fmt: skip
def test_a_day_begins_at_the_hour_and_is_done_once_also_when_that_was_missed(now: str, last: str, day: str) -> None:
    assert due(datetime.fromisoformat(now).replace(tzinfo=BERLIN), 3, last) == day


@given(st.integers(0, 23), st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 8000))
@limits(max_examples=200, deadline=None)
def test_however_often_one_looks_each_day_is_done_once(hour: int, pauses: list[int], start: int) -> None:
    moment, last, done = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=start), "", []
    for pause in pauses:
        moment += timedelta(hours=pause)
        here = moment.astimezone(BERLIN)
        if day := due(here, hour, last):
            last = day
            done.append(day)
        begun = here.date() if here.hour >= hour else here.date() - timedelta(days=1)
        assert last == begun.isoformat()

    assert done == sorted(set(done))


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.integers(1, 36500))
def test_nothing_is_old_before_its_days_are_over(touched: float, now: float, days: int) -> None:
    assert is_old(touched, now, days) == (now - touched > days * 86400)


NAMES = st.sampled_from(["a.txt", "b", "CLAUDE.md", "2026-01-01", "2026-03-02", "x.json.damaged-1", ".hidden"])
FOLDERS = st.sampled_from(["", "2026-01-01/", "2026-02-28/", "mine/", "2026-01-01/deeper/"])


@given(st.dictionaries(st.tuples(FOLDERS, NAMES), st.floats(0, 60), max_size=8))
@limits(max_examples=60, deadline=None)
def test_whatever_lies_there_only_old_files_of_those_places_go(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[str, str], float]
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    files = {}
    for (folder, name), days in tree.items():
        path = home.paths.telegram_files / f"{folder}{name}"
        if path.is_dir() or any(parent.is_file() for parent in path.parents):
            continue
        files[home.put(path.relative_to(home.paths.home).as_posix(), days=days)] = (folder, name, days)

    home.clean()

    stays = {
        path for path, (folder, name, days) in files.items()
        if days <= 30 or folder not in ("", "2026-01-01/", "2026-02-28/") or (not folder and name == "CLAUDE.md")
    }  # fmt: skip
    assert {path for path in home.paths.telegram_files.rglob("*") if path.is_file()} == stays
    home.ledger.close()


# ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_day_is_done_once_also_after_a_restart(home: Home) -> None:
    state = JsonFile(home.paths.state)

    def fresh() -> Cleanup:
        return Cleanup(SETTINGS, home.paths, state, home.ledger, now=lambda: NOW)

    first = fresh()
    done = [first.step() is not None, first.step() is not None, fresh().step() is not None]

    assert done == [True, False, False]
    assert state.read() == {"cleanup_day": "2026-03-02"}


def test_a_state_that_cannot_be_written_costs_no_second_cleanup_that_day(home: Home) -> None:
    home.paths.state.with_name("state.json.lock").mkdir()
    old = home.put("workspace/telegram_files/a.txt", days=40)
    cleaner = Cleanup(SETTINGS, home.paths, JsonFile(home.paths.state), home.ledger, now=lambda: NOW)

    with pytest.raises(OSError, match="lock"):
        cleaner.step()

    assert not old.exists()
    assert cleaner.step() is None


def test_the_thread_cleans_up_at_the_start_logs_one_line_and_ends(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    old = home.put("workspace/telegram_files/a.txt", days=40, size=7)
    cleaner = Cleanup(SETTINGS, home.paths, JsonFile(home.paths.state), home.ledger, now=lambda: NOW)

    with caplog.at_level(logging.INFO, logger=cleanup.__name__):
        cleaner.start()
        until(lambda: "cleanup_day" in JsonFile(home.paths.state).read(), "the day in state.json")
        cleaner.stop()
        until(lambda: not [thread for thread in threading.enumerate() if thread.name == "cleanup"], "the end of the thread")

    assert not old.exists()
    assert [record.getMessage().rpartition(" ")[0] for record in caplog.records] == [
        "cleaned up files=1 bytes=7 folders=0 runs=0 failed=0"
    ]


def test_switched_off_it_starts_nothing(home: Home) -> None:
    cleaner = Cleanup(defaults(cleanup={"enabled": False}), home.paths, JsonFile(home.paths.state), home.ledger, now=lambda: NOW)

    cleaner.start()

    assert [thread for thread in threading.enumerate() if thread.name == "cleanup"] == []
    cleaner.stop()


# ── the verb ────────────────────────────────────────────────────────────────────────────────────────────────────────


def aged(path: Path, days: float, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - days * DAY,) * 2)


def test_a_dry_run_names_what_would_go_and_only_the_real_one_removes_it(tmp_path: Path) -> None:
    ductor = CommandLine(tmp_path)
    old, young = ductor.paths.telegram_files / "old.pdf", ductor.paths.telegram_files / "young.pdf"
    aged(old, 40, 2500)
    aged(young, 1, 10)

    dry = ductor.lines("cleanup", "--dry-run")
    still = old.exists()
    done = ductor.lines("cleanup")

    assert dry == [f"    2.5 kB  {old}", "Would remove files: 1 (2.5 kB), empty date folders: 0, old runs of the history: 0."]
    assert done == ["Removed files: 1 (2.5 kB), empty date folders: 0, old runs of the history: 0."]
    assert (still, old.exists(), young.exists()) == (True, False, True)


def test_programs_get_the_cleanup_as_json(tmp_path: Path) -> None:
    ductor = CommandLine(tmp_path)
    for number in range(cleanup.LISTED + 5):
        aged(ductor.paths.output_to_user / f"{number}.txt", 40, 1)

    dry = ductor.json("cleanup", "--dry-run")
    done = ductor.json("cleanup")

    assert (dry["files"], dry["more"], len(dry["would_remove"])) == (305, 5, 300)  # type: ignore[arg-type]
    assert (done["files"], done["failed"]) == (305, 0)
