"""parse_mode HTML for the loopback Telegram: Telegram's own few tags, strict about them, tolerant about addresses."""

from __future__ import annotations

import html
import re

from ductor_lib.demo.entities import Entity, Wrong, link, units

KINDS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline", "s": "strikethrough",
    "strike": "strikethrough", "del": "strikethrough", "tg-spoiler": "spoiler", "span": "spoiler", "code": "code", "pre": "pre",
    "blockquote": "blockquote", "a": "text_link",
}
TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)((?:\s+[A-Za-z-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>\"']+))?)*)\s*>")
ATTRIBUTE = re.compile(r"([A-Za-z-]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+)))?")


def parsed(raw: str, mode: str) -> tuple[str, list[Entity]]:
    """The text without its markup, and what the markup meant. Raises Wrong for what Telegram cannot read."""
    if mode.lower() != "html":
        raise Wrong(f"can't parse entities: the loopback server reads parse_mode HTML only, not {mode}")
    text, at = "", 0
    entities: list[Entity] = []
    stack: list[tuple[str, Entity]] = []
    while at < len(raw):
        tag = TAG.match(raw, at) if raw[at] == "<" else None
        if raw[at] == "<" and tag is None:
            raise Wrong(f"can't parse entities: unsupported start tag at byte offset {_bytes(raw, at)}")
        if tag is None:
            end = raw.find("<", at)
            end = len(raw) if end < 0 else end
            text += html.unescape(raw[at:end])
            at = end
            continue
        name = tag.group(2).lower()
        if name not in KINDS:
            raise Wrong(f'can\'t parse entities: unsupported start tag "{name}" at byte offset {_bytes(raw, at)}')
        if not tag.group(1):
            stack.append((name, _opened(name, tag.group(3), units(text))))
        elif not stack or stack[-1][0] != name:
            raise Wrong(f"can't parse entities: unmatched end tag at byte offset {_bytes(raw, at)}")
        else:
            _, entity = stack.pop()
            _close(entity, text, entities)
        at = tag.end()
    if stack:
        raise Wrong(f'can\'t parse entities: can\'t find end tag corresponding to start tag "{stack[-1][0]}"')
    return text, _languages(entities)


def _bytes(raw: str, at: int) -> int:
    return len(raw[:at].encode())


def _opened(name: str, attributes: str, offset: int) -> Entity:
    values = {match[0].lower(): html.unescape(match[1] or match[2] or match[3]) for match in ATTRIBUTE.findall(attributes)}
    entity = Entity(type=KINDS[name], offset=offset)
    if name == "span" and values.get("class") != "tg-spoiler":
        raise Wrong('can\'t parse entities: tag "span" must have class "tg-spoiler"')
    if name == "a":
        entity["url"] = values.get("href", "")
    if name == "blockquote" and "expandable" in values:
        entity["type"] = "expandable_blockquote"
    if name == "code" and values.get("class", "").startswith("language-"):
        entity["language"] = values["class"].removeprefix("language-")
    return entity


def _close(entity: Entity, text: str, entities: list[Entity]) -> None:
    """Keep the entity; an address that Telegram does not accept loses only the link."""
    entity["length"] = units(text) - entity["offset"]
    if entity["type"] == "text_link":
        try:
            entity["url"] = link(entity["url"])
        except Wrong:
            return
    entities.append(entity)


def _languages(entities: list[Entity]) -> list[Entity]:
    """<pre><code class="language-x"> is one block of that language."""
    languages = {(item["offset"], item["length"]): item["language"] for item in entities if item["type"] == "code" and "language" in item}
    for item in entities:
        if item["type"] == "pre" and (item["offset"], item["length"]) in languages:
            item["language"] = languages[item["offset"], item["length"]]
    return entities
