"""Who may import whom: downwards only, siblings never each other, one module knows the Telegram library, nobody asyncio."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TIERS: tuple[tuple[str, ...], ...] = (
    ("main", "setup_wizard"),
    ("verbs",),
    ("app",),
    ("commands",),
    ("bot", "automation", "demo"),
    ("orchestrator",),
    ("cli", "session", "workspace", "infra", "security", "tools"),
    ("base",),
)
BASE = {
    "__init__", "__version__", "messages", "events", "errors", "ports", "config", "config_keys", "paths", "logs", "storage",
    "database", "loop",
}
HEIGHT = {unit: -number for number, tier in enumerate(TIERS) for unit in tier}
FORBIDDEN = {("demo", "orchestrator")}  # the demo plays the outside world: it must not know the inside
MODULES = sorted((ROOT / "ductor_lib").rglob("*.py"))


def unit(module: str) -> str:
    """"ductor_lib.bot.client" belongs to "bot", "ductor_lib.logs" to "base"."""
    name = [*module.split("."), "__init__"][1]
    return "base" if name in BASE else name


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module that is imported anywhere in the tree, also inside functions, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{name.name}" if module == "ductor_lib" else module) for name in node.names)


def breaches(module: str, source: str) -> list[str]:
    """What is wrong with the imports of one module, a line each."""
    found = []
    here = unit(module)
    for line, name in imported(ast.parse(source)):
        top = name.split(".")[0]
        there = unit(name)
        place = f"{module} line {line} imports {name}"
        if name.startswith("."):
            found.append(f"{place}: write the whole name")
        elif top == "asyncio":
            found.append(f"{place}: ductor is threads")
        elif top == "telebot" and module != "ductor_lib.bot.client":
            found.append(f"{place}: only bot/client.py may")
        elif top == "ductor_lib" and there not in HEIGHT:
            found.append(f"{place}: {there} has no place in TIERS or BASE")
        elif top == "ductor_lib" and there != here and (HEIGHT[there] >= HEIGHT[here] or (here, there) in FORBIDDEN):
            found.append(f"{place}: {here} may not know {there}")
    return found


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_what_is_below_it(path: Path) -> None:
    assert unit(dotted(path)) in HEIGHT, "give the new part a place in TIERS or BASE"

    assert breaches(dotted(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("ductor_lib.cli.claude", "from ductor_lib.orchestrator import turns", "cli may not know orchestrator"),
        ("ductor_lib.bot.sender", "from ductor_lib.demo.server import Server", "bot may not know demo"),
        ("ductor_lib.demo.server", "import ductor_lib.orchestrator.ledger", "demo may not know orchestrator"),
        ("ductor_lib.logs", "def f():\n    from ductor_lib import app", "base may not know app"),
        ("ductor_lib.bot.sender", "import telebot.types", "only bot/client.py may"),
        ("ductor_lib.bot.sender", "from asyncio import run", "ductor is threads"),
        ("ductor_lib.bot.sender", "from . import client", "write the whole name"),
        ("ductor_lib.app", "from ductor_lib.helpers import x", "helpers has no place"),
    ],
)
def test_the_check_sees_a_breach(module: str, line: str, complaint: str) -> None:
    (breach,) = breaches(module, line)

    assert complaint in breach


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("ductor_lib.bot.client", "import telebot"),
        ("ductor_lib.bot.sender", "from ductor_lib.bot import client"),
        ("ductor_lib.app", "from ductor_lib import config, logs\nfrom ductor_lib.bot.poller import Poller"),
        ("ductor_lib.orchestrator.turns", "from ductor_lib.session import Sessions"),
        ("ductor_lib.cli.claude", "import json\nfrom ductor_lib import __version__"),
    ],
)
def test_the_check_lets_the_way_down_pass(module: str, line: str) -> None:
    assert breaches(module, line) == []


def test_nothing_sleeps() -> None:
    """A thread waits on an event, a queue or a condition, so that it can be woken and ended."""
    sleepers = [
        f"{dotted(path)} line {node.lineno}"
        for path in (*MODULES, *(ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]

    assert sleepers == []
