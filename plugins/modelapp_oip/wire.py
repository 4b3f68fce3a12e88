"""One model's inference requests and answers over HTTP: JSON, and raw bytes behind it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from numpy.typing import NDArray

from modelapp.answers import encode_json
from modelapp.bodies import OFF_LOOP_BYTES, decode_json
from modelapp.errors import BadRequest, InvalidInput, RequestError
from modelapp.routes import HttpResponse
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.classification import classify
from modelapp_oip.parameters import flag, id_of, parameters_of
from modelapp_oip.raw import as_text, read_raw, write_raw
from modelapp_oip.tensors import Tail, as_bytes, float32_array, read_tensor, write_tensor
from modelapp_oip.wanted import Outputs, Wanted

VERSION = "1"
"""The one version of a model that an app serves; a new one is a new release."""
HEADER = "inference-header-content-length"
"""Tells how many bytes of a body are JSON, where raw tensors follow; 0: all of it is one raw tensor."""
BINARY = "application/octet-stream"
Asked: TypeAlias = tuple[dict[str, NDArray[Any]], Sequence[Wanted], str, Mapping[str, Any]]
"""What a request holds: arrays by input, outputs wanted, id, parameters."""

LONG = 8192
"""Elements of outputs that are written one by one; so many take about a millisecond."""
_SMALL_BYTES = 4096  # in larger bodies decoding outweighs everything that the plain way saves
_NONE: Mapping[str, Any] = {}


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """The commonest request: flat tensors of numbers, no parameters, all outputs wanted."""

    inputs: list[_Tensor]
    id: str = ""


_decode_plain = msgspec.json.Decoder(_Plain).decode


class Wire:
    """Reads and writes for one signature, whose names are looked up once."""

    def __init__(self, model: str, signature: Signature, labels: Sequence[str] = ()) -> None:
        self._model = model
        self._signature = signature
        self._labels = labels
        self._outputs = Outputs(model, signature)
        self._texts = {spec.name: spec.dtype for spec in signature.inputs if spec.dtype in ("bytes", "string")}
        self._all: tuple[Wanted, ...] | None
        try:
            self._all = self._outputs.all()
        except RequestError:  # one has no JSON form: told to whoever asks for it
            self._all = None
        floats = bool(signature.inputs) and all(spec.dtype == "float32" for spec in signature.inputs)
        self.plain = floats and self._all is not None and signature.kind == "tensors"
        """Whether the plain way may be tried."""

    def _read_plain(self, body: bytes) -> tuple[dict[str, NDArray[Any]], str] | None:
        """A plain request to a model over float32, decoded and checked in one go; None where it is not so plain."""
        try:
            request = _decode_plain(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        tensors = request.inputs
        # Every key has its colon: with more, a key came twice, or a colon stands in a text.
        if body.count(b":") != 1 + 4 * len(tensors) + (request.id != ""):
            return None
        arrays: dict[str, NDArray[Any]] = {}
        for tensor in tensors:
            array = float32_array(tensor.shape, tensor.data) if tensor.datatype == "FP32" else None
            if array is None:
                return None
            arrays[tensor.name] = array
        return (arrays, request.id) if len(arrays) == len(tensors) else None

    def read(self, body: bytes) -> Asked:
        """What a request in JSON asks. Raises BadRequest or InvalidInput."""
        if self.plain and len(body) < _SMALL_BYTES and (plain := self._read_plain(body)) is not None:
            assert self._all is not None  # else nothing is plain
            return plain[0], self._all, plain[1], _NONE
        return self._read_document(decode_json(body), Tail(None))

    def read_binary(self, body: bytes, header: str) -> Asked:
        """What a request asks whose raw tensors follow the JSON; `header` is what HEADER says."""
        if not header.isascii() or not header.isdecimal() or len(header) > 18 or int(header) > len(body):
            raise BadRequest(
                f'{HEADER} must be a number of bytes, at most the {len(body)} of the body, not "{header[:80]}"'
            )
        size = int(header)
        if not size:
            return self._read_raw(body)
        return self._read_document(decode_json(body[:size]), Tail(memoryview(body)[size:]))

    def _read_document(self, document: Any, tail: Tail) -> Asked:
        if not isinstance(document, dict):
            raise BadRequest("the body must be a JSON object")
        self._refuse_records()
        tensors = document.get("inputs")
        if not isinstance(tensors, list):
            raise InvalidInput('the body must have its "inputs" as a list')
        arrays: dict[str, NDArray[Any]] = {}
        for tensor in tensors:
            name, array = read_tensor(tensor, tail)
            if name in arrays:
                raise InvalidInput(f'input "{name}" stands twice in "inputs"', field=name)
            arrays[name] = self._as_taken(name, array) if name in self._texts else array
        tail.end()
        request_id = id_of(document)
        parameters = parameters_of(document)
        binary, outputs = flag(parameters, "binary_data_output"), document.get("outputs")
        everything = outputs is None or outputs == []  # as Triton takes an empty list
        wanted = self._outputs.all(binary=binary) if everything else self._outputs.chosen(outputs, binary=binary)
        return arrays, wanted, request_id, parameters

    def _refuse_records(self) -> None:
        if self._signature.kind == "records":
            told = f'model "{self._model}" takes records, which inference requests cannot carry; use generate'
            raise InvalidInput(told)

    def _read_raw(self, body: bytes) -> Asked:
        """The whole body as the one input, its only free size worked out; all outputs are sent raw."""
        self._refuse_records()
        if len(self._signature.inputs) != 1:
            count = len(self._signature.inputs)
            raise InvalidInput(
                f'model "{self._model}" has {count} inputs; only where it has one can a body be a raw tensor'
            )
        spec = self._signature.inputs[0]
        array = self._as_taken(spec.name, _whole(spec, body, batched=self._signature.batched))
        return {spec.name: array}, self._outputs.all(binary=True), "", _NONE

    def _as_taken(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """Texts as the model takes them, as str or as bytes, in whichever form they came."""
        if array.dtype.kind != "O":
            return array
        raw = bool(array.size) and isinstance(array.flat[0], bytes)
        if self._texts.get(name) == "bytes":
            return array if raw else as_bytes(array)
        return as_text(name, array) if raw else array

    def is_slow(self, body: bytes, header: str) -> bool:
        """Whether `read_binary` would keep the loop from its other work: numbers are viewed, all else is read."""
        if len(body) <= OFF_LOOP_BYTES:
            return False
        return bool(self._texts) or (header.isdecimal() and int(header[:18]) > OFF_LOOP_BYTES)

    def is_long(self, outputs: Mapping[str, NDArray[Any]], wanted: Sequence[Wanted]) -> bool:
        """Whether `write` would keep the loop from its other work."""
        for array in outputs.values():
            if array.size > LONG:
                break
        else:
            return False
        return any(outputs[one.name].size > LONG for one in wanted if not one.binary or one.sent_as == "BYTES")

    def write(self, outputs: Mapping[str, NDArray[Any]], wanted: Sequence[Wanted], request_id: str) -> HttpResponse:
        """The answer. Raises ModelFailed where JSON cannot carry a number."""
        raw: list[bytes | memoryview] = []
        told: list[dict[str, Any]] = []
        for one in wanted:
            array, datatype = outputs[one.name], one.datatype
            if one.classes:
                array = classify(array, one.classes, self._labels, batched=self._signature.batched)
                datatype = "BYTES"
            if one.binary:
                raw.append(write_raw(one.name, array))
                told.append(_announced(one.name, datatype, array, len(raw[-1])))
            else:
                told.append(write_tensor(one.name, datatype, array))
        answer: dict[str, Any] = {"model_name": self._model, "model_version": VERSION}
        if request_id:
            answer["id"] = request_id
        answer["outputs"] = told
        head = encode_json(answer)
        if not raw:
            return HttpResponse(200, head)
        return HttpResponse(200, b"".join([head, *raw]), BINARY, ((HEADER, str(len(head))),))


def _announced(name: str, datatype: str, array: NDArray[Any], size: int) -> dict[str, Any]:
    size_told = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": size_told}


def _whole(spec: TensorSpec, body: bytes, *, batched: bool) -> NDArray[Any]:
    """A body that is nothing but the tensor `spec`; one of BYTES is its single element, without a length."""
    shape: list[Any] = list(spec.shape)
    if spec.datatype == "BYTES":
        import numpy as np

        if any(dim not in (1, None) and not isinstance(dim, str) for dim in shape):
            raise InvalidInput(f'input "{spec.name}" holds more than the one element that a raw body can be')
        single = np.empty(1, object)
        single[0] = body
        return single.reshape([1] * len(shape))
    free = [axis for axis, dim in enumerate(shape) if not isinstance(dim, int)]
    if len(free) > 1 and batched and free[0] == 0:
        shape[free.pop(0)] = 1
    if len(free) > 1:
        raise InvalidInput(f'input "{spec.name}" has {len(free)} free sizes; a raw body can tell only one')
    if free:
        shape[free[0]] = 1
        unit = spec.numpy_dtype.itemsize
        for dim in shape:
            unit *= dim
        shape[free[0]] = len(body) // unit if unit else 0
    return read_raw(spec.name, spec.datatype, shape, body)
