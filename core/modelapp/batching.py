"""The words of batching: what may wait and run together. Nothing here knows of threads, loops or clocks."""

from collections.abc import Hashable, Iterable
from enum import Enum
from typing import Any, NamedTuple

import attrs

from modelapp.errors import InvalidInput

STUCK_S = 1.0
"""How long work may go on that nobody waits for, before it counts as work that does not end."""


@attrs.frozen
class Limits:
    """The declared bounds of one model's batcher."""

    max_rows: int = 1
    max_cost: float = 0.0
    """The most cost of one run; 0: no bound."""
    padded: bool = False
    """Whether a run costs its rows times its longest row; otherwise the sum of what they cost."""
    max_queue_rows: int = 64
    max_wait_s: float = 0.0
    concurrency: int = 1
    """Runs at the same time."""
    levels: int = 1
    """Levels of priority, 1 the most urgent."""
    rerun: bool = True
    """Whether a run that failed may be split and run again."""

    def allow(self, rows: int, tokens: float, longest: float) -> bool:
        """Whether one run may hold so many rows, which cost `tokens` together and the longest `longest`."""
        if rows > self.max_rows:
            return False
        return not self.max_cost or self.cost(rows, tokens, longest) <= self.max_cost

    def cost(self, rows: int, tokens: float, longest: float) -> float:
        """What a run costs."""
        return rows * longest if self.padded else tokens

    @property
    def default_level(self) -> int:
        """The level of a request that names none: the middle, of an even number the less urgent one there."""
        return self.levels // 2 + 1

    def level(self, priority: int) -> int:
        """The level of a request's `priority`, 0 being the default. Raises InvalidInput."""
        if not priority:
            return self.default_level
        if not 0 <= priority <= self.levels:
            told = f"priorities are 1 to {self.levels}" if self.levels > 1 else "the only priority is 1"
            raise InvalidInput(f"there is no priority {priority}; {told}, and 0 for the default", field="priority")
        return priority


class Part(NamedTuple):
    """Rows of one request that go through the model together. Parts with equal keys may share a run.

    `tokens` is what they cost alone, `longest` what the longest row costs.
    """

    payload: Any
    rows: int
    key: Hashable = ()
    tokens: float = 1
    longest: float = 1


class State(Enum):
    """Where a work is."""

    NEW = "new"
    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"
    """It has its outcome, or nobody waits for one."""


# A member is found more quickly by a name of its own, and this happens for every request several times.
NEW, WAITING, RUNNING, OVER = State


class Work:
    """A part on its way. Times are seconds. `future` and `call` are for whoever waits; no decision looks at them."""

    __slots__ = ("arrived_s", "call", "deadline_s", "future", "level", "order", "part", "state")

    def __init__(
        self,
        part: Part,
        *,
        level: int = 1,
        arrived_s: float = 0.0,
        deadline_s: float | None = None,
        future: Any = None,
        call: Any = None,
    ) -> None:
        self.part = part
        self.level = level
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.future = future
        self.call = call
        self.order = 0
        self.state = NEW

    def is_late(self, now_s: float) -> bool:
        """Whether its deadline has passed."""
        return self.deadline_s is not None and self.deadline_s <= now_s


class Batch:
    """Works that run together, and what they cost. `held_s`: how long the idle model waited for company."""

    __slots__ = ("deserted_s", "held_s", "longest", "rows", "run", "started_s", "tokens", "works")

    def __init__(self, works: Iterable[Work] = ()) -> None:
        self.works: list[Work] = []
        self.rows = 0
        self.tokens = 0.0
        self.longest = 0.0
        self.started_s = 0.0
        self.held_s = 0.0
        self.deserted_s: float | None = None
        """Since when nobody waits for it any more."""
        self.run: Any = None
        for work in works:
            self.add(work)

    def add(self, work: Work) -> None:
        """Take a work along."""
        part = work.part
        self.works.append(work)
        self.rows += part.rows
        self.tokens += part.tokens
        if part.longest > self.longest:
            self.longest = part.longest

    def cost(self, limits: Limits) -> float:
        """What the run costs."""
        return limits.cost(self.rows, self.tokens, self.longest)

    @property
    def deadline_s(self) -> float | None:
        """When the last of them gives up waiting; None where one has no deadline."""
        last_s = 0.0
        for work in self.works:
            if work.deadline_s is None:
                return None
            last_s = max(last_s, work.deadline_s)
        return last_s

    def has_room(self, work: Work, limits: Limits) -> bool:
        """Whether a work may be added; the first always may."""
        part = work.part
        if not self.works:
            return True
        if not limits.max_cost:
            return self.rows + part.rows <= limits.max_rows
        return limits.allow(self.rows + part.rows, self.tokens + part.tokens, max(self.longest, part.longest))
