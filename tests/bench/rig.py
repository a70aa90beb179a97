"""The bot as a process of its own beside a loopback Telegram in this one, so that the bot's time and memory are only its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ductor_lib.demo.state import Call, Message
from ductor_lib.demo.telegram import LoopbackTelegram

ROOT = Path(__file__).parent.parent.parent
OWNER = 42
GROUP = -100
SOON = 120.0  # seconds; a bound, never a pause
QUIET = 0.15  # seconds without a change in any chat after which the bot has nothing left to do
LOOK = 0.25  # seconds between two looks at a process
TICKS = os.sysconf("SC_CLK_TCK")
AGENT = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from ductor_lib.demo.agent import main
sys.exit(main(sys.argv[1:]))
"""


class Rig:
    """A running `python ductor.py` whose `claude` is the scripted agent. Enter it to start, leave it to stop.

    `warm` is the number of agents kept between turns, `parallel` of those at work; `users` may write beside the owner.
    `programs` are other agents, as scripts by their names; `settings` are more lines of config.toml, before its sections.
    Everything is in a temporary folder, which is made in `place`.
    """

    def __init__(
        self, *, warm: int = 2, parallel: int = 8, users: Sequence[int] = (), programs: Mapping[str, str] | None = None,
        settings: Sequence[str] = (), variables: Mapping[str, str] | None = None, place: Path | None = None,
    ) -> None:  # fmt: skip
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ductor-bench-", dir=place)))
        self.telegram = self._stack.enter_context(LoopbackTelegram())
        self.workspace = self.folder / "home" / "workspace"
        self.program = self.folder / "bin" / "claude"
        self.program.parent.mkdir()
        for name, script in (programs or {"claude": AGENT}).items():
            program = self.program.parent / name
            program.write_text(script)
            program.chmod(0o755)
        config = self.folder / "home" / "config" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(
            f'telegram_token = "{self.telegram.token}"\ntelegram_api_url = "{self.telegram.url}"\n'
            f'allowed_user_ids = {[OWNER, *users]}\nallowed_group_ids = [{GROUP}]\npermission_mode = "acceptEdits"\n'
            + "".join(f"{line}\n" for line in settings)
            + f'[agents]\nwarm = {warm}\nparallel = {parallel}\npass_env = ["DUCTOR_DEMO_LOG"]\n'
        )
        self.environment = {
            "PATH": f"{self.program.parent}:{os.environ['PATH']}", "HOME": str(self.folder), "DUCTOR_HOME": str(self.folder / "home"),
            "DUCTOR_DEMO_LOG": str(self.folder / "prompts.jsonl"), "LANG": "C.UTF-8",
            **(variables or {}),
        }

    def __enter__(self) -> Self:
        self.started_at = time.monotonic()
        with (self.folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen([sys.executable, str(ROOT / "ductor.py")], env=self.environment, cwd=self.folder, stderr=stderr)
        try:
            self._await_poll()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._stack.close()

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────────────────

    def rest(self) -> None:
        """Return when the bot has nothing left to do and its poll is open."""
        while not self.telegram.still(QUIET) or not self._polling():
            pass

    def ask(self, text: str, *, user: int = OWNER, chat: int | None = None) -> Message:
        """Say it and wait for the whole answer."""
        place = user if chat is None else chat
        sent = self.telegram.say(text, user=user, chat=chat)
        return self.answer(place, sent)

    def answer(self, chat: int, after: int) -> Message:
        """Wait until the last message of a chat is the bot's, newer than message `after`, and no preview any more."""

        def last(telegram: LoopbackTelegram) -> Message | None:
            found = telegram.messages(chat)[-1]
            return found if found.sender == "bot" and found.id > after and not found.buttons else None

        return self.telegram.wait(last, timeout=SOON, what=f"an answer in chat {chat}")

    def prompts(self) -> list[dict[str, object]]:
        """What the agents have noted about each prompt, in order."""
        log = self.folder / "prompts.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def last_command(self) -> list[str]:
        """The command line, without the program, of the agent that had the last prompt."""
        words = self.prompts()[-1]["argv"]
        assert isinstance(words, list)
        return words

    def round_trips(self, count: int) -> list[float]:
        """Seconds of so many calls to the same Telegram over one plain connection: what HTTP and the fake cost by themselves."""
        seconds = list[float]()
        connection = http.client.HTTPConnection(self.telegram.url.removeprefix("http://"))
        with contextlib.closing(connection):
            for _ in range(count):
                with stopwatch(seconds):
                    connection.request("POST", f"/bot{self.telegram.token}/getMe")
                    connection.getresponse().read()
        return seconds

    def shown_at(self, chat: int, words: str) -> float:
        """When the first call that shows these words came in, in monotonic seconds."""
        return next(call.at for call in self.calls(chat) if words in call.params.get("text", ""))

    def calls(self, chat: int) -> list[Call]:
        """The calls about a chat so far."""
        return [call for call in list(self.telegram.calls) if call.params.get("chat_id") == str(chat)]

    def _await_poll(self) -> None:
        while not any(call.method == "getUpdates" for call in list(self.telegram.calls)):
            if self.process.poll() is not None or time.monotonic() - self.started_at > SOON:
                raise AssertionError(f"the bot did not start:\n{(self.folder / 'stderr').read_text()}")
            self.telegram.still(LOOK)

    def _polling(self) -> bool:
        return next(call for call in reversed(self.telegram.calls) if call.method == "getUpdates").status == 0

    # ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Wait until the bot has used no processor time for a moment."""
        before, watch = -1.0, threading.Event()
        while self.cpu() != before:
            before = self.cpu()
            watch.wait(LOOK)

    def cpu(self) -> float:
        """Seconds of processor time that the bot has used, without its children."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> float:
        """MB that the bot has in memory."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """The most MB that the bot has had in memory since the last `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024

    # ── the agent without the bot ───────────────────────────────────────────────────────────────────────────────────

    def alone(self, words: Sequence[str], prompt: str) -> float:
        """Start the agent as the bot did, with a session of its own; seconds until it had read the prompt. Waits for its end."""
        log = self.folder / f"alone-{uuid.uuid4()}.jsonl"
        line = json.dumps({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": prompt}]}})
        begun = time.monotonic()
        child = subprocess.Popen(
            [str(self.program), *fresh(words)], cwd=self.workspace, env=self.environment | {"DUCTOR_DEMO_LOG": str(log)}, bufsize=0,
            start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        child.communicate(f"{line}\n".encode())
        return float(json.loads(log.read_text().splitlines()[0])["at"]) - begun


def fresh(words: Sequence[str]) -> Iterator[str]:
    """An agent's command line with a new session in the place of its own."""
    named = False
    for word in words:
        yield str(uuid.uuid4()) if named else "--session-id" if word == "--resume" else word
        named = word in ("--session-id", "--resume")


@contextlib.contextmanager
def stopwatch(values: list[float], *, scale: float = 1.0) -> Iterator[None]:
    """Append the seconds that the body took, times `scale`."""
    begun = time.perf_counter()
    yield
    values.append((time.perf_counter() - begun) * scale)
