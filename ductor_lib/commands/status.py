"""/status: where this conversation stands, and how the bot does."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from ductor_lib.cli.auth import CLIS
from ductor_lib.commands.desk import Desk
from ductor_lib.commands.sessions import COPY_CHARS, terminal
from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator.choices import how_to_sign_in
from ductor_lib.orchestrator.words import age, count, plain, title


def status(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """Conversation, session age, messages, cost, tokens, queue, agents, uptime."""
    lines = [*_now(desk, item), *_session(desk, item), *_machine(desk)]
    command = _terminal(desk, item)
    if len(command) > COPY_CHARS:
        return [Reply(item.chat, "\n".join([*lines, f"**In a terminal** (a copy)\n```\n{command}\n```"]))]
    copy = ((Button("📋 Go on in a terminal (a copy)", copy=command),),) if command else ()
    return [Reply(item.chat, "\n".join(lines), buttons=copy)]


def _now(desk: Desk, item: Incoming) -> list[str]:
    running = desk.turns.running(item.lane)
    waiting = len(desk.ledger.waiting(item.lane))
    held = len(desk.ledger.held(item.lane))
    what = f"▶ {title(running.item)} ({age(time.monotonic() - running.begun)})" if running else "idle"
    lines = [f"**Conversation** {item.lane}: {what}", f"**Queue** {count(waiting, 'message')} waiting"]
    if held:
        lines.append(f"**Held** {count(held, 'old message')}: see the card above")
    return lines


def _session(desk: Desk, item: Incoming) -> list[str]:
    choice = desk.choices.of(item.lane)
    bucket = desk.sessions.peek(item.lane, choice.provider, desk.cwd)
    effort = f", effort {choice.effort}" if choice.effort else ""
    lines = [f"**Agent** {CLIS[choice.provider].title}, {choice.model}{effort}, {desk.permission_mode}"]
    lines.append(f"**Folder** {plain(os.path.realpath(desk.cwd))}")
    if bucket is None:
        return [*lines, "**Session** none yet: the next message begins one"]
    now = time.time()
    return [
        *lines,
        f"**Session** `{bucket.session_id[:8]}`, {age(now - bucket.created)} old, last active {age(now - bucket.last_active)} ago",
        f"**Used** {count(bucket.messages, 'message')}, ${bucket.cost_usd:.4f}, {bucket.tokens_in:,} tokens in, {bucket.tokens_out:,} out",
    ]


def _terminal(desk: Desk, item: Incoming) -> str:
    """The command for a shell that goes on with this conversation, "" when there is nothing to go on with."""
    provider = desk.choices.of(item.lane).provider
    bucket = desk.sessions.peek(item.lane, provider, desk.cwd)
    known = "" if bucket is None else bucket.session_id if bucket.started else bucket.fork_of
    return terminal(provider, known, desk.cwd) if known else ""


def _machine(desk: Desk) -> list[str]:
    processes = sum(len(agent.processes()) for agent in desk.agents.values())
    lines = [how_to_sign_in(provider, desk.sign_ins.state(provider)) for provider in desk.sign_ins.providers()]
    return [*lines, f"**Machine** {count(processes, 'agent process')}, up {age(time.monotonic() - desk.started)}"]
