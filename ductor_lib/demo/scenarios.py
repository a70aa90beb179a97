"""What the scripted agent does for each marker `[[scenario:NAME key=value …]]` in a prompt; without one it echoes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ductor_lib.demo.stream import LOOK, PRICE, Interrupted, Stream

MARKER = re.compile(r"\[\[scenario:([\w-]+)([^\]]*(?:\](?!\])[^\]]*)*)\]\]")
ECHOED = 1_000  # characters
FAILURES = {  # name: status of the HTTP answer, the CLI's word for it, its sentence
    "error400": (400, "invalid_request", "Prompt is too long · the request is ~250000 tokens (limit 200000)"),
    "error401": (401, "authentication_failed", "Invalid API key · Fix external API key"),
    "error404": (404, "model_not_found", "There's an issue with the selected model. It may not exist or you may not have access to it."),
    "error429": (429, "rate_limit", "API Error: Request rejected (429) · rate limit reached, resets 3pm"),
    "error500": (500, "server_error", "API Error: 500 internal server error. This is a server-side issue, usually temporary."),
    "overloaded": (529, "server_error", "API Error: Repeated 529 Overloaded errors. The API is at capacity."),
}
AT_ONCE = {"error400", "error404"}


@dataclass(frozen=True)
class Script:
    """One marker: its name, its options, and the prompt without it."""

    name: str
    options: dict[str, str]
    prompt: str

    def text(self, key: str, default: str) -> str:
        return self.options.get(key, default)

    def number(self, key: str, default: float) -> float:
        return float(self.options.get(key, default))


def read(prompt: str) -> Script:
    """The last marker of a prompt decides. Values are shell-quoted: `[[scenario:tool cmd='sleep 5']]`."""
    found = MARKER.findall(prompt)
    if not found:
        return Script("echo", {}, prompt.strip())
    import shlex  # only a marker needs it

    name, given = found[-1]
    options = dict(word.split("=", 1) for word in shlex.split(given) if "=" in word)
    return Script(name, options, MARKER.sub("", prompt).strip())


def play(stream: Stream, script: Script) -> None:
    """Run one script up to its result. Raises Interrupted."""
    if script.name in FAILURES:
        fail(stream, script)
        return
    said = SCENARIOS.get(script.name, echo)(stream, script)
    if said is not None:
        stream.result(said, price=PRICE)


def echo(stream: Stream, script: Script) -> str:
    words = script.prompt.partition("\n\n(ductor: ")[0]  # its reminders to an agent are nothing to repeat
    prompt = words if len(words) <= ECHOED else words[:ECHOED] + " …"
    quoted = "\n".join(f"> {line}" for line in (prompt or "(nothing)").splitlines())
    answer = f"I am the **scripted agent** of the demo: no model is asked. You wrote:\n\n{quoted}\n\nSay anything and I will repeat it."
    return stream.say(re.findall(r"\S+\s*|\s+", answer), delay=script.number("delay", 0))


def plain(stream: Stream, script: Script) -> str:
    return stream.say((f"word{k} " for k in range(int(script.number("n", 8)))), delay=script.number("delay", 0.01))


def long(stream: Stream, script: Script) -> str:
    size = int(script.number("size", 20_000))
    part = "## Part {0}\n\nSome **bold** text, `code`:\n\n- one\n- two\n\n```python\nprint({0})\n```\n\n"
    body = "".join(part.format(k) for k in range(size // 60 + 1))[:size]
    return stream.say((body[k : k + 200] for k in range(0, size, 200)), delay=script.number("delay", 0))


def thinking(stream: Stream, script: Script) -> str:
    stream.think(["First ", "I think ", "about it."], delay=script.number("delay", 0.01))
    return plain(stream, script)


def tool(stream: Stream, script: Script) -> str | None:
    stream.say(["Running ", "a command."])
    said = stream.run(script.text("cmd", "echo tool-ran"), orphan=script.text("orphan", "") == "1")
    if stream.options.get("--max-turns") == "1":
        errors = ["Reached maximum number of turns (1)"]
        stream.result("", price=PRICE, is_error=True, subtype="error_max_turns", terminal_reason="max_turns", errors=errors)
        return None
    return stream.say(["The tool ", "said: ", said[:200], *(f" You added: {words}" for words in stream.take_waiting())])


def background(stream: Stream, script: Script) -> str:
    task = stream.run_in_background(script.text("cmd", "echo background-done"))
    return stream.say(["Running ", "in the background: ", task])


def slow(stream: Stream, script: Script) -> str:
    delay = script.number("delay", 0.1)
    return stream.say((f"tick {k} " for k in range(max(1, int(script.number("secs", 20) / delay)))), delay=delay)


def clock(stream: Stream, script: Script) -> str:
    """Every piece is the moment it was said, in monotonic seconds, and the last one is only in the result: for measuring."""

    def pieces() -> Iterator[str]:
        for _ in range(int(script.number("n", 8))):
            stream.wait(script.number("delay", 0.01))
            yield f"{time.monotonic():.6f} "

    return f"{stream.say(pieces())}{time.monotonic():.6f}"


def hold(stream: Stream, script: Script) -> str:
    def pieces() -> Iterator[str]:
        yield "Holding. "
        while not Path(script.text("file", "/nonexistent")).exists():
            stream.wait(LOOK)
        yield "Going on."

    return stream.say(pieces())


def crash(stream: Stream, script: Script) -> None:
    print("Error: the scripted agent crashes as it was told", file=sys.stderr, flush=True)
    if "signal" in script.options:
        os.kill(os.getpid(), int(script.number("signal", signal.SIGKILL)))
    os._exit(int(script.number("code", 1)))


def crash_late(stream: Stream, script: Script) -> None:
    stream.say(["Some words ", "before the end."])
    if "once" in script.options:  # only as long as that file is missing
        flag = Path(script.options["once"])
        if flag.exists():
            stream.result("Recovered.", price=PRICE)
            return
        flag.touch()
    crash(stream, script)


def hang(stream: Stream, script: Script) -> None:
    if script.text("hard", "") == "1":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            stream.wait(3600)
        except Interrupted:
            if script.text("hard", "") != "1":
                raise
            stream.interrupted.clear()


def garbage(stream: Stream, script: Script) -> str:
    for line in (b"this is no JSON", b"\xff\xfe\x00binary", b"{half", b"[1, 2]", b'"text"', b"", b"null", b"[" * 5000):
        stream.write(line)
    stream.emit("brand_new_event", value=1)
    return plain(stream, script)


def bigline(stream: Stream, script: Script) -> str:
    used = stream.tool("Read", {"file_path": "big.txt"})
    stream.tool_result(used, "x" * int(script.number("mb", 10) * 1_000_000))
    return plain(stream, script)


def flood(stream: Stream, script: Script) -> str:
    piece = "x" * 2_000
    for _ in range(int(script.number("mb", 50) * 1_000_000 / 2_000)):
        stream.wait(0)
        stream.event(type="content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": piece})
    return plain(stream, script)


def empty(stream: Stream, script: Script) -> None:
    stream.say(["Only ", "a block."])
    stream.result("", price=PRICE)


def subagent(stream: Stream, script: Script) -> str:
    used = stream.tool("Agent", {"description": "look around", "prompt": "sub prompt", "subagent_type": "general-purpose"})
    stream.block({"type": "text", "text": "words of the sub-agent"}, parent=used)
    stream.tool_result(used, "the sub-agent's report")
    return plain(stream, script)


def denied(stream: Stream, script: Script) -> str:
    used = stream.tool("Bash", {"command": "touch made.txt"})
    stream.tool_result(used, "touch was blocked", error=True)
    stream.denied.append({"tool_name": "Bash", "tool_use_id": used, "tool_input": {"command": "touch made.txt"}})
    return plain(stream, script)


def compact(stream: Stream, script: Script) -> str:
    stream.emit("system", subtype="status", status="compacting")
    stream.emit("system", subtype="compact_boundary", compact_metadata={"trigger": "auto"})
    return plain(stream, script)


def fail(stream: Stream, script: Script) -> None:
    """`retries=2` attempts, `delay` seconds apart; with `times=1` the second attempt is answered."""
    status, word, sentence = FAILURES[script.name]
    limit = 0 if script.name in AT_ONCE else int(script.number("retries", 2))
    for attempt in range(1, limit + 1):
        stream.retry(attempt, limit, status=status, error="overloaded" if status == 529 else word)
        stream.wait(script.number("delay", 0.01))
        if attempt == script.number("times", 0):
            stream.result(echo(stream, script), price=PRICE)
            return
    reason = "prompt_too_long" if status == 400 else "completed"
    stream.refuse(sentence, error=word, status=None if status == 529 else status, reason=reason)


SCENARIOS: dict[str, Callable[[Stream, Script], str | None]] = {
    "plain": plain, "long": long, "thinking": thinking, "tool": tool, "background": background, "slow": slow, "hold": hold,
    "crash-late": crash_late, "hang": hang, "garbage": garbage, "bigline": bigline, "flood": flood, "empty": empty,
    "subagent": subagent, "denied": denied, "compact": compact, "clock": clock, "echo": echo,
}  # fmt: skip
