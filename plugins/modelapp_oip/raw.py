"""Tensors as raw bytes, as the protocol's binary extension and its gRPC service carry them: little-endian, row-major.

What comes in is viewed, not copied: the arrays share the memory of the message, cannot be written to, and need not be
aligned. BYTES is the exception; its elements are bytes of their own, each preceded by its length as a uint32.
Source: Triton's binary tensor data extension.
"""

import struct
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput, ModelFailed
from modelapp_oip.datatypes import check_datatype, check_shape, dtype_of

Raw: TypeAlias = bytes | memoryview
_LENGTH = struct.Struct("<I")
_SWAPPED = sys.byteorder == "big"


def read_raw(name: str, datatype: object, shape: Sequence[int], data: Raw) -> NDArray[Any]:
    """The array of the input `name`; elements of BYTES are bytes.

    Raises InvalidInput where the shape and the number of bytes do not agree, or the bytes are none of that datatype.
    """
    word, count = check_datatype(name, datatype), check_shape(name, shape)
    if word == "BYTES":
        return _read_texts(name, count, data).reshape(shape)
    dtype = dtype_of(word)
    if len(data) != count * dtype.itemsize:
        told = (
            f'input "{name}" is {word} of the shape {list(shape)}, {count * dtype.itemsize} bytes, and {len(data)} came'
        )
        raise InvalidInput(told, field=name)
    array: NDArray[Any] = np.frombuffer(data, dtype)
    if word == "BOOL" and count and array.view(np.uint8).max() > 1:
        raise InvalidInput(f'input "{name}" is BOOL and holds bytes other than 0 and 1', field=name)
    return (array.byteswap() if _SWAPPED else array).reshape(shape)


def _read_texts(name: str, count: int, data: Raw) -> NDArray[Any]:
    size, place = len(data), 0
    if count * _LENGTH.size > size:  # before anything is made for so many
        told = f'input "{name}" is BYTES of {count} elements, which take more than the {size} bytes that came'
        raise InvalidInput(told, field=name)
    texts = np.empty(count, object)
    for index in range(count):
        start = place + _LENGTH.size
        place = start + _LENGTH.unpack_from(data, place)[0] if start <= size else size + 1
        if place > size:
            raise InvalidInput(f'input "{name}" ends in the middle of element {index}', field=name)
        texts[index] = bytes(data[start:place])
    if place != size:
        told = f'input "{name}" is BYTES of {count} elements, and {size - place} bytes follow the last'
        raise InvalidInput(told, field=name)
    return texts


def write_raw(name: str, array: NDArray[Any]) -> Raw:
    """The raw bytes of the output `name`: a view where its memory is in order already. Raises ModelFailed.

    Elements of arrays of objects may be bytes or str.
    """
    if array.dtype.kind == "O":
        return b"".join(part for item in array.ravel().tolist() for part in _text(name, item))
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if _SWAPPED:
        array = array.byteswap()
    # By way of plain bytes, since not every dtype has a form that other code understands.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _text(name: str, item: object) -> tuple[bytes, bytes]:
    content = element(name, item)
    return _LENGTH.pack(len(content)), content


def element(name: str, item: object) -> bytes:
    """One element of a BYTES output. Raises ModelFailed where the model gave neither text nor bytes."""
    if isinstance(item, str):
        return item.encode(errors="surrogatepass")
    if not isinstance(item, bytes):
        raise ModelFailed(f'output "{name}" should hold text or bytes, the model gave {type(item).__name__}')
    return item


def as_text(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array of bytes as one of str. Raises InvalidInput where an element is not UTF-8."""
    texts = np.empty(array.size, object)
    for index, item in enumerate(array.ravel().tolist()):
        try:
            texts[index] = item.decode()
        except UnicodeDecodeError:
            told = f'element {index} of input "{name}" is not UTF-8, and the model takes text'
            raise InvalidInput(told, field=name) from None
    return texts.reshape(array.shape)
