"""What the bot adds on the way from a message to the agent, and from the agent's words to the chat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from tests.bench.figures import Figure
from tests.bench.rig import OWNER, Rig

SHORT = "[[scenario:plain n=1 delay=0]]"
ANSWER = "[[scenario:clock n=20 delay=0.05]]"
MS = 1000.0


def warm(runs: int) -> Iterator[Figure]:
    """Message to prompt in an agent that is there."""
    with Rig() as rig:
        rig.ask(SHORT)
        note = f"a bare call from here: {median(rig.round_trips(20)) * MS:.1f} ms"
        yield Figure("message to prompt, warm", [_reach(rig, number) * MS for number in range(runs * 2)], "ms", 5.0, note)


def cold(runs: int) -> Iterator[Figure]:
    """Message to prompt in a new agent, beside the same agent started without the bot, one after the other."""
    through, alone = [], []
    with Rig(warm=0) as rig:
        rig.ask(SHORT)
        for number in range(runs):
            through.append(_reach(rig, number) * MS)
            alone.append(rig.alone(rig.last_command(), SHORT) * MS)
    added = [with_bot - without for with_bot, without in zip(through, alone, strict=True)]
    yield Figure("message to prompt, cold", through, "ms", None, f"the agent alone: {median(alone):.0f} ms")
    yield Figure("message to prompt, cold, the bot's part", added, "ms", 5.0)


def answer(runs: int) -> Iterator[Figure]:
    """The agent's words to the chat: the first ones and the final answer; and the final one while another agent has to leave."""
    with Rig(users=_users(runs), warm=runs) as rig:
        trip = f"a bare call from here: {median(rig.round_trips(20)) * MS:.1f} ms"
        first, last = _answers(rig, runs)
    with Rig(users=_users(runs + 1), warm=1) as rig:
        _, beside = _answers(rig, runs + 1)
    yield Figure("first words to chat", first, "ms", None, trip)
    yield Figure("last line to answer in the chat", last, "ms", 3.0, trip)
    yield Figure("last line to answer, another agent leaves", beside[1:], "ms", 3.0)  # beside the first nobody leaves


def _users(runs: int) -> range:
    return range(1001, 1001 + runs)


def _answers(rig: Rig, runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the first words and to the final answer. A chat of its own for each, so that its budget is full."""
    first, last = [], []
    for user in _users(runs):
        rig.rest()
        stamps = rig.ask(ANSWER, user=user).text.split()
        first.append((rig.shown_at(user, stamps[0]) - float(stamps[0])) * MS)
        last.append((rig.shown_at(user, stamps[-1]) - float(stamps[-1])) * MS)
    return first, last


def _reach(rig: Rig, number: int) -> float:
    """Seconds from a message that a pending poll gets to the agent that has it."""
    rig.rest()
    said = time.monotonic()
    rig.ask(f"{SHORT} {number}", user=OWNER)
    at = rig.prompts()[-1]["at"]
    assert isinstance(at, float)
    return at - said
