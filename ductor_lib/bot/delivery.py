"""One reply on its way to the chat. It goes on where the last try ended, and knows which parts may have arrived already."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from ductor_lib.bot.client import Client
from ductor_lib.bot.failures import Rejected, TelegramError, Unreachable
from ductor_lib.bot.files import Shipment
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.keyboard import keyboard
from ductor_lib.bot.markup import Entity, Part, compose, units
from ductor_lib.bot.parts import clean, join
from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.outbox import Outbox, Outgoing
from ductor_lib.security import FileAccess, Unsendable

log = logging.getLogger(__name__)

T = TypeVar("T")
AGAIN = "(sent again: it is not known whether the first try arrived)"
PLAIN_CHARACTERS = 2000  # of an answer that cannot be rendered; never more than 4000 UTF-16 units
SHORTEST_SPLIT = 100  # characters; a text this short is not "too long"


class Delivery:
    """Bring one stored reply to Telegram: `run` its text, then `ship` its files. One thread at a time.

    Built when its turn comes, because it reads what the slot holds. Both may be called again after any failure that
    passes by itself: nothing that arrived is sent twice. A file is a part like a text, counted on from the last text.
    Both raise RetryAfter or Unreachable: try again later; Rejected: Telegram will never take it.
    """

    def __init__(self, outgoing: Outgoing, client: Client, outbox: Outbox, groups: Groups, files: FileAccess) -> None:
        self._outgoing = outgoing
        self._client = client
        self._outbox = outbox
        self._groups = groups
        reply = outgoing.reply
        self._chat = reply.chat
        self._parts = _parts(reply)
        self._shipments = [Shipment(path, files) for path in reply.files]
        self._held = list(outbox.slot(reply.chat, reply.slot)) if reply.slot else []
        self._keyboard = keyboard(reply.buttons, outbox)
        self._done = outgoing.done  # parts and files that have arrived
        self._messages = list(outgoing.messages)  # those of the text; a file is never edited
        self._pieces: list[Part] = []  # what is left of part number `_done`
        self._doubtful = outgoing.claimed == outgoing.done
        self._settled = False

    @property
    def shipping(self) -> bool:
        """Whether the text is delivered, and files are left."""
        return self._settled and self.left > 0

    @property
    def left(self) -> int:
        """Parts and files that have not arrived."""
        return len(self._parts) + len(self._shipments) - self._done

    def run(self) -> None:
        """Deliver what is left of the text, and close the row unless there are files."""
        while self._done < len(self._parts):
            self._pieces = self._pieces or [self._parts[self._done]]
            while self._pieces:
                last = self._done == len(self._parts) - 1 and len(self._pieces) == 1
                if message := self._place(self._keyboard if last else ""):
                    self._messages.append(message)
            self._arrived()
        self._settle()
        self._settled = True
        self._close()

    def ship(self) -> None:
        """Deliver the files that are left, and close the row."""
        while self.shipping:
            if not self._pieces:
                self._upload(self._shipments[self._done - len(self._parts)])
            while self._pieces:
                self._place("")
            self._arrived()
        self._close()

    def _place(self, keyboard: str) -> int:
        """Bring the next piece into the chat, or change what stands in its way; the message that shows it, else 0."""
        try:
            message = self._put(self._pieces[0], keyboard)
        except Rejected as error:
            self._mend(error)
            return 0
        self._pieces.pop(0)
        return message

    def _target(self) -> int:
        """The message of the slot that the next piece goes into, 0 for a new one."""
        number = len(self._messages)
        into_slot = not self._outgoing.reply.fresh and not self._settled
        return self._held[number] if into_slot and number < len(self._held) else 0

    def _put(self, piece: Part, keyboard: str) -> int:
        if target := self._target():
            self._client.edit(self._chat, target, piece, keyboard=keyboard)
            self._doubtful = False
            return target
        silent = self._outgoing.reply.silent
        marked = join(Part(AGAIN, (Entity("italic", 0, units(AGAIN)),)), piece) if self._doubtful else piece
        return self._add(lambda: self._client.send(self._chat, marked, keyboard=keyboard, silent=silent))

    def _upload(self, shipment: Shipment) -> None:
        """Send the file, or leave a piece that says why not."""
        caption, silent = AGAIN if self._doubtful else "", self._outgoing.reply.silent
        while True:
            try:
                self._add(lambda: shipment.send(self._client, self._chat, caption=caption, silent=silent))
            except Unsendable as error:
                self._pieces = [shipment.line(str(error))]
            except Rejected as error:
                if self._redirected(error):
                    continue
                raise
            return

    def _add(self, send: Callable[[], T]) -> T:
        """Make a new message. Should its outcome stay unknown, the outbox knows that it was tried."""
        self._outbox.claim(self._outgoing.id, self._done)
        try:
            added = send()
        except TelegramError as error:
            if isinstance(error, Unreachable) and error.maybe_delivered:
                self._doubtful = True
            if not self._doubtful:  # it certainly did not arrive: take the claim back
                self._outbox.delivered(self._outgoing.id, self._done, self._messages)
            raise
        self._doubtful = False
        return added

    def _arrived(self) -> None:
        self._done += 1
        self._outbox.delivered(self._outgoing.id, self._done, self._messages)

    def _mend(self, error: Rejected) -> None:
        """Change this delivery so that Telegram may take it. Raises the error when there is nothing left to change."""
        piece, target = self._pieces[0], self._target()
        log.warning("part refused row=%d part=%d remedy=%s reason=%s", self._outgoing.id, self._done, error.remedy, error)
        if error.remedy == "skip":
            self._pieces.pop(0)
        elif error.remedy == "split" and len(piece.text) > SHORTEST_SPLIT:
            self._pieces[:1] = halves(piece)
        elif error.remedy == "send_new" and target:
            self._held[len(self._messages)] = 0
        elif self._redirected(error):
            return
        elif error.remedy in ("plain", "last_resort") and piece.entities:
            self._pieces[0] = Part(piece.text)
        elif error.remedy == "last_resort" and self._keyboard:
            self._keyboard = ""
        else:
            raise error

    def _redirected(self, error: Rejected) -> bool:
        """Whether the refusal was about the place, and there is another one to try."""
        if error.remedy == "no_thread" and self._chat.topic is not None:
            self._chat = Chat(self._chat.id)
            return True
        if error.remedy == "migrate" and self._chat.id != error.moved_to:
            self._groups.moved(self._chat.id, error.moved_to)
            self._chat = Chat(error.moved_to, self._chat.topic)
            self._held = []  # message ids begin anew there: these would be somebody else's
            return True
        return False

    def _settle(self) -> None:
        """Take away what the slot held beyond this reply, and note what it holds now."""
        reply = self._outgoing.reply
        if reply.slot:
            surplus = [message for message in self._held if message and message not in self._messages]
            self._client.delete(self._chat, surplus)
            self._outbox.fill(reply.chat, reply.slot, () if reply.closing else self._messages)

    def _close(self) -> None:
        if not self.shipping:
            self._outbox.close(self._outgoing.id, "sent")


def halves(part: Part) -> list[Part]:
    """The part as two smaller ones, cut at a line or a word near its middle if there is one."""
    middle = len(part.text) // 2
    cut = max(part.text.rfind("\n", middle // 2, middle), part.text.rfind(" ", middle // 2, middle))
    upper = part.text[:cut if cut > 0 else middle]
    lower = part.text[len(upper):].lstrip()
    begin = units(part.text) - units(lower)
    return [Part(upper.rstrip(), _clip(part, 0, units(upper.rstrip()))), Part(lower, _clip(part, begin, units(part.text)))]


def _clip(part: Part, begin: int, end: int) -> tuple[Entity, ...]:
    """The entities of a stretch given in UTF-16 units, counted from its beginning."""
    clipped = (
        (entity, max(entity.offset, begin), min(entity.offset + entity.length, end)) for entity in part.entities
    )
    return tuple(replace(entity, offset=first - begin, length=stop - first) for entity, first, stop in clipped if first < stop)


def _parts(reply: Reply) -> list[Part]:
    if not reply.text:
        return []
    try:
        return compose(reply)
    except Exception:  # a mistake of the renderer must not cost an answer
        log.exception("reply not rendered, sent as plain text chat=%d", reply.chat.id)
        text = clean(reply.text)
        return [Part(text[start:start + PLAIN_CHARACTERS]) for start in range(0, len(text), PLAIN_CHARACTERS)]
