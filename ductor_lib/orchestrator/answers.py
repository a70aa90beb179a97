"""What a chat shows when a turn is over: the agent's final words, what it wrote before them, and what went wrong."""

from __future__ import annotations

from pathlib import Path

from ductor_lib.cli.auth import sentence
from ductor_lib.events import Event, Finished, Recovering, Started, Text, Tool
from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.extras import extract, rows


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
SILENT = "*The agent ended without a word.*"
CHOOSE = "*Please choose:*"
SHUT_DOWN = "⚡ *ductor was stopped while working on this.*"
OVERDUE = "⏱ *Ended: by the clock on the wall it ran for more than twice* `cli_timeout`*.*"


def answer(
    chat: Chat, slot: str, told: Told, finished: Finished, *,
    cwd: Path, provider: str, fresh: bool, stopped: str = STOPPED, notes: tuple[str, ...] = (), heading: str = "",
) -> Reply:
    """The final reply of a turn. It takes the place of the preview in `slot`, or rings as a new message if `fresh`.

    `stopped` is what a turn that did not run to its end is marked with, `heading` a first line of ours. Files and
    buttons are taken from all that was written, because an agent often adds some words after it has asked for them;
    paths are relative to `cwd`.
    """
    pieces = told.pieces()
    final = finished.text.strip() if finished.outcome == "done" else ""
    if not final and pieces:
        final = pieces.pop()
    elif pieces and pieces[-1] in final:
        pieces.pop()
    elif pieces:  # two answers without a tool between them, as after /steer
        pieces[-1] = pieces[-1].removesuffix(f"\n\n{final}")
    above, below = extract("\n\n".join(pieces), cwd), extract(final, cwd)
    files, buttons = (*below.files, *above.files), below.buttons or above.buttons
    silence = CHOOSE if buttons else "" if files or finished.outcome != "done" else SILENT
    lines = [heading, below.text or silence]
    if finished.outcome == "stopped":
        lines.append(stopped)
    if finished.error and finished.outcome == "failed":
        lines.append(f"⚠️ {sentence(finished.error, provider, finished.detail)}")
    if finished.denied:
        lines.append(f"🔒 *Refused for want of permission: {', '.join(dict.fromkeys(finished.denied))} (see* `permission_mode`*).*")
    lines += notes
    text, earlier = "\n\n".join(filter(None, lines)), above.text
    return Reply(
        chat, text or earlier, rows(buttons), slot, fresh=fresh, closing=True,
        earlier=earlier if text else "", files=tuple(dict.fromkeys(files)),
    )
