"""A request counts when its token or its signature is right: published examples by configuration alone, and nothing else."""

from __future__ import annotations

import base64
import hmac
import re
import time
import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.automation.definitions import Hook
from ductor_lib.automation.signatures import VALUE_LENGTH, authentic, mistakes

NOW = 1_800_000_000.0

# GitHub, "Validating webhook deliveries".
GITHUB = Hook(
    id="github", title="", auth_mode="hmac", hmac_secret="It's a Secret to Everybody", hmac_header="X-Hub-Signature-256",
    hmac_sig_prefix="sha256=",
)  # fmt: skip
GITHUB_BODY = b"Hello, World!"
GITHUB_HEADERS = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}

# Stripe: the scheme of "Verify webhook signatures manually"; the numbers are of the example in stripe-dotnet's EventUtilityTest.
STRIPE = Hook(
    id="stripe", title="", auth_mode="hmac", hmac_secret="webhook_secret", hmac_header="Stripe-Signature",
    hmac_sig_regex="v1=([0-9a-f]+)", hmac_payload_prefix_regex=r"t=(\d+)", hmac_tolerance_seconds=300,
)  # fmt: skip
STRIPE_TIME = 1533204620.0
STRIPE_GOOD = "2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7"
STRIPE_HEADERS = {
    "stripe-signature": f"t=1533204620,v1={STRIPE_GOOD},v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
}
STRIPE_BODY = b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"""

# Slack, "Verifying requests from Slack".
SLACK = Hook(
    id="slack", title="", auth_mode="hmac", hmac_secret="8f742231b10e8888abcd99yyyzzz85a5", hmac_header="X-Slack-Signature",
    hmac_sig_prefix="v0=", hmac_payload_prefix_regex=r"X-Slack-Request-Timestamp: ^(?P<t>\d+)$ => v0:{t}:", hmac_tolerance_seconds=300,
)  # fmt: skip
SLACK_TIME = 1531420618.0
SLACK_HEADERS = {
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    "x-slack-request-timestamp": "1531420618",
}
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)

PUBLISHED = [
    pytest.param(GITHUB, GITHUB_HEADERS, GITHUB_BODY, NOW, id="github"),
    pytest.param(STRIPE, STRIPE_HEADERS, STRIPE_BODY, STRIPE_TIME, id="stripe"),
    pytest.param(SLACK, SLACK_HEADERS, SLACK_BODY, SLACK_TIME, id="slack"),
]
PLAIN = Hook(id="plain", title="", auth_mode="hmac", hmac_secret="s", hmac_header="X-Sig")


def sign(hook: Hook, signed: bytes) -> bytes:
    return hmac.new(hook.hmac_secret.encode(), signed, hook.hmac_algorithm).digest()


def passes(hook: Hook | None, headers: dict[str, str], body: bytes = b"{}", *, token: str = "", now: float = NOW) -> bool:
    return authentic(hook, headers, body, token=token, now=now)


# ── published examples ──


@pytest.mark.parametrize(("hook", "headers", "body", "now"), PUBLISHED)
def test_a_published_example_passes_by_configuration_alone(hook: Hook, headers: dict[str, str], body: bytes, now: float) -> None:
    assert mistakes(hook) == []
    assert passes(hook, headers, body, now=now)


@pytest.mark.parametrize(("hook", "headers", "body", "now"), PUBLISHED)
def test_one_changed_byte_of_body_signature_or_secret_is_refused(
    hook: Hook, headers: dict[str, str], body: bytes, now: float
) -> None:
    name = hook.hmac_header.lower()
    changed = {**headers, name: headers[name].replace("a", "b", 1)}

    assert not passes(hook, headers, body + b" ", now=now)
    assert not passes(hook, changed if hook is not STRIPE else {name: headers[name].replace("2220", "2221")}, body, now=now)
    assert not passes(replace(hook, hmac_secret=hook.hmac_secret + "x"), headers, body, now=now)
    assert not passes(hook, {}, body, now=now)


@pytest.mark.parametrize(("hook", "headers", "body", "now"), PUBLISHED[1:])
def test_a_signature_counts_for_the_tolerance_and_not_longer(
    hook: Hook, headers: dict[str, str], body: bytes, now: float
) -> None:
    assert passes(hook, headers, body, now=now + 300)
    assert passes(hook, headers, body, now=now - 300)
    assert not passes(hook, headers, body, now=now + 301)
    assert not passes(hook, headers, body, now=now - 301)
    assert passes(replace(hook, hmac_tolerance_seconds=0), headers, body, now=now + 1_000_000)


def test_a_timestamp_that_was_moved_no_longer_fits_its_signature() -> None:
    fresh = {**SLACK_HEADERS, "x-slack-request-timestamp": str(int(NOW))}

    assert not passes(SLACK, fresh, SLACK_BODY)


def test_of_several_signatures_one_right_one_is_enough() -> None:
    wrong = "0" * 64

    for both in (f"v1={wrong},v1={STRIPE_GOOD}", f"v1={STRIPE_GOOD},v1={wrong}"):
        assert passes(STRIPE, {"stripe-signature": f"t=1533204620,{both}"}, STRIPE_BODY, now=STRIPE_TIME)
    assert not passes(STRIPE, {"stripe-signature": f"t=1533204620,v1={wrong},v0={STRIPE_GOOD}"}, STRIPE_BODY, now=STRIPE_TIME)


# ── every part of the configuration ──


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha="])
def test_every_algorithm_and_encoding_is_known(algorithm: str, encoding: str, prefix: str) -> None:
    hook = replace(PLAIN, hmac_algorithm=algorithm, hmac_encoding=encoding, hmac_sig_prefix=prefix)
    digest = sign(hook, b"{}")
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()

    assert mistakes(hook) == []
    assert passes(hook, {"x-sig": prefix + text})
    assert not passes(hook, {"x-sig": f"other{text}"})


def test_capital_hex_and_base64_for_addresses_are_the_same_signature() -> None:
    in_base64 = replace(PLAIN, hmac_encoding="base64", hmac_secret="k7")
    body = next(text for n in range(99) if b"-" in base64.urlsafe_b64encode(sign(in_base64, text := b"%d" % n)))

    assert passes(PLAIN, {"x-sig": sign(PLAIN, b"{}").hex().upper()})
    assert passes(in_base64, {"x-sig": base64.urlsafe_b64encode(sign(in_base64, body)).decode().rstrip("=")}, body)


def test_a_named_group_picks_the_signature() -> None:
    hook = replace(PLAIN, hmac_sig_regex=r"(ts|at)=1;sig=(?P<sig>\w+)")

    assert passes(hook, {"x-sig": f"ts=1;sig={sign(PLAIN, b'{}').hex()}"})


def test_the_prefix_may_be_found_in_another_header_and_be_put_into_a_template() -> None:
    hook = replace(PLAIN, hmac_payload_prefix_regex=r"X-Meta: id=(?P<id>\w+) t=(?P<t>\d+) => {t}|{id}|{1}\n", hmac_tolerance_seconds=5)
    headers = {"x-meta": f"id=m7 t={NOW:.0f}", "x-sig": sign(hook, b"%d|m7|m7\\n{}" % NOW).hex()}

    assert mistakes(hook) == []
    assert passes(hook, headers)
    assert not passes(hook, {"x-sig": headers["x-sig"]})


def test_an_empty_secret_opens_nothing() -> None:
    hook = replace(PLAIN, hmac_secret="")

    assert not passes(hook, {"x-sig": hmac.new(b"", b"{}", "sha256").hexdigest()})


@pytest.mark.parametrize(
    "broken",
    [
        {"hmac_algorithm": "md5"}, {"hmac_encoding": "rot13"}, {"hmac_sig_regex": "("}, {"hmac_payload_prefix_regex": "("},
        {"hmac_tolerance_seconds": 5}, {"hmac_tolerance_seconds": 5, "hmac_payload_prefix_regex": r"(?P<a>.)(?P<t>\d) => {a}"},
        {"auth_mode": "none"}, {"auth_mode": ""}, {"hmac_header": ""},
    ],
)  # fmt: skip
def test_what_is_configured_wrongly_lets_nobody_in(broken: dict[str, object]) -> None:
    hook = replace(PLAIN, **broken)  # type: ignore[arg-type]

    assert mistakes(hook) != []
    assert not passes(hook, {"x-sig": sign(PLAIN, b"{}").hex()})


# ── bearer ──


BEARER = Hook(id="b", title="", token="own-token")


@pytest.mark.parametrize(
    ("given", "opens"),
    [
        ("Bearer own-token", True), ("bearer  own-token ", True), ("Bearer global", True), ("Bearer own-toke", False), ("Bearer", False),
        ("Bearer ", False), ("", False), ("own-token", False), ("Basic own-token", False), ("Bearer own-token x", False),
    ],
)  # fmt: skip
def test_a_bearer_hook_is_opened_by_its_token_and_by_the_global_one(given: str, opens: bool) -> None:
    assert passes(BEARER, {"authorization": given}, token="global") is opens


def test_empty_tokens_open_nothing() -> None:
    hook = Hook(id="b", title="")

    assert not any(passes(hook, {"authorization": text}) for text in ("", "Bearer", "Bearer ", "Bearer  "))


def test_a_token_may_have_any_letters() -> None:
    on_the_wire = "Bearer schlüssel".encode().decode("latin-1")

    assert passes(Hook(id="b", title="", token="schlüssel"), {"authorization": on_the_wire})


def test_nobody_is_let_in_without_a_hook_also_with_the_global_token() -> None:
    assert not passes(None, {"authorization": "Bearer global"}, token="global")


def test_a_token_does_not_open_a_hook_that_wants_a_signature() -> None:
    assert not passes(replace(PLAIN, token="own"), {"authorization": "Bearer own"}, token="own")


def test_an_unknown_hook_takes_about_as_long_as_wrong_credentials() -> None:
    body = b"x" * 262_144

    def seconds(hook: Hook | None) -> float:
        runs = []
        for _ in range(9):
            begun = time.perf_counter()
            passes(hook, {"authorization": "Bearer no", "x-sig": "no"}, body)
            runs.append(time.perf_counter() - begun)
        return min(runs)

    times = [seconds(hook) for hook in (None, BEARER, PLAIN)]
    assert max(times) < 3 * min(times) + 0.001


# ── what the owner may write ──


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("(", "not a regular expression"), ("a" * 201, "longer than 200"), ("(a+)+", "repeats a group"), ("(?:a|ab)*c", "repeats a group"),
        ("((a*)b){9}", "repeats a group"), (".*.*.*x", "more than 2 repeats"), ("a?a?a?aaa", "more than 2 repeats"),
        ("(?=a)b", "no flags"), (r"(a)\1", "no flags"), ("(?i)a", "no flags"), ("|".join("abcdefghij"), "8 choices"), ("[[a]", "backslash"),
        ("[a", "without ]"), ("(a{1,9}){1,9}", "repeats a group"),
    ],
)  # fmt: skip
def test_a_regex_that_is_broken_or_could_hang_is_named(pattern: str, complaint: str) -> None:
    (mistake,) = mistakes(replace(PLAIN, hmac_sig_regex=pattern))

    assert mistake.startswith("hmac_sig_regex ")
    assert complaint in mistake
    assert complaint in mistakes(replace(PLAIN, hmac_payload_prefix_regex=pattern))[0]


@pytest.mark.parametrize(
    "pattern",
    [r"v1=([0-9a-f]+)", r"(?:^|,)\s*v1=([0-9a-f]+)", r"(?P<sig>\w{64})", r"ts=\d+;h1=(\w+?)", r"[\]\[()*+?]([a-z]*)", r"\(+(a)", "a++b"],
)
def test_an_ordinary_regex_is_accepted(pattern: str) -> None:
    assert mistakes(replace(PLAIN, hmac_sig_regex=pattern)) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"auth_mode": "basic"}, "auth_mode is 'basic'; accepted: bearer, hmac"),
        ({"hmac_algorithm": "md5"}, "accepted: sha256, sha1, sha512"),
        ({"hmac_encoding": "x"}, "accepted: hex, base64"),
        ({"hmac_secret": ""}, "hmac_secret is empty"),
        ({"hmac_header": "a b"}, "hmac_header is 'a b'"),
        ({"hmac_tolerance_seconds": -1}, "accepted: 0 to 86400"),
        ({"hmac_tolerance_seconds": 9}, "needs hmac_payload_prefix_regex"),
        ({"hmac_payload_prefix_regex": "t=9"}, "uses {1}, but the regex has no such group"),
        ({"hmac_payload_prefix_regex": "t=(9) => {x}"}, "uses {x}, but"),
        ({"hmac_payload_prefix_regex": "t=(9) => " + "x" * 200}, "longer than 200"),
        ({"hmac_payload_prefix_regex": r"(\d)(?P<t>\d)", "hmac_tolerance_seconds": 9}, "leaves the timestamp out"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_is_accepted(changes: dict[str, object], complaint: str) -> None:
    assert any(complaint in mistake for mistake in mistakes(replace(PLAIN, **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", [r"\w*\w*!", ".*.*!", "(?:aa|a|b)(?:aa|a|b)(?:aa|a|b)\\w*!", "a?a*!"])
@pytest.mark.parametrize("letter", ["a", "0", " "])
def test_the_worst_regex_that_is_accepted_ends_soon(pattern: str, letter: str) -> None:
    hook = replace(PLAIN, hmac_sig_regex=pattern)
    begun = time.process_time()

    assert mistakes(hook) == []
    assert not passes(hook, {"x-sig": letter * VALUE_LENGTH})
    assert not passes(hook, {"x-sig": letter * 16_000})
    assert time.process_time() - begun < 10


SCRAPS = st.lists(st.sampled_from([*"()[]{}|*+?.,^$\\-ab01<>P=!: {t} => ", "(?P<t>", "(?:", "\\d", "t="]) | st.characters(), max_size=12)


@settings(max_examples=300, deadline=None)
@given(SCRAPS.map("".join), SCRAPS.map("".join), st.text(max_size=30))
def test_whatever_was_written_no_request_raises_and_none_gets_in(sig: str, prefix: str, value: str) -> None:
    hook = replace(PLAIN, hmac_sig_regex=sig, hmac_payload_prefix_regex=prefix)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mistakes(hook)
        assert not passes(hook, {"x-sig": value, "authorization": value})


@settings(max_examples=200, deadline=None)
@given(SCRAPS.map("".join))
def test_an_accepted_regex_can_be_compiled(pattern: str) -> None:
    if not mistakes(replace(PLAIN, hmac_sig_regex=pattern)):
        re.compile(pattern)
