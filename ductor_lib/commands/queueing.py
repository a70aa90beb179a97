"""Commands about what runs and what waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator import limits, prompts
from ductor_lib.orchestrator.recovery import question_of
from ductor_lib.orchestrator.words import count, title

MOST_SHOWN = 20
DROPPED = ("message", "press")  # by /stop: what a hook or the clock has put aside still waits for an answer
STALE = "That button is from an earlier time: nothing waits for it any more."


def stop(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/stop: end the running turn, drop what was sent before; what comes after it runs."""
    held = desk.ledger.held(item.lane)
    limited = [other for other in desk.ledger.held(item.lane, state="limited") if other.id < item.id and other.kind in DROPPED]
    dropped = desk.ledger.drop_before(item.id, item.lane)  # first: what begins after this can only be found running
    ended = desk.turns.end_turn(item.lane, before=item.id)
    desk.views.queue(item.chat)
    if not ended and not dropped:
        running = desk.turns.running(item.lane)
        stopping = running is not None and running.stop.is_set()
        return [Reply(item.chat, "The running turn is being stopped already." if stopping else "Nothing is running and nothing waits.")]
    parts = ["the running turn"] * ended + [f"{count(dropped, 'waiting message')} dropped"] * bool(dropped)
    slots = ["held"] * bool(held) + [limits.question_of(other.id) for other in limited]  # their questions are answered
    return [*(Reply(item.chat, "", slot=slot, closing=True) for slot in slots), Reply(item.chat, f"⏹ Stopped: {', '.join(parts)}.")]


def interrupt(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/interrupt: end the running turn only. With a number, as on the Stop button, only if that one runs."""
    running = desk.turns.running(item.lane)
    if running is None or (words and words != str(running.item.id)):
        return [Reply(item.chat, "That turn has already ended." if words else "Nothing is running.")]
    desk.turns.end_turn(item.lane, before=running.item.id + 1)
    return []  # the turn's own message says that it was stopped


def steer(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/steer words: give the running turn one more message; it goes on, and answers once."""
    running, text = desk.turns.running(item.lane), prompts.prompt(replace(item, text=words))
    if not text:
        return [Reply(item.chat, "Write the words after it: `/steer only the second file, please`. They go into the running turn.")]
    if running is None:
        return [Reply(item.chat, "Nothing is running, so there is nothing to steer. Send it as a message.")]
    if any(agent.steer(item.lane, text) for agent in desk.agents.values()):  # the one that does not run this lane takes nothing
        return [Reply(item.chat, "↪ The running turn goes on with that.")]
    return [Reply(item.chat, "The running turn takes nothing more. Send it as a message: it runs next.")]


def show(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/queue: what runs, what waits, with a Cancel for each."""
    running = desk.turns.running(item.lane)
    waiting = desk.ledger.waiting(item.lane)
    lines = [f"▶ {title(running.item)}"] if running else ["Nothing is running."]
    lines += [f"{number}. {title(other)}" for number, other in enumerate(waiting[:MOST_SHOWN], 1)]
    if len(waiting) > MOST_SHOWN:
        lines.append(f"… and {len(waiting) - MOST_SHOWN} more")
    buttons = tuple((Button(f"✖ Cancel {number}", f"/cancel {other.id}"),) for number, other in enumerate(waiting[:MOST_SHOWN], 1))
    return [Reply(item.chat, "\n".join(lines), buttons=buttons)]


def cancel(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on Cancel: drop one waiting message."""
    if not words.isdigit() or not desk.ledger.cancel(int(words), item.lane):
        return [Reply(item.chat, "That message does not wait any more.")]
    desk.views.queue(item.chat)
    return []


def held(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on the card about old messages: run them in order, as one, or not at all."""
    if words not in ("run", "merge", "discard"):
        return [Reply(item.chat, STALE)]
    if not desk.ledger.held(item.lane):  # decided already, or decided in a run that ended before its answer: the card goes
        return [Reply(item.chat, "", slot="held", closing=True), Reply(item.chat, STALE)]
    if words == "discard":
        dropped = desk.ledger.discard(item.lane)
        return [Reply(item.chat, f"🗑 {count(dropped, 'message')} discarded.", slot="held", closing=True)]
    released = desk.ledger.release(item.lane, merge=words == "merge")
    for other in released:
        desk.released.put(other)
    text = "▶ Running them as one message." if words == "merge" else f"▶ Running {count(len(released), 'message')} in order."
    return [Reply(item.chat, text, slot="held", closing=True)]


def again(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on Run again: an interrupted message gets its second run."""
    released = desk.ledger.again(int(words), item.chat) if words.isdigit() else None
    if released is None:
        return [Reply(item.chat, STALE)]
    desk.released.put(released)
    return [Reply(item.chat, "", slot=question_of(released), closing=True)]


def forget(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on Forget: an interrupted message stays as it is."""
    if not words.isdigit() or not desk.ledger.forget(int(words), item.chat):
        return [Reply(item.chat, STALE)]
    return [Reply(item.chat, "Forgotten.", slot=f"again:{words}", closing=True)]
