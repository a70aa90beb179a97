"""What waits for each chat, and what may begin next: decisions only; the sender holds its lock around every call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ductor_lib.bot.delivery import Delivery
from ductor_lib.bot.frames import Frames
from ductor_lib.bot.pacing import Budget, backoff
from ductor_lib.bot.preview import Preview
from ductor_lib.messages import Chat
from ductor_lib.orchestrator.outbox import Outgoing

LAST_PAUSE = 60.0  # seconds between two tries, at most
REMEMBERED = 64  # previews that are over; their last show() may come late


@dataclass(slots=True)
class Showing:
    """A preview that is open. `frames` are begun by the worker that draws the first one."""

    preview: Preview
    frames: list[Frames] = field(default_factory=list)
    changed: bool = True
    drawn_at: float = 0.0
    failures: int = 0
    given_up: bool = False


@dataclass(slots=True)
class Line:
    """All that waits for one chat id. `busy` while a call is in flight; nothing begins before `not_before` (monotonic)."""

    budget: Budget
    finals: deque[Outgoing] = field(default_factory=deque)
    begun: list[Delivery] = field(default_factory=list)  # of the first final, when a try was made
    previews: dict[tuple[Chat, str], Showing] = field(default_factory=dict)
    busy: bool = False
    not_before: float = 0.0
    failures: int = 0

    @property
    def shipping(self) -> bool:
        """Whether the files of the first final come next."""
        return bool(self.begun) and self.begun[0].shipping


class Lines:
    """The lines of all chats. `interval` is the seconds between two edits of a preview; times are monotonic."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lines: dict[int, Line] = {}
        self._over: deque[Preview] = deque(maxlen=REMEMBERED)

    def queue(self, outgoing: Outgoing) -> None:
        """A final stands behind the others of its chat; the preview in its slot is over."""
        line, reply = self._line(outgoing.reply.chat), outgoing.reply
        line.finals.append(outgoing)
        self._forget(line, (reply.chat, reply.slot))

    def show(self, preview: Preview) -> bool:
        """The preview has something new. Whether a frame has to be drawn that was not wanted before."""
        if any(preview is old for old in self._over):
            return False
        line, key = self._line(preview.chat), (preview.chat, preview.slot)
        showing = line.previews.get(key)
        if showing is None or showing.preview is not preview:
            self._forget(line, key)
            line.previews[key] = Showing(preview)
            return True
        if showing.changed or showing.given_up:
            return False
        showing.changed = True
        return True

    def speaking(self, now: float) -> Line | None:
        """The line whose text may be sent now: the one that was said first."""
        return _first([line for line in self._free(now) if line.finals and not line.shipping])

    def loaded(self, now: float) -> Line | None:
        """The line whose files may be sent now: the one that was said first."""
        return _first([line for line in self._free(now) if line.shipping])

    def due(self, now: float) -> tuple[Line, Showing] | None:
        """The preview that has waited longest for its frame, with its line."""
        found = [(line, showing) for line in self._free(now) for showing in line.previews.values() if self._due_at(line, showing) <= now]
        return min(found, key=lambda pair: pair[1].drawn_at, default=None)

    def nap(self, now: float) -> float | None:
        """Seconds until `speaking` or `due` has something by itself, None for never."""
        idle = [line for line in self._lines.values() if not line.busy]
        times = [line.not_before for line in idle if line.finals and not line.shipping]
        times += [self._due_at(line, showing) for line in idle for showing in line.previews.values() if not showing.given_up]
        return max(0.0, min(times) - now) if times else None

    def nap_loaded(self, now: float) -> float | None:
        """The same for `loaded`."""
        times = [line.not_before for line in self._lines.values() if line.shipping and not line.busy]
        return max(0.0, min(times) - now) if times else None

    def _free(self, now: float) -> list[Line]:
        return [line for line in self._lines.values() if not line.busy and line.not_before <= now]

    def _line(self, chat: Chat) -> Line:
        if chat.id not in self._lines:
            self._lines[chat.id] = Line(Budget(private=chat.private, interval=self._interval))
        return self._lines[chat.id]

    def _forget(self, line: Line, key: tuple[Chat, str]) -> None:
        """The preview in this slot is over; who still holds it may go on calling show()."""
        if showing := line.previews.pop(key, None):
            self._over.append(showing.preview)

    def _due_at(self, line: Line, showing: Showing) -> float:
        """When the preview may be drawn again. After a failure it waits: a short outage must not use up all its tries."""
        if showing.given_up:
            return float("inf")
        wanted = 0.0 if showing.changed else showing.drawn_at + showing.preview.redraw
        if showing.failures:
            wanted = showing.drawn_at + backoff(showing.failures, first=self._interval, last=LAST_PAUSE)
        return max(wanted, line.not_before, line.budget.ready_at())


def _first(lines: list[Line]) -> Line | None:
    return min(lines, key=lambda line: line.finals[0].id, default=None)
