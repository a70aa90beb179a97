"""/status: where this conversation stands, and how the bot does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator.words import age, count, first_line


def status(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """Conversation, session age, messages, cost, tokens, queue, agents, uptime."""
    lines = [*_now(desk, item), *_session(desk, item), *_machine(desk)]
    return [Reply(item.chat, "\n".join(lines))]


def _now(desk: Desk, item: Incoming) -> list[str]:
    running = desk.turns.running(item.lane)
    waiting = len(desk.ledger.waiting(item.lane))
    held = len(desk.ledger.held(item.lane))
    what = f"▶ {first_line(running.item.text or running.item.untrusted)} ({age(time.monotonic() - running.begun)})" if running else "idle"
    lines = [f"**Conversation** {item.lane}: {what}", f"**Queue** {count(waiting, 'message')} waiting"]
    if held:
        lines.append(f"**Held** {count(held, 'old message')}: see the card above")
    return lines


def _session(desk: Desk, item: Incoming) -> list[str]:
    settings, bucket = desk.settings, desk.sessions.peek(item.lane, desk.agent.name, desk.cwd)
    lines = [f"**Agent** {desk.agent.name}, {settings.model}, effort {settings.reasoning_effort}, {desk.permission_mode}"]
    if bucket is None:
        return [*lines, "**Session** none yet: the next message begins one"]
    now = time.time()
    return [
        *lines,
        f"**Session** `{bucket.session_id[:8]}`, {age(now - bucket.created)} old, last active {age(now - bucket.last_active)} ago",
        f"**Used** {count(bucket.messages, 'message')}, ${bucket.cost_usd:.4f}, {bucket.tokens_in:,} tokens in, {bucket.tokens_out:,} out",
    ]


def _machine(desk: Desk) -> list[str]:
    state = desk.auth.state()
    signed = "signed in" if state.signed_in else "not signed in" if state.installed else "not installed"
    return [
        f"**Claude Code** {state.version or ''} {signed}".replace("  ", " "),
        f"**Machine** {count(len(desk.agent.processes()), 'agent process')}, up {age(time.monotonic() - desk.started)}",
    ]
