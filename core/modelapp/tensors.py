"""Arrays on their way into a model and out of it: checked, stacked into a batch, cut apart again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.runtime import Arrays
from modelapp.signature import Signature, TensorSpec, is_floating

_ROWS = 0  # stands for the row axis among symbols, and is none


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
        # Not for every array: numpy would turn a single number into a list of one.
        checked[spec.name] = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if signature.batched:
        _check_rows(checked)
    return checked


class InputCheck:
    """`check_inputs` for one signature, compiled: the common case is cheap, the slow path says what is wrong."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._specs = [
            (
                spec.name,
                spec.numpy_dtype,
                len(spec.shape),
                [(axis, dim) for axis, dim in enumerate(spec.shape) if isinstance(dim, int)],
            )
            for spec in signature.inputs
        ]
        places: dict[str | int, list[tuple[str, int]]] = {}
        for spec in signature.inputs:
            for axis, dim in enumerate(spec.shape):
                if signature.batched and axis == 0:
                    places.setdefault(_ROWS, []).append((spec.name, axis))
                elif isinstance(dim, str):
                    places.setdefault(dim, []).append((spec.name, axis))
        self._shared = [found for found in places.values() if len(found) > 1]

    def __call__(self, arrays: Arrays) -> Arrays:
        """The arrays in the signature's order. Raises InvalidInput."""
        if self._fits(arrays):
            return arrays
        return check_inputs(self._signature, arrays)

    def _fits(self, arrays: Arrays) -> bool:
        if len(arrays) != len(self._specs):
            return False
        for (name, dtype, rank, fixed), (got, array) in zip(self._specs, arrays.items(), strict=True):
            if name != got or array.dtype != dtype or array.ndim != rank or not array.size:
                return False
            if not array.flags.c_contiguous:
                return False
            shape = array.shape
            for axis, size in fixed:
                if shape[axis] != size:
                    return False
        return not self._shared or self._agree(arrays)

    def _agree(self, arrays: Arrays) -> bool:
        return all(len({arrays[name].shape[axis] for name, axis in found}) == 1 for found in self._shared)


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


class OutputCheck:
    """Compares a model's answers with one signature."""

    def __init__(self, signature: Signature) -> None:
        self._batched = signature.batched
        self._dtypes = {spec.name: spec.numpy_dtype for spec in signature.outputs}

    def __call__(self, arrays: Arrays, rows: int) -> None:
        """Raise ModelFailed where an output is missing, has another dtype, or not one row for each row that went in."""
        for name, dtype in self._dtypes.items():
            array = arrays.get(name)
            if array is None:
                raise ModelFailed(f'the model gave no output "{name}"')
            if array.dtype != dtype:
                raise ModelFailed(f'output "{name}" should be {dtype}, the model gave {array.dtype}')
        if self._batched:
            for name, array in arrays.items():
                got = array.shape[0] if array.ndim else "a single value"
                if got != rows:
                    raise ModelFailed(f'the model was given {rows} rows and answered {got} in "{name}"')


def finite_rows(arrays: Arrays, *, batched: bool = True) -> NDArray[np.bool_] | None:
    """Which rows hold finite numbers only; None where all do. Where axis 0 does not count rows, all is one row."""
    floats = [array if batched else array[np.newaxis] for array in arrays.values() if is_floating(array.dtype)]
    if not floats:
        return None
    good = np.logical_and.reduce([np.isfinite(array).all(axis=tuple(range(1, array.ndim))) for array in floats])
    return None if good.all() else good
