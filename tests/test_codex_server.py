"""The link to Codex's server and what belongs to it: feeds that never hold it up, requests and replies, what is asked and sent."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.cli.codex_params import (
    OWN,
    codex_environment,
    exec_argv,
    exec_prompt,
    sandbox,
    server_argv,
    thread_settings,
    toml_string,
    turn_start,
)
from ductor_lib.cli.codex_server import DECLINED, GONE, CodexServer, Feed, answer
from ductor_lib.cli.codex_servers import Servers
from ductor_lib.cli.environment import MARK
from ductor_lib.messages import Chat
from ductor_lib.ports import TurnRequest

ROOT = Path(__file__).parent.parent
AGENT = (sys.executable, "-m", "ductor_lib.demo.codex_agent", "app-server")
SESSION = "01a2032e-a06e-73d0-8d18-e6b7dc4f5f06"
SOON = 20.0  # seconds; a bound for what takes milliseconds
REQUEST = TurnRequest(
    conversation="chat:42", chat=Chat(42), prompt="a very private prompt", session_id=SESSION, resume=False, model="gpt-5.5", effort="high",
    cwd=Path("/home/user/project"), instructions="Be brief.", permission_mode="acceptEdits", timeout=600, silence=330,
)  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CodexServer]:
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), MARK: f"{tmp_path}/server"}
    made = CodexServer(AGENT, cwd=tmp_path, environment=variables)
    yield made
    made.destroy()


def delta(text: str, item: str = "m") -> dict[str, object]:
    return {"method": "item/agentMessage/delta", "params": {"itemId": item, "delta": text}}


# ── feeds ──


def test_a_feed_hands_out_what_came_in_order_then_says_that_it_is_over() -> None:
    feed = Feed()
    feed.put({"id": 1}, 10)
    feed.put({"id": 2}, 10)
    feed.end()

    assert [feed.get(SOON), feed.get(SOON), feed.get(SOON)] == [{"id": 1}, {"id": 2}, GONE]


def test_a_waiting_feed_can_be_woken() -> None:
    feed = Feed()

    feed.wake()

    assert feed.get(SOON) is None
    assert feed.get(0) is None


def test_a_full_feed_drops_all_further_deltas_of_an_item_and_nothing_else() -> None:
    feed = Feed(limit=100)
    whole = {"method": "item/completed", "params": {"item": {"id": "m"}}}

    for message in (delta("one"), delta("two"), delta("lost"), whole):
        feed.put(message, 60)
    read = [feed.get(0)]
    read.append(feed.get(0))
    feed.put(delta("lost too"), 60)
    feed.put(delta("another's", "n"), 60)

    assert read == [delta("one"), delta("two")]
    assert [feed.get(0), feed.get(0), feed.get(0)] == [whole, delta("another's", "n"), None]


# ── the link ──


def test_a_request_is_answered_where_it_was_asked(server: CodexServer) -> None:
    models, nonsense = Feed(), Feed()

    number = server.request(models, "model/list", {})
    server.request(nonsense, "no/such/thing", {})

    reply = models.get(SOON)
    assert reply is not None
    assert reply["id"] == number
    assert "error" in (nonsense.get(SOON) or {})


def test_notifications_go_to_who_listens_to_the_thread_and_only_one_may(server: CodexServer) -> None:
    feed, other = Feed(), Feed()
    server.request(feed, "thread/start", {"cwd": "/"})
    thread = (feed.get(SOON) or {})["result"]["thread"]["id"]  # type: ignore[index]

    assert server.listen(thread, feed)
    assert not server.listen(thread, other)
    server.request(None, "turn/start", {"threadId": thread, "input": [{"type": "text", "text": "hi"}]})

    assert (feed.get(SOON) or {})["method"] == "turn/started"
    server.leave(feed)
    assert server.listen(thread, other)


def test_the_end_of_the_server_is_told_to_everybody_and_later_requests_are_told_at_once(server: CodexServer) -> None:
    waiting, late = Feed(), Feed()
    server.listen("a thread", waiting)

    server.destroy("because")

    assert waiting.get(SOON) is GONE
    server.request(late, "model/list", {})
    assert late.get(SOON) is GONE
    assert (server.running, server.child.returncode, server.epitaph) == (False, 0, "because")


def test_a_server_that_must_go_leaves_a_little_later_and_at_the_end_at_once(tmp_path: Path) -> None:
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), MARK: f"{tmp_path}/server"}
    servers = Servers(lambda parameters: CodexServer(AGENT, cwd=tmp_path, environment=variables), courtesy=3600.0)
    with servers.use(()) as server:
        pass

    servers.retire(server)

    assert server.running
    servers.close()
    assert not server.running


def test_what_the_server_asks_is_declined_and_what_is_unknown_is_refused() -> None:
    assert answer("item/commandExecution/requestApproval") == {"result": {"decision": "decline"}}
    assert answer("item/tool/requestUserInput") == {"result": {"answers": {}}}
    assert "error" in answer("brand/new")
    assert all("accept" not in json.dumps(reply) for reply in DECLINED.values())


# ── what is asked ──


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("bypassPermissions", "danger-full-access"), ("acceptEdits", "workspace-write"), ("dontAsk", "workspace-write"),
        ("plan", "read-only"), ("default", "workspace-write"),
    ],
)  # fmt: skip
def test_each_permission_mode_has_its_sandbox(mode: str, expected: str) -> None:
    assert sandbox(mode) == expected
    assert thread_settings(replace(REQUEST, permission_mode=mode), "m")["sandbox"] == expected


def test_a_thread_is_told_its_chat_and_a_turn_its_words() -> None:
    settings = thread_settings(replace(REQUEST, chat=Chat(42, 7)), "run/chat:42:7")
    turn = turn_start(SESSION, REQUEST)

    assert settings["config"] == {
        "shell_environment_policy.set.DUCTOR_MARK": "run/chat:42:7", "shell_environment_policy.set.DUCTOR_CHAT_ID": "42",
        "shell_environment_policy.set.DUCTOR_TOPIC_ID": "7",
    }  # fmt: skip
    assert (settings["developerInstructions"], settings["approvalPolicy"]) == ("Be brief.", "never")
    assert (turn["effort"], turn["summary"], turn["input"]) == ("high", "auto", [{"type": "text", "text": "a very private prompt"}])


def test_the_prompt_is_never_on_a_command_line_and_the_user_s_words_are() -> None:
    request = replace(REQUEST, parameters=("-c", "model_verbosity=low"))

    new, old = exec_argv(["codex"], request), exec_argv(["codex"], replace(request, resume=True))

    assert not any("private" in word for word in new + old)
    assert new[-3:] == ["--json", "--skip-git-repo-check", "-"]
    assert old[-5:] == ["resume", "--json", "--skip-git-repo-check", SESSION, "-"]
    copy = exec_argv(["codex"], replace(request, fork_of="original"))
    assert copy[-5:] == ["fork", "--json", "--skip-git-repo-check", "original", "-"]
    assert new[:8] == old[:8] == ["codex", "exec", "--color", "never", "-C", "/home/user/project", "-s", "workspace-write"]
    assert "model_verbosity=low" in new
    assert server_argv(["codex"], request.parameters) == ["codex", *OWN, "-c", "model_verbosity=low", "app-server"]


def test_what_is_remembered_goes_to_the_server_and_to_a_new_process_on_its_stdin() -> None:
    request = replace(REQUEST, memory="The owner likes tea.", writable=(Path("/data"),))

    settings, words = thread_settings(request, "m"), exec_argv(["codex"], request)

    assert settings["developerInstructions"] == "Be brief.\n\nThe owner likes tea."
    assert settings["config"]["sandbox_workspace_write.writable_roots"] == ["/data"]  # type: ignore[index]
    assert 'sandbox_workspace_write.writable_roots=["/data"]' in words
    assert not any("tea" in word for word in words)
    assert exec_prompt(request) == "The owner likes tea.\n\na very private prompt"
    assert exec_prompt(replace(request, resume=True)) == "a very private prompt"


@given(st.text())
def test_any_text_survives_as_a_toml_string(text: str) -> None:
    expected = text.encode("utf-8", "replace").decode()

    assert tomllib.loads(f"a = {toml_string(text)}")["a"] == expected


def test_codex_sees_its_own_variables_and_none_of_claude_s() -> None:
    base = {
        "HOME": "/h", "CODEX_HOME": "/c", "OPENAI_BASE_URL": "u", "ANTHROPIC_API_KEY": "k", "CLAUDE_CONFIG_DIR": "d",
        "CODEX_THREAD_ID": "t", "CODEX_SANDBOX_NETWORK_DISABLED": "1", "OPENAI_API_KEY": "the token", "SECRET": "x",
    }  # fmt: skip

    assert codex_environment(base, pass_env=[], secrets=["token"]) == {"HOME": "/h", "CODEX_HOME": "/c", "OPENAI_BASE_URL": "u"}
