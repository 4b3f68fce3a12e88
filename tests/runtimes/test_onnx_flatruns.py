"""Flat runs: each token is worked on by the row that it belongs to, and its answer comes back to it."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelapp_onnx.flatruns import FlatRun, RowFeed, flat_runs, idle_chunk

SLOTS, SPARE, CAPACITY = 6, 8, 40


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[RowFeed], np.ndarray]:
    """Feeds of some rows, each with what it holds already, and what all rows hold."""
    known = np.array(draw(st.lists(st.integers(0, 20), min_size=SPARE + 1, max_size=SPARE + 1)), np.int32)
    known[SPARE] = 0
    rows = draw(st.lists(st.integers(0, SLOTS - 1), min_size=1, unique=True))
    feeds: list[RowFeed] = []
    answers = 0
    for row in rows:
        tokens = draw(st.lists(st.integers(0, 99), min_size=1, max_size=draw(st.sampled_from([1, 5]))))
        wanted = draw(st.booleans())
        feeds.append(RowFeed(row, int(known[row]), tokens, answers if wanted else None))
        answers += wanted
    return feeds, known


def worked_on(run: FlatRun, chunks: int) -> list[tuple[int, int]]:
    """By the graph's rules, the row and the place in it that each place of the groups' answers belongs to; and checks
    that the group took the token that the answer goes back to."""
    places: list[tuple[int, int]] = []
    takes: list[int] = []
    first, end = run.bound["rows"]
    for at, row in enumerate(range(first, end)):
        places.append((row, int(run.arrays["rows_lengths"][at])))
        takes.append(int(run.arrays["rows"][at]))
    for at in range(chunks):
        name = f"chunk{at}"
        arrays = run.arrays if name in run.bound else idle_chunk(name)
        row = run.bound.get(name, (SPARE, SPARE + 1))[0]
        count = len(arrays[name])
        start = int(arrays[f"{name}_total"]) - count
        assert int(arrays[f"{name}_lengths"][0]) == start + count - 1
        places += [(row, start + token) for token in range(count)]
        takes += [int(token) for token in arrays[name]]
    order: Sequence[int] = [int(place) for place in run.arrays["order"]]
    assert [takes[place] for place in order] == list(range(len(order)))
    used = [places[place] for place in order]
    touched = [place for at, place in enumerate(places) if at not in order and place[0] != SPARE]
    assert not set(touched) & set(used), "what is written for nothing hits a token of this run"
    return used


@given(steps(), st.integers(1, 4))
def test_each_token_is_worked_on_where_it_belongs(step: tuple[list[RowFeed], np.ndarray], chunks: int) -> None:
    """Over all runs of a step each feed's tokens go to its own row, in order, behind what that holds; and nothing that
    is written for nothing hits a token, of this step or before."""
    feeds, known = step
    runs = flat_runs(feeds, known, chunks=chunks, spare=SPARE)
    seen: dict[tuple[int, int], int] = {}
    for run in runs:
        used = worked_on(run, chunks)
        for place, token, position in zip(used, run.arrays["tokens"], run.arrays["positions"], strict=True):
            assert place not in seen
            assert position == place[1]
            seen[place] = int(token)
        assert int(run.arrays["rows_total"]) == run.arrays["rows_lengths"].max() + 1
        first, end = run.bound["rows"]
        for row, length in zip(range(first, end), run.arrays["rows_lengths"], strict=True):
            assert length >= known[row]
            assert run is runs[0] or row == SPARE, "a later run touches what the first one wrote"
    assert seen == {(feed.row, feed.known + at): token for feed in feeds for at, token in enumerate(feed.tokens)}


@given(steps(), st.integers(1, 4))
def test_answers_are_those_of_last_tokens(step: tuple[list[RowFeed], np.ndarray], chunks: int) -> None:
    """Each wanted feed is answered once, at the place of its last token."""
    feeds, known = step
    told: dict[int, tuple[int, int]] = {}
    for run in flat_runs(feeds, known, chunks=chunks, spare=SPARE):
        used = worked_on(run, chunks)
        for answer, at in zip(run.answers, run.arrays["wanted"], strict=True):
            assert answer not in told
            told[answer] = used[int(at)]
    assert told == {
        feed.answer: (feed.row, feed.known + len(feed.tokens) - 1) for feed in feeds if feed.answer is not None
    }


def test_one_run_where_the_groups_suffice() -> None:
    """Single tokens and up to `chunks` longer feeds share a run; more take further ones."""
    known = np.zeros(SPARE + 1, np.int32)
    feeds = [RowFeed(0, 0, [1], 0), *(RowFeed(row, 0, [1, 2], row) for row in range(1, 6))]
    assert len(flat_runs(feeds[:3], known, chunks=2, spare=SPARE)) == 1
    assert len(flat_runs(feeds, known, chunks=2, spare=SPARE)) == 3
