"""Sound to text, and what a video shows: by the programs that are installed; what is missing is said with how to get it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ductor_lib.errors import DuctorError
from ductor_lib.tools import programs
from ductor_lib.tools.faults import how_to_get, pip_install
from ductor_lib.tools.files import file_kind

COMMAND = "DUCTOR_TRANSCRIBE"  # a command line; {file} in it is the file, else the file comes last
MODEL = "DUCTOR_WHISPER_MODEL"  # for whisper-cli, which has none of its own: the path of a ggml file
TIMEOUT = 600.0  # seconds; the first run of a Whisper may fetch its model
LOOK = 60.0  # seconds for ffprobe, and for one frame
WIDEST = 1280  # pixels of a frame; models that look at pictures shrink larger ones anyway
MOST_FRAMES = 100
FASTER_WHISPER = """
import sys
from faster_whisper import WhisperModel
for segment in WhisperModel("small", compute_type="int8").transcribe(sys.argv[1])[0]:
    print(segment.text.strip())
"""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, and the program that understood it. Empty text: no speech was heard."""

    path: str
    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Stream:
    """One track. `size` is "1920x1080", `fps` frames a second, `channels` those of a sound; what is not said is None."""

    type: str
    codec: str
    size: str | None = None
    fps: float | None = None
    channels: int | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Video:
    """Facts of a film: `duration` in seconds (None: the file does not say), `bytes`, and the pictures that were taken from it."""

    path: str
    duration: float | None
    bytes: int
    streams: tuple[Stream, ...]
    frames: tuple[str, ...] = ()


def transcribe(path: Path, *, timeout: float = TIMEOUT, environ: Mapping[str, str] = os.environ) -> Transcript:
    """The words in a sound or a video, by the first of: $DUCTOR_TRANSCRIBE, whisper, faster-whisper, whisper-cli.

    Raises DuctorError when the file is no sound, nothing is installed, or the program fails or takes `timeout` seconds.
    """
    kind = file_kind(path)
    if kind.group not in ("sound", "video", "data"):  # data: a sound of a kind not known here, perhaps
        raise DuctorError(f"{path}: {kind}, not a sound or a video. `ductor tool file-info {shlex.quote(str(path))}` says more.")
    file = Path(os.path.abspath(path))  # never taken for an option
    if setting := environ.get(COMMAND, "").strip():
        command = _configured(setting, file)
        return Transcript(str(path), programs.run(command, timeout=timeout).strip(), Path(command[0]).name)
    if program := shutil.which("whisper"):
        return Transcript(str(path), _whisper(program, file, timeout), "whisper")
    if importlib.util.find_spec("faster_whisper"):
        child = (sys.executable, "-c", FASTER_WHISPER, str(file))  # its libraries take a lot of memory, and may crash
        return Transcript(str(path), programs.run(child, timeout=timeout).strip(), "faster-whisper")
    if (program := shutil.which("whisper-cli")) and environ.get(MODEL):
        return Transcript(str(path), _whisper_cli(program, environ[MODEL], file, timeout), "whisper-cli")
    without_model = f" whisper-cli is there, but has no model: set {MODEL} to the path of a ggml file." if program else ""
    raise DuctorError(
        f"{path}: nothing is installed that understands speech.{without_model} Install one: `{pip_install('faster-whisper')}`, or "
        f"`{pip_install('openai-whisper')}`; or set {COMMAND} to a command such as `mytool {{file}}` that prints the words."
    )


def video(path: Path, *, frames: int = 0, folder: Path | None = None) -> Video:
    """What ffprobe says, and `frames` pictures, evenly spread, as jpg in `folder` (default: `frames` beside the file).

    Raises DuctorError for a file that is no film, without ffmpeg, or when a picture cannot be written.
    """
    kind = file_kind(path)
    if kind.group not in ("video", "sound"):  # a playlist is a text, and could make ffmpeg read any other file
        raise DuctorError(f"{path}: {kind}, not a video. `ductor tool file-info {shlex.quote(str(path))}` says more.")
    source = f"file:{os.path.abspath(path)}"  # a name with a colon would be taken for an address
    probe = (_program("ffprobe"), "-v", "error", "-print_format", "json", "-show_format", "-show_streams", source)
    facts = _facts(path, programs.run(probe, timeout=LOOK))
    if not frames:
        return facts
    if not any(stream.type == "video" for stream in facts.streams):
        raise DuctorError(f"{path}: it has no pictures, only sound. Leave --frames out.")
    target = folder or path.parent / "frames"
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DuctorError(f"{target}: no folder can be made there ({error.strerror}). Name another one with --out.") from None
    return replace(facts, frames=tuple(_frames(source, facts.duration, frames, folder=target, stem=path.stem)))


def _configured(setting: str, file: Path) -> list[str]:
    try:
        words = shlex.split(setting)
    except ValueError as error:
        raise DuctorError(f"{COMMAND} cannot be understood ({error}). Set it to a command such as `mytool {{file}}`.") from None
    if not words[0]:
        raise DuctorError(f"{COMMAND} names no program. Set it to a command such as `mytool {{file}}`.")
    filled = [word.replace("{file}", str(file)) for word in words]
    return filled if filled != words else [*words, str(file)]


def _whisper(program: str, file: Path, timeout: float) -> str:
    """openai-whisper writes into a folder, and ends well even when it could not read the file."""
    if not shutil.which("ffmpeg"):
        raise DuctorError(f"whisper needs ffmpeg, which is not installed. {how_to_get('ffmpeg')}.")
    with tempfile.TemporaryDirectory(prefix="ductor-") as folder:
        said = programs.run((program, str(file), "--output_format", "txt", "--output_dir", folder), timeout=timeout)
        written = next(Path(folder).glob("*.txt"), None)
        if written is None:
            reason = (said.strip().splitlines() or ["it does not say why"])[-1]
            raise DuctorError(f"{file}: whisper could not read it ({reason}). Convert it with `ffmpeg -i FILE out.mp3` and try that.")
        return written.read_text(encoding="utf-8", errors="replace").strip()


def _whisper_cli(program: str, model: str, file: Path, timeout: float) -> str:
    """whisper.cpp reads few formats (not Telegram's Opus): it gets what all its versions read, 16 kHz mono in a wav."""
    with tempfile.TemporaryDirectory(prefix="ductor-") as folder:
        wav = str(Path(folder) / "sound.wav")
        convert = (_program("ffmpeg"), "-v", "error", "-nostdin", "-i", f"file:{file}", "-vn", "-ac", "1", "-ar", "16000", wav)
        programs.run(convert, timeout=timeout)
        return programs.run((program, "-m", model, "-f", wav, "-l", "auto", "-nt", "-np"), timeout=timeout).strip()


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise DuctorError(f"{name} is not installed. {how_to_get(name)}.")
    return found


def _facts(path: Path, output: str) -> Video:
    """What ffprobe prints, as values; it leaves out what it does not know."""
    try:
        tree = json.loads(output)
        found, tracks = tree.get("format", {}), tree.get("streams", [])
        return Video(str(path), _number(found.get("duration")), os.stat(path).st_size, tuple(map(_stream, tracks)))
    except (ValueError, AttributeError, TypeError):
        raise DuctorError(f"{path}: ffprobe printed something that is not understood. Run `ffprobe FILE` yourself.") from None


def _stream(track: Mapping[str, object]) -> Stream:
    tags, disposition = track.get("tags"), track.get("disposition")
    cover = isinstance(disposition, Mapping) and disposition.get("attached_pic")
    rates = [_number(part) for part in str(track.get("avg_frame_rate", "")).split("/")]
    channels = track.get("channels")
    return Stream(
        type="cover" if cover else str(track.get("codec_type", "unknown")),
        codec=str(track.get("codec_name", "unknown")),
        size=f"{track['width']}x{track['height']}" if track.get("width") and track.get("height") else None,
        fps=round(rates[0] / rates[1], 2) if len(rates) == 2 and rates[0] and rates[1] else None,
        channels=channels if isinstance(channels, int) else None,
        language=str(tags["language"]) if isinstance(tags, Mapping) and tags.get("language", "und") != "und" else None,
    )


def _number(value: object) -> float | None:
    with contextlib.suppress(ValueError):
        return float(str(value))
    return None


def _frames(source: str, duration: float | None, count: int, *, folder: Path, stem: str) -> Iterator[str]:
    """Take the pictures one by one: to jump to a moment is quick, to decode everything before it is not."""
    scale = f"scale=w='min({WIDEST},iw)':h=-2,format=yuvj420p"
    begin = (_program("ffmpeg"), "-v", "error", "-nostdin", "-y")
    take = ("-i", source, "-map", "0:V:0", "-frames:v", "1", "-vf", scale, "-q:v", "3", "-update", "1")
    failure: DuctorError | None = DuctorError("ffmpeg took no picture; the file may be damaged. Ask for it again.")
    for number in range(count):
        moment = (duration or count) * (number + 0.5) / count  # without a duration: one a second
        picture = folder / f"{stem}-{number + 1:03}.jpg"
        with contextlib.suppress(OSError):
            picture.unlink(missing_ok=True)  # one of an earlier run would pass for a new one
        try:
            programs.run((*begin, "-ss", f"{moment:.3f}", *take, f"file:{os.path.abspath(picture)}"), timeout=LOOK)
        except DuctorError as error:  # behind the last picture there is none: the sound may be longer
            failure = failure and error
            continue
        if picture.exists():
            failure = None
            yield str(picture)
    if failure:
        raise failure
