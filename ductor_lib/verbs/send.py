"""`ductor send`: say something in a chat, from any script on this machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import sys
from collections.abc import Mapping

from ductor_lib.bot.groups import Groups
from ductor_lib.config import load
from ductor_lib.errors import ConfigError, DuctorError
from ductor_lib.infra.requests import MOST_BYTES
from ductor_lib.orchestrator.ledger import Ledger
from ductor_lib.orchestrator.sending import send
from ductor_lib.paths import Paths
from ductor_lib.security import FileAccess
from ductor_lib.storage import JsonFile
from ductor_lib.verbs.control import perform
from ductor_lib.verbs.output import DONE, FAILED, UNUSABLE, describe, say, shown

CHAT = re.compile(r"(?:chat:)?(-?\d{1,18})(?::(\d{1,18}))?")


class Unusable(DuctorError):
    """The arguments cannot be used."""


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("send", help="send a text or files to a chat", description="Send a text, files or both to a chat.")
    parser.add_argument("text", nargs="*", metavar="TEXT", help="what to say, in Markdown; - reads it from the standard input")
    parser.add_argument("--file", action="append", default=[], metavar="PATH", help="send this file, too; may be repeated")
    parser.add_argument(
        "--chat", metavar="ID[:TOPIC]", help="the chat (--chat=-1001234:5 for a group); else the agent's own, else the owner's"
    )
    parser.add_argument("--silent", action="store_true", help="without a sound")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Send, and say what became of it. 0: stored, and sent as soon as possible; 1: refused; 2: unusable arguments or settings."""
    try:
        paths = Paths.default()
        result = perform(paths, "send", arguments(options, os.environ), lambda args: offline(paths, args))
    except ConfigError as error:
        return _tell(options, {"error": "; ".join(error.lines)}, UNUSABLE)
    except Unusable as error:
        return _tell(options, {"error": str(error)}, UNUSABLE)
    except DuctorError as error:
        return _tell(options, {"error": str(error)}, FAILED)
    except KeyboardInterrupt:
        return _tell(options, {"error": "Interrupted."}, FAILED)
    except (OSError, sqlite3.OperationalError) as error:
        return _tell(options, {"error": describe(error)}, FAILED)
    return _tell(options, result, DONE)


def arguments(options: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, object]:
    """What is asked of the bot. Raises Unusable when the chat cannot be one."""
    text = _standard_input() if options.text == ["-"] else " ".join(options.text)
    files = [os.path.join(os.getcwd(), path) for path in options.file]
    return {"text": text, "files": files, "silent": options.silent, **_chat(options.chat, environment)}


def offline(paths: Paths, args: Mapping[str, object]) -> Mapping[str, object]:
    """Put it into the outbox of a bot that does not run."""
    state = JsonFile(paths.state)
    settings = load(paths.config, state=state.read())
    ledger = Ledger(paths.ledger)
    try:
        groups = Groups(settings.allowed_group_ids, state)
        return {**send(ledger, settings, groups, FileAccess.of(settings, paths), args), "kept": True}
    finally:
        ledger.close()


def _chat(given: str | None, environment: Mapping[str, str]) -> dict[str, object]:
    """The chat that was named, else the one that the agent talks in; none: the owner's."""
    number, topic = environment.get("DUCTOR_CHAT_ID", ""), environment.get("DUCTOR_TOPIC_ID", "")
    wanted = given if given is not None else f"{number}:{topic}".rstrip(":")
    if not wanted:
        return {}
    match = CHAT.fullmatch(wanted)
    if match is None:
        raise Unusable(f"{wanted!r} is no chat. Write its number, with its topic behind a colon: --chat=-1001234567890:5")
    return {"chat": int(match[1]), "topic": int(match[2]) if match[2] else None}


def _standard_input() -> str:
    return sys.stdin.buffer.read(MOST_BYTES + 1).decode("utf-8", "replace")  # more than that is refused


def _tell(options: argparse.Namespace, result: Mapping[str, object], code: int) -> int:
    if options.json:
        return say(json.dumps(result), sys.stdout, code)
    if code:
        return say(f"ductor send: {shown(str(result['error']))}", sys.stderr, code)
    return say("Kept; it is sent when ductor runs." if result.get("kept") else "Handed to ductor.", sys.stdout, code)
