"""The settings as one table: every key of `config.toml` is a field here, with default, accepted values and its line of documentation."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal, TypeVar, get_type_hints

T = TypeVar("T")
Type = Literal["text", "number", "whole number", "switch", "texts", "whole numbers"]

MAX_ID = 2**52 - 1  # Bot API: identifiers have at most 52 significant bits
TOKEN = r"\d{5,}:[A-Za-z0-9_-]{30,}"
URL = r"https?://[^\s/?#]+[^\s?#]*"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one key accepts. For a list, `low`, `high` and `pattern` hold for each item. `pattern` is matched whole.

    `accepted` says the pattern in words. A `secret` is shown in no error and no repr.
    """

    doc: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    pattern: str = ""
    accepted: str = ""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table. `name` is dotted: "streaming.mode"; `section` is empty for keys of the top level."""

    name: str
    type: Type
    default: object
    rule: Rule

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def accepted(self) -> str:
        """The accepted values in words: "a whole number from 0 to 64"."""
        rule = self.rule
        if rule.accepted:
            return rule.accepted
        if rule.choices:
            return ("one of " if rule.choices[1:] else "") + ", ".join(f'"{choice}"' for choice in rule.choices)
        if rule.low is not None and rule.high is not None:
            return f"a {self.type} from {rule.low:g} to {rule.high:.0f}"
        return {"switch": "true or false", "text": "a text in quotes", "texts": 'a list of texts: ["one", "two"]'}[self.type]


def _key(
    default: T,
    doc: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    pattern: str = "",
    accepted: str = "",
    secret: bool = False,
) -> T:
    rule = Rule(doc, choices, low, high, pattern, accepted, secret)
    return field(default=default, repr=not secret, metadata={"rule": rule})


@dataclass(frozen=True, slots=True)
class Agents:
    parallel: int = _key(0, "Agent processes at the same time, waiting ones included; 0: by memory, 400 MB each, 1 to 8", low=0, high=64)
    warm: int = _key(2, "Idle Claude processes kept ready for the next message; 0: a new process for every turn", low=0, high=64)
    warm_minutes: int = _key(15, "Minutes after which an idle process is ended", low=1, high=1440)
    silence_timeout: int = _key(
        330, "Seconds without any sign of life after which a turn is ended; not counted while a tool runs", low=1, high=86400
    )
    pass_env: tuple[str, ...] = _key(
        (), "Further environment variables that agents get, by name",
        pattern=VARIABLE, accepted='a list of names of environment variables: ["GITHUB_TOKEN"]',
    )


@dataclass(frozen=True, slots=True)
class Inbox:
    fresh_minutes: int = _key(30, "Older messages, sent while ductor was off, are asked about before they run", low=1, high=10080)
    stop_words: tuple[str, ...] = _key(
        ("stop", "abort", "cancel", "halt", "wait", "quit", "exit", "interrupt", "stopp", "warte", "abbruch", "abbrechen", "стоп"),
        "A message that is just one of these words stops the running turn, as /stop does; case does not matter",
        pattern=r"\S+( \S+)*", accepted='a list of words: ["stop", "halt"]',
    )


@dataclass(frozen=True, slots=True)
class Streaming:
    mode: str = _key(
        "edit", "How an answer grows in the chat: one message that is edited, further messages, or only the final answer",
        choices=("edit", "append", "off"),
    )
    edit_interval_seconds: float = _key(2.0, "Seconds between two edits of a preview", low=0.1, high=60)
    max_edit_failures: int = _key(3, "Failed edits in a row after which a turn shows no more previews", low=1, high=100)
    notify_after_seconds: int = _key(
        30, "A turn longer than this many seconds ends with a new message, so that the phone rings", low=0, high=86400
    )
    min_chars: int = _key(200, "append mode: shortest piece of text sent as a message of its own", low=1, high=4000)
    max_chars: int = _key(4000, "append mode: longest piece", low=200, high=4000)
    idle_ms: int = _key(800, "append mode: milliseconds of quiet after which a piece is sent", low=50, high=60000)
    sentence_break: bool = _key(True, "append mode: cut at the end of a sentence where there is one")


@dataclass(frozen=True, slots=True)
class Limits:
    daily_usd: float = _key(0.0, "USD of a day after which ductor asks before it begins another turn; 0: no limit", low=0, high=100_000)
    daily_tokens: int = _key(0, "The same in tokens, those read and those written; 0: no limit", low=0, high=10_000_000_000)
    turn_usd: float = _key(0.0, "USD of one turn of Claude; the smaller of this and max_budget_usd counts; 0: none", low=0, high=100_000)


@dataclass(frozen=True, slots=True)
class CliParameters:
    claude: tuple[str, ...] = _key((), "Further arguments of `claude`, one per item")
    codex: tuple[str, ...] = _key((), "Further arguments of `codex`, one per item")


@dataclass(frozen=True, slots=True)
class Docker:
    enabled: bool = _key(False, "Run agents in a container")
    image_name: str = _key("ductor-sandbox", "The image", pattern=r"\S+", accepted="a text without spaces")
    container_name: str = _key("ductor-sandbox", "The container", pattern=r"\S+", accepted="a text without spaces")
    auto_build: bool = _key(True, "Build the image when it is missing")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    enabled: bool = _key(False, "Let the agent look after its tasks from time to time")
    interval_minutes: int = _key(30, "Minutes between two heartbeats", low=1, high=10080)
    cooldown_minutes: int = _key(5, "Minutes of quiet in the chat before a heartbeat", low=0, high=1440)
    quiet_start: int = _key(21, "Hour at which the quiet time begins", low=0, high=23)
    quiet_end: int = _key(8, "Hour at which the quiet time ends; the same hour as quiet_start: no quiet time", low=0, high=23)
    prompt: str = _key("", "What the agent is asked; empty: the built-in question")
    ack_token: str = _key(
        "HEARTBEAT_OK", "The answer that means: nothing to report", pattern=r"\S+", accepted="a text without spaces"
    )


@dataclass(frozen=True, slots=True)
class Cleanup:
    enabled: bool = _key(True, "Remove old files once a day")
    telegram_files_days: int = _key(30, "Days that received files are kept", low=1, high=36500)
    output_to_user_days: int = _key(30, "Days that files made for you are kept", low=1, high=36500)
    check_hour: int = _key(3, "Hour of the day", low=0, high=23)


@dataclass(frozen=True, slots=True)
class Webhooks:
    enabled: bool = _key(False, "Listen for webhooks")
    host: str = _key("127.0.0.1", "Address to listen on", pattern=r"\S+", accepted="a host name or an address")
    port: int = _key(8742, "Port to listen on", low=1, high=65535)
    token: str = _key("", "What callers send to prove who they are; empty: one is made", secret=True)
    max_body_bytes: int = _key(262144, "Largest request, in bytes", low=1, high=50_000_000)
    rate_limit_per_minute: int = _key(30, "Requests a minute for each hook; ten times that for all together", low=1, high=10000)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `warnings` are sentences for the log about things that were ignored."""

    telegram_token: str = _key(
        "", "The bot's token, from @BotFather (required)", pattern=TOKEN, secret=True,
        accepted='the line that @BotFather shows for your bot, such as "123456789:AAE..."',
    )
    telegram_api_url: str = _key(
        "https://api.telegram.org", "The Bot API server", pattern=URL, accepted="an address that begins with http:// or https://"
    )
    allowed_user_ids: tuple[int, ...] = _key(
        (), "Who may talk to the bot (required); the first one is the owner", low=1, high=MAX_ID,
        accepted="a list of user numbers: [123456789] (yours: ask @userinfobot)",
    )
    allowed_group_ids: tuple[int, ...] = _key(
        (), "Groups in which they may do so", low=-MAX_ID, high=-1,
        accepted="a list of group numbers, which are negative: [-1001234567890]",
    )
    provider: str = _key("claude", "Which agent answers", choices=("claude", "codex"))
    model: str = _key(
        "opus", "The model, as the agent's own command line names it", pattern=r"[\w.:/@\[\]-]+", accepted='a model name, such as "opus"'
    )
    reasoning_effort: str = _key(
        "medium", "How hard the model thinks; a model takes those it knows", choices=("low", "medium", "high", "xhigh", "max", "ultra")
    )
    permission_mode: str = _key(
        "bypassPermissions", "What the agent may do unasked: everything, edits in its folder, only plan, only what is allowed anyway",
        choices=("bypassPermissions", "acceptEdits", "plan", "dontAsk"),
    )
    user_timezone: str = _key("", 'Your time zone, such as "Europe/Berlin"; empty: that of the machine')
    log_level: str = _key("INFO", "What goes into the log", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    cli_timeout: int = _key(600, "Seconds after which a turn is ended", low=1, high=86400)
    max_turns: int = _key(0, "Model calls in one turn; 0: no limit", low=0, high=10000)
    max_budget_usd: float = _key(0.0, "USD that a conversation's agent process may spend; 0: no limit", low=0, high=100_000)
    max_session_messages: int = _key(0, "Messages after which a conversation starts afresh; 0: no limit", low=0, high=100_000)
    idle_timeout_minutes: int = _key(1440, "Minutes of quiet after which a conversation starts afresh; 0: never", low=0, high=525_600)
    session_age_warning_hours: int = _key(12, "Hours after which every tenth answer says how old a session is; 0: never", low=0, high=8760)
    daily_reset_enabled: bool = _key(False, "Start every conversation afresh once a day")
    daily_reset_hour: int = _key(4, "Hour of that", low=0, high=23)
    file_access: str = _key(
        "all", "Files that may be sent to the chat: all, those in your home folder, those in the workspace",
        choices=("all", "home", "workspace"),
    )
    agents: Agents = Agents()
    inbox: Inbox = Inbox()
    streaming: Streaming = Streaming()
    limits: Limits = Limits()
    cli_parameters: CliParameters = CliParameters()
    docker: Docker = Docker()
    heartbeat: Heartbeat = Heartbeat()
    cleanup: Cleanup = Cleanup()
    webhooks: Webhooks = Webhooks()
    warnings: tuple[str, ...] = ()


SECTIONS: tuple[str, ...] = tuple(entry.name for entry in fields(Settings) if is_dataclass(entry.default))
TYPES: dict[object, Type] = {
    str: "text", float: "number", int: "whole number", bool: "switch", tuple[str, ...]: "texts", tuple[int, ...]: "whole numbers",
}


def _rows(section: str) -> list[Key]:
    holder = getattr(Settings(), section) if section else Settings()
    hints = get_type_hints(type(holder))
    prefix = f"{section}." if section else ""
    return [
        Key(prefix + entry.name, TYPES[hints[entry.name]], entry.default, entry.metadata["rule"])
        for entry in fields(holder)
        if "rule" in entry.metadata
    ]


KEYS: tuple[Key, ...] = tuple(row for section in ("", *SECTIONS) for row in _rows(section))
