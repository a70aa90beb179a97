"""What the chat shows at the end is the agent's text."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given

from ductor_lib.events import Event, Finished, Recovering, Started, Text, Tool, ToolDone
from ductor_lib.messages import Chat, Reply
from ductor_lib.orchestrator.answers import SHUT_DOWN, Told, answer

CHAT = Chat(42)
CWD = Path("/somewhere/workspace")
TOOL = (Tool("1", "Bash", "ls"), ToolDone("1", True))


def told(*events: Event) -> Told:
    made = Told()
    for event in (Started("s", "opus"), *events):
        made.add(event)
    return made


def final(*events: Event, finished: Finished, stopped: str = "⏹ *Stopped.*") -> Reply:
    return answer(CHAT, "turn:1", told(*events), finished, cwd=CWD, provider="claude", fresh=False, stopped=stopped)


def test_the_final_text_is_what_the_agent_states_and_earlier_text_stands_apart() -> None:
    reply = final(Text("First I "), Text("look."), *TOOL, Text("Found it."), finished=Finished("Found it.", "s", "done"))

    assert (reply.text, reply.earlier, reply.closing, reply.slot) == ("Found it.", "First I look.", True, "turn:1")


def test_words_that_the_final_text_does_not_repeat_are_kept_above_it() -> None:
    reply = final(Text("One."), *TOOL, Text("Two."), finished=Finished("Another ending.", "s", "done"))

    assert reply.text == "Another ending."
    assert reply.earlier == "One.\n\nTwo."


def test_of_two_answers_in_one_turn_the_second_is_final_and_shown_once() -> None:
    reply = final(Text("One."), Text("\n\n"), Text("Two."), finished=Finished("Two.", "s", "done"))

    assert (reply.text, reply.earlier) == ("Two.", "One.")


def test_a_result_without_text_shows_the_last_words_and_without_any_says_so() -> None:
    assert final(Text("Last words."), finished=Finished("", "s", "done")).text == "Last words."
    assert "without a word" in final(finished=Finished("", "s", "done")).text


def test_a_stopped_turn_keeps_what_was_written_and_is_marked() -> None:
    stopped = Finished("", "s", "stopped", "stopped")

    assert final(Text("Half a"), finished=stopped).text == "Half a\n\n⏹ *Stopped.*"
    assert final(finished=stopped, stopped=SHUT_DOWN).text == SHUT_DOWN


def test_a_failed_turn_says_what_happened_and_what_to_do() -> None:
    reply = final(Text("Half a"), finished=Finished("", "s", "failed", "not_signed_in"))

    assert reply.text.startswith("Half a\n\n⚠️ ")
    assert "not signed in" in reply.text


def test_refused_tools_are_named_once_each() -> None:
    reply = final(finished=Finished("Could not.", "s", "done", denied=("Bash", "Write", "Bash")))

    assert "Bash, Write" in reply.text


@given(st.lists(st.one_of(st.text(max_size=20).map(Text), st.just(TOOL[0])), max_size=12), st.text(max_size=20))
def test_no_word_is_lost_whatever_comes(events: list[Event], text: str) -> None:
    reply = final(*events, finished=Finished(text, "s", "done"))

    shown = f"{reply.earlier}\n\n{reply.text}"
    for piece in told(*events).pieces():
        assert piece in shown
    assert text.strip() in shown


def test_what_a_killed_try_had_written_counts_no_more() -> None:
    reply = final(Text("One tw"), Recovering(), Text("One two three"), finished=Finished("One two three", "s", "done"))

    assert (reply.text, reply.earlier) == ("One two three", "")


def test_files_and_buttons_leave_the_text_and_are_sent_with_it() -> None:
    reply = final(finished=Finished("Here it is.\n\n<file:out/a.pdf>\n\n[button:Yes] [button:No]", "s", "done"))

    assert (reply.text, reply.files) == ("Here it is.", ("/somewhere/workspace/out/a.pdf",))
    assert [[button.label for button in row] for row in reply.buttons] == [["Yes", "No"]]


def test_a_file_asked_for_before_the_last_words_is_sent_too_and_once() -> None:
    reply = final(Text("The report: <file:/r.pdf>"), *TOOL, Text("Done."), finished=Finished("Done. <file:/r.pdf>", "s", "done"))

    assert reply.files == ("/r.pdf",)
    assert reply.earlier == "The report: `r.pdf`"


def test_an_answer_of_nothing_but_a_file_needs_no_words_and_nothing_but_buttons_gets_some() -> None:
    assert final(finished=Finished("<file:/r.pdf>", "s", "done")).text == ""
    assert "choose" in final(finished=Finished("[button:Yes]", "s", "done")).text


def test_earlier_words_are_the_text_when_the_answer_is_nothing_but_a_file() -> None:
    reply = final(Text("I drew a chart."), *TOOL, finished=Finished("<file:/c.png>", "s", "done"))

    assert (reply.text, reply.earlier, reply.files) == ("I drew a chart.", "", ("/c.png",))
