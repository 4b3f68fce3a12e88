"""Tensors in typed fields, one field for each kind of datatype, to numpy and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.errors import InvalidInput
from modelapp_oip.datatypes import BINARY_ONLY, check_datatype, check_shape, dtype_of
from modelapp_oip.grpcmessages import Message
from modelapp_oip.raw import element

_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_WIDE = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}
"""What the fields hold that are shared by narrower datatypes."""


def read_contents(tensor: Message) -> NDArray[Any]:
    """The array of one typed input; elements of BYTES are bytes. Raises InvalidInput, which names the input."""
    name, shape = tensor.name, list(tensor.shape)
    word, count = check_datatype(name, tensor.datatype), check_shape(name, shape)
    if word in BINARY_ONLY:
        raise InvalidInput(f'input "{name}" is {word}, which goes in raw_input_contents only', field=name)
    field = _FIELDS[word]
    strangers = [found.name for found, _ in tensor.contents.ListFields() if found.name != field]
    if strangers:
        told = f'input "{name}" is {word}, whose elements go in {field}, and has {", ".join(strangers)}'
        raise InvalidInput(told, field=name)
    held = getattr(tensor.contents, field)
    if len(held) != count:
        told = f'input "{name}" has the shape {shape}, {count} elements, and {len(held)} in its {field}'
        raise InvalidInput(told, field=name)
    return _array(name, word, field, held).reshape(shape)


def _array(name: str, word: str, field: str, held: Any) -> NDArray[Any]:
    dtype = dtype_of(word)
    if dtype.kind == "O":
        found = np.empty(len(held), object)
        found[:] = list(held)
        return found
    wide = np.fromiter(held, _WIDE.get(field, dtype), len(held))
    array = wide.astype(dtype, copy=False)
    if array is not wide and not np.array_equal(array, wide):
        raise InvalidInput(f'input "{name}" holds a value that {word} cannot', field=name)
    return array


def write_contents(tensor: Message, array: NDArray[Any]) -> None:
    """Fill one output, whose datatype is set, with its elements. Raises ModelFailed where BYTES holds anything else."""
    held = getattr(tensor.contents, _FIELDS[tensor.datatype])
    items = array.ravel().tolist()
    held.extend([element(tensor.name, item) for item in items] if array.dtype.kind == "O" else items)
