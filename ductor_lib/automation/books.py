"""The two files of the user's, jobs and hooks: edits take effect, and a broken one costs nothing but a sentence to the owner."""

from __future__ import annotations

import json
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from ductor_lib.automation.definitions import Hook, Job, Task
from ductor_lib.automation.json_lines import entries
from ductor_lib.automation.validation import DefinitionError, nearest, read_hook, read_job, to_raw
from ductor_lib.errors import DuctorError
from ductor_lib.storage import JsonFile

T = TypeVar("T", bound=Task)
LONGEST_SLUG = 40  # characters of an id that come from the title
NAMED = 10  # mistakes that are told at once


def _now() -> datetime:
    return datetime.now(UTC)


class Book(Generic[T]):
    """A list of definitions in a JSON file: `{"jobs": [...]}`. Any thread; other processes may write the file too.

    What is in force is kept in memory: the last good version of each entry. The file itself is only changed by `add`,
    `edit` and `remove`, and only what they name in it; while it is damaged they raise DuctorError and it stays as it is.
    They raise OSError where the disk does not let us. `now` dates what is added.
    """

    def __init__(self, path: Path, name: str, kind: type[T], read: Callable[[object], T], *, now: Callable[[], datetime]) -> None:
        self._path = path
        self._name = name
        self._kind = kind
        self._read = read
        self._now = now
        self._file = JsonFile(path, own=False)
        self._lock = threading.Lock()  # over what was read, all of the following
        self._seen: bytes | None = None  # the content that was looked at last
        self._wrong = ""  # what was broken in it, to tell each broken version once
        self._complaint = ""  # not told yet
        self._items: tuple[T, ...] = ()
        with self._lock:
            self._look()

    def all(self) -> tuple[T, ...]:
        """What is in force, in the order of the file. From memory, waits for nobody."""
        return self._items

    def find(self, id: str) -> T | None:
        """The one with exactly this id: for programs, since a job that is gone must not become another. Waits for nobody."""
        return next((item for item in self._items if item.id == id), None)

    def match(self, words: str) -> T | None:
        """The one that a person means: by id, else by the only id or title that is or begins so. None when it is not clear."""
        found = self.matches(words)
        return found[0] if len(found) == 1 else None

    def matches(self, words: str) -> list[T]:
        """Those that a person may mean; what is called so counts before what only begins so."""
        wanted = words.strip().casefold()
        named = [(item, item.id.casefold(), item.title.casefold()) for item in self._items]
        groups = (
            [item for item in self._items if item.id == words.strip()],
            [item for item, id, title in named if wanted in (id, title)],
            [item for item, id, title in named if wanted and (id.startswith(wanted) or title.startswith(wanted))],
        )
        return next(filter(None, groups), [])

    def refresh(self) -> str:
        """Take an edit that was made outside. Returns what to tell the owner, with file and line, or "".

        Each broken version is told once. An entry that is wrong keeps its last good version, or is left out if it has
        none; the others take effect. When the file as a whole is damaged, all keep theirs.
        """
        with self._lock:
            self._look()
            told, self._complaint = self._complaint, ""
        return told

    def add(self, item: T) -> T:
        """Append an item; an empty `id` is made from the title, an empty `created_at` is now. Returns what was written.

        Raises DefinitionError for values that are not accepted, DuctorError for an id that is taken.
        """
        with self._changing() as listed:
            taken = {str(entry.get("id")) for entry in listed if isinstance(entry, dict)}
            if item.id in taken:
                raise DuctorError(f'There is already a {self._word} "{item.id}". Choose another id, or edit that one.')
            created = item.created_at or self._now().isoformat(timespec="seconds")
            raw = to_raw(replace(item, id=item.id or new_id(item.title, taken), created_at=created))
            added = self._read(raw)
            listed.append(raw)
        return added

    def edit(self, id: str, changes: Mapping[str, object]) -> T:
        """Change fields of the entry with exactly this id, given as they stand in the file; None: back to the default.

        Nothing else of the entry is touched. Returns what it is now. Raises DefinitionError for fields and values that
        are not accepted, DuctorError when there is no such entry.
        """
        known = {field.name for field in fields(self._kind)} - {"id"}
        if unknown := [name for name in changes if name not in known]:
            raise DefinitionError({name: f"cannot be changed{nearest(name, self._kind) if name != 'id' else ''}" for name in unknown})
        with self._changing() as listed:
            return self._change(listed, id, changes)

    def switch(self, ids: Collection[str], *, on: bool) -> list[str]:
        """Enable or disable several entries in one write. Returns the ids that are gone or have a mistake: those stay as they are."""
        left = []
        with self._changing() as listed:
            for id in ids:
                try:
                    self._change(listed, id, {"enabled": on})
                except DuctorError:
                    left.append(id)
        return left

    def remove(self, id: str) -> None:
        """Take out the entry with exactly this id. Raises DuctorError when there is none."""
        with self._changing() as listed:
            listed.remove(self._entry(listed, id))

    @property
    def _word(self) -> str:
        return self._kind.__name__.lower()

    @contextmanager
    def _changing(self) -> Iterator[list[object]]:
        """The list of the file, to be changed in place; afterwards it is in force. The file has a lock of its own."""
        with self._file.change() as data:
            listed = data.setdefault(self._name, [])
            if not isinstance(listed, list):
                raise DuctorError(f'{self._path}: "{self._name}" must be a list, […]. Correct the file; nothing in it was changed.')
            yield listed
        with self._lock:
            self._look()

    def _change(self, listed: Sequence[object], id: str, changes: Mapping[str, object]) -> T:
        """Change one entry in the list, if what comes out is accepted."""
        entry = self._entry(listed, id)
        changed = {name: value for name, value in (entry | dict(changes)).items() if value is not None or name not in changes}
        item = self._read(changed)
        entry.clear()
        entry.update(changed)
        return item

    def _entry(self, listed: Sequence[object], id: str) -> dict[str, object]:
        found = next((entry for entry in listed if isinstance(entry, dict) and entry.get("id") == id), None)
        if found is None:
            raise DuctorError(f'There is no {self._word} "{id}".')
        return found

    def _look(self) -> None:
        """Bring memory up to date with the file. Only under the lock."""
        try:
            content = self._content()
            if content == self._seen:
                return
            data = self._file.read()
            if self._content() != content:
                return  # written to just now: the next look sees all of it
        except OSError as error:
            self._complain(f"errno {error.errno}", f"{self._path} cannot be read: {error.strerror}. What was in it before stays in force.")
            return
        except DuctorError as error:
            self._seen = content
            self._complain(str(content), f"{error} What was in it before stays in force.")
            return
        self._seen = content
        text = (content or b"{}").decode("utf-8-sig")
        try:
            self._take(data.get(self._name, []), text)
        except RecursionError:  # just not too deep for the parser, but for looking into it
            self._complain(text, f"{self._path}: the brackets are nested too deep. What was in it before stays in force.")

    def _content(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _take(self, listed: object, text: str) -> None:
        if not isinstance(listed, list):
            place = f"{self._path.name} line {entries(text, self._name)[0]}"
            self._complain(text, f'{place}: "{self._name}" must be a list, […]. What was in it before stays in force.')
            return
        before = {item.id: item for item in self._items}
        items: dict[str, T] = {}
        wrong: dict[int, Mapping[str, str]] = {}
        for number, raw in enumerate(listed):
            try:
                item = self._read(raw)
                if item.id in items:
                    raise DefinitionError({"id": f'"{item.id}" is used twice; must be another'})
                items[item.id] = item
            except DefinitionError as error:
                wrong[number] = error.mistakes
                known = before.get(str(raw.get("id"))) if isinstance(raw, dict) else None
                if known:
                    items.setdefault(known.id, known)
        self._complain(json.dumps([listed[number] for number in wrong]) if wrong else "", self._named(wrong, text))
        self._items = tuple(items.values())

    def _named(self, wrong: Mapping[int, Mapping[str, str]], text: str) -> str:
        """The mistakes, by the number of the entry, as one text for the owner; "" for none."""
        if not wrong:
            return ""
        places = entries(text, self._name)[1]
        lines = [
            f"{self._path.name} line {places[number].keys.get(key, places[number].line)}: {f'{key}: ' if key else ''}{mistake}"
            for number, mistakes in wrong.items()
            for key, mistake in mistakes.items()
        ]
        more = [f"… and {len(lines) - NAMED} more mistakes."] if len(lines) > NAMED else []
        rest = f"A {self._word} with a mistake keeps its last good version, or is left out if it has none. Everything else is in force."
        return "\n".join([*lines[:NAMED], *more, rest])

    def _complain(self, wrong: str, text: str) -> None:
        """Have something told, unless the same was wrong at the last look; nothing wrong takes back what was not told yet."""
        if wrong != self._wrong:
            self._wrong, self._complaint = wrong, text


class JobBook(Book[Job]):
    """The jobs of `cron_jobs.json`."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] = _now) -> None:
        super().__init__(path, "jobs", Job, read_job, now=now)


class HookBook(Book[Hook]):
    """The hooks of `webhooks.json`. Strangers are answered by `find` only."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] = _now) -> None:
        super().__init__(path, "hooks", Hook, read_hook, now=now)


def new_id(title: str, taken: Collection[str], suffix: Callable[[], str] = lambda: secrets.token_hex(2)) -> str:
    """An id that says what it is and is nobody else's: "morning-report-3f9a"."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:LONGEST_SLUG].strip("-")
    while (id := f"{slug}-{suffix()}".strip("-")) in taken:
        pass
    return id
