"""One file on its way to the chat: a picture as a photo, everything else as a document; what cannot be sent becomes a line."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

from ductor_lib.bot.client import Client
from ductor_lib.bot.failures import Rejected, Unreachable
from ductor_lib.bot.markup import Part
from ductor_lib.bot.parts import clean
from ductor_lib.messages import Chat
from ductor_lib.security import MEGABYTE, FileAccess, Unsendable, open_sendable, size_of
from ductor_lib.tools import kinds

log = logging.getLogger(__name__)

Kind = Literal["photo", "document"]

PHOTO_BYTES = 10 * MEGABYTE  # Bot API: sendPhoto
PHOTO_SIDES = 10_000  # Bot API: pixels of width and height together
PHOTO_RATIO = 20  # Bot API: of the longer side to the shorter one
PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
PHOTO_FORMATS = ("jpeg", "png", "webp")
NAME = 120  # characters of a file's name
TRIES = 10  # failed uploads without a known outcome, some minutes; a text would be tried for ever, but is small
DESTINATION = ("no_thread", "migrate", "dead")  # remedies that have to do with the chat and not with the file


@dataclass(slots=True)
class Shipment:
    """The sending of one file, over all its tries. One thread at a time."""

    path: str
    access: FileAccess
    as_document: bool = False
    failures: int = 0

    @property
    def name(self) -> str:
        """The file's name in one line, as Telegram can show it."""
        name = " ".join(clean(os.path.basename(self.path.rstrip("/"))).split()) or "file"
        return name if len(name) <= NAME else f"{name[:NAME // 2]}…{name[-NAME // 2 + 1:]}"

    def send(self, client: Client, chat: Chat, *, caption: str = "", silent: bool = False) -> None:
        """One try. Raises Unsendable when a line has to take its place, else what the client raises: try again, or elsewhere."""
        with open_sendable(self.path, self.access) as file:
            try:
                self._upload(client, chat, file, caption, silent=silent)
            except Rejected as error:
                if error.remedy in DESTINATION:
                    raise
                log.warning("file refused chat=%d bytes=%d reason=%s", chat.id, size_of(file), error)
                raise Unsendable(_refusal(error)) from None
            except Unreachable as error:
                self.failures += error.maybe_delivered
                if self.failures >= TRIES:
                    log.warning("file given up chat=%d bytes=%d reason=%s", chat.id, size_of(file), error)
                    raise Unsendable(f"the upload failed {TRIES} times; ask for it again, or for a smaller one") from None
                raise

    def line(self, reason: str) -> Part:
        """What the chat shows in the place of the file."""
        return Part(f"📎 {self.name} was not sent: {reason.replace('`', '')}.")

    def _upload(self, client: Client, chat: Chat, file: BinaryIO, caption: str, *, silent: bool) -> None:
        kind = "document" if self.as_document else kind_of(file, self.name)
        try:
            client.upload(chat, file, name=self.name, kind=kind, caption=caption, silent=silent)
        except Rejected as error:
            if kind == "document" or error.remedy in DESTINATION:
                raise
            log.info("photo refused, sent as a document chat=%d reason=%s", chat.id, error)
            self.as_document = True
            file.seek(0)
            client.upload(chat, file, name=self.name, kind="document", caption=caption, silent=silent)


def kind_of(file: BinaryIO, name: str) -> Kind:
    """How an open file is sent. It is a photo when name, content and size are those of a picture that Telegram shows."""
    if not name.lower().endswith(PHOTO_ENDINGS) or size_of(file) > PHOTO_BYTES:
        return "document"
    format = kinds.kind(file, name).format
    sides = kinds.image_size(file, format) if format in PHOTO_FORMATS else None
    file.seek(0)
    if not sides or min(sides) < 1 or sum(sides) > PHOTO_SIDES or max(sides) > PHOTO_RATIO * min(sides):
        return "document"
    return "photo"


def _refusal(error: Rejected) -> str:
    if error.code == 413 or "too big" in error.description.lower():
        return "Telegram says that it is too large; compress it, or send it in parts"
    return f"Telegram refused it ({clean(error.description)[:NAME]})"
