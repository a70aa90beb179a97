"""`ductor tool …`, for an agent's shell: short plain text or one JSON object, and a sentence instead of a traceback."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ductor_lib.errors import DuctorError
from ductor_lib.paths import Paths
from ductor_lib.tools import clock, documents, files, media
from ductor_lib.tools.faults import Unusable
from ductor_lib.verbs.group import group
from ductor_lib.verbs.output import DONE, FAILED, UNUSABLE, say, shown, size

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

MOST_CHARS = 10_000_000
AGES = ((172_800, 86_400, "days"), (5400, 3600, "h"), (90, 60, "min"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool found: `data` for --json, `lines` for everybody else."""

    data: dict[str, object]
    lines: Iterable[str]


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the table: what `--help` says, the arguments, and the work."""

    name: str
    purpose: str
    arguments: Callable[[argparse.ArgumentParser], None]
    work: Callable[[argparse.Namespace], Answer]


def add(verbs: Verbs) -> None:
    """Add `ductor tool` with all its tools to the verbs of the command line."""
    parser = verbs.add_parser("tool", help="read documents, sound and video, look at files, tell the time; needs no running bot")
    tools = group(parser, metavar="TOOL")
    for tool in TOOLS:
        one = tools.add_parser(tool.name, help=tool.purpose, description=tool.purpose)
        tool.arguments(one)
        one.add_argument("--json", action="store_true", help="print one JSON object, for an error too")
        one.set_defaults(run=run, work=tool.work)


def run(options: argparse.Namespace) -> int:
    """Run the tool that was chosen. 0: done; 1: it could not be done; 2: the call itself cannot be meant. Main thread only."""
    before = signal.signal(signal.SIGTERM, _leave)  # a program that the tool has started must end with it
    try:
        work: Callable[[argparse.Namespace], Answer] = options.work
        answer = work(options)
        return say(_json(answer.data) if options.json else "\n".join(answer.lines), sys.stdout, DONE)
    except DuctorError as error:
        return _refuse(str(error), code=UNUSABLE if isinstance(error, Unusable) else FAILED, as_json=options.json)
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}. Check the disk and the permissions.", code=FAILED, as_json=options.json)
    except KeyboardInterrupt:
        return _refuse("interrupted", code=FAILED, as_json=options.json)
    finally:
        signal.signal(signal.SIGTERM, before)


# ── the tools ───────────────────────────────────────────────────────────────────────────────────────────────────────


def file_info(options: argparse.Namespace) -> Answer:
    found = files.file_info(options.file)
    what = f"{found.kind} ({found.format})" if found.format else found.kind
    pixels = f"{found.width} x {found.height} pixels" if found.width else ""
    text = f"{found.encoding}, {_count(found.lines or 0, 'line')}" if found.encoding else ""
    rows = {
        "kind": ", ".join(filter(None, (what, pixels, text))),
        "size": size(found.size) + (f" ({found.size} bytes)" if found.size >= 1000 else ""),
        "modified": found.modified or "unknown",
        "sha256": found.sha256,
    }
    return Answer(asdict(found), _table(found.path, rows))


def list_files(options: argparse.Namespace) -> Answer:
    found = files.list_files(options.folder, limit=_whole(options.limit, "--limit", high=10_000))
    rows = [(entry.modified[:16].replace("T", " "), age(entry.age), size(entry.size), entry.kind, entry.path) for entry in found.files]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    count = f"{len(rows)} of {found.total}{'' if found.complete else ' or more'} files in {found.folder}"
    title = f"{shown(count)}, newest first" if rows else f"no files in {shown(found.folder)}; hidden ones are left out"
    lines = ("  ".join(f"{shown(cell):<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return Answer(asdict(found), [title, *lines])


def read_document(options: argparse.Namespace) -> Answer:
    most = _whole(options.max_chars, "--max-chars", high=MOST_CHARS)
    found = documents.read_document(options.file, documents.Part(options.pages, options.sheet, options.encoding, most))
    return Answer(asdict(found), [found.text, *(f"[{note}]" for note in found.notes)])


def transcribe(options: argparse.Namespace) -> Answer:
    found = media.transcribe(options.file, timeout=_whole(options.timeout, "--timeout", high=86_400))
    return Answer(asdict(found), [found.text or "[no speech was heard]"])


def video(options: argparse.Namespace) -> Answer:
    frames = _whole(options.frames, "--frames", high=media.MOST_FRAMES) if options.frames else 0
    found = media.video(options.file, frames=frames, folder=options.out)
    rows = {"duration": f"{found.duration:.1f} s" if found.duration else "unknown", "size": size(found.bytes)}
    tracks = [f"{track.type:<9} {_track(track)}" for track in found.streams]
    return Answer(asdict(found), [*_table(found.path, rows), *tracks, *(shown(f"frame     {frame}") for frame in found.frames)])


def time(options: argparse.Namespace) -> Answer:
    zone, note = clock.user_zone(Paths.default().config)
    found = clock.moments(datetime.now(UTC), zone, zones=options.zone)
    lines = [f"{each.place:<{max(len(one.place) for one in found)}}  {each.iso}  {each.weekday:<9}  {each.zone}" for each in found]
    data: dict[str, object] = {"times": [asdict(each) for each in found], "note": note}
    return Answer(data, [*lines, *([f"[{note}]"] if note else [])])


# ── their arguments ─────────────────────────────────────────────────────────────────────────────────────────────────


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")


def _folder(parser: argparse.ArgumentParser) -> None:
    received = Paths.default().telegram_files
    parser.add_argument("folder", type=Path, nargs="?", default=received, metavar="DIR", help="else what was sent to you by Telegram")
    parser.add_argument("--limit", default="20", metavar="N", help="show this many (20)")


def _document(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("--pages", default="", metavar="PAGES", help="of a PDF: 3, 1-3, 5- or 1-3,7")
    parser.add_argument("--sheet", default="", metavar="NAME", help="of a workbook: name or number")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of a text, where the guess is wrong: cp1251")
    parser.add_argument("--max-chars", default=str(documents.MAX_CHARS), metavar="N", help=f"cut there ({documents.MAX_CHARS})")


def _sound(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("--timeout", default=f"{media.TIMEOUT:.0f}", metavar="SECONDS", help=f"give up then ({media.TIMEOUT:.0f})")


def _video(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    parser.add_argument("--frames", default="", metavar="N", help="take so many pictures, evenly spread, as jpg")
    parser.add_argument("--out", type=Path, metavar="DIR", help="put them there (default: frames, beside the file)")


def _time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--zone", action="append", default=[], metavar="NAME", help="one more, such as Asia/Seoul; may be repeated")


TOOLS = (
    Tool("file-info", "What a file is, by its content: kind, size, encoding, pixels, checksum", _file, file_info),
    Tool("list-files", "The newest files of a folder and its subfolders", _folder, list_files),
    Tool("read-document", "The text of a PDF, Word or Excel file, or of a text in any encoding", _document, read_document),
    Tool("transcribe", "The words in a sound or a video", _sound, transcribe),
    Tool("video", "Duration, size and tracks of a video, and pictures out of it", _video, video),
    Tool("time", "What time it is for the user and elsewhere", _time, time),
)


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def age(seconds: int) -> str:
    """A length of time in its nearest unit: "3 min"."""
    unit, name = next(((unit, name) for least, unit, name in AGES if seconds >= least), (1, "s"))
    return f"{max(0, seconds) // unit} {name}"


def _table(path: str, rows: dict[str, str]) -> list[str]:
    return [shown(path), *(f"{name:<9} {value}" for name, value in rows.items())]


def _track(track: media.Stream) -> str:
    fps = f"{track.fps:g} fps" if track.fps else None
    channels = _count(track.channels, "channel") if track.channels else None
    return " ".join(filter(None, (track.codec, track.size, fps, channels, track.language)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _whole(text: str, option: str, *, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= high):
        raise Unusable(f"{option} {text}: must be a whole number from 1 to {high}.")
    return int(text)


def _json(data: dict[str, object]) -> str:
    return json.dumps(data, ensure_ascii=False)


def _refuse(sentence: str, *, code: int, as_json: bool) -> int:
    if as_json:
        return say(_json({"error": sentence}), sys.stdout, code)
    return say(shown(sentence), sys.stderr, code)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
