"""What can be asked for: every model of both CLIs by its name, and who runs it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ductor_lib.cli.codex_models import Model

CLAUDE_EFFORTS = ("low", "medium", "high", "xhigh", "max")
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


class Catalogue:
    """The models of both CLIs. Any thread; may take some seconds when a list has to be asked for."""

    def __init__(self, codex: Listed) -> None:
        self._codex = codex

    def models(self, provider: str) -> tuple[Model, ...]:
        """What a provider offers; Claude's aliases first."""
        return ALWAYS if provider == "claude" else self._codex.list()

    def find(self, name: str) -> Offer | None:
        """The model of that name; a provider's name stands for its default model. Upper and lower case are the same."""
        wanted = name.casefold()
        for provider in PROVIDERS:
            if wanted == provider:
                return self.default(provider)
            for model in self.models(provider):
                if wanted in (model.id.casefold(), model.name.casefold()):
                    return Offer(provider, model)
        return None

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


def smallest(models: Sequence[Model]) -> Model:
    """The one whose name says that it is small; else the last one listed, as vendors list the largest first."""
    return next((model for word in ("nano", "mini", "small", "lite") for model in models if word in model.id), models[-1])
