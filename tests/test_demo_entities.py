"""Entities: what Telegram keeps, repairs, drops and refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.demo.entities import CODE, RANK, SPLITTABLE, Entity, Wrong, link, normal, units

KINDS = [kind for kind in RANK if kind not in ("text_mention", "text_link")]


def entity(kind: str, offset: int, length: int) -> Entity:
    return Entity(type=kind, offset=offset, length=length)


def brief(entities: list[Entity]) -> list[tuple[str, int, int]]:
    return [(item["type"], item["offset"], item["length"]) for item in entities]


def test_offsets_count_utf16_units() -> None:
    text, entities = normal("👍 bold", [entity("bold", 3, 4)])

    assert text == "👍 bold"
    assert brief(entities) == [("bold", 3, 4)]
    assert units(text) == 7


@pytest.mark.parametrize(
    ("offset", "length", "words"),
    [(1, 2, "begins in a middle"), (0, 1, "ends in a middle"), (8, 1, "begins after the end"), (3, 9, "ends after the end"),
     (-1, 2, "incorrect offset"), (0, -2, "incorrect length")],
)
def test_an_end_that_no_character_has_refuses_the_message(offset: int, length: int, words: str) -> None:
    with pytest.raises(Wrong, match=words):
        normal("👍 bold", [entity("bold", offset, length)])


def test_trimming_moves_the_entities() -> None:
    text, entities = normal("\n  one two \n", [entity("bold", 7, 5)])

    assert text == "one two"
    assert brief(entities) == [("bold", 4, 3)]


def test_an_indented_code_block_at_the_front_loses_its_indentation() -> None:
    text, entities = normal("    x = 1", [entity("pre", 0, 9)])

    assert text == "x = 1"
    assert brief(entities) == [("pre", 0, 5)]


def test_control_characters_become_spaces_and_line_feeds_stay() -> None:
    assert normal("a\tb\rc\nd\u2028e\x00f", []) == ("a bc\nde f", [])


@pytest.mark.parametrize("text", ["", " \n ", "\u200b\u200d", "\ufeff \u2800"])
def test_a_text_with_nothing_to_see_is_empty(text: str) -> None:
    assert normal(text, []) == ("", [])


def test_code_holds_nothing_else() -> None:
    _, entities = normal("abcdefghij", [entity("bold", 0, 10), entity("code", 3, 4)])

    assert brief(entities) == [("bold", 0, 3), ("code", 3, 4), ("bold", 7, 3)]


def test_adjacent_bold_is_one_bold() -> None:
    _, entities = normal("abcdef", [entity("bold", 0, 3), entity("bold", 3, 3)])

    assert brief(entities) == [("bold", 0, 6)]


def test_crossing_styles_are_cut_where_the_second_begins() -> None:
    _, entities = normal("abcdefgh", [entity("bold", 0, 5), entity("italic", 3, 5)])

    assert brief(entities) == [("bold", 0, 3), ("italic", 3, 5), ("bold", 3, 2)]


def test_of_two_quotes_in_each_other_the_outer_one_stays() -> None:
    _, entities = normal("abcdefgh", [entity("blockquote", 0, 8), entity("blockquote", 2, 3)])

    assert brief(entities) == [("blockquote", 0, 8)]


def test_code_may_stand_in_a_quote_but_not_across_its_border() -> None:
    inside = normal("abcdefgh", [entity("blockquote", 0, 6), entity("code", 2, 3)])
    across = normal("abcdefgh", [entity("blockquote", 0, 6), entity("code", 4, 4)])

    assert brief(inside[1]) == [("blockquote", 0, 6), ("code", 2, 3)]
    assert brief(across[1]) == [("blockquote", 0, 6)]


def test_of_more_than_a_hundred_entities_code_is_kept_before_bold() -> None:
    text = "b c " * 80

    _, entities = normal(text, [entity("bold", 4 * n, 1) for n in range(80)] + [entity("code", 4 * n + 2, 1) for n in range(80)])

    kinds = [item["type"] for item in entities]
    assert kinds.count("code") == 80
    assert kinds.count("bold") == 20
    assert [item["offset"] for item in entities if item["type"] == "bold"] == [4 * n for n in range(20)]


def test_telegram_finds_links_and_commands_by_itself_but_not_in_code() -> None:
    text = "/new see https://example.org/x. @someone #tag in /code"

    _, entities = normal(text, [entity("code", len(text) - 5, 5)])

    assert [(item["type"], text[item["offset"]:item["offset"] + item["length"]]) for item in entities] == [
        ("bot_command", "/new"), ("url", "https://example.org/x"), ("mention", "@someone"), ("hashtag", "#tag"), ("code", "/code"),
    ]


def test_a_path_is_no_command() -> None:
    assert normal("see /usr/bin and a/b", [])[1] == []


@pytest.mark.parametrize(
    "url",
    ["./f.md", "src/app.py", "/abs", "#x", "~/x", "http://localhost:3000", "file:///etc/passwd", "ftp://a.b/c", "vscode://file/x",
     "data:text/html,x", "javascript:alert(1)", "https://exa mple.org", "", "http://a.b:99999/"],
)
def test_an_address_that_is_none_refuses_the_message(url: str) -> None:
    with pytest.raises(Wrong, match="wrong message entity"):
        normal("text", [Entity(type="text_link", offset=0, length=4, url=url)])


@pytest.mark.parametrize(
    ("url", "stored"),
    [("https://Example.org", "https://example.org/"), ("https://example.org/a?b#c", "https://example.org/a?b#c"),
     ("app.py", "http://app.py/"), ("app.py:42", "http://app.py:42/"), ("example.org?q=1", "http://example.org/?q=1"),
     ("tg://user?id=1", "tg://user?id=1"), ("http://user@example.org:80/x", "http://example.org/x")],
)
def test_an_address_is_completed(url: str, stored: str) -> None:
    assert link(url) == stored


def test_an_unknown_kind_of_entity_refuses_the_message() -> None:
    with pytest.raises(Wrong, match="unsupported type"):
        normal("text", [entity("marquee", 0, 4)])


@st.composite
def formatted(draw: st.DrawFn) -> tuple[str, list[Entity]]:
    text = draw(st.text(alphabet="ab \n\t\r👍é\u2028", max_size=24))
    edges = [0]
    for char in text:
        edges.append(edges[-1] + 1 + (char > "\uffff"))
    spans = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(edges), st.sampled_from(edges)), max_size=8))
    return text, [entity(kind, min(a, b), abs(a - b)) for kind, a, b in spans]


@settings(max_examples=300, deadline=None)
@given(formatted())
def test_what_telegram_stores_is_sound_and_stays_as_it_is(given_text: tuple[str, list[Entity]]) -> None:
    text, entities = normal(*given_text)

    spans = [(item["offset"], item["offset"] + item["length"], item["type"]) for item in entities]
    for at, (start, end, kind) in enumerate(spans):
        assert 0 <= start < end <= units(text)
        for other_start, other_end, other in spans[at + 1:]:
            assert other_start >= end or other_end <= end, "entities cross"
            assert other_start >= end or kind not in CODE, "code holds something"
            assert other_start >= end or kind != other or kind not in SPLITTABLE
    again = normal(text, entities)
    assert again[0] == text
    assert covered(again[1]) == covered(entities)


def covered(entities: list[Entity]) -> set[tuple[str, int]]:
    return {(item["type"], at) for item in entities for at in range(item["offset"], item["offset"] + item["length"])}
