"""`ductor run`, and what happens without a verb: the bot, until a signal or a reason to give up."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys

from ductor_lib import logs
from ductor_lib.automation import token
from ductor_lib.config import Settings, load
from ductor_lib.infra.lock import HomeLock
from ductor_lib.paths import Paths
from ductor_lib.storage import JsonFile

DONE, FAILED = 0, 1
END_SECONDS = 18.0  # for everything that has to end; all that counts is on disk by then

log = logging.getLogger(__name__)


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("run", help="run the bot (what happens without a verb, too)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the bot of the default home. Raises ConfigError, DuctorError and OSError before it runs."""
    paths = Paths.default()
    state = JsonFile(paths.state)
    settings = load(paths.config, state=state.read())
    paths.create()
    secrets = [settings.telegram_token, token.known(settings, state)]
    log_ = logs.setup(paths.log, level=settings.log_level, verbose=options.verbose, secrets=secrets)
    with HomeLock(paths.lock), log_:
        for warning in settings.warnings:
            log.warning("setting ignored %s", warning)
        return serve(settings, paths, state)


def serve(settings: Settings, paths: Paths, state: JsonFile) -> int:
    """Run until SIGINT or SIGTERM; 1 when Telegram does not know the token any more."""
    from ductor_lib.app import App  # only here: the other verbs need none of it, and it takes most of their time

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
