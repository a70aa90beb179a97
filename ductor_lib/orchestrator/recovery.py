"""After a crash or a stop: what was cut off is reported and offered again, never run twice by itself."""

from __future__ import annotations

import time

from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator import limits
from ductor_lib.orchestrator.dispatch import held_card
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.words import title


def recover(ledger: Ledger) -> list[Incoming]:
    """Report what the last run left half done; returns what still waits, in order. Call once, before any lane opens."""
    cut, waiting = ledger.recover()
    ledger.drop([item for item in (*cut, *waiting) if item.kind == "heartbeat"])
    cut, waiting = ([item for item in items if item.kind != "heartbeat"] for items in (cut, waiting))
    cut += [item for item in waiting if item.kind == "agent"]  # what the agent said by itself was in memory only
    # A card of waiting messages from the last run would stand there for ever: the lanes write new ones.
    cards = [Reply(chat, "", slot="queue", closing=True) for chat in ledger.outbox.holders("queue")]
    asked = (limits.question(item) for item in ledger.held(state="limited"))
    ledger.interrupt(cut, [*(reply for item in cut for reply in report(item)), *cards, *undecided(ledger.held(), time.time()), *asked])
    return [item for item in waiting if item.kind != "agent"]


def undecided(held: list[Incoming], now: float) -> list[Reply]:
    """The cards about old messages again: the last run may have ended before it could ask."""
    return [held_card(chat, [item for item in held if item.chat == chat], now) for chat in dict.fromkeys(item.chat for item in held)]


def report(item: Incoming) -> list[Reply]:
    """Tell a person that a message was cut off in the middle, in the place of the unfinished preview."""
    gone = Reply(item.chat, "", slot=slot_of(item), closing=True)
    if item.kind == "agent":
        return [gone, Reply(item.chat, "⚡ I was restarted while the agent reported on a background task. Ask it for the result.")]
    return [gone, question(item, what(item, "restarted"))]


def what(item: Incoming, happened: str) -> str:
    """What was cut off, in words: "I was restarted in the middle of this message:"."""
    words = {"message": "message", "task": "task"}
    return f"I was {happened} in the middle of this {words.get(item.kind, 'request')}:"


def question(item: Incoming, what: str) -> Reply:
    """Ask whether a message that was cut off shall run again. A turn has side effects, so that is never ours to decide."""
    text = f"⚡ {what}\n\n> {title(item)}\n\nIt may be half done, so I do not run it again by myself."
    buttons = ((Button("Run again", f"/again {item.id}"), Button("Forget", f"/forget {item.id}")),)
    return Reply(item.chat, text, buttons=buttons, slot=question_of(item))


def question_of(item: Incoming) -> str:
    """The place of the question whether an item shall run again."""
    return f"again:{item.id}"


def slot_of(item: Incoming) -> str:
    """The place of a turn's messages: its preview, then its answer."""
    return f"turn:{item.id}"
