"""The user's two files: every good edit takes effect, every broken one costs a sentence, and nothing of theirs is lost."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ductor_lib.automation.books import HookBook, JobBook, new_id
from ductor_lib.automation.definitions import Hook, Job
from ductor_lib.automation.json_lines import entries
from ductor_lib.errors import DuctorError

PAGE = (Path(__file__).parent.parent / "docs/modules/cron.md").read_text(encoding="utf-8")
NEW = Job(id="", title="Tägliche Presse!", schedule="0 9 * * *", task_folder="press", agent_instruction="Read.")
BY_HAND = """{
  "note": "mine",
  "jobs": [
    {"id": "a", "title": "First", "schedule": "0 9 * * *", "task_folder": "a", "agent_instruction": "Do.", "colour": "red"},
    {
      "title": "Second",
      "id": "b",
      "at": "2026-03-02T12:00:00Z",
      "message": "Hello"
    }
  ]
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cron_jobs.json"


def by_hand(path: Path, old: str = "", new: str = "") -> JobBook:
    """A book of the two jobs, in which somebody then replaces a text."""
    path.write_text(BY_HAND)
    book = JobBook(path)
    path.write_text(BY_HAND.replace(old, new))
    return book


def ids(book: JobBook) -> list[str]:
    return [job.id for job in book.all()]


# ── edits from outside ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_not_there_has_no_jobs_and_reading_makes_none(path: Path) -> None:
    book = JobBook(path)

    assert (book.all(), book.refresh()) == ((), "")
    assert not path.exists()


def test_an_edit_takes_effect_with_the_next_look_and_not_before(path: Path) -> None:
    book = by_hand(path, "First", "Erster")

    before = book.all()[0].title
    said = book.refresh()

    assert (before, said) == ("First", "")
    assert book.all()[0].title == "Erster"


def test_an_edit_of_the_same_length_with_the_same_time_is_seen(path: Path) -> None:
    path.write_text(BY_HAND)
    before = path.stat()
    book = JobBook(path)

    path.write_text(BY_HAND.replace("0 9", "0 7"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    book.refresh()

    assert book.all()[0].schedule == "0 7 * * *"


def test_a_file_that_is_taken_away_has_no_jobs(path: Path) -> None:
    book = by_hand(path)
    path.unlink()

    assert book.refresh() == ""
    assert book.all() == ()


def test_a_wrong_entry_keeps_its_last_good_version_and_the_others_take_effect(path: Path) -> None:
    book = by_hand(path)
    path.write_text(BY_HAND.replace("0 9 * * *", "0 99 * * *").replace("Hello", "Good morning"))

    said = book.refresh()

    assert [(job.id, job.schedule, job.message) for job in book.all()] == [("a", "0 9 * * *", ""), ("b", "", "Good morning")]
    assert said.splitlines() == [
        'cron_jobs.json line 4: schedule: "0 99 * * *" is not accepted (bad hour); must be a cron expression of five fields, '
        'minute hour day month weekday: "0 9 * * 1-5"',
        "A job with a mistake keeps its last good version, or is left out if it has none. Everything else is in force.",
    ]


def test_the_line_is_that_of_the_key_in_the_entry(path: Path) -> None:
    book = by_hand(path, '"at": "2026-03-02T12:00:00Z"', '"at": "soon"')

    assert book.refresh().startswith('cron_jobs.json line 8: at: "soon" is not accepted; must be a moment with its offset')


@pytest.mark.parametrize(
    ("old", "new", "line", "mistake", "left"),
    [
        ('"id": "b"', '"id": "a"', 7, 'id: "a" is used twice; must be another', ["a"]),
        ('"id": "b"', '"id": "b b"', 7, 'id: "b b" is not accepted', ["a"]),
        ('"id": "b",', "", 5, "id: is missing", ["a"]),
        ('{"id": "a", "title": "First"', '"a", {"id": "c", "title": "First"', 4,
         '"a" is not accepted; each entry must be an object', ["c", "b"]),
    ],
)  # fmt: skip
def test_an_entry_without_a_good_version_is_left_out_and_named(
    path: Path, old: str, new: str, line: int, mistake: str, left: list[str]
) -> None:
    book = by_hand(path, old, new)

    said = book.refresh()

    assert said.startswith(f"cron_jobs.json line {line}: {mistake}")
    assert ids(book) == left


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"red"},', '"red"}', "cron_jobs.json, line 5: Expecting ',' delimiter. Correct the file; nothing in it was changed."),
        (BY_HAND, "", "cron_jobs.json, line 1: Expecting value"),
        (BY_HAND, "[]", "cron_jobs.json, line 1: the file must hold one object"),
        (BY_HAND, '{\n"jobs": {}}', 'cron_jobs.json line 2: "jobs" must be a list'),
        (BY_HAND, "[" * 100_000, "cron_jobs.json, line 1: "),
    ],
    ids=["comma missing", "empty", "no object", "no list", "endless nesting"],
)
def test_a_damaged_file_keeps_everything_as_it_was_and_is_named_with_its_line(path: Path, old: str, new: str, expected: str) -> None:
    book = by_hand(path, old, new)

    said = book.refresh()

    assert expected in said
    assert said.endswith("What was in it before stays in force.")
    assert ids(book) == ["a", "b"]


def test_however_deep_a_value_is_nested_the_file_is_told_about_and_nothing_breaks(path: Path) -> None:
    book = by_hand(path)

    for depth in range(850, 1050, 2):
        path.write_text(BY_HAND.replace('"red"', "[" * depth + "]" * depth).replace('"First"', "[" * depth + "]" * depth))
        assert book.refresh()

    assert ids(book) == ["a", "b"]


def test_a_file_that_cannot_be_read_keeps_everything_as_it_was(path: Path) -> None:
    book = by_hand(path)
    path.unlink()
    path.mkdir()

    assert [book.refresh(), book.refresh()] == [f"{path} cannot be read: Is a directory. What was in it before stays in force.", ""]
    assert ids(book) == ["a", "b"]


def test_each_broken_version_is_told_once(path: Path) -> None:
    book = by_hand(path)
    told = []

    for content in ("{", "{", "{{", BY_HAND.replace("0 9 *", "x 9 *"), BY_HAND.replace("0 9 *", "x 9 *"), BY_HAND, "{"):
        path.write_text(content)
        told.append(bool(book.refresh()))

    assert told == [True, False, True, True, False, False, True]


def test_what_was_broken_at_the_start_is_told_too_and_an_own_change_does_not_tell_it_again(path: Path) -> None:
    path.write_text(BY_HAND.replace("0 9 * * *", "0 99 * * *"))
    book = JobBook(path)

    assert "line 4: schedule" in book.refresh()
    book.edit("b", {"title": "Zweiter"})
    assert book.refresh() == ""


def test_what_is_corrected_before_anybody_was_told_is_not_told(path: Path) -> None:
    path.write_text("{")
    book = JobBook(path)
    path.write_text(BY_HAND)

    assert book.refresh() == ""
    assert ids(book) == ["a", "b"]


def test_many_mistakes_are_not_all_told(path: Path) -> None:
    path.write_text(json.dumps({"jobs": [{"id": str(number)} for number in range(20)]}))

    said = JobBook(path).refresh().splitlines()

    assert (len(said), said[10]) == (12, "… and 70 more mistakes.")


def test_the_example_of_the_page_says_what_the_page_says(path: Path) -> None:
    example = PAGE.partition("```json\n")[2].partition("```")[0]
    path.write_text(example)
    book = JobBook(path)
    path.write_text(example.replace("30 7 * * 1-5", "30 27 * * 1-5"))

    said = book.refresh()

    assert len(book.all()) == 2
    assert f"```text\n{said}\n```" in PAGE


# ── changes by a command ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_job_gets_an_id_and_a_date_and_is_in_force_at_once(path: Path) -> None:
    book = JobBook(path, now=lambda: datetime(2026, 3, 2, 12, tzinfo=UTC))

    added = book.add(NEW)

    assert added.id.startswith("tagliche-presse-")
    assert added == replace(NEW, id=added.id, created_at="2026-03-02T12:00:00+00:00")
    assert book.all() == JobBook(path).all() == (added,)
    assert json.loads(path.read_text())["jobs"][0]["schedule"] == "0 9 * * *"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_id_is_made_until_it_is_free() -> None:
    suffixes = iter(["0000", "0000", "1111"])

    assert new_id("A  b", {"a-b-0000"}, lambda: next(suffixes)) == "a-b-1111"
    assert new_id("日本語", (), lambda: "abcd") == "abcd"
    assert new_id("x" * 99, (), lambda: "abcd") == "x" * 40 + "-abcd"


@pytest.mark.parametrize(
    ("item", "mistake"),
    [(replace(NEW, id="a"), 'already a job "a"'), (replace(NEW, schedule="x"), "schedule: "), (replace(NEW, title=""), "title: ")],
)
def test_a_job_that_does_not_fit_is_not_added(path: Path, item: Job, mistake: str) -> None:
    book = by_hand(path)

    with pytest.raises(DuctorError, match=mistake):
        book.add(item)

    assert path.read_text() == BY_HAND


def test_an_edit_writes_only_what_it_names(path: Path) -> None:
    book = by_hand(path)

    job = book.edit("a", {"title": "Erster", "quiet_start": 21, "quiet_end": 8})
    book.edit("a", {"quiet_start": None, "quiet_end": None})

    expected = json.loads(BY_HAND)
    expected["jobs"][0]["title"] = "Erster"
    assert json.loads(path.read_text()) == expected
    assert list(json.loads(path.read_text())["jobs"][1]) == ["title", "id", "at", "message"]
    assert (job.title, job.quiet_start) == ("Erster", 21)
    assert book.all()[0].title == "Erster"


@pytest.mark.parametrize(
    ("id", "changes", "mistake"),
    [
        ("a", {"schedule": "x"}, "schedule: "), ("a", {"quiet_start": 3}, "quiet_end: is missing"),
        ("a", {"id": "z"}, "id: cannot be changed"),
        ("a", {"titel": "z"}, "titel: cannot be changed; did you mean title"), ("a", {"title": None}, "title: is missing"),
        ("b", {"schedule": "0 9 * * *"}, "schedule: both are given"), ("z", {"title": "z"}, 'There is no job "z"'),
    ],
)  # fmt: skip
def test_an_edit_that_does_not_fit_changes_nothing(path: Path, id: str, changes: dict[str, object], mistake: str) -> None:
    book = by_hand(path)

    with pytest.raises(DuctorError, match=mistake):
        book.edit(id, changes)

    assert path.read_text() == BY_HAND


def test_an_edit_can_correct_an_entry_that_is_broken_in_the_file(path: Path) -> None:
    book = by_hand(path, "0 9 * * *", "0 99 * * *")

    book.edit("a", {"schedule": "0 10 * * *"})

    assert book.refresh() == ""
    assert book.all()[0].schedule == "0 10 * * *"


def test_a_job_is_removed_and_the_rest_stays(path: Path) -> None:
    book = by_hand(path)

    book.remove("a")

    assert ids(book) == ["b"]
    assert json.loads(path.read_text())["note"] == "mine"
    with pytest.raises(DuctorError, match='There is no job "a"'):
        book.remove("a")


@pytest.mark.parametrize("damage", ["{", "", '{"jobs": 5}', "[]"])
def test_a_damaged_file_is_never_written(path: Path, damage: str) -> None:
    book = by_hand(path, BY_HAND, damage)

    for change in (lambda: book.add(NEW), lambda: book.edit("a", {"title": "x"}), lambda: book.remove("a")):
        with pytest.raises(DuctorError, match="Correct the file; nothing in it was changed"):
            change()

    assert path.read_text() == damage
    assert ids(book) == ["a", "b"]
    assert list(path.parent.glob("*damaged*")) == []


def test_threads_and_other_books_lose_no_change(path: Path) -> None:
    books = [JobBook(path), JobBook(path)]

    def work(book: JobBook) -> None:
        for _ in range(5):
            book.edit(book.add(NEW).id, {"enabled": False})
            book.refresh()

    threads = [threading.Thread(target=work, args=(books[number % 2],), name=f"work-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    for book in books:
        book.refresh()
        assert len({job.id for job in book.all() if not job.enabled}) == 20


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "id"),
    [
        ("report", "report"), ("report-3f9a", "report-3f9a"), ("REPORT", "report"), ("report-", None), ("report-3", "report-3f9a"),
        ("morning news", "report-1111"), (" Morning N", "report-1111"), ("morning", "report-3f9a"), ("r", None), ("", None), ("zzz", None),
    ],
)  # fmt: skip
def test_people_find_a_job_by_what_only_one_has(path: Path, words: str, id: str | None) -> None:
    book = JobBook(path)
    for name, title in (("report", "Weekly"), ("report-3f9a", "Morning"), ("report-1111", "Morning news")):
        book.add(replace(NEW, id=name, title=title))

    found = book.match(words)

    assert (found.id if found else None) == id


def test_a_program_that_asks_for_a_job_that_is_gone_gets_no_other(path: Path) -> None:
    book = JobBook(path)
    book.add(replace(NEW, id="report-3f9a"))

    assert book.find("report") is None
    assert book.find("report-3f9a") == book.all()[0]


def test_a_hook_is_found_by_strangers_only_by_its_whole_id(tmp_path: Path) -> None:
    book = HookBook(tmp_path / "webhooks.json")
    hook = book.add(Hook(id="", title="GitHub", prompt_template="Look: {{action}}", token="12345678"))

    assert book.find(hook.id) == hook
    assert [book.find(words) for words in ("github", hook.id[:-1], hook.id.upper(), "")] == [None] * 4
    assert book.match("git") == hook
    assert "12345678" not in repr(book.all())
    assert json.loads((tmp_path / "webhooks.json").read_text())["hooks"][0]["token"] == "12345678"


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(['"', "]}", "\\", "jobs", ",\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=2), st.lists(JSON, max_size=4), st.sampled_from([None, 0, 2, "\t"]))
def test_entries_stand_where_a_reader_finds_them(others: dict[str, object], listed: list[object], indent: int | str | None) -> None:
    text = json.dumps(others | {"jobs": listed, "~": [1]}, indent=indent, separators=(" ,", " : "))

    line, found = entries(text, "jobs")

    lines = text.split("\n")
    assert '"jobs"' in lines[line - 1]
    assert len(found) == len(listed)
    for entry, item in zip(found, listed, strict=True):
        assert list(entry.keys) == (list(item) if isinstance(item, dict) else [])
        for key, place in entry.keys.items():
            assert json.dumps(key) in lines[place - 1]
    assert [entry.line for entry in found] == sorted(entry.line for entry in found)


def test_of_two_lists_with_one_name_the_last_counts_as_for_json() -> None:
    assert entries('{"jobs": [1],\n "jobs": [2, 3]}', "jobs")[0] == 2
    assert entries('{"x": 1}', "jobs") == (1, [])


def test_several_are_switched_in_one_write_and_one_with_a_mistake_is_left_alone(path: Path) -> None:
    book = by_hand(path, '"0 9 * * *"', '"0 99 * * *"')

    left = book.switch(["a", "b", "gone"], on=False)

    assert left == ["a", "gone"]
    stored = {entry["id"]: entry for entry in json.loads(path.read_text())["jobs"]}
    assert (stored["a"].get("enabled"), stored["a"]["colour"], stored["b"]["enabled"]) == (None, "red", False)
    assert [job.enabled for job in book.all()] == [True, False]


def test_nothing_is_switched_in_a_damaged_file(path: Path) -> None:
    book = by_hand(path, "]", "")

    with pytest.raises(DuctorError, match="line"):
        book.switch(["a"], on=False)

    assert path.read_text() == BY_HAND.replace("]", "")
