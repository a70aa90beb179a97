"""What a file is, by its content; the name only says which text it is."""

from __future__ import annotations

import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ductor_lib.tools.encodings import detect

Group = Literal["image", "sound", "video", "document", "archive", "text", "data", "empty"]

HEAD = 65_536  # bytes that are looked at
WEBP_HEAD = 30  # bytes of a WebP that hold its size
JPEG_SEGMENTS = 1000  # before the one with the size; a camera writes about ten


@dataclass(frozen=True, slots=True)
class Kind:
    """`format` is the usual suffix without its dot: "png", "pdf"; empty where the group says all."""

    group: Group
    format: str = ""

    def __str__(self) -> str:
        return f"{self.group} ({self.format})" if self.format else self.group


# Where, which bytes, what. The first row that fits wins. Enough bytes that no text begins so by chance.
MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", Kind("image", "png")),
    (0, b"\xff\xd8\xff", Kind("image", "jpeg")),
    (0, b"GIF87a", Kind("image", "gif")),
    (0, b"GIF89a", Kind("image", "gif")),
    (8, b"WEBP", Kind("image", "webp")),
    (0, b"II*\0", Kind("image", "tiff")),
    (0, b"MM\0*", Kind("image", "tiff")),
    (0, b"\0\0\1\0", Kind("image", "ico")),
    (0, b"%PDF-", Kind("document", "pdf")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("document", "ole")),
    (0, b"{\\rtf", Kind("document", "rtf")),
    (0, b"ID3\2", Kind("sound", "mp3")),
    (0, b"ID3\3", Kind("sound", "mp3")),
    (0, b"ID3\4", Kind("sound", "mp3")),
    (0, b"\xff\xfb", Kind("sound", "mp3")),
    (0, b"\xff\xf3", Kind("sound", "mp3")),
    (0, b"\xff\xf2", Kind("sound", "mp3")),
    (0, b"\xff\xf1", Kind("sound", "aac")),
    (0, b"\xff\xf9", Kind("sound", "aac")),
    (0, b"fLaC", Kind("sound", "flac")),
    (0, b"#!AMR", Kind("sound", "amr")),
    (0, b"caff\0", Kind("sound", "caf")),
    (8, b"WAVE", Kind("sound", "wav")),
    (8, b"AIFF", Kind("sound", "aiff")),
    (8, b"AVI ", Kind("video", "avi")),
    (0, b"FLV\1", Kind("video", "flv")),
    (0, b"\0\0\1\xba", Kind("video", "mpg")),
    (0, b"\0\0\1\xb3", Kind("video", "mpg")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("video", "wmv")),
    (0, b"\x1f\x8b", Kind("archive", "gz")),
    (4, b"1AY&SY", Kind("archive", "bz2")),
    (0, b"\xfd7zXZ\0", Kind("archive", "xz")),
    (0, b"\x28\xb5\x2f\xfd", Kind("archive", "zst")),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("archive", "7z")),
    (0, b"Rar!\x1a\7", Kind("archive", "rar")),
    (257, b"ustar", Kind("archive", "tar")),
    (0, b"SQLite format 3\0", Kind("data", "sqlite")),
    (0, b"\x7fELF", Kind("data", "elf")),
    (0, b"\xcf\xfa\xed\xfe", Kind("data", "mach-o")),
)
INSIDE = {"webp": b"RIFF", "wav": b"RIFF", "avi": b"RIFF", "aiff": b"FORM"}  # how a file begins that has their word at 8
BRANDS = {  # ISO 14496-12: the brand after "ftyp"; what is not here is a video
    b"heic": Kind("image", "heic"), b"heix": Kind("image", "heic"), b"mif1": Kind("image", "heic"), b"avif": Kind("image", "avif"),
    b"M4A ": Kind("sound", "m4a"), b"M4B ": Kind("sound", "m4a"), b"qt  ": Kind("video", "mov"),
}  # fmt: skip
INSIDE_ZIP = (
    (re.compile(r"word/document\d*\.xml"), "docx"),
    (re.compile(r"xl/workbook\.xml"), "xlsx"),
    (re.compile(r"xl/workbook\.bin"), "xlsb"),
    (re.compile(r"ppt/presentation\.xml"), "pptx"),
    (re.compile(r"META-INF/container\.xml"), "epub"),
    (re.compile(r"META-INF/manifest\.xml"), "odt"),
)


def kind(file: BinaryIO, name: str) -> Kind:
    """What the open file is; it is at its beginning afterwards. `name` tells one text from another ("csv", "py")."""
    file.seek(0)
    head = file.read(HEAD)
    found = _kind(head, file, Path(name).suffix[1:].lower())
    file.seek(0)
    return found


def _kind(head: bytes, file: BinaryIO, suffix: str) -> Kind:
    if not head:
        return Kind("empty")
    if head.startswith(b"PK\3\4"):
        return _zip(file)
    if head[4:8] == b"ftyp" and head.startswith(b"\0\0"):  # the box is small
        return BRANDS.get(head[8:12], Kind("video", "mp4"))
    if head.startswith(b"OggS"):
        return Kind("video", "ogv") if b"\x80theora" in head[:512] else Kind("sound", "ogg")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Kind("video", "webm" if b"webm" in head[:64] else "mkv")
    if head[0] == 0x47 and head[188:189] == b"G" and head[376:377] == b"G":  # packets of 188 bytes
        return Kind("video", "ts")
    for offset, magic, found in MAGIC:
        if head.startswith(magic, offset) and head.startswith(INSIDE.get(found.format, b"")):
            return found
    if head.startswith(b"BM") and len(head) > 18 and not any(head[6:10]):
        return Kind("image", "bmp")
    if detect(head) is None:
        return Kind("data")
    return Kind("text", suffix if re.fullmatch(r"[a-z0-9]{1,10}", suffix) else "plain")


def _zip(file: BinaryIO) -> Kind:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):  # its end is missing, or it is from the future
        return Kind("archive", "zip")
    for pattern, format in INSIDE_ZIP:
        if any(map(pattern.fullmatch, names)):
            return Kind("document", format)
    return Kind("archive", "zip")


def image_size(file: BinaryIO, format: str) -> tuple[int, int] | None:
    """Width and height in pixels of a png, jpeg, gif or webp; None when the file does not say it."""
    file.seek(0)
    reader = {"png": _png, "gif": _gif, "webp": _webp, "jpeg": _jpeg}.get(format)
    try:
        return reader(file) if reader else None
    except (struct.error, IndexError):  # cut off before its size
        return None


def _png(file: BinaryIO) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", file.read(24), 16)
    return width, height


def _gif(file: BinaryIO) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", file.read(10), 6)
    return width, height


def _webp(file: BinaryIO) -> tuple[int, int] | None:
    """RFC 9649: three sorts of picture, each with its size in another form."""
    head = file.read(WEBP_HEAD)
    if head[12:16] == b"VP8X" and len(head) == WEBP_HEAD:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if head[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(file: BinaryIO) -> tuple[int, int] | None:
    """ITU T.81: segments with their length, until the one that begins the frame; a preview in EXIF is skipped as a whole."""
    file.seek(2)
    for _ in range(JPEG_SEGMENTS):
        mark, code, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or length < 2:
            return None
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", file.read(5), 1)
            return width, height
        file.seek(length - 2, 1)
    return None
