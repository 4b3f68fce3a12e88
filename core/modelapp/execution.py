"""One run of a model: requests' rows put together, run, checked, and cut apart again."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import cast

import attrs
import numpy as np

from modelapp.answers import find_not_finite
from modelapp.app import Model
from modelapp.batching import Part
from modelapp.blame import failure
from modelapp.errors import InvalidInput, ModelFailed, OutOfMemory, RequestError, is_out_of_memory
from modelapp.masking import everything, scrubbed
from modelapp.padding import Padding, check_pad
from modelapp.runtime import Arrays, LoadedModel, Records, Rows, Run
from modelapp.shrinking import Shrinking
from modelapp.taskanswers import AnswerCheck
from modelapp.tensors import InputCheck, OutputCheck, finite_rows
from modelapp.tokencounts import TokenCounts

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
        self._padding = Padding(self.signature, model)
        self._tokens = TokenCounts(self.signature, model, self._padding.buckets)
        self._check = InputCheck(self.signature)
        self._check_outputs = OutputCheck(self.signature)
        self._answers = AnswerCheck(model.name, model.task)
        self.shrinking = Shrinking(model.name, self._cut, self.join)
        """What is known of the memory here."""
        self._private_root: Path | None = None
        self._runs, self._least_s = 0, math.inf

    @property
    def max_rows(self) -> int:
        """The most rows a run may hold: what is declared, less where memory is short; 1 where it cannot be batched."""
        declared = self.model.max_batch_size if self.signature.batched else 1
        return min(declared, self.shrinking.most_rows or declared)

    @property
    def least_ms(self) -> float | None:
        """The least that the model itself took for a run; None until there were enough to leave the first one out."""
        return self._least_s * 1000 if self._runs >= _ENOUGH else None

    def check(self, rows: Rows) -> Part:
        """The rows ready to run: their number, cost, and the key of what they may share a run with.

        Raises InvalidInput.
        """
        if self.records:
            if not rows:
                raise InvalidInput("a request must hold at least one row")
            return self._part(rows, len(rows), ())
        arrays = self._check(cast("Arrays", rows))
        if not self.signature.batched:
            return self._part(arrays, 1, ())
        if not arrays:
            raise InvalidInput("a request must hold at least one input")
        return self._part(arrays, len(next(iter(arrays.values()))), self._padding.key(arrays))

    def _part(self, rows: Rows, count: int, key: Hashable) -> Part:
        if self.model.cost == "rows":
            return Part(rows, count, key, count)
        return Part(rows, count, key, *self._tokens.of(rows))

    def pieces(self, part: Part) -> list[Part]:
        """A request larger than a run, cut into runs. Raises InvalidInput where one row alone is too large."""
        bound = self.model.max_batch_cost
        if bound and part.longest > bound:
            what = "row" if self.signature.batched else "request"
            raise InvalidInput(
                f"a {what} of {part.longest:g} {self.model.cost.removeprefix('padded_')} can never run:"
                f" a run holds {bound:g} at most"
            )
        return [self._cut(part, start, end) for start, end in self._spans(part)]

    def _cut(self, part: Part, start: int, end: int) -> Part:
        rows = part.payload
        some = rows[start:end] if self.records else {name: array[start:end] for name, array in rows.items()}
        return self._part(some, end - start, part.key)

    def _spans(self, part: Part) -> Iterator[tuple[int, int]]:
        """Where to cut: as late as a run allows."""
        bound = self.model.max_batch_cost or math.inf
        lengths = [part.longest] * part.rows
        if self.records and self.model.cost != "rows":
            lengths = list(self._tokens.lengths(part.payload))
        start, total, longest = 0, 0.0, 0.0
        for row, length in enumerate(lengths):
            total, longest = total + length, max(longest, length)
            cost = longest * (row + 1 - start) if self.model.cost == "padded_tokens" else total
            if row - start == self.max_rows or cost > bound:
                yield start, row
                start, total, longest = row, length, length
        yield start, part.rows

    def at_buckets(self, rows: Rows) -> list[tuple[str, Rows]]:
        """Each bucket as app.toml has it, with the first row of a request brought to it; none where there are none."""
        if self.records:
            return []
        arrays = self._check(cast("Arrays", rows))
        buckets = self._padding.buckets
        return [(str(buckets[at].declared), self._padding.resized(arrays, at)) for at in range(len(buckets))]

    def join(self, parts: Sequence[Rows]) -> Rows:
        """The answers of `pieces`, one after the other."""
        if self.records:
            return [record for part in parts for record in cast("Records", part)]
        arrays = cast("Sequence[Arrays]", parts)
        return {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}

    def run(self, parts: Sequence[Part], run: Run) -> list[Rows | Exception]:
        """Run the parts together. One answer or error a part; raises where the run as a whole failed."""
        try:
            return self._together(parts, run)
        except OutOfMemory as error:
            if not self.model.rerun:
                raise
            failed = error.again()  # without the frames of the run, which hold its memory
        return self.shrinking.run(parts, run, partial(self._together, run=run), failed)

    def _together(self, parts: Sequence[Part], run: Run) -> list[Rows | Exception]:
        sizes = [part.rows for part in parts]
        rows = sum(sizes)
        run.rows = rows
        try:
            if self.records:
                return list(self._run_records([part.payload for part in parts], sizes, rows, run))
            return self._run_arrays([part.payload for part in parts], sizes, rows, run)
        except RequestError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        raise OutOfMemory(f'model "{self.model.name}" ran out of memory on {rows} row{"s" * (rows != 1)}')

    def hush(self, root: Path) -> None:
        """From now on tell of a failure no more than its class and its place below `root`: rows hold sensitive values,
        and a text that one request gets may speak of another's.
        """
        self._private_root = root

    def _infer(self, rows: Rows, run: Run) -> Rows:
        started = perf_counter()
        try:
            answers = self.loaded.infer(rows, run)
        except BaseException as error:
            if self._private_root is None or is_out_of_memory(error):
                raise
            raise hushed(f'model "{self.model.name}"', error, rows, self._private_root) from None
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
            fault = self._answers.fault(mine)
            if fault is not None:
                cuts.append(self._told(fault, parts[len(cuts)]))
            elif self.model.finite and find_not_finite(mine) is not None:
                cuts.append(self._not_finite())
            else:
                cuts.append(mine)
            row += size
        return cuts

    def _told(self, fault: Exception, rows: Rows) -> Exception:
        if self._private_root is None:
            return fault
        return hushed(f'model "{self.model.name}"', fault, rows, self._private_root)


def hushed(what: str, error: BaseException, rows: Rows, root: Path) -> RequestError:
    """The failure of `what` on rows that hold what nobody may see: its class, its place, or its words without those."""
    if not isinstance(error, RequestError):
        return failure(what, error, root, private=True)
    records = [rows] if isinstance(rows, Mapping) else rows
    return scrubbed(error, chain.from_iterable(everything(list(record.values())) for record in records))
