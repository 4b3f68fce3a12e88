"""How fast rows get done, and what a refused client is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.drainrate import DrainRate


def busy(rate: DrainRate, rows: int, run_s: float, runs: int, start_s: float = 0.0) -> float:
    """Runs one after the other; the time after them."""
    now_s = start_s
    for run in range(runs):
        rate.began(now_s)
        now_s += run_s
        rate.ended(rows, now_s, more=run < runs - 1)
    return now_s


@given(rows=st.integers(1, 64), run_s=st.floats(0.001, 2.0), runs=st.integers(1, 50))
def test_steady_rate_is_measured(rows: int, run_s: float, runs: int) -> None:
    """Rows over the time they took."""
    rate = DrainRate()
    now_s = busy(rate, rows, run_s, runs)

    assert rate.per_s(now_s) == pytest.approx(rows / run_s)
    assert rate.drain_s(10, now_s) == pytest.approx(min(10 * run_s / rows, 60))


def test_idle_time_does_not_count() -> None:
    """After an hour without requests a model is as fast as before."""
    rate = DrainRate()
    now_s = busy(rate, 4, 0.1, 10)

    assert rate.per_s(now_s + 3600) == pytest.approx(40)


def test_work_between_runs_counts() -> None:
    """While rows wait, what the loop does between two runs makes the model slower for its clients."""
    rate = DrainRate()
    for turn in range(10):
        rate.began(turn * 0.2)
        rate.ended(1, turn * 0.2 + 0.1, more=True)

    assert rate.per_s(1.9) == pytest.approx(10 / 1.9, rel=0.02)


def test_lately_is_the_last_seconds() -> None:
    """A model that became ten times slower is told so within some seconds of work."""
    rate = DrainRate()
    now_s = busy(rate, 1, 0.01, 3000)
    now_s = busy(rate, 1, 0.1, 200, now_s)

    assert rate.per_s(now_s) < 15


def test_run_that_does_not_end_slows_it_down() -> None:
    """A model that hangs is not said to have room in a moment."""
    rate = DrainRate()
    now_s = busy(rate, 1, 0.01, 100)
    rate.began(now_s)

    assert rate.drain_s(10, now_s) < 0.2
    assert rate.drain_s(10, now_s + 5) > 0.5
    assert rate.drain_s(10, now_s + 500) == 60


def test_nothing_is_known_at_first() -> None:
    """A second, or as long as the first run takes already."""
    rate = DrainRate()
    assert rate.drain_s(10, 0.0) == 1.0

    rate.began(0.0)
    assert rate.drain_s(10, 7.0) == 7.0
