"""What an agent does, as values: one vocabulary for every provider. One Started first, one Finished last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ductor_lib.errors import ErrorKind

Outcome = Literal["done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Started:
    """The agent has taken the prompt. `model` is the provider's own full name of it."""

    session_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Text:
    """More words of the answer, as they are written."""

    delta: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """More words of the model's reasoning; may be empty where the provider only says that it thinks."""

    delta: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool begins. `detail` is one line for a person: the command, the file, the search words."""

    id: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class ToolDone:
    """That tool has ended."""

    id: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Recovering:
    """The agent was killed from outside and begins the turn again: what it wrote so far counts no more."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the system does, in words for a person: "compacting", "retrying 2/10 (rate limit)"."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The turn is over. `text` is the agent's final message, as the provider states it.

    `cost` is this turn's share in USD (0.0 where the provider has no price), `tokens_in` and `tokens_out` are this
    turn's tokens. `error` says which kind of failure, and `detail` the provider's own words for it.
    `denied` names tools that were refused for want of permission. `exit_code` is that of a process which ended too early.
    """

    text: str
    session_id: str
    outcome: Outcome
    error: ErrorKind | None = None
    detail: str = ""
    cost: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    denied: tuple[str, ...] = ()
    exit_code: int | None = None


Event = Started | Text | Thinking | Tool | ToolDone | Recovering | Status | Finished
