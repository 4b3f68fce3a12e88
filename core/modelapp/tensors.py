"""Arrays on their way into a model and out of it: checked, stacked into a batch, cut apart again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.app import Pad
from modelapp.errors import InvalidInput, ModelFailed
from modelapp.runtime import Arrays
from modelapp.signature import Signature, TensorSpec


def check_inputs(signature: Signature, arrays: Arrays) -> Arrays:
    """The arrays in the signature's order, ready for native code.

    Names, dtypes, byte order, ranks, fixed sizes and sizes shared by a symbol are checked here, before any library sees
    them: some answer wrongly instead of refusing. Raises InvalidInput naming the input, what it wants and what came.
    """
    for name in arrays:
        if signature.input(name) is None:
            wanted = ", ".join(spec.name for spec in signature.inputs)
            raise InvalidInput(f'the model has no input "{name}"; its inputs: {wanted}', field=name)
    sizes: dict[str, tuple[int, str]] = {}
    checked: dict[str, NDArray[Any]] = {}
    for spec in signature.inputs:
        array = arrays.get(spec.name)
        if array is None:
            if spec.optional:
                continue
            raise InvalidInput(f'input "{spec.name}" is missing', field=spec.name)
        _check_dtype(spec, array)
        _check_shape(spec, array, sizes)
        checked[spec.name] = np.ascontiguousarray(array)
    if signature.batched:
        _check_rows(checked)
    return checked


def describe_shape(shape: Sequence[int | str | None]) -> str:
    """A shape for people: [batch, 3, ?]."""
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _check_dtype(spec: TensorSpec, array: NDArray[Any]) -> None:
    if array.dtype != spec.numpy_dtype or not array.dtype.isnative:
        raise InvalidInput(f'input "{spec.name}" wants {spec.dtype}, got {array.dtype}', field=spec.name)


def _check_shape(spec: TensorSpec, array: NDArray[Any], sizes: dict[str, tuple[int, str]]) -> None:
    if array.ndim != len(spec.shape):
        raise InvalidInput(
            f'input "{spec.name}" wants shape {describe_shape(spec.shape)}, got {describe_shape(array.shape)}',
            field=spec.name,
        )
    for axis, (want, got) in enumerate(zip(spec.shape, array.shape, strict=True)):
        if isinstance(want, int) and want != got:
            raise InvalidInput(
                f'input "{spec.name}" wants shape {describe_shape(spec.shape)}, got {describe_shape(array.shape)}:'
                f" axis {axis} must be {want}",
                field=spec.name,
            )
        if isinstance(want, str):
            seen, where = sizes.setdefault(want, (got, spec.name))
            if seen != got:
                raise InvalidInput(
                    f'inputs "{where}" and "{spec.name}" share the size "{want}", but have {seen} and {got}',
                    field=spec.name,
                )


def _check_rows(arrays: Mapping[str, NDArray[Any]]) -> None:
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        told = ", ".join(f'"{name}" has {count}' for name, count in rows.items())
        raise InvalidInput(f"all inputs must have the same number of rows: {told}", field=next(iter(rows)))
    if rows and not next(iter(rows.values())):
        raise InvalidInput("a request must hold at least one row", field=next(iter(rows)))


def check_outputs(signature: Signature, arrays: Arrays, rows: int) -> None:
    """Raise ModelFailed where the model's answer lacks an output, has another dtype, or not one row for each row in."""
    for spec in signature.outputs:
        array = arrays.get(spec.name)
        if array is None:
            raise ModelFailed(f'the model gave no output "{spec.name}"')
        if array.dtype != spec.numpy_dtype:
            raise ModelFailed(f'output "{spec.name}" should be {spec.dtype}, the model gave {array.dtype}')
    if signature.batched:
        for name, array in arrays.items():
            got = len(array) if array.ndim else "a single value"
            if got != rows:
                raise ModelFailed(f'the model was given {rows} rows and answered {got} in "{name}"')


def shape_key(arrays: Arrays, pad: Mapping[str, Pad]) -> tuple[Any, ...]:
    """Requests with equal keys may share a batch: the same inputs, and equal sizes where nothing is padded."""
    return tuple((name, array.ndim if name in pad else array.shape[1:]) for name, array in arrays.items())


def stack(parts: Sequence[Arrays], pad: Mapping[str, Pad]) -> Arrays:
    """One batch from several requests' arrays, rows in order; padded inputs grow to the longest among them."""
    if len(parts) == 1:
        return parts[0]
    return {name: _stack_one([part[name] for part in parts], pad.get(name)) for name in parts[0]}


def _stack_one(arrays: list[NDArray[Any]], pad: Pad | None) -> NDArray[Any]:
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


def cut(arrays: Arrays, sizes: Sequence[int]) -> list[Arrays]:
    """The batch's answers, one part a request, in order."""
    if len(sizes) == 1:
        return [arrays]
    parts: list[Arrays] = []
    row = 0
    for size in sizes:
        parts.append({name: array[row : row + size] for name, array in arrays.items()})
        row += size
    return parts


def finite_rows(arrays: Arrays) -> NDArray[np.bool_] | None:
    """Which rows hold finite numbers only; None where all do."""
    floats = [array for array in arrays.values() if array.dtype.kind == "f"]
    if not floats:
        return None
    good = np.logical_and.reduce([np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in floats])
    return None if good.all() else good
