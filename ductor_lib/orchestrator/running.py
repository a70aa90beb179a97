"""What is at work: the item of a lane, and the turn that is made of it."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from ductor_lib.messages import Incoming
from ductor_lib.orchestrator.plans import Plan
from ductor_lib.ports import Agent


@dataclass(frozen=True, slots=True)
class Running:
    """The item that a lane works on now. `begun` in monotonic seconds.

    `since` is when its agent began, in unix seconds, which go on while the machine sleeps; before that nothing can last
    too long. `stop` is set when it shall end; `left` too, when that is because the program ends, and `late` when because
    it lasts too long, and not what a person wants.
    """

    item: Incoming
    begun: float
    since: float = math.inf
    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    late: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Job:
    """One turn at work: what was planned, and who does it."""

    plan: Plan
    running: Running
    agent: Agent

    @property
    def item(self) -> Incoming:
        return self.plan.item
