"""Much at once: calls of a streamed answer, many conversations, a long queue, a flood of output."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from ductor_lib.demo.telegram import LoopbackTelegram
from tests.bench.figures import Figure
from tests.bench.rig import GROUP, OWNER, SOON, Rig, stopwatch

CROWD = range(1001, 1051)
PARALLEL = 8
WORDS = "[[scenario:plain n=20 delay=0.01]]"
STREAMED = "[[scenario:plain n=200 delay=0.02]]"
FLOOD_MB = 50
PIECE = "x" * 2_000  # the text of one line of the flood scenario


def calls(runs: int) -> Iterator[Figure]:
    """Bot API calls for one answer of 200 deltas in 4 s, in a private chat and in a group."""
    users = range(1001, 1001 + max(1, runs // 3))
    with Rig(users=users) as rig:
        for user in users:
            rig.ask(STREAMED, user=user)
        private = [float(len(rig.calls(user))) for user in users]
    group = []
    for _ in users:  # a bot of its own, because a group's budget needs a minute to recover
        with Rig() as rig:
            rig.ask(STREAMED, chat=GROUP)
            group.append(float(len(rig.calls(GROUP))))
    yield Figure("calls of a 4 s answer, private", private, "calls")
    yield Figure("calls of a 4 s answer, group", group, "calls", 10.0)


def crowd(runs: int) -> Iterator[Figure]:
    """50 conversations at once, beside the same 50 agents without a bot."""
    seconds, alone, peaks = [], list[float](), []
    for _ in range(max(1, runs // 5)):
        with Rig(parallel=PARALLEL, users=CROWD) as rig:
            rig.rest()
            begun = time.monotonic()
            sent = {user: rig.telegram.say(f"{WORDS} {user}", user=user) for user in CROWD}
            for user, message in sent.items():
                rig.answer(user, message)
            seconds.append(time.monotonic() - begun)
            peaks.append(rig.peak())
            words = rig.last_command()
            with stopwatch(alone), ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(partial(rig.alone, words), [f"{WORDS} {user}" for user in CROWD]))
    note = f"the 50 agents alone: {median(alone):.1f} s, ratio {median(seconds) / median(alone):.2f}"
    yield Figure("50 conversations answered", seconds, "s", None, note)
    yield Figure("50 conversations, peak memory", peaks, "MB")


def queue(runs: int) -> Iterator[Figure]:
    """20 messages to a chat whose agent is busy: seconds from its end to the last answer, which are checked for their order."""
    seconds = []
    for _ in range(max(1, runs // 3)):
        with Rig() as rig:
            gate = rig.folder / "gate"
            rig.telegram.say(f"[[scenario:hold file={gate}]]")
            for number in range(20):
                rig.telegram.say(f"number {number}.")
            rig.telegram.wait(_carded, timeout=SOON, what="20 waiting messages")
            rig.rest()
            begun = time.monotonic()
            gate.touch()
            rig.telegram.wait(_all_echoed, timeout=SOON, what="20 answers")
            seconds.append(time.monotonic() - begun)
            assert _echoes(rig.telegram) == list(range(20)), f"answered out of order: {_echoes(rig.telegram)}"
    yield Figure("20 waiting messages answered in order", seconds, "s")


def _carded(telegram: LoopbackTelegram) -> bool:
    return any("20 messages waiting" in message.text for message in telegram.messages(OWNER))


def _all_echoed(telegram: LoopbackTelegram) -> bool:
    return len(_echoes(telegram)) == 20


def _echoes(telegram: LoopbackTelegram) -> list[int]:
    """The numbers in the answers of a chat, in order."""
    shown = [message.text for message in telegram.messages(OWNER) if message.sender == "bot" and not message.buttons]
    return [number for text in shown for number in range(20) if f"number {number}." in text]


def flood(runs: int) -> Iterator[Figure]:
    """Processor time and memory for 50 MB of stream-json, beside parsing the same lines and nothing else."""
    cpu, grown, bare = [], [], list[float]()
    raw = json.dumps({"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"partial_json": PIECE}}}).encode()
    for _ in range(max(1, runs // 3)):
        with Rig() as rig:
            rig.ask(WORDS)
            rig.settle()
            rig.forget_peak()
            before, memory = rig.cpu(), rig.memory()
            rig.ask(f"[[scenario:flood mb={FLOOD_MB}]]")
            cpu.append(rig.cpu() - before)
            grown.append(rig.peak() - memory)
        with stopwatch(bare):
            for _ in range(FLOOD_MB * 1_000_000 // len(PIECE)):
                json.loads(raw)
    yield Figure("50 MB of output, processor time", cpu, "s", None, f"json.loads alone: {median(bare):.2f} s")
    yield Figure("50 MB of output, memory on top", grown, "MB", 10.0)
