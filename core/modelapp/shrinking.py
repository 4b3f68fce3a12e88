"""A run that does not fit into memory is run again in halves, and what came of it bounds later runs."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from modelapp.batching import Part
from modelapp.errors import Cancelled, OutOfMemory
from modelapp.runtime import Run

log = logging.getLogger("modelapp")

Together: TypeAlias = Callable[[Sequence[Part]], list[Any]]
"""Runs parts together: one answer or error a part; raises where the run as a whole failed."""
Cut: TypeAlias = Callable[[Part, int, int], Part]
"""Some rows of a part, from one to before another."""
Join: TypeAlias = Callable[[Sequence[Any]], Any]
"""The answers of such pieces, one after the other."""


class Shrinking:
    """The most rows that fit a run of one model here, as far as that is known. Safe to use from several threads."""

    def __init__(self, model: str, cut: Cut, join: Join) -> None:
        self.most_rows: int | None = None
        """A run holds no more from now on; None while every run had room."""
        self.on_learned: Callable[[], object] | None = None
        """Called, on the thread of the run, when `most_rows` has become less."""
        self._model = model
        self._cut = cut
        self._join = join

    def run(self, parts: Sequence[Part], run: Run, together: Together, first: OutOfMemory) -> list[Any]:
        """The outcomes of `parts`, which did not fit together, in their order. Raises what else a run raises.

        A row that does not fit alone fails its part. Where more than log2 n rows do so and no run had room at all the
        fault is not theirs, and the rest is not tried.
        """
        rows = sum(part.rows for part in parts)
        if rows < 2:
            raise first
        search = _Search(self, run, together, rows)
        outcomes = search.halves(parts, rows, first)
        if search.fitted:
            self._learn(rows, search.fitted)
        return outcomes

    def _learn(self, failed: int, fitted: int) -> None:
        if self.most_rows is not None and self.most_rows <= fitted:
            return
        self.most_rows = fitted
        log.warning(
            'model "%s" ran out of memory on %d rows; from now on a run holds %d at most', self._model, failed, fitted
        )
        if self.on_learned is not None:
            self.on_learned()

    def split(self, parts: Sequence[Part], rows: int) -> tuple[list[Part], list[Part], bool]:
        """The first half of the rows, the other, and whether one part is cut in two and stands in both."""
        left: list[Part] = []
        room = rows // 2
        for part in parts:
            if part.rows > room:
                break
            left.append(part)
            room -= part.rows
        right = list(parts[len(left) :])
        if not room:
            return left, right, False
        whole = right[0]
        return [*left, self._cut(whole, 0, room)], [self._cut(whole, room, whole.rows), *right[1:]], True

    def joined(self, one: Any, other: Any) -> Any:
        """The outcome of a part from those of its two pieces."""
        failed = next((piece for piece in (one, other) if isinstance(piece, BaseException)), None)
        return self._join([one, other]) if failed is None else failed


class _Search:
    """One run that is being halved until everything fits."""

    def __init__(self, shrinking: Shrinking, run: Run, together: Together, rows: int) -> None:
        self.fitted = 0
        """The most rows that had room."""
        self._shrinking = shrinking
        self._run = run
        self._together = together
        self._allowed = (rows - 1).bit_length()
        self._alone = 0

    def halves(self, parts: Sequence[Part], rows: int, error: OutOfMemory) -> list[Any]:
        """The outcomes of parts that did not fit together."""
        left, right, shared = self._shrinking.split(parts, rows)
        first, second = self._attempt(left, error), self._attempt(right, error)
        if not shared:
            return first + second
        return [*first[:-1], self._shrinking.joined(first[-1], second[0]), *second[1:]]

    def _attempt(self, parts: Sequence[Part], error: OutOfMemory) -> list[Any]:
        if self._alone > self._allowed and not self.fitted:
            return [error.again() for _ in parts]
        if self._run.cancelled:
            raise Cancelled("nobody waits for this run any more")
        rows = sum(part.rows for part in parts)
        try:
            outcomes = self._together(parts)
        except OutOfMemory as failed:
            error = failed.again()  # without the frames of the run, which hold its memory
        else:
            self.fitted = max(self.fitted, rows)
            return outcomes
        if rows > 1:
            return self.halves(parts, rows, error)
        self._alone += 1
        return [error]
