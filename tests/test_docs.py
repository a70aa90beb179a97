"""The pages say what the code does: settings, links, examples."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from ductor_lib import config
from ductor_lib.config_keys import KEYS, SECTIONS, Key
from ductor_lib.errors import ConfigError

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXAMPLE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


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
    scripts = re.findall(r"(?:^|\s)((?:\./|\.ci/)\S+)", text)

    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_the_mistake_shown_on_the_page_is_the_one_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'telegram_token = "{config.DEMO_TOKEN}"\nallowed_user_ids = [1]\n\n\n\n[streaming]\nmode = "fast"\n')

    with pytest.raises(ConfigError) as caught:
        config.load(path)

    assert str(caught.value) in (DOCS / "config.md").read_text(encoding="utf-8")
