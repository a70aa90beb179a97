"""Parts by themselves: the renderer, and the ledger on a disk and in memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from markdown_it import MarkdownIt

from ductor_lib.bot.markup import render
from ductor_lib.messages import Chat, Incoming, Reply
from ductor_lib.orchestrator.ledger import Ledger, TurnRecord
from tests.bench.figures import Figure
from tests.bench.rig import stopwatch

MS = 1000.0
SIZE = 10_000  # characters
SAMPLE = """\
## What I changed in part {0}

The reason was a **race** between `begin()` and *close*; see [the page](https://example.org/a?b={0}) for more.

1. First, read the file `src/part_{0}.py`.
2. Then run it:

```python
def part(number: int = {0}) -> str:
    return f"part {{number}}"
```

| name | value |
|------|-------|
| part | {0}   |

> Nothing else was touched.

"""
PROSE = """\
The reason was a **race** between two threads: `close` number {0} came first, and what was written after it was lost. I moved
the check under the lock, and added a test that fails without it. Nothing else was touched, because the other callers
hold the lock already; the page on *threads* says so too.

- The change is in one file.
- The test needs no network.

"""
IN_MEMORY = Path("/dev/shm")


def markdown(runs: int) -> Iterator[Figure]:
    """Rendering 10 kB of Markdown, beside only parsing it: prose, and a text that is mostly lists, code and tables."""
    for name, sample in (("prose", PROSE), ("dense", SAMPLE)):
        text = "".join(sample.format(number) for number in range(SIZE // len(sample) + 1))[:SIZE]
        parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
        ours, parsing = list[float](), list[float]()
        for _ in range(runs * 3):
            with stopwatch(ours, scale=MS):
                render(text)
            with stopwatch(parsing, scale=MS):
                parser.parse(text)
        note = f"markdown-it's parser alone: {median(parsing):.1f} ms, ratio {median(ours) / median(parsing):.2f}"
        yield Figure(f"markdown, 10 kB rendered, {name}", ours, "ms", 3.0, note)


def ledger(runs: int) -> Iterator[Figure]:
    """accept() and finish() on the disk of the temporary folder and without one, beside a bare write with fsync."""
    with tempfile.TemporaryDirectory(prefix="ductor-bench-") as disk, tempfile.TemporaryDirectory(dir=IN_MEMORY) as memory:
        rounds = runs * 5
        accept, finish = _ledger(Path(disk), rounds)
        accept_memory, finish_memory = _ledger(Path(memory), rounds)
        bare = fsync(Path(disk), rounds)
    note = f"a 4 kB write with fsync: {median(bare):.2f} ms"
    yield Figure("ledger.accept, flushed to disk", accept, "ms", None, note)
    yield Figure("ledger.accept, in memory", accept_memory, "ms")
    yield Figure("ledger.finish, flushed to disk", finish, "ms", None, note)
    yield Figure("ledger.finish, in memory", finish_memory, "ms")


def _ledger(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    book = Ledger(folder / "ledger.db")
    accept, finish = list[float](), list[float]()
    chat, record = Chat(42), TurnRecord("claude", "opus", "session", time.time(), 1.0, "done", "", 0.01, 100, 100)
    for number in range(rounds):
        item = Incoming(f"message:{number}", chat, "a question of the usual length", user=42, message_id=number, sent_at=time.time())
        with stopwatch(accept, scale=MS):
            stored = book.accept([item], offset=number)
        book.begin(stored[0].id)
        with stopwatch(finish, scale=MS):
            book.finish(stored[0].id, [Reply(chat, SAMPLE)], turn=record)
    book.close()
    return accept, finish


def fsync(folder: Path, rounds: int) -> list[float]:
    """Milliseconds of bare 4 kB writes with fsync."""
    times = list[float]()
    with (folder / "file").open("wb", buffering=0) as file:
        for _ in range(rounds):
            with stopwatch(times, scale=MS):
                file.write(b"x" * 4096)
                os.fsync(file.fileno())
    return times
