"""Tags become files and buttons; everything else of a text stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.orchestrator.extras import LABEL, MOST_BUTTONS, Extras, extract, rows

CWD = Path("/somewhere/place")


def test_a_tag_on_a_line_of_its_own_goes_with_its_line() -> None:
    text = "Here is the report.\n\n<file:/home/me/report.pdf>\n\nAnything else?"

    assert extract(text, CWD) == Extras("Here is the report.\n\nAnything else?", ("/home/me/report.pdf",))


def test_a_tag_within_a_sentence_leaves_the_name_of_the_file() -> None:
    assert extract("See <file:/a/b/plan v2.md>, please.", CWD) == Extras("See `plan v2.md`, please.", ("/a/b/plan v2.md",))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("out/a.png", "/somewhere/place/out/a.png"),
        ("./a.png", "/somewhere/place/a.png"),
        ("../a.png", "/somewhere/a.png"),
        ("/x/../a.png", "/a.png"),
        (" /a.png ", "/a.png"),
        ("~/a.png", str(Path.home() / "a.png")),
        ("~nobody-of-this-name/a.png", "/somewhere/place/~nobody-of-this-name/a.png"),
    ],
)
def test_paths_are_made_absolute(written: str, meant: str) -> None:
    assert extract(f"<file:{written}>", CWD).files == (meant,)


def test_a_file_named_twice_is_sent_once() -> None:
    assert extract("<file:/a>\n<file:/b>\n<file:/x/../a>", CWD) == Extras("", ("/a", "/b"))


def test_buttons_leave_the_text() -> None:
    assert extract("Go on? [button:Yes] [button: No ]", CWD) == Extras("Go on?", (), ("Yes", "No"))
    assert extract("Go on?\n\n- [button:Yes]\n- [button:No]\n- [button:Yes]", CWD) == Extras("Go on?", (), ("Yes", "No"))


def test_buttons_beyond_the_eighth_and_too_long_ones_stay_text() -> None:
    many = "\n".join(f"[button:{n}]" for n in range(MOST_BUTTONS + 2))
    long = f"[button:{'x' * (LABEL + 1)}]"

    assert extract(many, CWD) == Extras("[button:8]\n[button:9]", (), tuple("01234567"))
    assert extract(long, CWD) == Extras(long)


@pytest.mark.parametrize(
    "text",
    [
        "Write `<file:/a>` to send a file.",
        "Write ``a ` <file:/a>`` to send a file.",
        "A `code that\ngoes on <file:/a> over` a line",
        "```\n<file:/a>\n[button:Yes]\n```",
        "~~~ text\n```\n<file:/a>\n~~~",
        "1. so:\n   ```\n   <file:/a>\n   ```",
        "- ```\n  [button:Yes]\n  ```",
        "> ```\n> <file:/a>\n> ```",
        "```never closed\n<file:/a>",
        "\\<file:/a> and \\[button:Yes]",
        "[button:Yes](https://example.com)",
        "<file:> [button:] [button: ] <file:a\nb> [button:a\nb]",
        "<files:/a> [buttons:x] file:/a",
    ],
)
def test_code_links_and_broken_tags_stay_text(text: str) -> None:
    assert extract(text, CWD) == Extras(text)


@pytest.mark.parametrize("text", ["one ` tick <file:/a>", "`code` <file:/a>", "a `tick\n\n<file:/a> `", "```\nx\n```\n<file:/a>"])
def test_a_tag_beside_code_is_a_tag(text: str) -> None:
    assert extract(text, CWD).files == ("/a",)


def test_two_short_buttons_share_a_row() -> None:
    drawn = rows(("Yes", "No", "Tell me more about the second one", "Later"))

    assert [[button.label for button in row] for row in drawn] == [["Yes", "No"], ["Tell me more about the second one"], ["Later"]]
    assert all(button.command == button.label for row in drawn for button in row)


def test_no_buttons_are_no_rows() -> None:
    assert rows(()) == ()


@given(st.text().filter(lambda text: "<file:" not in text and "[button:" not in text))
def test_a_text_without_tags_is_unchanged(text: str) -> None:
    assert extract(text, CWD) == Extras(text)


PIECES = st.sampled_from(
    ["<file:", "/a", ">", "[button:", "Yes", "]", "`", "```", "~~~", "\n", "\n\n", " ", "- ", "> ", "\\", "\0", "\ud800", "(x)", "é"]
)


@given(st.lists(PIECES, max_size=40).map("".join))
@settings(max_examples=300)
def test_any_text_is_read_and_what_was_read_is_gone(text: str) -> None:
    found = extract(text, CWD)

    assert all(path.startswith("/") for path in found.files)
    assert len(found.buttons) <= MOST_BUTTONS
    assert found.text == text or found.files or found.buttons
    assert set(found.text) <= set(text) | set("`\\")


@given(st.lists(st.text(st.characters(exclude_characters="<[`~\n\\"), max_size=20), max_size=8))
def test_words_around_tags_are_kept(lines: list[str]) -> None:
    text = "\n".join(f"{line} <file:/a>" for line in lines)

    kept = extract(text, CWD).text

    assert all(line.strip(" \t>-+*") in kept for line in lines)


@pytest.mark.parametrize("piece", ["`", "` `` ", "<file:", "[button:", "<file:/a>", "[button:x]", "- ```\n", "\\"])
def test_the_time_grows_with_the_length_and_not_faster(piece: str) -> None:
    text = "<file:/a> " + piece * (200_000 // len(piece))
    begun = time.perf_counter()

    extract(text, CWD)

    assert time.perf_counter() - begun < 3.0
