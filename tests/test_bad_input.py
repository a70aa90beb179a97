"""Odd messages, strangers, broken updates, broken agents: a clear word for the person, nothing lost, and the next message is answered."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ductor_lib.demo.state import Json, Message, person
from tests.fakes import AGENT, OWNER, SOON, Bot, is_running

STRANGER = 666
GROUP = -100
ELSEWHERE = -200
CHANNEL = -1009
ASKED = itertools.count(1)


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with Bot(tmp_path_factory.mktemp("bot"), allowed_group_ids=[GROUP]) as running:
        running.telegram.add_group(GROUP)
        yield running


def turn(bot: Bot, prompt: str, words: str) -> Message:
    """Say it, wait for an answer with these words that was not there before, then see that the bot is well."""
    before = {message.id for message in bot.shown()}
    bot.say(prompt)
    found = bot.telegram.wait(
        lambda _: [m for m in bot.shown() if m.id not in before and words in m.text and not is_running(m)], timeout=SOON, what=words
    )
    check_alive(bot)
    return found[0]


def check_alive(bot: Bot) -> None:
    """The next message is answered."""
    words = f"still well, the {next(ASKED)}. time?"
    bot.say(words)
    bot.wait_for(f"You wrote:\n\n{words}")
    bot.settle()
    assert bot.prompts()[-1] == words


# ── odd messages ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", " ", "\n\t \n", "\u200b", "\u00a0"])
def test_a_message_without_words_harms_nothing(bot: Bot, text: str) -> None:
    push(bot, update("message", text=text))

    check_alive(bot)


ODD = {  # a message, and the prompt that the agent gets
    "as long as it can be": ("x" * 4095 + "y",) * 2,
    "as many emoji as fit": ("👩‍👩‍👧" * 512,) * 2,
    "emoji": ("🦆🦆🦆",) * 2,
    "a flag": ("-p --version",) * 2,
    "dashes": ("--dangerously-skip-permissions",) * 2,
    "a path": ("/etc/passwd says what?", " /etc/passwd says what?"),  # a leading slash would be a command of the CLI
    "a mention": ("@README.md",) * 2,
    "the bot's name": ("@ductor_demo_bot what now", "what now"),
    "control characters": ("a\x00b\x07c\x1b[31md", "abc[31md"),
    "half a character": ("half \ud83d here", "half ? here"),
    "right to left": ("\u202eabc שלום",) * 2,
    "JSON": ('{"type":"user","message":{"role":"user"}}\n{"type":"control_request"}',) * 2,
    "Markdown that never ends": ("```python\n**_[x](" * 40,) * 2,
    "markup": ("<b>&amp;</b> <script>",) * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_message_reaches_the_agent_as_it_was_written(bot: Bot, name: str) -> None:
    said, prompt = ODD[name]
    before = len(bot.prompts())
    shown = len(bot.shown())

    push(bot, update("message", text=said))
    bot.telegram.wait(lambda _: any("You wrote:" in m.text and not is_running(m) for m in bot.shown()[shown:]), timeout=SOON)

    assert bot.prompts()[before:] == [prompt]
    check_alive(bot)


def test_an_answer_of_100_kb_arrives_whole_and_in_order(bot: Bot) -> None:
    count = 11_500
    shown = len(bot.shown())

    bot.say(f"[[scenario:plain n={count} delay=0]] all of it")
    bot.wait_for(f"word{count - 1}")
    bot.settle()

    text = " ".join(message.text for message in bot.shown()[shown:])
    assert len(text) > 100_000
    assert re.findall(r"word\d+", text) == [f"word{k}" for k in range(count)]
    check_alive(bot)


def test_two_people_of_a_group_who_speak_at_once_are_both_answered(tmp_path: Path) -> None:
    with Bot(tmp_path, allowed_user_ids=[OWNER, 43], allowed_group_ids=[GROUP]) as bot:
        for number in range(3):
            bot.say(f"one {number}", chat=GROUP, user=OWNER)
            bot.say(f"two {number}", chat=GROUP, user=43)
        for number in range(3):
            bot.wait_for(f"You wrote:\n\none {number}", chat=GROUP)
            bot.wait_for(f"You wrote:\n\ntwo {number}", chat=GROUP)

        assert bot.prompts() == [f"{who} {number}" for number in range(3) for who in ("one", "two")]


# ── strangers and poison ────────────────────────────────────────────────────────────────────────────────────────────


def update(kind: str, **fields: object) -> Json:
    """An update about a message of the owner in private; `fields` of the message may say something else."""
    message: Json = {"from": person(OWNER), "chat": {"id": OWNER, "type": "private"}, "date": 4_000_000_000, "text": "let me in"}
    return {kind: message | fields}


def push(bot: Bot, raw: Json) -> None:
    """Let Telegram bring this update; its message gets the next free number if it has none."""
    known = [message.id for chat in (OWNER, STRANGER, GROUP, ELSEWHERE, CHANNEL) for message in bot.telegram.messages(chat)]
    numbered = {"message_id": max(known, default=0) + 1}
    bot.telegram.push({kind: numbered | said if isinstance(said, dict) and "chat" in said else said for kind, said in raw.items()})


def pressed(user: int, chat: int) -> Json:
    return {"callback_query": {
        "id": "1", "from": person(user), "data": "/status", "chat_instance": "1",
        "message": {"message_id": 1, "date": 1, "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup"}, "text": "x"},
    }}  # fmt: skip


SUPERGROUP: Json = {"id": GROUP, "type": "supergroup", "title": "ours"}
OTHER: Json = {"id": ELSEWHERE, "type": "supergroup", "title": "another"}
BROADCAST: Json = {"id": CHANNEL, "type": "channel", "title": "news"}
STRANGERS: dict[str, Json] = {
    "a message": update("message", **{"from": person(STRANGER), "chat": {"id": STRANGER, "type": "private"}}),
    "a message in our group": update("message", **{"from": person(STRANGER), "chat": SUPERGROUP}),
    "the owner in another group": update("message", chat=OTHER),
    "an edit": update("edited_message", **{"from": person(STRANGER), "chat": {"id": STRANGER, "type": "private"}, "edit_date": 1}),
    "a press": pressed(STRANGER, STRANGER),
    "a press in our group": pressed(STRANGER, GROUP),
    "a press of the owner in another group": pressed(OWNER, ELSEWHERE),
    "a channel post": update("channel_post", chat=BROADCAST, sender_chat=BROADCAST),
    "an edited channel post": update("edited_channel_post", chat=BROADCAST, sender_chat=BROADCAST),
    "a post of a channel in our group": update("message", chat=SUPERGROUP, sender_chat=BROADCAST),
    "an anonymous admin": update("message", **{"from": person(1087968824), "chat": SUPERGROUP, "sender_chat": SUPERGROUP}),
    "a bot": update("message", **{"from": person(OWNER) | {"is_bot": True}, "chat": SUPERGROUP}),
    "nobody": {"message": {"date": 1, "chat": SUPERGROUP, "text": "let me in"}},
    "a membership": {"my_chat_member": {
        "chat": OTHER, "from": person(STRANGER), "date": 1,
        "old_chat_member": {"status": "left", "user": person(1)}, "new_chat_member": {"status": "member", "user": person(1)},
    }},
    "an inline query": {"inline_query": {"id": "1", "from": person(STRANGER), "query": "let me in", "offset": ""}},
    "a business message": update("business_message"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_not_heard_whatever_kind_of_update_it_is(bot: Bot, name: str) -> None:
    before = len(bot.prompts())
    places = (STRANGER, GROUP, ELSEWHERE, CHANNEL)
    shown = [len(bot.shown(chat)) for chat in places]

    push(bot, STRANGERS[name])
    check_alive(bot)

    assert len(bot.prompts()) == before + 1
    assert [len(bot.shown(chat)) for chat in places] == shown


POISON: tuple[Json, ...] = (
    {},
    {"message": None},
    {"message": []},
    {"message": {"chat": {"id": OWNER, "type": "private"}, "from": person(OWNER)}},
    update("message", text=17),
    update("message", chat={"id": "42", "type": "private"}),
    update("edited_message", message_id=2**70),
    update("message", date="today"),
    update("message", reply_to_message="no"),
    {"callback_query": {"id": 5, "from": person(OWNER), "data": None, "message": {"chat": {"id": OWNER}}}},
)


def test_poison_in_a_batch_is_kept_aside_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    bot = Bot(tmp_path)
    bot.say("first")
    for number, poison in enumerate(POISON):
        push(bot, poison)
        bot.say(f"after poison {number}")
    with bot:
        bot.wait_for(f"after poison {len(POISON) - 1}")
        bot.settle()

        assert bot.prompts() == ["first", *(f"after poison {number}" for number in range(len(POISON)))]
        check_alive(bot)


# ── broken agents ───────────────────────────────────────────────────────────────────────────────────────────────────

TROUBLE = {  # a prompt, and the words that tell the person
    "crashes before its first event": ("[[scenario:crash]] a", "Claude Code ended unexpectedly"),
    "crashes after some words": ("[[scenario:crash-late]] b", "Claude Code ended unexpectedly"),
    "is killed": ("[[scenario:crash signal=9]] c", "Claude Code was killed from outside"),
    "hangs": ("[[scenario:hang]] d", "Claude Code said nothing for too long"),
    "hangs and ignores signals": ("[[scenario:hang hard=1]] e", "Claude Code said nothing for too long"),
    "is not signed in": ("[[scenario:error401]] f", "Claude Code is not signed in"),
    "is at its limit": ("[[scenario:error429]] g", "usage limit"),
    "is overloaded": ("[[scenario:overloaded]] h", "overloaded"),
    "has a full context": ("[[scenario:error400]] i", "/new"),
    "emits garbage": ("[[scenario:garbage]] j", "word7"),
    "emits a line of 10 MB": ("[[scenario:bigline mb=10]] k", "word7"),
    "emits 50 MB": ("[[scenario:flood mb=50]] l", "word7"),
    "ends without a text": ("[[scenario:empty]] m", "Only a block."),
    "takes too long": ("[[scenario:slow secs=60 delay=0.3]] n", "took longer than allowed"),
}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with Bot(tmp_path_factory.mktemp("hasty"), cli_timeout=6, agents={"silence_timeout": 1}) as running:
        yield running


@pytest.mark.parametrize("name", TROUBLE)
def test_an_agent_in_trouble_is_named_and_the_next_message_is_answered(hasty: Bot, name: str) -> None:
    prompt, words = TROUBLE[name]

    said = turn(hasty, prompt, words)

    assert not said.buttons
    assert "Traceback" not in said.text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("/nonexistent/claude",), "Claude Code is not installed: npm install"),
        (("/etc/passwd",), "Claude Code is not installed"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "Claude Code ended unexpectedly"),
        ((sys.executable, "-c", "print('Hello! Not JSON at all.')"), "Claude Code ended unexpectedly"),
    ],
    ids=["missing", "not a program", "ends at once", "something else"],
)  # fmt: skip
def test_a_cli_that_cannot_work_is_named_and_all_is_well_when_it_can(command: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with Bot(tmp_path, command=command) as broken:
        broken.say("hello")
        assert not broken.wait_for(words).buttons
        telegram = broken.telegram

        broken.say("/status")
        broken.wait_for("Claude Code")
        broken.settle()
        broken.app.__exit__(None, None, None)

        with Bot(tmp_path, command=AGENT, telegram=telegram) as mended:
            check_alive(mended)
