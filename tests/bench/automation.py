"""What jobs and hooks cost: the answer to a webhook with and without a disk behind it, and a look at a thousand jobs."""

from __future__ import annotations

import json
import queue
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median, quantiles

from ductor_lib.automation.books import JobBook
from ductor_lib.automation.cron import Cron
from ductor_lib.config import defaults
from ductor_lib.messages import Chat, Incoming
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.runs import Run
from tests.bench.figures import Figure
from tests.bench.pieces import IN_MEMORY, fsync
from tests.bench.rig import SOON, Rig, stopwatch

MS = 1000.0
CLIENTS = 20
POSTS = 50  # of each client in a round
PAUSE = 0.1  # seconds between two requests of a client that does not send them back to back
TOKEN = "a-token-of-the-benchmark"
JOBS = 1000
DUE = 100  # jobs of the same minute


def hooks(runs: int) -> Iterator[Figure]:
    """The 202 with 20 clients through the whole bot: on the disk of the temporary folder, and in memory."""
    with tempfile.TemporaryDirectory(prefix="ductor-bench-") as folder:
        flush = median(fsync(Path(folder), 100))
    rounds = max(1, runs // 5)
    for name, pause in (("back to back", 0.0), (f"{CLIENTS / PAUSE:.0f} a second", PAUSE)):
        on_disk, group = _posted(rounds, pause, None)
        without, _ = _posted(rounds, pause, IN_MEMORY)
        note = f"median {median(on_disk):.1f} ms, {group:.1f} requests a flush; a 4 kB write with fsync: {flush:.2f} ms"
        yield Figure(f"202 with {CLIENTS} clients, {name}, p95", _p95(on_disk), "ms", 20.0, note)
        yield Figure("the same without a disk, p95", _p95(without), "ms", None, f"median {median(without):.1f} ms")


def adding(runs: int) -> Iterator[Figure]:
    """Runs.add alone, from one thread and from 20 at once, with and without a disk."""
    with tempfile.TemporaryDirectory(prefix="ductor-bench-") as disk, tempfile.TemporaryDirectory(dir=IN_MEMORY) as memory:
        for name, folder in (("flushed to disk", disk), ("in memory", memory)):
            for threads in (1, CLIENTS):
                times, group = _added(Path(folder) / f"{threads}.db", threads, runs * 10)
                note = f"p95 {quantiles(times, n=20)[-1]:.2f} ms, {group:.1f} runs a flush"
                yield Figure(f"runs.add, {threads} at once, {name}", times, "ms", None, note)


def tick(runs: int) -> Iterator[Figure]:
    """A look at a thousand jobs of which none is due, and one that finds a hundred due."""
    with tempfile.TemporaryDirectory(prefix="ductor-bench-") as folder, closing(Ledger(Path(folder) / "ledger.db")) as ledger:
        moment = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC).timestamp()
        now = [moment]
        book = JobBook(Path(folder) / "cron_jobs.json")
        jobs = [
            {"id": f"job-{number}", "title": "Job", "schedule": f"{number % 60 if number >= DUE else 1} {9 if number >= DUE else 12} * * *",
             "task_folder": "work", "agent_instruction": "do it"}
            for number in range(JOBS)
        ]  # fmt: skip
        (Path(folder) / "cron_jobs.json").write_text(json.dumps({"jobs": jobs}))
        book.refresh()
        cron = Cron(defaults(user_timezone="UTC"), book, ledger, queue.SimpleQueue[Incoming | None](), now=lambda: now[0])
        first, idle, busy = list[float](), list[float](), list[float]()
        with stopwatch(first, scale=MS):
            cron.tick()
        for _ in range(runs * 5):
            now[0] += 0.001
            with stopwatch(idle, scale=MS):
                cron.tick()
        now[0] = moment + 40.0
        with stopwatch(busy, scale=MS):
            cron.tick()
    yield Figure(f"a look at {JOBS} jobs", idle, "ms", 50.0, f"the first one: {first[0]:.0f} ms")
    yield Figure(f"the same when {DUE} are due, each flushed", busy, "ms")


# ── the bot with its clients ────────────────────────────────────────────────────────────────────────────────────────


def _posted(rounds: int, pause: float, folder: Path | None) -> tuple[list[float], float]:
    """Milliseconds to each 202, and how many requests went into one flush."""
    port = _free_port()
    listening = {"enabled": "true", "port": port, "token": f'"{TOKEN}"', "rate_limit_per_minute": 10000}
    times = list[float]()
    with Rig(settings=[f"webhooks.{name} = {value}" for name, value in listening.items()], place=folder) as rig:
        gate = rig.folder / "gate"
        hold = f"[[scenario:hold file={gate}]]"  # the first run holds the lane, so that no agent works beside the requests
        entry = {"id": "push", "title": "Push", "mode": "cron_task", "task_folder": "work", "prompt_template": hold}
        (rig.workspace / "cron_tasks" / "work").mkdir(parents=True, exist_ok=True)
        (rig.folder / "home" / "webhooks.json").write_text(json.dumps({"hooks": [entry]}))
        _await_hook(port)
        rig.rest()
        later = [pause * number / CLIENTS for number in range(CLIENTS)]
        threads = [threading.Thread(target=_client, args=(port, rounds, pause, seconds, times)) for seconds in later]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with closing(sqlite3.connect(rig.folder / "home" / "ledger.db")) as books:
            group = books.execute("SELECT COUNT(*) * 1.0 / COUNT(DISTINCT accepted_at) FROM runs").fetchone()[0]
    return times, float(group)


def _client(port: int, rounds: int, pause: float, later: float, times: list[float]) -> None:
    """Begin `later` seconds from now, and send a request every `pause` seconds."""
    waiting = threading.Event()
    waiting.wait(later)
    for _ in range(rounds * POSTS):
        begun = time.perf_counter()
        status = _post(port)
        times.append((time.perf_counter() - begun) * MS)
        assert status == 202, f"answered with {status}"
        if pause:
            waiting.wait(max(0.0, pause - (time.perf_counter() - begun)))


def _post(port: int) -> int:
    """One request; the status, 0 where nobody listens. Bare sockets, because what the client costs is in the figure."""
    body = b'{"branch": "main"}'
    head = f"POST /hooks/push HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SOON) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = connection.recv(65536)
            while connection.recv(65536):
                pass
    except ConnectionRefusedError:
        return 0
    return int(answer.split(b" ", 2)[1])


def _await_hook(port: int) -> None:
    deadline, pause = time.monotonic() + SOON, threading.Event()
    while _post(port) != 202:
        assert time.monotonic() < deadline, "the hook does not answer"
        pause.wait(4.0)  # a stranger may ask twenty times a minute


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _p95(times: list[float]) -> list[float]:
    return [quantiles(times, n=20)[-1]]


# ── the books alone ─────────────────────────────────────────────────────────────────────────────────────────────────


def _added(path: Path, threads: int, count: int) -> tuple[list[float], float]:
    """Milliseconds of each `add`, and how many were flushed at once."""
    times = list[float]()
    with closing(Ledger(path)) as ledger:

        def add(thread: int) -> None:
            for number in range(count):
                key = f"hook:push:{thread}-{number}"
                item = Incoming(key, Chat(42), "a prompt of the usual length", kind="task", task="push")
                with stopwatch(times, scale=MS):
                    ledger.runs.add(Run(key, "hook", "push", "Push", "{}", 0.0), [item])

        workers = [threading.Thread(target=add, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        groups: dict[float, int] = {}
        for run in ledger.runs.history("hook", "push", limit=threads * count):
            groups[run.accepted_at] = groups.get(run.accepted_at, 0) + 1
    return times, fmean(groups.values())
