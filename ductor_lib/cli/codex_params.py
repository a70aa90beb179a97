"""What Codex is started with and asked for, as pure functions; measured with version 0.169.0.

The prompt is never on a command line; what belongs to one conversation is never in the environment of a shared server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ductor_lib import __version__
from ductor_lib.cli.claude import shorten
from ductor_lib.cli.environment import MARK, plain_environment
from ductor_lib.messages import Chat
from ductor_lib.ports import TurnRequest

PROMPT_CHARS = 1_000_000  # Codex takes 1,048,576 characters, also on stdin
SANDBOXES = {"bypassPermissions": "danger-full-access", "acceptEdits": "workspace-write", "dontAsk": "workspace-write", "plan": "read-only"}
WRITABLE = "sandbox_workspace_write.writable_roots"
CAREFUL = "workspace-write"  # for the modes in which Claude Code would ask
OWN = (  # before the user's own parameters, which win
    "-c", "allow_login_shell=false",  # a login shell sets PATH anew on some systems: `ductor` would not be found
    "-c", 'project_root_markers=["memory_system"]',  # in a task folder the rules of the workspace count, too, as for Claude Code
)  # fmt: skip
OWN_PREFIXES = ("CODEX_", "OPENAI_")
INSIDE = ("CODEX_CI", "CODEX_MANAGED_", "CODEX_SANDBOX", "CODEX_SESSION_ID", "CODEX_THREAD_ID", "CODEX_TOOL_CALL_ID", "CODEX_VERSION")
STRANGE = ("ANTHROPIC_", "CLAUDE_")  # the other agent's; Codex does not need them

Params = dict[str, object]


def refusal(prompt: str) -> str:
    """Why a prompt cannot be sent, in words for a person; empty when it can."""
    if not prompt.strip():
        return "The message is empty."
    if len(prompt) > PROMPT_CHARS:
        return f"The message is longer than {PROMPT_CHARS:,} characters. Send it as a file."
    return ""


def sandbox(mode: str) -> str:
    """Codex's sandbox for a permission mode."""
    return SANDBOXES.get(mode, CAREFUL)


def codex_environment(base: Mapping[str, str], *, pass_env: Sequence[str], secrets: Sequence[str]) -> dict[str, str]:
    """What Codex may see of this process's environment: see `plain_environment`, with its own variables, without Claude's."""
    own = [name for name in base if name.startswith(OWN_PREFIXES) and not name.startswith(INSIDE)]
    plain = plain_environment(base, pass_env=[*pass_env, *own], secrets=secrets)
    return {name: value for name, value in plain.items() if name in pass_env or not name.startswith(STRANGE)}


def server_argv(command: Sequence[str], parameters: Sequence[str]) -> list[str]:
    """The command line of a shared server; `parameters` are the user's own, so they are part of what makes it another server."""
    return [*command, *OWN, *parameters, "app-server"]


def exec_argv(command: Sequence[str], request: TurnRequest) -> list[str]:
    """The command line of one turn in a process of its own; the prompt is read from stdin."""
    values = {
        "model_reasoning_effort": toml_string(request.effort) if request.effort else "",
        "developer_instructions": toml_string(shorten(request.instructions)) if request.instructions else "",
        WRITABLE: f"[{', '.join(toml_string(str(folder)) for folder in request.writable)}]" if request.writable else "",
    }
    overrides = [word for key, value in values.items() if value for word in ("-c", f"{key}={value}")]
    model = ["-m", request.model] if request.model else []
    place = ["-C", str(request.cwd), "-s", sandbox(request.permission_mode)]
    words = [*command, "exec", "--color", "never", *place, *model, *OWN, *overrides, *request.parameters]
    session = ["resume", request.session_id] if request.resume else ["fork", request.fork_of] if request.fork_of else []
    return [*words, *session[:1], "--json", "--skip-git-repo-check", *session[1:], "-"]  # the subcommands know only these two options


def exec_prompt(request: TurnRequest) -> str:
    """What is written to the stdin of such a process. The memory of a new session is in it: a command line can be read by everybody."""
    new = not request.resume and not request.fork_of
    return f"{request.memory}\n\n{request.prompt}" if request.memory and new else request.prompt


def toml_string(text: str) -> str:
    """A TOML basic string (toml.io): JSON's, except for half surrogates, which TOML does not know, and DEL."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(whole, ensure_ascii=False).replace("\x7f", "\\u007f")


def hello() -> Params:
    """The parameters of `initialize`; the experimental part has `thread/backgroundTerminals/clean`."""
    return {"clientInfo": {"name": "ductor", "title": "ductor", "version": __version__}, "capabilities": {"experimentalApi": True}}


def thread_settings(request: TurnRequest, marker: str) -> Params:
    """What is fixed while a thread is loaded; the same for `thread/start`, `thread/resume` and `thread/fork`.

    Commands of the thread carry the conversation's own mark and facts, which the shared server cannot have.
    """
    config: Params = {f"shell_environment_policy.set.{name}": value for name, value in {MARK: marker, **facts(request.chat)}.items()}
    if request.writable:
        config[WRITABLE] = [str(folder) for folder in request.writable]
    settings: Params = {
        "cwd": str(request.cwd), "sandbox": sandbox(request.permission_mode), "approvalPolicy": "never", "config": config
    }  # fmt: skip
    if told := "\n\n".join(filter(None, (shorten(request.instructions), request.memory))):
        settings["developerInstructions"] = told
    if request.model:
        settings["model"] = request.model
    return settings


def turn_start(thread: str, request: TurnRequest) -> Params:
    """The parameters of `turn/start`."""
    asked: Params = {"threadId": thread, "input": text_input(request.prompt), "summary": "auto"}
    if request.model:
        asked["model"] = request.model
    if request.effort:
        asked["effort"] = request.effort
    return asked


def text_input(text: str) -> list[Params]:
    return [{"type": "text", "text": text}]


def facts(chat: Chat) -> dict[str, str]:
    """The environment variables that tell a command which chat it works for."""
    topic = {} if chat.topic is None else {"DUCTOR_TOPIC_ID": str(chat.topic)}
    return {"DUCTOR_CHAT_ID": str(chat.id), **topic}
