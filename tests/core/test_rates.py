"""How many a second and how many at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelapp.rates import Gate, RateLimit

RATES = st.floats(0.01, 10_000)
STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=60)


def admitted(limit: RateLimit, times: list[float]) -> list[float]:
    """When requests came in, of those that knocked at `times`."""
    found = []
    for now_s in times:
        if not limit.wait_s(now_s):
            limit.take(now_s)
            found.append(now_s)
    return found


@given(RATES, STEPS, st.integers(1, 20), st.floats(0, 1e6))
def test_no_window_holds_more_than_the_rate_and_one_burst(rate, steps, at_once, start_s):
    """However requests come, also many at the same moment: counted for every window between two of them."""
    now_s, times = start_s, []
    for step_s in steps:
        now_s += step_s
        times += [now_s] * at_once
    came = admitted(RateLimit(rate), times)
    for first, begin_s in enumerate(came):
        for last in range(first, len(came)):
            most = rate * (came[last] - begin_s) + max(1.0, rate)
            assert last - first + 1 <= most * (1 + 1e-6) + 1e-6


@given(RATES, st.integers(1, 300), st.floats(0, 1e6))
def test_who_waits_as_long_as_told_comes_in_and_nobody_before(rate, count, now_s):
    """The wait is exact: a shorter one is not enough."""
    limit = RateLimit(rate)
    admitted(limit, [now_s] * count)
    if (wait_s := limit.wait_s(now_s)) > 1e-6:
        assert limit.wait_s(now_s + wait_s * 0.99) > 0
        assert limit.wait_s(now_s + wait_s + 1e-6) == 0


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 1), (1, 1), (2, 2), (10, 10)])
def test_a_burst_is_what_a_second_brings(rate, burst):
    """And at least one request."""
    assert len(admitted(RateLimit(rate), [100.0] * 50)) == burst


def test_a_slow_rate_says_when():
    """One request in two seconds: the second may come two seconds after the first."""
    limit = RateLimit(0.5)
    limit.take(10.0)
    assert limit.wait_s(10.5) == pytest.approx(1.5)


def test_another_rate_forgets_nothing():
    """What was taken under the old rate still counts."""
    limit = RateLimit(1)
    limit.take(10.0)
    limit.change(0.5)
    assert limit.wait_s(10.0) == pytest.approx(1.0)


class Comings(RuleBasedStateMachine):
    """People enter and leave in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(3)
        self.inside = 0

    @rule()
    def knock(self):
        """Enter where there is room."""
        if not self.gate.full:
            self.gate.enter()
            self.inside += 1

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self):
        """One goes."""
        self.gate.leave()
        self.inside -= 1

    @invariant()
    def counts(self):
        """Never more than the bound, and everybody is counted."""
        assert self.gate.inside == self.inside <= 3


TestComings = Comings.TestCase
