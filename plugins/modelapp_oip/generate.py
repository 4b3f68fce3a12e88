"""The generate extension: a flat JSON object in, a flat JSON object out, for people and for text.

Keys that name inputs are the inputs, a single value standing for a tensor with one element; every other key is a
parameter. Source: Triton's generate extension.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.answers import encode_json
from modelapp.bodies import decode_json
from modelapp.errors import BadRequest, InvalidInput, RequestError
from modelapp.runtime import Rows
from modelapp.signature import Signature, TensorSpec
from modelapp.tasks import TASKS
from modelapp_oip.datatypes import BINARY_ONLY
from modelapp_oip.parameters import id_of, parameters_of, refuse_unknown
from modelapp_oip.tensors import as_bytes, json_array, write_tensor
from modelapp_oip.wire import VERSION

_OURS = ("id", "parameters")
_TEXT_IN, _TEXT_OUT = "text_input", "text_output"
"""What Triton's clients call the prompt of a model that generates, and its text."""


class Generate:
    """Reads and writes for one signature. `task` is a word of `modelapp.tasks`, or ""."""

    def __init__(self, model: str, signature: Signature, task: str = "") -> None:
        self._model = model
        self._signature = signature
        self._task = TASKS.get(task)
        self._generates = self._task is not None and self._task.generates

    def read(self, body: bytes) -> tuple[Rows, str, Mapping[str, Any]]:
        """The rows, the id and the parameters of a request. Raises BadRequest or InvalidInput.

        A model over records takes every key that is not the protocol's own as a field of its one record.
        """
        document = decode_json(body)
        if not isinstance(document, dict):
            raise BadRequest("the body must be a JSON object")
        request_id = id_of(document)
        values = {name: value for name, value in document.items() if name not in _OURS}
        parameters = parameters_of(document)
        if self._signature.kind == "records":
            return [self._record(values, parameters)], request_id, parameters
        named = {name: value for name, value in values.items() if self._signature.input(name) is not None}
        others = {name: value for name, value in values.items() if name not in named}
        arrays = {spec.name: _tensor(spec, named[spec.name]) for spec in self._signature.inputs if spec.name in named}
        return arrays, request_id, {**others, **parameters}

    def _record(self, values: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The one record. What its task takes may stand in `parameters`; one that generates also knows `text_input`."""
        if self._task is None:
            return values
        takes = self._task.takes
        refuse_unknown(parameters, takes, self._model)
        if self._generates:
            values.pop("stream", None)  # the route says it
            if _TEXT_IN in values:
                if "prompt" in values or "prompt" in parameters:
                    raise InvalidInput(
                        f'"{_TEXT_IN}" and "prompt" are the same input: send one of them', field=_TEXT_IN
                    )
                values["prompt"] = values.pop(_TEXT_IN)
        values = {**{name: parameters[name] for name in takes if name in parameters}, **values}
        for name in self._task.needs:
            if name not in values:
                raise InvalidInput(f'"{name}" is missing, which model "{self._model}" needs', field=name)
        return values

    def write(self, outputs: Rows, request_id: str) -> bytes:
        """The answer's JSON object, or that of a piece. Raises ModelFailed where JSON cannot carry an output."""
        answer: dict[str, Any] = {"model_name": self._model, "model_version": VERSION}
        if request_id:
            answer["id"] = request_id
        if not isinstance(outputs, Mapping):
            record = outputs[0]
            if self._generates and "text" in record:
                answer[_TEXT_OUT] = record["text"]
            return encode_json({**record, **answer})
        for spec in self._signature.outputs:
            answer.setdefault(spec.name, _plain(spec, outputs[spec.name]))
        return encode_json(answer)


def _tensor(spec: TensorSpec, value: Any) -> NDArray[Any]:
    """A value, or nested lists of some, with leading axes of 1 up to the rank of the input."""
    datatype = "FP32" if spec.datatype in BINARY_ONLY else spec.datatype
    array = json_array(spec.name, datatype, value if isinstance(value, list) else [value])
    if not isinstance(value, list):
        array = array.reshape(())
    if array.ndim < len(spec.shape):
        array = array.reshape((1,) * (len(spec.shape) - array.ndim) + array.shape)
    if spec.dtype == "bytes":
        return as_bytes(array)
    if spec.datatype in BINARY_ONLY:
        return _narrowed(spec, array)
    return array


def _narrowed(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        narrow: NDArray[Any] = array.astype(spec.numpy_dtype)
    if not np.isfinite(narrow).all():
        raise InvalidInput(f'input "{spec.name}" holds a value that {spec.datatype} cannot', field=spec.name)
    return narrow


def _plain(spec: TensorSpec, array: NDArray[Any]) -> Any:
    """One element as it is, more of them as a flat list."""
    if spec.datatype in BINARY_ONLY:
        array = array.astype(np.float32)
    data = write_tensor(spec.name, spec.datatype, array)["data"]
    return data[0] if len(data) == 1 else data


def event(body: bytes) -> bytes:
    """An answer as a server-sent event."""
    return b"data: " + body + b"\n\n"


def last_event(error: RequestError) -> bytes:
    """The event that ends a stream which failed."""
    return event(encode_json({"error": error.message}))
