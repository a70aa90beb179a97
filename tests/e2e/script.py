"""What the stand-in for the model says: the last prompt decides, with a marker `[[scenario:NAME key=value …]]`, or is repeated.

    plain              some words                             n=8
    thinking           reasoning, then some words
    long               Markdown with headings, lists, code    size=20000
    tool               some words, a command, its output      cmd='echo tool-ran' background=1
    cut                the stream breaks in the middle
    error400 …         an HTTP error, see FAILURES            times=0 (0: always, else so often)

Every scenario also takes `gate=NAME` (half of the words, then nothing until the gate is opened) and `tokens=120` (what the
prompt is billed as).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MARKER = re.compile(r"\[\[scenario:(\w+)(.*?)\]\]", re.DOTALL)
NOTICE = "<task-notification>"  # how the CLI begins a turn by itself
ECHOED = 300  # characters
FAILURES = {  # scenario: HTTP status, type of the error, its words
    "error400": (400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
    "error401": (401, "authentication_error", "invalid x-api-key"),
    "error404": (404, "not_found_error", "model: no-such-model"),
    "error429": (429, "rate_limit_error", "rate limit reached"),
    "error500": (500, "api_error", "internal server error"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
}
PART = "## Part {0}\n\nSome **bold** text, `code {0}`:\n\n- one\n- two\n\n```python\nprint({0})\n```\n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of an answer. A gate's value is its name, a tool's the JSON of its input; a break ends the connection."""

    kind: Literal["text", "thinking", "tool", "gate", "break"]
    value: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """The marker of a prompt: its name, its options, and the prompt without it."""

    name: str
    options: dict[str, str]
    prompt: str

    @classmethod
    def of(cls, prompt: str) -> Script:
        found = MARKER.findall(prompt)
        name, given = found[-1] if found else ("notice" if prompt.startswith(NOTICE) else "echo", "")
        return cls(name, dict(word.split("=", 1) for word in shlex.split(given)), MARKER.sub("", prompt).strip())


def pieces(script: Script, tool_output: str | None) -> list[Piece]:
    """The whole answer."""
    if tool_output is not None:
        return [Piece("text", "The tool "), Piece("text", f"said: {tool_output.strip()[:ECHOED]}")]
    answer = SCENARIOS.get(script.name, echo)(script)
    if "gate" in script.options:
        answer.insert((len(answer) + 1) // 2, Piece("gate", script.options["gate"]))
    return answer


def long_text(size: int) -> str:
    """What the scenario `long` says."""
    return "".join(PART.format(number) for number in range(size // len(PART) + 1))


def echo(script: Script) -> list[Piece]:
    return [Piece("text", "You said: "), Piece("text", script.prompt[:ECHOED] or "(nothing)")]


def notice(script: Script) -> list[Piece]:
    return [Piece("text", "The background task "), Piece("text", "has ended.")]


def plain(script: Script) -> list[Piece]:
    return [Piece("text", f"word{number} ") for number in range(int(script.options.get("n", 8)))]


def thinking(script: Script) -> list[Piece]:
    return [Piece("thinking", word) for word in ("First ", "I think ", "about it.")] + plain(script)[:2]


def long(script: Script) -> list[Piece]:
    text = long_text(int(script.options.get("size", 20_000)))
    return [Piece("text", text[start : start + 200]) for start in range(0, len(text), 200)]


def tool(script: Script) -> list[Piece]:
    given: dict[str, object] = {"command": script.options.get("cmd", "echo tool-ran"), "description": "Run a harmless command"}
    if "background" in script.options:
        given["run_in_background"] = True
    return [Piece("text", "Running "), Piece("text", "a command."), Piece("tool", json.dumps(given))]


def cut(script: Script) -> list[Piece]:
    words = plain(script)
    return [*words[:2], Piece("break"), *words[2:]]


SCENARIOS: dict[str, Callable[[Script], list[Piece]]] = {
    "echo": echo, "notice": notice, "plain": plain, "thinking": thinking, "long": long, "tool": tool, "cut": cut,
}
