"""Show a running turn as messages that grow. Events are only noted down when they come; the work is done when a frame is drawn."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ductor_lib.bot.markup import BUDGET, LIMIT, Entity, Part, close, grow, join, render, units
from ductor_lib.bot.parts import clean
from ductor_lib.bot.preview import REDRAW, Draft, Screen
from ductor_lib.config_keys import Streaming
from ductor_lib.events import Event, Finished, Recovering, Started, Status, Text, Thinking, Tool, ToolDone
from ductor_lib.messages import Button, Chat

NAME, DETAIL = 40, 120  # UTF-16 units of a model's or tool's name, and of what it does
STATUS = 250  # UTF-16 units kept free for the status line, which has one entity

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SENTENCE = re.compile(r"(?<![0-9])[.!?…][\"'”’)\]*_`]*(?=\s)|[。！？]")


class StreamViews:
    """Opens views; `screen` is told when one has something new. Any thread."""

    def __init__(self, screen: Screen, streaming: Streaming, *, now: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._streaming = streaming
        self._now = now

    def open(self, chat: Chat, slot: str, *, model: str, turn: int) -> StreamView:
        """A view of turn number `turn` in `slot` of `chat`; its clock starts now, and so does what the chat sees."""
        view = StreamView(self._screen, self._streaming, self._now, chat, slot, model, turn)
        self._screen.show(view)
        return view


class StreamView:
    """One turn: a status line above the text that is being written. Implements ports.View and Preview.

    `show` is for one thread and never waits; `draw` is for any other, and renders no more than the end of the text.
    """

    def __init__(
        self, screen: Screen, streaming: Streaming, now: Callable[[], float], chat: Chat, slot: str, model: str, turn: int
    ) -> None:
        self.chat = chat
        self.slot = slot
        self.redraw = streaming.idle_ms / 1000 if streaming.mode == "append" else REDRAW
        self._screen = screen
        self._now = now
        self._stop = ((Button("⏹ Stop", command=f"/interrupt {turn}"),),)
        self._news: queue.SimpleQueue[tuple[float, Event]] = queue.SimpleQueue()
        self._thinking = False  # the last event was Thinking
        self._lock = threading.Lock()  # between drawers; `show` does not need it
        self._streaming = streaming
        self._answer = _ANSWERS[streaming.mode](streaming)
        self._activity = _Activity(model, now())

    def show(self, event: Event) -> None:
        """Take one event of the turn."""
        again, self._thinking = self._thinking, isinstance(event, Thinking)
        if again and self._thinking:
            return
        self._news.put((self._now(), event))
        if not isinstance(event, Started | Finished):  # nothing to see yet; the final answer takes the place of the view
            self._screen.show(self)

    def draw(self) -> Draft:
        """The finished messages, then the one that grows, with the status line on top and a Stop button."""
        with self._lock:
            while not self._news.empty():
                self._take(*self._news.get())
            if self._activity.over:  # a frame now would only be in the way of the final answer
                return Draft()
            parts = self._answer.parts(self._now())
            status = self._activity.line(self._now())
            *done, last = parts if parts and self._answer.grows else (*parts, Part(""))
            return Draft((*done, join(status, last)), self._stop)

    def _take(self, when: float, event: Event) -> None:
        self._activity.take(event)
        if isinstance(event, Text):
            self._answer.add(event.delta, when)
        elif isinstance(event, Tool | Finished):
            self._answer.pause()
        elif isinstance(event, Recovering):
            self._answer = _ANSWERS[self._streaming.mode](self._streaming)


class _Activity:
    """What the agent does just now, for the status line."""

    def __init__(self, model: str, begin: float) -> None:
        self.over = False
        self._model = model
        self._begin = begin
        self._tools: dict[str, Tool] = {}  # that run, in the order of their beginning
        self._doing = "starting"

    def take(self, event: Event) -> None:
        match event:
            case Started() | Text():
                self._doing = ""
            case Thinking():
                self._doing = "thinking"
            case Recovering():
                self._doing = "recovering"
            case Status(text):
                self._doing = text
            case Tool():
                self._doing = ""
                self._tools[event.id] = event
            case ToolDone():
                self._doing = ""
                self._tools.pop(event.id, None)
            case Finished():
                self.over = True

    def line(self, now: float) -> Part:
        """ "⏳ opus · 12 s · Bash: npm test" """
        line = f"⏳ {_short(self._model, NAME)} · {elapsed(now - self._begin)}"
        if self._doing or not self._tools:
            return Part(f"{line} · {_short(self._doing, DETAIL)}" if self._doing else line)
        tool = list(self._tools.values())[-1]
        line, detail = f"{line} · {_short(tool.name, NAME)}", _short(tool.detail, DETAIL)
        if not detail:
            return Part(line)
        return Part(f"{line}: {detail}", (Entity("code", units(line) + 2, units(detail)),))


class _Answer(Protocol):
    """The text so far. `grows`: its last part is the one under way."""

    grows: bool

    def add(self, delta: str, when: float) -> None: ...

    def pause(self) -> None:
        """What comes next is another text."""

    def parts(self, now: float) -> list[Part]: ...


class _Growing:
    """All of the text; finished messages are rendered once."""

    grows = True

    def __init__(self, streaming: Streaming) -> None:
        self._done: list[Part] = []
        self._end: list[Part] = []
        self._source = ""
        self._news: list[str] = []

    def add(self, delta: str, when: float) -> None:
        self._news.append(delta)

    def pause(self) -> None:
        text = close(self._source + "".join(self._news))
        self._source, self._news = "", [f"{text}\n\n" if text else ""]

    def parts(self, now: float) -> list[Part]:
        if self._news:
            self._source += "".join(self._news)
            self._news.clear()
            done, self._source, self._end = grow(self._source, limit=LIMIT - STATUS, budget=BUDGET - 1)
            self._done += done
        return self._done + self._end


class _Chunks:
    """Text that is long enough, up to the end of a sentence; or what there is when no more comes for a while."""

    grows = False

    def __init__(self, streaming: Streaming) -> None:
        self._streaming = streaming
        self._done: list[Part] = []
        self._waiting = ""
        self._last = 0.0

    def add(self, delta: str, when: float) -> None:
        self._waiting += delta
        self._last = when

    def pause(self) -> None:
        self._send(len(self._waiting))

    def parts(self, now: float) -> list[Part]:
        quiet = now - self._last >= self._streaming.idle_ms / 1000
        if quiet or len(self._waiting) >= self._streaming.min_chars:
            self._send(self._cut(quiet=quiet))
        if len(self._waiting) > self._streaming.max_chars:
            done, self._waiting, _ = grow(self._waiting, limit=self._streaming.max_chars)
            self._done += done
        return list(self._done)

    def _cut(self, *, quiet: bool) -> int:
        end, open_fence = sentence_end(self._waiting)
        if self._streaming.sentence_break:
            return end if end or open_fence or not quiet else len(self._waiting)
        return end if open_fence else len(self._waiting) if quiet else self._waiting.rfind(" ") + 1 or end

    def _send(self, size: int) -> None:
        self._done += render(self._waiting[:size], limit=min(self._streaming.max_chars, LIMIT))
        self._waiting = self._waiting[size:]


class _Nothing:
    """No text before the final answer."""

    grows = False

    def __init__(self, streaming: Streaming) -> None:
        pass

    def add(self, delta: str, when: float) -> None:
        pass

    def pause(self) -> None:
        pass

    def parts(self, now: float) -> list[Part]:
        return []


_ANSWERS: dict[str, Callable[[Streaming], _Answer]] = {"edit": _Growing, "append": _Chunks, "off": _Nothing}


def elapsed(seconds: float) -> str:
    """ "12 s", "3 min 5 s", "1 h 2 min" """
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def sentence_end(text: str) -> tuple[int, bool]:
    """Where the last sentence, paragraph or fence of a text ends that may go on (0: nowhere), and whether a fence is open.

    Not in code, in a row of a table, or where a bold text or a code is open on its line.
    """
    best, position, fence = 0, 0, ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif fence:
            if mark and mark[1].startswith(fence) and line.endswith("\n"):
                fence, best = "", position + len(line)
        elif not line.strip() and line.endswith("\n"):
            best = position + len(line)
        elif not line.startswith("|"):
            ends = [match.end() for match in _SENTENCE.finditer(line)]
            best = next((position + end for end in reversed(ends) if _closed(line[:end])), best)
        position += len(line)
    return best, bool(fence)


def _closed(text: str) -> bool:
    return text.count("`") % 2 == 0 and text.count("**") % 2 == 0


def _short(text: str, size: int) -> str:
    """One line of at most `size` UTF-16 units."""
    line = " ".join(clean(text).split())
    return line if units(line) <= size else line.encode("utf-16-le")[: 2 * size - 2].decode("utf-16-le", "ignore") + "…"
