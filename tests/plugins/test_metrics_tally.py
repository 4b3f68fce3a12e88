"""Counting in bulk is counting one by one."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelapp_metrics.tally import MOST_EVENTS, Column, Tally

SECONDS = Column("seconds", 1e-9, (0.001, 0.1, 1.0, 30.0))
COLUMNS = (SECONDS, Column("bytes"), Column("cost", 1e-3, (1.0, 4.0)))
NUMBER = st.one_of(
    st.floats(0, 1e5), st.sampled_from([0.001, 0.1, 1.0, 30.0, math.nan, 0.0]), st.integers(0, 2**30).map(float)
)
EVENTS = st.lists(st.tuples(st.sampled_from("abcdefghij"), NUMBER, NUMBER, NUMBER), max_size=60)


def fold(parts):
    """A tally of events, added in these parts."""
    tally = Tally(COLUMNS)
    for part in parts:
        tally.add([tally.row(key) for key, *_ in part], np.array([numbers for _, *numbers in part]).reshape(-1, 3))
    return tally


def result(tally, group=str):
    """All that a tally tells."""
    return tally.events(group), {column.name: tally.sums(column.name, group) for column in COLUMNS}


@given(EVENTS, st.lists(st.integers(0, 60)), st.randoms(use_true_random=False))
def test_any_split_in_any_order_gives_the_same(events, cuts, random):
    """Counts, buckets and sums, to the last bit."""
    one_by_one = fold([event] for event in events)
    shuffled = [*events]
    random.shuffle(shuffled)
    edges = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    in_parts = fold(shuffled[start:end] for start, end in itertools.pairwise(edges))
    assert result(in_parts) == result(one_by_one)


@given(EVENTS)
def test_it_is_what_plain_python_counts(events):
    """Buckets hold what is at most their bound, NaN counts nowhere but as an event, sums are exact in whole steps."""
    tally = fold([events] if events else [])
    for key in {key for key, *_ in events}:
        mine = [numbers for other, *numbers in events if other == key]
        assert tally.events(str)[key] == len(mine)
        for place, column in enumerate(COLUMNS):
            seen = [numbers[place] for numbers in mine if not math.isnan(numbers[place])]
            found = tally.sums(column.name, str)[key]
            steps = sum(min(round(value / column.step), 2**53 // MOST_EVENTS) for value in seen)
            assert found.total == (steps * column.step if column.step == 1 else steps / round(1 / column.step))
            edges = [-math.inf, *column.bounds, math.inf]
            inside = [sum(low < value <= high for value in seen) for low, high in itertools.pairwise(edges)]
            assert found.buckets == (tuple(inside) if column.bounds else ())


@given(EVENTS)
def test_groups_sum_their_keys(events):
    """A group is as if its keys were one; a key that is in none is left out."""
    tally = fold([event] for event in events)
    merged = fold([("vowel", *numbers)] for key, *numbers in events if key in "aei")
    grouped = result(tally, lambda key: "vowel" if key in "aei" else None)
    assert grouped == result(merged)


def test_a_full_fold_of_the_largest_values_is_exact():
    """Sums pass through floats, which hold so many whole steps and no more."""
    tally = Tally([SECONDS])
    row, value = tally.row("a"), 17_000.000000001
    tally.add([row] * MOST_EVENTS, np.full((MOST_EVENTS, 1), value))
    assert tally.sums("seconds", str)["a"].total == MOST_EVENTS * 17_000_000_000_001 / 10**9


def test_values_out_of_range_neither_wrap_nor_count_backwards():
    """A clock that went back is no time at all, and a number beyond all sense is cut."""
    tally = Tally([SECONDS])
    row = tally.row("a")
    tally.add([row, row], np.array([[-5.0], [math.inf]]))
    found = tally.sums("seconds", str)["a"]
    assert found.buckets == (1, 0, 0, 0, 1)
    assert 0 < found.total < 20_000
