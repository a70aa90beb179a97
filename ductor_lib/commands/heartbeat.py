"""/heartbeat: whether the agent of this conversation looks by itself for something to report, when next, and what keeps it from that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ductor_lib import config
from ductor_lib.automation import schedule
from ductor_lib.cli.auth import CLIS
from ductor_lib.commands.desk import Desk
from ductor_lib.commands.moments import said
from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator.choices import how_to_sign_in
from ductor_lib.orchestrator.words import count

SLOT = "heartbeat"
ABOUT = (
    "At a heartbeat the agent is asked whether anything is due, finished or wrong. You hear of it only if so. "
    "It goes on with the session of this conversation, and stops as soon as you write."
)


def heartbeat(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/heartbeat [on|off]: show how it stands in this conversation, or switch it."""
    wanted = words.casefold()
    if wanted not in ("", "on", "off"):
        return [Reply(item.chat, "I know `/heartbeat`, `/heartbeat on` and `/heartbeat off`.")]
    if wanted:
        desk.heartbeat.switch(item.lane, on=wanted == "on")
    on = desk.heartbeat.on(item.lane)
    lines = [f"💓 **Heartbeat** {'on' if on else 'off'} in this conversation: {_why(desk, item.lane)}", *_rhythm(desk)]
    if on:
        lines += _outlook(desk, item.lane)
    button = Button("Turn off", "/heartbeat off") if on else Button("Turn on", "/heartbeat on")
    text = "\n".join(lines) + f"\n\n{ABOUT}"
    return [Reply(item.chat, text, buttons=((button,),), slot=SLOT, fresh=item.kind != "press")]


def _why(desk: Desk, lane: str) -> str:
    if desk.heartbeat.chosen(lane) is not None:
        return "that was chosen here"
    return f"nothing was chosen here, so `enabled = {str(desk.settings.heartbeat.enabled).lower()}` of `[heartbeat]` in config.toml counts"


def _rhythm(desk: Desk) -> list[str]:
    """When heartbeats come at all."""
    rules = desk.settings.heartbeat
    interval, cooldown = count(rules.interval_minutes, "minute"), count(rules.cooldown_minutes, "minute")
    lines = [f"**Every** {interval}, and not before {cooldown} without a message"]
    if rules.quiet_start != rules.quiet_end:
        lines.append(f"**Quiet** from {rules.quiet_start}:00 to {rules.quiet_end}:00 ({config.timezone(desk.settings).key})")
    return lines


def _outlook(desk: Desk, lane: str) -> list[str]:
    """What keeps the next heartbeat from coming, or when it may come."""
    choice = desk.choices.of(lane)
    bucket = desk.sessions.continued(lane, choice.provider, desk.cwd)
    if bucket is None:
        known = desk.sessions.peek(lane, choice.provider, desk.cwd)
        missing = "The session has ended" if known and known.started else "There is no session yet"
        return [f"⚠️ {missing}, and a heartbeat never begins one: it can come after your next message."]
    stops = []
    if desk.choices.resolve(choice).choice != choice:
        stops.append(f"{how_to_sign_in(choice.provider, desk.sign_ins.state(choice.provider))} No heartbeat goes to another agent.")
    if reached := desk.limits.reached():
        stops.append(f"Today's limit is reached: {', '.join(map(str, reached))}.")
    if desk.turns.running(lane) or desk.ledger.waiting(lane):
        stops.append("Something runs or waits here; a heartbeat comes only when all is quiet.")
    moment = after_quiet(desk, max(desk.heartbeat.earliest(lane, bucket.last_active), time.time()))
    now = datetime.now(UTC)
    return [*(f"⚠️ {stop}" for stop in stops), f"**Next** {said(moment, now)} at the earliest, with {CLIS[choice.provider].title}"]


def after_quiet(desk: Desk, moment: float) -> datetime:
    """The first moment from this one on (unix seconds) that is not in the quiet time, by the user's clock."""
    rules, zone = desk.settings.heartbeat, config.timezone(desk.settings)
    found = datetime.fromtimestamp(moment, UTC)
    while schedule.quiet(rules.quiet_start, rules.quiet_end, wall := found.astimezone(zone)):
        found += timedelta(minutes=60 - wall.minute, seconds=-wall.second, microseconds=-wall.microsecond)
    return found.astimezone(zone)
