"""Made-up rows for trial runs, which find out what a model does before any request comes."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from modelapp.runtime import Arrays
from modelapp.signature import Signature, TensorSpec, is_floating

Answers: TypeAlias = Mapping[str, NDArray[Any]]
Infer: TypeAlias = Callable[[Arrays], Answers]
"""Runs the model once; raises the library's exceptions."""

_SIZES = (8, 1, 32, 64, 224, 2, 16)
"""Sizes tried for all open dimensions at once, before they are tried against each other."""
_MIXED = (3, 8, 32, 224, 1)
_MOST_OPEN = 3
_BUDGET_S = 5.0
"""Trial inputs are given up after this long: an app must start."""


@attrs.frozen
class Trial:
    """One way to fill the inputs: a size for each open dimension, and the kind of numbers."""

    sizes: Mapping[Any, int]
    varied: bool


def trials(signature: Signature) -> Iterator[Trial]:
    """Ways to fill the inputs: all open dimensions alike first, then each on its own where there are few.

    It ends when trying has taken 5 seconds.
    """
    until = time.monotonic() + _BUDGET_S
    for trial in _all(signature):
        yield trial
        if time.monotonic() > until:
            return


def _all(signature: Signature) -> Iterator[Trial]:
    opened = list(dict.fromkeys(key for spec in signature.inputs for _, key in _open_dims(spec, signature)))
    alike = [dict.fromkeys(opened, size) for size in _SIZES]
    mixed: list[dict[Any, int]] = []
    if 1 < len(opened) <= _MOST_OPEN:
        mixed = [dict(zip(opened, sizes, strict=True)) for sizes in itertools.product(_MIXED, repeat=len(opened))]
    for sizes in [*(alike if opened else [{}]), *mixed]:
        yield Trial(sizes, varied=True)
        yield Trial(sizes, varied=False)


def made_up(signature: Signature, trial: Trial, row: int = 0) -> dict[str, NDArray[Any]]:
    """Every input filled, with one row where the signature is batched; `row` numbers different contents.

    Whole numbers are 0 and 1 only, so that they are in any vocabulary.
    """
    arrays = {}
    for number, spec in enumerate(signature.inputs):
        opened = dict(_open_dims(spec, signature))
        shape = [
            trial.sizes[opened[axis]] if axis in opened else int(str(dim)) for axis, dim in _sized(spec, signature)
        ]
        arrays[spec.name] = _filled(spec, shape, trial, seed=2 * number + row)
    return arrays


def _sized(spec: TensorSpec, signature: Signature) -> Iterator[tuple[int, Any]]:
    """The axes, the row axis of a batched signature being 1."""
    return ((axis, 1 if signature.batched and not axis else dim) for axis, dim in enumerate(spec.shape))


def _open_dims(spec: TensorSpec, signature: Signature) -> Iterator[tuple[int, Any]]:
    """The axes that have no size, each with what names it: its symbol, or its place."""
    for axis, dim in _sized(spec, signature):
        if not isinstance(dim, int):
            yield axis, dim if dim is not None else (spec.name, axis)


def _filled(spec: TensorSpec, shape: Sequence[int], trial: Trial, *, seed: int) -> NDArray[Any]:
    dtype = spec.numpy_dtype
    if dtype.kind == "O":
        return np.full(shape, "a" if spec.dtype == "string" else b"a", dtype=object)
    if not trial.varied:
        return np.ones(shape, dtype)
    numbers = np.random.default_rng(seed)
    if is_floating(dtype):
        return numbers.uniform(0.0, 1.0, shape).astype(dtype)
    array = numbers.integers(0, 2, shape).astype(dtype)
    array[..., :1] = 1  # a mask with nothing in it makes many models divide by zero
    return array
