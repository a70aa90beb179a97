"""Whether a request really comes from whom the hook is for: a bearer token, or an HMAC described by configuration alone.

Every request takes the same way: both kinds are computed, whatever the hook wants and whether there is one at all.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from ductor_lib.automation.definitions import Hook

AUTH_MODES = ("bearer", "hmac")
ALGORITHMS = ("sha256", "sha1", "sha512")
ENCODINGS = ("hex", "base64")
REGEX_LENGTH = 200  # characters
REGEX_REPEATS = 2  # of * + ? {m,n}: with more, a hostile header of 1,000 characters would take minutes instead of a second
REGEX_BRANCHES = 8
VALUE_LENGTH = 1_000  # characters of a header that a regex is tried on; a longer one proves nothing
SIGNATURES = 16  # of one header that are compared
LONGEST_TOLERANCE = 86_400  # seconds

BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)  # RFC 9110: the scheme's case does not matter
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
NAMED_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): (.*)", re.DOTALL)
ARROW = " => "
FIRST_AND_DOT = "{1}."
PLACE = re.compile(r"\{(\w+)\}")
UNIX_SECONDS = re.compile(r"\d{1,12}", re.ASCII)
PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<\w+>|\(\?:|\(\?|[()|*+?]|\{\d*,?\d*\}|.", re.DOTALL)
NESTED_SET = re.compile(r"\[(?:\\.|[^\\])*?(?:\[|--|&&|~~|\|\|)")  # a later Python may read these as operators
REPEAT = re.compile(r"[*+?]|\{\d*,?\d*\}")

URL_SAFE = bytes.maketrans(b"-_", b"+/")

NOBODY = Hook(id="", title="", hmac_secret=secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is signed before the body: groups of `pattern`, found in `header` ("": the signature's own), put into `template`."""

    header: str
    pattern: re.Pattern[str]
    template: str

    @property
    def stamp(self) -> str:
        """The number of the group with the timestamp: the one named "t", else the first."""
        return str(self.pattern.groupindex.get("t", 1))

    @property
    def places(self) -> set[str]:
        """The groups that become part of what is signed, by number; by name where there is no such group."""
        return {str(self.pattern.groupindex.get(name, name)) for name in PLACE.findall(self.template)}


def authentic(hook: Hook | None, headers: Mapping[str, str], body: bytes, *, token: str, now: float) -> bool:
    """True if the request may trigger the hook; never for None, which takes as long as wrong credentials do.

    `headers` by lower-case name, values as they came (latin-1). `token` opens every bearer hook, besides the hook's own;
    an empty one opens nothing. `now` in unix seconds. Never raises, whatever the request or the hook says. Any thread.
    """
    asked = hook or NOBODY
    carried = _bears(asked, headers.get("authorization", ""), token)
    signed = _signed(asked if asked.auth_mode == "hmac" else NOBODY, headers, body, now)
    return hook is not None and {"bearer": carried, "hmac": signed}.get(hook.auth_mode, False)


def mistakes(hook: Hook) -> list[str]:
    """What is wrong with how a hook's requests are to be checked: a sentence each, with the value's name and what is accepted."""
    if hook.auth_mode != "hmac":
        return [] if hook.auth_mode in AUTH_MODES else [f"auth_mode is {hook.auth_mode!r}; accepted: {', '.join(AUTH_MODES)}"]
    found = [
        f"{name} is {value!r}; accepted: {', '.join(accepted)}"
        for name, value, accepted in (
            ("hmac_algorithm", hook.hmac_algorithm, ALGORITHMS), ("hmac_encoding", hook.hmac_encoding, ENCODINGS),
        )
        if value not in accepted
    ]  # fmt: skip
    if not hook.hmac_secret:
        found.append("hmac_secret is empty; give the secret that the sender signs with")
    if not HEADER_NAME.fullmatch(hook.hmac_header):
        found.append(f"hmac_header is {hook.hmac_header!r}; give the name of the header with the signature, such as X-Hub-Signature-256")
    if hook.hmac_sig_regex and (wrong := _wrong(hook.hmac_sig_regex)):
        found.append(f"hmac_sig_regex {wrong}")
    if not 0 <= hook.hmac_tolerance_seconds <= LONGEST_TOLERANCE:
        found.append(f"hmac_tolerance_seconds is {hook.hmac_tolerance_seconds}; accepted: 0 to {LONGEST_TOLERANCE}")
    return found + _prefix_mistakes(hook)


def _prefix_mistakes(hook: Hook) -> list[str]:
    name = "hmac_payload_prefix_regex"
    if not hook.hmac_payload_prefix_regex:
        return [f"hmac_tolerance_seconds needs {name}, which says where the timestamp is"] if hook.hmac_tolerance_seconds else []
    _, pattern, _ = _parts(hook.hmac_payload_prefix_regex)
    if wrong := _wrong(pattern):
        return [f"{name} {wrong}"]
    prefix = _prefix(hook.hmac_payload_prefix_regex)
    if prefix is None:
        return [f"{name} is longer than {REGEX_LENGTH} characters"]
    known = set(map(str, range(1, prefix.pattern.groups + 1)))
    if unknown := sorted(prefix.places - known):
        return [f"{name} uses {{{unknown[0]}}}, but the regex has no such group"]
    if hook.hmac_tolerance_seconds and prefix.stamp not in prefix.places:
        return [f"{name} leaves the timestamp out of what is signed; anybody could change it"]
    return []


# ── one request ──


def _bears(hook: Hook, authorization: str, token: str) -> bool:
    found = BEARER.fullmatch(authorization)
    given = _sum(found[1].encode("latin-1", "replace") if found else b"")
    accepted = [bool(own) & hmac.compare_digest(given, _sum(_bytes(own))) for own in (hook.token, token)]
    return any(accepted) and found is not None


def _sum(text: bytes) -> bytes:
    """Of one length for every text, so that comparing does not tell how long the right one is."""
    return hashlib.sha256(text).digest()


def _signed(hook: Hook, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    value = headers.get(hook.hmac_header.lower(), "")
    prefix = _prefix(hook.hmac_payload_prefix_regex) if hook.hmac_payload_prefix_regex else None
    found = _found(prefix, headers, value) if prefix else None
    before = PLACE.sub(lambda place: _group(found, place[1]), prefix.template) if prefix and found else ""
    right = _mac(hook, before.encode("latin-1", "replace"), body)
    matches = [hmac.compare_digest(right, given) for given in _given(hook, value)]
    usable = bool(hook.hmac_secret) and hook.hmac_algorithm in ALGORITHMS and hook.hmac_encoding in ENCODINGS
    whole = not hook.hmac_payload_prefix_regex or found is not None
    return any(matches) and usable and whole and _fresh(hook, prefix, found, now)


def _mac(hook: Hook, before: bytes, body: bytes) -> bytes:
    """The right signature, as it stands in the header."""
    algorithm = hook.hmac_algorithm if hook.hmac_algorithm in ALGORITHMS else ALGORITHMS[0]
    code = hmac.new(_bytes(hook.hmac_secret), before, algorithm)
    code.update(body)
    return code.hexdigest().encode() if hook.hmac_encoding == "hex" else base64.b64encode(code.digest()).rstrip(b"=")


def _given(hook: Hook, value: str) -> Iterator[bytes]:
    """The signatures of the header in the form of `_mac`: hex in small letters, base64 without its end."""
    pattern = _compiled(hook.hmac_sig_regex) if hook.hmac_sig_regex else None
    texts: Iterator[str] = iter(() if hook.hmac_sig_regex else (value,))
    if pattern and len(value) <= VALUE_LENGTH:
        group = "sig" if "sig" in pattern.groupindex else "1" if pattern.groups else "0"
        texts = islice((_group(found, group) for found in pattern.finditer(value)), SIGNATURES)
    for text in texts:
        if text.startswith(hook.hmac_sig_prefix):
            bare = text.removeprefix(hook.hmac_sig_prefix).strip().encode("latin-1", "replace")
            yield bare.lower() if hook.hmac_encoding == "hex" else bare.translate(URL_SAFE).rstrip(b"=")


def _found(prefix: Prefix, headers: Mapping[str, str], value: str) -> re.Match[str] | None:
    text = headers.get(prefix.header, "") if prefix.header else value
    return prefix.pattern.search(text) if len(text) <= VALUE_LENGTH else None


def _fresh(hook: Hook, prefix: Prefix | None, found: re.Match[str] | None, now: float) -> bool:
    if not hook.hmac_tolerance_seconds:
        return True
    if not prefix or prefix.stamp not in prefix.places:  # what is not signed proves no age
        return False
    stamp = _group(found, prefix.stamp)
    return bool(UNIX_SECONDS.fullmatch(stamp)) and abs(now - int(stamp)) <= hook.hmac_tolerance_seconds


def _group(found: re.Match[str] | None, name: str) -> str:
    """A group by its name or number; "" for one that is not there or took no part."""
    try:
        return found[int(name) if name.isdecimal() else name] or "" if found else ""
    except IndexError:
        return ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# ── what the owner wrote ──


def _parts(text: str) -> tuple[str, str, str]:
    """Header, regex and template of `[Header-Name: ]REGEX[ => TEMPLATE]`."""
    head, arrow, template = text.rpartition(ARROW)
    pattern, template = (head, template) if arrow else (text, FIRST_AND_DOT)
    named = NAMED_HEADER.fullmatch(pattern)
    return (named[1].lower(), named[2], template) if named else ("", pattern, template)


@lru_cache(maxsize=256)
def _prefix(text: str) -> Prefix | None:
    header, pattern, template = _parts(text)
    compiled = _compiled(pattern) if len(text) <= REGEX_LENGTH else None
    return Prefix(header, compiled, template) if compiled else None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """None for what `mistakes` would name: a file that was edited by hand may hold anything."""
    return None if _wrong(pattern) else re.compile(pattern, re.ASCII)


def _wrong(pattern: str) -> str:
    """Why the regex is refused, as the rest of a sentence; "" for a good one."""
    if len(pattern) > REGEX_LENGTH:
        return f"is longer than {REGEX_LENGTH} characters"
    if slow := _slow(pattern):
        return slow
    try:
        re.compile(pattern, re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is not a regular expression: {error}"
    return ""


def _slow(pattern: str) -> str:
    """Why the regex could take very long on a header made for that; "" if it cannot.

    A repeat within a repeat makes the time exponential, and each further repeat or choice multiplies it.
    """
    repeats = branches = 0
    stirring = [False]  # for every open group: whether it holds a repeat or a choice
    closed, before = False, ""  # whether the group that just ended did; the piece before this one
    for piece in PIECE.findall(pattern):
        if piece == "(?" or re.fullmatch(r"\\[1-9]", piece):
            return "may have ( ), (?: ) and (?P<name> ) only: no flags, conditions, references or looks around"
        if piece == "[" or NESTED_SET.match(piece):
            return "has a [ without ], or [, --, &&, ~~ or || within [ ]; write a backslash before it"
        if REPEAT.fullmatch(piece) and not (piece in ("?", "+") and REPEAT.fullmatch(before)):
            if closed:
                return "repeats a group that holds a repeat or a |; that could take very long"
            repeats += piece.strip("{}").isdecimal() is False
            stirring = [True] * len(stirring)
        branches += piece == "|"
        stirring = [True] * len(stirring) if piece == "|" else stirring
        closed = stirring.pop() if piece == ")" and len(stirring) > 1 else False
        if piece.startswith("("):
            stirring.append(False)
        before = "" if REPEAT.fullmatch(before) and piece in ("?", "+") else piece
    if repeats > REGEX_REPEATS or branches > REGEX_BRANCHES:
        return f"has more than {REGEX_REPEATS} repeats (* + ? {{m,n}}) or {REGEX_BRANCHES} choices; that could take very long"
    return ""
