"""The protocol's datatypes, and the numpy dtypes they are held in."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from modelapp.errors import InvalidInput
from modelapp.signature import numpy_dtype

_WORDS: Mapping[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "bytes",
}
DATATYPES = tuple(_WORDS)
"""Every datatype there is."""
BINARY_ONLY = frozenset({"FP16", "BF16"})
"""Datatypes that have no JSON form."""

MOST_AXES = 32
MOST_ON_AN_AXIS = 2**31 - 1
_MOST_AROUND_NOTHING = 1_000_000  # no length of data bounds the axes of a tensor without elements, so this must


@cache
def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of one of DATATYPES; object for BYTES. Raises KeyError for another word."""
    return numpy_dtype(_WORDS[datatype])


def check_datatype(name: str, datatype: object) -> str:
    """The datatype of the input `name`. Raises InvalidInput where there is no such one."""
    if isinstance(datatype, str) and datatype in _WORDS:
        return datatype
    told = f'input "{name}" has the unknown datatype {shown(datatype)}; one of {", ".join(DATATYPES)}'
    raise InvalidInput(told, field=name)


def check_shape(name: str, shape: object) -> int:
    """How many elements the input `name` has by its shape. Raises InvalidInput where no array can have that shape."""
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise bad_shape(name)
    if len(shape) > MOST_AXES:
        told = f'input "{name}" has {len(shape)} axes; at most {MOST_AXES} are read'
        raise InvalidInput(told, field=name)
    count, spread = 1, 1
    for dim in shape:
        if type(dim) is not int or not 0 <= dim <= MOST_ON_AN_AXIS:
            raise bad_shape(name)
        count *= dim
        spread *= dim or 1
    if not count and spread > _MOST_AROUND_NOTHING:
        told = f'input "{name}" has the shape {list(shape)}, which is without elements and too large all the same'
        raise InvalidInput(told, field=name)
    return count


def bad_shape(name: str) -> InvalidInput:
    """The error of a shape that is none."""
    return InvalidInput(f'input "{name}" must have a "shape" of whole numbers, none below 0', field=name)


def shown(value: object) -> str:
    """A caller's value for an error text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
