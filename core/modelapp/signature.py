"""What goes into a model and what comes out: names, dtypes and shapes."""

import re
from typing import TYPE_CHECKING, Any, Literal

import attrs

from modelapp.errors import LoadError

if TYPE_CHECKING:
    import numpy as np

Dim = int | str | None
"""A fixed size, a symbol shared by all inputs that use it, or None for any size."""

#: dtype word -> datatype of the Open Inference Protocol. "string" is text, held in object arrays of str;
#: "bytes" the same of bytes; "bfloat16" is ml_dtypes'. Every other word is numpy's own.
_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
    "bytes": "BYTES",
}
DTYPES = tuple(_DATATYPES)
_TENSOR = re.compile(r"\s*(\w+)\s*\[([^\]]*)\]\s*")


def numpy_dtype(word: str) -> "np.dtype[Any]":
    """The numpy dtype of a word of DTYPES; object for "string" and "bytes"."""
    import numpy as np

    if word == "bfloat16":
        import ml_dtypes  # 10 ms, and few models need it

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(object if word in ("string", "bytes") else word)


def is_floating(dtype: "np.dtype[Any]") -> bool:
    """Whether such numbers may be NaN or infinite. numpy takes bfloat16 for no number at all."""
    return dtype.kind == "f" or (dtype.kind == "V" and dtype.name == "bfloat16")


@attrs.frozen
class TensorSpec:
    """One input or output. `shape` counts axis 0 too, which is the batch axis where the signature is batched."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    optional: bool = False

    def __attrs_post_init__(self) -> None:
        if self.dtype not in _DATATYPES:
            raise LoadError(
                f'tensor "{self.name}" has the unknown dtype "{self.dtype}"',
                help=f"one of {', '.join(DTYPES)}",
            )

    @property
    def numpy_dtype(self) -> "np.dtype[Any]":
        """The numpy dtype; object for "string" and "bytes"."""
        return numpy_dtype(self.dtype)

    @property
    def datatype(self) -> str:
        """The word the Open Inference Protocol uses, e.g. FP32."""
        return _DATATYPES[self.dtype]


def read_tensor(name: str, text: str) -> TensorSpec:
    """A tensor as options declare it, e.g. "float32[batch, 4, ?]".

    Raises LoadError naming the tensor and what is wrong with it.
    """
    match = _TENSOR.fullmatch(text)
    if match is None:
        raise LoadError(f'tensor "{name}": "{text}" is no tensor', help='write it like "float32[batch, 4]"')
    words = [word.strip() for word in match[2].split(",")] if match[2].strip() else []
    return TensorSpec(name, match[1], tuple(_dim(name, word) for word in words))


def _dim(name: str, word: str) -> Dim:
    if word == "?":
        return None
    if word.isdecimal():
        return int(word)
    if word.isidentifier():
        return word
    raise LoadError(f'tensor "{name}": "{word}" is no size', help="a number, a name, or ? for any size")


@attrs.frozen
class Signature:
    """Inputs and outputs of a loaded model.

    kind "tensors": named arrays. kind "records": one mapping of plain values a row; `inputs` and `outputs` are empty.
    `batched`: axis 0 of every input and output counts rows, and rows of different requests may share a run.
    Where it is False the model runs one request at a time, exactly as the request came.
    """

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    kind: Literal["tensors", "records"] = "tensors"
    batched: bool = True
    notes: tuple[str, ...] = ()
    """Sentences for whoever starts the app, e.g. why a model cannot be batched."""

    def input(self, name: str) -> TensorSpec | None:
        """The input of that name, or None."""
        return next((spec for spec in self.inputs if spec.name == name), None)
