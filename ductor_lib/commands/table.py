"""Every command: its name, what it does in one line, where it runs, and its function. The menu, /help and the docs follow this."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ductor_lib.commands import cron, heartbeat, memory, model, queueing, remind, session, sessions, status, usage, welcome
from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Incoming, Reply
from ductor_lib.ports import Command, Place

Function = Callable[[Desk, Incoming, str], Sequence[Reply]]


@dataclass(frozen=True, slots=True)
class Row:
    """One command. Without `help` it belongs to a button and is listed nowhere."""

    name: str
    help: str
    place: Place
    run: Function


def show_help(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/help: every command with its line."""
    lines = "\n".join(f"/{row.name} – {row.help}" for row in ROWS if row.help)
    return [Reply(item.chat, f"{lines}\n\nEverything else goes to the agent.")]


ROWS = (
    Row("start", "Welcome, and who is signed in", "panel", welcome.start),
    Row("help", "This list", "panel", show_help),
    Row("new", "Start a fresh session; waiting messages are kept", "next", session.new),
    Row("stop", "End the running turn and drop what was sent before", "urgent", queueing.stop),
    Row("interrupt", "End the running turn; waiting messages go on", "urgent", queueing.interrupt),
    Row("steer", "Give the running turn one more message", "panel", queueing.steer),
    Row("queue", "Show the waiting messages", "panel", queueing.show),
    Row("model", "Choose who answers: agent, model, effort", "panel", model.model),
    Row("sessions", "Go on with a session of this folder, also one from a terminal", "panel", sessions.show),
    Row("status", "Conversation, session, costs, agents", "panel", status.status),
    Row("usage", "What was spent today, in 7 and in 30 days", "panel", usage.usage),
    Row("memory", "What the agent knows about you", "panel", memory.memory),
    Row("cron", "Jobs by the clock: next runs, results, on and off, run now", "panel", cron.cron),
    Row("remind", "Say something later: /remind 2h call the bank", "panel", remind.remind),
    Row("heartbeat", "Let the agent look by itself for something to report: on, off", "panel", heartbeat.heartbeat),
    Row("info", "Version and links", "panel", welcome.info),
    Row("cancel", "", "panel", queueing.cancel),
    Row("held", "", "panel", queueing.held),
    Row("again", "", "panel", queueing.again),
    Row("forget", "", "panel", queueing.forget),
    Row("attach", "", "lane", sessions.attach),
    Row("limit", "", "panel", usage.limit),
    Row("media", "", "panel", welcome.media),
    Row("stale", "", "panel", welcome.stale),
)


def bind(desk: Desk) -> dict[str, Command]:
    """The commands by name, ready to run at this desk."""
    return {row.name: Command(row.name, row.place, functools.partial(row.run, desk)) for row in ROWS}


def menu() -> tuple[tuple[str, str], ...]:
    """(name, help) of what the chat's menu lists."""
    return tuple((row.name, row.help) for row in ROWS if row.help)
