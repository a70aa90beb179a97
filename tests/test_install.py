"""install.sh on machines where something is missing. The machines are folders of small programs; nothing here uses the network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "sh", "cat", "chmod", "cksum", "dirname", "grep", "head", "mkdir", "rm", "sed", "tail")

OLD_PYTHON = """
case "$*" in *--version*) echo "Python 3.9.2" ;; *) exit 1 ;; esac
"""
BROKEN_STAND_IN = """
echo "pyenv: python3.13: command not found" >&2; exit 127
"""
NO_VENV = """
case "$*" in *ensurepip*) exit 1 ;; *--version*) echo "Python 3.11.2" ;; esac
"""
# makes an environment whose pip writes down that it was called, and does what PIP_DOES says
PYTHON = """
case "$*" in
    *--version*) echo "Python 3.11.9" ;;
    *"-m venv"*)
        mkdir -p "$3/bin"
        cat "$0" >"$3/bin/python"
        printf '#!/bin/sh\\necho "started: $*"\\n' >"$3/bin/ductor"
        chmod 755 "$3/bin/python" "$3/bin/ductor"
        echo venv >>"$CALLS"
        ;;
    *"pip install"*) echo "pip $*" >>"$CALLS"; eval "${PIP_DOES:-true}" ;;
    *"-m pytest"*) echo "tests run: $*" ;;
    *EXAMPLE*) echo '    telegram_token = "..."' ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A copy of the checkout, an empty home, and a PATH with nothing on it but TOOLS and what `has` adds."""

    checkout: Path
    home: Path
    bin: Path

    def has(self, name: str, script: str) -> None:
        program = self.bin / name
        program.write_text("#!/bin/sh" + script)
        program.chmod(0o755)

    def install(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {"HOME": str(self.home), "PATH": str(self.bin), "CALLS": str(self.bin / "calls"), **variables}
        return subprocess.run(
            [self.bin / "bash", self.checkout / "install.sh", *words],
            env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )

    @property
    def calls(self) -> list[str]:
        return (self.bin / "calls").read_text().splitlines()

    @property
    def launcher(self) -> Path:
        return self.home / ".local" / "bin" / "ductor"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "check out", tmp_path / "home", tmp_path / "bin")
    for folder in (made.checkout, made.home, made.bin):
        folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (made.bin / tool).symlink_to(found)
    for file in ("install.sh", "pyproject.toml"):
        shutil.copy(ROOT / file, made.checkout)
    yield made
    assert {path.relative_to(made.home).as_posix() for path in made.home.rglob("*")} <= {".local", ".local/bin", ".local/bin/ductor"}


def test_without_python_it_says_how_to_get_one(machine: Machine) -> None:
    result = machine.install()

    assert result.returncode == 1
    assert "ductor needs Python 3.11 or newer. Found:\n    no python3 on PATH" in result.stderr
    assert "sudo apt install python3 python3-venv" in result.stderr


def test_an_old_python_is_named_with_its_version_and_place(machine: Machine) -> None:
    machine.has("python3", OLD_PYTHON)

    result = machine.install()

    assert result.returncode == 1
    assert f"{machine.bin / 'python3'}: Python 3.9.2" in result.stderr


def test_a_stand_in_that_fails_is_passed_over(machine: Machine) -> None:
    machine.has("python3.13", BROKEN_STAND_IN)
    machine.has("python3.12", NO_VENV)
    machine.has("python3", PYTHON)

    result = machine.install()

    assert result.returncode == 0, result.stderr
    assert "(Python 3.11.9)" in result.stdout


def test_a_python_without_venv_names_the_package(machine: Machine) -> None:
    machine.has("python3", NO_VENV)

    result = machine.install()

    assert result.returncode == 1
    assert "its venv or ensurepip module is missing" in result.stderr
    assert "sudo apt install python3-venv" in result.stderr
    assert not (machine.checkout / ".venv").exists()


def test_the_python_that_is_asked_for_is_the_only_one_tried(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    missing = machine.install(PYTHON="/nowhere/python3")
    old = machine.install(PYTHON=str(machine.bin / "python3"))

    assert missing.returncode == 1
    assert "/nowhere/python3 (from PYTHON) does not run" in missing.stderr
    assert old.returncode == 0, old.stderr


def test_no_network_is_said_in_words_and_the_next_run_goes_on(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    offline = machine.install(PIP_DOES="echo 'NewConnectionError: Temporary failure in name resolution'; exit 1")
    online = machine.install()

    assert offline.returncode == 1
    assert "NewConnectionError" in offline.stderr
    assert "no network" in offline.stderr
    assert online.returncode == 0
    assert [call.split()[0] for call in machine.calls] == ["venv", "pip", "pip"]


def test_another_failure_of_pip_shows_its_last_lines(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    result = machine.install(PIP_DOES="echo 'error: something odd'; exit 1")

    assert result.returncode == 1
    assert "error: something odd" in result.stderr
    assert "no network" not in result.stderr
    assert not machine.launcher.exists()


def test_without_a_terminal_it_ends_well_and_says_the_next_step(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    result = machine.install()

    assert result.returncode == 0
    assert f"{machine.home}/.ductor/config/config.toml" in result.stdout
    assert 'telegram_token = "..."' in result.stdout
    assert result.stderr == ""


def test_a_second_run_installs_nothing_again(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    first, second = machine.install(), machine.install()

    assert (first.returncode, second.returncode) == (0, 0)
    assert [call.split()[0] for call in machine.calls] == ["venv", "pip"]


def test_a_changed_pyproject_is_installed_into_the_same_environment(machine: Machine) -> None:
    machine.has("python3", PYTHON)
    machine.install()

    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("# one more line\n")
    machine.install()

    assert [call.split()[0] for call in machine.calls] == ["venv", "pip", "pip"]


def break_python(machine: Machine) -> Machine:
    (machine.checkout / ".venv" / "bin" / "python").unlink()
    return machine


def move_checkout(machine: Machine) -> Machine:
    moved = machine.checkout.rename(machine.checkout.with_name("moved"))
    return Machine(moved, machine.home, machine.bin)


@pytest.mark.parametrize("accident", [break_python, move_checkout])
def test_a_broken_environment_is_made_anew(machine: Machine, accident: Callable[[Machine], Machine]) -> None:
    machine.has("python3", PYTHON)
    machine.install()

    result = accident(machine).install()

    assert result.returncode == 0, result.stderr
    assert [call.split()[0] for call in machine.calls] == ["venv", "pip", "venv", "pip"]


def test_the_launcher_starts_ductor_with_its_words(machine: Machine) -> None:
    machine.has("python3", PYTHON)
    machine.install()

    started = subprocess.run([machine.launcher, "demo", "two words"], capture_output=True, text=True, check=True)

    assert started.stdout == "started: demo two words\n"


def test_a_launcher_whose_checkout_is_gone_says_so(machine: Machine) -> None:
    machine.has("python3", PYTHON)
    machine.install()
    shutil.rmtree(machine.checkout)

    started = subprocess.run([machine.launcher], capture_output=True, text=True, check=False)

    assert started.returncode == 1
    assert "run its install.sh again" in started.stderr


def test_another_program_of_that_name_stays_as_it_is(machine: Machine) -> None:
    machine.has("python3", PYTHON)
    machine.launcher.parent.mkdir(parents=True)
    machine.launcher.write_text("precious")

    result = machine.install()

    assert machine.launcher.read_text() == "precious"
    assert "stays as it is" in result.stdout


def test_the_path_is_mentioned_only_when_the_folder_is_not_on_it(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    without = machine.install()
    with_it = machine.install(PATH=f"{machine.bin}{os.pathsep}{machine.launcher.parent}")

    assert "is not on your PATH" in without.stdout
    assert "is not on your PATH" not in with_it.stdout
    assert "Then start it with  ductor\n" in with_it.stdout


def test_demo_hands_its_words_on(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    result = machine.install("demo", "--say", "hello there")

    assert result.stdout.endswith("started: demo --say hello there\n")


def test_test_runs_pytest_with_its_words_and_leaves_the_home_alone(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    result = machine.install("test", "-k", "words")

    assert result.stdout.endswith("tests run: -m pytest -n auto -k words\n")
    assert machine.calls[-1].endswith("[test]")
    assert list(machine.home.iterdir()) == []


def test_without_npm_the_tests_run_and_it_is_said_what_they_skip(machine: Machine) -> None:
    machine.has("python3", PYTHON)

    result = machine.install("test", DUCTOR_E2E="1")

    assert result.returncode == 0
    assert "npm is not installed, so the tests with the real claude are skipped" in result.stdout
    assert "tests run" in result.stdout


def test_a_command_line_that_cannot_be_fetched_does_not_stop_the_tests(machine: Machine) -> None:
    machine.has("python3", PYTHON)
    machine.has("npm", '\necho "npm error code ENOTFOUND" >&2; exit 1\n')
    machine.has("codex", "\n")

    result = machine.install("test", DUCTOR_E2E="1")

    assert result.returncode == 0
    assert "ENOTFOUND" in result.stderr
    assert "claude-code@2.1.197 could not be fetched" in result.stdout
    assert "codex@" not in result.stdout


def test_an_unknown_word_shows_the_words_that_exist(machine: Machine) -> None:
    result = machine.install("instal")

    assert result.returncode == 1
    assert "unknown word: instal" in result.stderr
    assert "./install.sh demo" in result.stdout
