"""Jobs and hooks as values: what a person defines in cron_jobs.json and webhooks.json."""

from __future__ import annotations

from dataclasses import dataclass, field

from ductor_lib.messages import Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What jobs and hooks have in common.

    `provider`, `model`, `reasoning_effort`: "" means what conversations use by default. `cli_parameters` replace the
    global ones; None means those. `quiet_start` and `quiet_end` are hours (0-23); None: no own quiet time.
    `dependency`: runs with the same word go one after the other, across jobs and hooks. `chat`: where the result goes;
    None means the private chats of all allowed users. `silent_when`: a word in the answer that means: tell nobody.
    `into_session`: the result becomes part of the conversation it is sent to. `created_at` is ISO 8601.
    """

    id: str
    title: str
    description: str = ""
    enabled: bool = True
    created_at: str = ""
    task_folder: str = ""
    provider: str = ""
    model: str = ""
    reasoning_effort: str = ""
    cli_parameters: tuple[str, ...] | None = None
    quiet_start: int | None = None
    quiet_end: int | None = None
    dependency: str = ""
    chat: Chat | None = None
    silent_when: str = ""
    into_session: bool = False

    @property
    def queue(self) -> str:
        """The name of the lane it runs in, without "task:"."""
        return self.dependency or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Task):
    """Something that is due by the clock: by `schedule` (a cron expression), or once at `at` (ISO 8601 with offset).

    `message` makes it a reminder: the text is said as it is, without a model; with `ask` the text goes to the agent of
    the conversation `chat` instead. Otherwise the agent works on `agent_instruction` in its task folder. `missed`
    decides about runs that were due while ductor was not running: "skip" them, or make them up "once".
    """

    schedule: str = ""
    at: str = ""
    timezone: str = ""
    agent_instruction: str = ""
    missed: str = "skip"
    message: str = ""
    ask: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook(Task):
    """Something that is begun by an HTTP request to /hooks/<id>.

    `mode`: "wake" puts the rendered prompt into conversations, "cron_task" runs it in the task folder. Secrets are never
    shown. `hmac_tolerance_seconds`: 0 means that the age of a signature does not matter.
    """

    mode: str = "wake"
    prompt_template: str = ""
    auth_mode: str = "bearer"
    token: str = field(default="", repr=False)
    hmac_secret: str = field(default="", repr=False)
    hmac_header: str = ""
    hmac_algorithm: str = "sha256"
    hmac_encoding: str = "hex"
    hmac_sig_prefix: str = ""
    hmac_sig_regex: str = ""
    hmac_payload_prefix_regex: str = ""
    hmac_tolerance_seconds: int = 0
