"""A measured figure and the line that tells it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """Values of one kind, in `unit`. The median should be at most `aim`, if there is one; `note` says what to compare with."""

    name: str
    values: Sequence[float]
    unit: str
    aim: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.aim is not None and median(self.values) > self.aim


HEAD = f"{'figure':42} {'median':>9} {'min':>9} {'max':>9} {'unit':6} {'aim':>7}"


def line(figure: Figure) -> str:
    """The figure as one line below HEAD."""
    numbers = " ".join(f"{_short(value):>9}" for value in (median(figure.values), min(figure.values), max(figure.values)))
    aim = "" if figure.aim is None else f"≤ {figure.aim:g}"
    verdict = "" if figure.aim is None else "missed" if figure.missed else "met"
    return f"{figure.name:42} {numbers} {figure.unit:6} {aim:>7} {verdict:7}{figure.note}".rstrip()


def _short(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
