"""What can go wrong with an agent, each kind with one sentence for the person who waits."""

from __future__ import annotations

from typing import Literal, get_args

ErrorKind = Literal[
    "not_installed", "not_signed_in", "rate_limited", "overloaded", "context_full", "unknown_session", "unknown_model",
    "budget", "max_turns", "timeout", "silent", "stopped", "killed", "crashed", "unreachable", "refused",
]

SENTENCES: dict[ErrorKind, str] = {
    "not_installed": "{cli} is not installed on this machine. Install it ({install}), sign in, and send the message again.",
    "not_signed_in": "{cli} is not signed in. Run `{login}` on the machine, then send the message again.",
    "rate_limited": "{cli} has reached its usage limit. Wait a while, then send the message again.",
    "overloaded": "The model is overloaded just now. Send the message again in a minute.",
    "context_full": "This conversation has become too long for the model. Start a fresh one with /new.",
    "unknown_session": "{cli} no longer knows this conversation.",
    "unknown_model": "{cli} does not know this model. Choose another one with /model.",
    "budget": "The turn reached the spending limit (`max_budget_usd` or `limits.turn_usd`). Send a message to go on with a new budget.",
    "max_turns": "The turn reached the limit of model calls (`max_turns`). Send “go on” to continue.",
    "timeout": "The turn took longer than allowed (`cli_timeout`) and was ended. What it did so far stays done.",
    "silent": "{cli} said nothing for too long (`agents.silence_timeout`) and was ended. Send the message again.",
    "stopped": "Stopped.",
    "killed": "{cli} was killed from outside (out of memory?). Send the message again.",
    "crashed": "{cli} ended unexpectedly. Send the message again; if it happens again, `logs/agent.log` says more.",
    "unreachable": "{cli} could not reach its servers. Check the machine's network, then send the message again.",
    "refused": "{cli} refused the request.",
}
assert set(SENTENCES) == set(get_args(ErrorKind))


class DuctorError(Exception):
    """A failure whose text is written for a person: what happened, and what to do next."""


class ConfigError(DuctorError):
    """The settings cannot be used; `lines` has one line per mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
