"""One model's inference requests and answers in JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from modelapp.answers import encode_json
from modelapp.bodies import decode_json
from modelapp.errors import BadRequest, InvalidInput
from modelapp.signature import Signature
from modelapp_oip.tensors import float32_array, json_datatype, narrowed, read_tensor, write_tensor

VERSION = "1"
"""The one version of a model that an app serves; a new one is a new release."""
_SMALL_BYTES = 4096  # in larger bodies decoding outweighs everything that the plain way saves


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

    def __init__(self, model: str, signature: Signature) -> None:
        self._model = model
        self._records = signature.kind == "records"
        self._datatypes = {spec.name: json_datatype(spec) for spec in signature.outputs}
        # JSON has text and numbers only: these inputs need one step more.
        self._converted = {spec.name: spec for spec in signature.inputs if spec.dtype in ("bytes", "float16")}
        self._floats = bool(signature.inputs) and all(spec.dtype == "float32" for spec in signature.inputs)

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

    def read(self, body: bytes) -> tuple[dict[str, NDArray[Any]], list[str] | None, str]:
        """The named arrays, the outputs asked for (None: all) and the id. Raises BadRequest or InvalidInput."""
        if self._floats and len(body) < _SMALL_BYTES and (plain := self._read_plain(body)) is not None:
            return plain[0], None, plain[1]
        document = decode_json(body)
        if not isinstance(document, dict):
            raise BadRequest("the body must be a JSON object")
        if self._records:
            told = f'model "{self._model}" takes records, which this protocol cannot carry; use its endpoint'
            raise InvalidInput(told)
        tensors = document.get("inputs")
        if not isinstance(tensors, list):
            raise InvalidInput('the body must have its "inputs" as a list')
        arrays: dict[str, NDArray[Any]] = {}
        for tensor in tensors:
            name, array = read_tensor(tensor)
            if name in arrays:
                raise InvalidInput(f'input "{name}" stands twice in "inputs"', field=name)
            arrays[name] = self._convert(name, array) if name in self._converted else array
        request_id = document.get("id", "")
        if not isinstance(request_id, str):
            raise InvalidInput('"id" must be a string')
        outputs = document.get("outputs")
        return arrays, None if outputs is None else self._asked_for(outputs), request_id

    def write(self, outputs: Mapping[str, NDArray[Any]], wanted: list[str] | None, request_id: str) -> bytes:
        """The answer's body. Raises ModelFailed where JSON cannot carry a number."""
        datatypes = self._datatypes
        answer: dict[str, Any] = {"model_name": self._model, "model_version": VERSION}
        if request_id:
            answer["id"] = request_id
        answer["outputs"] = [
            write_tensor(name, datatypes[name], outputs[name]) for name in (datatypes if wanted is None else wanted)
        ]
        return encode_json(answer)

    def _convert(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        spec = self._converted[name]
        if spec.dtype == "float16":
            return narrowed(name, "FP16", spec.numpy_dtype, array) if array.dtype.kind == "f" else array
        if array.dtype.kind == "O":
            flat = array.reshape(-1)
            flat[:] = [text.encode() for text in flat]
        return array

    def _asked_for(self, outputs: Any) -> list[str]:
        if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
            raise InvalidInput('"outputs" must be a list of objects')
        names = [item.get("name") for item in outputs]
        for name in names:
            if not isinstance(name, str) or name not in self._datatypes:
                known = ", ".join(self._datatypes)
                raise InvalidInput(f'model "{self._model}" has no output {name!r}; its outputs: {known}')
        return names
