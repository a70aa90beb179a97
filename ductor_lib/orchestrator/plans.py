"""What a turn is made of: the words for the agent, who gets them, and in which session."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ductor_lib.config import Settings
from ductor_lib.messages import Incoming
from ductor_lib.orchestrator import prompts
from ductor_lib.orchestrator.asking import Asking
from ductor_lib.orchestrator.choices import Choices
from ductor_lib.orchestrator.directives import Directed
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Order
from ductor_lib.orchestrator.words import plain
from ductor_lib.paths import Paths
from ductor_lib.ports import Choice, TurnRequest
from ductor_lib.session import Bucket, Reset, Sessions
from ductor_lib.workspace import rules

FRESH: dict[Reset, str] = {
    "idle": "*A fresh session: the last one had been idle for too long (`idle_timeout_minutes`).*",
    "daily": "*A fresh session: the daily reset (`daily_reset_hour`) came in between.*",
    "full": "*A fresh session: the last one was full (`max_session_messages`).*",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One turn to be run: the item with its own words, the whole `prompt`, who answers, and in which session.

    `notes` are lines for the end of the answer, `heading` is its first line. The prompt holds the conversation's notes up
    to number `told`. `order` says how a hook wants it.
    """

    item: Incoming
    prompt: str
    choice: Choice
    bucket: Bucket
    notes: tuple[str, ...] = ()
    heading: str = ""
    told: int = 0
    order: Order = field(default_factory=Order)


class Plans:
    """Makes plans for the turns of conversations. Any thread; may take some seconds when a CLI has to be asked."""

    def __init__(
        self, settings: Settings, paths: Paths, ledger: Ledger, sessions: Sessions, choices: Choices, *, permission_mode: str
    ) -> None:
        self._paths = paths
        self._ledger = ledger
        self._sessions = sessions
        self._choices = choices
        self._asking = Asking(settings, paths, permission_mode=permission_mode)

    def make(self, item: Incoming) -> Plan | str:
        """The plan for an item, or what to answer instead; a heartbeat that is not to be gets "".

        A new session is on disk when this returns. Raises OSError and sqlite3.OperationalError when the disk is full.
        """
        if item.kind == "heartbeat":
            return self._heartbeat(item)
        run = self._ledger.runs.get(item.run) if item.run else None
        order = run.order if run else Order()
        directed = self._directed(item, order)
        if directed.answer:
            return directed.answer
        resolved = self._choices.resolve(directed.choice)
        if resolved.choice is None:
            return resolved.note
        bucket, reset = self._sessions.take(item.lane, resolved.choice.provider, self._paths.workspace)
        prompt, told = self._prompt(item, directed.text, bucket)
        notes = tuple(filter(None, (resolved.note, FRESH[reset] if reset else "")))
        heading = f"**{'HOOK' if run.source == 'hook' else 'TASK'}: {plain(run.title)}**" if run else ""
        return Plan(item, prompt, resolved.choice, bucket, notes=notes, heading=heading, told=told, order=order)

    def wanted(self, item: Incoming) -> str:
        """The provider that is to do what a hook or the clock has begun, whether it can or not."""
        run = self._ledger.runs.get(item.run)
        return self._directed(item, run.order if run else Order()).choice.provider

    def request(self, plan: Plan, cwd: Path) -> TurnRequest:
        """What the agent is asked for a plan."""
        item, bucket = plan.item, plan.bucket
        return self._asking.request(
            item, plan.choice, plan.order, prompt=plan.prompt, cwd=cwd, instructions=prompts.instructions(item.chat),
            session_id=bucket.session_id, resume=bucket.started, fork_of=bucket.fork_of,
        )

    def _directed(self, item: Incoming, order: Order) -> Directed:
        if item.kind == "message" or item.kind == "press":
            return self._choices.read(item)
        choice = self._choices.ordered(order.provider, order.model, order.effort, self._choices.of(item.lane))
        return Directed(choice, item.text)

    def _prompt(self, item: Incoming, text: str, bucket: Bucket) -> tuple[str, int]:
        """The words with what is put around them, and the number of the last note among that."""
        notes = self._ledger.notes(item.lane)
        words = prompts.prompt(Incoming(item.key, item.chat, text, untrusted=item.untrusted))
        reminder = prompts.reminders(bucket.messages + 1, rules.memory_size(self._paths))
        whole = prompts.with_notes(f"{words}\n\n{reminder}" if reminder and words else words, [note for _, note in notes])
        return whole, notes[-1][0] if notes else 0

    def _heartbeat(self, item: Incoming) -> Plan | str:
        """A heartbeat goes on with what there is, or does not happen."""
        choice = self._choices.of(item.lane)
        bucket = self._sessions.continued(item.lane, choice.provider, self._paths.workspace)
        if bucket is None or self._choices.resolve(choice).choice != choice or self._ledger.waiting(item.lane):
            return ""
        return Plan(item, item.text, choice, bucket)
