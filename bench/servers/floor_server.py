"""The floor: a bare granian RSGI handler that decodes the same JSON and runs the model itself, one row at a time."""

from typing import Any

import msgspec
from onnx_model import OnnxModel


class Tensor(msgspec.Struct):
    """The parts of an input that are looked at."""

    shape: list[int]
    data: list[float]


class Request(msgspec.Struct):
    """An Open Inference Protocol request."""

    inputs: list[Tensor]


model = OnnxModel()
decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode
HEADERS = [("content-type", "application/json")]


async def app(_: Any, protocol: Any) -> None:
    """No routes, no checks, no queue."""
    tensor = decode(await protocol()).inputs[0]
    answer = model([tensor.data])
    output = {"name": "row", "datatype": "FP32", "shape": list(answer.shape), "data": answer.ravel().tolist()}
    protocol.response_bytes(200, HEADERS, encode({"model_name": "floor", "outputs": [output]}))
