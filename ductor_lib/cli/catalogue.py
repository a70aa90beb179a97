"""What can be asked for: every model of both CLIs by its name, and who runs it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ductor_lib.cli.codex_models import Model
from ductor_lib.ports import Choice

CLAUDE_EFFORTS = ("low", "medium", "high", "xhigh", "max")
EFFORTS = ("none", "minimal", *CLAUDE_EFFORTS)  # the words that are efforts whatever is listed
ALWAYS = (  # the aliases that Claude Code takes whatever it lists
    Model("opus", "Opus", CLAUDE_EFFORTS, "high", is_default=True),
    Model("sonnet", "Sonnet", CLAUDE_EFFORTS, "high", is_default=False),
    Model("haiku", "Haiku", (), "", is_default=False),
)
PROVIDERS = ("claude", "codex")
SMALL = ("haiku", "sonnet")  # what stands for the smallest model of the other CLI


class Listed(Protocol):
    """A list of models that may be asked for again and again."""

    def list(self) -> tuple[Model, ...]: ...


@dataclass(frozen=True, slots=True)
class Offer:
    """One model with its provider, "claude" or "codex"."""

    provider: str
    model: Model

    def choice(self, effort: str) -> Choice:
        """This model with an effort that it knows: the wanted one, else its default."""
        model = self.model
        return Choice(self.provider, model.id, effort if effort in model.efforts else model.default_effort)

    def is_effort(self, word: str) -> bool:
        """Whether a word in lower case is an effort, be it one that this model does not know."""
        return word in EFFORTS or word in self.model.efforts


class Catalogue:
    """The models of both CLIs. Any thread; may take some seconds when Codex's list has to be asked for."""

    def __init__(self, claude: Listed, codex: Listed) -> None:
        self._claude = claude
        self._codex = codex

    def models(self, provider: str) -> tuple[Model, ...]:
        """What a provider offers; Claude's aliases first."""
        return with_aliases(self._claude.list()) if provider == "claude" else self._codex.list()

    def find(self, name: str) -> Offer | None:
        """The model of that name; a provider's name stands for its default model. Upper and lower case are the same."""
        wanted = name.casefold()
        for provider in PROVIDERS:
            if wanted == provider:
                return self.default(provider)
            models = self.models(provider)
            named = [model for model in models if wanted == model.id.casefold()]  # first: two may be shown by one name
            named += [model for model in models if wanted == model.name.casefold()]
            if named:
                return Offer(provider, named[0])
        return None

    def behind(self, choice: Choice) -> Offer:
        """The model of a choice; one that is not listed (from the settings, or not any more) is taken to know every effort."""
        found = next((model for model in self.models(choice.provider) if model.id == choice.model), None)
        return Offer(choice.provider, found or Model(choice.model, choice.model or "the default model", EFFORTS, "", is_default=False))

    def default(self, provider: str) -> Offer | None:
        """The provider's own default; None when it lists nothing."""
        models = self.models(provider)
        chosen = next((model for model in models if model.is_default), models[0] if models else None)
        return Offer(provider, chosen) if chosen else None

    def counterpart(self, offer: Offer, provider: str) -> Offer | None:
        """What runs instead at the other provider: the default for a large model, the smallest listed for a small one."""
        if offer.provider == provider:
            return offer
        if provider == "claude":
            default = self.default("codex")
            return Offer("claude", ALWAYS[0] if default and offer.model.id == default.model.id else ALWAYS[1])
        models = self.models("codex")
        if offer.model.id in SMALL and models:
            return Offer("codex", smallest(models))
        return self.default("codex")

    def nearest(self, name: str) -> tuple[str, ...]:
        """Up to three names that look like it."""
        names = [model.id for provider in PROVIDERS for model in self.models(provider)]
        return tuple(difflib.get_close_matches(name.casefold(), [*names, *PROVIDERS], n=3, cutoff=0.4))


def with_aliases(listed: Sequence[Model]) -> tuple[Model, ...]:
    """Claude's aliases, with the efforts that Claude Code lists for them, then what else it lists."""
    known = {model.id: model for model in listed}
    aliases = tuple(replace(known.pop(alias.id, alias), name=alias.name, is_default=alias.is_default) for alias in ALWAYS)
    return *aliases, *known.values()


def smallest(models: Sequence[Model]) -> Model:
    """The one whose name says that it is small; else the last one listed, as vendors list the largest first."""
    return next((model for word in ("nano", "mini", "small", "lite") for model in models if word in model.id), models[-1])
