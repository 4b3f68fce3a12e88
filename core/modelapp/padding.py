"""Requests' arrays made one batch and cut apart again; ragged inputs are padded, and what padding added is cut off."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.app import Model, Pad
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

    def __init__(self, signature: Signature, pad: Mapping[str, Pad]) -> None:
        self._pad = {spec.name: pad[spec.name] for spec in signature.inputs if spec.name in pad}
        # Checked requests to such a model cannot differ but in their number of rows.
        self._same = all(
            not spec.optional and all(isinstance(dim, int) for dim in spec.shape[1:]) for spec in signature.inputs
        )
        self._follows = {
            spec.name: [
                (axis, name, from_axis)
                for axis, dim in enumerate(spec.shape)
                if axis > 0 and not isinstance(dim, int)
                for name, from_axis in _sources(signature, self._pad, axis, dim)
            ]
            for spec in signature.outputs
        }

    def key(self, arrays: Arrays) -> Hashable:
        """Requests with equal keys may share a batch: the same inputs, and equal sizes where nothing is padded."""
        if self._same:
            return ()
        return tuple([(name, array.ndim if name in self._pad else array.shape[1:]) for name, array in arrays.items()])

    def stack(self, parts: Sequence[Arrays]) -> Arrays:
        """One batch, rows in order; padded inputs grow to the longest among them."""
        if len(parts) == 1:
            return parts[0]
        return {name: _stack([part[name] for part in parts], self._pad.get(name)) for name in parts[0]}

    def cut(self, outputs: Arrays, parts: Sequence[Arrays], sizes: Sequence[int]) -> list[Arrays]:
        """The batch's answers, one a part, in order, without what padding added."""
        if len(parts) == 1:
            return [outputs]
        answers: list[Arrays] = []
        row = 0
        longest = self._longest(parts)
        for part, size in zip(parts, sizes, strict=True):
            mine = {name: array[row : row + size] for name, array in outputs.items()}
            answers.append(self._trim(mine, part, longest) if longest else mine)
            row += size
        return answers

    def _longest(self, parts: Sequence[Arrays]) -> dict[tuple[str, int], int]:
        """Padded input axes whose lengths differ among the parts, with the longest."""
        lengths = {
            (name, axis): {part[name].shape[axis] for part in parts}
            for name in self._pad
            if name in parts[0]
            for axis in range(1, parts[0][name].ndim)
        }
        return {place: max(found) for place, found in lengths.items() if len(found) > 1}

    def _trim(self, mine: dict[str, NDArray[Any]], part: Arrays, longest: Mapping[tuple[str, int], int]) -> Arrays:
        for name, array in mine.items():
            for axis, source, from_axis in self._follows.get(name, ()):
                padded = longest.get((source, from_axis))
                own = part[source].shape[from_axis]
                if padded is not None and axis < array.ndim and mine[name].shape[axis] == padded and own < padded:
                    start = padded - own if self._pad[source].side == "left" else 0
                    mine[name] = mine[name].take(range(start, start + own), axis=axis)
        return mine


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


def _stack(arrays: list[NDArray[Any]], pad: Pad | None) -> NDArray[Any]:
    first = arrays[0]
    if pad is None or all(array.shape[1:] == first.shape[1:] for array in arrays):
        return np.concatenate(arrays)
    longest = tuple(max(array.shape[axis] for array in arrays) for axis in range(1, first.ndim))
    batch = np.full((sum(map(len, arrays)), *longest), pad.value, dtype=first.dtype)
    row = 0
    for array in arrays:
        spans = zip(array.shape[1:], longest, strict=True)
        place = tuple(slice(size - own, size) if pad.side == "left" else slice(own) for own, size in spans)
        batch[(slice(row, row + len(array)), *place)] = array
        row += len(array)
    return batch
