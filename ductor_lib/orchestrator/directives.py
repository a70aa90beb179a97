"""Directives: leading words such as `@opus` or `@high` that hold for one turn only."""

from __future__ import annotations

from dataclasses import dataclass

from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.ports import Choice


@dataclass(frozen=True, slots=True)
class Directed:
    """Who shall answer, the words without their directives, and an `answer` of our own when there are only directives."""

    choice: Choice
    text: str
    answer: str = ""


def read(text: str, choice: Choice, catalogue: Catalogue) -> Directed:
    """Take the directives off the beginning of a message."""
    return Directed(choice, text)
