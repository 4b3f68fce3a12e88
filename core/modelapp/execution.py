"""One run of a model: requests' rows put together, run, checked, and cut apart again."""

import math
from collections.abc import Hashable, Mapping, Sequence
from time import perf_counter
from typing import cast

import attrs
import numpy as np

from modelapp.answers import find_not_finite
from modelapp.app import Model
from modelapp.errors import InvalidInput, ModelFailed, OutOfMemory, RequestError
from modelapp.padding import Padding, check_pad
from modelapp.runtime import Arrays, LoadedModel, Records, Rows, Run
from modelapp.tensors import InputCheck, OutputCheck, finite_rows

_ENOUGH = 3
"""Runs after which the least of their times is no accident of the first."""


class Execution:
    """How the rows of one loaded model are checked, keyed, split, stacked and run.

    The batcher above it knows rows only by their number and key. Raises LoadError where `pad` does not fit the model.
    """

    def __init__(self, loaded: LoadedModel, model: Model) -> None:
        self.loaded = loaded
        self.signature = loaded.signature
        self.records = self.signature.kind == "records"
        if not self.records and not self.signature.inputs:  # nothing that goes in could count rows
            self.signature = attrs.evolve(self.signature, batched=False)
        self.model = model
        check_pad(self.signature, model)
        self._padding = Padding(self.signature, model.pad)
        self._check = InputCheck(self.signature)
        self._check_outputs = OutputCheck(self.signature)
        self._runs, self._least_s = 0, math.inf

    @property
    def max_rows(self) -> int:
        """The most rows a run may hold: what is declared, or 1 where the model cannot be batched."""
        return self.model.max_batch_size if self.signature.batched else 1

    @property
    def least_ms(self) -> float | None:
        """The least that the model itself took for a run; None until there were enough to leave the first one out."""
        return self._least_s * 1000 if self._runs >= _ENOUGH else None

    def check(self, rows: Rows) -> tuple[Rows, int, Hashable]:
        """The rows ready to run, their number, and the key of rows they may share a run with. Raises InvalidInput."""
        if self.records:
            if not rows:
                raise InvalidInput("a request must hold at least one row")
            return rows, len(rows), ()
        arrays = self._check(cast("Arrays", rows))
        if not self.signature.batched:
            return arrays, 1, ()
        if not arrays:
            raise InvalidInput("a request must hold at least one input")
        return arrays, len(next(iter(arrays.values()))), self._padding.key(arrays)

    def pieces(self, rows: Rows, count: int) -> list[tuple[Rows, int]]:
        """A request larger than a run, cut into runs."""
        size = self.max_rows
        starts = range(0, count, size)
        if self.records:
            records = cast("Records", rows)
            return [(records[start : start + size], min(size, count - start)) for start in starts]
        arrays = cast("Arrays", rows)
        return [
            ({name: array[start : start + size] for name, array in arrays.items()}, min(size, count - start))
            for start in starts
        ]

    def join(self, parts: Sequence[Rows]) -> Rows:
        """The answers of `pieces`, one after the other."""
        if self.records:
            return [record for part in parts for record in cast("Records", part)]
        arrays = cast("Sequence[Arrays]", parts)
        return {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}

    def run(self, parts: Sequence[tuple[Rows, int]], run: Run) -> list[Rows | Exception]:
        """Run the parts together. One answer or error a part; raises where the run as a whole failed."""
        sizes = [count for _, count in parts]
        rows = sum(sizes)
        run.rows = rows
        try:
            if self.records:
                return list(self._run_records([part for part, _ in parts], sizes, rows, run))
            return self._run_arrays([cast("Arrays", part) for part, _ in parts], sizes, rows, run)
        except RequestError:
            raise
        except MemoryError as error:
            raise OutOfMemory(f'model "{self.model.name}" ran out of memory on {rows} rows') from error

    def _infer(self, rows: Rows, run: Run) -> Rows:
        started = perf_counter()
        try:
            answers = self.loaded.infer(rows, run)
        finally:
            seconds = perf_counter() - started
            run.infer_s += seconds
        self._runs += 1
        self._least_s = min(self._least_s, seconds)
        return answers

    def _run_arrays(self, parts: Sequence[Arrays], sizes: Sequence[int], rows: int, run: Run) -> list[Rows | Exception]:
        outputs = cast("Arrays", self._infer(self._padding.stack(parts), run))
        self._check_outputs(outputs, rows)
        answers: list[Rows | Exception] = list(self._padding.cut(outputs, parts, sizes))
        if self.model.finite and (good := finite_rows(outputs, batched=self.signature.batched)) is not None:
            row = 0
            for index, size in enumerate(sizes):
                if not good[row : row + size].all():
                    answers[index] = self._not_finite()
                row += size
        return answers

    def _not_finite(self) -> ModelFailed:
        return ModelFailed(f'model "{self.model.name}" answered with NaN or infinity')

    def _run_records(self, parts: Sequence[Rows], sizes: Sequence[int], rows: int, run: Run) -> list[Rows | Exception]:
        answers = self._infer([record for part in parts for record in cast("Records", part)], run)
        if isinstance(answers, Mapping) or not isinstance(answers, Sequence):
            raise ModelFailed(
                f'model "{self.model.name}" should answer a list of records, not {type(answers).__name__}'
            )
        if len(answers) != rows:
            raise ModelFailed(f'model "{self.model.name}" was given {rows} records and answered {len(answers)}')
        cuts: list[Rows | Exception] = []
        row = 0
        for size in sizes:
            mine = answers[row : row + size]
            spoilt = self.model.finite and find_not_finite(mine) is not None
            cuts.append(self._not_finite() if spoilt else mine)
            row += size
        return cuts
