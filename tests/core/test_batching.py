"""What a run may hold, and what it costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.batching import Batch, Limits, Part, Work


def work(rows: int, length: float = 1, deadline_s: float | None = None) -> Work:
    """Rows of one length."""
    return Work(Part(None, rows, (), rows * length, length), deadline_s=deadline_s)


@pytest.mark.parametrize(
    ("limits", "cost"),
    [(Limits(), 5), (Limits(padded=True), 9)],
)
def test_cost_of_a_run(limits: Limits, cost: float) -> None:
    """The sum of what its rows cost, or its rows times the longest where they are padded."""
    assert Batch([work(2, 1), work(1, 3)]).cost(limits) == cost


@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1),
    max_cost=st.integers(0, 40),
    padded=st.booleans(),
)
def test_room_is_what_the_bounds_leave(sizes: list[tuple[int, int]], max_cost: int, padded: bool) -> None:
    """A batch that takes what it has room for is within both bounds, but for a first work that is too large alone."""
    limits = Limits(max_rows=8, max_cost=max_cost, padded=padded)
    batch = Batch()
    for rows, length in sizes:
        one = work(rows, length)
        if batch.has_room(one, limits):
            batch.add(one)

    assert batch.rows <= 8
    assert len(batch.works) == 1 or not max_cost or batch.cost(limits) <= max_cost


def test_run_may_last_as_long_as_anybody_waits() -> None:
    """One mate's early deadline is not the run's."""
    assert Batch([work(1, deadline_s=1.0), work(1, deadline_s=3.0)]).deadline_s == 3.0
    assert Batch([work(1, deadline_s=1.0), work(1)]).deadline_s is None
