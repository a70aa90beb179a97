"""CommonMark with tables and strikethrough, tuned for chat: no text of the source is ever dropped, HTML stays literal.

The grammar is markdown-it-py's. Ours are shortcuts for plain text (half of the parsing time), and rules for the places
where CommonMark hides text: too deep nesting, surplus cells of a table, link definitions, unusable automatic links.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline, backtick, emphasis, entity, escape, image, link, strikethrough
from markdown_it.token import Token

BLOCK_DEPTH = 30  # levels; deeper lists and quotes are text (the parser recurses, and forgets text below its own limit)
INLINE_DEPTH = 20  # levels
IMAGE_DEPTH = 3

_BLOCK_STARTS = frozenset("`~>*-_+#|:=0123456789")
_STOPS = re.compile(r"[!&*<\[\\\]_`~]")
_AUTOLINK = re.compile(r"<(https?://[^\s<>]+)>", re.IGNORECASE)
_DUNDER = re.compile(r"__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__(?=\.\w|/|\()|(?<=[./\\])__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__(?!\w)")
_PIPE = re.compile(r"(?<!\\)\|")
_RULER_STARTS = ("|", "-", ":")
_RULER = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_ALIGNS = {(False, False): "", (True, False): "left", (False, True): "right", (True, True): "center"}
_TASK = re.compile(r"\[([ xX])\](?=\s)")

logging.getLogger("markdown_it").setLevel(logging.INFO)  # it has a debug line for every rule it tries


def parse_blocks(source: str) -> list[Token]:
    """The blocks of a document; the contents of "inline" tokens are still to be given to `parse_inline`. Any thread."""
    tokens: list[Token] = []
    _MARKDOWN.block.parse(source, _MARKDOWN, {}, tokens)
    return tokens


def parse_inline(content: str) -> list[Token]:
    """The formatting of one paragraph; line breaks stay in the texts. Any thread."""
    if not _STOPS.search(content):
        token = Token("text", "", 0)
        token.content = content
        return [token]
    return _MARKDOWN.inline.parse(content, _MARKDOWN, {}, [])


def task(content: str) -> tuple[str, str]:
    """The box of a list item that is a task ("☐" or "☑", else ""), and what follows it."""
    match = _TASK.match(content)
    if not match:
        return "", content
    return "☐" if match[1] == " " else "☑", content[match.end() :].lstrip()


def _autolink(state: StateInline, silent: bool) -> bool:
    """<https://host> only: CommonMark takes <std::vector> and <a@b.c> for links, too, and hides the brackets."""
    match = _AUTOLINK.match(state.src, state.pos, state.posMax)
    if not match:
        return False
    if not silent:
        state.push("link_open", "a", 1).attrs = {"href": match[1]}
        state.push("text", "", 0).content = match[1]
        state.push("link_close", "a", -1)
    state.pos = match.end()
    return True


def _underscore(state: StateInline, silent: bool) -> bool:
    """Emphasis, but not in `__init__.py` or `pkg/__main__`: agents write such names without backquotes."""
    match = _DUNDER.match(state.src, state.pos, state.posMax)
    if not match:
        return emphasis.tokenize(state, silent)
    if not silent:
        state.append_pending(match[0])
    state.pos = match.end()
    return True


def _image(state: StateInline, silent: bool) -> bool:
    """An image; one in the label of another one and so on is text from some depth on, since labels are parsed recursively."""
    depth = state.env.setdefault("images", 0)
    if silent or depth >= IMAGE_DEPTH:
        return silent and image(state, silent)
    state.env["images"] = depth + 1
    found = image(state, silent)
    state.env["images"] = depth
    return found


_RULES: dict[str, Callable[[StateInline, bool], bool]] = {
    "!": _image,
    "&": entity,
    "*": emphasis.tokenize,
    "<": _autolink,
    "[": link,
    "\\": escape,
    "_": _underscore,
    "`": backtick,
    "~": strikethrough.tokenize,
}


class _Inline(ParserInline):
    """The parser of paragraphs, which tries the one rule that a character can begin instead of all of them."""

    def tokenize(self, state: StateInline) -> None:
        while state.pos < state.posMax:
            if state.level >= INLINE_DEPTH or not self._step(state, silent=False):
                state.append_pending(state.src[state.pos])
                state.pos += 1
        if state.pending:
            state.pushPending()

    def skipToken(self, state: StateInline) -> None:  # noqa: N802
        begin = state.pos
        if begin in state.cache:
            state.pos = state.cache[begin]
            return
        known = False
        if state.level < INLINE_DEPTH:
            state.level += 1
            known = self._step(state, silent=True)
            state.level -= 1
        else:
            state.pos = state.posMax  # as the original: what follows is not looked at again and again
        if not known:
            state.pos += 1
        state.cache[begin] = state.pos

    def _step(self, state: StateInline, *, silent: bool) -> bool:
        """Take a run of plain text, or apply a rule. False: the character means nothing."""
        match = _STOPS.search(state.src, state.pos, state.posMax)
        stop = match.start() if match else state.posMax
        if stop > state.pos:
            if not silent:
                state.append_pending(state.src[state.pos : stop])
            state.pos = stop
            return True
        rule = _RULES.get(state.src[stop])
        return rule is not None and rule(state, silent)


def _deep(state: StateBlock, begin: int, end: int, silent: bool) -> bool:
    """What is nested too deep is one paragraph of plain lines."""
    if state.level < BLOCK_DEPTH or silent:
        return False
    line = begin + 1
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
    _paragraph(state, begin, line)
    return True


def _plain(state: StateBlock, begin: int, end: int, silent: bool) -> bool:
    """A paragraph in which no line can begin anything else."""
    if silent or state.is_code_block(begin):
        return False
    line = begin
    while line < state.lineMax:
        first = state.bMarks[line] + state.tShift[line]
        if first >= state.eMarks[line]:
            break
        if state.src[first] in _BLOCK_STARTS:
            return False
        line += 1
    _paragraph(state, begin, line)
    return True


def _paragraph(state: StateBlock, begin: int, end: int) -> None:
    state.line = end
    state.push("paragraph_open", "p", 1).map = [begin, end]
    state.push("inline", "", 0).content = state.getLines(begin, end, state.blkIndent, False).strip()
    state.push("paragraph_close", "p", -1)


def _table(state: StateBlock, begin: int, end: int, silent: bool) -> bool:
    """A table is one token: its rows of Markdown cells, as long as they are written, and the columns' alignments in `meta`.

    Cells beyond the header's last column become part of the last cell; GitHub drops them.
    """
    if begin + 2 > end or not state.src.startswith(_RULER_STARTS, state.bMarks[begin + 1] + state.tShift[begin + 1]):
        return False
    ruler, header = _line(state, begin + 1), _line(state, begin)
    if "|" not in header or len(ruler) < 2 or ruler[:2] == "- " or not _RULER.fullmatch(ruler):
        return False
    if state.sCount[begin + 1] < state.blkIndent or state.is_code_block(begin) or state.is_code_block(begin + 1):
        return False
    aligns, head = [_ALIGNS[mark[0] == ":", mark[-1] == ":"] for mark in map(str.strip, _cells(ruler))], _cells(header)
    if len(head) != len(aligns):
        return False
    if silent:
        return True
    rows, line = [head], begin + 2
    outside, state.parentType = state.parentType, "table"
    others = state.md.block.ruler.getRules("blockquote")
    while line < end and state.sCount[line] >= state.blkIndent and not state.is_code_block(line):
        text = _line(state, line)
        if not text or any(rule(state, line, end, True) for rule in others):
            break
        cells = _cells(text)
        if len(cells) > len(head):
            cells[len(head) - 1 :] = [" | ".join(map(str.strip, cells[len(head) - 1 :]))]
        rows.append(cells)
        line += 1
    state.parentType, state.line = outside, line
    token = state.push("table", "table", 0)
    token.map, token.meta = [begin, line], {"rows": rows, "aligns": aligns}
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()


def _cells(line: str) -> list[str]:
    cells = _PIPE.split(line)
    if not cells[-1]:
        cells.pop()
    if cells and not cells[0]:
        del cells[0]
    return [cell.replace("\\|", "|") for cell in cells] if "\\" in line else cells


def _build() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": BLOCK_DEPTH + 10}).enable("table")
    markdown.disable(["reference", "html_block"])
    markdown.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    markdown.block.ruler.before("table", "plain", _plain)
    markdown.block.ruler.before("plain", "deep", _deep)
    markdown.inline = _Inline()
    markdown.inline.ruler2.enableOnly(["balance_pairs", "strikethrough", "emphasis"])
    # Targets stay as they are written: they are shown, or checked where they become links.
    markdown.normalizeLink = lambda url: url  # type: ignore[method-assign]
    markdown.validateLink = lambda url: True  # type: ignore[method-assign]
    markdown.parse("*warm*")  # rules are compiled on first use, which is not safe in two threads at once; parsing is
    return markdown


_MARKDOWN = _build()
