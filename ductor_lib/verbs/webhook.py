"""`ductor webhook …`: hooks that other programs call, from a terminal or an agent's shell. Secrets never stand in arguments."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from ductor_lib.verbs.answers import Answer, Unusable, carry_out, clock, pairs, read_text, rows, run_lines, table, word
from ductor_lib.verbs.cron import (
    Word,
    arguments,
    log_options,
    logged,
    named,
    nothing,
    option,
    place,
    queued,
    remove_options,
    removed,
    task_options,
)
from ductor_lib.verbs.group import group

SECRET_FILE = "hmac_secret_file"
MOST_SECRET = 4000  # bytes


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `ductor webhook` to the verbs of the command line."""
    parser = verbs.add_parser("webhook", help="hooks that other programs call over HTTP")
    words = group(parser, metavar="WORD")
    for row in WORDS:
        place(words, row, run)


def run(options: argparse.Namespace) -> int:
    """Do what the chosen word says; the result is the exit code."""
    return carry_out(options, f"webhook.{options.word}", lambda: _arguments(options), options.lines)


def _arguments(options: argparse.Namespace) -> dict[str, object]:
    args = arguments(options, os.environ)
    if SECRET_FILE in args:
        args["hmac_secret"] = _read_secret(str(args.pop(SECRET_FILE)))
    if "payload" in args:
        args["payload"] = _payload(str(args["payload"]))
    return args


def _read_secret(name: str) -> str:
    """From a file or the standard input: arguments stand in the list of processes, for everybody to read."""
    try:
        data = read_text(name) if name == "-" else Path(name).read_bytes()[: MOST_SECRET + 1].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"--hmac-secret-file: {name} cannot be read ({error}).") from None
    if not data or len(data) > MOST_SECRET:
        raise Unusable(f"--hmac-secret-file: the secret must have 1 to {MOST_SECRET} characters.")
    return data


def _payload(text: str) -> object:
    try:
        data = read_text("-") if text == "-" else Path(text[1:]).read_text("utf-8") if text.startswith("@") else text
        return json.loads(data)
    except OSError as error:
        raise Unusable(f"--payload: {text[1:]} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise Unusable(f'--payload: not JSON ({error}); write an object such as {{"branch": "main"}}, or @FILE.') from None


# ── arguments ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _hook_options(parser: argparse.ArgumentParser) -> None:
    option(parser, "--template", "TEXT", "the prompt; {{field}} is filled from the payload; - reads it from the standard input",
           to="prompt_template")  # fmt: skip
    option(parser, "--mode", "wake|cron_task", "into the conversation, or alone in a task folder (wake)")
    option(parser, "--preset", "NAME", "how github, stripe or slack sign their requests")
    option(parser, "--auth", "bearer|hmac", "a token, or a signature (bearer)", to="auth_mode")
    parser.add_argument(
        "--own-token", action="store_true", help="make a token for this hook, besides the one of all hooks", default=argparse.SUPPRESS
    )
    _secret_options(parser)
    option(parser, "--hmac-header", "NAME", "the header with the signature")
    option(parser, "--hmac-algorithm", "NAME", "sha256, sha1 or sha512 (sha256)")
    option(parser, "--hmac-encoding", "NAME", "hex or base64 (hex)")
    option(parser, "--hmac-sig-prefix", "TEXT", "what stands before the signature, such as sha256=")
    option(parser, "--hmac-sig-regex", "REGEX", "finds the signature in the header")
    option(parser, "--hmac-payload-prefix-regex", "REGEX", "what is signed before the body")
    option(parser, "--hmac-tolerance-seconds", "N", "how old a signature may be; 0: any age")
    task_options(parser)


def _secret_options(parser: argparse.ArgumentParser) -> None:
    option(parser, "--hmac-secret-file", "FILE", "the secret of the sender, from a file or - for the standard input; else one is made")


def _add(parser: argparse.ArgumentParser) -> None:
    option(parser, "--id", "ID", "its id, which stands in its address, instead of one made from the title")
    _hook_options(parser)


def _edit(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Only what is named changes; an empty value ('') is the default again."
    named(parser)
    _hook_options(parser)


def _rotate(parser: argparse.ArgumentParser) -> None:
    named(parser)
    _secret_options(parser)


def _test(parser: argparse.ArgumentParser) -> None:
    named(parser)
    option(parser, "--payload", "JSON", "a JSON object, @FILE, or - for the standard input ({})")


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _hook(answer: Answer) -> list[str]:
    return pairs({
        "id": word(answer, "id"), "title": word(answer, "title"), "mode": word(answer, "mode"), "folder": word(answer, "path"),
        "path": word(answer, "url_path"), "call": word(answer, "call"), "token": word(answer, "token"),
        "secret": word(answer, "hmac_secret"),
        "result": f"to chat {chat}" if (chat := word(answer, "chat")) else "to all allowed users",
    })  # fmt: skip


def _show(answer: Answer) -> list[str]:
    hook = answer.get("hook")
    fields = {name: word(hook, name) for name in hook if hook[name] not in ("", None, False, 0)} if isinstance(hook, dict) else {}
    runs = run_lines(rows(answer, "runs"))
    record = {name: word(answer, name) for name in ("trigger_count", "last_triggered_at", "last_error")}
    return [*pairs({**fields, "url": word(answer, "url"), "call": word(answer, "call"), **record}), *(["", *runs] if runs else [])]


def _list(answer: Answer) -> list[str]:
    found = [
        (word(hook, "id"), "on" if hook.get("enabled") else "off", word(hook, "mode"), word(hook, "auth_mode"),
         word(hook, "trigger_count"), clock(word(hook, "last_triggered_at")) or "-", word(hook, "last_error") or "-", word(hook, "title"))
        for hook in rows(answer, "hooks")
    ]  # fmt: skip
    off = [] if answer.get("listening") else ["ductor does not listen for webhooks: set enabled = true under [webhooks] in config.toml."]
    if not found:
        return ["There are no hooks. `ductor webhook add` makes one.", *off]
    return [*table([("ID", "", "MODE", "AUTH", "CALLS", "LAST CALL", "LAST ERROR", "TITLE"), *found]), *off]


WORDS = (
    Word("add", "Make a hook", _add, _hook),
    Word("list", "All hooks: how often they were called, and what went wrong last", nothing, _list),
    Word("show", "Everything about one hook but its secrets", named, _show),
    Word("edit", "Change a hook", _edit, _hook),
    Word("enable", "Let a hook be called", named, _hook),
    Word("disable", "Refuse its callers", named, _hook),
    Word("rotate", "Make another token or secret", _rotate, _hook),
    Word("remove", "Remove a hook for good", remove_options, removed),
    Word("test", "Take a payload as if it had come", _test, queued),
    Word("log", "The last runs of a hook", log_options, logged),
)
