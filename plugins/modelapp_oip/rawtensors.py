"""Tensors as raw bytes, little-endian and row-major: what the binary extension and gRPC carry.

Source: the Open Inference Protocol's "tensor data" and Triton's binary extension (BYTES, BF16).
"""

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput, ModelFailed
from modelapp_oip.tensors import NUMPY_DTYPES

RAW_DTYPES: Mapping[str, np.dtype[Any]] = {**NUMPY_DTYPES, "FP16": np.dtype(np.float16), "BF16": np.dtype(np.float32)}
"""Every datatype that raw bytes can carry, and what it becomes: numpy has no bfloat16, which float32 holds exactly."""
_LENGTH = struct.Struct("<I")
_MOST_DIMS = 32  # numpy's own limit is 64


def read_raw(
    name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview, *, text: bool = False
) -> NDArray[Any]:
    """The array of input `name`: a view of `raw` wherever the datatype allows it, so read-only and perhaps unaligned.

    `text`: elements of BYTES become str. Raises InvalidInput, which names the input.
    """
    dtype = RAW_DTYPES.get(datatype)
    if dtype is None:
        told = f'input "{name}" has the unknown datatype {datatype[:40]!r}; one of {", ".join(RAW_DTYPES)}'
        raise InvalidInput(told, field=name)
    if len(shape) > _MOST_DIMS or (shape and min(shape) < 0):
        raise InvalidInput(f'input "{name}" must have a "shape" of at most {_MOST_DIMS} whole numbers', field=name)
    count = prod(shape)
    if dtype.kind == "O":
        return _read_elements(name, count, raw, text=text).reshape(shape)
    width = 2 if datatype == "BF16" else dtype.itemsize
    if len(raw) != count * width:
        told = f'input "{name}" of {datatype} {list(shape)} takes {count * width} bytes, {len(raw)} came'
        raise InvalidInput(told, field=name)
    if datatype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if datatype == "BOOL" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise InvalidInput(f'input "{name}" is BOOL and holds a byte that is neither 0 nor 1', field=name)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _read_elements(name: str, count: int, raw: bytes | memoryview, *, text: bool) -> NDArray[Any]:
    """`count` elements of BYTES, each behind its length."""
    if count * _LENGTH.size > len(raw):  # before `count` takes any memory
        raise _cut(name, count)
    content, at, end = bytes(raw), 0, len(raw)
    found: list[Any] = []
    for _ in range(count):
        start = at + _LENGTH.size
        if start > end:
            raise _cut(name, count)
        at = start + _LENGTH.unpack_from(content, at)[0]
        if at > end:
            raise _cut(name, count)
        found.append(content[start:at])
    if at != end:
        raise InvalidInput(f'input "{name}" has {count} elements and {end - at} bytes more', field=name)
    return element_array(name, found, text=text)


def element_array(name: str, found: Sequence[bytes], *, text: bool) -> NDArray[Any]:
    """Elements of BYTES as a flat array of bytes, or of str where the model takes `text`. Raises InvalidInput."""
    array = np.empty(len(found), object)
    try:
        array[:] = [element.decode() for element in found] if text else list(found)
    except UnicodeDecodeError:
        raise InvalidInput(f'input "{name}" takes text and holds bytes that are not UTF-8', field=name) from None
    return array


def _cut(name: str, count: int) -> InvalidInput:
    return InvalidInput(f'the bytes of input "{name}" end before its {count} elements do', field=name)


def write_raw(name: str, array: NDArray[Any]) -> bytes | memoryview:
    """The bytes of output `name`: a view of `array` wherever that is little-endian and contiguous.

    Raises ModelFailed where an element is neither text nor bytes.
    """
    if array.dtype.kind == "O":
        parts: list[bytes] = []
        for element in elements(name, array):
            parts += (_LENGTH.pack(len(element)), element)
        return b"".join(parts)
    if not array.size:
        return b""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def elements(name: str, array: NDArray[Any]) -> list[bytes]:
    """The elements of an output of BYTES, row-major. Raises ModelFailed."""
    found: list[bytes] = []
    for element in array.ravel().tolist():
        if isinstance(element, str):
            found.append(element.encode())
        elif isinstance(element, bytes):
            found.append(element)
        else:
            raise ModelFailed(f'output "{name}" should hold text or bytes, the model gave {type(element).__name__}')
    return found
