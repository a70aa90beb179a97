"""Sound and video are for the programs that are installed: asked in order, ended in time, and named when they are missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program import until
from tests.shell import Shell

FACTS = {
    "format": {"duration": "83.400000"},
    "streams": [
        {"codec_type": "video", "codec_name": "h264", "width": 1920, "height": 1080, "avg_frame_rate": "30000/1001"},
        {"codec_type": "audio", "codec_name": "aac", "channels": 2, "avg_frame_rate": "0/0", "tags": {"language": "deu"}},
        {"codec_type": "video", "codec_name": "mjpeg", "disposition": {"attached_pic": 1}, "tags": {"language": "und"}},
        {},
    ],
}
# Writes down how it was called, and makes its last argument, the picture.
FFMPEG = 'echo "$*" >>"$HOME/calls"; for last; do :; done; echo picture >"${last#file:}"'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def voice(shell: Shell) -> Path:
    path = shell.folder / "-voice 1.oga"
    path.write_bytes(b"OggS" + bytes(24) + b"OpusHead")
    return path


@pytest.fixture
def film(shell: Shell) -> Path:
    path = shell.folder / "my film.mp4"
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    return path


def ffprobe(shell: Shell, facts: object) -> None:
    (shell.folder / "facts").write_text(facts if isinstance(facts, str) else json.dumps(facts))
    shell.install("ffprobe", 'echo "$*" >>"$HOME/calls"; cat "$HOME/facts"')


def calls(shell: Shell) -> list[str]:
    return (shell.folder / "calls").read_text().splitlines()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    return state != "" and not state.startswith("Z")


# ── transcribe ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("command", "last"), [("mytool --lang de", "--lang|de|{}"), ("mytool 'in {file}' -x", "in {}|-x")])
def test_the_configured_command_gets_the_file_without_a_shell(shell: Shell, voice: Path, command: str, last: str) -> None:
    shell.install("mytool", 'IFS="|"; echo "heard: $*; echo no"')

    result = shell.tool("transcribe", "./-voice 1.oga", DUCTOR_TRANSCRIBE=command)

    assert result.stdout == f"heard: {last.format(voice)}; echo no\n"
    assert result.returncode == 0


def test_the_order_is_configured_command_whisper_faster_whisper_whisper_cli(shell: Shell, voice: Path) -> None:
    package = shell.folder / "packages" / "faster_whisper"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "class WhisperModel:\n"
        "    def __init__(self, *words, **options): pass\n"
        "    def transcribe(self, path):\n"
        "        import types; return [types.SimpleNamespace(text=' faster '), types.SimpleNamespace(text=path)], None\n"
    )
    variables = {"DUCTOR_WHISPER_MODEL": "tiny.bin", "PYTHONPATH": str(package.parent)}
    shell.install("mytool", "echo mine")
    shell.install("whisper", 'while [ "$1" != --output_dir ]; do shift; done; echo "whispered" >"$2/voice.txt"; echo "[00:00] noise"')
    shell.install("whisper-cli", 'echo "$*" >>"$HOME/calls"; echo " said "')
    shell.install("ffmpeg", FFMPEG)

    heard = [shell.json("transcribe", voice, DUCTOR_TRANSCRIBE="mytool", **variables)]
    heard.append(shell.json("transcribe", voice, **variables))
    (shell.programs / "whisper").unlink()
    heard.append(shell.json("transcribe", voice, **variables))
    heard.append(shell.json("transcribe", voice, DUCTOR_WHISPER_MODEL="tiny.bin"))

    assert [(each["by"], each["text"]) for each in heard] == [
        ("mytool", "mine"), ("whisper", "whispered"), ("faster-whisper", f"faster\n{voice}"), ("whisper-cli", "said")
    ]  # fmt: skip
    convert, listen = calls(shell)
    assert f"-i file:{voice} -vn -ac 1 -ar 16000" in convert
    assert listen.startswith("-m tiny.bin -f ")


def test_with_nothing_installed_every_way_is_named(shell: Shell, voice: Path) -> None:
    result = shell.tool("transcribe", voice)

    assert result.returncode == 1
    assert f"`{sys.executable} -m pip install faster-whisper`" in result.stderr
    assert "DUCTOR_TRANSCRIBE to a command such as `mytool {file}`" in result.stderr


def test_whisper_cli_without_a_model_says_what_it_needs(shell: Shell, voice: Path) -> None:
    shell.install("whisper-cli", "echo never")

    assert "has no model: set DUCTOR_WHISPER_MODEL" in shell.tool("transcribe", voice).stderr


@pytest.mark.parametrize("program", ["whisper", "whisper-cli"])
def test_a_whisper_without_ffmpeg_says_how_to_get_it(shell: Shell, voice: Path, program: str) -> None:
    shell.install(program, "echo never")

    said = shell.tool("transcribe", voice, DUCTOR_WHISPER_MODEL="tiny.bin").stderr

    assert "sudo apt install ffmpeg" in said
    assert "brew install ffmpeg" in said


def test_a_whisper_that_ends_well_without_having_read_the_file_has_failed(shell: Shell, voice: Path) -> None:
    shell.install("ffmpeg", FFMPEG)
    shell.install("whisper", 'echo "Skipping voice due to RuntimeError"')

    result = shell.tool("transcribe", voice)

    assert result.returncode == 1
    assert "whisper could not read it (Skipping voice due to RuntimeError)" in result.stderr


def test_a_program_that_fails_is_quoted_with_its_last_line(shell: Shell, voice: Path) -> None:
    shell.install("mytool", 'echo "Traceback" >&2; echo "out of memory" >&2; echo >&2; exit 3')

    assert shell.json("transcribe", voice, DUCTOR_TRANSCRIBE="mytool") == {"error": "mytool failed (exit code 3): out of memory"}


@pytest.mark.parametrize(
    ("command", "sentence"),
    [("nowhere", "nowhere cannot be started: No such file"), ("'open", "cannot be understood"), ("'' x", "names no program")],
)
def test_a_command_that_cannot_be_run_is_a_sentence(shell: Shell, voice: Path, command: str, sentence: str) -> None:
    assert sentence in shell.tool("transcribe", voice, DUCTOR_TRANSCRIBE=command).stderr


def test_silence_is_no_failure(shell: Shell, voice: Path) -> None:
    shell.install("mytool", "true")

    result = shell.tool("transcribe", voice, DUCTOR_TRANSCRIBE="mytool")

    assert (result.returncode, result.stdout) == (0, "[no speech was heard]\n")


def test_what_takes_too_long_is_ended_with_everything_it_started(shell: Shell, voice: Path) -> None:
    shell.install("mytool", 'sleep 600 & echo $! >"$HOME/pid"; wait')

    result = shell.tool("transcribe", voice, "--timeout", "1", DUCTOR_TRANSCRIBE="mytool")

    assert "mytool took longer than 1 s and was ended. Give it more with --timeout" in result.stderr
    until(lambda: not alive(int((shell.folder / "pid").read_text())), "the end of what mytool started")


def test_who_ends_the_tool_ends_its_program_too(shell: Shell, voice: Path) -> None:
    shell.install("mytool", 'sleep 600 & echo $! >"$HOME/new"; mv "$HOME/new" "$HOME/pid"; wait')

    with shell.start("transcribe", voice, DUCTOR_TRANSCRIBE="mytool") as process:
        until((shell.folder / "pid").exists, "the program")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGTERM
    until(lambda: not alive(int((shell.folder / "pid").read_text())), "the end of what mytool started")


def test_a_picture_has_no_words(shell: Shell) -> None:
    (shell.folder / "photo.oga").write_bytes(b"\x89PNG\r\n\x1a\n")

    assert "image (png), not a sound or a video" in shell.tool("transcribe", "photo.oga").stderr


# ── video ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_facts_of_a_video(shell: Shell, film: Path) -> None:
    ffprobe(shell, FACTS)

    result = shell.tool("video", film)

    assert result.stdout.splitlines() == [
        str(film), "duration  83.4 s", "size      112 bytes", "video     h264 1920x1080 29.97 fps", "audio     aac 2 channels deu",
        "cover     mjpeg", "unknown   unknown",
    ]  # fmt: skip
    assert calls(shell)[0].endswith(f"-show_streams file:{film}")


def test_frames_are_evenly_spread_and_put_beside_the_file(shell: Shell, film: Path) -> None:
    ffprobe(shell, {**FACTS, "format": {"duration": "100"}})
    shell.install("ffmpeg", FFMPEG)

    answer = shell.json("video", film, "--frames", "2")

    pictures = [film.parent / "frames" / f"my film-00{number}.jpg" for number in (1, 2)]
    assert answer["frames"] == [str(picture) for picture in pictures]
    assert all(picture.exists() for picture in pictures)
    assert [call.split("-ss ")[1].split()[0] for call in calls(shell)[1:]] == ["25.000", "75.000"]


def test_frames_go_where_they_are_wanted_and_one_that_is_missing_is_left_out(shell: Shell, film: Path) -> None:
    ffprobe(shell, {**FACTS, "format": {}})
    shell.install("ffmpeg", 'case "$*" in *"-ss 0.500"*) for last; do :; done; echo x >"${last#file:}" ;; *) exit 234 ;; esac')
    (shell.folder / "out").mkdir()
    (shell.folder / "out" / "my film-002.jpg").write_text("of an earlier run")

    answer = shell.json("video", film, "--frames", "2", "--out", shell.folder / "out")

    assert answer["frames"] == [str(shell.folder / "out" / "my film-001.jpg")]
    assert answer["duration"] is None
    assert [path.name for path in (shell.folder / "out").iterdir()] == ["my film-001.jpg"]


def test_no_frame_at_all_is_a_failure_with_its_reason(shell: Shell, film: Path) -> None:
    ffprobe(shell, FACTS)
    shell.install("ffmpeg", 'echo "Invalid data" >&2; exit 1')

    assert shell.json("video", film, "--frames", "3") == {"error": "ffmpeg failed (exit code 1): Invalid data"}


def test_frames_of_mere_sound_are_refused(shell: Shell, voice: Path) -> None:
    ffprobe(shell, {"format": {}, "streams": FACTS["streams"][1:3]})  # type: ignore[index]

    assert "it has no pictures, only sound" in shell.tool("video", voice, "--frames", "3").stderr


def test_a_folder_that_cannot_be_made_is_named(shell: Shell, film: Path) -> None:
    ffprobe(shell, FACTS)

    said = shell.tool("video", film, "--frames", "1", "--out", film).stderr

    assert f"{film}: no folder can be made there" in said
    assert "Name another one with --out" in said


def test_without_ffmpeg_it_is_said_how_to_get_it(shell: Shell, film: Path) -> None:
    sentence = "is not installed. Debian, Ubuntu: `sudo apt install ffmpeg`; macOS: `brew install ffmpeg`.\n"

    before = shell.tool("video", film)
    ffprobe(shell, FACTS)
    after = shell.tool("video", film, "--frames", "1")

    assert (before.returncode, before.stderr) == (1, f"ffprobe {sentence}")
    assert (after.returncode, after.stderr) == (1, f"ffmpeg {sentence}")


@pytest.mark.parametrize("output", ["", "[]", '{"format": 3}', '{"streams": [1]}', "{"])
def test_an_answer_of_ffprobe_that_is_none_is_a_sentence(shell: Shell, film: Path, output: str) -> None:
    ffprobe(shell, output)

    assert "ffprobe printed something that is not understood" in shell.tool("video", film).stderr


def test_a_playlist_with_the_name_of_a_video_is_not_given_to_ffmpeg(shell: Shell) -> None:
    (shell.folder / "film.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    ffprobe(shell, FACTS)

    result = shell.tool("video", "film.mp4")

    assert "text (mp4), not a video" in result.stderr
    assert not (shell.folder / "calls").exists()


@pytest.mark.parametrize("frames", ["0", "101", "many"])
def test_a_number_of_frames_that_cannot_be_is_refused(shell: Shell, film: Path, frames: str) -> None:
    result = shell.tool("video", film, "--frames", frames)

    assert (result.returncode, result.stderr) == (2, f"--frames {frames}: must be a whole number from 1 to 100.\n")
