"""Directives: leading words such as `@opus` or `@high` that hold for one turn only. What is not one stays text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ductor_lib.cli.auth import CLIS
from ductor_lib.cli.catalogue import PROVIDERS, Catalogue, Offer
from ductor_lib.orchestrator.words import plain
from ductor_lib.ports import Choice

WORD = re.compile(r"\s*@(\S+)(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Directed:
    """Who shall answer, the words without their directives, and an `answer` of our own when there is nothing to run."""

    choice: Choice
    text: str
    answer: str = ""


def read(text: str, choice: Choice, catalogue: Catalogue) -> Directed:
    """Take the directives off the beginning of a message; `choice` answers what they do not say.

    May take some seconds when a list of models has to be asked for, but not for a text without a leading "@".
    """
    offer, effort, rest = None, "", text
    while match := WORD.match(rest):
        word = match[1].casefold()
        if (offer or catalogue.behind(choice)).is_effort(word):
            effort = word
        elif found := _model(word, catalogue):
            offer = found
        else:
            break
        rest = rest[match.end() :]
    if offer is None and not effort:
        return Directed(choice, text)
    wanted = offer or catalogue.behind(choice)
    if effort and effort not in wanted.model.efforts:
        return Directed(choice, rest, f"{refusal(wanted, effort)} Your message was not sent.")
    chosen = wanted.choice(effort or choice.effort)
    return Directed(chosen, rest, "" if rest else _explanation(chosen, wanted))


def named(offer: Offer, effort: str) -> str:
    """Who answers, for a person: "Opus (Claude Code), effort high"."""
    return f"{plain(offer.model.name)} ({CLIS[offer.provider].title}){f', effort {plain(effort)}' if effort else ''}"


def refusal(offer: Offer, effort: str) -> str:
    """What to say to an effort that the model does not know."""
    name = plain(offer.model.name)
    if not offer.model.efforts:
        return f"{name} takes no effort, so `{effort}` says nothing to it."
    return f"{name} does not know the effort `{effort}`. It knows {', '.join(offer.model.efforts)}."


def _model(word: str, catalogue: Catalogue) -> Offer | None:
    found = catalogue.find(word)
    if found is None and word in PROVIDERS:  # it lists nothing, but may run all the same
        return catalogue.behind(Choice(word, "", ""))
    return found


def _explanation(choice: Choice, offer: Offer) -> str:
    text = f"That alone sends nothing: write your text behind it, and {named(offer, choice.effort)} answers that one message."
    kept = f"`/model {' '.join(filter(None, (choice.model, choice.effort)))}`"
    return f"{text} {kept} keeps it for this conversation." if choice.model else text
