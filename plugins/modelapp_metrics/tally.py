"""Counts, sums and histograms by key, added to in bulk."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
Group = TypeVar("Group", bound=Hashable)
MOST_EVENTS = 512
"""How many events may be added at once."""
_MOST = 2.0**53 / MOST_EVENTS
"""What one value is cut to, in steps: 4.9 hours of nanoseconds. Sums of so many events stay exact as floats."""
_GROWTH = 16


@attrs.frozen
class Column:
    """A number observed with each event: its sum is kept, and where there are `bounds` a histogram.

    It is counted in whole steps of `step`, so that a sum does not depend on the order of its parts. NaN: not observed.
    """

    name: str
    step: float = 1.0
    bounds: tuple[float, ...] = ()


@attrs.frozen
class Sums:
    """What a column came to, for one group of keys: its sum, and how many were observed in each bucket.

    A bucket holds what is at most its bound, and more than the one before; the last one has no bound. A column without
    bounds has no buckets.
    """

    total: float
    buckets: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many were observed, of a column with bounds."""
        return sum(self.buckets)


class Tally(Generic[Key]):
    """One row a key, one matrix a column. Folding in any split and order gives the same; for one thread at a time."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self._rows: dict[Key, int] = {}
        self._events = np.zeros(0, np.int64)
        self._sums: list[Ints] = [np.zeros(0, np.int64) for _ in columns]
        self._buckets: list[Ints] = [
            np.zeros((0, len(column.bounds) + 1 if column.bounds else 0), np.int64) for column in columns
        ]
        self._bounds: list[Floats] = [np.array(column.bounds) for column in columns]

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every key, in the order in which they were seen first."""
        return tuple(self._rows)

    def row(self, key: Key) -> int:
        """The row of a key, a new one where it has none."""
        row = self._rows.setdefault(key, len(self._rows))
        if row >= len(self._events):
            more = max(_GROWTH, len(self._events))
            self._events = np.concatenate([self._events, np.zeros(more, np.int64)])
            for matrices in (self._sums, self._buckets):
                matrices[:] = [np.concatenate([old, np.zeros((more, *old.shape[1:]), np.int64)]) for old in matrices]
        return row

    def add(self, rows: Sequence[int], values: Floats) -> None:
        """Add events: event i is of the key at `rows[i]`, its numbers are `values[i]`, one a column.

        At most MOST_EVENTS at once.
        """
        where, size = np.array(rows, np.int64), len(self._events)
        self._events += np.bincount(where, minlength=size)
        for place, column in enumerate(self.columns):
            found, at = values[:, place], where
            seen = ~np.isnan(found)
            if not seen.all():
                found, at = found[seen], where[seen]
            steps = np.minimum(np.maximum(np.rint(found / column.step), 0), _MOST)
            self._sums[place] += np.bincount(at, weights=steps, minlength=size).astype(np.int64)
            if not column.bounds:
                continue
            width = len(column.bounds) + 1
            bucket = at * width + np.searchsorted(self._bounds[place], found)
            self._buckets[place] += np.bincount(bucket, minlength=size * width).reshape(size, width)

    def events(self, group: Callable[[Key], Group | None]) -> Mapping[Group, int]:
        """How many events there were, by what `group` makes of their keys; None leaves a key out."""
        found: dict[Group, int] = {}
        for key, row in self._rows.items():
            if (name := group(key)) is not None:
                found[name] = found.get(name, 0) + int(self._events[row])
        return found

    def sums(self, name: str, group: Callable[[Key], Group | None]) -> Mapping[Group, Sums]:
        """What the column `name` came to, by what `group` makes of the keys; None leaves a key out."""
        place = next(i for i, column in enumerate(self.columns) if column.name == name)
        rows: dict[Group, list[int]] = {}
        for key, row in self._rows.items():
            if (group_name := group(key)) is not None:
                rows.setdefault(group_name, []).append(row)
        return {group_name: self._sum(place, at) for group_name, at in rows.items()}

    def _sum(self, place: int, rows: Sequence[int]) -> Sums:
        buckets = self._buckets[place][rows].sum(axis=0)
        steps = int(self._sums[place][rows].sum())
        return Sums(_whole(steps, self.columns[place].step), tuple(buckets.tolist()))


def _whole(steps: int, step: float) -> float:
    """Divided rather than multiplied where a step is a decimal fraction, since that rounds once."""
    return steps * step if step >= 1 else steps / round(1 / step)
