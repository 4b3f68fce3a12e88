"""The batcher's decisions, without threads, loops or clocks: who is admitted, who runs with whom and when, who is told.

Every work that is admitted is named exactly once: by `next_batch` or `expire` as too late, by `answers` with its
outcome, by `bury` when its model dies, or by its own waiter, who gives up with `desert`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from modelapp.batching import OVER, RUNNING, STUCK_S, WAITING, Batch, Limits, Work
from modelapp.batchqueue import BatchQueue
from modelapp.costs import CostLine
from modelapp.drainrate import DrainRate
from modelapp.errors import InvalidInput, QueueFull
from modelapp.pacing import Pacing


def check_size(rows: int, limits: Limits, *, what: str = "rows", field: str = "") -> None:
    """Raise InvalidInput where a request of so many rows, `what` they are to people, could never wait."""
    if rows > limits.max_queue_rows:
        raise InvalidInput(
            f"a request of {rows} {what} can never fit the queue of {limits.max_queue_rows} {what};"
            f" ask for fewer {what} at a time",
            field=field,
        )


class Dispatcher:
    """One model's queue and its runs in progress. Times are seconds on a clock that the caller reads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        """The bounds it keeps to."""
        self.costs = CostLine()
        self.pacing = Pacing(self.costs)
        self.queue = BatchQueue(limits, self.costs)
        self.running: set[Batch] = set()
        self._drain = DrainRate()

    def retune(self, limits: Limits) -> None:
        """Keep to other bounds. Whoever waits keeps the place."""
        self.limits = limits
        self.queue.retune(limits)

    @property
    def busy(self) -> bool:
        """Whether no run may start."""
        return len(self.running) >= self.limits.concurrency

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self.running and not self.queue.rows

    def level(self, priority: int) -> int:
        """The level of a request's `priority`, 0 being the model's default. Raises InvalidInput."""
        return self.limits.level(priority)

    def admit(self, works: Sequence[Work], now_s: float) -> None:
        """Let the works of one request wait, all or none. Raises QueueFull with the time until there should be room,
        and InvalidInput where there never can be."""
        limits = self.limits
        rows = sum([work.part.rows for work in works])
        check_size(rows, limits)
        waiting = self.queue.rows
        if waiting + rows > limits.max_queue_rows:
            raise QueueFull(
                f"{waiting} rows are waiting and the queue holds {limits.max_queue_rows}",
                retry_after_s=self._drain.drain_s(waiting, now_s),
            )
        self.queue.append(works, now_s)

    def next_batch(self, now_s: float) -> tuple[Batch | None, list[Work]]:
        """The batch that starts now, None where the model has no room or waits for company; and who is too late."""
        late: list[Work] = []
        if self.busy:
            return None, late
        batch = self.queue.take(now_s, late)
        for work in late:
            work.state = OVER
        if batch is not None:
            self.running.add(batch)
            self._drain.began(now_s)
        return batch, late

    def wake_at_s(self, now_s: float) -> float | None:
        """When `next_batch` must be asked again though nothing arrives or ends; None where it need not be."""
        return self.queue.hold_until_s(now_s) if self.queue.rows and not self.busy else None

    def ended(self, batch: Batch, now_s: float) -> None:
        """A run has ended: another may start before its requests are answered."""
        self.running.discard(batch)
        self._drain.ended(batch.rows, now_s, more=not self.idle)

    def learn(self, batch: Batch, seconds: float, infer_s: float) -> None:
        """A run went well and took `seconds`, of which the model itself `infer_s`."""
        self.pacing.learn(batch.cost(self.limits), len(batch.works), seconds, infer_s)

    def answers(self, batch: Batch, outcomes: Sequence[Any]) -> list[tuple[Work, Any]]:
        """Who of a batch is still to be told, and what. Nobody is named twice."""
        told = []
        for work, outcome in zip(batch.works, outcomes, strict=True):
            if work.state is not OVER:
                work.state = OVER
                told.append((work, outcome))
        return told

    def desert(self, works: Iterable[Work], now_s: float) -> list[Batch]:
        """Nobody waits for these works any more: they never run. Returns runs that are left without any waiter."""
        for work in works:
            if work.state is WAITING:
                self.queue.remove(work)
            work.state = OVER
        deserted = [
            batch
            for batch in self.running
            if batch.deserted_s is None and all(work.state is OVER for work in batch.works)
        ]
        for batch in deserted:
            batch.deserted_s = now_s
        return deserted

    def expire(self, now_s: float) -> tuple[list[Work], list[Batch]]:
        """Every work, waiting or running, whose deadline has passed; and the runs that are left without any waiter."""
        overdue = [work for work in self.queue if work.is_late(now_s)]
        overdue += [work for work in self._awaited() if work.is_late(now_s)]
        return overdue, self.desert(overdue, now_s)

    def next_deadline_s(self) -> float | None:
        """The earliest deadline of a work that waits or runs."""
        found = [work.deadline_s for work in self._awaited() if work.deadline_s is not None]
        waiting_s = self.queue.next_deadline_s()
        return min(found if waiting_s is None else [*found, waiting_s], default=None)

    def bury(self) -> list[Work]:
        """The model is dead: every work that waits leaves the queue. What runs ends by itself."""
        works = list(self.queue)
        for work in works:
            self.queue.remove(work)
            work.state = OVER
        return works

    def is_stuck(self, now_s: float) -> bool:
        """Whether every slot is taken by a run that nobody has waited for in the last second: nobody can be served."""
        since = [now_s if batch.deserted_s is None else batch.deserted_s for batch in self.running]
        return self.busy and now_s - max(since) > STUCK_S

    def _awaited(self) -> Iterable[Work]:
        return (work for batch in self.running for work in batch.works if work.state is RUNNING)
