"""Where and how soon runs start."""

from modelapp.costs import CostLine
from modelapp.pacing import INLINE_S, Pacing


def paced(*runs: tuple[float, int, float]) -> Pacing:
    """A pace learned from runs of (cost, requests, seconds)."""
    pacing = Pacing(CostLine())
    for cost, members, seconds in runs:
        pacing.learn(cost, members, seconds, seconds)
    return pacing


def test_unknown_model_leaves_the_loop() -> None:
    """It may take minutes."""
    pacing = Pacing(CostLine())

    assert not pacing.stays(1)
    assert not pacing.at_once


def test_quick_runs_stay_on_the_loop_and_slow_ones_do_not() -> None:
    """By what a run of that cost takes, learned or in proportion."""
    pacing = paced(*[(4.0, 2, INLINE_S / 2)] * 5)

    assert pacing.stays(4)
    assert not pacing.stays(400)
    assert not paced(*[(4.0, 2, INLINE_S * 2)] * 5).stays(4)


def test_cost_in_tokens_is_no_whole_number() -> None:
    """Sizes are counted in powers of two of it."""
    assert paced((100.5, 1, INLINE_S / 2)).stays(99.9)


def test_model_that_waits_for_something_is_kept_off_the_loop() -> None:
    """However short some of its runs are."""
    assert not paced(*[(1.0, 1, INLINE_S / 2), (1.0, 1, 0.2)] * 5).stays(1)


def test_lonely_rows_start_at_once_and_look_for_company_now_and_then() -> None:
    """Where no company ever comes a row does not wait a turn for it."""
    pacing, waits = Pacing(CostLine()), []
    for _ in range(64):
        waits.append(not pacing.at_once)
        pacing.learn(1, 1, INLINE_S / 10, INLINE_S / 10)

    assert all(waits[:8])
    assert 0 < sum(waits[8:]) <= 5
    pacing.learn(2, 2, INLINE_S / 10, INLINE_S / 10)
    assert not pacing.at_once
