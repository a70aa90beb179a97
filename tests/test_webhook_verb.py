"""`ductor webhook …` in a terminal: hooks are made, shown without secrets, tried and changed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ductor_lib.automation.books import HookBook
from ductor_lib.orchestrator.ledger import Ledger
from tests.command_line import CommandLine
from tests.fakes import ROOT
from tests.test_cron_verb import serving

GUIDE = ROOT / "docs" / "automation.md"
BUILD = ("webhook", "add", "--title", "Build failed", "--template", "The build failed: {{url}}")
SECRET = "whsec_of_the_sender_0123456789"


@pytest.fixture
def ductor(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, "[webhooks]", "enabled = true", 'token = "the-token-of-all-hooks"')


def hooks(ductor: CommandLine) -> HookBook:
    return HookBook(ductor.paths.webhooks)


def waiting(ductor: CommandLine) -> list[str]:
    """The texts that wait for the bot."""
    ledger = Ledger(ductor.paths.ledger)
    try:
        return [item.text for item in ledger.recover()[1]]
    finally:
        ledger.close()


def test_a_hook_is_added_listed_changed_and_removed(ductor: CommandLine) -> None:
    added = ductor.lines(*BUILD, "--id", "build")
    ductor.lines("webhook", "edit", "build", "--mode", "cron_task", "--quiet-start", "22", "--quiet-end", "6")
    listed = ductor.lines("webhook", "list")
    ductor.lines("webhook", "disable", "build")
    off = ductor.lines("webhook", "list")
    ductor.lines("webhook", "enable", "build")
    removed = ductor.lines("webhook", "remove", "build", "--with-folder")

    assert "path    /hooks/build" in added
    assert listed[1].split()[:5] == ["build", "on", "cron_task", "bearer", "0"]
    assert off[1].split()[1] == "off"
    assert removed == ["Removed build, and its folder."]
    assert ductor.lines("webhook", "list") == ["There are no hooks. `ductor webhook add` makes one."]


def test_the_line_to_call_it_has_the_hooks_own_token_once_and_never_that_of_all_hooks(ductor: CommandLine) -> None:
    plain = ductor.run(*BUILD, "--id", "plain").stdout
    own = ductor.run(*BUILD, "--id", "own", "--own-token").stdout
    later = "".join(ductor.run("webhook", *words).stdout for words in (("show", "own"), ("list",), ("edit", "own", "--title", "x")))

    token = re.search(r"Bearer (\S{32,})\"", own)
    assert token is not None
    assert "Bearer $TOKEN" in plain
    assert "the-token-of-all-hooks" not in plain + own + later
    assert token[1] not in later
    assert hooks(ductor).all()[1].token == token[1]


def test_rotating_shows_the_new_token_once(ductor: CommandLine) -> None:
    first = ductor.json(*BUILD, "--id", "own", "--own-token")["token"]

    second = ductor.json("webhook", "rotate", "own")["token"]

    assert first != second == hooks(ductor).all()[0].token
    assert str(second) not in ductor.run("webhook", "show", "own", "--json").stdout


def test_a_secret_comes_from_a_file_or_the_standard_input_and_is_never_shown(ductor: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")

    said = [
        ductor.run(*BUILD, "--id", "stripe", "--preset", "stripe", "--hmac-secret-file", str(file)),
        ductor.run(*BUILD, "--id", "slack", "--preset", "slack", "--hmac-secret-file", "-", said=SECRET),
        ductor.run("webhook", "show", "slack"),
    ]

    assert [done.returncode for done in said] == [0, 0, 0]
    assert SECRET not in "".join(done.stdout + done.stderr for done in said)
    assert [(hook.hmac_secret, hook.hmac_header) for hook in hooks(ductor).all()] == [
        (SECRET, "Stripe-Signature"), (SECRET, "X-Slack-Signature"),
    ]  # fmt: skip


def test_a_secret_that_ductor_makes_is_shown_once(ductor: CommandLine) -> None:
    made = str(ductor.json(*BUILD, "--id", "hub", "--preset", "github")["hmac_secret"])

    assert hooks(ductor).all()[0].hmac_secret == made
    assert made not in ductor.run("webhook", "show", "hub").stdout


@pytest.mark.parametrize("payload", ['{"url": "https://example.org/ü"}', "@payload.json", "-"])
def test_a_test_takes_a_payload_from_the_line_a_file_or_the_standard_input(ductor: CommandLine, tmp_path: Path, payload: str) -> None:
    text = '{"url": "https://example.org/ü"}'
    (tmp_path / "payload.json").write_text(text)
    ductor.lines(*BUILD, "--id", "build")

    lines = ductor.lines("webhook", "test", "build", "--payload", payload, said=text)

    assert lines == ["Run 1 of build is queued.", "note: ductor does not run: this begins when it is started."]
    assert ["https://example.org/ü" in item for item in waiting(ductor)] == [True]


def test_the_running_bot_takes_the_test(ductor: CommandLine) -> None:
    with serving(ductor.paths) as asked:
        ductor.json(*BUILD, "--id", "build")
        answer = ductor.json("webhook", "test", "build", "--payload", '{"url": 1}')

    assert asked == ["webhook.add", "webhook.test"]
    assert (answer["run"], answer["status"]) == (1, "unfinished")
    assert ductor.json("webhook", "log", "build")["runs"][0]["run"] == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("words", "why", "code"),
    [
        (("webhook", "test", "nobody"), "error:not_found: There is no hook", 1),
        (("webhook", "test", "build", "--payload", "[1]"), "--payload: must be a JSON object", 1),
        (("webhook", "test", "build", "--payload", "{"), "--payload: not JSON", 2),
        (("webhook", "test", "build", "--payload", "[" * 100_000), "--payload: not JSON", 2),
        (("webhook", "test", "build", "--payload", "@nothing"), "--payload: nothing cannot be read", 2),
        ((*BUILD, "--preset", "gitlab"), "--preset: gitlab is not known; must be one of github, stripe, slack", 1),
        ((*BUILD, "--preset", "stripe"), "give it with --hmac-secret-file", 1),
        ((*BUILD, "--preset", "slack", "--hmac-secret-file", "nothing"), "--hmac-secret-file: nothing cannot be read", 2),
        ((*BUILD, "--auth", "basic"), '--auth: "basic" is not accepted', 1),
        ((*BUILD, "--auth", "hmac", "--hmac-header", "X", "--hmac-sig-regex", "(a+)+"), "--hmac-sig-regex: ", 1),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(ductor: CommandLine, words: tuple[str, ...], why: str, code: int) -> None:
    ductor.paths.webhooks.write_text(json.dumps({"hooks": [{"id": "build", "title": "Build", "prompt_template": "x"}]}))

    assert why in ductor.refused(*words, code=code)
    assert [hook.id for hook in hooks(ductor).all()] == ["build"]


def test_a_hook_that_nobody_can_call_yet_says_how_to_switch_the_server_on(tmp_path: Path) -> None:
    ductor = CommandLine(tmp_path)

    said = [ductor.lines(*BUILD), ductor.lines("webhook", "list")]

    assert all("set enabled = true under [webhooks]" in "\n".join(lines) for lines in said)


def test_the_page_shows_the_line_that_is_printed(ductor: CommandLine) -> None:
    example = re.search(r"```sh\n(ductor webhook add --id.*?)```.*?```text\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None

    lines = ductor.lines(*shlex.split(example[1])[1:])

    assert [re.sub(r"Bearer [^\"]+", "Bearer …", line) for line in lines if line.startswith("call")] == example[2].splitlines()


def test_a_broken_entry_is_named_with_its_line(ductor: CommandLine) -> None:
    ductor.paths.webhooks.write_text(json.dumps({"hooks": [{"id": "a", "title": "A", "mode": "dance"}]}, indent=1))

    assert any('webhooks.json line 6: mode: "dance" is not accepted' in line for line in ductor.lines("webhook", "list"))
