"""The one verdict over many outcomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import AppTest
from modelapp.verdicts import EXIT_STATUS, Outcome, Verdict, count, overall, summary


def outcome(verdict: Verdict) -> Outcome:
    """An outcome with this verdict."""
    return Outcome(test=AppTest(name="t"), verdict=verdict, endpoint="e", seconds=0)


verdicts = st.lists(st.sampled_from(["pass", "fail", "inconclusive"]), max_size=6)


@given(verdicts)
def test_only_all_passed_passes(found: list[Verdict]) -> None:
    """Any failure fails; nothing tested and anything undecided is inconclusive."""
    verdict = overall(map(outcome, found))
    assert (verdict == "fail") == ("fail" in found)
    assert (verdict == "pass") == (bool(found) and set(found) == {"pass"})


@given(verdicts)
def test_counts_add_up(found: list[Verdict]) -> None:
    """Every outcome is counted once."""
    assert sum(count(map(outcome, found)).values()) == len(found)


def test_exit_statuses() -> None:
    """Each verdict has its own."""
    assert EXIT_STATUS == {"pass": 0, "fail": 1, "inconclusive": 4}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (["pass", "fail", "pass"], "1 failed, 2 passed"),
        (["inconclusive"], "1 inconclusive"),
        ([], "no tests"),
    ],
)
def test_summary(found: list[Verdict], words: str) -> None:
    """The line below all tests."""
    assert summary(map(outcome, found)) == words
