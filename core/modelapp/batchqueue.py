"""Who waits for a model, and who is next. Pure: times are seconds on a clock that the caller reads.

The head of the most urgent level leads the next batch; rows that may share the run go along, the more urgent first and
within a level in their order, up to the first that does not fit.
"""

from collections import deque
from collections.abc import Hashable, Iterator, Sequence

from modelapp.batching import RUNNING, WAITING, Batch, Limits, Work
from modelapp.costs import Arrivals, CostLine, waiting_pays

PATIENCE = 8
"""Runs that may pass over the oldest row of a level before it leads one; as many as levels, where there are more.

So a row with k rows before it in its level starts within (k + 1) * (PATIENCE + levels) runs: once a level is out of
patience only others that are so too lead before it, and none of them twice.
"""


class _Level:
    """The works of one priority, in lanes of equal keys."""

    __slots__ = ("lanes", "passed_over")

    def __init__(self) -> None:
        self.lanes: dict[Hashable, deque[Work]] = {}
        self.passed_over = 0

    def head(self) -> Work | None:
        if len(self.lanes) == 1:
            return next(iter(self.lanes.values()))[0]
        return min((lane[0] for lane in self.lanes.values()), key=_order, default=None)

    def append(self, work: Work) -> None:
        lane = self.lanes.get(work.part.key)
        if lane is None:
            lane = self.lanes[work.part.key] = deque()
        lane.append(work)

    def remove(self, work: Work) -> None:
        key = work.part.key
        lane = self.lanes[key]
        if lane[0] is work:
            lane.popleft()
        else:
            lane.remove(work)
        if not lane:
            del self.lanes[key]


class BatchQueue:
    """Works waiting for one model."""

    def __init__(self, limits: Limits, costs: CostLine) -> None:
        self.rows = 0
        self._limits = limits
        self._costs = costs
        self._arrivals = Arrivals()
        self._levels = [_Level() for _ in range(limits.levels)]
        self._count = 0
        self._idle_since_s: float | None = None

    def retune(self, limits: Limits) -> None:
        """Keep to other bounds. Whoever waits keeps the place; a level that is no more counts as the last one."""
        self._limits = limits
        if limits.levels == len(self._levels):
            return
        waiting = sorted(self, key=_order)
        self._levels = [_Level() for _ in range(limits.levels)]
        for work in waiting:
            work.level = min(work.level, limits.levels)
            self._levels[work.level - 1].append(work)

    def __iter__(self) -> Iterator[Work]:
        """All that wait, the most urgent level first."""
        for level in self._levels:
            for lane in level.lanes.values():
                yield from lane

    def append(self, works: Sequence[Work], now_s: float) -> None:
        """Let works of one request wait."""
        for work in works:
            work.order = self._count
            work.state = WAITING
            self._count += 1
            self.rows += work.part.rows
            self._levels[work.level - 1].append(work)
            if self._limits.max_wait_s:
                self._arrivals.add(now_s)

    def remove(self, work: Work) -> None:
        """Take out a work that waits."""
        self._levels[work.level - 1].remove(work)
        self.rows -= work.part.rows
        if not self.rows:
            self._idle_since_s = None

    def take(self, now_s: float, late: list[Work]) -> Batch | None:
        """The next batch for an idle model; None where nothing waits, or waiting longer pays (see `hold_until_s`).

        What is overdue leaves the queue too, and is added to `late`.
        """
        while (head := self._leader()) is not None and head.is_late(now_s):
            self.remove(head)
            late.append(head)
        if head is None:
            return None
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        if self.hold_until_s(now_s) > now_s:
            return None
        held_s = now_s - self._idle_since_s
        self._idle_since_s = None
        batch = self._batch(head, now_s, late)
        batch.started_s, batch.held_s = now_s, held_s
        return batch

    def hold_until_s(self, now_s: float) -> float:
        """Until when an idle model waits for company; `now_s` where it does not, which is the rule.

        It waits only for what would join everything that waits now in one run, where the cost line says that this
        pays, never longer than any row may wait, and not into anybody's deadline.
        """
        limits = self._limits
        if limits.max_wait_s == 0.0 or limits.max_rows == 1 or not 0 < self.rows < limits.max_rows:
            return now_s
        waiting = Batch(self)
        cost = waiting.cost(limits)
        if limits.max_cost and cost >= limits.max_cost:
            return now_s
        if len({work.part.key for work in waiting.works}) > 1 or not waiting_pays(
            self._costs, self._arrivals, self.rows
        ):
            return now_s
        until_s = min(work.arrived_s for work in waiting.works) + limits.max_wait_s
        deadlines = [work.deadline_s for work in waiting.works if work.deadline_s is not None]
        if deadlines:
            full = limits.max_cost or cost * limits.max_rows / self.rows
            until_s = min(until_s, min(deadlines) - self._costs.predict_s(full))
        return max(now_s, until_s)

    def next_deadline_s(self) -> float | None:
        """The earliest deadline among the works waiting."""
        return min((work.deadline_s for work in self if work.deadline_s is not None), default=None)

    def _leader(self) -> Work | None:
        """Who leads the next batch: the oldest head of the levels that are out of patience, else the most urgent."""
        if len(self._levels) == 1:
            return self._levels[0].head()
        heads = [(level, head) for level in self._levels if (head := level.head()) is not None]
        patience = max(PATIENCE, len(self._levels))
        starving = [head for level, head in heads if level.passed_over >= patience]
        if starving:
            return min(starving, key=_order)
        return heads[0][1] if heads else None

    def _batch(self, leader: Work, now_s: float, late: list[Work]) -> Batch:
        batch = Batch()
        heads = [level.head() for level in self._levels] if len(self._levels) > 1 else ()
        if heads:
            self.remove(leader)
            leader.state = RUNNING
            batch.add(leader)
        for level in self._levels:
            if not self._fill(batch, level, leader.part.key, now_s, late):
                break
        for level, head in zip(self._levels, heads, strict=False):
            passed = head is not None and head.state is WAITING and head not in late
            level.passed_over = level.passed_over + 1 if passed else 0
        return batch

    def _fill(self, batch: Batch, level: _Level, key: Hashable, now_s: float, late: list[Work]) -> bool:
        """Add what may share the run; False where one did not fit, and nobody may overtake it."""
        lane = level.lanes.get(key)
        if lane is None:
            return True
        limits, rows, fits = self._limits, 0, True
        while lane:
            work = lane[0]
            if work.deadline_s is not None and work.deadline_s <= now_s:
                late.append(work)
            elif batch.has_room(work, limits):
                work.state = RUNNING
                batch.add(work)
            else:
                fits = False
                break
            rows += work.part.rows
            lane.popleft()
        self.rows -= rows
        if not lane:
            del level.lanes[key]
        return fits


def _order(work: Work) -> int:
    return work.order
