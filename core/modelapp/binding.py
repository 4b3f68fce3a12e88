"""Values of a request on their way into a model: bound to its inputs by name, with the row axis where it is missing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput
from modelapp.leaves import leaf_kinds, told_kinds
from modelapp.runtime import Rows
from modelapp.signature import Signature, TensorSpec, is_floating
from modelapp.tensors import describe_shape


def bind_model(name: str, signature: Signature, values: Mapping[str, Any]) -> tuple[Rows, bool]:
    """The model's rows, and whether they are one row without a row axis of its own. Raises InvalidInput."""
    if signature.kind == "records":
        return _records(values)
    named = _by_name(signature, values)
    arrays: dict[str, NDArray[Any]] = {}
    singles: set[bool] = set()
    for spec in signature.inputs:
        if spec.name in named:
            array, single = _with_rows(spec, named[spec.name], batched=signature.batched)
            arrays[spec.name] = array
            singles.add(single)
        elif not spec.optional:
            raise InvalidInput(
                f'model "{name}" needs "{spec.name}", got {", ".join(named) or "nothing"}', field=spec.name
            )
    if len(singles) > 1:
        raise InvalidInput(f'some inputs of model "{name}" have rows and some are a single row')
    return arrays, singles == {True}


def first_row(signature: Signature, answer: Rows) -> Any:
    """The answer of a single row, without the row axis.

    A model that is not batched may give outputs whose axis 0 counts something else: boxes, say. It is kept unless its
    declared size is 1 or the symbol of an input's axis 0.
    """
    if not isinstance(answer, Mapping):
        return answer[0]
    if signature.batched:
        return {name: array[0] for name, array in answer.items()}
    rows = {1, *(spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str))}
    counted = {spec.name for spec in signature.outputs if spec.shape and spec.shape[0] in rows}
    return {name: array[0] if name in counted and array.shape[:1] == (1,) else array for name, array in answer.items()}


def _records(values: Mapping[str, Any]) -> tuple[Rows, bool]:
    if len(values) == 1:
        value = next(iter(values.values()))
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            return value, False
        if isinstance(value, Mapping):
            return [value], True
    return [values], True


def _by_name(signature: Signature, values: Mapping[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    strangers: dict[str, Any] = {}
    for key, value in values.items():
        if signature.input(key) is not None:
            named[key] = value
        elif isinstance(value, Mapping):
            for inner in value:
                if inner in named:
                    raise InvalidInput(f'the input "{inner}" is given twice, once in "{key[:80]}"', field=str(inner))
                named[inner] = value[inner]
        else:
            strangers[key] = value
    if len(strangers) == 1 and len(signature.inputs) == 1 and not named:
        return {signature.inputs[0].name: next(iter(strangers.values()))}
    for key in (*strangers, *named):
        if signature.input(key) is None:
            wanted = ", ".join(spec.name for spec in signature.inputs)
            short = str(key)[:80]
            raise InvalidInput(f'the model has no input "{short}"; its inputs: {wanted}', field=short)
    return named


def _with_rows(spec: TensorSpec, value: Any, *, batched: bool) -> tuple[NDArray[Any], bool]:
    array = value if isinstance(value, np.ndarray) and spec.dtype != "bfloat16" else _from_plain(spec, value)
    rank = len(spec.shape)
    if array.ndim == rank:
        return array, False
    if array.ndim == rank - 1 and (batched or spec.shape[0] == 1 or not isinstance(spec.shape[0], int)):
        return array[np.newaxis], True
    raise InvalidInput(
        f'input "{spec.name}" wants {describe_shape(spec.shape)} or one row of it, got {describe_shape(array.shape)}',
        field=spec.name,
    )


def _from_plain(spec: TensorSpec, value: Any) -> NDArray[Any]:
    """Numbers and nested lists in the model's dtype; only where that loses nothing."""
    wanted = spec.numpy_dtype
    kinds_found = leaf_kinds(value) if isinstance(value, list) else set()
    # Not left to numpy: texts as long as the longest of them would fill the memory, and true become 1.
    if wanted.kind != "O" and (str in kinds_found or (bool in kinds_found and len(kinds_found) > 1)):
        raise InvalidInput(f'input "{spec.name}" wants {spec.dtype}, got {told_kinds(kinds_found)}', field=spec.name)
    try:
        array = np.asarray(value, dtype=None if wanted.kind != "O" else object)
    except ValueError as error:
        raise InvalidInput(f'input "{spec.name}" is not rectangular', field=spec.name) from error
    if array.dtype == wanted or not array.size:
        return array.astype(wanted)
    kind = "f" if is_floating(wanted) else wanted.kind
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "fiu"}
    if wanted.kind == "O" or array.dtype.kind not in kinds.get(kind, ""):
        raise InvalidInput(f'input "{spec.name}" wants {spec.dtype}, got {array.dtype}', field=spec.name)
    with np.errstate(over="ignore"):
        cast: NDArray[Any] = array.astype(wanted)
    if (kind in "iu" and not np.array_equal(cast, array)) or (
        kind == "f" and not np.array_equal(np.isfinite(cast), np.isfinite(array))
    ):
        raise InvalidInput(f'input "{spec.name}" does not fit {spec.dtype}', field=spec.name)
    return cast
