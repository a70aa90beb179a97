"""`ductor cleanup`: remove old files now, or see which would go."""

from __future__ import annotations

import argparse

from ductor_lib.verbs.answers import Answer, carry_out, one_line, rows, word
from ductor_lib.verbs.output import size


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `ductor cleanup` to the verbs of the command line."""
    parser = verbs.add_parser("cleanup", help="remove old files and old history, as every day")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for an error too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Clean up, or look what there is to do; the result is the exit code."""
    lines = _would_remove if options.dry_run else _removed
    return carry_out(options, "cleanup", lambda: {"dry_run": options.dry_run}, lines)


def _would_remove(answer: Answer) -> list[str]:
    files = [f"{size(int(word(file, 'bytes') or 0)):>10}  {one_line(word(file, 'path'))}" for file in rows(answer, "would_remove")]
    more = [f"{'':>10}  … and {word(answer, 'more')} more files"] if word(answer, "more") != "0" else []
    return [*files, *more, f"Would remove {_counts(answer)}."]


def _removed(answer: Answer) -> list[str]:
    failed = f" {word(answer, 'failed')} could not be removed; logs/agent.log says why." if word(answer, "failed") != "0" else ""
    return [f"Removed {_counts(answer)}.{failed}"]


def _counts(answer: Answer) -> str:
    files, bytes_, folders, runs = (word(answer, name) for name in ("files", "bytes", "folders", "runs"))
    return f"files: {files} ({size(int(bytes_ or 0))}), empty date folders: {folders}, old runs of the history: {runs}"
