"""The verbs of the command line. What goes wrong before the bot runs is said here, in the terminal, with what to do."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ductor_lib import __version__, logs
from ductor_lib.app import App
from ductor_lib.cli.auth import Auth
from ductor_lib.cli.codex_auth import CodexAuth
from ductor_lib.config import Settings, defaults, load
from ductor_lib.errors import ConfigError, DuctorError
from ductor_lib.infra.lock import HomeLock
from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile

log = logging.getLogger(__name__)

DEMO_USER = 42
SCRIPTED = "Neither Claude Code nor Codex is signed in on this machine, so scripted agents answer: they only show how the chat behaves."
DONE, FAILED, UNUSABLE = 0, 1, 2
END_SECONDS = 18.0  # for everything that has to end; all that counts is on disk by then


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the result is the exit code: 0 well, 1 failed while running, 2 could not start."""
    parser = argparse.ArgumentParser(prog="ductor", description="Claude Code and Codex on your own machine, from a Telegram chat.")
    parser.add_argument("--version", action="version", version=f"ductor {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log everything")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.add_parser("run", help="run the bot (what happens without a verb, too)")
    trial = verbs.add_parser("demo", help="try the bot in this terminal: no account needed")
    trial.add_argument("--say", action="append", metavar="TEXT", help="say this, print the conversation and leave; may be repeated")
    options = parser.parse_args(arguments)
    try:
        if options.verb == "demo":
            return demo(options.say or [], verbose=options.verbose)
        return run(Paths.default(), verbose=options.verbose)
    except ConfigError as error:
        print("ductor cannot start:", *error.lines, sep="\n  ", file=sys.stderr)
    except DuctorError as error:
        print(f"ductor cannot start: {error}", file=sys.stderr)
    except (OSError, sqlite3.OperationalError) as error:
        print(f"ductor cannot start: {describe(error)}", file=sys.stderr)
    return UNUSABLE


def run(paths: Paths, *, verbose: bool) -> int:
    """The bot, until a signal or a reason to give up. Raises ConfigError, DuctorError and OSError before it runs."""
    state = JsonFile(paths.state)
    settings = load(paths.config, state=state.read())
    paths.create()
    with HomeLock(paths.lock), logs.setup(paths.log, level=settings.log_level, verbose=verbose, secrets=[settings.telegram_token]):
        for warning in settings.warnings:
            log.warning("setting ignored %s", warning)
        return serve(settings, paths, state)


def serve(settings: Settings, paths: Paths, state: JsonFile) -> int:
    """Run until SIGINT or SIGTERM; 1 when Telegram does not know the token any more."""
    app = App(settings, paths, environment=os.environ, state=state)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.stop())
    with app:
        reason = app.wait()
        faulthandler.dump_traceback_later(END_SECONDS, exit=True)  # an end that hangs says where, and ends
    if reason:
        print(f"ductor stopped: {reason}", file=sys.stderr)
        return FAILED
    return DONE


def demo(say: Sequence[str], *, verbose: bool) -> int:
    """The real bot against a Telegram on this machine, in a home that is thrown away; with `say`, without a terminal."""
    from ductor_lib.demo import terminal
    from ductor_lib.demo.telegram import LoopbackTelegram  # only here: a bot at work never needs it

    with tempfile.TemporaryDirectory(prefix="ductor-demo-") as folder, LoopbackTelegram() as telegram, ExitStack() as stack:
        paths = Paths(Path(folder) / "home")
        settings = defaults(
            telegram_token=telegram.token, telegram_api_url=telegram.url, allowed_user_ids=(DEMO_USER,),
            permission_mode="acceptEdits", agents={"pass_env": ["PYTHONPATH"]},
        )
        console = sys.stderr if verbose else None
        stack.enter_context(logs.setup(paths.log, level="INFO", verbose=verbose, secrets=[telegram.token], console=console))
        environment = dict(os.environ)
        claude: tuple[str, ...] = ("claude",)
        codex: tuple[str, ...] = ("codex",)
        able = [Auth(claude, variables=environment).state(), CodexAuth(codex, variables=environment).state()]
        if any(state.signed_in for state in able):
            print("A CLI is signed in: it answers here, on your subscription, and works in a folder that is thrown away.")
        else:
            print(SCRIPTED)
            claude, codex = scripted("agent"), scripted("codex_agent")
            environment |= {"HOME": folder, "PYTHONPATH": str(Path(__file__).parent.parent)}
        app = stack.enter_context(App(settings, paths, environment=environment, command=claude, codex_command=codex))
        if say:
            return terminal.converse(telegram, say, out=sys.stdout, settled=app.settled)
        return terminal.interactive(telegram, stdin=sys.stdin, out=sys.stdout, settled=app.settled)


def scripted(name: str) -> tuple[str, ...]:
    """The command of a scripted agent."""
    return (sys.executable, "-m", f"ductor_lib.demo.{name}")


def describe(error: Exception) -> str:
    """An error of the disk in words, with the file it is about."""
    if isinstance(error, OSError):
        where = f"{Path(os.fsdecode(error.filename))}: " if error.filename else ""
        return f"{where}{error.strerror or error}. Check the disk and the permissions of ductor's home (DUCTOR_HOME, or ~/.ductor)."
    return f"the ledger cannot be opened ({error}). Check the disk and the permissions of ductor's home."
