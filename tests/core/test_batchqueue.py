"""Who is next, and when an idle model waits for company."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.batching import Limits, Part, Work
from modelapp.batchqueue import PATIENCE, BatchQueue
from modelapp.costs import CostLine


def learned(*, fixed_s: float = 0.010, row_s: float = 0.001) -> CostLine:
    """A cost line that has seen enough."""
    costs = CostLine()
    for rows in (1, 2, 4, 8) * 3:
        costs.add(rows, fixed_s + row_s * rows)
    return costs


def queue_of(**limits: Any) -> BatchQueue:
    """A queue before a model whose runs have a fixed cost of 10 ms."""
    return BatchQueue(Limits(**limits), learned())


def work(name: object, rows: int = 1, *, key: str = "", **more: Any) -> Work:
    """A work that bears a name."""
    return Work(Part(name, rows, key, rows), **more)


def taken(queue: BatchQueue, now_s: float = 0.0) -> list[Any]:
    """The names in the next batch; [] where none starts."""
    batch = queue.take(now_s, [])
    return [] if batch is None else [one.part.payload for one in batch.works]


def test_idle_model_is_not_kept_waiting() -> None:
    """Without a declared wait a single row runs at once."""
    queue = queue_of(max_rows=8)
    queue.append([work("a")], 0.0)

    assert taken(queue) == ["a"]


def test_waits_for_company_only_where_it_pays() -> None:
    """A declared wait is used when arrivals come faster than a run's fixed cost, and ends at its bound."""
    queue = queue_of(max_rows=8, max_wait_s=0.005)
    for tick in range(6):
        queue.append([work(tick)], tick * 0.001)
        taken(queue, 1.0)
    queue.append([work("late", arrived_s=0.006)], 0.006)

    assert taken(queue, 0.006) == []
    assert queue.hold_until_s(0.006) == pytest.approx(0.011)
    batch = queue.take(0.011, [])
    assert batch is not None
    assert batch.held_s == pytest.approx(0.005)


def test_wait_is_given_up_when_nobody_comes() -> None:
    """Rare arrivals are never held back, whatever wait is declared."""
    queue = queue_of(max_rows=8, max_wait_s=5.0)
    for tick in range(6):
        queue.append([work(tick)], tick * 10.0)
        assert taken(queue, tick * 10.0) == [tick]


def often(queue: BatchQueue) -> None:
    """Let rows come every tenth of a millisecond until second 1, so that waiting pays."""
    for tick in range(6):
        queue.append([work(tick)], 0.9995 + tick * 1e-4)
    while taken(queue, 99.0):
        pass


@pytest.mark.parametrize(
    ("limits", "works"),
    [
        ({"max_rows": 2}, [work("a"), work("b")]),
        ({"max_rows": 9, "max_cost": 2.0}, [work("a"), work("b")]),
        ({"max_rows": 9}, [work("a", key="x"), work("b", key="y")]),
    ],
    ids=["rows", "cost", "another key"],
)
def test_no_wait_where_company_could_not_join(limits: dict[str, Any], works: list[Work]) -> None:
    """A full batch, or one beside which others wait already, leaves at once."""
    queue = queue_of(max_wait_s=1.0, **limits)
    often(queue)
    for one in works:
        one.arrived_s = 1.0

    queue.append(works[:1], 1.0)
    assert taken(queue, 1.0) == [], "the first alone would wait"
    queue.append(works[1:], 1.0)
    assert taken(queue, 1.0)


def test_wait_leaves_time_to_run() -> None:
    """Nobody is held into the own deadline."""
    queue = queue_of(max_rows=4, max_wait_s=1.0)
    often(queue)
    queue.append([work("a", arrived_s=1.0, deadline_s=1.1)], 1.0)

    assert queue.hold_until_s(1.0) == pytest.approx(1.1 - 0.014)


def test_only_equal_keys_share_a_run() -> None:
    """The longest waiting row leads; rows of another key wait for their own run."""
    queue = queue_of(max_rows=8)
    queue.append([work("a", key="short"), work("b", key="long"), work("c", key="short")], 0.0)

    assert taken(queue) == ["a", "c"]
    assert taken(queue) == ["b"]


@given(rows=st.lists(st.integers(1, 4), min_size=1, max_size=30), bound=st.integers(4, 8))
def test_batches_keep_order_and_bound(rows: list[int], bound: int) -> None:
    """Everything comes out once, in order, and no batch holds more rows than allowed."""
    queue = queue_of(max_rows=bound)
    queue.append([work(index, count) for index, count in enumerate(rows)], 0.0)

    seen: list[int] = []
    while batch := taken(queue):
        assert sum(rows[index] for index in batch) <= bound
        seen += batch

    assert seen == list(range(len(rows)))


def test_urgent_rows_lead_and_others_fill_the_room() -> None:
    """A run is led by the most urgent row, and what fits of the less urgent goes along."""
    queue = queue_of(max_rows=3, levels=2)
    queue.append([work("calm 1", level=2), work("calm 2", level=2)], 0.0)
    queue.append([work("urgent 1", level=1), work("urgent 2", level=1)], 0.0)

    assert taken(queue) == ["urgent 1", "urgent 2", "calm 1"]
    assert taken(queue) == ["calm 2"]


@pytest.mark.parametrize("levels", [2, 3, 12])
def test_no_level_starves(levels: int) -> None:
    """However many urgent rows keep coming, the oldest of every level leads a run after a known number of them."""
    queue = queue_of(max_rows=1, levels=levels)
    patience = max(PATIENCE, levels)
    queue.append([work(level, level=level) for level in range(2, levels + 1)], 0.0)

    order = []
    for turn in range(patience + levels):
        queue.append([work("urgent", level=1)], float(turn))
        order += taken(queue, float(turn))

    assert [name for name in order if name != "urgent"] == list(range(2, levels + 1))
    assert order[:patience] == ["urgent"] * patience


def test_level_that_is_no_more_counts_as_the_last() -> None:
    """Fewer levels than before: whoever waits keeps the place."""
    queue = queue_of(max_rows=1, levels=3)
    queue.append([work("third", level=3), work("second", level=2), work("first", level=1)], 0.0)

    queue.retune(Limits(max_rows=1, levels=2))

    assert [taken(queue) for _ in range(3)] == [["first"], ["third"], ["second"]]


def test_overdue_rows_leave_without_running() -> None:
    """They are named to whoever asks for the next batch."""
    queue = queue_of(max_rows=4)
    queue.append([work("late", deadline_s=1.0), work("a"), work("later", deadline_s=2.0), work("b")], 0.0)
    late: list[Work] = []

    batch = queue.take(2.0, late)

    assert batch is not None
    assert [one.part.payload for one in batch.works] == ["a", "b"]
    assert [one.part.payload for one in late] == ["late", "later"]
    assert queue.rows == 0


def test_small_rows_do_not_overtake_large_ones() -> None:
    """Neither of the own level nor of a less urgent one: what does not fit leads the next run."""
    queue = queue_of(max_rows=3, levels=2)
    queue.append([work("two"), work("two more", 2), work("one")], 0.0)
    queue.append([work("two again", 2), work("calm", level=2)], 0.0)

    assert taken(queue) == ["two", "two more"]
    assert taken(queue) == ["one", "two again"]
    queue.append([work("a"), work("all", 3)], 0.0)
    assert [taken(queue) for _ in range(3)] == [["a"], ["all"], ["calm"]]
