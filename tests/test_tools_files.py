"""What a file is shows in its bytes, and a listing never leaves its folder."""

from __future__ import annotations

import bz2
import hashlib
import io
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ductor_lib.errors import DuctorError
from ductor_lib.tools import encodings, kinds
from ductor_lib.tools.faults import refused
from ductor_lib.tools.files import file_info, file_kind, list_files, stamp

BMFF = b"\0\0\0\x20ftyp"
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=200)
WESTERN = st.text(st.sampled_from("abc xyz,.\nÄÖÜäöüßéèçñ€“”–"), min_size=1, max_size=200)


def file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes((width + 1) * height))) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    preview = b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 1, 1)  # EXIF often has a small picture in it
    exif = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    return b"\xff\xd8" + exif + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + bytes(10) + b"\xff\xd9"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(10)


def webp(sort: bytes, size: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + sort + size


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return path


# ── kinds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (png(1, 1), "image (png)"), (jpeg(1, 1), "image (jpeg)"), (gif(1, 1), "image (gif)"),
        (webp(b"VP8 ", bytes(20)), "image (webp)"), (BMFF + b"heic", "image (heic)"), (BMFF + b"isom", "video (mp4)"),
        (BMFF + b"M4A ", "sound (m4a)"), (BMFF + b"qt  ", "video (mov)"), (b"OggS" + bytes(24) + b"OpusHead", "sound (ogg)"),
        (b"ID3\4\0", "sound (mp3)"), (b"\xff\xfb\x90\0", "sound (mp3)"), (b"RIFF\0\0\0\0WAVEfmt ", "sound (wav)"),
        (b"RIFF\0\0\0\0AVI LIST", "video (avi)"), (b"\x1a\x45\xdf\xa3....webm", "video (webm)"), (b"\x1a\x45\xdf\xa3\0", "video (mkv)"),
        ((b"G" + bytes(187)) * 3, "video (ts)"), (b"%PDF-1.7\n%", "document (pdf)"), (b"{\\rtf1 x}", "document (rtf)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document (ole)"), (bz2.compress(b"x"), "archive (bz2)"), (b"PK\3\4 no end", "archive (zip)"),
        (b"\x7fELF\2\1\1\0", "data (elf)"), (b"SQLite format 3\0", "data (sqlite)"), (bytes(range(256)), "data"), (b"", "empty"),
        (b"plain words", "text (jpg)"), ("Grüße".encode("utf-16"), "text (jpg)"),
    ],
)  # fmt: skip
def test_the_kind_is_told_by_the_content_whatever_the_name_says(tmp_path: Path, content: bytes, kind: str) -> None:
    path = file(tmp_path, "lies.jpg", content)

    assert str(file_kind(path)) == kind


@pytest.mark.parametrize("words", ["caffeine", "ID3 tags", "BZh is how", "The ftyp box", "Various AIFF files", "In RIFF:WAVE", "BM 2026"])
def test_a_text_that_begins_like_something_else_is_a_text(tmp_path: Path, words: str) -> None:
    assert str(file_kind(file(tmp_path, "notes.md", words.encode()))) == "text (md)"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("word/document.xml", "document (docx)"), ("word/document2.xml", "document (docx)"), ("xl/workbook.xml", "document (xlsx)"),
        ("xl/workbook.bin", "document (xlsb)"), ("ppt/presentation.xml", "document (pptx)"), ("META-INF/container.xml", "document (epub)"),
        ("META-INF/manifest.xml", "document (odt)"), ("photo.png", "archive (zip)"),
    ],
)  # fmt: skip
def test_an_office_file_is_told_by_what_its_archive_holds(tmp_path: Path, name: str, kind: str) -> None:
    path = zipped(tmp_path / "x.bin", "[Content_Types].xml", name)

    assert str(file_kind(path)) == kind


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (png(640, 480), (640, 480)),
        (jpeg(4000, 3000), (4000, 3000)),
        (gif(320, 200), (320, 200)),
        (webp(b"VP8X", bytes(8) + (799).to_bytes(3, "little") + (599).to_bytes(3, "little")), (800, 600)),
        (webp(b"VP8L", bytes(4) + b"\x2f" + (799 | 599 << 14).to_bytes(4, "little")), (800, 600)),
        (webp(b"VP8 ", bytes(4) + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 800, 600)), (800, 600)),
        (png(640, 480)[:20], (None, None)),
        (jpeg(640, 480)[:20], (None, None)),
        (b"\xff\xd8\xff\xe0\0\0", (None, None)),
        (b"RIFF\0\0\0\0WEBP", (None, None)),
    ],
)
def test_a_picture_has_its_size_unless_it_is_cut_off_before(tmp_path: Path, content: bytes, size: tuple[int | None, int | None]) -> None:
    info = file_info(file(tmp_path, "picture", content))

    assert (info.kind, info.width, info.height) == ("image", *size)


@given(st.binary(max_size=300))
def test_any_bytes_have_a_kind(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = file(tmp_path_factory.getbasetemp(), "anything", content)

    info = file_info(path)

    assert info.size == len(content)
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    assert (info.encoding is not None) == (info.kind == "text")


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "encoding", "lines"),
    [
        (b"one\ntwo\n", "utf-8", 2),
        (b"one\r\ntwo", "utf-8", 2),
        (b"\n", "utf-8", 1),
        ("Grüße".encode("utf-8-sig"), "utf-8-sig", 1),
        ("Grüße\n".encode("utf-16"), "utf-16", 1),
        ("Grüße\nan alle\n".encode("utf-16-be"), "utf-16-be", 2),
        ("Привет, мир\n".encode("utf-16-le"), "utf-16-le", 1),
        ("Grüße\n".encode("utf-32"), "utf-32", 1),
        ("Grüße\n".encode("cp1252"), "cp1252", 1),
        (b"\x81 is nothing in cp1252", "latin-1", 1),
        (b"a" * 2_000_000 + "ü".encode("cp1252"), "cp1252", 1),
        (b"a" * 1_048_575 + "ü".encode(), "utf-8", 1),
    ],
    ids=range(12),
)
def test_a_text_has_an_encoding_and_lines(tmp_path: Path, content: bytes, encoding: str, lines: int) -> None:
    info = file_info(file(tmp_path, "notes.txt", content))

    assert (info.kind, info.format, info.encoding, info.lines) == ("text", "txt", encoding, lines)


@given(TEXTS)
def test_utf_8_is_always_recognised_and_read_back_wherever_it_is_cut(text: str) -> None:
    data = text.encode()

    for end in range(len(data) + 1):
        assert encodings.detect(data[:end]) == "utf-8"
        assert text.startswith(encodings.decode(data[:end], "utf-8") or "")


@given(st.text(st.sampled_from("abc xyz,.\nАБВабв你好"), min_size=1), st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_utf_16_without_a_mark_is_recognised_where_there_are_blanks(text: str, encoding: str) -> None:
    data = f"{text} \n".encode(encoding)

    assert encodings.detect(data) == encoding


@given(WESTERN)
def test_western_letters_are_read_whatever_wrote_them(text: str) -> None:
    for written in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"):
        data = text.encode(written)
        found = encodings.detect(data)
        assert found is not None
        if written != "cp1252" or found != "utf-8":  # by chance, bytes of the one may be valid in the other
            assert encodings.decode(data, found) == text


@given(st.binary(max_size=300))
def test_what_is_detected_can_be_decoded(data: bytes) -> None:
    encoding = encodings.detect(data)

    assert encoding is None or encodings.decode(data, encoding) is not None


# ── what is no readable file ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_missing_is_a_sentence_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(DuctorError, match=r"there is no such file. Look for it with `ductor tool list-files .*`"):
        file_info(tmp_path / "nothing")


def test_a_folder_is_no_file_and_a_file_is_no_folder(tmp_path: Path) -> None:
    path = file(tmp_path, "a b", b"x")

    with pytest.raises(DuctorError, match=r"a folder\. List it with"):
        file_info(tmp_path)
    with pytest.raises(DuctorError, match=r"a file, not a folder. Use `ductor tool file-info '.*a b'`"):
        list_files(path)
    with pytest.raises(DuctorError, match="no such file"):
        list_files(tmp_path / "nothing")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DuctorError, match="a pipe, socket or device"):
        file_info(tmp_path / "pipe")


def test_a_file_without_permission_is_a_sentence() -> None:
    sentence = str(refused(Path("secret"), PermissionError(13, "Permission denied")))  # root may read everything

    assert sentence.startswith("secret: not readable for this user or inside this sandbox. Ask for")


def test_a_name_that_is_too_long_or_a_loop_of_links_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    for path in (tmp_path / ("x" * 300), tmp_path / "loop"):
        with pytest.raises(DuctorError, match="Check the name"):
            file_info(path)


# ── listings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_newest_files_come_first_also_out_of_subfolders(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for age, name in enumerate(["new.txt", "sub/deep/middle.png", "old.csv"]):
        os.utime(file(tmp_path, name, b"text"), (1000 - age * 100, 1000 - age * 100))

    listing = list_files(tmp_path, limit=2, now=1060.0)

    assert [(entry.path, entry.age, entry.size) for entry in listing.files] == [("new.txt", 60, 4), ("sub/deep/middle.png", 160, 4)]
    assert (listing.total, listing.complete) == (3, True)


def test_links_are_named_and_lead_nowhere(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    file(outside, "secret.png", png(1, 1))
    (inside / "file").symlink_to(outside / "secret.png")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(".")
    (inside / "dead").symlink_to("nowhere")

    listing = list_files(inside)

    assert {(entry.path, entry.kind) for entry in listing.files} == {(name, "link") for name in ("file", "folder", "loop", "dead")}


def test_hidden_files_and_folders_of_programs_are_left_out(tmp_path: Path) -> None:
    for name in (".git/config", "node_modules/x.js", "__pycache__/x.pyc", ".hidden", "shown"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        file(tmp_path, name, b"x")

    assert [entry.path for entry in list_files(tmp_path).files] == ["shown"]


def test_a_pipe_in_a_folder_is_listed_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    (entry,) = list_files(tmp_path).files

    assert entry.kind == "no file"


def test_a_time_that_no_calendar_has_is_left_empty() -> None:
    assert [stamp(seconds) for seconds in (2.0**40, -(2.0**60), 2.0**70)] == ["", "", ""]


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks only have names in UTF-8")
def test_a_name_that_is_not_utf_8_is_a_name_like_others(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("x")

    assert file_info(path).kind == "text"
    assert [os.fsencode(entry.path) for entry in list_files(tmp_path).files] == [b"caf\xe9.txt"]


# ── sizes of pictures ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("format", "data", "size"),
    [
        ("png", png(30, 20), (30, 20)),
        ("jpeg", jpeg(300, 200), (300, 200)),
        ("webp", webp(b"VP8 ", bytes(7) + b"\x9d\x01\x2a" + struct.pack("<HH", 0x4000 | 30, 20)), (30, 20)),
        ("webp", webp(b"VP8L", bytes(4) + b"\x2f" + struct.pack("<I", 29 | 19 << 14) + bytes(8)), (30, 20)),
        ("webp", webp(b"VP8X", bytes(8) + bytes([29, 0, 0, 19, 0, 0])), (30, 20)),
    ],
)
def test_the_size_of_a_picture_that_is_cut_is_right_or_unknown(format: str, data: bytes, size: tuple[int, int]) -> None:
    assert kinds.image_size(io.BytesIO(data), format) == size
    assert {kinds.image_size(io.BytesIO(data[:end]), format) for end in range(len(data))} <= {None, size}


@given(st.sampled_from(["png", "jpeg", "gif", "webp"]), st.sampled_from([b"", b"\xff\xd8\xff", b"RIFF1234WEBPVP8X"]), st.binary())
def test_no_bytes_are_too_strange_for_a_picture(format: str, head: bytes, rest: bytes) -> None:
    kinds.image_size(io.BytesIO(head + rest), format)
