"""The batcher's decisions, without threads or clocks: who waits, who is refused, who runs together and when.

Times are seconds on a clock the caller reads. FIFO: the row that has waited longest is always in the next batch; rows
that may share a run with it are taken along in their order, up to the bound.
"""

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import attrs

from modelapp.costs import Arrivals, CostLine, waiting_pays
from modelapp.errors import QueueFull


@attrs.frozen
class Limits:
    """The declared bounds of one model's batcher."""

    max_rows: int = 1
    max_queue_rows: int = 64
    max_wait_s: float = 0.0
    concurrency: int = 1
    """Runs at the same time."""
    rerun: bool = True
    """Whether a run that failed may be split and run again."""


class Work:
    """Rows of one request that wait together. Works with equal keys may share a run.

    `future` and `call` are for whoever waits; nothing here looks at them.
    """

    __slots__ = ("arrived_s", "call", "deadline_s", "future", "key", "order", "payload", "queued", "rows")

    def __init__(
        self,
        payload: Any,
        rows: int,
        *,
        key: Hashable = (),
        arrived_s: float = 0.0,
        deadline_s: float | None = None,
        future: Any = None,
        call: Any = None,
    ) -> None:
        self.payload = payload
        self.rows = rows
        self.key = key
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.future = future
        self.call = call
        self.order = 0
        self.queued = False


class BatchQueue:
    """Works waiting for one model."""

    def __init__(self, limits: Limits, costs: CostLine | None = None) -> None:
        self.limits = limits
        self.costs = costs or CostLine()
        self.rows = 0
        self._arrivals = Arrivals()
        self._lanes: dict[Hashable, deque[Work]] = {}
        self._count = 0
        self._idle_since_s: float | None = None

    def __len__(self) -> int:
        return sum(1 for _ in self._works())

    def offer(self, works: Sequence[Work], now_s: float) -> None:
        """Queue works of one request, all or none. Raises QueueFull with the time until there should be room."""
        rows = sum([work.rows for work in works])
        if self.rows + rows > self.limits.max_queue_rows:
            raise QueueFull(
                f"{self.rows} rows are waiting and the queue holds {self.limits.max_queue_rows}",
                retry_after_s=self.drain_s(),
            )
        for work in works:
            work.order = self._count
            self._count += 1
            work.queued = True
            lane = self._lanes.get(work.key)
            if lane is None:
                lane = self._lanes[work.key] = deque()
            lane.append(work)
        if self.limits.max_wait_s:
            for _ in works:
                self._arrivals.add(now_s)
        self.rows += rows

    def remove(self, work: Work) -> bool:
        """Take a work out before it runs; False where it is not waiting any more."""
        if not work.queued:
            return False
        work.queued = False
        self.rows -= work.rows
        self._lanes[work.key].remove(work)
        self._tidy(work.key)
        return True

    def expire(self, now_s: float) -> list[Work]:
        """Take out and return every work whose deadline has passed."""
        expired = [work for work in self._works() if work.deadline_s is not None and work.deadline_s <= now_s]
        for work in expired:
            self.remove(work)
        return expired

    def take(self, now_s: float) -> list[Work]:
        """The next batch for an idle runtime; empty where nothing waits or waiting longer pays (see `wake_at_s`)."""
        head = self._head()
        if head is None:
            return []
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        if self._hold_until_s(head, now_s) > now_s:
            return []
        self._idle_since_s = None
        return self._batch(head)

    def wake_at_s(self, now_s: float) -> float | None:
        """When `take` should be asked again though nothing arrives; None where nothing waits."""
        head = self._head()
        return None if head is None else self._hold_until_s(head, now_s)

    def held_since_s(self) -> float | None:
        """Since when an idle runtime has been waiting for company; None where it does not."""
        return self._idle_since_s

    def drain_s(self) -> float:
        """Expected seconds until the rows waiting now have run; 1 while nothing is known."""
        if not self.costs.known:
            return 1.0
        runs = -(-self.rows // self.limits.max_rows)
        return runs * self.costs.predict_s(self.limits.max_rows)

    def next_deadline_s(self) -> float | None:
        """The earliest deadline among the works waiting."""
        return min((work.deadline_s for work in self._works() if work.deadline_s is not None), default=None)

    def _works(self) -> Iterator[Work]:
        for lane in self._lanes.values():
            yield from lane

    def _head(self) -> Work | None:
        if len(self._lanes) == 1:
            return next(iter(self._lanes.values()))[0]
        return min((lane[0] for lane in self._lanes.values()), key=lambda work: work.order, default=None)

    def _hold_until_s(self, head: Work, now_s: float) -> float:
        """`now_s` where the batch should run at once: by default it always should, an idle runtime does not wait."""
        limits = self.limits
        if limits.max_wait_s == 0.0 or limits.max_rows == 1:
            return now_s
        lane_rows = sum(work.rows for work in self._lanes[head.key])
        if lane_rows >= limits.max_rows or not waiting_pays(self.costs, self._arrivals, lane_rows):
            return now_s
        until_s = head.arrived_s + limits.max_wait_s
        if head.deadline_s is not None:
            until_s = min(until_s, head.deadline_s - self.costs.predict_s(limits.max_rows))
        return max(now_s, until_s)

    def _batch(self, head: Work) -> list[Work]:
        lane = self._lanes[head.key]
        batch: list[Work] = []
        rows = 0
        while lane and (not batch or rows + lane[0].rows <= self.limits.max_rows):
            work = lane.popleft()
            work.queued = False
            rows += work.rows
            batch.append(work)
        self.rows -= rows
        self._tidy(head.key)
        return batch

    def _tidy(self, key: Hashable) -> None:
        if not self._lanes[key]:
            del self._lanes[key]
        if not self._lanes:
            self._idle_since_s = None
