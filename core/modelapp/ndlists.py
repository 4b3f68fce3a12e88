"""Tensors as nested lists: strict about types, shape and range, exact about the place of a fault."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelapp.app import Field
from modelapp.bounds import number_text
from modelapp.media import from_text
from modelapp.mismatch import Check, Mismatch, told, wrong_type

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ELEMENTS: Mapping[str, tuple[str, frozenset[type]]] = {
    "b": ("bool", frozenset({bool})),
    "i": ("int", frozenset({int})),
    "u": ("int", frozenset({int})),
    "f": ("float", frozenset({float, int})),
    "string": ("str", frozenset({str})),
    "bytes": ("base64 text", frozenset({str})),
}


def tensor_check(field: Field) -> Check:
    """Reads nested lists into an array of the field's dtype and shape; no declared shape means any."""
    import numpy as np

    texts = field.dtype in ("string", "bytes")
    dtype = np.dtype(object if texts else field.dtype)
    word, kinds = _ELEMENTS[field.dtype if texts else dtype.kind]
    read_text = from_text if field.dtype == "bytes" else None

    def check(value: Any) -> "NDArray[Any]":
        shape = _measure(value) if not field.shape else _fit(value, field.shape)
        _check_items(value, shape, word, kinds)
        array = _build(value, shape, dtype, read_text)
        _check_range(array, field)
        return array

    return check


def describe(shape: tuple[int, ...]) -> str:
    """A shape for people: [?, 3]."""
    return "[" + ", ".join("?" if size < 0 else str(size) for size in shape) + "]"


def _measure(value: Any) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(value, list):
        sizes.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(sizes)


def _fit(value: Any, declared: tuple[int, ...]) -> tuple[int, ...]:
    """The declared shape with its free sizes taken from the first items."""
    sizes: list[int] = []
    for want in declared:
        if not isinstance(value, list):
            got = f", got {told(value)} on axis {len(sizes)}"
            raise Mismatch(f"must be a tensor of shape {describe(declared)}", got=got)
        if want >= 0 and len(value) != want:
            got = describe(_measure_from(sizes, value))
            raise Mismatch(f"must be a tensor of shape {describe(declared)}, got {got}")
        sizes.append(len(value))
        if not value:  # nothing below to measure
            return (*sizes, *(max(size, 0) for size in declared[len(sizes) :]))
        value = value[0]
    return tuple(sizes)


def _measure_from(sizes: list[int], value: Any) -> tuple[int, ...]:
    return (*sizes, *_measure(value))


def _check_items(value: Any, shape: tuple[int, ...], word: str, kinds: frozenset[type]) -> None:
    """Every item in its place: lists of one length on each axis, elements of the right kind."""
    if not shape:
        if type(value) not in kinds:
            raise wrong_type(word, value)
        return
    if type(value) is not list:
        raise wrong_type(f"a list of {shape[0]}", value)
    if len(value) != shape[0]:
        raise Mismatch(f"must have {shape[0]} items like its neighbours, got {len(value)}")
    if len(shape) == 1 and set(map(type, value)) <= kinds:
        return
    for index, item in enumerate(value):
        try:
            _check_items(item, shape[1:], word, kinds)
        except Mismatch as mismatch:
            raise mismatch.below(f"[{index}]") from None


def _build(value: Any, shape: tuple[int, ...], dtype: "np.dtype[Any]", read_text: Check | None) -> "NDArray[Any]":
    import numpy as np

    if dtype.kind == "O":
        array: NDArray[Any] = np.empty(shape, dtype=object)
        flat = array.reshape(-1)
        for place, text in enumerate(_leaves(value, len(shape))):
            flat[place] = read_text(text) if read_text else text
        return array
    try:
        with np.errstate(over="ignore"):
            array = np.array(value, dtype=dtype)
    except (OverflowError, ValueError):
        raise Mismatch(f"holds a number that does not fit {dtype}") from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise Mismatch(f"holds a number that does not fit {dtype}")
    return array.reshape(shape)


def _leaves(value: Any, depth: int) -> list[Any]:
    if depth == 0:
        return [value]
    return [leaf for item in value for leaf in _leaves(item, depth - 1)] if depth > 1 else list(value)


def _check_range(array: "NDArray[Any]", field: Field) -> None:
    if not array.size or array.dtype.kind not in "iuf":
        return
    if field.min is not None and array.min() < field.min:
        raise Mismatch(f"must hold numbers of at least {number_text(field.min)}", got=f", got {array.min()}")
    if field.max is not None and array.max() > field.max:
        raise Mismatch(f"must hold numbers of at most {number_text(field.max)}", got=f", got {array.max()}")
