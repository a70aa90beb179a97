"""What the last run left half done is reported, and nothing of it runs by itself."""

from __future__ import annotations

from pathlib import Path

from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.recovery import recover

CHAT = Chat(42)


def test_a_report_of_the_agent_that_never_began_is_named_and_not_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    _, sent = ledger.accept([Incoming("own:1", CHAT, "(a background task has ended)", kind="agent"), Incoming("update:1", CHAT, "hello")])

    waiting = recover(ledger)

    assert waiting == [sent]
    [_, told] = [outgoing.reply for outgoing in ledger.outbox.unsent()]
    assert "Ask it for the result" in told.text
    assert not told.buttons
    assert recover(ledger) == [sent]
    assert len(ledger.outbox.unsent()) == 2
