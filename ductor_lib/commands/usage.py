"""/usage: what was spent and by whom; and the answers to the question that a daily limit asks."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ductor_lib import config
from ductor_lib.commands.desk import Desk
from ductor_lib.commands.queueing import STALE
from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator import limits
from ductor_lib.orchestrator import usage as books
from ductor_lib.orchestrator.ledger import Spent
from ductor_lib.orchestrator.usage import Total, money
from ductor_lib.orchestrator.words import count, plain

PERIODS = {1: "Today", 7: "7 days", 30: "30 days"}
PRICED = ("claude",)  # Codex names no price


def usage(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/usage: a table for today, /usage 7 and /usage 30 for more days. A press changes the table in its place."""
    days = int(words) if words in map(str, PERIODS) else 1
    if words and words not in map(str, PERIODS):
        return [Reply(item.chat, "I know /usage for today, `/usage 7` and `/usage 30` for that many days.")]
    rows = books.spent(desk.ledger, days, now=time.time(), zone=config.timezone(desk.settings))
    text = f"**Usage: {PERIODS[days].lower()}**\n\n{table(rows, item.lane)}"
    buttons = (tuple(Button(f"• {name}" if number == days else name, f"/usage {number}") for number, name in PERIODS.items()),)
    return [Reply(item.chat, text, buttons=buttons, slot="usage", fresh=item.kind != "press")]


def table(rows: Sequence[Spent], lane: str) -> str:
    """A line for each model, all of them, and the share of one conversation."""
    if not rows:
        return "No turns yet."
    lines = ["| model | turns | cost | tokens |", "| --- | --: | --: | --: |"]  # wider ones are broken on a phone
    for (provider, model), spent in books.by(rows, lambda row: (row.provider, row.model)).items():
        name = f"{provider.title()} {plain(model.removeprefix(f'{provider}-'))}".rstrip()
        lines.append(_line(name, spent, priced=provider in PRICED))
    every, here = books.total(rows), books.total(row for row in rows if row.lane == lane)
    priced = any(row.provider in PRICED for row in rows)
    lines.append(_line("all", every, priced=priced))
    cost = f", {money(here.cost)}{_share(here.cost, every.cost)}" if priced else ""
    tokens = f"{short(here.tokens)} tokens{_share(here.tokens, every.tokens)}"
    return "\n".join(lines) + f"\n\n**This conversation:** {count(here.turns, 'turn')}{cost}, {tokens}"


def limit(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on Go on today or Stop: the messages that the limit stopped run in order, or the one in question is dropped."""
    verb, _, number = words.partition(" ")
    if not number.isdecimal() or verb not in ("on", "off"):
        return [Reply(item.chat, STALE)]
    asked = [other.id for other in desk.ledger.held(item.lane, state="limited")]
    card = limits.question_of(int(number))
    if int(number) not in asked:
        return [Reply(item.chat, STALE, slot=card, closing=True)]
    if verb == "off":
        desk.ledger.cancel(int(number), item.lane)
        return [Reply(item.chat, "⏹ Not begun, and dropped.", slot=card, closing=True)]
    if desk.limits.reached():  # not when midnight has passed since
        desk.limits.lift()
    released = desk.ledger.release(item.lane, state="limited")
    for other in released:
        desk.released.put(other)
    others = [Reply(item.chat, "", slot=limits.question_of(other.id), closing=True) for other in released if other.id != int(number)]
    return [Reply(item.chat, f"▶ Running {count(len(released), 'message')}.", slot=card, closing=True), *others]


def short(number: int) -> str:
    """A count for a narrow table: "950", "12.3k", "4.5M"."""
    if number < 1000:
        return str(number)
    return f"{number / 1e3:.1f}k" if number < 999_950 else f"{number / 1e6:,.1f}M"


def _line(name: str, spent: Total, *, priced: bool) -> str:
    cost = money(spent.cost) if priced else "no price"
    return f"| {name} | {spent.turns} | {cost} | {short(spent.tokens)} |"


def _share(part: float, whole: float) -> str:
    return f" ({part / whole:.0%})" if whole > 0 else ""
