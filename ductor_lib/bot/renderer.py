"""Write one document as text with entities, from the parser's tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from markdown_it.token import Token

from ductor_lib.bot.parser import parse_blocks, parse_inline, task
from ductor_lib.bot.parts import Flow, Seam, Span, clean
from ductor_lib.bot.table import aligned

BULLET = "• "
INDENT = "   "
RULE = "———"
TAB = 4  # columns; Telegram turns a tab into one space
URL_LENGTH = 2048

_BREAK = re.compile(r" *\n[ \t]*")
_LANGUAGE = re.compile(r"[\w+#.-]+")
_LINK = re.compile(r"(https?://(?:[\w-]+\.)+[\w-]+\.?(?::(\d{1,5}))?)([/?#].*)?", re.IGNORECASE | re.DOTALL)
_STYLES = {"strong": "bold", "em": "italic", "s": "strikethrough", "heading": "bold"}


def flow(source: str) -> Flow:
    """A document that is `clean`, as one text. Any thread."""
    return _Renderer(source).flow()


def link(target: str) -> str:
    """The target as a URL that Telegram accepts in an entity, or "": one bad URL makes it refuse the whole message."""
    match = _LINK.fullmatch(target)
    if not match or int(match[2] or 0) > 65535:
        return ""
    url = match[1] + quote(match[3] or "", safe="/?#[]@!$&'()*+,;=:%~-._")
    return url if len(url) <= URL_LENGTH else ""


class _Link(NamedTuple):
    """A link that is open: `start` is where it began, `piece` the number of pieces written before it."""

    target: str
    url: str
    start: int
    piece: int


class _Renderer:
    """Writes one document from its tokens."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = source.split("\n")
        self._out: list[str] = []
        self._size = 0  # characters written
        self._spans: list[Span] = []
        self._seams: list[Seam] = []
        self._line = ""  # what the line under way has: nothing (""), only the "mark" of a list item, or "text"
        self._indent = ""
        self._quotes: list[tuple[int, str]] = []  # where each open one began, the indentation around it
        self._counts: list[int] = []  # the next number in each open list
        self._styles: list[tuple[str, int, int]] = []  # type, where it began, spans before it
        self._links: list[_Link] = []  # that are open

    def flow(self) -> Flow:
        for token in parse_blocks(self._source):
            _BLOCKS.get(token.type, _nothing)(self, token)
        self._spans.reverse()  # spans are noted when they end: of two that cover the same text the outer one comes last
        self._spans.sort(key=lambda span: (span.start, -span.end))
        return Flow("".join(self._out), self._spans, self._seams)

    def _put(self, text: str) -> None:
        self._out.append(text)
        self._size += len(text)

    def _mark(self, type_: str, start: int, *, url: str = "", language: str = "") -> None:
        if self._size > start:
            self._spans.append(Span(type_, start, self._size, url, language))

    # blocks

    def _block(self, token: Token, *, apart: bool = False) -> None:
        """Go to where a block begins: one line break, or a blank line where the source has one.

        `apart`: the block does not share its line with the mark of a list item, and is not indented.
        """
        if not self._line or (self._line == "mark" and not apart):
            return
        line = token.map[0] if token.map else 0
        if token.level == 0 or (token.level == 1 and token.type == "list_item_open"):
            self._seams.append(Seam(self._size, line, border=self._line != "heading"))
        spaced = self._line != "mark" and line > 0 and not self._lines[line - 1].strip(" \t>")
        self._put("\n" * (1 + spaced) + ("" if apart else self._indent))
        self._line = ""

    def _inline(self, token: Token) -> None:
        before, content = self._size, token.content
        if self._line == "mark":
            box, content = task(content)
            if box and self._out[-1] == BULLET:
                self._size -= len(self._out.pop())
            if box:
                self._put(box + " ")
        self._children(parse_inline(content))
        if self._size > before:
            self._line = "text"

    def _heading(self, token: Token) -> None:
        self._block(token)
        self._open(token)

    def _heading_end(self, token: Token) -> None:
        self._close(token)
        self._line = self._line and "heading"

    def _rule(self, token: Token) -> None:
        self._block(token)
        self._put(RULE)
        self._line = "text"

    def _code_block(self, token: Token) -> None:
        text, info = token.content.expandtabs(TAB).rstrip(), token.info.strip()
        if not text:
            text, info = info, ""
        if not text:
            return
        self._block(token, apart=True)
        start = self._size
        self._put(text)
        language = _LANGUAGE.match(info)
        self._mark("pre", start, language=language[0] if language else "")
        self._line = "text"
        if token.level == 0 and token.type == "fence" and token.map:
            reopen = f"{token.markup}{token.info}\n"
            breaks = (match.start() for match in re.finditer("\n", text))
            self._seams += [Seam(start + at, token.map[0] + line, reopen, False) for line, at in enumerate(breaks, 2)]

    def _quote_begin(self, token: Token) -> None:
        self._block(token, apart=True)
        self._quotes.append((self._size, self._indent))
        self._indent = ""

    def _quote_end(self, token: Token) -> None:
        start, self._indent = self._quotes.pop()
        if not self._quotes:  # Telegram has no quotes in quotes
            self._mark("blockquote", start)

    def _list(self, token: Token) -> None:
        self._counts.append(int(token.attrs.get("start", 1)))

    def _list_end(self, token: Token) -> None:
        self._counts.pop()

    def _item(self, token: Token) -> None:
        self._block(token)
        self._put(f"{self._counts[-1]}{token.markup} " if token.info else BULLET)
        self._counts[-1] += 1
        self._line = "mark"
        self._indent += INDENT

    def _item_end(self, token: Token) -> None:
        self._indent = self._indent[: -len(INDENT)]
        self._line = "text"

    def _table(self, token: Token) -> None:
        self._block(token, apart=True)
        start = self._size
        self._put(aligned([[_words(parse_inline(cell.strip())) for cell in row] for row in token.meta["rows"]], token.meta["aligns"]))
        self._mark("pre", start)
        self._line = "text" if self._size > start else ""

    # inside of a paragraph

    def _children(self, tokens: list[Token]) -> None:
        for token in tokens:
            _INLINES[token.type](self, token)

    def _text(self, token: Token) -> None:
        text = token.content if token.type == "text" else clean(token.content)
        self._put(_BREAK.sub("\n" + self._indent, text) if "\n" in text else text)

    def _hard_break(self, token: Token) -> None:
        self._put("\n" + self._indent)

    def _code(self, token: Token) -> None:
        start = self._size
        self._put(token.content)
        if not self._linked():  # code in a link would take the link's place
            self._mark("code", start)

    def _open(self, token: Token) -> None:
        self._styles.append((_STYLES[token.type.partition("_")[0]], self._size, len(self._spans)))

    def _close(self, token: Token) -> None:
        """End a style. It leaves out the code in it, which holds no other formatting, nor is held by one."""
        style, start, before = self._styles.pop()
        if any(style == outer for outer, _, _ in self._styles):
            return
        for code in [span for span in self._spans[before:] if span.type == "code"]:
            if code.start > start:
                self._spans.append(Span(style, start, code.start))
            start = code.end
        self._mark(style, start)

    def _linked(self) -> bool:
        return any(open_.url for open_ in self._links)

    def _link_begin(self, token: Token) -> None:
        target = str(token.attrs.get("href") or token.attrs.get("src") or "")
        self._links.append(_Link(target, "" if self._linked() else link(target), self._size, len(self._out)))

    def _link_end(self, token: Token) -> None:
        target, url, start, piece = self._links.pop()
        hidden = bool(url) or (token.type == "image" and self._linked())
        self._put(_after_label("".join(self._out[piece:]), target, linked=hidden))
        if url:
            self._mark("text_link", start, url=url)

    def _image(self, token: Token) -> None:
        self._link_begin(token)
        self._children(token.children or [])
        self._link_end(token)


def _after_label(label: str, target: str, *, linked: bool) -> str:
    """What has to be written behind the label of a link so that its target is not lost."""
    target = target.removeprefix("mailto:")
    if not label.strip():
        return target
    return "" if linked or not target or target == label.strip() else f" ({target})"


def _words(tokens: list[Token]) -> str:
    """A cell of a table: its text on one line, targets of links behind their labels."""
    out: list[str] = []
    target, label = "", 0
    for token in tokens:
        if token.type == "link_open":
            target, label = str(token.attrs["href"]), len(out)
        elif token.type == "link_close":
            out.append(_after_label("".join(out[label:]), target, linked=False))
        elif token.type == "image":
            alt = _words(token.children or [])
            out += alt, _after_label(alt, str(token.attrs["src"]), linked=False)
        else:
            out.append(token.content if token.type != "hardbreak" else " ")
    return " ".join(clean("".join(out)).split())


_Handler = Callable[[_Renderer, Token], None]


def _nothing(renderer: _Renderer, token: Token) -> None:
    """Tokens that only frame others."""


_BLOCKS: dict[str, _Handler] = {
    "blockquote_close": _Renderer._quote_end,
    "blockquote_open": _Renderer._quote_begin,
    "bullet_list_close": _Renderer._list_end,
    "bullet_list_open": _Renderer._list,
    "code_block": _Renderer._code_block,
    "fence": _Renderer._code_block,
    "heading_close": _Renderer._heading_end,
    "heading_open": _Renderer._heading,
    "hr": _Renderer._rule,
    "inline": _Renderer._inline,
    "list_item_close": _Renderer._item_end,
    "list_item_open": _Renderer._item,
    "ordered_list_close": _Renderer._list_end,
    "ordered_list_open": _Renderer._list,
    "paragraph_open": _Renderer._block,
    "table": _Renderer._table,
}
_INLINES: dict[str, _Handler] = {
    "code_inline": _Renderer._code,
    "em_close": _Renderer._close,
    "em_open": _Renderer._open,
    "hardbreak": _Renderer._hard_break,
    "image": _Renderer._image,
    "link_close": _Renderer._link_end,
    "link_open": _Renderer._link_begin,
    "s_close": _Renderer._close,
    "s_open": _Renderer._open,
    "strong_close": _Renderer._close,
    "strong_open": _Renderer._open,
    "text": _Renderer._text,
    "text_special": _Renderer._text,
}
