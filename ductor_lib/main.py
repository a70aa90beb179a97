"""The words of the command line. What goes wrong before anything runs is said here, in the terminal, with what to do."""

from __future__ import annotations

import argparse
import importlib
import json
import sqlite3
import sys
from collections.abc import Sequence
from typing import NoReturn

from ductor_lib import __version__
from ductor_lib.errors import ConfigError, DuctorError
from ductor_lib.verbs.output import UNUSABLE, describe

VERBS = ("run", "demo", "send", "cron", "webhook", "tool", "cleanup")  # each a module of verbs/
STARTING = ("run", "demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the result is the exit code: 0 well, 1 failed while running, 2 could not start."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not _verb(words) and not {"-h", "--help"} & set(words):
        words = [*words, "run"]
    verb = _verb(words)
    options = _parser(words, verb).parse_args(words)
    trouble = "ductor cannot start:" if verb in STARTING else f"ductor {verb}:"
    try:
        code: int = options.run(options)
        return code
    except ConfigError as error:
        print(trouble, *error.lines, sep="\n  ", file=sys.stderr)
    except DuctorError as error:
        print(trouble, error, file=sys.stderr)
    except (OSError, sqlite3.OperationalError) as error:
        print(trouble, describe(error), file=sys.stderr)
    return UNUSABLE


class Parser(argparse.ArgumentParser):
    """Tells mistakes in the words of a command as JSON where JSON was asked for."""

    def error(self, message: str) -> NoReturn:
        print(json.dumps({"error": message}))
        self.exit(UNUSABLE)


def _parser(words: Sequence[str], verb: str) -> argparse.ArgumentParser:
    kind = Parser if "--json" in words else argparse.ArgumentParser  # also that of all parsers below
    parser = kind(prog="ductor", description="Claude Code and Codex on your own machine, from a Telegram chat.")
    parser.add_argument("--version", action="version", version=f"ductor {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log everything")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name in (verb,) if verb in VERBS else VERBS:  # only what is needed: agents call verbs often, and imports take longest
        importlib.import_module(f"ductor_lib.verbs.{name}").add(verbs)
    return parser


def _verb(words: Sequence[str]) -> str:
    """The first word that is no option; "" without one."""
    return next((word for word in words if not word.startswith("-")), "")


if __name__ == "__main__":
    sys.exit(main())
