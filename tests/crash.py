"""The real bot, which kills itself at a named point: `python -m tests.crash FOLDER URL TOKEN SETTINGS`, the point in $CRASH_AT.

A point is a place and `#N` for its N-th time ("accept:done", "final send:after#2"). SETTINGS is JSON. Places:

* METHOD:open and METHOD:done around the commit of each transaction of the ledger, its runs and the outbox, by the name of the method
* turn, then the name of each event of the agent (Started, Text, Tool, ToolDone, Finished) before anybody acts on it
* KIND CALL:before and KIND CALL:after around each call to Telegram; KIND is preview, card, report or final, CALL is send, edit or
  delete (deletions have no kind)
* lanes: the lanes are about to open; shutdown: the program is told to end; agents:before and agents:after their end at a shutdown
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ductor_lib import app
from ductor_lib.bot.client import Client
from ductor_lib.bot.markup import Part
from ductor_lib.cli import clis
from ductor_lib.cli.pool import ClaudePool
from ductor_lib.config import defaults
from ductor_lib.database import Database
from ductor_lib.events import Event
from ductor_lib.messages import Chat
from ductor_lib.orchestrator import ledger
from ductor_lib.orchestrator.dispatch import Dispatch
from ductor_lib.paths import Paths
from ductor_lib.ports import TurnRequest
from tests.fakes import AGENT, OWNER, environment_for

BOOKS = ("ledger", "runs", "outbox")
HELPERS = {"_change", "_close", "_commit", "_lead"}  # of the books: who called them is meant
KINDS = (("⏸", "card"), ("⚡", "report"))  # how the text begins

place, _, nth = os.environ.get("CRASH_AT", "").partition("#")
lock = threading.Lock()
seen: Counter[str] = Counter()


def reach(name: str) -> None:
    """Die here if this is the point."""
    with lock:
        seen[name] += 1
        if name == place and seen[name] == int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)


class CrashingDatabase(Database):
    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Cursor]:
        name = caller()
        with super().transaction(durable=durable) as cursor:
            yield cursor
            reach(f"{name}:open")
        reach(f"{name}:done")


def caller() -> str:
    """The public method of the ledger, its runs or the outbox that is at work."""
    frame = sys._getframe()
    while frame.f_back and (Path(frame.f_code.co_filename).stem not in BOOKS or frame.f_code.co_name in HELPERS):
        frame = frame.f_back
    return frame.f_code.co_name


class CrashingClient(Client):
    def send(self, chat: Chat, part: Part, *, keyboard: str = "", silent: bool = False) -> int:
        name = f"{kind(part)} send"
        reach(f"{name}:before")
        message = super().send(chat, part, keyboard=keyboard, silent=silent)
        reach(f"{name}:after")
        return message

    def edit(self, chat: Chat, message: int, part: Part, *, keyboard: str = "") -> None:
        name = f"{kind(part)} edit"
        reach(f"{name}:before")
        super().edit(chat, message, part, keyboard=keyboard)
        reach(f"{name}:after")

    def delete(self, chat: Chat, messages: Sequence[int]) -> None:
        if messages:
            reach("delete:before")
        super().delete(chat, messages)
        if messages:
            reach("delete:after")


def kind(part: Part) -> str:
    """What the caller of the client's method is about to show."""
    drawn = Path(sys._getframe(2).f_code.co_filename).stem == "frames"
    return next((name for sign, name in KINDS if part.text.startswith(sign)), "preview" if drawn else "final")


class CrashingPool(ClaudePool):
    def turn(self, request: TurnRequest) -> Iterator[Event]:
        reach("turn")
        for event in super().turn(request):
            reach(type(event).__name__)
            yield event

    def leave(self) -> None:
        reach("agents:before")
        super().leave()
        reach("agents:after")


class CrashingDispatch(Dispatch):
    def start(self) -> None:
        reach("lanes")
        super().start()


PARTS = (  # what stands in the place of what
    (ledger, "Database", CrashingDatabase), (app, "Client", CrashingClient), (clis, "ClaudePool", CrashingPool),
    (app, "Dispatch", CrashingDispatch),
)  # fmt: skip


def main(folder: Path, url: str, token: str, settings: dict[str, object]) -> None:
    for module, name, part in PARTS:
        setattr(module, name, part)
    given = settings.pop("agents", {})
    agents = {"pass_env": ["PYTHONPATH", "DUCTOR_DEMO_LOG"], **(given if isinstance(given, dict) else {})}
    chosen = defaults(
        telegram_token=token, telegram_api_url=url, allowed_user_ids=(OWNER,), permission_mode="acceptEdits", agents=agents, **settings
    )
    with app.App(chosen, Paths(folder / "home"), environment=environment_for(folder), command=AGENT) as bot:
        signal.signal(signal.SIGTERM, lambda *_: bot.stop())
        bot.wait()
        reach("shutdown")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
