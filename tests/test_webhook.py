"""Requests over real sockets: what is right is stored and answered, what is wrong is refused in one order, and nobody is held up."""

from __future__ import annotations

import hmac
import json
import logging
import os
import queue
import re
import select
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.automation.admission import FAILED_LOGINS
from ductor_lib.automation.definitions import Hook
from ductor_lib.automation.exchange import Answer, Head, parse
from ductor_lib.automation.reader import CONNECTIONS, HELD_BYTES
from ductor_lib.automation.signatures import mistakes
from ductor_lib.automation.validation import read_hook
from ductor_lib.automation.webhook import WORKERS, WebhookServer, check_binding
from ductor_lib.config_keys import Webhooks
from ductor_lib.errors import DuctorError

PAGE = Path(__file__).parent.parent / "docs" / "modules" / "webhook.md"
EXAMPLE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOKEN = "global-token"
SOON = 20.0  # seconds; a bound for what takes milliseconds
DEPLOY = Hook(id="deploy", title="Deploy", token="deploy-token")
SIGNED = Hook(id="signed", title="Signed", auth_mode="hmac", hmac_secret="s3cret", hmac_header="X-Sig")
OFF = replace(DEPLOY, id="off", enabled=False)


class Store:
    """A real intake: a table with a unique key, and hooks that can be exchanged."""

    def __init__(self, *hooks: Hook) -> None:
        self._lock = threading.Lock()
        self._rows = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._rows.execute("CREATE TABLE runs(id INTEGER PRIMARY KEY, key TEXT UNIQUE, payload TEXT)")
        self._hooks = {hook.id: hook for hook in hooks}

    def find(self, id: str) -> Hook | None:
        return self._hooks.get(id)

    def take(self, hook: Hook, payload: Mapping[str, object], *, key: str) -> int:
        with self._lock:
            self._rows.execute("INSERT OR IGNORE INTO runs(key, payload) VALUES(?, ?)", (key, json.dumps([hook.id, payload])))
            return int(self._rows.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()[0])

    def taken(self) -> list[tuple[str, object]]:
        with self._lock:
            return [(*json.loads(row[0]),) for row in self._rows.execute("SELECT payload FROM runs ORDER BY id")]


@dataclass(frozen=True)
class Heard:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, str]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass
class Site:
    """A running server and how to speak with it."""

    server: WebhookServer
    store: Store
    stack: ExitStack = field(default_factory=ExitStack)

    def connect(self) -> socket.socket:
        return self.stack.enter_context(socket.create_connection(("127.0.0.1", self.server.port), timeout=SOON))

    def send(self, data: bytes) -> Heard:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=SOON) as connection:
            connection.sendall(data)
            return heard(connection)

    def post(self, id: str = "deploy", body: bytes = b"{}", /, *, token: str = "deploy-token", **headers: str) -> Heard:
        return self.send(request(id, body, token=token, **headers))


def request(id: str = "deploy", body: bytes = b"{}", *, token: str = "deploy-token", **headers: str) -> bytes:
    """The bytes of a request. A header given as "" is left out."""
    usual = {"Host": "x", "Content_Type": "application/json", "Content_Length": str(len(body)), "Authorization": f"Bearer {token}"}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in (usual | headers).items() if value]
    return f"POST /hooks/{id} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1") + body


def heard(connection: socket.socket) -> Heard:
    """The whole answer, read until the server closes."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first.startswith("HTTP/1.1 "), data
    return Heard(int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body)


@contextmanager
def serving(*hooks: Hook, store: Store | None = None, seconds: float = 10.0, **settings: int) -> Iterator[Site]:
    known = store or Store(*(hooks or (DEPLOY, SIGNED, OFF)))
    values = {"port": 0, "rate_limit_per_minute": 1000, **settings}
    server = WebhookServer(Webhooks(**values), known, known, token=TOKEN, request_seconds=seconds)  # type: ignore[arg-type]
    site = Site(server, known)
    server.start()
    try:
        yield site
    finally:
        site.stack.close()
        server.stop()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


# ── what is right ──


def test_a_triggered_hook_is_stored_before_it_is_answered_with_its_id() -> None:
    with serving() as site:
        answer = site.post("deploy", b'{"a": [1, "\xc3\xbc"]}')

        assert answer.status == 202
        assert answer.json == {"id": "1"}
        assert site.store.taken() == [("deploy", {"a": [1, "ü"]})]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_server_says_that_it_is_well(site: Site, method: str) -> None:
    answer = site.send(f"{method} /health?x=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert answer.status == 200
    assert answer.body == (b'{"status": "ok"}\n' if method == "GET" else b"")


def test_a_hook_with_a_signature_is_opened_by_it() -> None:
    with serving() as site:
        body = b'{"n": 1}'
        sign = hmac.new(b"s3cret", body, "sha256").hexdigest()

        assert site.post("signed", body, token="x", X_Sig=sign).status == 202
        assert site.post("signed", body, token=TOKEN, X_Sig=sign[:-1] + "x").status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "application/json; charset=UTF-8"}, {"Content_Type": "Application/JSON"}, {"Authorization": f"bearer {TOKEN}"},
        {"Content_Type": "application/cloudevents+json"}, {"Content_Encoding": "identity"}, {"Host": ""}, {"X_Other": "ü" * 99},
    ],
)  # fmt: skip
def test_what_may_vary_may_vary(site: Site, headers: dict[str, str]) -> None:
    assert site.send(request(**headers)).status == 202  # type: ignore[arg-type]


def test_http_1_0_and_empty_lines_before_are_understood(site: Site) -> None:
    assert site.send(b"\r\n\r\n" + request().replace(b"HTTP/1.1", b"HTTP/1.0")).status == 202


@pytest.mark.parametrize("header", ["X_GitHub_Delivery", "Webhook_Id"])
def test_a_delivery_that_comes_twice_runs_once(header: str) -> None:
    with serving() as site:
        delivery = {header: "72d3162e-cc78-11e3-81ab-4c9367dc0958"}

        first, again, other = (site.post("deploy", b'{"n": 1}', **given) for given in (delivery, delivery, {header: "another"}))

        assert [answer.status for answer in (first, again, other)] == [202] * 3
        assert first.json == again.json != other.json
        assert len(site.store.taken()) == 2


def test_the_same_delivery_to_two_hooks_runs_both() -> None:
    with serving(DEPLOY, replace(DEPLOY, id="other")) as site:
        assert site.post(X_GitHub_Delivery="1").json != site.post("other", X_GitHub_Delivery="1").json


def test_without_a_delivery_id_the_same_body_counts_each_time() -> None:
    with serving() as site:
        assert site.post().json != site.post().json


def test_a_client_that_asks_whether_to_continue_is_told_so(site: Site) -> None:
    whole = request(body=b'{"x": 1}', Expect="100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")

    with site.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        told = connection.recv(100)
        connection.sendall(body)
        answer = heard(connection)

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.status == 202
    assert site.post("deploy", b"x" * 300_000, Expect="100-continue").status == 413
    assert site.post(Expect="more").status == 417


def test_many_clients_at_once_are_all_answered() -> None:
    with serving(rate_limit_per_minute=10_000) as site, ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda n: site.post("deploy", b'{"n": %d}' % n), range(400)))

        assert {answer.status for answer in answers} == {202}
        assert len({answer.json["id"] for answer in answers}) == 400
        assert sorted(payload["n"] for _, payload in site.store.taken()) == list(range(400))  # type: ignore[index]


# ── the order of the checks ──


FULL = replace(DEPLOY, id="full")
# What a request does wrong, from the first check to the last. A request that does several things wrong gets the first answer.
WRONGS: list[tuple[int, dict[str, object]]] = [
    (404, {"path": "/hook/deploy"}),
    (405, {"method": "PUT"}),
    (429, {"id": "full"}),
    (411, {"Content_Length": ""}),
    (413, {"Content_Length": "300000"}),
    (415, {"Content_Type": "text/plain"}),
    (401, {"token": "wrong"}),
    (403, {"id": "off"}),
    (400, {"body": b"[]"}),
]


def wrong_request(wrongs: dict[str, object]) -> bytes:
    plain = {name: value for name, value in wrongs.items() if name not in ("path", "method")}
    whole = request(**plain)  # type: ignore[arg-type]
    if "method" in wrongs:
        whole = whole.replace(b"POST", str(wrongs["method"]).encode(), 1)
    if "path" in wrongs:
        whole = re.sub(rb"/hooks/\w+", str(wrongs["path"]).encode(), whole, count=1)
    return whole


@pytest.fixture(scope="module")
def ordered() -> Iterator[Site]:
    with serving(FULL, DEPLOY, OFF, rate_limit_per_minute=10) as running:
        assert {running.post("full").status for _ in range(10)} == {202}
        yield running


@pytest.mark.parametrize(
    ("first", "second"), [(a, b) for a in range(len(WRONGS)) for b in range(a, len(WRONGS)) if (WRONGS[a][0], WRONGS[b][0]) != (411, 413)]
)
def test_the_first_check_that_fails_answers(ordered: Site, first: int, second: int) -> None:
    both = {**WRONGS[second][1], **WRONGS[first][1]}

    # The order is that of the checks, so each is tried with every later one that fails as well.
    assert ordered.send(wrong_request(both)).status == WRONGS[first][0]


def test_the_page_has_the_same_order() -> None:
    table = PAGE.read_text("utf-8").partition("<!-- checks -->\n")[2].partition("<!-- end -->")[0]

    assert [int(number) for number in re.findall(r"^\| (\d{3}) ", table, re.MULTILINE)] == [*(status for status, _ in WRONGS), 503, 202]


def test_every_answer_is_json_with_a_sentence_and_names_no_program(ordered: Site) -> None:
    for status, wrongs in WRONGS:
        answer = ordered.send(wrong_request(wrongs))

        assert answer.status == status
        assert answer.headers.keys() <= {
            "Date", "Content-Type", "Content-Length", "Connection", "Retry-After", "Allow", "WWW-Authenticate",
        }  # fmt: skip
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Connection"] == "close"
        assert answer.json["error"].endswith(".")
        assert answer.body.endswith(b"\n")


def test_unknown_hooks_and_wrong_credentials_get_the_very_same_answer(site: Site) -> None:
    def told(answer: Heard) -> tuple[int, dict[str, str], bytes]:
        return answer.status, {name: value for name, value in answer.headers.items() if name != "Date"}, answer.body

    answers = [
        told(answer)
        for answer in (
            site.post("nobody"), site.post("nobody", token=TOKEN), site.post("%00%0a%2f"), site.post(token="wrong"), site.post(token=""),
            site.post("off", token="wrong"), site.post("signed"), site.post("signed", X_Sig="00"),
            site.post("deploy", b"no json", token="x"),
        )
    ]  # fmt: skip

    assert answers[0][0] == 401
    assert answers == answers[:1] * len(answers)


@pytest.mark.parametrize("id", ["nobody", "signed", "deploy"])
def test_no_hook_is_betrayed_by_an_answer_before_the_body_came(site: Site, id: str) -> None:
    whole = request(id, token="wrong")

    with site.connect() as connection:
        connection.sendall(whole[:-1])
        early = select.select([connection], [], [], 0.2)[0]
        connection.sendall(whole[-1:])

        assert not early
        assert heard(connection).status == 401


# ── what is wrong ──


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /health\r\n", 400),  # HTTP/0.9
        (b"GET /health HTTP/0.9\r\n\r\n", 505),
        (b"GET /health HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),  # somebody speaks TLS
        (b"GET /health HTTP/1.1\nHost: x\n\n", 400),
        (b"GET  /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA: b\x00\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA: b\rC: d\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\nA: " + b"b" * 16_384 + b"\r\n\r\n", 431),
        (b"GET /" + b"h" * 20_000, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /hooks/ HTTP/1.1\r\n\r\n", 404),
        (b"POST /hooks/a/b HTTP/1.1\r\n\r\n", 404),
        (b"POST /health HTTP/1.1\r\n\r\n", 405),
        (b"GET /hooks/deploy HTTP/1.1\r\n\r\n", 405),
        (request(Transfer_Encoding="chunked", Content_Length=""), 411),
        (request(Transfer_Encoding="chunked"), 411),
        (request(Content_Length="-5"), 400),
        (request(Content_Length="+5"), 400),
        (request(Content_Length="2, 2"), 400),
        (request(Content_Length="\xb2"), 400),
        (request(Content_Length="9" * 400), 400),
        (request(Content_Length="262145"), 413),
        (request(Content_Type=""), 415),
        (request(Content_Type="application/x-www-form-urlencoded"), 415),
        (request(Content_Type="application/json; charset=utf-16"), 415),
        (request(Content_Encoding="gzip"), 415),
        *((request(body=body), 400) for body in (
            b"", b"no", b"[]", b'"x"', b"1", b"null", b'{"a": 1', b"\xff{}", "{}".encode("utf-16"), b"[" * 200_000,
            b'{"a": ' + b"9" * 5000 + b"}",
        )),
    ],
)  # fmt: skip
def test_what_is_not_right_is_refused_and_nothing_stored(data: bytes, status: int) -> None:
    with serving() as site:
        answer = site.send(data)

        assert answer.status == status
        assert site.store.taken() == []
        assert site.post().status == 202


def test_a_megabyte_of_header_and_ten_of_body_are_refused_before_they_are_read(site: Site) -> None:
    def refused(data: bytes) -> int:
        with site.connect() as connection:
            connection.setblocking(False)
            left = memoryview(data)
            until = time.monotonic() + SOON
            while left and time.monotonic() < until:
                readable, writable, _ = select.select([connection], [connection], [], SOON)
                if readable:  # the answer is there, although not all was sent
                    break
                left = left[connection.send(left[:65536]) :] if writable else left
            connection.settimeout(SOON)
            return int(connection.recv(12).split()[1])

    assert refused(b"GET /health HTTP/1.1\r\nA: " + b"b" * 1_000_000) == 431
    assert refused(request(body=b"x" * 10_000_000)) == 413


def test_a_body_that_ends_early_is_refused(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(request(Content_Length="100"))
        connection.shutdown(socket.SHUT_WR)

        assert heard(connection).status == 400


def test_what_follows_the_body_is_not_served() -> None:
    with serving() as site:
        answer = site.send(request(body=b'{"n": 1}') + request(body=b'{"n": 2}'))

        assert answer.status == 202
        assert b"HTTP" not in answer.body
        assert site.store.taken() == [("deploy", {"n": 1})]


SCRAPS = [
    b"GET ", b"/health", b" HTTP/1.1", b"\r\n", b"A: b", b":", b" ", b"Content-Type: a/b; charset=", b"\xff", b"\x85",
    b"Expect: 100-continue", b"\n", b'"', b"*=''", b"*0=", b";",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.lists(st.sampled_from(SCRAPS)).map(b"".join))
def test_any_bytes_are_a_head_or_a_refusal(data: bytes) -> None:
    assert isinstance(parse(data), Head | Answer)
    assert isinstance(parse(b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n"), Head | Answer)


# ── those who take their time ──


def test_a_client_that_drips_is_cut_off_however_it_spreads_its_bytes() -> None:
    with serving(seconds=0.5) as site:
        for whole in (request(X_Long="x" * 5000), request(body=b'{"a": "' + b"x" * 5000 + b'"}')):
            with site.connect() as connection:
                begun = time.monotonic()
                connection.sendall(whole[:-5000])
                while not select.select([connection], [], [], 0.02)[0] and time.monotonic() < begun + SOON:
                    connection.send(b"x")

                assert heard(connection).status == 408
                assert time.monotonic() - begun < 5


def test_a_client_that_says_nothing_is_closed_without_a_word() -> None:
    with serving(seconds=0.2) as site, site.connect() as connection:
        assert connection.recv(10) == b""


@pytest.mark.parametrize("beginning", [b"", b"POST /hooks/deploy HTTP/1.1\r\n", request(Content_Length="200000")])
def test_a_hundred_that_only_wait_hold_up_nobody(beginning: bytes) -> None:
    with serving() as site:
        for _ in range(100):
            site.connect().sendall(beginning)

        begun = time.monotonic()

        assert site.post().status == 202
        assert time.monotonic() - begun < 5  # those who wait have ten seconds


def test_when_too_many_wait_the_one_that_waited_longest_goes() -> None:
    with serving() as site:
        waiting = [site.connect() for _ in range(CONNECTIONS)]
        waiting[0].sendall(request()[:20])

        last = site.connect()
        last.sendall(request())

        assert heard(last).status == 202
        with suppress(ConnectionResetError):
            assert waiting[0].recv(10) == b""
        waiting[-1].sendall(request())
        assert heard(waiting[-1]).status == 202


def test_what_is_held_of_unfinished_requests_is_bounded() -> None:
    with serving() as site:
        unfinished = [site.connect() for _ in range(HELD_BYTES // 262_000 + 2)]
        for connection in unfinished:
            with suppress(ConnectionError):
                connection.sendall(request(body=b"x" * 262_144)[:-100])

        assert site.post().status == 202
        with suppress(ConnectionResetError):
            assert unfinished[0].recv(10) == b""


def test_a_client_that_has_gone_disturbs_nobody(site: Site) -> None:
    for data in (request(), request()[:30], b"nonsense\r\n", request(token="x")):
        connection = site.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # close with a reset
        connection.sendall(data)
        connection.close()

    assert site.post().status == 202


# ── rates ──


def test_a_hook_has_its_number_of_requests_a_minute_and_the_others_have_theirs() -> None:
    with serving(DEPLOY, replace(DEPLOY, id="other"), rate_limit_per_minute=3) as site:
        answers = [site.post() for _ in range(4)]

        assert [answer.status for answer in answers] == [202, 202, 202, 429]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
        assert site.post("other").status == 202


def test_failed_logins_do_not_starve_the_real_sender_at_the_same_address() -> None:
    with serving(rate_limit_per_minute=3) as site:
        strangers = [site.post("nobody" if number % 2 else "deploy", token="guess").status for number in range(3 * FAILED_LOGINS)]

        assert strangers[:FAILED_LOGINS] == [401] * FAILED_LOGINS
        assert set(strangers[FAILED_LOGINS:]) == {429}
        assert [site.post().status for _ in range(3)] == [202, 202, 202]


def test_of_those_who_come_at_the_same_moment_no_more_than_allowed_get_in() -> None:
    with serving(rate_limit_per_minute=10) as site, ThreadPoolExecutor(20) as clients:
        statuses = list(clients.map(lambda _: site.post().status, range(60)))

        assert statuses.count(202) == 10
        assert statuses.count(429) == 50


# ── when something behind it fails ──


class Failing(Store):
    def __init__(self, *hooks: Hook, error: Exception) -> None:
        super().__init__(*hooks)
        self.error = error

    def take(self, hook: Hook, payload: Mapping[str, object], *, key: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database or disk is full"), OSError(28, "No space left on device")])
def test_what_cannot_be_stored_is_not_accepted(error: Exception) -> None:
    with serving(store=Failing(DEPLOY, error=error)) as site:
        answer = site.post()

        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0


def test_a_mistake_of_our_own_costs_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    with serving(store=Failing(DEPLOY, error=ZeroDivisionError("secret detail"))) as site:
        answers = [site.post() for _ in range(2 * WORKERS)]

        assert {answer.status for answer in answers} == {500}
        assert b"secret detail" not in answers[0].body
        assert "ZeroDivisionError" in caplog.text


class Slow(Store):
    def __init__(self, *hooks: Hook) -> None:
        super().__init__(*hooks)
        self.begun: queue.Queue[str] = queue.Queue()
        self.go_on = threading.Event()

    def take(self, hook: Hook, payload: Mapping[str, object], *, key: str) -> int:
        self.begun.put(key)
        assert self.go_on.wait(SOON)
        return super().take(hook, payload, key=key)


def test_when_all_work_and_enough_wait_the_next_is_told_to_come_again() -> None:
    store = Slow(DEPLOY)
    with serving(store=store, max_body_bytes=50_000_000) as site:  # so large that one may wait
        working = [site.connect() for _ in range(WORKERS)]
        for connection in working:
            connection.sendall(request())
            store.begun.get(timeout=SOON)
        waiting = [site.connect() for _ in range(3)]
        for connection in waiting:
            connection.sendall(request())
        refused = select.select(waiting, [], [], SOON)[0]
        answer = heard(refused[0])
        healthy = site.send(b"GET /health HTTP/1.1\r\n\r\n").status
        store.go_on.set()

        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert healthy == 200
        assert {heard(connection).status for connection in working} == {202}


def test_the_stop_answers_what_was_taken_and_frees_the_port() -> None:
    def running() -> int:
        return len([thread for thread in threading.enumerate() if thread.name.startswith("webhook")])

    before = running()
    store = Slow(DEPLOY)
    with serving(store=store) as site:
        under_way, idle = site.connect(), site.connect()
        under_way.sendall(request())
        idle.sendall(b"POST")
        store.begun.get(timeout=SOON)
        stopping = threading.Thread(target=site.server.stop)
        stopping.start()
        assert idle.recv(1) == b""
        store.go_on.set()
        stopping.join(SOON)

        assert heard(under_way).status == 202
        assert running() == before
        with pytest.raises(ConnectionRefusedError):
            site.connect()
        socket.create_server(("127.0.0.1", site.server.port)).close()


# ── the log ──


def test_a_refusal_is_one_line_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as site:
        site.post("a%0Ab%20" + "c" * 100, token="hush-hush")
        site.send(b"GET /hush-hush HTTP/1.1\r\nAuthorization: Bearer hush-hush\r\n\r\n")
        site.post("signed", b'{"hush-hush": 1}', token="hush-hush")

    lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert lines == [
        "webhook refused status=401 hook=a?b?" + "c" * 36 + " remote=127.0.0.1",
        "webhook refused status=404 hook=- remote=127.0.0.1",
        "webhook refused status=401 hook=signed remote=127.0.0.1",
    ]
    assert "hush" not in caplog.text


def test_a_flood_of_refusals_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving() as site:
        for _ in range(100):
            site.post(token="guess")

    refusals = [record for record in caplog.records if "refused" in record.getMessage()]
    assert len(refusals) == 100
    assert len([record for record in refusals if record.levelno >= logging.INFO]) == 60


# ── where it listens ──


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    check_binding(host, "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", "128.0.0.1", ""])
def test_other_machines_need_a_token(host: str) -> None:
    check_binding(host, "token")

    with pytest.raises(DuctorError, match=r"Set a token in config\.toml"):
        check_binding(host, "")


def test_a_port_that_cannot_be_had_is_said_in_a_sentence() -> None:
    with serving() as site:
        for settings_, words in (
            (Webhooks(port=site.server.port), f"Port {site.server.port} on 127.0.0.1 is taken"),
            (Webhooks(host="no-such-host.invalid", port=0), "no-such-host.invalid is not an address of this machine"),
            (Webhooks(host="192.0.2.1", port=0), "192.0.2.1 is not an address of this machine"),
        ):
            with pytest.raises(DuctorError, match=words):
                WebhookServer(settings_, site.store, site.store, token=TOKEN)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_all_addresses_means_both_kinds() -> None:
    store = Store(DEPLOY)
    server = WebhookServer(Webhooks(host="::", port=0), store, store, token=TOKEN)
    server.start()

    assert Site(server, store).post().status == 202
    server.stop()


# ── the examples of the page ──


def shown() -> list[tuple[str, str]]:
    """Every example with curl, and the JSON that the page shows as its answer."""
    blocks = EXAMPLE.findall(PAGE.read_text("utf-8"))
    return [(text, blocks[number + 1][1]) for number, (kind, text) in enumerate(blocks) if kind == "sh" and "curl" in text]


def documented() -> dict[str, Hook]:
    blocks = [json.loads(text) for kind, text in EXAMPLE.findall(PAGE.read_text("utf-8")) if kind == "json"]
    return {raw["id"]: read_hook(raw) for block in blocks for raw in block.get("hooks", [])}


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("openssl"), reason="curl and openssl are needed for the examples")
@pytest.mark.parametrize(("command", "answer"), shown())
def test_an_example_of_the_page_is_answered_as_it_says(command: str, answer: str) -> None:
    with serving(*documented().values()) as site:
        variables = {"PATH": os.environ["PATH"], "URL": f"http://127.0.0.1:{site.server.port}", "TOKEN": TOKEN}
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(shell, env=variables, capture_output=True, text=True, timeout=60, check=True)

        assert json.loads(done.stdout) == json.loads(answer)


def test_the_hooks_of_the_page_are_accepted_and_name_the_known_senders() -> None:
    hooks = documented()

    assert {"deploy", "github", "stripe", "slack"} <= hooks.keys()
    assert [sentence for hook in hooks.values() for sentence in mistakes(hook)] == []
