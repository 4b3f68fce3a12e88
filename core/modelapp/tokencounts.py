"""What a request costs where app.toml counts tokens: how much of what can vary it holds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from modelapp.app import Model
from modelapp.buckets import Buckets
from modelapp.runtime import Arrays, Records, Rows
from modelapp.signature import Signature


class TokenCounts:
    """Counts the tokens of requests to one model: (all of them, those of the longest row).

    Of arrays: the numbers of a row of one input, the first that `pad` names, else the first whose size is not fixed,
    else the first. Where there are buckets it is what the bucket holds. Of records: the characters of a record's texts
    and the items of its lists and arrays, at least 1.
    """

    def __init__(self, signature: Signature, model: Model, buckets: Buckets) -> None:
        names = [spec.name for spec in signature.inputs if spec.name in model.pad]
        names += [spec.name for spec in signature.inputs if not all(isinstance(dim, int) for dim in spec.shape[1:])]
        self._names = [*names, *(spec.name for spec in signature.inputs)]
        self._records = signature.kind == "records"
        self._batched = signature.batched
        self._buckets = buckets

    def of(self, rows: Rows) -> tuple[float, float]:
        """Tokens of all rows, and of the longest."""
        if self._records:
            lengths = self.lengths(cast("Records", rows))
            return sum(lengths), max(lengths)
        arrays = cast("Arrays", rows)
        name = next((name for name in self._names if name in arrays), None)
        if name is None:
            return 1, 1
        array = arrays[name]
        if not self._batched:
            return max(1, array.size), max(1, array.size)
        shape = array.shape[1:]
        if self._buckets:
            shape = self._buckets[self._buckets.find(arrays)].shapes.get(name, shape)
        longest = max(1, math.prod(shape))
        return longest * len(array), longest

    def lengths(self, records: Records) -> Sequence[int]:
        """Tokens of each record."""
        return [max(1, sum([_length(value) for value in record.values()])) for record in records]


def _length(value: Any) -> int:
    if isinstance(value, str | bytes | list | tuple):
        return len(value)
    size = None if isinstance(value, Mapping) else getattr(value, "size", None)
    return size if isinstance(size, int) else 0
