"""Who waits, who is refused, who runs together and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelapp.batching import BatchQueue, Limits, Work
from modelapp.costs import CostLine
from modelapp.errors import QueueFull


def learned(*, fixed_s: float = 0.010, row_s: float = 0.001) -> CostLine:
    """A cost line that has seen enough."""
    costs = CostLine()
    for rows in (1, 2, 4, 8) * 3:
        costs.add(rows, fixed_s + row_s * rows)
    return costs


def test_idle_runtime_is_not_kept_waiting() -> None:
    """Without a declared wait a single row runs at once."""
    queue = BatchQueue(Limits(max_rows=8), learned())
    work = Work("a", 1)
    queue.offer([work], 0.0)

    assert queue.take(0.0) == [work]


def test_full_queue_refuses_with_the_time_to_drain() -> None:
    """The refusal says when there should be room, from what runs have cost."""
    queue = BatchQueue(Limits(max_rows=2, max_queue_rows=4), learned(fixed_s=0.1, row_s=0.0))
    queue.offer([Work("a", 4)], 0.0)

    with pytest.raises(QueueFull) as refused:
        queue.offer([Work("b", 1)], 0.0)

    assert refused.value.retry_after_s == pytest.approx(0.2, rel=0.01)
    assert queue.rows == 4


def test_offer_is_all_or_nothing() -> None:
    """A request whose second piece does not fit leaves nothing behind."""
    queue = BatchQueue(Limits(max_rows=2, max_queue_rows=3))

    with pytest.raises(QueueFull):
        queue.offer([Work("a", 2), Work("b", 2)], 0.0)

    assert queue.rows == 0
    assert queue.take(0.0) == []


def test_waits_for_company_only_where_it_pays() -> None:
    """A declared wait is used when arrivals come faster than a run's fixed cost, and ends at its bound."""
    queue = BatchQueue(Limits(max_rows=8, max_wait_s=0.005), learned())
    for tick in range(6):
        queue.offer([Work(tick, 1)], tick * 0.001)
        queue.take(1.0)
    late = Work("late", 1, arrived_s=0.006)
    queue.offer([late], 0.006)

    assert queue.take(0.006) == []
    assert queue.wake_at_s(0.006) == pytest.approx(0.011)
    assert queue.take(0.011) == [late]


def test_wait_is_given_up_when_nobody_comes() -> None:
    """Rare arrivals are never held back, whatever wait is declared."""
    queue = BatchQueue(Limits(max_rows=8, max_wait_s=5.0), learned())
    for tick in range(6):
        queue.offer([Work(tick, 1)], tick * 10.0)
        assert queue.take(tick * 10.0)


def test_full_batch_does_not_wait() -> None:
    """As many rows as one run may hold leave at once."""
    queue = BatchQueue(Limits(max_rows=2, max_wait_s=1.0), learned())
    for tick in range(6):
        queue.offer([Work(tick, 1, arrived_s=tick * 1e-4)], tick * 1e-4)

    assert [work.payload for work in queue.take(6e-4)] == [0, 1]


def test_only_equal_keys_share_a_run() -> None:
    """The longest waiting row leads; rows of another key wait for their own run."""
    queue = BatchQueue(Limits(max_rows=8))
    queue.offer([Work("a", 1, key="short"), Work("b", 1, key="long"), Work("c", 1, key="short")], 0.0)

    assert [work.payload for work in queue.take(0.0)] == ["a", "c"]
    assert [work.payload for work in queue.take(0.0)] == ["b"]


@given(rows=st.lists(st.integers(1, 4), min_size=1, max_size=30), bound=st.integers(4, 8))
def test_batches_keep_order_and_bound(rows: list[int], bound: int) -> None:
    """Everything offered comes out once, in order, and no batch holds more rows than allowed."""
    queue = BatchQueue(Limits(max_rows=bound, max_queue_rows=1000))
    for index, count in enumerate(rows):
        queue.offer([Work(index, count)], 0.0)

    seen: list[int] = []
    while batch := queue.take(0.0):
        assert sum(work.rows for work in batch) <= bound
        seen += [work.payload for work in batch]

    assert seen == list(range(len(rows)))


class QueueMachine(RuleBasedStateMachine):
    """Arrivals, cancels, deadlines and runs in any order, against a plain list as the model."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.queue = BatchQueue(Limits(max_rows=4, max_queue_rows=12, max_wait_s=0.01), learned())
        self.waiting: list[Work] = []

    @rule(rows=st.integers(1, 4), key=st.sampled_from("ab"), patience_s=st.none() | st.floats(0.001, 0.05))
    def arrive(self, rows: int, key: str, patience_s: float | None) -> None:
        """A request comes; it is refused exactly when the queue has no room for all of it."""
        deadline_s = None if patience_s is None else self.now_s + patience_s
        work = Work(None, rows, key=key, arrived_s=self.now_s, deadline_s=deadline_s)
        room = sum(other.rows for other in self.waiting) + rows <= 12
        try:
            self.queue.offer([work], self.now_s)
        except QueueFull:
            assert not room
        else:
            assert room
            self.waiting.append(work)

    @rule(step_s=st.floats(0.0005, 0.02))
    def tick(self, step_s: float) -> None:
        """Time passes, and what is overdue is dropped, never more."""
        self.now_s += step_s
        expired = self.queue.expire(self.now_s)
        overdue = [work for work in self.waiting if work.deadline_s is not None and work.deadline_s <= self.now_s]
        assert sorted(map(id, expired)) == sorted(map(id, overdue))
        self.waiting = [work for work in self.waiting if work not in overdue]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A client gives up."""
        work = data.draw(st.sampled_from(self.waiting))
        assert self.queue.remove(work)
        assert not self.queue.remove(work)
        self.waiting.remove(work)

    @rule()
    def run(self) -> None:
        """The runtime is idle: it gets the longest waiting row and its like, or waits within the declared bound."""
        batch = self.queue.take(self.now_s)
        if not batch:
            if self.waiting:
                wake_s = self.queue.wake_at_s(self.now_s)
                assert wake_s is not None
                assert self.now_s < wake_s <= self.waiting[0].arrived_s + 0.01
            return
        assert batch[0] is self.waiting[0]
        lane = [work for work in self.waiting if work.key == batch[0].key]
        assert batch == lane[: len(batch)]
        assert sum(work.rows for work in batch) <= 4
        rest = lane[len(batch) :]
        assert not rest or sum(work.rows for work in batch) + rest[0].rows > 4, "room was left unused"
        self.waiting = [work for work in self.waiting if work not in batch]

    @invariant()
    def counts_agree(self) -> None:
        """The queue knows how many rows wait."""
        assert self.queue.rows == sum(work.rows for work in self.waiting)
        assert len(self.queue) == len(self.waiting)


TestQueueMachine = QueueMachine.TestCase
