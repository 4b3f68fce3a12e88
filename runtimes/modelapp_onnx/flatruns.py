"""Puts what the sequences of one step are fed into flat arrays, as the graph takes them. Pure."""

from collections.abc import Sequence
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.int64] | NDArray[np.int32]


@attrs.frozen
class RowFeed:
    """New tokens of the sequence in `row`, which holds `known` already; `answer`: its place among the answers."""

    row: int
    known: int
    tokens: Sequence[int]
    answer: int | None = None


@attrs.frozen
class FlatRun:
    """One run. `bound`: which rows of the cache each group works on; groups that are missing have nothing to do.

    `answers` are the places of the run's logits among those of the step.
    """

    arrays: dict[str, Numbers]
    bound: dict[str, tuple[int, int]]
    answers: Sequence[int]


def flat_runs(feeds: Sequence[RowFeed], known: NDArray[np.int32], *, chunks: int, spare: int) -> list[FlatRun]:
    """The runs of a step: one, or more where over `chunks` sequences are fed several tokens.

    `known`: the tokens of each row of the cache. `spare` is a row that nobody owns.
    """
    single = [feed for feed in feeds if len(feed.tokens) == 1]
    many = [feed for feed in feeds if len(feed.tokens) > 1]
    runs = [_flat(single, many[:chunks], known, chunks, spare)]
    # The rows of `single` are not touched again: what the first run wrote of them stays.
    runs += [_flat((), many[at : at + chunks], known, chunks, spare) for at in range(chunks, len(many), chunks)]
    return runs


def _flat(
    single: Sequence[RowFeed], many: Sequence[RowFeed], known: NDArray[np.int32], chunks: int, spare: int
) -> FlatRun:
    first, end = (0, 1 + max(feed.row for feed in single)) if single else (spare, spare + 1)
    # A row of the range that has no token here gets one for nothing, behind all that it holds: the next overwrites it.
    lengths = known[first:end].copy()
    for feed in many:
        if first <= feed.row < end:
            lengths[feed.row - first] += len(feed.tokens)
    index = np.zeros(end - first, np.int64)
    tokens: list[int] = []
    positions: list[int] = []
    order: list[int] = []
    for at, feed in enumerate(single):
        index[feed.row - first] = at
        order.append(feed.row - first)
        positions.append(feed.known)
        tokens.append(feed.tokens[0])
    arrays: dict[str, Numbers] = {"rows": index, "rows_lengths": lengths}
    arrays["rows_total"] = np.array(lengths.max() + 1, np.int32)
    bound = {"rows": (first, end)}
    place = end - first
    for at, feed in enumerate(many):
        name, count, start = f"chunk{at}", len(feed.tokens), len(tokens)
        bound[name] = (feed.row, feed.row + 1)
        arrays |= _chunk(name, start, feed.known, count)
        order += range(place, place + count)
        positions += range(feed.known, feed.known + count)
        tokens += feed.tokens
        place += count
    place_of_last = np.cumsum([len(feed.tokens) for feed in (*single, *many)]) - 1
    asked = sorted(
        (feed.answer, place_of_last[at]) for at, feed in enumerate((*single, *many)) if feed.answer is not None
    )
    arrays |= {name: np.array(what, np.int64) for name, what in (("tokens", tokens), ("positions", positions))}
    arrays |= {"order": np.array(order, np.int64), "wanted": np.array([last for _, last in asked], np.int64)}
    return FlatRun(arrays, bound, [answer for answer, _ in asked])


def _chunk(name: str, start: int, known: int, count: int) -> dict[str, Numbers]:
    return {
        name: np.arange(start, start + count),
        f"{name}_lengths": np.array([known + count - 1], np.int32),
        f"{name}_total": np.array(known + count, np.int32),
    }


def idle_chunk(name: str) -> dict[str, Numbers]:
    """What a chunk group is given that has nothing to do: the run's first token, for a row that nobody owns."""
    return _chunk(name, 0, 0, 1)
