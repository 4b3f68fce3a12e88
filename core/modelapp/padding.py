"""Requests' arrays made one batch and cut apart again; ragged inputs are padded, and what padding added is cut off."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.app import Model, Pad
from modelapp.buckets import Buckets
from modelapp.buffers import Buffers
from modelapp.errors import LoadError
from modelapp.runtime import Arrays
from modelapp.signature import Signature


def check_pad(signature: Signature, model: Model) -> None:
    """Raise LoadError where `pad` names no input, or an input that its value cannot fill."""
    sides: dict[Any, str] = {}
    for name, pad in model.pad.items():
        place = f"models.{model.name}.pad.{name}"
        spec = signature.input(name)
        if spec is None:
            known = ", ".join(spec.name for spec in signature.inputs) or "none, it takes records"
            raise _unusable(model, f'{place}: the model has no input "{name}"', f"its inputs: {known}")
        kind = spec.numpy_dtype.kind
        if kind not in "iuf":
            raise _unusable(model, f"{place}: {spec.dtype} cannot be padded", "pad inputs of numbers only")
        limits = np.iinfo(spec.numpy_dtype) if kind in "iu" else None
        if limits and not (float(pad.value).is_integer() and limits.min <= pad.value <= limits.max):
            raise _unusable(model, f"{place}: {spec.dtype} cannot hold the value {pad.value:g}", "value = 0")
        for dim in spec.shape[1:]:
            if isinstance(dim, str) and sides.setdefault(dim, pad.side) != pad.side:
                told = f'{place}: it is padded on the {pad.side}, another input with the size "{dim}" is not'
                raise _unusable(model, told, "inputs that share a size are padded on the same side")


def _unusable(model: Model, message: str, help: str) -> LoadError:
    return LoadError(message, model=model.name, help=help)


class Padding:
    """How the rows of one model share a batch.

    An output axis follows a padded input axis when both carry the same symbol, or, where a file gives no usable names,
    when it stands at the same place, is not fixed, and has the padded length. Then each request gets its own length
    back, so that an answer has the same shape alone and in company.
    """

    def __init__(self, signature: Signature, model: Model) -> None:
        self.buckets = Buckets(signature, model)
        self._buffers = Buffers()
        pad = self._pad = {spec.name: model.pad[spec.name] for spec in signature.inputs if spec.name in model.pad}
        # Checked requests to such a model cannot differ but in their number of rows.
        self._same = all(
            not spec.optional and all(isinstance(dim, int) for dim in spec.shape[1:]) for spec in signature.inputs
        )
        self._follows = {
            spec.name: [
                (axis, name, from_axis)
                for axis, dim in enumerate(spec.shape)
                if axis > 0 and not isinstance(dim, int)
                for name, from_axis in _sources(signature, pad, axis, dim)
            ]
            for spec in signature.outputs
        }

    def key(self, arrays: Arrays) -> Hashable:
        """Requests with equal keys may share a batch: the same inputs, in the same bucket where there are any, and
        equal sizes where nothing is padded. Raises InvalidInput for what no bucket holds."""
        if self._same:
            return ()
        shapes = [(name, array.ndim if name in self._pad else array.shape[1:]) for name, array in arrays.items()]
        return (self.buckets.find(arrays), *shapes) if self.buckets else tuple(shapes)

    def stack(self, parts: Sequence[Arrays]) -> Arrays:
        """One batch, rows in order; padded inputs grow to their bucket, or the longest among them. It is good until
        the next one on this thread. What needs no change is passed as it is, but for views of a message."""
        grown = self._grown(parts)
        if len(parts) == 1 and not grown:
            return _owned(parts[0])
        return {name: self._join(name, [part[name] for part in parts], grown) for name in parts[0]}

    def cut(self, outputs: Arrays, parts: Sequence[Arrays], sizes: Sequence[int]) -> list[Arrays]:
        """The batch's answers, one a part, in order, without what padding added."""
        grown = self._grown(parts)
        if len(parts) == 1 and not grown:
            return [outputs]
        answers: list[Arrays] = []
        row = 0
        for part, size in zip(parts, sizes, strict=True):
            mine = {name: array[row : row + size] for name, array in outputs.items()}
            answers.append(self._trim(mine, part, grown) if grown else mine)
            row += size
        return answers

    def resized(self, arrays: Arrays, number: int) -> Arrays:
        """The first row of a request, brought to a bucket: cut where it is longer, filled up where it is shorter."""
        shapes = self.buckets[number].shapes
        return {
            name: self._place(
                [array[(slice(1), *map(slice, shapes[name]))]], name, np.empty((1, *shapes[name]), array.dtype)
            )
            if name in shapes
            else array[:1]
            for name, array in arrays.items()
        }

    def _grown(self, parts: Sequence[Arrays]) -> dict[tuple[str, int], int]:
        """Padded input axes that are longer in the batch than in some part, with the length there."""
        if not self._pad:
            return {}
        grown: dict[tuple[str, int], int] = {}
        shapes = self.buckets[self.buckets.find(parts[0])].shapes if self.buckets else {}
        for name in self._pad:
            if name not in parts[0]:
                continue
            for axis in range(1, parts[0][name].ndim):
                lengths = {part[name].shape[axis] for part in parts}
                length = shapes[name][axis - 1] if shapes else max(lengths)
                if lengths != {length}:
                    grown[name, axis] = length
        return grown

    def _join(self, name: str, arrays: list[NDArray[Any]], grown: Mapping[tuple[str, int], int]) -> NDArray[Any]:
        first = arrays[0]
        shape = tuple([grown.get((name, axis), first.shape[axis]) for axis in range(1, first.ndim)])
        batch = self._buffers.take(name, (sum(map(len, arrays)), *shape), first.dtype)
        if not any(place[0] == name for place in grown):
            return np.concatenate(arrays, out=batch)
        return self._place(arrays, name, batch)

    def _place(self, arrays: Sequence[NDArray[Any]], name: str, batch: NDArray[Any]) -> NDArray[Any]:
        """Fill `batch` with the padding of an input, and put the rows of `arrays` into it."""
        pad = self._pad[name]
        batch.fill(pad.value)
        row = 0
        for array in arrays:
            spans = zip(array.shape[1:], batch.shape[1:], strict=True)
            place = tuple(slice(size - own, size) if pad.side == "left" else slice(own) for own, size in spans)
            batch[(slice(row, row + len(array)), *place)] = array
            row += len(array)
        return batch

    def _trim(self, mine: dict[str, NDArray[Any]], part: Arrays, grown: Mapping[tuple[str, int], int]) -> Arrays:
        for name, array in mine.items():
            for axis, source, from_axis in self._follows.get(name, ()):
                padded = grown.get((source, from_axis))
                own = part[source].shape[from_axis] if source in part else 0
                if padded is not None and axis < array.ndim and mine[name].shape[axis] == padded and own < padded:
                    start = padded - own if self._pad[source].side == "left" else 0
                    mine[name] = mine[name].take(range(start, start + own), axis=axis)
        return mine


def _owned(arrays: Arrays) -> Arrays:
    """The arrays, with copies of what cannot be written to, or is not aligned: native code may fail on that."""
    for array in arrays.values():
        if not array.flags.carray:
            return {name: array if array.flags.carray else array.copy() for name, array in arrays.items()}
    return arrays


def _sources(signature: Signature, pad: Mapping[str, Pad], axis: int, dim: str | None) -> list[tuple[str, int]]:
    """The padded input axes that an output axis may follow; the first of equals is enough."""
    places = [
        (spec.name, at, symbol)
        for spec in signature.inputs
        if spec.name in pad
        for at, symbol in enumerate(spec.shape)
        if at > 0
    ]
    named = [(name, at) for name, at, symbol in places if dim is not None and symbol == dim]
    return (named or [(name, at) for name, at, _ in places if at == axis])[:1]
