"""`ductor cron …`: jobs by the clock and reminders, from a terminal or an agent's shell."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ductor_lib.verbs.answers import (
    Answer,
    Unusable,
    carry_out,
    clock,
    given,
    number,
    pairs,
    read_text,
    rows,
    run_lines,
    table,
    word,
)
from ductor_lib.verbs.group import group

TEXTS = ("agent_instruction", "message", "prompt_template")  # "-" reads them from the standard input
NUMBERS = ("quiet_start", "quiet_end", "hmac_tolerance_seconds", "limit")
UNFINISHED = "unfinished"  # the status of a run that waits or is at work
HERE = ("DUCTOR_CHAT_ID", "DUCTOR_TOPIC_ID")  # in an agent's environment


@dataclass(frozen=True, slots=True)
class Word:
    """One row of the table: what `--help` says, the arguments, and the lines of the answer."""

    name: str
    purpose: str
    arguments: Callable[[argparse.ArgumentParser], None]
    lines: Callable[[Answer], Iterable[str]]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `ductor cron` to the verbs of the command line."""
    parser = verbs.add_parser("cron", help="jobs by the clock, and reminders")
    words = group(parser, metavar="WORD")
    for row in WORDS:
        place(words, row, run)


def place(words: argparse._SubParsersAction[argparse.ArgumentParser], row: Word, run: Callable[[argparse.Namespace], int]) -> None:
    """Add the parser of one row."""
    parser = words.add_parser(row.name, help=row.purpose, description=row.purpose, allow_abbrev=False)
    row.arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for an error too")
    parser.set_defaults(run=run, lines=row.lines)


def run(options: argparse.Namespace) -> int:
    """Do what the chosen word says; the result is the exit code."""
    return carry_out(options, f"cron.{options.word}", lambda: arguments(options, os.environ), options.lines)


def arguments(options: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, object]:
    """What is asked of the bot: what was said, and for something new the conversation that it is said in."""
    args = given(options, vars(options).keys() - {"verb", "verbose", "word", "json", "run", "lines"})
    for name in TEXTS:
        if name in args:
            args[name] = read_text(str(args[name]))
    for name in NUMBERS:
        if name in args:
            args[name] = number(str(args[name]))
    if "cli_parameters" in args:
        args["cli_parameters"] = _parameters(str(args["cli_parameters"]))
    chat, topic = (environment.get(name, "") for name in HERE)
    if options.word == "add" and chat:
        args["here"] = f"{chat}:{topic}".rstrip(":")
    return args


def _parameters(text: str) -> list[str] | str:
    try:
        return shlex.split(text) if text else ""
    except ValueError as error:
        raise Unusable(f"--cli-parameters: {str(error).lower()}; write them as you would in a shell.") from None


# ── arguments ───────────────────────────────────────────────────────────────────────────────────────────────────────


def named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="its id, or the beginning of its id or title")


def option(parser: argparse.ArgumentParser, name: str, metavar: str, help: str, *, to: str = "") -> None:
    """An option that is only there when it was said."""
    parser.add_argument(name, dest=to or name[2:].replace("-", "_"), metavar=metavar, help=help, default=argparse.SUPPRESS)


def switch(parser: argparse.ArgumentParser, name: str, help: str) -> None:
    parser.add_argument(name, action=argparse.BooleanOptionalAction, help=help, default=argparse.SUPPRESS)


def task_options(parser: argparse.ArgumentParser) -> None:
    """What jobs and hooks have in common."""
    option(parser, "--title", "TEXT", "how it is called, at the head of what it reports")
    option(parser, "--description", "TEXT", "for people; goes into a new folder's TASK_DESCRIPTION.md")
    option(parser, "--folder", "NAME", "its folder in cron_tasks/, made if it is missing; else one named after the title", to="task_folder")
    option(parser, "--provider", "NAME", "claude or codex; else as in conversations")
    option(parser, "--model", "NAME", "the model; else as in conversations")
    option(parser, "--effort", "WORD", "how hard it thinks, such as high", to="reasoning_effort")
    option(parser, "--cli-parameters", "TEXT", "of the agent's command line, instead of those in config.toml: --cli-parameters='--x 1'")
    option(parser, "--quiet-start", "HOUR", "0-23; from then on due runs are skipped")
    option(parser, "--quiet-end", "HOUR", "until then")
    option(parser, "--dependency", "WORD", "jobs and hooks with the same word run one after the other")
    option(parser, "--silent-when", "TOKEN", "an answer that has this in it is not sent")
    switch(parser, "--into-session", "the result becomes part of the conversation")
    option(parser, "--chat", "ID[:TOPIC]", "where the result goes (--chat=-1001234:5 for a group); an agent's own chat if not said")
    parser.add_argument(
        "--everyone", action="store_true", help="it goes to the private chats of all allowed users", default=argparse.SUPPRESS
    )


def job_options(parser: argparse.ArgumentParser) -> None:
    option(parser, "--schedule", "CRON", 'minute hour day month weekday: "0 9 * * 1-5"')
    option(parser, "--at", "MOMENT", 'once: 2026-12-01T09:00, "2h", "tomorrow 9:00"')
    option(parser, "--timezone", "NAME", "such as Europe/Berlin; else the user's")
    option(parser, "--instruction", "TEXT", "what the agent is told; - reads it from the standard input", to="agent_instruction")
    option(parser, "--message", "TEXT", "a reminder: this is said as it is, without a model")
    switch(parser, "--ask", "the message goes to the agent of the conversation, which answers")
    option(parser, "--missed", "skip|once", "what happens to runs that were due while ductor was off")
    task_options(parser)


def _add(parser: argparse.ArgumentParser) -> None:
    option(parser, "--id", "ID", "its id, instead of one made from the title")
    job_options(parser)


def _edit(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Only what is named changes; an empty value ('') is the default again."
    named(parser)
    job_options(parser)


def remove_options(parser: argparse.ArgumentParser) -> None:
    named(parser)
    parser.add_argument("--with-folder", action="store_true", help="erase its task folder, too", default=argparse.SUPPRESS)


def log_options(parser: argparse.ArgumentParser) -> None:
    named(parser)
    option(parser, "--limit", "N", "the last N runs (20)")


def nothing(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _job(answer: Answer) -> list[str]:
    moment, zone = word(answer, "next_run"), word(answer, "timezone")
    return pairs({
        "id": word(answer, "id"), "title": word(answer, "title"), "next": f"{moment} ({zone})" if moment else "never",
        "folder": word(answer, "path"), "result": f"to chat {chat}" if (chat := word(answer, "chat")) else "to all allowed users",
    })  # fmt: skip


def _show(answer: Answer) -> list[str]:
    job = answer.get("job")
    fields = {name: word(job, name) for name in job if job[name] not in ("", None, False)} if isinstance(job, dict) else {}
    runs = run_lines(rows(answer, "runs"))
    return [*pairs({**fields, "next": word(answer, "next_run") or "never", "path": word(answer, "path")}), *(["", *runs] if runs else [])]


def _list(answer: Answer) -> list[str]:
    found = [
        (word(job, "id"), "on" if job.get("enabled") else "off", word(job, "schedule") or clock(word(job, "at")),
         clock(word(job, "next_run")) or "-", " ".join((word(job, "last", "status"), clock(word(job, "last", "at")))).strip() or "-",
         word(job, "title"))
        for job in rows(answer, "jobs")
    ]  # fmt: skip
    return table([("ID", "", "WHEN", "NEXT", "LAST", "TITLE"), *found]) if found else ["There are no jobs. `ductor cron add` makes one."]


def removed(answer: Answer) -> list[str]:
    return [f"Removed {word(answer, 'id')}{', and its folder' if answer.get('folder_removed') else ''}."]


def queued(answer: Answer) -> list[str]:
    """A run that was begun by hand."""
    status = word(answer, "status")
    return [f"Run {word(answer, 'run')} of {word(answer, 'id')}{' is queued' if status == UNFINISHED else f': {status}'}."]


def logged(answer: Answer) -> list[str]:
    return run_lines(rows(answer, "runs")) or [f"{word(answer, 'id')} has not run yet."]


def _stopped(answer: Answer) -> list[str]:
    ended = "its run is being ended" if answer.get("ended") else ""
    withdrawn = f"waiting runs withdrawn: {word(answer, 'withdrawn')}" if answer.get("withdrawn") else ""
    return [f"{word(answer, 'id')}: {', '.join(filter(None, (ended, withdrawn)))}."]


WORDS = (
    Word("add", "Make a job or a reminder", _add, _job),
    Word("list", "All jobs: when they run next, and what came of the last run", nothing, _list),
    Word("show", "Everything about one job", named, _show),
    Word("edit", "Change a job", _edit, _job),
    Word("enable", "Let a job run by the clock", named, _job),
    Word("disable", "Keep a job for later", named, _job),
    Word("remove", "Remove a job for good", remove_options, removed),
    Word("run", "Run a job now", named, queued),
    Word("stop", "End the run under way, and withdraw those that wait", named, _stopped),
    Word("log", "The last runs of a job", log_options, logged),
)
