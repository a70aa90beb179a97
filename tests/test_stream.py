from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ductor_lib.bot.markup import Entity, Part, units
from ductor_lib.bot.parts import blank
from ductor_lib.bot.preview import Draft, Preview
from ductor_lib.bot.stream import StreamView, StreamViews, elapsed, sentence_end
from ductor_lib.config_keys import Streaming
from ductor_lib.events import Event, Finished, Recovering, Started, Status, Text, Thinking, Tool, ToolDone
from ductor_lib.messages import Button, Chat

CHAT = Chat(42)
FINISHED = Finished("done", "s", "done")


@dataclass
class Display:
    """A screen that counts, with a clock that is set by hand."""

    seconds: float = 0.0
    shown: list[Preview] = field(default_factory=list)

    def show(self, preview: Preview) -> None:
        self.shown.append(preview)

    def tell(self, chat: Chat, text: str) -> None:
        raise AssertionError("a turn is shown, not told")

    def now(self) -> float:
        return self.seconds

    def open(self, streaming: Streaming | None = None) -> StreamView:
        return StreamViews(self, streaming or Streaming(), now=self.now).open(CHAT, "turn", model="opus", turn=7)


@pytest.fixture
def display() -> Display:
    return Display()


def tell(view: StreamView, *events: Event) -> Draft:
    for event in events:
        view.show(event)
    return view.draw()


def texts(draft: Draft) -> list[str]:
    return [part.text for part in draft.parts]


def test_a_new_view_shows_its_status_and_a_stop_button(display: Display) -> None:
    view = display.open()

    draft = view.draw()

    assert texts(draft) == ["⏳ opus · 0 s · starting"]
    assert draft.buttons == ((Button("⏹ Stop", command="/interrupt 7"),),)
    assert (view.chat, view.slot) == (CHAT, "turn")


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([Started("s", "full-name")], "⏳ opus · 75 s"),
        ([Started("s", "m"), Thinking("hm")], "⏳ opus · 75 s · thinking"),
        ([Thinking(""), Tool("1", "Bash", "npm  test\n--all")], "⏳ opus · 75 s · Bash: npm test --all"),
        ([Tool("1", "Bash", "a"), Tool("2", "Read", "b"), ToolDone("2", True)], "⏳ opus · 75 s · Bash: a"),
        ([Tool("1", "Bash", ""), ToolDone("1", False)], "⏳ opus · 75 s"),
        ([Tool("1", "Task", "")], "⏳ opus · 75 s · Task"),
        ([Status("compacting")], "⏳ opus · 75 s · compacting"),
        ([Status("retrying 2/10 (rate limit)"), Started("s", "m")], "⏳ opus · 75 s"),
        ([Tool("1", "Bash", "\x00\ud800x")], "⏳ opus · 75 s · Bash: \ufffdx"),
    ],
)
def test_the_status_line_says_what_the_agent_does(display: Display, events: list[Event], line: str) -> None:
    view = display.open()
    display.seconds = 75.5

    (part,) = tell(view, *events).parts

    assert part.text == line.replace("75 s", "1 min 15 s")


def test_a_tools_detail_is_code_so_that_nothing_in_it_becomes_a_link(display: Display) -> None:
    view = display.open()

    (part,) = tell(view, Tool("1", "Read", "app.py")).parts

    assert part.entities == (Entity("code", units("⏳ opus · 0 s · Read: "), 6),)


def test_a_long_detail_is_shortened(display: Display) -> None:
    view = display.open()

    (part,) = tell(view, Tool("1", "Bash", "👍" * 1000)).parts

    assert part.text.endswith("👍…")
    assert units(part.text) < 160


def test_a_full_message_has_room_for_the_longest_status_line(display: Display) -> None:
    view = StreamViews(display, Streaming(), now=display.now).open(CHAT, "turn", model="🦆" * 100, turn=7)

    draft = tell(view, Text("`a` 👍 " * 2000), Tool("1", "🔧" * 100, "👍 " * 1000))

    assert len(draft.parts) > 3
    assert all(units(part.text) <= 4000 and len(part.entities) <= 100 for part in draft.parts)


def test_text_grows_below_the_status_line(display: Display) -> None:
    view = display.open()

    first = tell(view, Started("s", "m"), Text("The **an"))
    second = tell(view, Text("swer**"))

    assert texts(first) == ["⏳ opus · 0 s\n\nThe **an"]
    assert texts(second) == ["⏳ opus · 0 s\n\nThe answer"]
    assert [entity.type for entity in second.parts[0].entities] == ["bold"]


def test_text_before_a_tool_stays_and_what_follows_is_a_new_paragraph(display: Display) -> None:
    view = display.open()

    draft = tell(view, Text("I run:\n```sh\nnpm test"), Tool("1", "Bash", "npm test"), ToolDone("1", True), Text("It *passes*."))

    assert texts(draft) == ["⏳ opus · 0 s\n\nI run:\nnpm test\n\nIt passes."]
    assert [(entity.type, entity.language) for entity in draft.parts[0].entities] == [("pre", "sh"), ("italic", "")]


def test_text_that_outgrows_a_message_goes_on_in_the_next(display: Display) -> None:
    view = display.open()
    paragraphs = [f"Paragraph {number}. " + "word " * 60 for number in range(60)]
    finished: tuple[Part, ...] = ()

    for paragraph in paragraphs:
        draft = tell(view, Text(paragraph + "\n\n"))
        *done, last = draft.parts
        assert tuple(done[: len(finished)]) == finished
        assert last.text.startswith("⏳ opus")
        assert all(units(part.text) <= 4000 for part in draft.parts)
        finished = tuple(done)

    assert len(finished) > 3
    shown = "\n\n".join(texts(draft)).replace("⏳ opus · 0 s\n\n", "")
    assert shown.split() == " ".join(paragraphs).split()


def test_a_fence_that_outgrows_a_message_is_opened_again(display: Display) -> None:
    view = display.open()

    draft = tell(view, Text("```py\n" + "".join(f"line = {number}\n" for number in range(900))))

    assert len(draft.parts) > 2
    assert all(part.entities[-1].type == "pre" and part.entities[-1].language == "py" for part in draft.parts)


def test_the_finished_parts_of_a_long_answer_are_rendered_once(display: Display) -> None:
    view = display.open()
    paragraph = "A sentence with `code`, **bold** text and a [link](http://a.b/c).\n\n"
    before = tell(view, Text(paragraph * 1500))

    after = tell(view, Text("More `words`. "))

    assert len(after.parts) > 20
    assert all(old is new for old, new in zip(before.parts[:-5], after.parts, strict=False))


def test_the_screen_hears_of_every_change_but_not_of_the_end(display: Display) -> None:
    view = display.open()

    tell(view, Started("s", "m"), Text("a"), FINISHED)

    assert display.shown == [view, view]  # when it opened, and for the text


def test_a_model_that_thinks_on_is_told_once(display: Display) -> None:
    view = display.open()

    tell(view, *[Thinking("hm")] * 50, Text("a"), Thinking("hm"))

    assert len(display.shown) == 1 + 3


def test_a_finished_turn_draws_no_more_so_that_it_is_not_in_the_way_of_its_answer(display: Display) -> None:
    view = display.open()

    draft = tell(view, Text("one"), Tool("1", "Bash", "x"), FINISHED)

    assert draft == Draft()


def test_mode_off_shows_the_status_only(display: Display) -> None:
    view = display.open(Streaming(mode="off"))

    draft = tell(view, Text("hello"), Tool("1", "Bash", "ls"))

    assert texts(draft) == ["⏳ opus · 0 s · Bash: ls"]


def test_append_mode_waits_for_enough_text_and_the_end_of_a_sentence(display: Display) -> None:
    view = display.open(Streaming(mode="append", min_chars=40))

    short = tell(view, Text("A first sentence. "))
    enough = tell(view, Text("A second one. And the beginning of a"))
    more = tell(view, Text(" third one. Then some more words. And"))

    assert texts(short) == ["⏳ opus · 0 s"]
    assert texts(enough) == ["A first sentence. A second one.", "⏳ opus · 0 s"]
    assert texts(more) == ["A first sentence. A second one.", "And the beginning of a third one. Then some more words.", "⏳ opus · 0 s"]


def test_append_mode_sends_what_there_is_after_a_while(display: Display) -> None:
    view = display.open(Streaming(mode="append"))
    tell(view, Text("No end"))

    display.seconds = 0.7
    early = view.draw()
    display.seconds = 0.9
    late = view.draw()

    assert texts(early) == ["⏳ opus · 0 s"]
    assert texts(late) == ["No end", "⏳ opus · 0 s"]


def test_append_mode_sends_all_text_before_a_tool(display: Display) -> None:
    view = display.open(Streaming(mode="append"))

    draft = tell(view, Text("I look"), Tool("1", "Read", "a.py"), Text("Then"))

    assert texts(draft) == ["I look", "⏳ opus · 0 s · Read: a.py"]


def test_append_mode_keeps_fences_whole(display: Display) -> None:
    view = display.open(Streaming(mode="append", min_chars=10))

    open_fence = tell(view, Text("Look here. Now:\n```py\nprint('a. b. c.')\n"))
    display.seconds = 5
    waiting = view.draw()
    closed = tell(view, Text("```\n"))

    assert texts(open_fence)[:-1] == texts(waiting)[:-1] == ["Look here."]
    assert texts(closed)[:-1] == ["Look here.", "Now:\nprint('a. b. c.')"]


def test_append_mode_cuts_text_without_an_end_at_the_longest_size(display: Display) -> None:
    view = display.open(Streaming(mode="append", max_chars=300))

    draft = tell(view, Text("\n".join(["| a | b |", "|---|---|", *["| some | words |"] * 100])))

    assert len(draft.parts) >= 5
    assert all(units(part.text) <= 300 for part in draft.parts)


def test_append_mode_may_cut_between_words(display: Display) -> None:
    view = display.open(Streaming(mode="append", min_chars=10, sentence_break=False))

    draft = tell(view, Text("some words that have no en"))

    assert texts(draft)[:-1] == ["some words that have no"]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("One. Two. Thr", "One. Two."), ("One", ""), ("One.", ""), ("Version 2. is", ""),
        ("「はい。」と", "「はい。"), ("He said “yes.” And", "He said “yes.”"),
        ("para\n\nnext", "para\n\n"), ("**Bold. Text** here. And", "**Bold. Text** here."), ("`a. b` c", ""), ("| a. | b. |\n", ""),
        ("a. \n```\nb. c\n", "a."), ("```\nb. c\n```\nd", "```\nb. c\n```\n"), ("~~~\n```\n", ""),
    ],
)
def test_sentences_end_where_nothing_is_open(text: str, end: str) -> None:
    place, _ = sentence_end(text)

    assert text[:place] == end


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3720, "1 h 2 min"), (-1, "0 s")]
)
def test_elapsed_time_is_for_people(seconds: float, text: str) -> None:
    said = elapsed(seconds)

    assert said == text


DELTAS = st.lists(
    st.sampled_from(["word ", "end. ", "\n\n", "```py\n", "```\n", "**", "`", "| a | b |\n|---|---|\n", "- ", "> ", "👍", "\ud83d", "\x00", "[a](http://b.c)"])
    | st.text(max_size=5),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(DELTAS, st.sampled_from(["edit", "append", "off"]), st.integers(0, 9))
def test_every_frame_of_every_answer_can_be_sent(deltas: list[str], mode: str, tool_every: int) -> None:
    display = Display()
    view = display.open(replace(Streaming(), mode=mode, min_chars=20, max_chars=200))

    for number, delta in enumerate(deltas):
        display.seconds += 0.3
        view.show(Text(delta * (30 if number == 20 else 1)))
        if tool_every and number % tool_every == 0:
            view.show(Tool(str(number), delta or "x", delta))
        draft = view.draw()

        assert "⏳ opus" in draft.parts[-1].text
        for part in draft.parts:
            assert not blank(part.text)
            assert part.text.encode("utf-16-le")
            assert units(part.text) <= 4000
            assert all(entity.offset + entity.length <= units(part.text) for entity in part.entities)


def test_frames_may_be_drawn_while_events_come(display: Display) -> None:
    view = display.open()
    over = threading.Event()
    broken: list[Draft] = []

    def draw() -> None:
        while not over.is_set():
            draft = view.draw()
            if not draft.parts:
                broken.append(draft)

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(500):
        view.show(Text(f"word{number} "))
    over.set()
    for thread in threads:
        thread.join(30)

    assert not broken
    words = " ".join(text for text in texts(view.draw())).split()
    assert [word for word in words if word.startswith("word")] == [f"word{number}" for number in range(500)]


def test_a_turn_that_begins_again_shows_only_its_second_words(display: Display) -> None:
    view = display.open()

    draft = tell(view, Text("One tw"), Recovering(), Text("One two"))

    assert texts(draft) == ["⏳ opus · 0 s\n\nOne two"]
