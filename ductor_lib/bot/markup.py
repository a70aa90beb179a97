"""Markdown to Telegram text with entities. No text is lost, and every prefix of a document renders."""

from __future__ import annotations

from ductor_lib.bot.parser import parse_blocks
from ductor_lib.bot.parts import BUDGET, LIMIT, Entity, Part, clean, cuts, join, quoted, split, units
from ductor_lib.bot.renderer import flow
from ductor_lib.messages import Reply

__all__ = ["BUDGET", "LIMIT", "Entity", "Part", "close", "compose", "grow", "join", "quoted", "render", "units"]

EARLIER = LIMIT // 4  # UTF-16 units of earlier text that may share a message with the answer
ENDLESS = 4  # messages that the source of a block may fill before a text that still grows is cut inside of it
LONGEST_OPENING = 100  # characters of the opening line of a fence, to be repeated


def render(markdown: str, *, limit: int = LIMIT, budget: int = BUDGET) -> list[Part]:
    """A document as messages of at most `limit` UTF-16 units and `budget` entities; none for a blank one. Any thread."""
    return split(flow(clean(markdown)), limit=limit, budget=budget)


def compose(reply: Reply) -> list[Part]:
    """The messages of a reply: what the agent wrote earlier is an expandable quote above the first one.

    A long quote has messages of its own: nothing that was seen while it was written is gone at the end.
    """
    above = [quoted(part.text, limit=LIMIT) for part in split(flow(clean(reply.earlier)), limit=LIMIT, budget=BUDGET)]
    beside = above.pop() if above and units(above[-1].text) <= EARLIER else Part("")
    parts = split(flow(clean(reply.text)), limit=LIMIT, budget=BUDGET, reserve=units(beside.text) + 2 if beside.text else 0)
    if not beside.text:
        return [*above, *parts]
    return [*above, join(beside, parts[0]), *parts[1:]] if parts else [*above, beside]


def grow(markdown: str, *, limit: int = LIMIT, budget: int = BUDGET) -> tuple[list[Part], str, list[Part]]:
    """Cut a document that is still being written: messages that are finished, the source that is left, and its messages.

    What is left begins between two blocks, items of a list or lines of a fence, and is at least the last message. It is
    never much longer than a few messages: a longer block, such as an endless table, is cut where a line of it ends.
    """
    done: list[Part] = []
    rest, size = clean(markdown), ENDLESS * limit
    while True:
        window = rest if len(rest) <= size else rest[: rest.rfind("\n", limit, size) + 1 or size]
        whole = flow(window)
        places = cuts(whole, limit=limit, budget=budget)
        last = places[-1][0] if len(places) > 1 else 0
        seam = next((seam for seam in reversed(whole.seams) if 0 < seam.offset <= last), None)
        if seam:
            done += split(whole.until(seam.offset), limit=limit, budget=budget)
            rest = seam.reopen + "\n".join(rest.split("\n")[seam.line :])
        elif len(rest) > size:
            done += split(whole, limit=limit, budget=budget)
            reopen = "".join(_open_fence(window)) + "\n"
            rest = (reopen if 1 < len(reopen) < LONGEST_OPENING else "") + rest[len(window) :]
        else:
            return done, rest, split(whole, limit=limit, budget=budget)


def close(markdown: str) -> str:
    """A document that is over, with its last fence closed, so that another text can follow."""
    source = clean(markdown).rstrip()
    return f"{source}\n{mark}" if (mark := _open_fence(source)[0]) else source


def _open_fence(source: str) -> tuple[str, str]:
    """Mark and info of the fence that is open where the source ends, or empty."""
    tokens = parse_blocks(source)
    if not tokens or tokens[-1].type != "fence" or tokens[-1].level or not tokens[-1].map:
        return "", ""
    mark, (first, end) = tokens[-1].markup, tokens[-1].map
    last = source.rstrip("\n").rpartition("\n")[2].strip()
    closed = end - first > 1 and last.startswith(mark) and not last.strip(mark[0])
    return ("", "") if closed else (mark, tokens[-1].info)
