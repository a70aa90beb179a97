"""What a chat shows when a turn is over: the agent's final words, what it wrote before them, and what went wrong."""

from __future__ import annotations

from ductor_lib.cli.auth import sentence
from ductor_lib.events import Event, Finished, Recovering, Started, Text, Tool
from ductor_lib.messages import Chat, Reply


class Told:
    """What an agent has written in one turn, cut where a tool ran. One thread."""

    def __init__(self) -> None:
        self.model = ""
        self.session_id = ""
        self.finished: Finished | None = None
        self._pieces: list[list[str]] = [[]]

    def add(self, event: Event) -> None:
        if isinstance(event, Text):
            self._pieces[-1].append(event.delta)
        elif isinstance(event, Tool):
            self._pieces.append([])
        elif isinstance(event, Recovering):
            self._pieces = [[]]
        elif isinstance(event, Started):
            self.model, self.session_id = event.model, event.session_id
        elif isinstance(event, Finished):
            self.finished = event

    def pieces(self) -> list[str]:
        """The texts between the tools, without the empty ones."""
        return [text for piece in self._pieces if (text := "".join(piece).strip())]


STOPPED = "⏹ *Stopped.*"
SHUT_DOWN = "⚡ *ductor was stopped while working on this.*"


def answer(
    chat: Chat, slot: str, told: Told, finished: Finished, *,
    provider: str, fresh: bool, stopped: str = STOPPED, notes: tuple[str, ...] = (),
) -> Reply:
    """The final reply of a turn. It takes the place of the preview in `slot`, or rings as a new message if `fresh`.

    `stopped` is what a turn that did not run to its end is marked with.
    """
    pieces = told.pieces()
    final = finished.text.strip() if finished.outcome == "done" else ""
    if not final and pieces:
        final = pieces.pop()
    elif pieces and pieces[-1] in final:
        pieces.pop()
    lines = [final or ("" if finished.outcome != "done" else "*The agent ended without a word.*")]
    if finished.outcome == "stopped":
        lines.append(stopped)
    if finished.error and finished.outcome == "failed":
        lines.append(f"⚠️ {sentence(finished.error, provider, finished.detail)}")
    if finished.denied:
        lines.append(f"🔒 *Refused for want of permission: {', '.join(dict.fromkeys(finished.denied))} (see* `permission_mode`*).*")
    lines += notes
    return Reply(chat, "\n\n".join(filter(None, lines)), slot=slot, fresh=fresh, closing=True, earlier="\n\n".join(pieces))
