"""Commands for somebody new: what this is, who is signed in, what it cannot read."""

from __future__ import annotations

from collections.abc import Sequence

from ductor_lib import __version__
from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Button, Incoming, Reply
from ductor_lib.orchestrator.choices import how_to_sign_in

QUICK_START = (
    Button("What can you do here?", "Tell me in ten lines what you can do for me on this machine, with an example for each."),
    Button("Look around", "Look around on this machine (system, disk, memory, what runs) and tell me in short what you find."),
    Button("Who am I?", "Ask me three short questions so that you know who I am and how I like to work, then sum up my answers."),
)


def start(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/start: a welcome that says plainly whether everything is ready."""
    states = "\n".join(how_to_sign_in(provider, desk.sign_ins.state(provider)) for provider in desk.sign_ins.providers())
    text = (
        "👋 **I am ductor.** What you write here goes to Claude Code or Codex on your own machine, and the answer comes back while it is"
        " written.\n\n"
        f"{states}\n\n/stop ends what runs, /new starts afresh, /help lists the rest."
    )
    return [Reply(item.chat, text, buttons=tuple((button,) for button in QUICK_START))]


def info(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/info: version and links."""
    lines = (
        f"**ductor** {__version__}",
        "Claude Code: https://docs.claude.com/en/docs/claude-code",
        "Codex: https://developers.openai.com/codex",
        "Licence: MIT; pyTelegramBotAPI, which it uses, is GPL-2.0",
    )
    return [Reply(item.chat, "\n".join(lines))]


def media(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A message without words: say so, instead of keeping silent."""
    return [Reply(item.chat, f"I can read only text so far, not a {words or 'file'}. Send it again with a caption, or describe it.")]


def stale(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on a button whose meaning was cleaned up."""
    return [Reply(item.chat, "That button is too old to work. Please type what you want instead.")]
