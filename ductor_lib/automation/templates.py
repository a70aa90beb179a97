"""The prompt that a hook's template and a request's payload make: what came from outside is fenced, bounded, and never a template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from ductor_lib.security import fence, fence_each

VALUE_CHARS = 20_000
WHOLE_BYTES = 200_000  # in UTF-8, of the prompt; a template that is longer by itself is not cut
FENCE_BYTES = 120  # at most, of the two markers around a value
SENTENCE_BYTES = 600  # at most, of the sentence before them
CUT = "… (cut)"
PLACE = re.compile(r"\{\{([^{}\n]{1,200})\}\}")

Payload = Mapping[str, object]


class Missing(Exception):
    """The payload has nothing at the path."""


def render(template: str, payload: Payload, *, source: str) -> str:
    """The template with `{{field}}`, `{{a.b}}` and `{{list.0.field}}` filled in; an empty one gives the whole payload.

    Objects and lists become compact JSON; a field that is missing becomes `{{?field}}`. Every value stands between
    markers that it cannot forge, and a sentence before all says that they hold data from `source`. A value has at most
    20,000 characters and the prompt 200,000 bytes. Never raises, whatever JSON the payload is. Any thread.
    """
    if not template.strip():
        return fence(_cut(_json(payload, indent=2), WHOLE_BYTES - SENTENCE_BYTES - FENCE_BYTES - len(CUT.encode())), source)
    places = len(PLACE.findall(template))
    room = WHOLE_BYTES - SENTENCE_BYTES - len(template.encode("utf-8", "surrogatepass")) - places * len(CUT.encode())
    values: list[str] = []
    plain: dict[int, str] = {}  # where a place is, and what stands there without a fence
    for found in PLACE.finditer(template):
        name = found[1].strip()
        try:
            value = _text(_at(payload, name.split(".")))
        except Missing:
            plain[found.start()] = f"{{{{?{name}}}}}"
            continue
        if room < FENCE_BYTES:
            plain[found.start()] = CUT
            continue
        values.append(_cut(_cut_characters(value), room - FENCE_BYTES))
        room -= FENCE_BYTES + _size(values[-1])
    sentence, fenced = fence_each(values, source)
    inserts = iter(fenced)
    text = PLACE.sub(lambda found: plain[found.start()] if found.start() in plain else next(inserts), template)
    return f"{sentence}\n\n{text}" if fenced else text


def _at(payload: object, path: Sequence[str]) -> object:
    for part in path:
        if isinstance(payload, Mapping) and part in payload:
            payload = payload[part]
        elif isinstance(payload, list) and re.fullmatch("[0-9]{1,9}", part) and int(part) < len(payload):
            payload = payload[int(part)]
        else:
            raise Missing
    return payload


def _text(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: object, *, indent: int | None = None) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, separators=None if indent else (",", ":"))
    except (RecursionError, ValueError):  # nested too deeply, a number of thousands of digits
        return "(cannot be shown)"


def _cut_characters(text: str) -> str:
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - len(CUT)] + CUT


def _size(text: str) -> int:
    """Bytes that the text may have once it is fenced: a space can be added after an @ and before a leading /."""
    return len(text.encode("utf-8", "surrogatepass")) + text.count("@") + text.count("/")


def _cut(text: str, size: int) -> str:
    """The beginning of the text that has room in `size` bytes, and the mark."""
    if _size(text) <= size:
        return text
    low, high = 0, min(len(text), size)
    while low < high:  # how many characters fit: found by halving
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= size else (low, middle - 1)
    return text[:low] + CUT
