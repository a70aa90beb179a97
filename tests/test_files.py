"""Files of a reply reach the chat, or a line says why not; over real HTTP to the loopback Telegram."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.bot.client import Client
from ductor_lib.bot.delivery import AGAIN
from ductor_lib.bot.files import PHOTO_BYTES, TRIES, Shipment
from ductor_lib.bot.groups import Groups
from ductor_lib.bot.multipart import Multipart
from ductor_lib.bot.sender import Sender
from ductor_lib.demo.server import read
from ductor_lib.demo.state import Message
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Button, Chat, Reply
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.security import FileAccess
from ductor_lib.storage import JsonFile
from tests.fakes import Bot

HOME = Chat(42)
NO_GROUPS = Groups([], JsonFile(Path("no-such-state.json")))
SOON = 20.0  # seconds


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as telegram:
        telegram.add_group(-100, topics=[7])
        yield telegram


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def access(tmp_path: Path) -> FileAccess:
    """ductor's home is `.ductor` in the person's folder."""
    (tmp_path / ".ductor" / "workspace").mkdir(parents=True)
    return FileAccess("all", tmp_path / ".ductor", tmp_path / ".ductor" / "workspace", tmp_path, most=50_000_000)


@pytest.fixture
def sender(telegram: LoopbackTelegram, ledger: Ledger, access: FileAccess) -> Iterator[Sender]:
    sender = sender_for(telegram, ledger, access)
    sender.start()
    yield sender
    sender.stop()


def sender_for(telegram: LoopbackTelegram, ledger: Ledger, access: FileAccess, *, pause: float = 0.02) -> Sender:
    client = Client(telegram.token, telegram.url, patience=10.0)
    return Sender(client, ledger.outbox, NO_GROUPS, access, interval=0.05, max_failures=3, pause=pause)


def png(width: int = 3, height: int = 2) -> bytes:
    """A picture that any program can open."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + bytes(3 * width)) * height)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """The beginning of one, as a camera writes it."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + b"\xff\xe1" + struct.pack(">H", 5002) + bytes(5000) + b"\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame


def webp(kind: bytes, data: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def shown(telegram: LoopbackTelegram, chat: int = 42) -> list[str]:
    """What the chat shows: texts, and names of files."""
    return [said(message) for message in telegram.messages(chat) if message.sender == "bot"]


def said(message: Message) -> str:
    if "document" in message.rest:
        return f"[{message.rest['document']['file_name']}]{message.text}"
    return f"[photo]{message.text}" if "photo" in message.rest else message.text


def content(telegram: LoopbackTelegram, message: Message) -> bytes:
    address = f"{telegram.url}/bot{telegram.token}/getFile"
    path = requests.post(address, data={"file_id": message.rest["document"]["file_id"]}, timeout=5).json()["result"]["file_path"]
    return requests.get(f"{telegram.url}/file/bot{telegram.token}/{path}", timeout=5).content


def uploads(telegram: LoopbackTelegram) -> int:
    return sum(call.method in ("sendDocument", "sendPhoto") for call in telegram.calls)


# ── they arrive ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_follow_the_text_in_their_order_and_unchanged(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 5000 + b"\r\n--"
    (tmp_path / "a.bin").write_bytes(data)
    (tmp_path / "b.png").write_bytes(png())

    ledger.say([Reply(HOME, "Here they are.", files=(str(tmp_path / "a.bin"), str(tmp_path / "b.png"))), Reply(HOME, "That was it.")])

    assert sender.flush(SOON)
    assert shown(telegram) == ["Here they are.", "[a.bin]", "[photo]", "That was it."]
    assert content(telegram, telegram.messages()[1]) == data
    assert ledger.outbox.unsent() == []


def test_a_file_goes_to_its_topic_and_is_as_silent_as_its_reply(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("x")

    ledger.say([Reply(Chat(-100, 7), "", files=(str(tmp_path / "a.txt"),), silent=True)])

    assert sender.flush(SOON)
    assert (telegram.last(-100).topic, telegram.last(-100).silent) == (7, True)


@pytest.mark.parametrize("name", ["b ü 漢.txt", 'q"u\\ote.txt', "a*b_c`d[e].md", "x" * 200 + ".txt", "-", "a;b=c.txt"])
def test_a_name_arrives_as_it_is(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")

    ledger.say([Reply(HOME, "", files=(str(tmp_path / name),))])

    assert sender.flush(SOON)
    arrived = telegram.last().rest["document"]["file_name"].replace("%22", '"')
    assert arrived == name or (len(name) > 120 and arrived == f"{'x' * 60}…{'x' * 55}.txt")


@pytest.mark.parametrize("name", ["a\nb.txt", "a\x1b[31m\r.txt", os.fsdecode(b"\xff\xfe.txt"), "a\u202etxt.exe"])
def test_a_name_that_could_not_be_shown_is_cleaned(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("x")

    ledger.say([Reply(HOME, "", files=(str(tmp_path / name),))])

    assert sender.flush(SOON)
    assert not set(telegram.last().rest["document"]["file_name"]) & set("\n\r\x1b\u202e\udcff")


def test_the_buttons_stay_under_the_text(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")

    ledger.say([Reply(HOME, "Yes?", ((Button("Yes", "Yes"),),), files=(str(tmp_path / "a.txt"),))])

    assert sender.flush(SOON)
    assert [bool(message.buttons) for message in telegram.messages()] == [True, False]


def test_the_text_of_a_slot_can_be_changed_later_although_a_file_came_with_it(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("x")

    ledger.say([Reply(HOME, "one", slot="card", files=(str(tmp_path / "a.txt"),)), Reply(HOME, "two\n\n" + "long " * 1000, slot="card")])

    assert sender.flush(SOON)
    texts = shown(telegram)
    assert texts[0].startswith("two")
    assert texts[1] == "[a.txt]"


def test_a_preview_is_taken_away_before_the_upload_and_not_after_it(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("x")
    ledger.say([Reply(HOME, "preview", slot="turn:1")])
    assert sender.flush(SOON)
    telegram.fail("sendDocument", hang=60)

    ledger.say([Reply(HOME, "", slot="turn:1", closing=True, files=(str(tmp_path / "a.txt"),))])

    telegram.wait(lambda _: uploads(telegram))
    assert shown(telegram) == []


def test_an_upload_holds_up_only_its_own_chat(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    for chat in range(1, 8):
        telegram.add_group(-chat)
    telegram.fail("sendDocument", hang=60, times=6)

    ledger.say([Reply(Chat(-chat), "text", files=(str(tmp_path / "a.txt"),)) for chat in range(1, 7)])
    ledger.say([Reply(Chat(-1), "behind the file"), Reply(Chat(-7), "elsewhere")])

    telegram.wait(lambda _: uploads(telegram) == 2 and shown(telegram, -7))
    assert [shown(telegram, -chat) for chat in range(1, 8)] == [["text"]] * 6 + [["elsewhere"]]


# ── photo or document ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.png", png(), "[photo]"),
        ("a.JPG", jpeg(4000, 3000), "[photo]"),
        ("a.webp", webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")), "[photo]"),
        ("wide.png", png(2001, 100), "[wide.png]"),
        ("huge.jpg", jpeg(8000, 2001), "[huge.jpg]"),
        ("text.png", b"not a picture", "[text.png]"),
        ("cut.jpg", jpeg(30, 20)[:3000], "[cut.jpg]"),
        ("large.png", png() + bytes(PHOTO_BYTES), "[large.png]"),
        ("picture.bin", png(), "[picture.bin]"),
        ("a.gif", b"GIF89a" + bytes(20), "[a.gif]"),
    ],
)
def test_a_picture_goes_as_a_photo_when_telegram_can_show_it(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(data)

    ledger.say([Reply(HOME, "", files=(str(tmp_path / name),))])

    assert sender.flush(SOON)
    assert shown(telegram) == [expected]
    assert uploads(telegram) == 1


def test_a_photo_that_telegram_refuses_goes_as_a_document(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png())
    telegram.fail("sendPhoto", status=400, body={"ok": False, "error_code": 400, "description": "Bad Request: PHOTO_SAVE_FILE_INVALID"})

    ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.png"),))])

    assert sender.flush(SOON)
    assert shown(telegram) == ["[a.png]"]
    assert content(telegram, telegram.last()) == png()


# ── what cannot be sent ─────────────────────────────────────────────────────────────────────────────────────────────


def missing(folder: Path) -> Path:
    return folder / "gone.txt"


def a_folder(folder: Path) -> Path:
    (folder / "things").mkdir()
    return folder / "things"


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def empty(folder: Path) -> Path:
    (folder / "empty.txt").touch()
    return folder / "empty.txt"


def too_large(folder: Path) -> Path:
    with (folder / "large.iso").open("wb") as file:
        file.truncate(50_000_001)
    return folder / "large.iso"


def a_secret(folder: Path) -> Path:
    (folder / ".ductor" / "ledger.db").write_text("x")
    return folder / ".ductor" / "ledger.db"


def a_link_to_a_secret(folder: Path) -> Path:
    link = folder / ".ductor" / "workspace" / "harmless.txt"
    link.symlink_to(a_secret(folder))
    return link


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, "there is no such file"),
        (a_folder, "it is a folder"),
        (a_pipe, "not an ordinary file"),
        (empty, "it is empty"),
        (too_large, "it has 50.0 MB, and Telegram takes at most 50 MB"),
        (a_secret, "belongs to ductor itself"),
        (a_link_to_a_secret, "belongs to ductor itself"),
        (lambda _: Path("/dev/zero"), "not an ordinary file"),
        (lambda _: Path("relative.txt"), "its path is not absolute"),
        (lambda _: Path("/x\0y"), "cannot be opened"),
        (lambda folder: folder / ("n" * 300), "cannot be opened (File name too long)"),
    ],
)
def test_what_cannot_be_sent_is_named_in_one_line_and_the_next_file_follows(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path)
    (tmp_path / "good.txt").write_text("x")

    ledger.say([Reply(HOME, "Look:", files=(str(path), str(tmp_path / "good.txt")))])

    assert sender.flush(SOON)
    text, line, good = shown(telegram)
    assert (text, good) == ("Look:", "[good.txt]")
    assert line.startswith("📎 ")
    assert words in line
    assert str(tmp_path) not in line
    assert "\n" not in line


def test_a_name_in_a_line_is_plain(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender) -> None:
    ledger.say([Reply(HOME, "", files=("/nowhere/*a*_b_`c`[d](e).json",))])

    assert sender.flush(SOON)
    assert telegram.last().text.startswith("📎 *a*_b_`c`[d](e).json was not sent: ")
    assert telegram.last().entities == ()


@pytest.mark.parametrize("description", ["Request Entity Too Large", "Bad Request: file is too big"])
def test_a_file_that_telegram_finds_too_large_is_told(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path, description: str
) -> None:
    (tmp_path / "a.bin").write_text("x")
    code = 413 if "Entity" in description else 400
    telegram.fail("sendDocument", status=code, body={"ok": False, "error_code": code, "description": description})

    ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.bin"),))])

    assert sender.flush(SOON)
    assert "Telegram says that it is too large" in telegram.last().text


# ── a bad connection ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [True, False], ids=["arrived", "lost"])
def test_a_file_whose_first_try_is_doubtful_is_sent_again_once_with_a_mark(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path, after: bool
) -> None:
    (tmp_path / "a.txt").write_text("x")
    telegram.fail("sendDocument", drop=True, after=after)

    ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.txt"),)), Reply(HOME, "next")])

    assert sender.flush(SOON)
    assert shown(telegram) == ["[a.txt]"] * after + [f"[a.txt]{AGAIN}", "next"]


def test_a_pause_that_telegram_wants_leaves_no_mark(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    telegram.fail("sendDocument", retry_after=0)

    ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.txt"),))])

    assert sender.flush(SOON)
    assert shown(telegram) == ["[a.txt]"]


def test_an_upload_that_always_fails_does_not_hold_up_the_chat_for_ever(
    telegram: LoopbackTelegram, ledger: Ledger, access: FileAccess, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("x")
    telegram.fail("sendDocument", status=502, times=TRIES)
    sender = sender_for(telegram, ledger, access, pause=0.0005)
    sender.start()

    ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.txt"),)), Reply(HOME, "next")])

    assert sender.flush(SOON)
    line, following = shown(telegram)
    assert f"the upload failed {TRIES} times" in line
    assert following == "next"
    sender.stop()


def test_what_arrived_before_the_end_is_not_sent_again_and_what_may_have_is_marked(
    telegram: LoopbackTelegram, ledger: Ledger, access: FileAccess, tmp_path: Path
) -> None:
    files = tuple(str(tmp_path / f"{n}.txt") for n in range(3))
    for path in files:
        Path(path).write_text("x")
    ledger.say([Reply(HOME, "text", slot="turn:1", closing=True, files=files)])
    row = ledger.outbox.unsent()[0].id
    ledger.outbox.delivered(row, 2, [])  # the text and the first file
    ledger.outbox.claim(row, 2)  # the second was under way when the program died

    sender = sender_for(telegram, ledger, access)
    sender.start()

    assert sender.flush(SOON)
    assert shown(telegram) == [f"[1.txt]{AGAIN}", "[2.txt]"]
    sender.stop()


def test_a_lost_topic_and_an_upgraded_group_do_not_lose_a_file(
    telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("x")
    telegram.add_group(-1009)
    telegram.fail("sendDocument", status=400, body={
        "ok": False, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": -1009},
    })

    ledger.say([Reply(Chat(-100, 8), "", files=(str(tmp_path / "a.txt"),)), Reply(Chat(-100), "", files=(str(tmp_path / "a.txt"),))])

    assert sender.flush(SOON)
    assert (shown(telegram, -1009), shown(telegram, -100)) == (["[a.txt]"], ["[a.txt]"])


def test_a_chat_that_is_gone_ends_the_reply(telegram: LoopbackTelegram, ledger: Ledger, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    telegram.fail("sendDocument", status=403)

    ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.txt"),)), Reply(HOME, "next")])

    assert sender.flush(SOON)
    assert shown(telegram) == ["next"]


# ── the body ────────────────────────────────────────────────────────────────────────────────────────────────────────

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(form=st.dictionaries(st.sampled_from(["chat_id", "caption", "x"]), TEXT), name=TEXT.filter(lambda n: '"' not in n), data=st.binary())
def test_any_form_and_file_are_read_as_they_were_meant(
    tmp_path_factory: pytest.TempPathFactory, form: dict[str, str], name: str, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "data"
    path.write_bytes(data)

    with path.open("rb") as file:
        body = Multipart(form, "document", name, file)
        sent = b"".join(body)

    params = read("", sent, body.content_type)
    assert len(sent) == len(body)
    assert {key: params.text(key) for key in form} == form
    assert (params.uploads["document"].name, params.uploads["document"].data) == (name, data)


def test_what_a_file_gains_while_it_is_sent_stays_behind_and_what_it_loses_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "growing.log"
    path.write_bytes(bytes(200_000))

    with path.open("rb") as file:
        body = Multipart({}, "document", "growing.log", file)
        with path.open("ab") as more:
            more.write(b"late")
        assert sum(map(len, body)) == len(body)
    with path.open("rb") as file:
        body = Multipart({}, "document", "growing.log", file)
        os.truncate(path, 100)
        with pytest.raises(OSError, match="shorter"):
            b"".join(body)


def test_a_large_file_is_never_in_memory_as_a_whole(telegram: LoopbackTelegram, access: FileAccess, tmp_path: Path) -> None:
    pieces = []
    with (tmp_path / "large.bin").open("w+b") as file:
        file.truncate(20_000_000)
        pieces = [len(piece) for piece in Multipart({}, "document", "large.bin", file)]
    client = Client(telegram.token, telegram.url, patience=10.0)

    Shipment(str(tmp_path / "large.bin"), access).send(client, HOME)

    assert max(pieces) < 1_000_000
    assert telegram.last().rest["document"]["file_size"] == 20_000_000


def test_a_server_that_ends_the_connection_in_the_middle_is_no_crash(
    ledger: Ledger, access: FileAccess, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(5_000_000))
    with LoopbackTelegram() as telegram:
        telegram.fail("sendDocument", status=413, body="<html>too large</html>")
        sender = sender_for(telegram, ledger, access)
        sender.start()

        ledger.say([Reply(HOME, "", files=(str(tmp_path / "a.bin"),))])

        assert sender.flush(SOON)
        assert "too large" in telegram.last().text
        sender.stop()


def test_no_thread_of_an_upload_is_left_behind(telegram: LoopbackTelegram, ledger: Ledger, access: FileAccess) -> None:
    sender = sender_for(telegram, ledger, access)
    sender.start()

    sender.stop()

    for thread in threading.enumerate():
        if thread.name.startswith("uploader-"):
            thread.join(SOON)
            assert not thread.is_alive()


# ── the whole bot ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_hands_over_a_file_and_buttons_that_say_something(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("all is well")
    with Bot(tmp_path) as bot:
        bot.say(f"<file:{tmp_path}/report.txt>\n\n[button:Tell me more]")  # the scripted agent repeats what it hears
        answer = bot.wait_for("You wrote:")

        bot.telegram.press(answer.id, "Tell me more")
        bot.wait_for("You wrote:\n\nTell me more")
        bot.settle()

        assert "<file:" not in answer.text
        assert "[button:" not in answer.text
        assert "[report.txt]" in shown(bot.telegram)
        assert bot.prompts()[1] == "Tell me more"


def test_the_agent_cannot_send_the_settings(tmp_path: Path) -> None:
    with Bot(tmp_path) as bot:
        bot.say(f"<file:{bot.paths.ledger}>")
        bot.wait_for("📎 ledger.db was not sent: it belongs to ductor itself")

        assert uploads(bot.telegram) == 0
