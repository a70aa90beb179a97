"""The demo's chat in a terminal: what is typed arrives as messages, what the bot says appears, grows and changes."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from ductor_lib.demo.render import clean, rows
from ductor_lib.demo.screen import Screen
from ductor_lib.demo.state import PERSON, Button, Change, Message
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.demo.typing_line import TypingLine

QUIET = 0.3  # seconds without a change that make an answer the whole answer
REST = 3.0  # seconds without a change after which a message is printed although the bot still works: it may be a question
PATIENCE = 120.0  # seconds to wait for the bot after the end of the input
HELP = """\
Type a message and press Enter: the bot gets it.
:1        press button [1] of the last message that has buttons
:Stop     press the last button whose label contains "Stop"
:help     show this
:quit     leave (so does the end of the input, Ctrl-D)"""

Items = queue.SimpleQueue[Change | bytes]


def converse(telegram: LoopbackTelegram, texts: Sequence[str], *, out: TextIO, settled: Callable[[], bool], timeout: float = 600.0) -> int:
    """Say each text once the one before it is answered, then print the conversation.

    A message is printed as it stood last, also one that a later answer has replaced.
    `settled` tells that the bot has no work left and nothing unsent. Returns 0 when each text was answered within
    `timeout` seconds, else 1, with the text named.
    """
    code = 0
    seen: dict[int, Message] = {}
    for text in texts:
        before = _said(telegram)
        telegram.say(text)
        if not _answered(telegram, before, settled, timeout):
            code = 1
        seen |= {message.id: message for message in telegram.messages(PERSON)}
        if code:
            break
    for _, message in sorted(seen.items()):
        out.write("\n".join(rows(message, 10_000, colour=False)) + "\n")
    if code:
        out.write(f"No answer to {clean(text)!r} within {timeout:g} seconds.\n")
    out.flush()
    return code


def interactive(telegram: LoopbackTelegram, *, stdin: TextIO, out: TextIO, settled: Callable[[], bool]) -> int:
    """Let a person chat until :quit, the end of the input or Ctrl-C. Returns the exit code.

    On a terminal messages change in place; elsewhere (also on Windows, and with TERM=dumb) each is printed when it has
    come to rest, and the end of the input waits for the last answer. NO_COLOR (no-color.org) keeps the colours away.
    """
    stopping = threading.Event()
    items: Items = queue.SimpleQueue()
    changes = telegram.changes(stopping)
    threads = [
        threading.Thread(target=_watch, args=(changes, items), name="terminal-view", daemon=True),
        threading.Thread(target=_read, args=(stdin, items, stopping), name="terminal-input", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        if sys.platform != "win32" and os.environ.get("TERM") != "dumb" and stdin.isatty() and out.isatty():
            with _keys(stdin):
                _on_screen(telegram, items, out)
        else:
            _line_by_line(telegram, items, out, settled)
    except KeyboardInterrupt:
        out.write("\n")
    finally:
        stopping.set()
        for thread in threads:
            thread.join(1)  # a line that is never finished must not hold up the end
    return 0


# what the bot has said


def _said(telegram: LoopbackTelegram) -> set[tuple[int, int]]:
    return {(message.id, message.edits) for message in telegram.messages(PERSON) if message.sender == "bot"}


def _answered(telegram: LoopbackTelegram, before: set[tuple[int, int]] | None, settled: Callable[[], bool], timeout: float) -> bool:
    """Wait until the bot has said something that was not there before, has nothing left to do, and keeps still.

    Without a `before` it need not say anything. False when it has not come to that after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        spoken = before is None or _said(telegram) - before
        if spoken and settled() and telegram.still(QUIET) and settled():
            return True
        telegram.still(0.05)
    return False


# the two ways to show it


def _on_screen(telegram: LoopbackTelegram, items: Items, out: TextIO) -> None:
    screen = Screen(out, lambda: os.get_terminal_size(out.fileno()), colour="NO_COLOR" not in os.environ)
    screen.note("A private chat with the bot. :help shows what can be typed, :quit leaves.")
    line = TypingLine()
    try:
        for item in _taken(items):
            if isinstance(item, Change):
                _draw(screen, item)
            elif item == b"":
                return
            elif item is not None:
                for text in line.feed(item):
                    answer = _act(telegram, text)
                    if answer is None:
                        return
                    if answer:
                        screen.note(answer)
                screen.typed(line.text)
                if line.ended:
                    return
    finally:
        screen.leave()


def _draw(screen: Screen, change: Change) -> None:
    if change.kind == "delete":
        screen.remove(change.message)
    elif change.kind != "press":
        screen.show(change.message)


def _line_by_line(telegram: LoopbackTelegram, items: Items, out: TextIO, settled: Callable[[], bool]) -> None:
    line = TypingLine()
    unprinted: dict[int, Message] = {}
    printed: set[int] = set()
    before: set[tuple[int, int]] | None = None
    since = time.monotonic()
    for item in _taken(items):
        if isinstance(item, Change):
            since = time.monotonic()
            _note(unprinted, item)
        elif item == b"":
            break
        elif item is not None:
            for text in line.feed(item):
                before = None if text.startswith(":") else _said(telegram)
                answer = _act(telegram, text)
                if answer is None:
                    return
                out.write(f"{answer}\n" if answer else "")
        if unprinted and (settled() or time.monotonic() - since > REST):
            _print(unprinted, printed, out)
    if line.text.strip():
        before = _said(telegram)
        _act(telegram, line.text)
    _answered(telegram, before, settled, PATIENCE)
    while (last := _next(items)) is not None:
        if isinstance(last, Change):
            _note(unprinted, last)
    _print(unprinted, printed, out)


def _note(unprinted: dict[int, Message], change: Change) -> None:
    if change.kind == "delete":
        unprinted.pop(change.message.id, None)
    elif change.kind != "press":
        unprinted[change.message.id] = change.message


def _print(unprinted: dict[int, Message], printed: set[int], out: TextIO) -> None:
    for message in unprinted.values():
        again = ["↻ edited"] if message.id in printed else []
        out.write("\n".join([*again, *rows(message, 10_000, colour=False)]) + "\n")
        printed.add(message.id)
    unprinted.clear()
    out.flush()


# what is typed


def _act(telegram: LoopbackTelegram, line: str) -> str | None:
    """Do what the line says; returns words for the person, None for leaving."""
    word = line.strip()
    if word in (":quit", ":q"):
        return None
    if word == ":help":
        return HELP
    if word.startswith(":") and len(word) > 1:
        return _press(telegram, word[1:].strip())
    if word:
        telegram.say(line)
    return ""


def _press(telegram: LoopbackTelegram, wanted: str) -> str:
    found = _button(telegram, wanted)
    if found is None:
        return f"There is no button {wanted!r} (:help)."
    message, button = found
    if "copy_text" in button:
        return button["copy_text"]["text"]
    if "url" in button:
        return button["url"]
    try:
        telegram.press(message.id, button["text"])
    except AssertionError:
        return "That button has just gone."
    return f"you pressed [{button['text']}]"


def _button(telegram: LoopbackTelegram, wanted: str) -> tuple[Message, Button] | None:
    """By its number in the last message that has buttons, or by its label in any."""
    messages = [message for message in reversed(telegram.messages(PERSON)) if message.buttons]
    if not messages:
        return None
    last = [button for row in messages[0].buttons for button in row]
    if wanted.isdecimal():
        return (messages[0], last[int(wanted) - 1]) if 0 < int(wanted) <= len(last) else None
    labelled = [(message, button) for message in messages for row in message.buttons for button in row]
    return next((pair for pair in labelled if wanted.lower() in pair[1]["text"].lower()), None)


# where it comes from


def _next(items: Items) -> Change | bytes | None:
    with contextlib.suppress(queue.Empty):
        return items.get(timeout=0.1)
    return None


def _taken(items: Items) -> Iterator[Change | bytes | None]:
    """Everything that comes, and None now and then while nothing does."""
    while True:
        yield _next(items)


def _watch(changes: Iterator[Change], items: Items) -> None:
    for change in changes:
        if change.message.chat == PERSON:
            items.put(change)


def _read(stdin: TextIO, items: Items, stopping: threading.Event) -> None:
    """Bytes as they come, b"" at the end. Not through the buffered reader: a thread in it may break the interpreter's end."""
    try:
        descriptor = stdin.fileno()
        if sys.platform == "win32":  # select knows only sockets there
            for text in stdin:
                items.put(text.encode())
        else:
            while not stopping.is_set():
                if select.select([descriptor], [], [], 0.1)[0]:
                    data = os.read(descriptor, 4096)
                    if not data:
                        break
                    items.put(data)
    except OSError:
        pass  # the terminal is gone
    items.put(b"")


@contextlib.contextmanager
def _keys(stdin: TextIO) -> Iterator[None]:
    """Single keys without echo, so that nothing but the screen writes; Ctrl-C stays a signal."""
    import termios
    import tty

    before = termios.tcgetattr(stdin.fileno())
    tty.setcbreak(stdin.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(stdin.fileno(), termios.TCSADRAIN, before)
