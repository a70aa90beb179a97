"""One catalogue for both CLIs: every name leads to one model, and nobody else's model is offered."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ductor_lib.cli.catalogue import ALWAYS, EFFORTS, Catalogue, Offer, smallest, with_aliases
from ductor_lib.cli.codex_models import Model
from ductor_lib.ports import Choice

LONG = Model("opus[1m]", "Opus", ("low", "high"), "high", is_default=False)
LARGE = Model("gpt-5.5", "GPT-5.5", ("low", "medium", "high"), "medium", is_default=True)
MINI = Model("gpt-5.5-mini", "GPT-5.5 mini", ("low",), "low", is_default=False)


@dataclass
class Listing:
    """A list that counts how often it is asked for."""

    models: tuple[Model, ...] = ()
    asked: int = 0

    def list(self) -> tuple[Model, ...]:
        self.asked += 1
        return self.models


def catalogue(*, claude: tuple[Model, ...] = (LONG,), codex: tuple[Model, ...] = (LARGE, MINI)) -> Catalogue:
    return Catalogue(Listing(claude), Listing(codex))


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("opus", "claude", "opus"), ("OPUS", "claude", "opus"), ("haiku", "claude", "haiku"), ("opus[1m]", "claude", "opus[1m]"),
        ("gpt-5.5", "codex", "gpt-5.5"), ("GPT-5.5 Mini", "codex", "gpt-5.5-mini"), ("claude", "claude", "opus"),
        ("Codex", "codex", "gpt-5.5"),
    ],
)  # fmt: skip
def test_a_name_in_any_case_leads_to_one_model_and_a_providers_name_to_its_default(name: str, provider: str, model: str) -> None:
    found = catalogue().find(name)

    assert found is not None
    assert (found.provider, found.model.id) == (provider, model)


@pytest.mark.parametrize("name", ["", "gpt", "opus ", "default", "medium"])
def test_a_name_that_nobody_lists_is_nobodys(name: str) -> None:
    assert catalogue().find(name) is None


def test_claudes_aliases_are_there_whatever_is_listed_and_come_first() -> None:
    assert [model.id for model in catalogue(claude=()).models("claude")] == ["opus", "sonnet", "haiku"]
    assert [model.id for model in catalogue().models("claude")] == ["opus", "sonnet", "haiku", "opus[1m]"]


def test_an_alias_takes_the_efforts_that_claude_lists_for_it_and_is_there_once() -> None:
    listed = Model("haiku", "Haiku 9", ("low", "high"), "high", is_default=False)

    merged = with_aliases((listed,))

    assert [model.id for model in merged] == [model.id for model in ALWAYS]
    assert merged[2] == Model("haiku", "Haiku", ("low", "high"), "high", is_default=False)


def test_a_model_of_claude_is_found_without_asking_codex() -> None:
    codex = Listing()

    assert Catalogue(Listing(), codex).find("sonnet")
    assert codex.asked == 0


def test_a_provider_that_lists_nothing_has_no_default() -> None:
    nothing = catalogue(codex=())

    assert nothing.default("codex") is None
    assert nothing.find("codex") is None


@pytest.mark.parametrize(("effort", "kept"), [("low", "low"), ("max", "medium"), ("", "medium")])
def test_an_effort_goes_along_if_the_model_knows_it(effort: str, kept: str) -> None:
    assert Offer("codex", LARGE).choice(effort) == Choice("codex", "gpt-5.5", kept)


def test_a_model_without_efforts_is_chosen_without_one() -> None:
    assert Offer("claude", ALWAYS[2]).choice("high") == Choice("claude", "haiku", "")


def test_a_choice_that_is_not_listed_takes_every_effort() -> None:
    offer = catalogue().behind(Choice("claude", "claude-opus-4-8", "max"))

    assert (offer.provider, offer.model.id, offer.model.efforts) == ("claude", "claude-opus-4-8", EFFORTS)
    assert offer.choice("max") == Choice("claude", "claude-opus-4-8", "max")


@pytest.mark.parametrize(
    ("name", "other", "instead"),
    [("opus", "codex", "gpt-5.5"), ("haiku", "codex", "gpt-5.5-mini"), ("gpt-5.5", "claude", "opus"), ("gpt-5.5-mini", "claude", "sonnet")],
)
def test_the_counterpart_is_about_as_large(name: str, other: str, instead: str) -> None:
    offer = catalogue().find(name)

    found = offer and catalogue().counterpart(offer, other)

    assert found is not None
    assert (found.provider, found.model.id) == (other, instead)


def test_there_is_no_counterpart_where_nothing_is_listed() -> None:
    assert catalogue(codex=()).counterpart(Offer("claude", ALWAYS[0]), "codex") is None


def test_the_smallest_is_the_one_that_says_so_else_the_last() -> None:
    assert smallest((MINI, LARGE)) == MINI
    assert smallest((LARGE, LONG)) == LONG


def test_a_misspelt_name_finds_its_neighbours() -> None:
    assert catalogue().nearest("opsu")[0] == "opus"
    assert catalogue().nearest("gpt5.5")[0] == "gpt-5.5"
    assert catalogue().nearest("§§§") == ()
