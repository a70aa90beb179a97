"""The whole bot on real parts that need no account: a loopback Telegram and a scripted agent, both real programs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ductor_lib.app import App
from ductor_lib.config import Settings, defaults
from ductor_lib.demo.state import Message
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.paths import Paths

ROOT = Path(__file__).parent.parent
AGENT = (sys.executable, "-m", "ductor_lib.demo.agent")
CODEX = (sys.executable, "-m", "ductor_lib.demo.codex_agent")
NO_CODEX = ("there-is-no-codex",)
OWNER = 42
SOON = 20.0  # seconds; a bound for what takes milliseconds, never a pause


def settings_for(telegram: LoopbackTelegram, **overrides: object) -> Settings:
    """Settings that point at the loopback Telegram; agents may log their prompts."""
    agents = {"pass_env": ["PYTHONPATH", "DUCTOR_DEMO_LOG"], **overrides.pop("agents", {})}  # type: ignore[dict-item]
    streaming = {"edit_interval_seconds": 0.1, **overrides.pop("streaming", {})}  # type: ignore[dict-item]
    return defaults(
        telegram_token=telegram.token, telegram_api_url=telegram.url, agents=agents, streaming=streaming,
        **{"allowed_user_ids": (OWNER,), "permission_mode": "acceptEdits", **overrides},  # type: ignore[arg-type]
    )


def environment_for(folder: Path) -> dict[str, str]:
    """What the scripted agent needs: a home of its own, this checkout, and a log of the prompts it gets."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "DUCTOR_DEMO_LOG": str(folder / "prompts.jsonl"),
    }


class Bot:
    """A running bot. Enter it to start; `restart` leaves it and starts another on the same home."""

    def __init__(
        self, folder: Path, *, command: tuple[str, ...] = AGENT, codex: tuple[str, ...] = NO_CODEX,
        telegram: LoopbackTelegram | None = None, **overrides: object,
    ) -> None:
        self.folder = folder
        self.paths = Paths(folder / "home")
        self._stack = ExitStack()
        self.telegram = telegram or self._stack.enter_context(LoopbackTelegram())
        self._command = command
        self._codex = codex
        self._settings = settings_for(self.telegram, **overrides)
        self.app = self._build()

    def _build(self) -> App:
        return App(self._settings, self.paths, environment=environment_for(self.folder), command=self._command, codex_command=self._codex)

    def __enter__(self) -> Bot:
        self.app.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.app.__exit__(kind, error, trace)
        self._stack.close()

    def restart(self) -> None:
        self.app.__exit__(None, None, None)
        self.app = self._build()
        self.app.__enter__()

    def say(self, text: str, **details: object) -> int:
        return self.telegram.say(text, **details)  # type: ignore[arg-type]

    def wait_for(self, words: str, *, chat: int = OWNER, topic: int | None = None) -> Message:
        """The first message of the bot that shows these words and runs no more."""

        def shown(telegram: LoopbackTelegram) -> Message | None:
            return next((m for m in self.shown(chat, topic) if words in m.text and not is_running(m)), None)

        found = self.telegram.wait(shown, timeout=SOON, what=words)
        assert isinstance(found, Message)
        return found

    def wait_until_it_runs(self, *, chat: int = OWNER, topic: int | None = None) -> Message:
        """The preview of a turn that has written something, so the agent has its prompt."""

        def running(telegram: LoopbackTelegram) -> Message | None:
            return next((m for m in self.shown(chat, topic) if is_running(m) and "\n" in m.text), None)

        return self.telegram.wait(running, timeout=SOON, what="a running turn with some text")

    def settle(self) -> None:
        """Wait until nothing runs, nothing waits, and everything that was said has arrived."""
        deadline = time.monotonic() + SOON
        pause = threading.Event()
        while not self.app.settled():
            assert time.monotonic() < deadline, "the bot does not settle"
            pause.wait(0.01)  # the end of the last step cannot be seen from outside

    def shown(self, chat: int = OWNER, topic: int | None = None) -> list[Message]:
        """What the bot's messages in a chat show now, in order."""
        return [message for message in self.telegram.messages(chat, topic) if message.sender == "bot"]

    def prompts(self) -> list[str]:
        """What the agent was really asked, in order, without ductor's own reminders."""
        return [prompt.partition("\n\n(ductor: ")[0] for prompt in self.raw_prompts()]

    def raw_prompts(self) -> list[str]:
        """The same, to the last letter."""
        log = self.folder / "prompts.jsonl"
        return [json.loads(line)["prompt"] for line in log.read_text().splitlines()] if log.exists() else []


def is_running(message: Message) -> bool:
    """Whether a message is a preview: it has a Stop button."""
    return any("Stop" in str(button.get("text", "")) for row in message.buttons for button in row)
