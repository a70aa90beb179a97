"""Automation as the real command lines do it: the agent makes a job by a verb in its own shell, and the job runs."""

from __future__ import annotations

from tests.e2e.conftest import Assistant

ASKED = "Which fish are hungry?"
JOB = f'ductor cron add --id fish --title "Feed the fish" --instruction "{ASKED}"'


def check(assistant: Assistant) -> None:
    """The job has run in its folder, and its result is in the chat."""
    assert assistant.wait_for("TASK: Feed the fish").text.startswith("TASK: Feed the fish\n\nYou said: ")
    folder = str(assistant.paths.cron_tasks / "feed-the-fish")
    assert [request for request in assistant.asked if ASKED in request.typed[-1] and folder in str(request.body)]


def test_a_job_that_the_agent_has_added_can_be_run_at_once(able: Assistant) -> None:
    able.say(f"""[[scenario:tool cmd='{JOB} --schedule "0 9 * * *" && ductor cron run fish']]""")

    check(able)
    able.say("/cron")
    assert "Feed the fish" in able.wait_for("Jobs").text


def test_a_job_that_the_agent_has_added_for_later_runs_when_its_moment_comes(able: Assistant) -> None:
    able.say(f"[[scenario:tool cmd='{JOB} --at 2s']]")

    check(able)
