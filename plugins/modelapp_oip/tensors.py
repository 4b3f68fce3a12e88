"""Tensors of the Open Inference Protocol in JSON, to numpy and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.leaves import leaf_kinds
from modelapp.signature import TensorSpec

NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
"""Datatypes that JSON can carry. FP16 and BF16 have no JSON form in the protocol."""

#: What the elements of a JSON list may be, for each kind of datatype: a number is not a flag, "7" not 7.
_ELEMENTS = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
_WORDS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "text", type(None): "null"}

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def read_tensor(tensor: Any) -> tuple[str, NDArray[Any]]:
    """The name and array of one element of "inputs". Raises InvalidInput, which names it."""
    if not isinstance(tensor, dict):
        raise InvalidInput('every element of "inputs" must be an object')
    name = tensor.get("name")
    if not isinstance(name, str):
        raise InvalidInput('every input must have a "name"')
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    dtype = NUMPY_DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InvalidInput(_bad_datatype(name, datatype), field=name)
    if not isinstance(shape, list):
        raise _bad_shape(name)
    count = 1
    for dim in shape:
        if type(dim) is not int or dim < 0:
            raise _bad_shape(name)
        count *= dim
    if not isinstance(data, list):
        raise InvalidInput(f'input "{name}" must have its "data" as a list', field=name)
    array = _to_array(name, str(datatype), dtype, data)
    if array.size != count:
        told = f'input "{name}" has the shape {shape}, {count} elements, and {array.size} in its data'
        raise InvalidInput(told, field=name)
    if array.ndim > 1 and list(array.shape) != shape:
        told = f'input "{name}" has the shape {shape} and its data is nested as {list(array.shape)}'
        raise InvalidInput(told, field=name)
    return name, array.reshape(shape)


def _bad_shape(name: str) -> InvalidInput:
    return InvalidInput(f'input "{name}" must have a "shape" of whole numbers', field=name)


def float32_array(shape: list[int], data: list[float]) -> NDArray[Any] | None:
    """The array of flat numbers; None where they do not fit the shape or the type."""
    count = 1
    for dim in shape:
        if dim < 0:
            return None
        count *= dim
    if count != len(data) or not data or min(data) < -_FLOAT32_MAX or max(data) > _FLOAT32_MAX:
        return None
    return np.array(data, dtype=np.float32).reshape(shape)


def _bad_datatype(name: str, datatype: object) -> str:
    if datatype in ("FP16", "BF16"):
        return f'input "{name}" is {datatype}, which has no JSON form; send FP32'
    return f'input "{name}" has the unknown datatype {datatype!r}; one of {", ".join(NUMPY_DTYPES)}'


def _to_array(name: str, datatype: str, dtype: np.dtype[Any], data: list[Any]) -> NDArray[Any]:
    kinds = leaf_kinds(data)
    # Before numpy sees them: it makes 1 of true, and texts all as long as the longest, which can fill the memory.
    if not kinds <= _ELEMENTS[dtype.kind]:
        told = " and ".join(sorted(_WORDS.get(kind, "objects") for kind in kinds))
        raise InvalidInput(f'input "{name}" is declared {datatype} and its data is {told}', field=name)
    try:
        array = np.array(data, dtype=np.float64 if dtype.kind == "f" else dtype)
    except OverflowError:
        raise _does_not_fit(name, datatype) from None
    except ValueError:
        raise _not_rectangular(name) from None
    if dtype.kind == "O" and list in set(map(type, array.flat)):
        raise _not_rectangular(name)
    return narrowed(name, datatype, dtype, array)


def narrowed(name: str, datatype: str, dtype: np.dtype[Any], array: NDArray[Any]) -> NDArray[Any]:
    """`array` as `dtype`; raises InvalidInput where a number becomes infinite by that."""
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype, copy=False)
    except FloatingPointError:
        raise _does_not_fit(name, datatype) from None


def _not_rectangular(name: str) -> InvalidInput:
    return InvalidInput(f'the data of input "{name}" is not rectangular', field=name)


def _does_not_fit(name: str, datatype: str) -> InvalidInput:
    return InvalidInput(f'input "{name}" holds a value that {datatype} cannot', field=name)


def write_tensor(name: str, datatype: str, array: NDArray[Any]) -> dict[str, Any]:
    """One element of "outputs"; half precision goes as FP32. That numbers are finite is for the encoder to see.

    Raises ModelFailed where a text is none.
    """
    data = array.ravel().tolist()
    if array.dtype.kind == "O":
        data = [item if type(item) is str else _text(name, item) for item in data]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}


def _text(name: str, item: Any) -> str:
    if isinstance(item, str):
        return str(item)
    if not isinstance(item, bytes):
        raise ModelFailed(f'output "{name}" should hold text, the model gave {type(item).__name__}')
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise ModelFailed(f'output "{name}" holds bytes that are not UTF-8, which JSON cannot carry') from None


def json_datatype(spec: TensorSpec) -> str:
    """The datatype that the tensor has in JSON, which cannot carry half precision."""
    return "FP32" if spec.datatype in ("FP16", "BF16") else spec.datatype
