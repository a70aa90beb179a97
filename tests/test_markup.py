from __future__ import annotations

import re
import threading
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ductor_lib.bot.markup import Entity, Part, close, compose, grow, join, quoted, render, units
from ductor_lib.bot.parts import blank, clean
from ductor_lib.messages import Chat, Reply

ANSWER = """## Findings

I looked at `bot/sender.py` and the *retry* path. The **root cause is `RetryAfter`** inside the lock 🔒, so
the next frame waits; see [the docs](https://core.telegram.org/bots/api#edit) and [sender.py:42](bot/sender.py#L42).

1. First, `step()` takes one row (it is **not** removed yet).
2. Then it calls `send(...)`, which may raise:
   - `RetryAfter` – wait and *keep* the row

     a second paragraph
   - `Rejected` – resend as plain text
3. Finally the row is marked done.

```python
def step(self) -> bool:
    return self.row is not None  # 👍
```

| File | Lines | 变更 |
|:-----|------:|:----:|
| `sender.py` | 120 | 移动 |
| client.py | 8 | a | b |

> Note: **careful**
> > deeper

- [x] unit tests
- [ ] changelog

The type Vec<T> and <name> stay, and <div>html</div> too. ~~removed~~

---
"""
SNIPPETS = [
    "**bold**", "*it*", "`code`", "``a ` b``", "~~no~~", "[a](http://x.y/z)", "[b](./f.md)", "![i](https://x.y/i.png)", "<http://x.y>",
    "<T>", "# head", "## h *i*", "- ", "1. ", "10) ", "> ", ">> ", "```py\n", "```\n", "~~~\n", "| a | b |\n", "|---|:-:|\n", "---\n",
    "| 1 | 2 | 3 |\n", "===\n", "\n", "\n\n", "    ", "  ", "\t", "- [x] ", "word", "two words ", "👍🏽", "👨‍👩‍👧", "🇩🇪", "é", "日本語",
    "𝒳", "\ud800", "\x00", "\x1b[31m",
    "\r\n", "\u2028", "&amp;", "&#0;", "&#13;", "\\*", "\\\n", "**", "*", "_", "__", "`", "[", "](", ")", "!", "<", "\u200b", "\xa0",
    "https://a.b/c_d_e", "snake_case", "[[x](http://a.b)](http://c.d)", "[![b](http://i.j)](http://k.l)", "[`c`](http://e.f)",
    "**a `b` c**",
]
DOCUMENTS = st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=6), max_size=40).map("".join)
# without what a reader does not see, targets of links and languages: they may appear where a text is cut by force
OPEN_DOCUMENTS = st.lists(st.sampled_from([s for s in SNIPPETS if "](" not in s and "py" not in s]), max_size=60).map("".join)
WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyzäß日本語𝒳é", min_size=1, max_size=30), min_size=1, max_size=60)
GLUE = [
    " ", "\n", "\n\n", " *", "* ", "**", "\n- ", "\n1. ", "\n> ", "\n# ", "\n```\n", " `", "` ", " <", "> ", "\n\n    ",
    " | ", "\n|-|-|\n|", "~~",
]
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
URL = re.compile(r"https?://[^\s/?#:@]+\.[^\s/?#:@.]+(:\d+)?([/?#][!-~]*)?", re.IGNORECASE)


def piece(part: Part, entity: Entity) -> str:
    """What an entity covers; fails where an offset lies inside of a surrogate pair."""
    data = part.text.encode("utf-16-le")
    return data[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")


def pieces(part: Part, type_: str) -> list[str]:
    return [piece(part, entity) for entity in part.entities if entity.type == type_]


def alphanumeric(text: str) -> str:
    return "".join(filter(str.isalnum, text.replace("☑", "x").lower()))


def dense(text: str) -> str:
    return "".join(letter for letter in text if not blank(letter))


def check(parts: list[Part], limit: int, budget: int) -> None:
    for part in parts:
        assert not blank(part.text)
        assert part.text == part.text.rstrip()
        assert part.text == part.text.lstrip() or ("pre", 0) in [(entity.type, entity.offset) for entity in part.entities]
        assert units(part.text) <= limit
        assert len(part.entities) <= budget
        for number, entity in enumerate(part.entities):
            assert entity.offset >= 0
            assert entity.length > 0
            assert entity.offset + entity.length <= units(part.text)
            assert piece(part, entity).strip()
            assert bool(entity.url) == (entity.type == "text_link")
            assert not entity.url or URL.fullmatch(entity.url)
            for other in part.entities[number + 1 :]:
                check_pair(entity, other)


def check_pair(first: Entity, second: Entity) -> None:
    """Nested or apart; code holds nothing and is held by quotes only; no quote in a quote, no style twice."""
    assert first.offset <= second.offset
    if second.offset >= first.offset + first.length:
        return
    assert second.offset + second.length <= first.offset + first.length
    assert first.type not in ("pre", "code")
    assert first.type != second.type
    assert second.type not in ("pre", "code") or first.type == "blockquote"


def stock_text(markdown: str) -> str:
    """The text of the same document by the unchanged parser."""

    def words(tokens: list[Token]) -> list[str]:
        return [text for token in tokens for text in ([token.content] if token.children is None else words(token.children))]

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return "".join(words(parser.parse(clean(markdown))))


@QUICK
@given(DOCUMENTS, st.integers(8, 120), st.integers(6, 100))
@example("[a**](b)** `c`", 40, 6)
def test_parts_keep_the_limits_and_their_entities_are_valid(markdown: str, limit: int, budget: int) -> None:
    parts = render(markdown, limit=limit, budget=budget)

    check(parts, limit, budget)
    check(render(markdown), 4000, 100)


@QUICK
@given(DOCUMENTS)
def test_no_letter_of_any_document_is_lost(markdown: str) -> None:
    parts = render(markdown, limit=60)

    lost = Counter(alphanumeric(stock_text(markdown))) - Counter(alphanumeric("".join(part.text for part in parts)))

    assert not lost


@QUICK
@given(WORDS, st.lists(st.sampled_from(GLUE), min_size=60))
def test_words_come_out_exactly_as_they_went_in(words: list[str], glue: list[str]) -> None:
    markdown = "".join(word + mark for word, mark in zip(words, glue, strict=False))

    text = "".join(part.text for part in render(markdown, limit=50))

    assert "".join(filter(str.isalpha, text)) == "".join(words)


@QUICK
@given(DOCUMENTS, st.integers(8, 100))
def test_parts_together_are_the_uncut_document(markdown: str, limit: int) -> None:
    whole = render(markdown, limit=10**6, budget=10**6)

    parts = render(markdown, limit=limit, budget=10**6)

    assert dense("".join(part.text for part in parts)) == dense("".join(part.text for part in whole))


@pytest.mark.parametrize("limit", [40, 4000])
def test_every_prefix_of_an_answer_renders(limit: int) -> None:
    prefixes = [ANSWER[:length] for length in range(0, len(ANSWER), 3)]

    for prefix in prefixes:
        check(render(prefix, limit=limit, budget=8), limit, 8)


@QUICK
@given(OPEN_DOCUMENTS, st.integers(20, 200))
def test_a_growing_document_is_cut_without_losing_a_letter(markdown: str, limit: int) -> None:
    done, rest, growing = grow(markdown, limit=limit)

    check(done + growing, limit, 100)
    assert growing == render(rest, limit=limit)
    shown = Counter(alphanumeric("".join(part.text for part in done + growing)))
    whole = Counter(alphanumeric("".join(part.text for part in render(markdown))))
    assert not {letter: n for letter, n in (whole - shown).items() if not letter.isdigit()}


def test_headings_are_bold_and_code_in_them_is_not() -> None:
    (part,) = render("## Use `foo` now\n\ntext")

    assert part.text == "Use foo now\n\ntext"
    assert part.entities == (Entity("bold", 0, 4), Entity("code", 4, 3), Entity("bold", 7, 4))


def test_offsets_count_utf16_units() -> None:
    (part,) = render("👍 **fett** 𝒳 *kursiv*")

    assert part.entities == (Entity("bold", 3, 4), Entity("italic", 11, 6))
    assert units("👍") == 2


def test_lists_have_bullets_numbers_boxes_and_indentation() -> None:
    (part,) = render("- one\n- two\n\n  3) three\n  4) four\n     - deep\n- [ ] open\n- [x] done `x`\n\n  more")

    assert part.text == "• one\n• two\n\n   3) three\n   4) four\n      • deep\n☐ open\n☑ done x\n\n   more"


def test_a_block_in_a_list_item_has_its_own_lines() -> None:
    (part,) = render("- ```sh\n  ls\n  ```\n- > quote\n- - nested\n-\n- last")

    assert part.text == "•\nls\n•\nquote\n• • nested\n•\n• last".replace("•\n", "• \n")
    assert pieces(part, "pre") == ["ls"]
    assert pieces(part, "blockquote") == ["quote"]


def test_quotes_are_never_nested() -> None:
    (part,) = render("> one\n> > two\n> > - three\n>\n> four\n\nfive")

    assert part.text == "one\ntwo\n• three\n\nfour\n\nfive"
    assert pieces(part, "blockquote") == ["one\ntwo\n• three\n\nfour"]


def test_a_fence_keeps_its_text_and_the_first_word_as_language() -> None:
    (part,) = render("```c++ title=\"x\"\n  *a*\n\tb <T>\n```\nafter")

    assert part.text == "  *a*\n    b <T>\nafter"
    assert part.entities == (Entity("pre", 0, 15, language="c++"),)


def test_a_fence_that_is_cut_is_opened_again() -> None:
    code = "\n".join(f"    line {number}" for number in range(40))

    parts = render(f"text\n\n```py\n{code}\n```\nend", limit=100)

    assert len(parts) > 4
    for part in parts[1:-1]:
        assert part.text.startswith("    line")
        assert part.entities == (Entity("pre", 0, units(part.text), language="py"),)
    assert "\n".join(part.text for part in parts) == f"text\n\n{code}\nend"


def test_bold_that_is_cut_goes_on_in_the_next_part() -> None:
    parts = render("**" + "word " * 30 + "end**", limit=50)

    assert len(parts) > 2
    assert all(part.entities == (Entity("bold", 0, units(part.text)),) for part in parts)


def test_tables_are_aligned_by_what_the_eye_sees() -> None:
    (part,) = render("| A | 数 | C |\n|:--|--:|:-:|\n| `x` | 12 | [d](http://e.f) |\n| ✔️ long | 3 |\n| 1 | 2 | 3 | surplus |")

    assert part.text.split("\n") == [
        "A       | 数 |       C",
        "--------+----+---------------",
        "x       | 12 | d (http://e.f)",
        "✔️ long |  3",
        "1       |  2 |  3 | surplus",
    ]
    assert [entity.type for entity in part.entities] == ["pre"]


def test_a_table_without_words_in_its_head_has_no_head() -> None:
    (part,) = render("| | |\n|-|-|\n| key | value |")

    assert part.text == "key | value"


def test_an_enormous_table_does_not_explode() -> None:
    text = "|a" * 3000 + "|\n" + "|-" * 3000 + "|\n" + ("|" * 3000 + "\n") * 3

    parts = render(text)

    assert sum(len(part.text) for part in parts) < 20 * len(text)


@pytest.mark.parametrize(
    "target",
    ["./f.md", "src/app.py", "/abs", "#x", "~/x", "http://localhost:3000", "file:///a", "ftp://a.b", "javascript:alert(1)", "data:x",
     "app.py", "app.py:42", "../x", "http://a..b", "http://.b", "http://u:p@a.b", "http://a.b:99999", "http://a b.c", "//a.b", "https://"],
)
def test_a_link_that_telegram_would_refuse_is_text_with_its_target(target: str) -> None:
    (part,) = render(f"see [the *file*](<{target}>).")

    assert part.text == f"see the file ({target})."
    assert [entity.type for entity in part.entities] == ["italic"]


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("https://a.b", "https://a.b"),
        ("HTTP://a.b/c_(d)?e=f&g#h", "HTTP://a.b/c_(d)?e=f&g#h"),
        ("https://a.b:8080/ü x", "https://a.b:8080/%C3%BC%20x"),
        ("https://müller.de/%20", "https://müller.de/%20"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/"),
    ],
)
def test_a_link_to_the_web_is_a_link(target: str, url: str) -> None:
    (part,) = render(f"[text](<{target}>)")

    assert part == Part("text", (Entity("text_link", 0, 4, url=url),))


def test_links_images_and_code_share_no_place() -> None:
    (part,) = render("[`code`](http://a.b) [![badge](http://i.j)](http://k.l) ![](http://m.n) ![alt](img.png) [](http://o.p) [x.py](x.py)")

    assert part.text == "code badge http://m.n alt (img.png) http://o.p x.py"
    assert [(entity.type, entity.url) for entity in part.entities] == [
        ("text_link", "http://a.b"), ("text_link", "http://k.l"), ("text_link", "http://m.n"), ("text_link", "http://o.p"),
    ]


@pytest.mark.parametrize(
    "text",
    ["Vec<T> and <name> and <div class='x'>", "<App prop={x} />", "Ann <ann@example.org>", "<std::vector>", "a < b > c", "<!-- comment -->",
     "[ref]: http://a.b", "[ref][1] and [alone]", "C:\\dir", "2 * 3 * 4", "snake_case_name", "a_b_ c", "~5 and ~6", "x | y", "#tag", "+1",
     "__init__.py", "see pkg/__main__ or __call__()", "a.__dict__ b"],
)
def test_what_only_looks_like_markup_stays_as_it_is(text: str) -> None:
    (part,) = render(text)

    assert part == Part(text)


def test_an_automatic_link_shows_its_address() -> None:
    (part,) = render("<https://a.b/c_d>")

    assert part == Part("https://a.b/c_d", (Entity("text_link", 0, 15, url="https://a.b/c_d"),))


def test_line_breaks_stay_and_rules_are_lines() -> None:
    (part,) = render("one\ntwo  \nthree\\\nfour\n\n\n\nfive\n***\nsix")

    assert part.text == "one\ntwo\nthree\nfour\n\nfive\n———\nsix"


def test_what_cannot_be_sent_is_cleaned() -> None:
    (part,) = render("a\ud800b\x00c\x1b[1;31md\r\ne\u202ef\u2028g\th &#xd800;&#13;i")

    assert part.text.encode("utf-8")
    assert part.text == "a\ufffdbcd\nef\ng\th \ufffd\ni"


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u2060", "&nbsp;", "```\n\n```", "#", ">", "\x00", "||\n|-|"])
def test_nothing_to_see_is_no_part(text: str) -> None:
    parts = render(text)

    assert parts == [] or not blank(parts[0].text)


def test_an_opening_line_alone_is_shown() -> None:
    (part,) = render("```npm install foo")

    assert part == Part("npm install foo", (Entity("pre", 0, 15),))


def test_cuts_fall_between_blocks_if_they_can() -> None:
    paragraphs = ["word " * 11 + "end."] * 6

    parts = render("\n\n".join(paragraphs), limit=150)

    assert [part.text for part in parts] == ["\n\n".join(paragraphs[:2])] * 3


def test_a_heading_is_not_left_alone_at_the_end_of_a_part() -> None:
    parts = render("word " * 16 + "\n\n# Title\n\n" + "other " * 14, limit=100)

    assert parts[1].text.startswith("Title")


@pytest.mark.parametrize("letter", ["👨‍👩‍👧", "👍🏽", "🇩🇪", "é", "각"])
def test_a_cut_leaves_characters_whole(letter: str) -> None:
    parts = render(letter * 100, limit=37)

    assert all(not part.text.replace(letter, "") for part in parts)


def test_more_entities_than_a_message_may_have_make_more_parts() -> None:
    parts = render("`a` **b** " * 120)

    assert [len(part.entities) for part in parts] == [100, 100, 40]


def test_deep_nesting_loses_nothing() -> None:
    text = "".join("  " * depth + f"- a{depth}b\n" for depth in range(60)) + "\n" + "> " * 60 + "end"

    (part,) = render(text)

    assert all(f"a{depth}b" in part.text for depth in range(60))
    assert part.text.endswith("end")


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "*" * 50_000, "> " * 5000, ">" * 5000, "`a" * 25_000, "a**" * 16_000, "![" * 25_000, "![" * 300 + "](x)" * 300,
     "[" * 5000 + "](x)" * 5000, "".join("  " * depth + "- a\n" for depth in range(220)), "- " * 25_000, "<" * 50_000, "x" * 50_000,
     "\n" * 50_000,     "| a" * 10_000 + "\n" + "|-" * 10_000, "a\n=\n" * 12_000, "[a](<b" * 8000, "**a " * 2500 + "b** " * 2500],
)
def test_hostile_documents_take_no_long_time(text: str) -> None:
    begin = time.thread_time()

    parts = render(text)

    assert time.thread_time() - begin < 3
    check(parts, 4000, 100)


def test_many_threads_may_render_at_once() -> None:
    expected, results = render(ANSWER), []
    threads = [threading.Thread(target=lambda: results.append(render(ANSWER))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert results == [expected] * 8


def test_the_growing_end_of_a_fence_begins_with_its_opening_line() -> None:
    code = "\n".join(f"line {number}" for number in range(100))

    done, rest, growing = grow(f"text\n\n```py\n{code}", limit=200)

    assert rest.startswith("```py\nline ")
    assert len(growing) == 1
    assert "\n".join(part.text for part in done + growing) == f"text\n\n{code}"


def test_a_growing_document_never_redraws_what_is_finished() -> None:
    text, rest, done = ANSWER * 12, "", list[Part]()

    sizes = []
    for place in range(0, len(text), 200):
        more, rest, growing = grow(rest + text[place : place + 200], limit=1000)
        done += more
        sizes.append(len(rest))

    assert max(sizes) < 3000
    shown = "".join(part.text for part in done + growing)
    assert alphanumeric(shown) == alphanumeric("".join(part.text for part in render(text)))


def test_close_ends_an_open_fence_only() -> None:
    documents = ["text", "```py\na", "```py\na\n```", "~~~~\n```", "- ```\n  a"]

    closed = [close(document) for document in documents]

    assert closed == ["text", "```py\na\n```", "```py\na\n```", "~~~~\n```\n~~~~", "- ```\n  a"]


def test_a_quote_keeps_the_end_of_a_long_text() -> None:
    part = quoted("first line\n" + "word 👍 " * 100 + "last", limit=80)

    assert part.text.startswith("… ")
    assert part.text.endswith("word 👍 last")
    assert units(part.text) <= 80
    assert part.entities == (Entity("expandable_blockquote", 0, units(part.text)),)


@QUICK
@given(st.text(max_size=200), st.integers(10, 60))
def test_a_quote_keeps_its_limit(text: str, limit: int) -> None:
    part = quoted(text, limit=limit)

    assert units(part.text) <= limit
    assert bool(part.entities) == bool(part.text)


def test_join_moves_the_lower_entities() -> None:
    part = join(Part("👍"), Part("bold", (Entity("bold", 0, 4),)))

    assert part == Part("👍\n\nbold", (Entity("bold", 4, 4),))
    assert join(Part(""), Part("x")) == Part("x")


def test_earlier_text_is_an_expandable_quote_above_the_answer() -> None:
    reply = Reply(Chat(1), "The **answer**", earlier="I look at `it`.\n\n- one")

    (part,) = compose(reply)

    assert part.text == "I look at it.\n\n• one\n\nThe answer"
    assert [(entity.type, piece(part, entity)) for entity in part.entities] == [
        ("expandable_blockquote", "I look at it.\n\n• one"), ("bold", "answer"),
    ]


@QUICK
@given(DOCUMENTS, DOCUMENTS, st.integers(1, 30))
def test_a_reply_with_earlier_text_keeps_the_limits(text: str, earlier: str, times: int) -> None:
    reply = Reply(Chat(1), text * times, earlier=earlier * times)

    parts = compose(reply)

    check(parts, 4000, 100)
    answer = Counter(alphanumeric("".join(part.text for part in render(reply.text))))
    assert not answer - Counter(alphanumeric("".join(part.text for part in parts)))


def test_entities_become_objects_of_the_bot_api() -> None:
    entities = [Entity("pre", 0, 3, language="py"), Entity("text_link", 1, 2, url="http://a.b")]

    assert [entity.to_dict() for entity in entities] == [
        {"type": "pre", "offset": 0, "length": 3, "language": "py"},
        {"type": "text_link", "offset": 1, "length": 2, "url": "http://a.b"},
    ]
