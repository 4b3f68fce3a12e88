"""Tensors of the Open Inference Protocol in JSON, to numpy and back, and the bytes that may follow them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.leaves import leaf_kinds
from modelapp_oip.datatypes import BINARY_ONLY, check_datatype, check_shape, dtype_of
from modelapp_oip.parameters import parameters_of, refuse_shared_memory
from modelapp_oip.raw import read_raw

#: What the elements of a JSON list may be, for each kind of datatype: a number is not a flag, "7" not 7.
_ELEMENTS = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
_WORDS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "text", type(None): "null"}

_MOST_NAME_CHARS = 1000
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Tail:
    """The bytes behind the JSON of a request, which its inputs take in their order; None: there are none."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: memoryview | None) -> None:
        self._data = data
        self._place = 0

    def take(self, name: str, size: object) -> memoryview:
        """The bytes of the input `name`. Raises InvalidInput where there are less."""
        if self._data is None:
            told = f'input "{name}" announces binary data, and the request has no inference-header-content-length'
            raise InvalidInput(told, field=name)
        left = len(self._data) - self._place
        if type(size) is not int or not 0 <= size <= left:
            told = (
                f'the "binary_data_size" of input "{name}" must be a number of bytes, at most the {left} that are left'
            )
            raise InvalidInput(told, field=name)
        self._place += size
        return self._data[self._place - size : self._place]

    def end(self) -> None:
        """Raise InvalidInput where bytes are left."""
        left = 0 if self._data is None else len(self._data) - self._place
        if left:
            raise InvalidInput(f"{left} bytes follow the inputs, which belong to none of them")


def read_tensor(tensor: Any, tail: Tail) -> tuple[str, NDArray[Any]]:
    """The name and array of one element of "inputs". Raises InvalidInput, which names it.

    BYTES are str where they came in JSON, bytes where they came raw.
    """
    if not isinstance(tensor, dict):
        raise InvalidInput('every element of "inputs" must be an object')
    name = tensor.get("name")
    if not isinstance(name, str):
        raise InvalidInput('every input must have a "name"')
    if len(name) > _MOST_NAME_CHARS:  # it stands in every error text
        raise InvalidInput(f"the name of an input is longer than {_MOST_NAME_CHARS} characters")
    datatype, shape = check_datatype(name, tensor.get("datatype")), tensor.get("shape")
    count = check_shape(name, shape)
    given = parameters_of(tensor, f'input "{name}"')
    refuse_shared_memory(given, f'input "{name}"')
    if "binary_data_size" in given:
        if "data" in tensor:
            raise InvalidInput(f'input "{name}" has "data" and binary data; send one of them', field=name)
        return name, read_raw(name, datatype, tensor["shape"], tail.take(name, given["binary_data_size"]))
    if datatype in BINARY_ONLY:
        told = f'input "{name}" is {datatype}, which has no JSON form; send it as binary data'
        raise InvalidInput(told, field=name)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f'input "{name}" must have its "data" as a list', field=name)
    return name, _shaped(name, shape, count, json_array(name, datatype, data))


def _shaped(name: str, shape: Any, count: int, array: NDArray[Any]) -> NDArray[Any]:
    if array.size != count:
        told = f'input "{name}" has the shape {shape}, {count} elements, and {array.size} in its data'
        raise InvalidInput(told, field=name)
    if array.ndim > 1 and list(array.shape) != shape:
        told = f'input "{name}" has the shape {shape} and its data is nested as {list(array.shape)}'
        raise InvalidInput(told, field=name)
    return array.reshape(shape)


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


def json_array(name: str, datatype: str, data: list[Any]) -> NDArray[Any]:
    """The array of a list, nested or flat; BYTES are str. Raises InvalidInput where the elements are no `datatype`."""
    kinds, dtype = leaf_kinds(data), dtype_of(datatype)
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
    """One element of "outputs" in JSON. That numbers are finite is for the encoder to see.

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
        raise ModelFailed(
            f'output "{name}" holds bytes that are not UTF-8, which JSON cannot carry; ask for it as binary data'
        ) from None


def as_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """An array of str, as JSON brings them, as one of bytes."""
    encoded = np.empty(array.size, object)
    encoded[:] = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
    return encoded.reshape(array.shape)
