"""The real agents under the bot: their first words, what they have in memory, and that nothing is left of them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import TracebackType

from ductor_lib.cli import sweep
from ductor_lib.cli.codex import Codex
from ductor_lib.cli.host import Host
from ductor_lib.cli.pool import ClaudePool
from ductor_lib.events import Event, Finished, Started, Text, Tool
from ductor_lib.messages import Chat
from ductor_lib.ports import Agent, TurnRequest
from tests.bench.figures import Figure
from tests.bench.real import CLIS, CODEX_MODEL, ClaudeAlone, CodexAlone, RealRig, missing, prepare, read, variables
from tests.bench.rig import OWNER, ROOT, SOON
from tests.bench.stub import stub_of

LEAST = 15  # runs, so that a median means something on a noisy machine
AIM = 10.0  # ms that the bot may add
MS = 1000.0
QUIET = 0.4  # seconds after which a chat has its whole budget of previews back
CONVERSATIONS = range(1001, 1006)
CYCLES = 100
BEGIN = "[[scenario:plain n=2]] begin"
ALONE: dict[str, type[ClaudeAlone] | type[CodexAlone]] = {"claude": ClaudeAlone, "codex": CodexAlone}


def first(runs: int) -> Iterator[Figure]:
    """A message to the first words in the chat, beside the agent alone with the same prompt, one after the other."""
    for cli in present():
        with stub_of(cli) as url:
            yield from _warm(cli, url, max(runs, LEAST))
            yield from _cold(cli, url, max(runs, LEAST))


def _warm(cli: str, url: str, runs: int) -> Iterator[Figure]:
    through, layer, alone = list[float](), list[float](), list[float]()
    with RealRig(cli, url) as rig, Layer(cli, rig) as ours:
        rig.ask(BEGIN)
        with ALONE[cli](rig) as agent:
            for one in (ours, agent):
                one.first(BEGIN)
            for number in range(runs):
                through.append(_shown(rig, OWNER, number))
                for one, seconds in ((ours, layer), (agent, alone)):
                    _rest(rig)
                    begun = time.monotonic()
                    seconds.append((one.first(_prompt(number)) - begun) * MS)
    yield from _compared(f"{cli}, first words, warm", through, alone)
    yield Figure(f"{cli}, first words, warm, without chat", _added(layer, alone), "ms", None, "the part of it that ductor_lib/cli adds")


def _cold(cli: str, url: str, runs: int) -> Iterator[Figure]:
    """A new process for each, and a new conversation. The agent alone gets its prompt as soon as it takes one."""
    users = range(1001, 1001 + runs)
    through, alone = list[float](), list[float]()
    with RealRig(cli, url, warm=0, users=users) as rig:
        rig.ask(BEGIN)
        for number, user in enumerate(users):
            rig.end_agents()
            through.append(_shown(rig, user, number))
            rig.end_agents()
            _rest(rig)
            begun = time.monotonic()
            with ALONE[cli](rig) as agent:
                alone.append((agent.first(_prompt(number)) - begun) * MS)
    yield from _compared(f"{cli}, first words, cold", through, alone)


def _prompt(number: int) -> str:
    return f"[[scenario:plain n=4]] number {number}"


def _shown(rig: RealRig, chat: int, number: int) -> float:
    """Milliseconds from a message that a pending poll gets to the call that shows the first words."""
    _rest(rig)
    before = len(rig.telegram.calls)
    said = time.monotonic()
    rig.ask(_prompt(number), user=chat)
    shown = next(call for call in list(rig.telegram.calls)[before:] if "word0" in call.params.get("text", ""))
    return (shown.at - said) * MS


def _rest(rig: RealRig) -> None:
    """Wait until nothing happens, for the agent alone as well: a busy machine is a faster one."""
    rig.rest()
    while not rig.telegram.still(QUIET):
        pass


def _compared(name: str, through: list[float], alone: list[float]) -> Iterator[Figure]:
    yield Figure(name, through, "ms", None, f"the agent alone: {median(alone):.1f} ms ({min(alone):.1f} to {max(alone):.1f})")
    yield Figure(f"{name}, the bot's part", _added(through, alone), "ms", AIM)


def _added(through: list[float], alone: list[float]) -> list[float]:
    return [with_bot - without for with_bot, without in zip(through, alone, strict=True)]


class Layer:
    """An agent of ductor's in this process, without a chat."""

    def __init__(self, cli: str, rig: RealRig) -> None:
        host = Host(rig.folder / "layer", uuid.uuid4().hex, rig.environment, parallel=2)
        self._agent = build(cli, (str(rig.program.parent / cli),), host, warm=1)
        self._request = request(cli, rig.workspace)

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._agent.close()

    def first(self, prompt: str) -> float:
        """Ask, and read to the end of the turn. When the first words came, in monotonic seconds."""
        at = 0.0
        for event in self._agent.turn(replace(self._request, prompt=prompt)):
            if isinstance(event, Started):
                self._request = replace(self._request, session_id=event.session_id, resume=True)
            if isinstance(event, Text):
                at = at or time.monotonic()
        return at


def build(cli: str, command: tuple[str, ...], host: Host, *, warm: int) -> Agent:
    return Codex(command, host) if cli == "codex" else ClaudePool(command, host, warm=warm, warm_seconds=SOON)


def request(cli: str, cwd: Path, **changes: str) -> TurnRequest:
    """A turn in a session of its own."""
    wanted = TurnRequest(
        conversation="chat:1", chat=Chat(1), prompt="", session_id=str(uuid.uuid4()), resume=False,
        model="opus" if cli == "claude" else CODEX_MODEL, effort="medium", cwd=cwd, instructions="", permission_mode="acceptEdits",
        timeout=SOON, silence=SOON,
    )  # fmt: skip
    return replace(wanted, **changes)  # type: ignore[arg-type]


def memory(runs: int) -> Iterator[Figure]:
    """What the agents of 5 conversations have in memory, after 3 turns in each."""
    for cli in present():
        with stub_of(cli) as url, RealRig(cli, url, warm=len(CONVERSATIONS), users=CONVERSATIONS) as rig:
            for number in range(3):
                for user in CONVERSATIONS:
                    rig.ask(f"[[scenario:long size=10000]] {number}", user=user)
            rig.settle()
            pids = rig.agents()
            note = f"{len(pids)} processes; resident, shared pages counted in each: {sum(_kb(pid, 'Rss') for pid in pids) / 1024:.0f} MB"
            yield Figure(f"{cli}, 5 conversations, agents' memory", [sum(_kb(pid, "Pss") for pid in pids) / 1024], "MB", None, note)


def _kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# ── nothing is left ─────────────────────────────────────────────────────────────────────────────────────────────────


def cycles(runs: int) -> Iterator[Figure]:
    """100 turns of each agent that are interrupted, in turns while they begin, write and run a command; what is left of them."""
    scripted = {"claude": "ductor_lib.demo.agent", "codex": "ductor_lib.demo.codex_agent"}
    for cli, module in scripted.items():
        yield from _cycles(f"scripted {cli}", cli, (sys.executable, "-m", module), "")
    for cli in present():
        with stub_of(cli) as url:
            yield from _cycles(cli, cli, (cli,), url)


def _cycles(name: str, cli: str, command: tuple[str, ...], url: str) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="ductor-bench-") as place:
        folder, run, tools = Path(place), uuid.uuid4().hex, 0
        prepare(folder, url)
        environment = {**os.environ, **variables(url), "HOME": place, "PYTHONPATH": str(ROOT), "IS_SANDBOX": "1"}
        host = Host(folder / "home", run, environment, parallel=2, pass_env=("PYTHONPATH",))
        agent = build(cli, command, host, warm=0)
        begun = time.monotonic()
        for number in range(CYCLES):
            _interrupted(agent, folder, wanted=(Started, Text, Tool)[number % 3])
            tools += len(_running(run, b"sleep"))
        seconds = time.monotonic() - begun
        agent.close()
        left = len(_running(run))
    yield Figure(f"{name}, {CYCLES} interrupts, commands left", [tools], "proc", 0, f"{seconds / CYCLES * MS:.0f} ms a turn")
    yield Figure(f"{name}, processes left at the end", [left], "proc", 0)


def _interrupted(agent: Agent, folder: Path, *, wanted: type[Event]) -> None:
    """A turn that is stopped at the first event of this kind, in a session of its own."""
    wish = request(agent.name, folder, prompt="[[scenario:tool cmd='sleep 300']]", permission_mode="bypassPermissions")
    asked = False
    for event in agent.turn(wish):
        if isinstance(event, wanted) and not asked:
            asked = agent.interrupt(wish.conversation)
        if isinstance(event, Finished):
            assert (asked, event.outcome) == (True, "stopped"), f"it ended before it was stopped: {event}"


def _running(run: str, words: bytes = b"") -> list[int]:
    """The processes with the mark of a run, and with these words on their command line."""
    return [pid for pid in sweep.processes() if f"DUCTOR_MARK={run}/".encode() in read(pid, "environ") and words in read(pid, "cmdline")]


def present() -> Iterator[str]:
    """The real agents of this machine; says why one cannot be measured."""
    for cli in CLIS:
        if why := missing(cli):
            print(f"{cli} skipped: {why}", flush=True)
        else:
            yield cli
