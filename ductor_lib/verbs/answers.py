"""How verbs ask for an operation and print what came of it: compact lines for people, one JSON object for programs."""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from ductor_lib.errors import ConfigError, DuctorError
from ductor_lib.paths import Paths
from ductor_lib.verbs.control import perform
from ductor_lib.verbs.output import DONE, FAILED, UNUSABLE, describe, say

MOST_INPUT = 1_000_000  # bytes of the standard input
FLAGS = {
    "agent_instruction": "--instruction", "task_folder": "--folder", "reasoning_effort": "--effort", "prompt_template": "--template",
    "auth_mode": "--auth", "hmac_secret": "--hmac-secret-file",
}  # fmt: skip
FIELD = re.compile(r"^([a-z][a-z_]+): ", re.MULTILINE)

Answer = Mapping[str, object]


class Unusable(DuctorError):
    """The arguments cannot be meant."""


def carry_out(options: argparse.Namespace, name: str, args: Callable[[], Answer], lines: Callable[[Answer], Iterable[str]]) -> int:
    """Ask for the operation `name` and print its answer. 0: done; 1: refused, or it failed; 2: unusable arguments or settings."""
    try:
        answer = request(Paths.default(), name, args())
    except (Unusable, ConfigError) as error:
        return _refuse(options, str(error), UNUSABLE)
    except DuctorError as error:
        return _refuse(options, spoken(str(error)), FAILED)
    except KeyboardInterrupt:
        return _refuse(options, "Interrupted.", FAILED)
    except (OSError, sqlite3.OperationalError) as error:
        return _refuse(options, describe(error), FAILED)
    if options.json:
        return say(json.dumps(answer, ensure_ascii=False), sys.stdout, DONE)
    notes = [f"note: {note}" for note in texts(answer, "notes")]
    return say("\n".join([*lines(answer), *notes]), sys.stdout, DONE)


def request(paths: Paths, name: str, args: Answer) -> Answer:
    """Have the running bot do an operation or, when none runs, do it here. Raises DuctorError with a sentence."""

    def here(same: Answer) -> Answer:
        from ductor_lib.verbs.offline import offline  # only here: asking a bot needs none of it, and it takes most of the time

        return offline(paths, name, same)

    return perform(paths, name, args, here)


def spoken(error: str) -> str:
    """The words of an operation, with the names of fields as the command line has them."""
    return FIELD.sub(lambda found: f"{flag(found[1])}: ", error)


def flag(field: str) -> str:
    """The option that a field is given with: "--quiet-start"."""
    return FLAGS.get(field) or f"--{field.replace('_', '-')}"


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, object]:
    """What was said on the command line, of these names. Options have no defaults there."""
    return {name: value for name, value in vars(options).items() if name in names}


def read_text(value: str) -> str:
    """The argument, or for "-" what comes from the standard input. Raises Unusable for more than 1 MB."""
    if value != "-":
        return value
    data = sys.stdin.buffer.read(MOST_INPUT + 1)
    if len(data) > MOST_INPUT:
        raise Unusable("That is more than 1 MB of text; say it in less.")
    return data.decode("utf-8", "replace").strip()


def number(text: str) -> object:
    """A whole number where it is one; anything else is left to the operation, which names what is accepted."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def word(answer: object, *path: str) -> str:
    """A value of an answer as a text; "" where there is none."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return "" if answer is None else str(answer)


def texts(answer: Answer, name: str) -> list[str]:
    found = answer.get(name)
    return [str(item) for item in found] if isinstance(found, list) else []


def rows(answer: Answer, name: str) -> list[Answer]:
    found = answer.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def clock(iso: str) -> str:
    """A moment in short: "Mon 2026-12-07 09:00"."""
    try:
        return f"{datetime.fromisoformat(iso):%a %Y-%m-%d %H:%M}"
    except ValueError:
        return iso


def table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns, as wide as they need to be."""
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{one_line(cell):<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def pairs(named: Mapping[str, str]) -> list[str]:
    """A line for each value that there is."""
    return table([(name, value) for name, value in named.items() if value])


def run_lines(runs: Sequence[Answer]) -> list[str]:
    """The log of a job or hook."""
    return table([
        (word(run, "run"), clock(word(run, "at")), word(run, "status"), f"{seconds} s" if (seconds := word(run, "seconds")) else "",
         word(run, "answer"))
        for run in runs
    ])  # fmt: skip


def one_line(text: str) -> str:
    """What others wrote, without anything that a terminal would take for an order."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _refuse(options: argparse.Namespace, sentence: str, code: int) -> int:
    if options.json:
        return say(json.dumps({"error": sentence}, ensure_ascii=False), sys.stdout, code)
    return say(f"ductor {options.verb}: {sentence}", sys.stderr, code)
