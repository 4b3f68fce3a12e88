"""The few shapes that padded inputs are brought to, so that a runtime sees no others. No array is touched here."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from modelapp.app import Model
from modelapp.errors import InvalidInput, LoadError
from modelapp.runtime import Arrays
from modelapp.signature import Signature, TensorSpec

Shape: TypeAlias = tuple[int, ...]
"""The sizes of one row: all axes but the first."""


@attrs.frozen
class Bucket:
    """One bucket as declared, and the shape of a row that it gives to each padded input."""

    declared: int | Shape
    shapes: Mapping[str, Shape]

    def holds(self, arrays: Arrays) -> bool:
        """Whether every padded input of a request fits."""
        for name, shape in self.shapes.items():
            array = arrays.get(name)
            if array is not None and any(own > most for own, most in zip(array.shape[1:], shape, strict=True)):
                return False
        return True

    @property
    def volume(self) -> int:
        """Numbers in a row, of all padded inputs together."""
        return sum(math.prod(shape) for shape in self.shapes.values())


class Buckets:
    """The buckets of one model, the smallest first; none where none are declared.

    Raises LoadError where they do not fit the model.
    """

    def __init__(self, signature: Signature, model: Model) -> None:
        specs = [spec for spec in signature.inputs if spec.name in model.pad]
        if model.buckets and signature.batched:
            _check_shared(signature, specs, model)
        self._all: Sequence[Bucket] = sorted(
            [Bucket(one, {spec.name: _shape(model, spec, one) for spec in specs}) for one in model.buckets if specs],
            key=lambda bucket: bucket.volume,
        )

    def __bool__(self) -> bool:
        return bool(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, number: int) -> Bucket:
        return self._all[number]

    def find(self, arrays: Arrays) -> int:
        """The number of the smallest bucket that holds a request. Raises InvalidInput naming the largest."""
        for number, bucket in enumerate(self._all):
            if bucket.holds(arrays):
                return number
        largest = self._all[-1]
        for name, shape in largest.shapes.items():
            if name in arrays and any(own > most for own, most in zip(arrays[name].shape[1:], shape, strict=True)):
                own = _told(arrays[name].shape[1:])
                raise InvalidInput(f'input "{name}" has {own} a row; the largest is {_told(shape)}', field=name)
        raise AssertionError("what no bucket holds does not fit the largest")


def _told(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _check_shared(signature: Signature, specs: Sequence[TensorSpec], model: Model) -> None:
    """An input that is not padded must not share a size with one that is."""
    grow = {dim for spec in specs for dim in spec.shape[1:] if isinstance(dim, str)}
    for spec in signature.inputs:
        shared = grow.intersection(dim for dim in spec.shape[1:] if isinstance(dim, str))
        if spec.name not in model.pad and shared:
            told = f'models.{model.name}.buckets: "{spec.name}" shares the size "{min(shared)}" and is not padded'
            raise LoadError(told, model=model.name, help=f"add {spec.name} = {{ value = 0 }} to pad")


def _shape(model: Model, spec: TensorSpec, bucket: int | Shape) -> Shape:
    """The shape of a row of `spec` in a bucket."""
    place, axes = f"models.{model.name}.buckets", spec.shape[1:]
    free = [axis for axis, dim in enumerate(axes) if not isinstance(dim, int)]
    sizes = [dim if isinstance(dim, int) else 0 for dim in axes]
    if isinstance(bucket, int):
        if len(free) != 1:
            told = f'{place}: {bucket} is one length, "{spec.name}" has {len(free)} sizes that may differ'
            raise LoadError(told, model=model.name, help=f"write shapes of {len(axes)} numbers: all but the rows")
        sizes[free[0]] = bucket
        return tuple(sizes)
    if len(bucket) != len(axes):
        told = f'{place}: {list(bucket)} has {len(bucket)} sizes, a row of "{spec.name}" has {len(axes)}'
        raise LoadError(told, model=model.name, help="a shape has the sizes of every axis but the rows")
    for own, dim in zip(bucket, axes, strict=True):
        if isinstance(dim, int) and own != dim:
            told = f'{place}: {list(bucket)} does not fit "{spec.name}", whose file fixes {dim} where it has {own}'
            raise LoadError(told, model=model.name, help=f"write {dim} there")
    return bucket
