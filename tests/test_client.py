from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ductor_lib.bot.client import DEFAULT_WAIT, Client, sync_commands
from ductor_lib.bot.failures import Conflict, Rejected, RetryAfter, TelegramError, Unauthorised, Unreachable
from ductor_lib.bot.markup import Entity, Part
from ductor_lib.demo.telegram import LoopbackTelegram
from ductor_lib.messages import Chat

HOME = Chat(42)


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as telegram:
        yield telegram


@pytest.fixture
def client(telegram: LoopbackTelegram) -> Client:
    return Client(telegram.token, telegram.url, patience=5.0)


def test_a_message_arrives_with_its_formatting_and_buttons(telegram: LoopbackTelegram, client: Client) -> None:
    part = Part("gruß 🙂 code", (Entity("code", 8, 4),))
    keyboard = json.dumps({"inline_keyboard": [[{"text": "Stop", "callback_data": "/stop"}]]})

    number = client.send(HOME, part, keyboard=keyboard, silent=True)

    message = telegram.last()
    assert (message.id, message.text, message.silent) == (number, "gruß 🙂 code", True)
    assert [(entity["type"], entity["offset"], entity["length"]) for entity in message.entities] == [("code", 8, 4)]
    assert message.buttons[0][0]["callback_data"] == "/stop"


def test_calls_of_different_threads_go_over_one_connection_when_they_do_not_overlap() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client("1:t", f"http://127.0.0.1:{listener.getsockname()[1]}", patience=5.0)
        server = threading.Thread(target=answer_one_connection, args=(listener,), daemon=True)
        server.start()
        names: list[str] = []

        for _ in range(3):
            caller = threading.Thread(target=lambda: names.append(client.me().username), daemon=True)
            caller.start()
            caller.join(10)

        assert names == ["only_connection"] * 3


def answer_one_connection(listener: socket.socket) -> None:
    """Accept once, and answer every getMe that comes that way."""
    body = json.dumps({"ok": True, "result": {"id": 1, "username": "only_connection"}}).encode()
    connection, _ = listener.accept()
    with connection:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_text_goes_into_the_body_and_not_into_the_address() -> None:
    text = "漢" * 4000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard: list[bytes] = []

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))

        server = threading.Thread(target=listen, daemon=True)
        server.start()
        with pytest.raises(Unreachable):
            Client("1:t", f"http://127.0.0.1:{listener.getsockname()[1]}", patience=2.0).send(HOME, Part(text))
        server.join(5)

    assert heard[0].splitlines()[0] == b"POST /bot1:t/sendMessage HTTP/1.1"


def test_a_message_goes_to_its_topic(telegram: LoopbackTelegram, client: Client) -> None:
    telegram.add_group(-100, topics=[7])

    client.send(Chat(-100, 7), Part("here"))

    assert telegram.last(-100).topic == 7


def test_editing_changes_the_text_and_takes_the_buttons_away(telegram: LoopbackTelegram, client: Client) -> None:
    keyboard = json.dumps({"inline_keyboard": [[{"text": "Stop", "callback_data": "/stop"}]]})
    number = client.send(HOME, Part("one"), keyboard=keyboard)

    client.edit(HOME, number, Part("two"))

    assert (telegram.last().text, telegram.last().buttons) == ("two", ())


def test_an_edit_that_changes_nothing_is_a_success(telegram: LoopbackTelegram, client: Client) -> None:
    number = client.send(HOME, Part("one"))

    client.edit(HOME, number, Part("one"))

    assert telegram.last().edits == 0


def test_deleting_passes_over_what_is_gone(telegram: LoopbackTelegram, client: Client) -> None:
    numbers = [client.send(HOME, Part(str(n))) for n in range(3)]
    client.delete(HOME, numbers[:1])

    client.delete(HOME, numbers)

    assert telegram.messages() == []


def test_a_message_too_old_to_delete_stays_without_its_buttons() -> None:
    today = [1_700_000_000.0]
    with LoopbackTelegram(now=lambda: today[0]) as telegram:
        client = Client(telegram.token, telegram.url)
        keyboard = json.dumps({"inline_keyboard": [[{"text": "Stop", "callback_data": "/stop"}]]})
        number = client.send(HOME, Part("one"), keyboard=keyboard)
        today[0] += 49 * 3600

        client.delete(HOME, [number])

        assert (telegram.last().text, telegram.last().buttons) == ("one", ())


def test_deleting_nothing_calls_nobody(telegram: LoopbackTelegram, client: Client) -> None:
    client.delete(HOME, [])

    assert telegram.calls == []


def test_the_menu_of_commands_is_set(telegram: LoopbackTelegram, client: Client) -> None:
    sync_commands(client, [("new", "Start a fresh session"), ("stop", "Stop the agent")])

    assert [row["command"] for row in next(iter(telegram.commands.values()))] == ["new", "stop"]


def test_a_menu_that_cannot_be_set_is_only_logged(
    telegram: LoopbackTelegram, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.fail("setMyCommands", status=502)

    sync_commands(client, [("new", "Start a fresh session")])

    assert "menu of commands not set" in caplog.text


def test_two_clients_in_one_process_talk_to_their_own_servers(telegram: LoopbackTelegram, client: Client) -> None:
    with LoopbackTelegram(token="777:" + "x" * 35) as other:
        Client(other.token, other.url).send(HOME, Part("other"))
        client.send(HOME, Part("mine"))

        assert (telegram.last().text, other.last().text) == ("mine", "other")
        assert Client(other.token, other.url).me().id == 777


def test_updates_are_raw_and_confirmed_by_the_offset(telegram: LoopbackTelegram, client: Client) -> None:
    telegram.say("one")
    telegram.say("two")

    first = client.updates(None, timeout=1)
    second = client.updates(int(str(first[0]["update_id"])) + 1, timeout=1)

    assert [update["message"]["text"] for update in first] == ["one", "two"]  # type: ignore[index]
    assert len(second) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, "<html>Bad Gateway</html>", Unreachable),
        (200, "<html>captive portal</html>", Unreachable),
        (200, {"result": True}, Unreachable),
        (500, None, Unreachable),
        (404, "<html>no such page</html>", Unreachable),
        (401, None, Unauthorised),
        (404, None, Unauthorised),
        (409, None, Conflict),
        (429, "<html>slow down</html>", RetryAfter),
        (413, "<html>too large</html>", Rejected),
        (400, None, Rejected),
        (403, None, Rejected),
    ],
)
def test_each_answer_becomes_one_kind_of_failure(
    telegram: LoopbackTelegram, client: Client, status: int, body: str | dict[str, object] | None, kind: type[TelegramError]
) -> None:
    telegram.fail("sendMessage", status=status, body=body)

    with pytest.raises(kind):
        client.send(HOME, Part("x"))

    assert client.send(HOME, Part("y"))


def test_retry_after_says_how_long(telegram: LoopbackTelegram, client: Client) -> None:
    telegram.fail("sendMessage", retry_after=17)

    with pytest.raises(RetryAfter) as caught:
        client.send(HOME, Part("x"))

    assert caught.value.seconds == 17


@pytest.mark.parametrize("wait", [None, "soon", -1, 1e300])
def test_a_pause_that_makes_no_sense_is_a_short_one(telegram: LoopbackTelegram, client: Client, wait: object) -> None:
    refusal = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": wait}}
    telegram.fail("sendMessage", status=429, body=refusal)

    with pytest.raises(RetryAfter) as caught:
        client.send(HOME, Part("x"))

    assert caught.value.seconds == DEFAULT_WAIT


def test_a_refused_connection_had_no_effect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(Unreachable) as caught:
        Client("1:t", f"http://127.0.0.1:{port}").send(HOME, Part("x"))

    assert not caught.value.maybe_delivered


@pytest.mark.parametrize("fault", [{"drop": True}, {"drop": True, "after": True}, {"status": 502}])
def test_a_call_without_an_answer_may_have_had_an_effect(
    telegram: LoopbackTelegram, client: Client, fault: dict[str, int]
) -> None:
    telegram.fail("sendMessage", **fault)  # type: ignore[arg-type]

    with pytest.raises(Unreachable) as caught:
        client.send(HOME, Part("x"))

    assert caught.value.maybe_delivered


def test_a_server_that_hangs_is_given_up(telegram: LoopbackTelegram) -> None:
    telegram.fail("sendMessage", hang=30)

    with pytest.raises(Unreachable) as caught:
        Client(telegram.token, telegram.url, patience=0.2).send(HOME, Part("x"))

    assert caught.value.maybe_delivered


def test_a_group_that_moved_says_where(telegram: LoopbackTelegram, client: Client) -> None:
    telegram.fail("sendMessage", status=400, body={
        "ok": False, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": -1009},
    })

    with pytest.raises(Rejected) as caught:
        client.send(HOME, Part("x"))

    assert (caught.value.remedy, caught.value.moved_to) == ("migrate", -1009)


@pytest.mark.parametrize(
    ("code", "description", "remedy"),
    [
        (400, "Bad Request: message is not modified: specified new message content…", "not_modified"),
        (400, "Bad Request: can't parse entities: unsupported start tag", "plain"),
        (400, "Bad Request: ENTITY_BOUNDS_INVALID", "plain"),
        (400, "Bad Request: message is too long", "split"),
        (400, "Bad Request: MESSAGE_TOO_LONG", "split"),
        (413, "request is too large", "split"),
        (400, "Bad Request: message text is empty", "skip"),
        (400, "Bad Request: message to edit not found", "send_new"),
        (400, "Bad Request: message can't be edited", "send_new"),
        (400, "Bad Request: message thread not found", "no_thread"),
        (400, "Bad Request: TOPIC_CLOSED", "no_thread"),
        (400, "Bad Request: chat not found", "dead"),
        (403, "Forbidden: bot was blocked by the user", "dead"),
        (403, "Forbidden: bot was kicked from the group chat", "dead"),
        (400, "Bad Request: query is too old and response timeout expired", "ignore"),
        (400, "Bad Request: reply markup is too long", "last_resort"),
        (400, "Bad Request: BUTTON_DATA_INVALID", "last_resort"),
    ],
)
def test_each_refusal_has_a_remedy(code: int, description: str, remedy: str) -> None:
    assert Rejected(code, description).remedy == remedy


def test_no_failure_and_no_log_line_holds_the_token(caplog: pytest.LogCaptureFixture) -> None:
    token = "99887766:" + "S" * 35
    caplog.set_level(logging.DEBUG)
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with LoopbackTelegram(token=token) as telegram:
        for url in (telegram.url, nobody, "http://no-such-host.invalid", "nonsense://x"):
            for fault in ({"drop": True}, {"status": 502}, {"status": 400, "body": {"ok": False, "description": f"no {token}"}}):
                telegram.fail("sendMessage", **fault)
                with pytest.raises(TelegramError) as caught:
                    Client(token, url, patience=2.0).send(HOME, Part("private words"))
                seen.append(f"{caught.value!r} {caught.value} {caught.value.__cause__!r} {caught.value.__suppress_context__}")

    assert not [text for text in [*seen, caplog.text] if "S" * 35 in text or "private words" in text]
    assert all(text.endswith("None True") for text in seen)


def test_another_text_than_was_meant_is_told(
    telegram: LoopbackTelegram, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    telegram.fail("sendMessage", status=200, body={"ok": True, "result": {"message_id": 5, "text": "Vec"}})

    client.send(HOME, Part("Vec<T>", (Entity("code", 0, 6),)))

    assert "text changed by telegram" in caplog.text
    assert "formatting lost by telegram" in caplog.text


def test_links_that_telegram_finds_by_itself_are_no_difference(
    telegram: LoopbackTelegram, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.send(HOME, Part("see https://example.com and /new", (Entity("bold", 0, 3),)))

    assert "telegram" not in caplog.text


@pytest.fixture(scope="module")
def lasting() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as telegram:
        yield telegram


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).filter(str.strip))
def test_any_text_arrives_as_it_is(lasting: LoopbackTelegram, text: str) -> None:
    client = Client(lasting.token, lasting.url)

    client.send(HOME, Part(text.strip()))

    assert lasting.last().text.strip() == text.strip()
