"""`ductor demo`: the real bot against a Telegram on this machine, in a home that is thrown away."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import ductor_lib
from ductor_lib import logs
from ductor_lib.cli.auth import Auth
from ductor_lib.cli.codex_auth import CodexAuth
from ductor_lib.config import defaults
from ductor_lib.paths import Paths

USER = 42
SCRIPTED = "Neither Claude Code nor Codex is signed in on this machine, so scripted agents answer: they only show how the chat behaves."


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("demo", help="try the bot in this terminal: no account needed")
    parser.add_argument("--say", action="append", metavar="TEXT", help="say this, print the conversation and leave; may be repeated")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """With `--say` without a terminal. 0 when all was answered."""
    from ductor_lib.app import App  # only here: the other verbs need none of it, and it takes most of their time
    from ductor_lib.demo import terminal
    from ductor_lib.demo.telegram import LoopbackTelegram

    home = tempfile.TemporaryDirectory(prefix="ductor-demo-", ignore_cleanup_errors=True)
    with home as folder, LoopbackTelegram() as telegram, ExitStack() as stack:
        paths = Paths(Path(folder) / "home")
        settings = defaults(
            telegram_token=telegram.token, telegram_api_url=telegram.url, allowed_user_ids=(USER,),
            permission_mode="acceptEdits", agents={"pass_env": ["PYTHONPATH"]},
        )
        console = sys.stderr if options.verbose else None
        stack.enter_context(logs.setup(paths.log, level="INFO", verbose=options.verbose, secrets=[telegram.token], console=console))
        environment = dict(os.environ)
        claude: tuple[str, ...] = ("claude",)
        codex: tuple[str, ...] = ("codex",)
        able = [Auth(claude, variables=environment).state(), CodexAuth(codex, variables=environment).state()]
        if any(state.signed_in for state in able):
            print("A CLI is signed in: it answers here, on your subscription, and works in a folder that is thrown away.")
        else:
            print(SCRIPTED)
            claude, codex = scripted("agent"), scripted("codex_agent")
            environment |= {"HOME": folder, "PYTHONPATH": str(Path(ductor_lib.__file__).parent.parent)}
        app = stack.enter_context(App(settings, paths, environment=environment, command=claude, codex_command=codex))
        if options.say:
            return terminal.converse(telegram, options.say, out=sys.stdout, settled=app.settled)
        return terminal.interactive(telegram, stdin=sys.stdin, out=sys.stdout, settled=app.settled)


def scripted(name: str) -> tuple[str, ...]:
    """The command of a scripted agent."""
    return (sys.executable, "-m", f"ductor_lib.demo.{name}")
