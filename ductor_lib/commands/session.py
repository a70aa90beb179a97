"""Commands about the conversation's session."""

from __future__ import annotations

from collections.abc import Sequence

from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Incoming, Reply
from ductor_lib.orchestrator.words import count


def new(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/new: the next message begins a fresh session of the active agent. Runs first in its lane, after the turn it ended.

    Words after it are that message.
    """
    provider = desk.choices.of(item.lane).provider
    desk.sessions.reset(item.lane, provider, desk.cwd)
    desk.agents[provider].release(item.lane)
    waiting = len(desk.ledger.waiting(item.lane))
    kept = f" {count(waiting, 'waiting message')} will run in it." if waiting else ""
    if words:
        said = Incoming(f"{item.key}:words", item.chat, words, user=item.user, sent_at=item.sent_at, untrusted=item.untrusted)
        for stored in desk.ledger.accept([said]):
            desk.released.put(stored)
    return [Reply(item.chat, f"🆕 Fresh session.{kept}")]
