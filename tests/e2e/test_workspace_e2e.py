"""The workspace as the real command lines see it: rules, memory and skills reach the model, and `ductor` runs in their shell."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ductor_lib.workspace.upkeep import BUNDLED
from tests.e2e import codex_bot
from tests.e2e.codex_bot import CodexBot, unsandboxed
from tests.e2e.conftest import Assistant
from tests.e2e.model_stub import Request
from tests.e2e.responses_stub import Call, ResponsesStub
from tests.fakes import SOON

CAT = "- Their cat is called Hibiscus."
RULE = "# Your place and your rules"


def whole(request: Request | Call) -> str:
    """Everything that the model was given."""
    return json.dumps(request.body, ensure_ascii=False)


def output(assistant: Assistant) -> str:
    """What the last command said."""
    said = assistant.asked[-1].tool_output
    assert said is not None
    return said


def ductor(assistant: Assistant, *words: str, said: str = "") -> str:
    """Run the command as a script of the user's does; what it prints."""
    shim = assistant.paths.tools_bin / "ductor"
    done = subprocess.run([shim, *words], env={"PATH": os.environ["PATH"]}, input=said, capture_output=True, text=True, timeout=SOON)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rules_memory_and_skills_are_before_the_agent_when_it_begins(assistant: Assistant) -> None:
    assistant.paths.memory.write_text(CAT)

    assistant.say("hello")

    assistant.wait_for("You said: hello")
    given = whole(assistant.asked[0])
    assert given.count(RULE) == 1
    assert "You work directly on this machine" in given
    assert f"You work in `{assistant.paths.workspace}`" in given
    assert given.count(CAT) == 1
    bundled = [skill.name for skill in BUNDLED.iterdir() if skill.is_dir()]
    assert bundled
    assert [name for name in bundled if f"- {name}: " not in given] == []


def test_an_edit_of_the_memory_is_before_the_agent_when_it_begins_again_not_sooner(assistant: Assistant) -> None:
    assistant.say("one")
    assistant.wait_for("You said: one")
    assistant.paths.memory.write_text(CAT)

    assistant.say("two")
    assistant.wait_for("You said: two")
    assistant.say("/new three")
    assistant.wait_for("You said: three")

    assert [CAT in whole(request) for request in assistant.asked] == [False, False, True]


def test_the_agent_runs_ductor_in_its_own_shell(able: Assistant) -> None:
    able.say("""[[scenario:tool cmd='ductor send "brought by a tool" && ductor tool time --json']]""")

    assert able.wait_for("brought by a tool").text == "brought by a tool"
    able.wait_for("The tool said: ")
    assert "Handed to ductor." in output(able)
    assert '{"times": [{"place": "user"' in output(able)


def test_an_unattended_run_knows_the_same_and_reaches_the_bot_from_its_own_folder(able: Assistant) -> None:
    able.paths.memory.write_text(CAT)
    told = """[[scenario:tool cmd='pwd; ductor send "from the task"; ductor cron list --json']]"""
    ductor(able, "cron", "add", "--id=fish", "--title=Feed the fish", "--schedule=0 9 * * *", "--folder=fish", "--instruction=-", said=told)

    ductor(able, "cron", "run", "fish")

    assert able.wait_for("from the task").text == "from the task"
    assert "TASK: Feed the fish\n\nThe tool said: " in able.wait_for("The tool said: ").text
    assert f"{able.paths.cron_tasks / 'fish'}\nHanded to ductor.\n" in output(able)
    assert '"title": "Feed the fish"' in output(able)
    given = whole(able.asked[0])
    assert given.count(CAT) == given.count(RULE) == given.count("# Task folder `fish`") == 1


@pytest.mark.skipif(bool(codex_bot.MISSING), reason=codex_bot.MISSING)
@pytest.mark.parametrize(("mode", "shut"), [("acceptEdits", True), ("bypassPermissions", False)])
def test_codex_reaches_the_bot_also_from_a_sandbox_that_keeps_it_from_the_rest_of_the_home(
    tmp_path: Path, mode: str, shut: bool
) -> None:
    if shut and (reason := unsandboxed()):
        pytest.skip(reason)
    with ResponsesStub() as stub, CodexBot(tmp_path, stub, permission_mode=mode) as bot:
        outside = bot.paths.home / "outside"

        bot.say(f"[[scenario:tool cmd='touch {outside}; ductor send arrived']]")

        assert bot.wait_for("arrived").text == "arrived"
        bot.wait_for("The tool said: ")
        assert ("Read-only file system" in output(bot), outside.exists()) == (shut, not shut)
