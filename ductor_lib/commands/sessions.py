"""/sessions: recent sessions of both agents in this folder, also those from a terminal; one is taken up as a copy, never itself."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ductor_lib.cli.auth import CLIS
from ductor_lib.cli.transcripts import Transcript
from ductor_lib.commands.desk import Desk
from ductor_lib.messages import Button, Incoming, Reply, Rows
from ductor_lib.orchestrator.choices import how_to_sign_in
from ductor_lib.orchestrator.words import age, first_line, plain

SLOT = "sessions"
PAGE = 8
IN_ROW = 4
COPY_CHARS = 256  # Bot API: CopyTextButton.text 1-256 characters
GONE = "That session is not there any more. /sessions lists those that are."
TERMINAL = {"claude": "claude --resume {} --fork-session", "codex": "codex fork {}"}


def show(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """/sessions, and with a number that page of it."""
    page = max(1, int(words)) if words.isascii() and words.isdigit() and len(words) < 5 else 1
    found = list(islice(desk.transcripts.recent(desk.cwd), (page - 1) * PAGE, page * PAGE + 1))
    shown = found[:PAGE]
    if not shown:
        text = f"There is no{' further' if page > 1 else ''} session of {plain(os.path.realpath(desk.cwd))}."
        return [Reply(item.chat, text, slot=SLOT, fresh=item.kind != "press")]
    mine = {bucket.session_id for provider in CLIS if (bucket := desk.sessions.peek(item.lane, provider, desk.cwd))}
    lines = [line(number, transcript, mine) for number, transcript in enumerate(shown, 1)]
    text = "\n".join(("**Sessions in this folder.** A copy of the one you pick goes on here; the original stays as it is.", "", *lines))
    return [Reply(item.chat, text, buttons=buttons(shown, page, more=len(found) > PAGE), slot=SLOT, fresh=item.kind != "press")]


def attach(desk: Desk, item: Incoming, words: str) -> Sequence[Reply]:
    """A press on one of them: the next turn begins as a copy. It waits for the running turn, whose end belongs to the session before."""
    provider, _, session_id = words.partition(" ")
    found = desk.transcripts.find(provider, session_id, desk.cwd) if provider in CLIS else None
    if found is None:
        return [Reply(item.chat, GONE)]
    state = desk.sign_ins.state(provider)
    if not state.signed_in:
        return [Reply(item.chat, how_to_sign_in(provider, state))]
    choice = desk.choices.of(item.lane)
    if choice.provider != provider:
        offer = desk.catalogue.default(provider)
        if offer is None:
            return [Reply(item.chat, f"{CLIS[provider].title} does not list its models just now. Please try again in a minute.")]
        choice = offer.choice(choice.effort)
        desk.sessions.choose(item.lane, choice)
    desk.sessions.replace(item.lane, provider, desk.cwd, fork_of=found.id)
    desk.agents[provider].release(item.lane)
    text = (
        f"⑂ This conversation goes on as a copy of “{first_line(found.title)}” with {CLIS[provider].title}, {plain(choice.model)}. "
        "The original stays as it is."
    )
    return [Reply(item.chat, text, slot=SLOT, closing=True)]


def line(number: int, transcript: Transcript, mine: set[str]) -> str:
    """One session in the list."""
    here = ", **this conversation**" if transcript.id in mine else ""
    title = first_line(transcript.title) if transcript.title else "(a very long first message)"
    since = age(time.time() - transcript.modified)
    return f"{number}. {title} – {CLIS[transcript.provider].title}, {since} ago, {transcript.size / 1000:,.0f} kB{here}"


def buttons(shown: Sequence[Transcript], page: int, *, more: bool) -> Rows:
    """One for each session, and the way to the other pages."""
    picks = [Button(f"⑂ {number}", f"/attach {each.provider} {each.id}") for number, each in enumerate(shown, 1)]
    rows = [tuple(picks[start : start + IN_ROW]) for start in range(0, len(picks), IN_ROW)]
    ways = [Button("◀ Newer", f"/sessions {page - 1}")] * (page > 1) + [Button("Older ▶", f"/sessions {page + 1}")] * more
    return (*rows, tuple(ways)) if ways else tuple(rows)


def terminal(provider: str, session_id: str, cwd: Path) -> str:
    """The shell command that goes on with a copy of a session, so that there are never two writers."""
    return f"cd {shlex.quote(os.path.realpath(cwd))} && {TERMINAL[provider].format(shlex.quote(session_id))}"
