"""What a run costs, learned from runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.costs import Arrivals, CostLine, Floor, waiting_pays


@given(
    slope_ms=st.floats(0.01, 10),
    fixed_ms=st.floats(0.01, 50),
    sizes=st.lists(st.integers(1, 64), min_size=8, max_size=60).filter(lambda sizes: len(set(sizes)) > 2),
)
def test_line_is_recovered(slope_ms: float, fixed_ms: float, sizes: list[int]) -> None:
    """Runs that lie on a line give that line back."""
    costs = CostLine()
    for rows in sizes:
        costs.add(rows, (slope_ms * rows + fixed_ms) / 1000)

    assert costs.predict_s(32) == pytest.approx((slope_ms * 32 + fixed_ms) / 1000, rel=1e-3)
    assert costs.fixed_s == pytest.approx(fixed_ms / 1000, rel=1e-2, abs=1e-6)


def test_nothing_is_predicted_before_the_first_run() -> None:
    """An unknown model is expected to be slow, so that its first run leaves the loop."""
    costs = CostLine()

    assert not costs.known
    assert costs.predict_s(1) == float("inf")
    assert costs.fixed_s is None


def test_equal_sizes_give_no_fixed_cost() -> None:
    """Runs of one size cannot tell fixed cost from cost per row; a larger run is expected to cost in proportion."""
    costs = CostLine()
    for _ in range(20):
        costs.add(4, 0.008)

    assert costs.fixed_s is None
    assert costs.predict_s(2) == pytest.approx(0.008)
    assert costs.predict_s(8) == pytest.approx(0.016)


def test_old_runs_fade() -> None:
    """A model that became faster is believed after some runs."""
    costs = CostLine()
    for _ in range(50):
        costs.add(1, 1.0)
    for _ in range(100):
        costs.add(1, 0.001)

    assert costs.predict_s(1) < 0.02


def test_waiting_pays_only_when_company_comes_soon() -> None:
    """Holding rows back is worth a run's fixed cost, and no more."""
    costs, arrivals = CostLine(), Arrivals()
    for rows in (1, 2, 4, 8, 1, 2, 4, 8):
        costs.add(rows, 0.010 + 0.001 * rows)

    assert not waiting_pays(costs, arrivals, 1), "nothing is known of arrivals"
    for tick in range(10):
        arrivals.add(tick * 0.002)
    assert waiting_pays(costs, arrivals, 1)
    assert not waiting_pays(costs, arrivals, 8)


def test_floor_is_the_least_seen_of_a_size() -> None:
    """A run that had to wait for others says nothing of what the work takes."""
    floor = Floor()
    for seconds in (0.004, 0.00002, 0.005, 0.003):
        floor.add(4, seconds)

    assert floor.at_s(5) == pytest.approx(0.00002, rel=0.3)
    assert floor.at_s(16) == pytest.approx(0.00008, rel=0.3), "a larger size not seen yet is expected in proportion"
    assert floor.at_s(1) == float("inf")


def test_floor_follows_a_model_that_became_slower() -> None:
    """What was quick once is not believed for ever."""
    floor = Floor()
    floor.add(1, 0.00002)
    for _ in range(40):
        floor.add(1, 0.001)

    assert floor.at_s(1) > 0.0005
