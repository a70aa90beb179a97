"""The demo's chat in a terminal: what is typed, what is seen, and when it is over."""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import select
import struct
import termios
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.demo.entities import Entity
from ductor_lib.demo.render import rows, tail
from ductor_lib.demo.state import Message
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.demo.terminal import converse, interactive
from ductor_lib.demo.typing_line import TypingLine
from tests.test_demo_telegram import Bot, keyboard


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as running:
        yield running


@pytest.fixture
def bot(telegram: LoopbackTelegram) -> Iterator[Bot]:
    bot = Bot(telegram)
    with bot.session:
        yield bot


def said(text: str, *entities: Entity, sender: str = "bot") -> Message:
    return Message(id=1, chat=42, topic=None, sender="bot" if sender == "bot" else "user", text=text, entities=entities)


# rows


def test_a_message_is_wrapped_at_spaces_under_its_sender() -> None:
    assert rows(said("one two three\n\nfour", sender="user"), 20, colour=False) == ["you > one two three", "", "      four"]
    assert rows(said("aaaa bbbb cccc dddd"), 20, colour=False) == ["bot > aaaa bbbb", "      cccc dddd"]


def test_wide_letters_and_emoji_count_two_columns() -> None:
    assert rows(said("漢字漢字漢字漢字"), 20, colour=False) == ["bot > 漢字漢字漢字漢", "      字"]
    assert tail("ab👍🏽漢", 4) == "🏽漢"
    assert rows(said("👨\u200d💻" * 8), 20, colour=False) == ["bot > " + "👨\u200d💻" * 7, "      👨\u200d💻"]


def test_control_characters_never_reach_the_terminal() -> None:
    shown = "".join(rows(said("a\x1b[2Jb\x07c\x9bd\u202ee\x7f"), 80, colour=True))

    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == "bot > a[2Jbcde"


def test_formatting_is_shown_by_styles_and_links_by_their_address() -> None:
    bold, link = Entity(type="bold", offset=3, length=1), Entity(type="text_link", offset=5, length=1, url="https://a.org/")

    assert rows(said("👍 b l", bold, link), 80, colour=False) == ["bot > 👍 b l (https://a.org/)"]
    assert "👍 \x1b[1mb\x1b[0m \x1b[4ml\x1b[0m" in rows(said("👍 b l", bold, link), 80, colour=True)[0]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"document": {"file_name": "a\x1b[2J.pdf", "file_size": 12_345}}, "📎 [a[2J.pdf, 12.3 kB]"),
        ({"document": {"file_name": "b.zip", "file_size": 999}}, "📎 [b.zip, 999 bytes]"),
        ({"photo": [{"file_size": 5}, {"file_size": 2_000_000}]}, "📎 [photo, 2.0 MB]"),
        ({"voice": {}}, "📎 [voice]"),
        ({"photo": []}, "📎 [photo]"),
    ],
)
def test_a_file_is_shown_by_name_and_size(sent: dict[str, object], shown: str) -> None:
    message = Message(id=1, chat=42, topic=None, sender="bot", text="", rest=sent)

    assert rows(message, 80, colour=False) == [f"bot > {shown}"]


def test_buttons_are_listed_with_their_numbers() -> None:
    message = Message(id=1, chat=42, topic=None, sender="bot", text="Run it?", buttons=(
        ({"text": "Allow once", "callback_data": "a"}, {"text": "Deny", "callback_data": "b"}), ({"text": "Stop", "callback_data": "c"},),
    ))

    assert rows(message, 80, colour=False) == ["bot > Run it?", "      [1] Allow once  [2] Deny", "      [3] Stop"]
    assert rows(message, 26, colour=False)[1:] == ["      [1] Allow once", "      [2] Deny", "      [3] Stop"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.integers(20, 40), st.booleans())
def test_no_row_is_wider_than_the_terminal(text: str, width: int, colour: bool) -> None:
    for row in rows(said(text, Entity(type="bold", offset=0, length=3)), width, colour=colour):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", row)
        assert sum(2 if unicodedata.east_asian_width(char) in "WF" else unicodedata.category(char) not in ("Mn", "Me", "Cf")
                   for char in plain) <= width
        assert not any(unicodedata.category(char) == "Cc" for char in plain)


# the line being typed


@pytest.mark.parametrize(
    ("typed", "lines", "left"),
    [
        (b"one\rtwo\nthr", ["one", "two"], "thr"),
        ("hé".encode() + b"\x7f\x7fx\n", ["x"], ""),
        (b"one two \x17", [], "one "),
        (b"one\x15two", [], "two"),
        (b"a\x1b[D\x1b[1;5Cb\x1bOP\x07\t", [], "ab "),
        (b"a\r\nb", ["a"], "b"),
    ],
)
def test_keys_edit_the_line(typed: bytes, lines: list[str], left: str) -> None:
    whole, piecewise = TypingLine(), TypingLine()

    assert (whole.feed(typed), whole.text) == (lines, left)
    if b"\r\n" not in typed:
        pieces = [line for byte in typed for line in piecewise.feed(bytes([byte]))]
        assert (pieces, piecewise.text) == (lines, left)


def test_ctrl_d_ends_the_input_only_in_an_empty_line() -> None:
    line = TypingLine()

    line.feed(b"x\x04")
    assert not line.ended
    line.feed(b"\x7f\x04")
    assert line.ended


# said on the command line


class Answering:
    """A bot with a thread: answers each message first with a preview, then with the answer. `busy` while it works."""

    def __init__(self, telegram: LoopbackTelegram, *, words: Callable[[str], list[str]], replaces: bool = False) -> None:
        self._bot = Bot(telegram)
        self._replaces = replaces  # whether each answer takes the place of the one before
        self._last: dict[str, int] = {}
        self._words = words
        self._stopping = threading.Event()
        self.busy = False
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._bot.telegram.push({"ending": True})
        self._thread.join(10)
        self._bot.session.close()

    def settled(self) -> bool:
        return not self.busy

    def _run(self) -> None:
        offset = 0
        while not self._stopping.is_set():
            for update in self._bot.call("getUpdates", offset=offset, timeout=20):
                offset = update["update_id"] + 1
                if "message" in update:
                    self._answer(update["message"]["text"])

    def _answer(self, text: str) -> None:
        self.busy = True
        sent: dict[str, int] = {}
        for words in self._words(text):
            if sent:
                self._bot.call("editMessageText", chat_id=42, text=words, **sent)
            else:
                sent = {"message_id": self._bot.call("sendMessage", chat_id=42, text=words, reply_markup=keyboard("Stop"))["message_id"]}
            self._stopping.wait(0.05)
        if self._replaces and self._last:
            self._bot.call("deleteMessage", chat_id=42, **self._last)
        self._last = sent
        self.busy = False


def test_each_text_is_answered_before_the_next_is_said(telegram: LoopbackTelegram) -> None:
    out = io.StringIO()

    with Answering(telegram, words=lambda text: ["…", f"{text}?", f"{text}!"]) as answering:
        code = converse(telegram, ["one", "two"], out=out, settled=answering.settled, timeout=20)

    assert code == 0
    assert out.getvalue() == "you > one\nbot > one!\nyou > two\nbot > two!\n"


def test_an_answer_that_a_later_one_replaces_is_printed_too(telegram: LoopbackTelegram) -> None:
    out = io.StringIO()

    with Answering(telegram, words=lambda text: [text.upper()], replaces=True) as answering:
        converse(telegram, ["one", "two"], out=out, settled=answering.settled, timeout=20)

    assert [message.text for message in telegram.messages()] == ["one", "two", "TWO"]
    assert [line for line in out.getvalue().splitlines() if "Stop" not in line] == ["you > one", "bot > ONE", "you > two", "bot > TWO"]


def test_a_text_without_an_answer_is_named_and_fails(telegram: LoopbackTelegram) -> None:
    out = io.StringIO()

    code = converse(telegram, ["hello?", "never said"], out=out, settled=lambda: True, timeout=0.2)

    assert code == 1
    assert out.getvalue() == "you > hello?\nNo answer to 'hello?' within 0.2 seconds.\n"


def test_a_bot_that_still_works_has_not_answered(telegram: LoopbackTelegram, bot: Bot) -> None:
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(converse, telegram, ["x"], out=io.StringIO(), settled=lambda: False, timeout=0.5)
        telegram.wait(lambda t: t.messages())
        bot.call("sendMessage", chat_id=42, text="working")

        assert code.result(10) == 1


# piped


@contextmanager
def piped(typed: bytes) -> Iterator[io.TextIOWrapper]:
    reading, writing = os.pipe()
    os.write(writing, typed)
    os.close(writing)
    with open(reading) as stdin:
        yield stdin


def test_piped_lines_are_answered_before_the_end(telegram: LoopbackTelegram) -> None:
    out = io.StringIO()

    with piped(b":help\none\n\ntwo") as stdin, Answering(telegram, words=lambda text: ["…", f"{text}!"]) as answering:
        code = interactive(telegram, stdin=stdin, out=out, settled=answering.settled)

    assert code == 0
    assert "press button [1]" in out.getvalue()
    conversation = out.getvalue()[out.getvalue().index("you > one"):]
    assert {"you > one", "bot > one!", "you > two", "bot > two!"} <= set(conversation.splitlines())
    assert [message.text for message in telegram.messages()] == ["one", "one!", "two", "two!"] or conversation.count("you >") == 2


def test_quit_leaves_at_once(telegram: LoopbackTelegram) -> None:
    with piped(b":quit\nnever said\n") as stdin:
        code = interactive(telegram, stdin=stdin, out=io.StringIO(), settled=lambda: False)

    assert code == 0
    assert telegram.messages() == []


# on a terminal


class Terminal:
    """A pseudo-terminal and what a person would see on it: understands the few moves that are used here."""

    def __init__(self, lines: int, columns: int) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(lines, columns)
        self.stdin = os.fdopen(self._slave, closefd=False)
        self.out = os.fdopen(self._slave, "w", closefd=False)
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._unread = ""
        self._screen = [""]
        self._row = self._column = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()
        self.out.close()
        os.close(self.master)
        os.close(self._slave)

    def resize(self, lines: int, columns: int) -> None:
        self.lines, self.columns = lines, columns
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    @property
    def shown(self) -> list[str]:
        """Everything on the screen and above it."""
        return [row.rstrip() for row in self._screen]

    def until(self, predicate: Callable[[list[str]], object]) -> list[str]:
        """Read until the predicate holds for what is shown."""
        deadline = time.monotonic() + 10
        while not predicate(self.shown):
            if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError("not seen:\n" + "\n".join(self.shown))
            self._take(self._decoder.decode(os.read(self.master, 65536)))
        return self.shown

    def _take(self, text: str) -> None:
        self.seen += text
        text = self._unread + text
        unfinished = re.search(r"\x1b(\[[0-9;]*)?$", text)
        self._unread = unfinished.group() if unfinished else ""
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text.removesuffix(self._unread)):
            if part == "\r":
                self._column = 0
            elif part == "\n":
                self._row += 1
                self._screen += [""] * (self._row + 1 - len(self._screen))
            elif part.startswith("\x1b") and part.endswith("A"):
                self._row -= int(part[2:-1])
                assert self._row >= max(0, len(self._screen) - self.lines), "the cursor cannot leave the screen"
            elif part.startswith("\x1b") and part[-1] in "JK":
                self._screen[self._row] = self._screen[self._row][:self._column]
                self._screen = self._screen[:self._row + 1] if part[-1] == "J" else self._screen
            elif not part.startswith("\x1b"):
                row = self._screen[self._row]
                self._screen[self._row] = row[:self._column].ljust(self._column) + part + row[self._column + len(part):]
                self._column += len(part)


@contextmanager
def on_terminal(telegram: LoopbackTelegram, *, lines: int = 24, columns: int = 60) -> Iterator[tuple[Terminal, Future[int]]]:
    with ExitStack() as stack:
        terminal = stack.enter_context(Terminal(lines, columns))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        code = pool.submit(interactive, telegram, stdin=terminal.stdin, out=terminal.out, settled=lambda: True)
        terminal.until(lambda shown: shown[-1] == "you >" and "leaves." in shown[-2:][0])
        try:
            yield terminal, code
        finally:
            if not code.done():
                terminal.type("\x15:quit\r")
            assert code.result(10) == 0


def test_an_answer_grows_in_place_above_the_line_being_typed(telegram: LoopbackTelegram, bot: Bot) -> None:
    with on_terminal(telegram) as (terminal, _):
        terminal.type("hello\r")
        terminal.until(lambda shown: shown[-2:] == ["you > hello", "you >"])
        terminal.type("next qu")
        bot.call("sendMessage", chat_id=42, text="Hi", reply_markup=keyboard("Stop"))
        bot.call("editMessageText", chat_id=42, message_id=2, text="Hi there,\nyou", reply_markup=keyboard("Stop"))
        bot.call("editMessageText", chat_id=42, message_id=2, text="Hi there,\nyou all 👍")

        shown = terminal.until(lambda shown: "all" in shown[-2])

    assert shown[-4:] == ["you > hello", "bot > Hi there,", "      you all 👍", "you > next qu"]


def test_buttons_are_pressed_by_number_or_label(telegram: LoopbackTelegram, bot: Bot) -> None:
    with on_terminal(telegram) as (terminal, _):
        bot.call("sendMessage", chat_id=42, text="Run it?", reply_markup=keyboard("Allow", "Deny"))
        terminal.until(lambda shown: "[1] Allow  [2] Deny" in shown[-2])

        terminal.type(":2\r:allow\r:Nothing\r")

        terminal.until(lambda shown: "no button 'Nothing'" in shown[-2])
        assert terminal.shown[-4:-2] == ["you pressed [Deny]", "you pressed [Allow]"]
    assert [update["callback_query"]["data"] for update in bot.call("getUpdates")] == ["/Deny", "/Allow"]


def test_a_deleted_message_goes_and_an_older_one_changes_where_it_stands(telegram: LoopbackTelegram, bot: Bot) -> None:
    with on_terminal(telegram) as (terminal, _):
        for text in ("first", "preview", "last"):
            bot.call("sendMessage", chat_id=42, text=text)
        bot.call("deleteMessage", chat_id=42, message_id=2)
        bot.call("editMessageText", chat_id=42, message_id=1, text="first, longer")

        shown = terminal.until(lambda shown: "bot > first, longer" in shown)

    assert shown[-3:] == ["bot > first, longer", "bot > last", "you >"]


def test_what_has_scrolled_away_comes_again_marked(telegram: LoopbackTelegram, bot: Bot) -> None:
    with on_terminal(telegram, lines=8) as (terminal, _):
        bot.call("sendMessage", chat_id=42, text="far up")
        bot.call("sendMessage", chat_id=42, text="\n".join("123456789"))
        bot.call("editMessageText", chat_id=42, message_id=1, text="changed")
        bot.call("editMessageText", chat_id=42, message_id=1, text="changed again")

        shown = terminal.until(lambda shown: "bot > changed again" in shown)

    assert "bot > far up" in shown
    assert shown[-3:] == ["↻ edited", "bot > changed again", "you >"]


def test_an_answer_longer_than_the_screen_still_grows_at_its_end(telegram: LoopbackTelegram, bot: Bot) -> None:
    lines = [f"line {number}" for number in range(30)]
    with on_terminal(telegram, lines=10) as (terminal, _):
        bot.call("sendMessage", chat_id=42, text=lines[0])
        for count in range(2, 31):
            bot.call("editMessageText", chat_id=42, message_id=1, text="\n".join(lines[:count]))

        shown = terminal.until(lambda shown: "line 29" in shown[-2])

    assert [row[6:] for row in shown[-31:-1]] == lines
    assert "↻ edited" not in shown


def test_a_resized_window_is_drawn_anew(telegram: LoopbackTelegram, bot: Bot) -> None:
    with on_terminal(telegram, columns=60) as (terminal, _):
        bot.call("sendMessage", chat_id=42, text="one two three four five six seven")
        terminal.until(lambda shown: "seven" in shown[-2])

        terminal.resize(24, 26)
        bot.call("editMessageText", chat_id=42, message_id=1, text="one two three four five six seven eight")
        shown = terminal.until(lambda shown: "eight" in shown[-2])

    assert shown[-4:] == ["bot > one two three four", "      five six seven", "      eight", "you >"]
    assert shown[-5] == "↻ edited"


def test_no_color_keeps_the_styles_away(telegram: LoopbackTelegram, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    bold = [{"type": "bold", "offset": 0, "length": 4}]
    with on_terminal(telegram) as (terminal, _):
        bot.call("sendMessage", chat_id=42, text="bold", entities=bold)
        terminal.until(lambda shown: "bot > bold" in shown)
        assert "\x1b[1mbold" in terminal.seen

    monkeypatch.setenv("NO_COLOR", "1")
    with on_terminal(telegram) as (terminal, _):
        bot.call("sendMessage", chat_id=42, text="bold", entities=bold)
        terminal.until(lambda shown: "bot > bold" in shown)
        assert not re.search(r"\x1b\[[0-9;]*m", terminal.seen)


def test_ctrl_d_leaves_and_gives_the_terminal_back(telegram: LoopbackTelegram) -> None:
    with on_terminal(telegram) as (terminal, code):
        before = termios.tcgetattr(terminal.master)[3] & termios.ECHO
        terminal.type("\x04")

        assert code.result(10) == 0
        assert (before, termios.tcgetattr(terminal.master)[3] & termios.ECHO) == (0, termios.ECHO)
