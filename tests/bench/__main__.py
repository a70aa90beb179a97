"""Measure what the bot costs: `python -m tests.bench [NAME…] [--runs N]`. Linux only, because it reads /proc.

The bot is a real `python ductor.py` in a process of its own, Telegram is the loopback one in this process, the agent is the
scripted one. A machine is noisy: look at the minimum and at the neighbour named at the end of a line, which was measured in
the same run. The names, and what their figures are:

start     process start to the first getUpdates arriving at the server.
memory    resident memory of the bot once it has set its menu and uses no processor time; and again after 10 turns.
warm      from the moment a pending long poll has a message to hand out until the agent, kept from the last turn, has read the
          prompt: HTTP, ledger, lane, pipe.
cold      the same with a new agent for every turn. The bot's part is what is left without the agent's own start, measured
          right after each turn with the same command line and prompt.
answer    from the moment the agent writes its first words until the call that shows them arrives at the server; and the same
          for its last line and the final answer. Each answer goes to a chat of its own, so that no pacing is in it. In the
          third figure every turn's end sends another conversation's idle agent away.
calls     Bot API calls about the chat for an answer of 200 deltas in 4 s.
crowd     50 private chats write at once, 8 agents work: until all have their answers; the bot's peak memory.
queue     20 messages wait for a busy agent: from its end until the last is answered. Fails when the order is wrong.
flood     the bot's processor time for 50 MB of output that is not shown, and the most memory it needed on top.
markdown  10 kB of Markdown to text with entities: prose, and a text that is mostly lists, code and tables.
ledger    accept() stores a message before it is confirmed, finish() closes it with its answer. "In memory" is the same without
          a disk: the difference is what flushing costs.
hooks     from a client's connect to the last byte of the 202, 20 clients at once, while a busy lane keeps agents from working
          beside them; the same with everything in memory. The clients are threads of this process, and are in the figure.
runs      Runs.add() from one thread and from 20: what is stored at the same moment is flushed together.
tick      the scheduler's look at 1,000 jobs, none of them due; and one that finds 100 due.
first     with the real agents, where they are on PATH and a model that is a stand-in: from a message that a pending poll hands out
          until the first words are in the chat, with an agent that is there and with a new one. The bot's part is what is
          left without the agent's own, which is driven by a minimal script with the same prompt, one after the other.
          "Without chat" is what of it the agents' own folder adds, measured in the same way in this process.
agents    memory of the real agents of 5 conversations.
cycles    100 turns that are interrupted, of each agent, scripted and real: the processes that are left.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator

from tests.bench import agents, automation, latency, load, pieces, starting
from tests.bench.figures import HEAD, Figure, line

FIGURES: dict[str, Callable[[int], Iterator[Figure]]] = {
    "start": starting.start, "memory": starting.memory, "warm": latency.warm, "cold": latency.cold, "answer": latency.answer,
    "calls": load.calls, "crowd": load.crowd, "queue": load.queue, "flood": load.flood, "markdown": pieces.markdown,
    "ledger": pieces.ledger, "first": agents.first, "agents": agents.memory, "cycles": agents.cycles,
    "hooks": automation.hooks, "runs": automation.adding, "tick": automation.tick,
}  # fmt: skip


def main() -> int:
    """Print a line per figure; 1 when something did not work (a missed aim is no failure: it is on its line)."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what the bot costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure, all by default: {', '.join(FIGURES)}")
    parser.add_argument("--runs", type=int, default=10, help="how often (10); slow ones are run less often")
    options = parser.parse_args()
    if unknown := set(options.names) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(FIGURES)}")
    print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}\n{HEAD}", flush=True)
    code = 0
    for name in options.names or FIGURES:
        try:
            for figure in FIGURES[name](max(1, options.runs)):
                print(line(figure), flush=True)
        except AssertionError as error:  # what was waited for did not come
            print(f"{name} failed: {error}", file=sys.stderr)
            code = 1
    print(f"load at the end: {os.getloadavg()[0]:.1f}")
    return code


if __name__ == "__main__":
    sys.exit(main())
