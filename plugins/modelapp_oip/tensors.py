"""Tensors of the Open Inference Protocol in JSON, to numpy and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput
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

#: The numpy kinds that the elements of a JSON list have, for each kind of datatype: a number is not a flag, "7" not 7.
_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "fiu", "O": "U"}

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
    try:
        array = np.asarray(data)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f'the data of input "{name}" is not rectangular or too large', field=name) from error
    if dtype.kind in "iu" and array.dtype.kind in "fO":
        array = _large_integers(data, array)
    if array.dtype.kind not in _KINDS[dtype.kind] and array.size:
        raise InvalidInput(f'input "{name}" is declared {datatype} and its data is {_kind(array)}', field=name)
    return _cast(name, datatype, dtype, array)


def _large_integers(data: list[Any], guessed: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers that numpy took for floats or objects, since no type of its own holds all of them."""
    plain = np.asarray(data, dtype=object)
    if not all(type(item) is int for item in plain.flat):
        return guessed
    try:
        return plain.astype(np.int64 if min(plain.flat, default=0) < 0 else np.uint64)
    except OverflowError:
        return guessed


def _cast(name: str, datatype: str, dtype: np.dtype[Any], array: NDArray[Any]) -> NDArray[Any]:
    if dtype == array.dtype or not array.size:
        return array.astype(dtype, copy=False)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise _does_not_fit(name, datatype)
        return array.astype(dtype)
    if array.dtype.kind != "f":
        return array.astype(dtype)
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        raise _does_not_fit(name, datatype) from None


def _does_not_fit(name: str, datatype: str) -> InvalidInput:
    return InvalidInput(f'input "{name}" holds a value that {datatype} cannot', field=name)


def _kind(array: NDArray[Any]) -> str:
    words = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "U": "text"}
    return words.get(array.dtype.kind, "mixed")


def write_tensor(name: str, datatype: str, array: NDArray[Any]) -> dict[str, Any]:
    """One element of "outputs"; half precision goes as FP32. That numbers are finite is for the encoder to see."""
    if array.dtype.kind == "O":
        data = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.ravel()]
    else:
        data = array.ravel().tolist()
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}


def json_datatype(spec: TensorSpec) -> str:
    """The datatype that the tensor has in JSON, which cannot carry half precision."""
    return "FP32" if spec.datatype in ("FP16", "BF16") else spec.datatype
