"""The models Codex offers, with the efforts of each: asked once a day, kept in a file, and kept on when Codex does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ductor_lib.cli.codex_items import text_of
from ductor_lib.storage import JsonFile

FRESH = 86_400.0  # seconds
AGAIN = 300.0  # seconds without asking a Codex that did not answer
ASKED = "asked"  # unix seconds
MODELS = "models"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """One model: what it is asked for by, what a person reads, and the reasoning efforts it knows."""

    id: str
    name: str
    efforts: tuple[str, ...]
    default_effort: str
    is_default: bool


class Models:
    """The list. `ask` returns the result of `model/list` ({} when there is none); `now` is in unix seconds."""

    def __init__(self, path: Path, ask: Callable[[], Mapping[str, object]], *, now: Callable[[], float] = time.time) -> None:
        self._file = JsonFile(path)
        self._ask = ask
        self._now = now
        self._failed = -AGAIN  # when Codex last did not answer

    def list(self) -> tuple[Model, ...]:
        """The models, at most a day old if Codex answers; empty when it never has. May take some seconds. Any thread."""
        stored = self._file.read()
        known, asked = stored_models(stored.get(MODELS)), stored.get(ASKED)
        if known and isinstance(asked, int | float) and 0 <= self._now() - asked < FRESH:
            return known
        if 0 <= self._now() - self._failed < AGAIN:
            return known
        found = parse(self._ask())
        if not found:
            self._failed = self._now()
            log.warning("models not listed kept=%d", len(known))
            return known
        with self._file.change() as data:
            data[ASKED] = self._now()
            data[MODELS] = [{**asdict(model), "efforts": list(model.efforts)} for model in found]
        return found


def parse(result: Mapping[str, object]) -> tuple[Model, ...]:
    """The models in the result of `model/list`, without hidden ones and what is no model."""
    data = result.get("data")
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    return tuple(
        Model(
            id=text_of(row, "id"), name=text_of(row, "displayName") or text_of(row, "id"),
            efforts=tuple(filter(None, (text_of(each, "reasoningEffort") for each in _objects(row.get("supportedReasoningEfforts"))))),
            default_effort=text_of(row, "defaultReasoningEffort"), is_default=row.get("isDefault") is True,
        )
        for row in rows if text_of(row, "id") and row.get("hidden") is not True
    )  # fmt: skip


def stored_models(rows: object) -> tuple[Model, ...]:
    """The models in the file; a row that somebody has damaged is left out."""
    return tuple(
        Model(
            id=text_of(row, "id"), name=text_of(row, "name"), efforts=tuple(filter(None, map(_word, _items(row.get("efforts"))))),
            default_effort=text_of(row, "default_effort"), is_default=row.get("is_default") is True,
        )
        for row in _objects(rows) if text_of(row, "id")
    )  # fmt: skip


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _items(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list) else ()


def _objects(value: object) -> tuple[dict[str, object], ...]:
    return tuple(item for item in _items(value) if isinstance(item, dict))
