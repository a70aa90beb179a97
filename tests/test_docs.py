"""The pages say what the code does: settings, links, examples."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from ductor_lib import config
from ductor_lib.commands.table import ROWS, menu
from ductor_lib.config_keys import KEYS, SECTIONS, Key
from ductor_lib.demo.scenarios import FAILURES, SCENARIOS
from ductor_lib.errors import ConfigError, ErrorKind
from ductor_lib.orchestrator.schema import SCHEMA

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXAMPLE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
LONGEST_LINE = 120  # characters; tables and examples may be wider


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def examples(language: str) -> list[object]:
    return [
        pytest.param(text, id=f"{named(page)}-{number}")
        for page in PAGES
        for number, (spoken, text) in enumerate(EXAMPLE.findall(page.read_text(encoding="utf-8")), 1)
        if spoken == language
    ]


def row(key: Key) -> str:
    return f"| `{key.leaf}` | `{json.dumps(key.default, ensure_ascii=False)}` | {key.accepted} | {key.rule.doc} |"


def test_the_page_of_settings_has_a_row_for_every_key_and_no_other() -> None:
    section, documented = "", []
    for line in (DOCS / "config.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.strip("# []") if line.startswith("## [") else ""
        if line.startswith("| `"):
            documented.append((section, line))

    assert documented == [(key.section, row(key)) for key in KEYS]


def test_every_section_of_the_settings_has_a_heading() -> None:
    headings = re.findall(r"^## \[(\w+)\]$", (DOCS / "config.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings == list(SECTIONS)


def test_every_key_has_a_line_of_documentation_in_one_sentence() -> None:
    assert [key.name for key in KEYS if not key.rule.doc or key.rule.doc.endswith(".") or "|" in row(key)[1:-1].replace(" | ", "")] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]

    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in LINK.findall(index)}

    assert {page for page in DOCS.rglob("*.md") if page.name != "README.md"} <= linked


@pytest.mark.parametrize("text", examples("toml"))
def test_an_example_of_settings_uses_keys_that_exist(text: str) -> None:
    tree = tomllib.loads(text)
    tree["telegram_token"] = config.DEMO_TOKEN  # the pages shorten it

    config.defaults(**tree)  # refuses what the file could not have


@pytest.mark.parametrize("page", ["README.md", "docs/installation.md"])
def test_the_first_settings_are_the_same_everywhere(page: str) -> None:
    assert "```toml\n" + "\n".join(config.EXAMPLE) + "\n```" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", examples("python"))
def test_an_example_of_code_is_python(text: str) -> None:
    ast.parse(text)


@pytest.mark.parametrize("text", examples("sh"))
def test_an_example_of_commands_names_programs_that_exist(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    scripts = re.findall(r"(?:^|\s)((?:\./|\.ci/|tests/)\S+)", text)

    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_the_mistake_shown_on_the_page_is_the_one_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'telegram_token = "{config.DEMO_TOKEN}"\nallowed_user_ids = [1]\n\n\n\n[streaming]\nmode = "fast"\n')

    with pytest.raises(ConfigError) as caught:
        config.load(path)

    assert str(caught.value) in (DOCS / "config.md").read_text(encoding="utf-8")


# ── lists in the pages are those of the code ────────────────────────────────────────────────────────────────────────


def listed(page: str, name: str) -> list[list[str]]:
    """The cells of the table between `<!-- name -->` and `<!-- end -->`, a list per row, without the head."""
    table = (ROOT / page).read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def names(page: str, table: str) -> list[str]:
    """The names in the first column of such a table."""
    return [name for cells in listed(page, table) for name in CODE.findall(cells[0])]


def thread_names() -> Iterator[str]:
    """How the bot's threads are called, as patterns: "lane .+". Those of the demo are not the bot's."""
    for path in (ROOT / "ductor_lib").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or "demo" in path.parts:
                continue
            kind = ast.unparse(call.func).rpartition(".")[2]
            given = [word.value for word in call.keywords if word.arg == "name"] if kind == "Thread" else call.args[:1]
            if kind in ("Thread", "Loop") and given and not isinstance(given[0], ast.Name):
                yield pattern(given[0])


def pattern(name: ast.expr) -> str:
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)


def test_the_commands_of_the_readme_are_those_of_the_table_and_of_the_menu() -> None:
    documented = [(cells[0].strip("`/"), cells[1]) for cells in listed("README.md", "commands")]

    assert documented == [(row.name, row.help) for row in ROWS if row.help]
    assert documented == list(menu())


def test_help_in_the_chat_lists_the_commands_of_the_readme(tmp_path: Path) -> None:
    said = run(["demo", "--say", "/help"], tmp_path)

    assert [" – ".join((cells[0].strip("`"), cells[1])) for cells in listed("README.md", "commands")] == re.findall(r"/\w+ – .*", said)


def test_the_page_of_threads_names_every_thread_and_no_other() -> None:
    documented = [name.replace("…", "x") for name in names("docs/architecture.md", "threads") if name != "MainThread"]
    started = list(thread_names())

    assert [name for name in documented if not any(re.fullmatch(known, name) for known in started)] == []
    assert [known for known in started if not any(re.fullmatch(known, name) for name in documented)] == []


@pytest.mark.parametrize(
    ("page", "table", "known"),
    [
        ("docs/modules/orchestrator.md", "tables", re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", SCHEMA)),
        ("docs/modules/cli.md", "kinds", list(get_args(ErrorKind))),
        ("docs/modules/demo.md", "scenarios", [*SCENARIOS, *FAILURES, "crash"]),
    ],
)
def test_a_list_of_a_page_has_every_name_and_no_other(page: str, table: str, known: list[str]) -> None:
    assert sorted(names(page, table)) == sorted(known)


@pytest.mark.parametrize("folder", ["bot", "cli", "orchestrator"])
def test_the_page_of_a_part_names_each_of_its_modules(folder: str) -> None:
    table = (DOCS / "modules" / f"{folder}.md").read_text(encoding="utf-8").partition("| module |")[2].partition("\n\n")[0]
    modules = {path.name for path in (ROOT / "ductor_lib" / folder).glob("*.py")} - {"__init__.py"}

    assert {name for name in CODE.findall(table) if name.endswith(".py")} == modules


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    code = CODE.findall(page.read_text(encoding="utf-8"))
    files = [name for name in code if re.fullmatch(r"[a-z_/\d]+\.py", name)]
    claims = [name for name in code if re.fullmatch(r"test_\w+", name)]
    places = (ROOT, ROOT / "ductor_lib", ROOT / "ductor_lib" / page.stem)
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert [name for name in files if not any((place / name).exists() for place in places)] == []
    assert [name for name in claims if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_lines_have_a_length_that_can_be_read(page: Path) -> None:
    prose = EXAMPLE.sub("", page.read_text(encoding="utf-8"))

    assert [line for line in prose.splitlines() if len(line) > LONGEST_LINE and not line.startswith("|")] == []


# ── what is typed after `$` does what the page shows ────────────────────────────────────────────────────────────────


def run(words: list[str], folder: Path) -> str:
    """What `ductor` prints, on a machine without Claude Code."""
    command = [sys.executable, str(ROOT / "ductor.py"), *words]
    variables = {"HOME": str(folder), "PATH": str(folder), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, env=variables, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8", check=True, timeout=60).stdout


@pytest.mark.parametrize("text", examples("console"))
def test_a_session_in_a_terminal_is_what_really_happens(text: str, tmp_path: Path) -> None:
    command, _, shown = text.partition("\n")
    prompt, program, *words = shlex.split(command)

    assert (prompt, program) == ("$", "ductor")
    assert run(words, tmp_path) == shown
