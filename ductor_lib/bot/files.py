"""One file on its way to the chat: a picture as a photo, everything else as a document; what cannot be sent becomes a line."""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

from ductor_lib.bot.client import Client
from ductor_lib.bot.failures import Rejected, Unreachable
from ductor_lib.bot.markup import Part
from ductor_lib.bot.parts import clean
from ductor_lib.messages import Chat
from ductor_lib.security import MEGABYTE, FileAccess, Unsendable, open_sendable, size_of

log = logging.getLogger(__name__)

Kind = Literal["photo", "document"]

PHOTO_BYTES = 10 * MEGABYTE  # Bot API: sendPhoto
PHOTO_SIDES = 10_000  # Bot API: pixels of width and height together
PHOTO_RATIO = 20  # Bot API: of the longer side to the shorter one
PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
NAME = 120  # characters of a file's name
TRIES = 10  # failed uploads without a known outcome, some minutes; a text would be tried for ever, but is small
DESTINATION = ("no_thread", "migrate", "dead")  # remedies that have to do with the chat and not with the file
HEAD = 30  # bytes of a PNG or a WebP that hold its size
FIRST_HEADER = 2  # bytes of a JPEG before its first segment
JPEG_SEGMENTS = 1000  # before the one with the size; a camera writes about ten
# JPEG (ITU-T T.81, table B.1): frame headers hold the size; C4, C8 and CC are among them and are something else.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


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
    sides = picture_size(file)
    file.seek(0)
    if not sides or min(sides) < 1 or sum(sides) > PHOTO_SIDES or max(sides) > PHOTO_RATIO * min(sides):
        return "document"
    return "photo"


def picture_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG or WebP, None for anything else."""
    head = file.read(HEAD)
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
            width, height = struct.unpack(">II", head[16:24])
            return width, height
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg_size(file)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) == HEAD:
            return _webp_size(head)
    except struct.error:  # it ends too early
        return None
    return None


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(FIRST_HEADER)
    for _ in range(JPEG_SEGMENTS):
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or length < 2:
            return None
        if kind in JPEG_FRAMES:
            height, width = struct.unpack(">xHH", file.read(5))
            return width, height
        file.seek(length - 2, os.SEEK_CUR)
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """The three kinds of WebP (RFC 9649): lossy, lossless, extended."""
    if head[12:16] == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if head[12:16] == b"VP8L":
        bits = struct.unpack("<I", head[21:25])[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _refusal(error: Rejected) -> str:
    if error.code == 413 or "too big" in error.description.lower():
        return "Telegram says that it is too large; compress it, or send it in parts"
    return f"Telegram refused it ({clean(error.description)[:NAME]})"
