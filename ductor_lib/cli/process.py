"""One child process and its lines: bounded in memory, ended in steps, and never a thread that outlives its pipe."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

CHUNK = 65_536  # bytes of one read, the size of a Linux pipe
QUEUED = 4_194_304  # bytes of lines that may wait for the consumer; then the reader waits, and with it the child
LONGEST = 33_554_432  # bytes of one line; a longer one is skipped and counted
STDERR_KEPT = 8_192  # bytes, from the end
DRAIN = 1.0  # seconds to read on after the exit: a grandchild may still hold the pipe
LOOK = 0.05  # seconds between two looks at the reader thread in that time
WORD = 2.0  # seconds a process has to act on a signal
END = b""  # what `read` returns when nothing will come any more; a line is never empty


def whole_lines(chunks: Iterable[bytes], longest: int = LONGEST) -> Iterator[bytes | None]:
    """The lines of a stream that was cut anywhere, without blank ones; None stands for a line of more than `longest` bytes."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            if size + len(piece) > longest:
                yield None
            elif line := b"".join((*parts, piece)).strip():
                yield line
            parts.clear()
            size = 0
        size += len(rest)
        if size > longest:
            parts.clear()  # the size stays too large until the line's end
        else:
            parts.append(rest)
    if size > longest:
        yield None
    elif line := b"".join(parts).strip():
        yield line


class Lines:
    """A hand-over of lines from one reader thread to one consumer, bounded in bytes."""

    def __init__(self, limit: int = QUEUED) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._ended = self._abandoned = self._woken = False
        self._changed = threading.Condition()

    @property
    def full(self) -> bool:
        """Whether the reader waits for the consumer."""
        with self._changed:
            return self._bytes >= self._limit and not self._abandoned

    @property
    def over(self) -> bool:
        """Whether everything was handed out and nothing will come any more."""
        with self._changed:
            return self._ended and not self._lines

    def put(self, line: bytes) -> bool:
        """Hand one line over; waits while the consumer is behind. False after `end`: then stop reading."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < self._limit or self._abandoned or self._ended)
            if not (self._abandoned or self._ended):
                self._lines.append(line)
                self._bytes += len(line)
                self._changed.notify_all()
            return not self._ended

    def get(self, timeout: float) -> bytes | None:
        """The next line; END after the last one; None when `timeout` seconds have passed or somebody called `wake`."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._ended or self._woken, timeout)
            self._woken = False
            if self._lines:
                line = self._lines.popleft()
                self._bytes -= len(line)
                self._changed.notify_all()
                return line
            return END if self._ended else None

    def wake(self) -> None:
        """Let a waiting `get` return at once. Any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def end(self) -> None:
        """No line will come any more; those that wait are still handed out."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """The consumer is gone: from now on lines are dropped, so that the child is never held up."""
        with self._changed:
            self._abandoned = True
            self._lines.clear()
            self._bytes = 0
            self._changed.notify_all()


class ChildProcess:
    """A program with its own session (so that a signal meets its group, never ours) and line-wise output.

    Four daemon threads end with the process: stdin, stdout, stderr, exit. Raises OSError when it cannot be started.
    `read` is for one consumer at a time, the rest for any thread.
    """

    def __init__(self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str], name: str) -> None:
        self._child = subprocess.Popen(
            list(argv), cwd=cwd, env=dict(environment), bufsize=0, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self._child.pid
        self.skipped = 0
        self._lines = Lines()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr = bytearray()
        self._exited = threading.Event()
        self._out = threading.Thread(target=self._read_stdout, name=f"{name} out", daemon=True)
        self._err = threading.Thread(target=self._read_stderr, name=f"{name} err", daemon=True)
        self._in = threading.Thread(target=self._write_stdin, name=f"{name} in", daemon=True)
        self._exit = threading.Thread(target=self._await_exit, name=f"{name} exit", daemon=True)
        for thread in (self._out, self._err, self._in, self._exit):
            thread.start()

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def ended(self) -> bool:
        """True when it has left and its last line was read."""
        return self._lines.over

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._child.poll()

    @property
    def stderr(self) -> str:
        """The last ~8 kB of stderr. May hold secrets: redact before it is shown."""
        return bytes(self._stderr[-STDERR_KEPT:]).decode("utf-8", "replace").strip()

    def send(self, line: bytes) -> None:
        """Write a line to stdin, in order, without waiting; lost when the process is gone (then `read` says END)."""
        self._outgoing.put(line + b"\n")

    def close_stdin(self) -> None:
        """Say that nothing more will be sent."""
        self._outgoing.put(None)

    def read(self, timeout: float) -> bytes | None:
        """The next line of stdout; END after the exit and the last line; None after `timeout` seconds or a `wake`."""
        return self._lines.get(timeout)

    def wake(self) -> None:
        """Let a waiting `read` return None at once."""
        self._lines.wake()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the exit and the last lines. True when it has ended."""
        return self._exited.wait(timeout)

    def finish(self, grace: float) -> None:
        """End it politely: end of input, and only after `grace` seconds the signals."""
        self.close_stdin()
        self._lines.abandon()
        if not self.wait(grace):
            self.terminate()

    def interrupt(self) -> None:
        """INT to the group, as a terminal does: a program that handles it ends what it is doing."""
        self._signal(signal.SIGINT)

    def terminate(self, grace: float = WORD) -> None:
        """TERM to the group, up to `grace` seconds, KILL. Output that waits is still read afterwards."""
        for number in (signal.SIGTERM, signal.SIGKILL) if os.name == "posix" else (signal.SIGTERM,):
            self._signal(number)
            if self._wait_exit(grace):
                return

    def abandon(self) -> None:
        """Nobody will read any more."""
        self._lines.abandon()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not self.running:
                return
            if os.name == "posix":
                os.killpg(self.pid, number)
            else:
                self._child.terminate()

    def _wait_exit(self, timeout: float) -> bool:
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read_stdout(self) -> None:
        assert self._child.stdout
        for line in whole_lines(_chunks(self._child.stdout)):
            if line is None:
                self.skipped += 1
            elif not self._lines.put(line):
                break
        self._child.stdout.close()

    def _read_stderr(self) -> None:
        assert self._child.stderr
        for chunk in _chunks(self._child.stderr):
            self._stderr += chunk
            del self._stderr[:-STDERR_KEPT]
        self._child.stderr.close()

    def _write_stdin(self) -> None:
        assert self._child.stdin
        with contextlib.suppress(OSError, ValueError):
            while (line := self._outgoing.get()) is not None:
                view = memoryview(line)
                while view:  # a raw pipe takes what fits
                    view = view[self._child.stdin.write(view) :]
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def _await_exit(self) -> None:
        self._child.wait()
        until = time.monotonic() + DRAIN
        while self._out.is_alive() and time.monotonic() < until:
            if self._lines.full:  # the time counts from when the consumer has caught up: a slow one still gets all
                until = time.monotonic() + DRAIN
            self._out.join(LOOK)
        self._err.join(max(0.0, until - time.monotonic()))
        self._outgoing.put(None)
        self._lines.end()  # only now: who reads END finds the exit code and all of stderr
        self._exited.set()


def _chunks(pipe: IO[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(OSError, ValueError):
        while chunk := pipe.read(CHUNK):
            yield chunk
