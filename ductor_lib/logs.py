"""Log records go to the console and to one rotating file through one queue; no token or key leaves this module readable."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, TextIO
from urllib.parse import quote

Op = Literal["msg", "cb", "cron", "hb", "wh"]

FILE_BYTES = 5_000_000
OLD_FILES = 3
QUEUED_RECORDS = 10_000  # when full, who logs waits: a record is never dropped
LAST_SECONDS = 5.0  # for what is queued at the end; a console that nobody reads (paused terminal) must not hold the exit
SHORTEST_SECRET = 6  # characters; shorter ones would hide ordinary words
FORMAT = "%(asctime)s %(levelname)-7s %(threadName)s: %(context)s%(message)s"
NOISY = ("urllib3", "requests", "telebot", "TeleBot", "schedule", "markdown_it")
HIDDEN = "[hidden]"
SHAPES = re.compile(
    r"(?<!\d)\d{5,}(?::|%3[Aa])[A-Za-z0-9_-]{30,}"  # a bot's token; its colon is quoted in some URLs
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # API keys: sk-ant-..., sk-proj-..., sk-...
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}"
)
HEADERS = re.compile(
    r"(?i)(\bbearer\s+|(?:api[_-]?key|authorization)[\"']*\s*[:=]\s*[\"']?(?:bearer\s+)?)(?!\[hidden)[^\s\"',;&]{8,}"
)

log = logging.getLogger(__name__)
_context: ContextVar[str] = ContextVar("context", default="")


@contextmanager
def context(op: Op, chat: int | str, session: str = "") -> Iterator[None]:
    """Mark every record of this thread, while the block runs, with `[op:chat:session]`; 8 characters of the session are enough."""
    token = _context.set("[" + ":".join(filter(None, (op, str(chat), session[:8]))) + "] ")
    try:
        yield
    finally:
        _context.reset(token)


def redact(text: str) -> str:
    """The text with everything hidden that has the shape of a bot token or an API key. Any thread."""
    return HEADERS.sub(rf"\1{HIDDEN}", SHAPES.sub(HIDDEN, text))


def setup(
    log_path: Path, *, level: str, verbose: bool, secrets: Sequence[str], console: TextIO | Literal["stderr"] | None = "stderr"
) -> Logging:
    """Send every record of the process from `level` on to `log_path` and `console`; `verbose` means from DEBUG on.

    `console` is "stderr", another stream, or None for a program that needs the terminal for itself.
    `secrets` are hidden wherever they stand, besides what `redact` knows by its shape. A log folder that cannot be
    written costs the file and one warning, never the start. Close the result at the end.
    """
    handlers: list[logging.Handler] = []
    reason: OSError | None = None
    try:
        log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handlers.append(_PrivateFile(log_path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8"))
    except OSError as error:
        reason = error
    if console is not None or reason is not None:
        handlers.append(logging.StreamHandler(sys.stderr if isinstance(console, str) else console))
    logging_ = Logging(handlers, logging.DEBUG if verbose else logging.getLevelNamesMapping()[level], secrets)
    if reason is not None:
        log.warning("log file not writable, logging to the console only path=%s reason=%s", log_path, reason.strerror)
    return logging_


class Logging:
    """The running log of the process. One thread writes, and `close` ends it."""

    def __init__(self, handlers: Sequence[logging.Handler], level: int, secrets: Iterable[str]) -> None:
        self._handlers = handlers
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED_RECORDS)
        self._root = logging.getLogger()
        self._before = (self._root.level, self._root.handlers[:], threading.excepthook)
        for handler in handlers:
            handler.setFormatter(logging.Formatter(FORMAT))
        for name in NOISY:
            logging.getLogger(name).setLevel(logging.WARNING)
            logging.getLogger(name).handlers.clear()  # telebot brings its own, which writes unredacted to stderr
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()
        self._root.handlers[:] = [_Intake(self._records, secrets)]
        self._root.setLevel(level)
        threading.excepthook = _log_uncaught

    def close(self) -> None:
        """Write what is queued and give the root logger back as it was found."""
        level, self._root.handlers[:], threading.excepthook = self._before
        self._root.setLevel(level)
        with suppress(queue.Full):
            self._records.put(None, timeout=LAST_SECONDS)
        self._writer.join(LAST_SECONDS)
        for handler in self._handlers:
            handler.close()

    def __enter__(self) -> Logging:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            self._hand_on(record)
        with suppress(queue.Empty):
            while late := self._records.get_nowait():  # logged while the end was on its way
                self._hand_on(late)

    def _hand_on(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            handler.handle(record)


class _Intake(logging.handlers.QueueHandler):
    """Turns a record into plain text without secrets, in the thread that logs, and queues it."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None], secrets: Iterable[str]) -> None:
        super().__init__(records)
        self._records = records
        known = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in (secret, quote(secret, safe=""))}
        longest_first = sorted(known, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if known else None

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        plain: logging.LogRecord = super().prepare(record)  # message, arguments and traceback become one text
        text = self._secrets.sub(HIDDEN, plain.msg) if self._secrets else plain.msg
        plain.msg = plain.message = redact(text)
        plain.context = _context.get()
        return plain

    def enqueue(self, record: logging.LogRecord) -> None:
        self._records.put(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """A message that does not fit its arguments. Python would print both, unredacted."""
        print(f"ductor: bad log call in {record.pathname} line {record.lineno}", file=sys.stderr)


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """The rotating file, readable by its owner only. A full disk is told once, not with every record."""

    told = False

    def _open(self) -> IO[str]:  # type: ignore[override]  # typeshed: TextIOWrapper
        number = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.chmod(self.baseFilename, 0o600)  # an older file may have been made with other rights
        return os.fdopen(number, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        if not self.told:
            self.told = True
            print(f"ductor: the log file cannot be written: {sys.exc_info()[1]}", file=sys.stderr)


def _log_uncaught(args: threading.ExceptHookArgs) -> None:
    """Python would print the traceback to stderr, with whatever token stands in it."""
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "?"
        log.critical("thread died thread=%s", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))
