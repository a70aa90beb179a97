"""Jobs and hooks for a whole bot: the files a person would write, the requests a service would send, and what came of them."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ductor_lib.messages import Incoming
from ductor_lib.orchestrator.runs import Run
from tests.fakes import AGENT, OWNER, Bot
from tests.program import until

TOKEN = "a-token-for-all-hooks"
SIGNED_OUT = ("env", "DUCTOR_DEMO_SIGNED_OUT=1", *AGENT)
NO_CLAUDE = ("there-is-no-claude",)
SAYING = """
import sys
from ductor_lib.demo import agent, scenarios
scenarios.SCENARIOS["say"] = lambda stream, script: stream.say([script.text("text", "").encode().decode("unicode_escape")])
sys.exit(agent.main(sys.argv[1:]))
"""


def job(id: str = "report", **fields: object) -> dict[str, object]:
    """A job as it stands in the file; the clock never comes to it."""
    usual = {"title": id.title(), "schedule": "0 0 29 2 1", "task_folder": "work", "agent_instruction": f"do {id}"}
    return {"id": id, **usual, "created_at": datetime.now(UTC).isoformat(), **fields}


def hook(id: str = "push", **fields: object) -> dict[str, object]:
    """A hook that runs a task, as it stands in the file."""
    return {"id": id, "title": id.title(), "mode": "cron_task", "task_folder": "work", "prompt_template": f"do {id}", **fields}


def drained(released: queue.SimpleQueue[Incoming | None]) -> list[Incoming]:
    """What was queued since somebody looked, in order."""
    found = []
    while not released.empty():
        item = released.get()
        assert item is not None
        found.append(item)
    return found


def saying(folder: Path) -> tuple[str, ...]:
    """A scripted agent that says what it is told: `[[scenario:say text='…']]`, with Python's escapes."""
    program = folder / "saying.py"
    program.write_text(SAYING)
    return (sys.executable, str(program))


def write(folder: Path, name: str, entries: list[dict[str, object]]) -> None:
    (folder / "home" / ("cron_jobs.json" if name == "jobs" else "webhooks.json")).write_text(json.dumps({name: entries}))


def bot_with(
    folder: Path, *jobs: dict[str, object], hooks: list[dict[str, object]] | None = None, port: int = 0, **overrides: object
) -> Bot:
    """A bot that has these jobs and hooks from the beginning, and a task folder "work". With a port it listens there."""
    (folder / "home" / "workspace" / "cron_tasks" / "work").mkdir(parents=True, exist_ok=True)
    write(folder, "jobs", list(jobs))
    write(folder, "hooks", hooks or [])
    listening = {"webhooks": {"enabled": True, "port": port, "token": TOKEN, "rate_limit_per_minute": 10_000}} if port else {}
    return Bot(folder, **{"user_timezone": "UTC", **listening, **overrides})  # type: ignore[arg-type]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def post(port: int, hook: str, payload: Mapping[str, object], *, delivery: str = "", token: str = TOKEN) -> int:
    """Call a hook; the status of the answer. Raises OSError or http.client.HTTPException when there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    if delivery:
        headers["X-GitHub-Delivery"] = delivery
    try:
        connection.request("POST", f"/hooks/{hook}", json.dumps(payload), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def runs(bot: Bot, name: str = "report", source: str = "job") -> list[Run]:
    """The runs of a job or hook, oldest first."""
    return bot.app.ledger.runs.history(source, name)[::-1]


def ended(bot: Bot, name: str = "report", source: str = "job", *, count: int = 1) -> list[str]:
    """Wait until a job or hook has so many runs and all of them have ended; their statuses, oldest first."""

    def over() -> bool:
        found = runs(bot, name, source)
        return len(found) >= count and all(run.status for run in found)

    until(over, f"{count} runs of {name} at their end")
    bot.settle()
    return [run.status for run in runs(bot, name, source)]


def run_now(bot: Bot, name: str = "report") -> list[str]:
    """Run a job as its owner does, to its end; the statuses of all its runs."""
    before = len(runs(bot, name))
    bot.say(f"/cron run {name}")
    return ended(bot, name, count=before + 1)


def results(bot: Bot, title: str = "Report", *, chat: int = OWNER, topic: int | None = None) -> list[str]:
    """What was delivered of a task, without its heading."""
    head = f"TASK: {title}\n\n"
    return [message.text.removeprefix(head) for message in bot.shown(chat, topic) if message.text.startswith(head)]


def prompted(folder: Path) -> list[dict[str, object]]:
    """What the agents have noted about each prompt, in order."""
    log = folder / "prompts.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
