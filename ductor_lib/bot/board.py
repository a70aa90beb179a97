"""What a chat sees of the work in hand: running turns, the card of waiting messages, and lines that cannot be stored."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ductor_lib.bot.markup import render
from ductor_lib.bot.preview import REDRAW, Draft, Screen
from ductor_lib.bot.stream import StreamViews
from ductor_lib.messages import Button, Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.words import count, title
from ductor_lib.ports import View

MOST_SHOWN = 10
QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class QueueCard:
    """The waiting messages of one chat, each with a Cancel. It is drawn from the ledger, so that it never shows the past."""

    chat: Chat
    ledger: Ledger
    slot: str = QUEUE
    redraw: float = REDRAW

    def draw(self) -> Draft:
        waiting = self.ledger.waiting(self.chat.lane)
        if not waiting:
            return Draft()
        lines = [f"{number}. {title(item)}" for number, item in enumerate(waiting[:MOST_SHOWN], 1)]
        if len(waiting) > MOST_SHOWN:
            lines.append(f"… and {len(waiting) - MOST_SHOWN} more: /queue")
        buttons = tuple(
            (Button(f"✖ Cancel {number}", f"/cancel {item.id}"),) for number, item in enumerate(waiting[:MOST_SHOWN], 1)
        )
        return Draft(tuple(render(f"⏸ **{count(len(waiting), 'message')} waiting**\n\n" + "\n".join(lines))), buttons)


class Board:
    """Implements ports.Views. Any thread; nothing here waits."""

    def __init__(self, streams: StreamViews, screen: Screen, ledger: Ledger) -> None:
        self._streams = streams
        self._screen = screen
        self._ledger = ledger
        self._lock = threading.Lock()
        self._carded: set[Chat] = set()

    def open(self, chat: Chat, slot: str, *, model: str, turn: int) -> View:
        return self._streams.open(chat, slot, model=model, turn=turn)

    def tell(self, chat: Chat, text: str) -> None:
        self._screen.tell(chat, text)

    def queue(self, chat: Chat) -> None:
        waiting = bool(self._ledger.waiting(chat.lane))
        with self._lock:
            carded = chat in self._carded
            if waiting:
                self._carded.add(chat)
            else:
                self._carded.discard(chat)
        if waiting:
            self._screen.show(QueueCard(chat, self._ledger))
        elif carded:
            self._ledger.say([Reply(chat, "", slot=QUEUE, closing=True)])
