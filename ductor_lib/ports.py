"""What a lower part needs from a higher one, as small protocols. `app.py` hands in the real things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ductor_lib.events import Event
from ductor_lib.messages import Chat, Incoming, Reply

Place = Literal["lane", "next", "panel", "urgent"]


class View(Protocol):
    """Shows one turn while it runs. Nothing waits for it, and what it shows may be lost."""

    def show(self, event: Event) -> None:
        """Take one event. Returns at once; called by the lane's worker only."""


class Views(Protocol):
    """Opens views, and keeps the queue card of a chat."""

    def tell(self, chat: Chat, text: str) -> None:
        """Say something that cannot be stored just now. It may be lost; a plain line, shown once. Returns at once."""

    def queue(self, chat: Chat) -> None:
        """Bring the card of waiting messages up to date. Returns at once."""

    def open(self, chat: Chat, slot: str, *, model: str, turn: int) -> View:
        """A view of turn number `turn`, shown in `slot` of `chat`."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the chat. `run` takes the message and the words after the command, and says its answer.

    `place` is where it runs: "lane" after what was sent before, "next" at once after ending the running turn,
    "panel" beside everything, "urgent" too, but only for what takes microseconds.
    """

    name: str
    place: Place
    run: Callable[[Incoming, str], Sequence[Reply]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers a conversation: provider ("claude" or "codex"), the model's id, and the reasoning effort, "" for none."""

    provider: str
    model: str
    effort: str


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One prompt for an agent. `conversation` is the lane; one process at a time serves it.

    `session_id` is resumed when `resume` is true, else begun under that id: empty, or with `fork_of` as a copy of that
    other session, which stays as it is. `prompt` goes over stdin, never argv.
    `instructions` is appended to the agent's system prompt, and so is `memory`, when a process or a session begins: a
    changed memory alone begins no new process. `parameters` are more arguments for the CLI; `writable` are folders
    besides `cwd` in which a careful agent may write. Nobody looks on when the turn is `unattended`.
    Seconds: `timeout` for the whole turn, `silence` without any sign of life while no tool runs.
    """

    conversation: str
    chat: Chat
    prompt: str
    session_id: str
    resume: bool
    model: str
    effort: str
    cwd: Path
    instructions: str
    permission_mode: str
    timeout: float
    silence: float
    max_turns: int = 0
    max_budget_usd: float = 0.0
    parameters: tuple[str, ...] = ()
    fork_of: str = ""
    memory: str = ""
    writable: tuple[Path, ...] = ()
    unattended: bool = False


class Agent(Protocol):
    """A provider of turns. `turn` is called by one worker per conversation, the rest by any thread."""

    name: str

    def turn(self, request: TurnRequest) -> Iterator[Event]:
        """Run one prompt. Yields Started first (unless the agent cannot begin) and Finished last; never raises."""

    def own_turn(self, conversation: str) -> Iterator[Event]:
        """The turn that the agent began by itself in that conversation; only a Finished when it is gone."""

    def interrupt(self, conversation: str) -> bool:
        """Stop the running turn; its generator ends with Finished("stopped"). False when none runs."""

    def steer(self, conversation: str, text: str) -> bool:
        """Give the running turn one more message, which it goes on with. False when no turn takes it. Up to some seconds."""

    def release(self, conversation: str) -> None:
        """End the idle process that is kept for the conversation, if there is one."""

    def processes(self) -> Sequence[str]:
        """The conversations that have a process now."""

    def close(self) -> None:
        """End every process and what it started."""
