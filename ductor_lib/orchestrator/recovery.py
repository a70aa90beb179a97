"""After a crash or a stop: what was cut off is reported and offered again, never run twice by itself."""

from __future__ import annotations

import time
from dataclasses import replace

from ductor_lib.messages import Button, Incoming, Reply, Rows
from ductor_lib.orchestrator.dispatch import held_card
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.words import first_line


def recover(ledger: Ledger) -> list[Incoming]:
    """Report what the last run left half done; returns what still waits, in order. Call once, before any lane opens."""
    cut, waiting = ledger.recover()
    # A card of waiting messages from the last run would stand there for ever: the lanes write new ones.
    cards = [Reply(chat, "", slot="queue", closing=True) for chat in ledger.outbox.holders("queue")]
    ledger.interrupt(cut, [*map(report, cut), *cards, *undecided(ledger.held(), time.time())])
    return waiting


def undecided(held: list[Incoming], now: float) -> list[Reply]:
    """The cards about old messages again: the last run may have ended before it could ask."""
    return [held_card(chat, [item for item in held if item.chat == chat], now) for chat in dict.fromkeys(item.chat for item in held)]


def report(item: Incoming) -> Reply:
    """Tell a person that a message was cut off in the middle. It takes the place of the unfinished preview."""
    if item.kind == "agent":
        text = "⚡ I was restarted while the agent reported on a background task. Ask it for the result."
        return Reply(item.chat, text, slot=slot_of(item), fresh=True, closing=True)
    text = (
        f"⚡ I was restarted in the middle of this message:\n\n> {first_line(item.text or item.untrusted)}\n\n"
        "It may have been half done, so I did not run it again by myself."
    )
    return Reply(item.chat, text, buttons=decision(item), slot=slot_of(item), fresh=True)


def cut_short(item: Incoming, reply: Reply) -> Reply:
    """The answer of a turn that was ended because the program ends: what there is of it, and the same choice."""
    return replace(reply, buttons=decision(item), closing=False)


def decision(item: Incoming) -> Rows:
    return ((Button("Run again", f"/again {item.id}"), Button("Forget", f"/forget {item.id}")),)


def slot_of(item: Incoming) -> str:
    """The place of a turn's messages: its preview, its answer, or the report of its interruption."""
    return f"turn:{item.id}"
