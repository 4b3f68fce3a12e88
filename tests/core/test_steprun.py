"""How the tokens of a step are shared out."""

from hypothesis import given
from hypothesis import strategies as st

from modelapp.steprun import fair_shares


@given(st.lists(st.integers(1, 500), max_size=20), st.integers(1, 600))
def test_shares_are_fair(wanted: list[int], budget: int) -> None:
    """Nobody gets more than wanted, the budget is spent where it is wanted, and whoever gets less than wanted gets no
    less than anybody else, but for the odd token."""
    shares = fair_shares(wanted, budget)
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    assert sum(shares) == min(budget, sum(wanted)) or len(wanted) > budget
    if len(wanted) <= budget:
        short = [share for share, want in zip(shares, wanted, strict=True) if share < want]
        assert all(share >= 1 for share in shares)
        assert not short or min(short) >= max(shares) - 1


def test_a_short_prompt_is_read_at_once() -> None:
    """Beside long ones it gets all it wants, and the first come first where there is not a token for each."""
    assert fair_shares([1000, 5, 1000], 65) == [30, 5, 30]
    assert fair_shares([9, 9, 9], 2) == [1, 1, 0]
