"""Verbs that need a second word, such as `ductor cron add`: without one they show the words they know."""

from __future__ import annotations

import argparse
import sys

from ductor_lib.verbs.output import UNUSABLE


def group(parser: argparse.ArgumentParser, *, metavar: str) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """What the parsers of the second words are added to; the one that was said is `options.word`."""

    def lacking(options: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return UNUSABLE

    parser.set_defaults(run=lacking)
    return parser.add_subparsers(dest="word", metavar=metavar)
