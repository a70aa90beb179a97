"""The loopback Telegram over real HTTP: what a bot sees of it, and what a test sees of the bot."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from ductor_lib.demo.state import Change
from ductor_lib.demo.telegram import LoopbackTelegram

GROUP = -100


class Bot:
    """Calls the Bot API as a bot would; one connection."""

    def __init__(self, telegram: LoopbackTelegram) -> None:
        self.telegram = telegram
        self.session = requests.Session()

    def answer(self, method: str, **params: object) -> tuple[int, Any]:
        data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()}
        response = self.session.post(f"{self.telegram.url}/bot{self.telegram.token}/{method}", data=data, timeout=20)
        return response.status_code, response.json()

    def call(self, method: str, **params: object) -> Any:
        status, body = self.answer(method, **params)
        assert status == 200, body
        return body["result"]

    def refused(self, method: str, **params: object) -> str:
        status, body = self.answer(method, **params)
        assert status == body["error_code"] != 200
        return str(body["description"])


@pytest.fixture
def telegram() -> Iterator[LoopbackTelegram]:
    with LoopbackTelegram() as running:
        yield running


@pytest.fixture
def bot(telegram: LoopbackTelegram) -> Iterator[Bot]:
    bot = Bot(telegram)
    with bot.session:
        yield bot


def keyboard(*labels: str) -> dict[str, object]:
    return {"inline_keyboard": [[{"text": label, "callback_data": f"/{label}"} for label in labels]]}


# the wire


def test_parameters_come_from_the_address_a_form_json_or_multipart(telegram: LoopbackTelegram, bot: Bot) -> None:
    url = f"{telegram.url}/bot{telegram.token}/sendMessage"
    params: dict[str, Any] = {"chat_id": 42, "text": "é 👍"}

    bot.session.get(url, params=params, timeout=5)
    bot.session.post(url, data=params, timeout=5)
    bot.session.post(url, json=params | {"reply_markup": keyboard("a")}, timeout=5)
    bot.session.post(url, data=params, files={"unused": b"x"}, timeout=5)

    assert [message.text for message in telegram.messages()] == ["é 👍"] * 4
    assert [call.status for call in telegram.calls] == [200] * 4
    assert telegram.messages()[2].buttons[0][0]["text"] == "a"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("/bot1:x/getMe", 401, "Unauthorized"), ("/nowhere", 404, "Not Found"),
     ("/bot{token}/sendRichMessage", 404, "Not Found: method not found")],
)
def test_a_wrong_address_is_told_as_telegram_tells_it(bot: Bot, path: str, status: int, words: str) -> None:
    response = bot.session.post(bot.telegram.url + path.format(token=bot.telegram.token), timeout=5)

    assert (response.status_code, response.json()) == (status, {"ok": False, "error_code": status, "description": words})


def test_method_names_are_read_without_case(bot: Bot) -> None:
    assert bot.call("GETME")["is_bot"] is True
    assert bot.telegram.calls[0].method == "getMe"


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b'{"chat_id": 42, "text": "\\ud83d"}', "application/json"), (b"chat_id=42&text=%ff", "application/x-www-form-urlencoded"),
     (b"[1]", "application/json"), (b"{", "application/json"), (b"x", "multipart/form-data"), (b"\xff", "")],
)
def test_a_body_that_cannot_be_read_is_refused(bot: Bot, body: bytes, kind: str) -> None:
    url = f"{bot.telegram.url}/bot{bot.telegram.token}/sendMessage"

    response = bot.session.post(url, data=body, headers={"Content-Type": kind}, timeout=5)

    assert response.status_code == 400
    assert bot.call("getMe")


def test_an_answer_is_not_held_back_by_delayed_packets(bot: Bot) -> None:
    bot.call("getMe")
    started = time.perf_counter()

    for _ in range(50):
        bot.call("sendMessage", chat_id=42, text="x")

    assert time.perf_counter() - started < 50 * 0.02  # a wait for a delayed packet would be 0.04 each


def test_closing_ends_a_hanging_poll_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool:
        with LoopbackTelegram() as telegram:
            bot = Bot(telegram)
            poll = pool.submit(bot.answer, "getUpdates", timeout=50)
            telegram.wait(lambda t: t.calls, what="the poll")
            started = time.monotonic()
        assert time.monotonic() - started < 5
        with pytest.raises(requests.ConnectionError):
            poll.result(10)
        bot.session.close()
    assert set(threading.enumerate()) == before


# updates


def test_updates_come_again_until_the_offset_passes_them(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.say("one")
    telegram.say("two")

    first = bot.call("getUpdates")
    again = bot.call("getUpdates")
    rest = bot.call("getUpdates", offset=first[0]["update_id"] + 1)

    assert first == again
    assert [update["message"]["text"] for update in first] == ["one", "two"]
    assert rest == first[1:]
    assert bot.call("getUpdates") == rest, "the first one must be forgotten"


def test_limit_and_negative_offset(telegram: LoopbackTelegram, bot: Bot) -> None:
    for text in "abcd":
        telegram.say(text)

    assert [update["message"]["text"] for update in bot.call("getUpdates", limit=2)] == ["a", "b"]
    assert [update["message"]["text"] for update in bot.call("getUpdates", offset=-1)] == ["d"]
    assert len(bot.call("getUpdates")) == 1


def test_a_long_poll_is_answered_as_soon_as_somebody_writes(telegram: LoopbackTelegram, bot: Bot) -> None:
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(bot.call, "getUpdates", timeout=30)
        telegram.wait(lambda t: t.calls, what="the poll")

        telegram.say("hello")

        assert poll.result(5)[0]["message"]["text"] == "hello"


def test_a_newer_poll_ends_the_older_one_with_a_conflict(telegram: LoopbackTelegram, bot: Bot) -> None:
    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(bot.answer, "getUpdates", timeout=30)
        telegram.wait(lambda t: t.calls, what="the poll")

        with requests.Session() as other:
            newer = other.get(f"{telegram.url}/bot{telegram.token}/getUpdates", timeout=5)

        status, body = older.result(5)
        assert (status, newer.status_code) == (409, 200)
        assert "terminated by other getUpdates request" in body["description"]


def test_no_poll_while_a_webhook_is_set(bot: Bot) -> None:
    bot.call("setWebhook", url="https://example.org/hook")

    assert "webhook is active" in bot.refused("getUpdates")
    assert bot.call("getWebhookInfo")["url"] == "https://example.org/hook"
    bot.call("deleteWebhook")
    assert bot.call("getUpdates") == []


def test_only_the_kinds_asked_for_come_but_pushed_ones_always(telegram: LoopbackTelegram, bot: Bot) -> None:
    bot.call("getUpdates", allowed_updates=["callback_query"])

    telegram.say("not asked for")
    number = telegram.push({"message_reaction": {"chat": {"id": 42}}})

    assert [update["update_id"] for update in bot.call("getUpdates")] == [number]


def test_a_pushed_update_may_restart_the_numbers(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.push({"update_id": 7, "message": {"message_id": 900, "chat": {"id": -5, "type": "group"}, "text": "x"}})
    telegram.say("next")

    assert [update["update_id"] for update in bot.call("getUpdates")] == [7, 8]
    assert bot.call("sendMessage", chat_id=-5, text="known now")["message_id"] == 901


def test_a_press_waits_only_150_seconds() -> None:
    clock = [1000.0]
    with LoopbackTelegram(now=lambda: clock[0]) as telegram, Bot(telegram).session as session:
        bot = Bot(telegram)
        bot.session = session
        bot.call("sendMessage", chat_id=42, text="x", reply_markup=keyboard("Go"))
        telegram.press(1, "Go")
        telegram.say("stays")

        clock[0] += 151

        assert [list(update) for update in bot.call("getUpdates")] == [["update_id", "message"]]


def test_a_message_carries_who_where_and_when(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.say("/new@ductor_demo_bot now", user=7, chat=GROUP, topic=5, date=1234.5)
    telegram.say("other", user=7, forward_origin={"type": "hidden_user"})

    first, second = (update["message"] for update in bot.call("getUpdates"))
    assert (first["from"]["id"], first["chat"]["id"], first["chat"]["is_forum"]) == (7, GROUP, True)
    assert (first["message_thread_id"], first["is_topic_message"], first["date"]) == (5, True, 1234)
    assert first["entities"] == [{"type": "bot_command", "offset": 0, "length": 20}]
    assert (second["chat"]["id"], second["chat"]["type"], second["forward_origin"]["type"]) == (7, "private", "hidden_user")


def test_an_edit_of_the_person_is_an_edited_message(telegram: LoopbackTelegram, bot: Bot) -> None:
    message = telegram.say("frist")

    telegram.edit(message, "first")

    assert [update.get("edited_message", {}).get("text") for update in bot.call("getUpdates")] == [None, "first"]
    assert telegram.messages()[0].edits == 1


# sending


def test_a_sent_message_is_shown_and_comes_back_whole(telegram: LoopbackTelegram, bot: Bot) -> None:
    question = telegram.say("question")

    sent = bot.call(
        "sendMessage", chat_id=42, text=" answer ", entities=[{"type": "bold", "offset": 1, "length": 3}],
        reply_parameters={"message_id": question}, disable_notification=True, reply_markup=keyboard("Stop"),
    )

    shown = telegram.last()
    assert sent["text"] == shown.text == "answer"
    assert sent["entities"] == list(shown.entities) == [{"type": "bold", "offset": 0, "length": 3}]
    assert sent["reply_to_message"]["text"] == "question"
    assert (shown.silent, shown.reply_to, shown.sender, shown.edits) == (True, question, "bot", 0)
    assert sent["reply_markup"] == keyboard("Stop")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"chat_id": 1, "text": "x"}, "chat not found"),
        ({"text": "x"}, "chat_id is empty"),
        ({"chat_id": 42}, "message text is empty"),
        ({"chat_id": 42, "text": " \n "}, "text must be non-empty"),
        ({"chat_id": 42, "text": "x" * 4097}, "message is too long"),
        ({"chat_id": 42, "text": "👍" * 2049}, "message is too long"),
        ({"chat_id": 42, "text": "é" * 16385}, "text is too long"),
        ({"chat_id": 42, "text": "x", "message_thread_id": 1}, "message thread not found"),
        ({"chat_id": 42, "text": "x", "message_thread_id": 77}, "message thread not found"),
        ({"chat_id": 42, "text": "x", "entities": [{"type": "bold", "offset": 0, "length": 2}]}, "ends after the end of the text"),
        ({"chat_id": 42, "text": "x", "entities": [{"type": "text_link", "offset": 0, "length": 1, "url": "a/b"}]}, "wrong message entity"),
        ({"chat_id": 42, "text": "x", "entities": "[{"}, "can't parse entities JSON object"),
        ({"chat_id": 42, "text": "x", "reply_parameters": {"message_id": 99}}, "message to be replied not found"),
        ({"chat_id": 42, "text": "x", "parse_mode": "HTML", "reply_markup": {}, "entities": []}, ""),
        ({"chat_id": 42, "text": "<T>x</T>", "parse_mode": "HTML"}, 'unsupported start tag "t"'),
        ({"chat_id": 42, "text": "<b>x", "parse_mode": "HTML"}, "can't find end tag"),
        ({"chat_id": 42, "text": "<b>x</i>", "parse_mode": "HTML"}, "unmatched end tag"),
        ({"chat_id": 42, "text": "1 < 2", "parse_mode": "HTML"}, "can't parse entities"),
    ],
)
def test_telegram_refuses_in_its_own_words(bot: Bot, params: dict[str, object], words: str) -> None:
    status, body = bot.answer("sendMessage", **params)

    assert (status == 200) == (words == "")
    assert words in body.get("description", "")
    assert len(bot.telegram.messages()) == (words == "")


@pytest.mark.parametrize(
    ("button", "words"),
    [
        ({"text": "x", "callback_data": "y" * 65}, "BUTTON_DATA_INVALID"),
        ({"text": "x", "callback_data": ""}, "BUTTON_DATA_INVALID"),
        ({"text": "x", "callback_data": "é" * 33}, "BUTTON_DATA_INVALID"),
        ({"text": "x"}, "text buttons are unallowed"),
        ({"text": "", "callback_data": "y"}, "non-empty"),
        ({"text": "x", "callback_data": "y", "url": "https://a.b"}, "exactly one action"),
        ({"text": "x", "url": "nothing"}, "BUTTON_URL_INVALID"),
        ({"text": "x", "copy_text": {"text": "y" * 257}}, "BUTTON_COPY_TEXT_INVALID"),
        ({"text": "x", "callback_data": "y", "style": "pink"}, "invalid button style"),
    ],
)
def test_a_wrong_button_refuses_the_message(bot: Bot, button: dict[str, object], words: str) -> None:
    assert words in bot.refused("sendMessage", chat_id=42, text="x", reply_markup={"inline_keyboard": [[button]]})


def test_a_keyboard_has_eight_in_a_row_and_a_hundred_in_all(bot: Bot) -> None:
    one = {"text": "x", "callback_data": "y"}

    bot.call("sendMessage", chat_id=42, text="x", reply_markup={"inline_keyboard": [[one] * 8] * 12})

    for rows in ([[one] * 9], [[one]] * 101):
        assert "reply markup is too long" in bot.refused("sendMessage", chat_id=42, text="x", reply_markup={"inline_keyboard": rows})


def test_html_becomes_entities_and_a_wrong_address_loses_only_the_link(bot: Bot) -> None:
    html = '<b>bold</b> &lt;T&gt; <a href="src/a.py">no</a> <a href="https://a.org">yes</a> <pre><code class="language-py">x</code></pre>'

    sent = bot.call("sendMessage", chat_id=42, text=html, parse_mode="HTML")

    assert sent["text"] == "bold <T> no yes x"
    assert sent["entities"] == [
        {"type": "bold", "offset": 0, "length": 4}, {"type": "text_link", "url": "https://a.org/", "offset": 12, "length": 3},
        {"type": "pre", "language": "py", "offset": 16, "length": 1},
    ]


def test_a_topic_of_a_forum_is_known_once_added(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.add_group(GROUP, topics=[5])

    sent = bot.call("sendMessage", chat_id=GROUP, message_thread_id=5, text="in the topic")
    bot.call("sendMessage", chat_id=GROUP, text="in General")

    assert (sent["message_thread_id"], sent["is_topic_message"], sent["chat"]["is_forum"]) == (5, True, True)
    assert [message.text for message in telegram.messages(GROUP, 5)] == ["in the topic"]
    assert telegram.last(GROUP).text == "in General"


def test_a_reply_may_go_without_the_message_and_a_quote_must_be_in_it(telegram: LoopbackTelegram, bot: Bot) -> None:
    message = telegram.say("the question")

    sent = bot.call("sendMessage", chat_id=42, text="x", reply_parameters={"message_id": 99, "allow_sending_without_reply": True})

    assert "reply_to_message" not in sent
    quoting = {"message_id": message, "quote": "an answer"}
    assert "QUOTE_TEXT_INVALID" in bot.refused("sendMessage", chat_id=42, text="x", reply_parameters=quoting)


# changing


def test_an_edit_replaces_text_and_takes_the_buttons_away(telegram: LoopbackTelegram, bot: Bot) -> None:
    sent = bot.call("sendMessage", chat_id=42, text="one", reply_markup=keyboard("Stop"))

    edited = bot.call("editMessageText", chat_id=42, message_id=sent["message_id"], text="two")

    assert edited["edit_date"] >= sent["date"]
    assert (telegram.last().text, telegram.last().buttons, telegram.last().edits) == ("two", (), 1)


def test_an_edit_that_changes_nothing_is_refused(bot: Bot) -> None:
    bold = [{"type": "bold", "offset": 0, "length": 1}]
    same = {"chat_id": 42, "text": "x", "entities": bold, "reply_markup": keyboard("a")}
    bot.call("sendMessage", **same)

    assert "message is not modified" in bot.refused("editMessageText", message_id=1, **same)
    bot.call("editMessageText", message_id=1, **same | {"entities": []})
    bot.call("editMessageReplyMarkup", message_id=1, chat_id=42)
    assert "message is not modified" in bot.refused("editMessageReplyMarkup", message_id=1, chat_id=42)


def test_what_cannot_be_edited_or_deleted_says_so(telegram: LoopbackTelegram, bot: Bot) -> None:
    mine = telegram.say("mine")
    in_group = telegram.say("mine", chat=GROUP)

    assert "message to edit not found" in bot.refused("editMessageText", chat_id=42, message_id=99, text="x")
    assert "message can't be edited" in bot.refused("editMessageText", chat_id=42, message_id=mine, text="x")
    assert "message to delete not found" in bot.refused("deleteMessage", chat_id=42, message_id=99)
    assert "message can't be deleted" in bot.refused("deleteMessage", chat_id=GROUP, message_id=in_group)


def test_deleted_messages_are_gone(telegram: LoopbackTelegram, bot: Bot) -> None:
    ids = [bot.call("sendMessage", chat_id=42, text=text)["message_id"] for text in "abc"]

    bot.call("deleteMessage", chat_id=42, message_id=ids[0])
    bot.call("deleteMessages", chat_id=42, message_ids=[ids[2], 99])

    assert [message.text for message in telegram.messages()] == ["b"]


def test_messages_older_than_two_days_stay() -> None:
    clock = [1000.0]
    with LoopbackTelegram(now=lambda: clock[0]) as telegram:
        bot = Bot(telegram)
        with bot.session:
            bot.call("sendMessage", chat_id=42, text="x")
            clock[0] += 49 * 3600
            assert "message can't be deleted" in bot.refused("deleteMessage", chat_id=42, message_id=1)
            bot.call("editMessageText", chat_id=42, message_id=1, text="y")


# presses, commands, the rest


def test_a_press_reaches_the_bot_and_is_answered_once(telegram: LoopbackTelegram, bot: Bot) -> None:
    bot.call("sendMessage", chat_id=42, text="x", reply_markup=keyboard("Yes", "No"))

    callback = telegram.press(telegram.last().id, "No")

    query = bot.call("getUpdates")[0]["callback_query"]
    assert (query["id"], query["data"], query["from"]["id"], query["message"]["text"]) == (callback, "/No", 42, "x")
    bot.call("answerCallbackQuery", callback_query_id=callback, text="ok")
    assert telegram.answered == {callback: "ok"}
    for stale in (callback, "never"):
        assert "query is too old" in bot.refused("answerCallbackQuery", callback_query_id=stale)


def test_pressing_what_is_not_there_fails_the_test(telegram: LoopbackTelegram, bot: Bot) -> None:
    copying = {"inline_keyboard": [[{"text": "Copy", "copy_text": {"text": "x"}}]]}
    bot.call("sendMessage", chat_id=42, text="x", reply_markup=copying)

    for label in ("Copy", "Stop"):
        with pytest.raises(AssertionError, match="no button"):
            telegram.press(1, label)
    with pytest.raises(AssertionError, match="no message"):
        telegram.press(9, "Stop")


def test_commands_are_kept_by_scope(telegram: LoopbackTelegram, bot: Bot) -> None:
    new = [{"command": "new", "description": "Start a fresh session"}]

    bot.call("setMyCommands", commands=new)
    bot.call("setMyCommands", commands=[], scope={"type": "all_private_chats"}, language_code="de")

    assert telegram.commands == {'{"type": "default"}': new, '{"language_code": "de", "type": "all_private_chats"}': []}
    assert bot.call("getMyCommands") == new
    bot.call("deleteMyCommands")
    assert bot.call("getMyCommands") == []
    assert "BOT_COMMAND_INVALID" in bot.refused("setMyCommands", commands=[{"command": "New", "description": "x"}])


def test_files_travel_both_ways(telegram: LoopbackTelegram, bot: Bot) -> None:
    content = bytes(range(256)) * 40 + b"\r\n--"
    telegram.say("look", document=telegram.add_file(content, "a.bin"))

    message = bot.call("getUpdates")[0]["message"]
    path = bot.call("getFile", file_id=message["document"]["file_id"])["file_path"]
    fetched = bot.session.get(f"{telegram.url}/file/bot{telegram.token}/{path}", timeout=5).content
    sent = bot.session.post(
        f"{telegram.url}/bot{telegram.token}/sendDocument", data={"chat_id": 42, "caption": "back"},
        files={"document": ("ü b.bin", content)}, timeout=5,
    ).json()["result"]

    assert fetched == content
    assert message["caption"] == "look"
    assert (sent["document"]["file_name"], sent["document"]["file_size"], sent["caption"]) == ("ü b.bin", len(content), "back")
    assert "there is no text in the message to edit" in bot.refused("editMessageText", chat_id=42, message_id=sent["message_id"], text="x")
    assert "caption is too long" in bot.refused("sendPhoto", chat_id=42, caption="x" * 1025)
    assert bot.session.get(f"{telegram.url}/file/bot{telegram.token}/nothing", timeout=5).status_code == 404


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0"


@pytest.mark.parametrize(
    ("method", "content", "complaint"),
    [
        ("sendPhoto", b"no picture", "IMAGE_PROCESS_FAILED"),
        ("sendPhoto", png(9000, 1001), "PHOTO_INVALID_DIMENSIONS"),
        ("sendPhoto", png(2001, 100), "PHOTO_INVALID_DIMENSIONS"),
        ("sendPhoto", png(2000, 100) + bytes(10_000_000), "file is too big"),
        ("sendDocument", bytes(50_000_001), "file is too big"),
        ("sendDocument", bytes(53_000_000), "Request Entity Too Large"),
        ("sendDocument", b"", "file must be non-empty"),
    ],
)
def test_a_file_that_telegram_would_not_take_is_refused(
    telegram: LoopbackTelegram, bot: Bot, method: str, content: bytes, complaint: str
) -> None:
    field = method.removeprefix("send").lower()
    address = f"{telegram.url}/bot{telegram.token}/{method}"

    answer = bot.session.post(address, data={"chat_id": 42}, files={field: ("a", content)}, timeout=20)

    assert complaint in answer.json()["description"]


def test_a_draft_lives_in_a_private_chat_until_a_message_comes(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.add_group(GROUP)

    bot.call("sendMessageDraft", chat_id=42, draft_id=3, text="thin")
    assert telegram.drafts == {(42, None, 3): "thin"}
    bot.call("sendMessage", chat_id=42, text="thing")

    assert telegram.drafts == {}
    assert "TEXTDRAFT_PEER_INVALID" in bot.refused("sendMessageDraft", chat_id=GROUP, draft_id=3, text="x")


def test_reactions_and_chat_actions(telegram: LoopbackTelegram, bot: Bot) -> None:
    message = telegram.say("x")

    bot.call("sendChatAction", chat_id=42, action="typing")
    bot.call("setMessageReaction", chat_id=42, message_id=message, reaction=[{"type": "emoji", "emoji": "👀"}])

    assert telegram.reactions == {(42, message): "👀"}
    wrong = [{"type": "emoji", "emoji": "x"}]
    assert "REACTION_INVALID" in bot.refused("setMessageReaction", chat_id=42, message_id=message, reaction=wrong)
    assert "wrong parameter action" in bot.refused("sendChatAction", chat_id=42, action="dancing")
    bot.call("setMessageReaction", chat_id=42, message_id=message, reaction=[])
    assert telegram.reactions == {}


# trouble


def test_scripted_failures_come_in_their_order_and_then_end(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.fail("sendMessage", retry_after=3)
    telegram.fail("sendMessage", status=400, body={"strange": 1})
    telegram.fail("sendMessage", status=502, times=2)

    answers = [bot.answer("sendMessage", chat_id=42, text="x") for _ in range(5)]

    assert [status for status, _ in answers] == [429, 400, 502, 502, 200]
    assert answers[0][1]["parameters"] == {"retry_after": 3}
    assert answers[1][1] == {"strange": 1}
    assert len(telegram.messages()) == 1
    assert [call.status for call in telegram.calls] == [429, 400, 502, 502, 200]


def test_a_raw_body_is_sent_as_it_is(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.fail("getMe", status=503, body="<html>busy</html>")

    response = bot.session.get(f"{telegram.url}/bot{telegram.token}/getMe", timeout=5)

    assert (response.status_code, response.text, response.headers["Content-Type"]) == (503, "<html>busy</html>", "text/html")


def test_a_dropped_answer_may_leave_its_effect(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.fail("sendMessage", drop=True)
    telegram.fail("sendMessage", drop=True, after=True)

    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            bot.answer("sendMessage", chat_id=42, text="x")

    assert len(telegram.messages()) == 1
    assert [call.status for call in telegram.calls] == [0, 0]


def test_a_hanging_call_is_seen_while_it_hangs(telegram: LoopbackTelegram, bot: Bot) -> None:
    telegram.fail("sendMessage", hang=60, after=True)

    with pytest.raises(requests.ReadTimeout):
        bot.session.get(f"{telegram.url}/bot{telegram.token}/sendMessage", params={"chat_id": "42", "text": "x"}, timeout=0.1)

    assert (telegram.calls[0].status, telegram.last().text) == (0, "x")


def test_strict_rates_answer_429_like_the_guidance() -> None:
    clock = [1000.0]
    with LoopbackTelegram(now=lambda: clock[0], strict_rates=True) as telegram:
        telegram.add_group(GROUP)
        bot = Bot(telegram)
        with bot.session:
            for _ in range(20):
                clock[0] += 0.5
                bot.call("sendMessage", chat_id=GROUP, text="x")
            status, body = bot.answer("editMessageText", chat_id=GROUP, message_id=1, text="y")
            assert (status, body["parameters"]["retry_after"]) == (429, 51)
            clock[0] += 51
            bot.call("editMessageText", chat_id=GROUP, message_id=1, text="y")

            burst = [bot.answer("sendMessage", chat_id=42, text="x")[0] for _ in range(7)]
            assert burst == [200] * 6 + [429]


# watching


def test_wait_returns_what_the_predicate_found(telegram: LoopbackTelegram, bot: Bot) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(telegram.wait, lambda t: [message for message in t.messages() if message.text == "there"])

        bot.call("sendMessage", chat_id=42, text="there")

        assert [message.text for message in found.result(5)] == ["there"]


def test_wait_shows_the_chat_when_the_time_is_over(telegram: LoopbackTelegram, bot: Bot) -> None:
    bot.call("sendMessage", chat_id=42, text="something else", reply_markup=keyboard("Stop"))

    with pytest.raises(AssertionError) as error:
        telegram.wait(lambda t: False, timeout=0.01, what="the answer")

    for words in ("the answer", "something else", "[Stop]", "200 sendMessage"):
        assert words in str(error.value)


def test_changes_tell_what_happens_until_they_are_stopped(telegram: LoopbackTelegram, bot: Bot) -> None:
    stopping = threading.Event()
    telegram.say("before")
    changes = telegram.changes(stopping)

    telegram.say("hi")
    bot.call("sendMessage", chat_id=42, text="one", reply_markup=keyboard("Go"))
    telegram.press(3, "Go")
    bot.call("editMessageText", chat_id=42, message_id=3, text="two")
    bot.call("deleteMessage", chat_id=42, message_id=3)

    seen: list[Change] = [next(changes) for _ in range(5)]
    assert [(change.kind, change.message.text) for change in seen] == [
        ("new", "hi"), ("new", "one"), ("press", "one"), ("edit", "two"), ("delete", "two"),
    ]
    stopping.set()
    assert list(changes) == []


def test_many_threads_get_each_their_own_answer(telegram: LoopbackTelegram) -> None:
    def talk(number: int) -> list[str]:
        bot = Bot(telegram)
        with bot.session:
            return [bot.call("sendMessage", chat_id=42, text=f"{number}-{turn}")["text"] for turn in range(10)]

    with ThreadPoolExecutor(8) as pool:
        talks = list(pool.map(talk, range(8)))

    assert talks == [[f"{number}-{turn}" for turn in range(10)] for number in range(8)]
    assert [message.id for message in telegram.messages()] == list(range(1, 81))
