"""Who answers: the conversation's choice, else the default; moved to the other CLI when only that one is signed in."""

from __future__ import annotations

from dataclasses import dataclass

from ductor_lib.cli.auth import CLIS, UNKNOWN, AuthState
from ductor_lib.cli.catalogue import Catalogue
from ductor_lib.cli.sign_ins import SignIns
from ductor_lib.config import Settings
from ductor_lib.messages import Incoming
from ductor_lib.orchestrator import directives
from ductor_lib.orchestrator.directives import Directed
from ductor_lib.ports import Choice
from ductor_lib.session import Sessions
from ductor_lib.storage import JsonFile

DEFAULT = "default_choice"  # in state.json


@dataclass(frozen=True, slots=True)
class Resolved:
    """Who really answers the next turn, and one line about why it is not who was asked for, "" if it is.

    `choice` is None when no CLI can run: then `note` says how to sign in.
    """

    choice: Choice | None
    note: str = ""


class Choices:
    """Remembers choices and resolves them. Any thread; may take some seconds when a CLI has to be asked."""

    def __init__(
        self, settings: Settings, sessions: Sessions, state: JsonFile, catalogue: Catalogue, sign_ins: SignIns
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._state = state
        self._catalogue = catalogue
        self._sign_ins = sign_ins

    def of(self, conversation: str) -> Choice:
        """What was chosen for a conversation, else the default."""
        return self._sessions.choice(conversation) or self.default()

    def default(self) -> Choice:
        """What was made the default in a chat, else the settings."""
        stored = self._state.read().get(DEFAULT)
        if isinstance(stored, dict) and {"provider", "model", "effort"} <= stored.keys():
            return Choice(str(stored["provider"]), str(stored["model"]), str(stored["effort"]))
        settings = self._settings
        found = self._catalogue.find(settings.model)
        if found and settings.provider == "codex" and found.provider == "claude":  # `provider` says more than a `model` left as it was
            offer = self._catalogue.default("codex")
            return offer.choice(settings.reasoning_effort) if offer else Choice("codex", "", "")
        provider = found.provider if found else settings.provider
        return Choice(provider, settings.model, settings.reasoning_effort)

    def make_default(self, choice: Choice) -> None:
        """Keep a choice in state.json as the default of all conversations that have none of their own."""
        with self._state.change() as data:
            data[DEFAULT] = {"provider": choice.provider, "model": choice.model, "effort": choice.effort}

    def read(self, item: Incoming) -> Directed:
        """What a message asks for: its words without leading directives, and who shall answer this one turn."""
        return directives.read(item.text, self.of(item.lane), self._catalogue)

    def ordered(self, provider: str, model: str, effort: str, usual: Choice) -> Choice:
        """What a job or hook wants; "" is what is usual, or the default of a provider that is not."""
        if not model and provider in ("", usual.provider):
            return Choice(usual.provider, usual.model, effort or usual.effort)
        offer = self._catalogue.find(model) if model else self._catalogue.default(provider)
        if offer is None:  # not listed just now: the CLI may know it all the same
            return Choice(provider or usual.provider, model, effort)
        return offer.choice(effort or usual.effort)

    def resolve(self, choice: Choice) -> Resolved:
        """Who runs it now. Moves to the other CLI when the wanted one is missing or not signed in and the other is."""
        states = {provider: self._sign_ins.state(provider) for provider in self._sign_ins.providers()}
        able = [provider for provider, state in states.items() if state.signed_in]
        if choice.provider in able:
            return Resolved(choice)
        if not able and states[choice.provider].method == "rejected":  # it may have been renewed: only a turn can tell
            return Resolved(choice)
        if not able:
            return Resolved(None, "\n".join(how_to_sign_in(provider, state) for provider, state in states.items()))
        found = self._catalogue.find(choice.model)
        instead = self._catalogue.counterpart(found, able[0]) if found else self._catalogue.default(able[0])
        if instead is None:
            return Resolved(Choice(able[0], "", ""), f"*{CLIS[choice.provider].title} is not signed in; {CLIS[able[0]].title} answers.*")
        title = CLIS[choice.provider].title
        note = f"*{title} is not signed in, so {instead.model.name} of {CLIS[able[0]].title} answers instead of {choice.model}.*"
        return Resolved(instead.choice(choice.effort), note)


def how_to_sign_in(provider: str, state: AuthState) -> str:
    """One line: what is missing at a CLI and what to do."""
    cli = CLIS[provider]
    if not state.installed:
        return f"❌ {cli.title} is not installed: `{cli.install}`, then `{cli.login}`."
    if state.method == UNKNOWN:
        return f"❔ {cli.title} {state.version} does not tell whether it is signed in; a message will show it."
    if state.method == "rejected":
        return f"❌ {cli.title}'s sign-in was refused: run `{cli.login}` on the machine."
    if not state.signed_in:
        return f"❌ {cli.title} is not signed in: run `{cli.login}` on the machine."
    return f"✅ {cli.title} {state.version} is signed in ({state.method})."
