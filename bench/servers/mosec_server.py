"""The model behind mosec: one worker, JSON by msgspec.

With BENCH_WIRE=oip it reads and writes the documents of the Open Inference Protocol, so that clients send and get the
same bytes as with the servers that speak it; else the shortest JSON that does the job.
"""

import os
from typing import Any

import msgspec
from mosec import Server, Worker
from onnx_model import BATCH, WAIT_MS, OnnxModel


class Model(Worker):
    """One row a request; `forward` gets a list of requests where batching is on."""

    def __init__(self) -> None:
        super().__init__()
        self.model = OnnxModel()

    def deserialize(self, data: bytes) -> Any:
        """The row of a request."""
        return msgspec.json.decode(data)["row"]

    def serialize(self, data: Any) -> bytes:
        """The answer of one request."""
        return msgspec.json.encode({"row": data})

    def forward(self, data: Any) -> Any:
        """Run one row, or a list of rows."""
        return self.model(data).tolist() if BATCH > 1 else self.model([data])[0].tolist()


class Tensor(msgspec.Struct):
    """The parts of an input that are looked at."""

    shape: list[int]
    data: list[float]


class Request(msgspec.Struct):
    """An Open Inference Protocol request."""

    inputs: list[Tensor]


class ProtocolModel(Model):
    """The same model behind the protocol's documents."""

    def __init__(self) -> None:
        super().__init__()
        self.decode = msgspec.json.Decoder(Request).decode

    def deserialize(self, data: bytes) -> Any:
        """The row of a request."""
        return self.decode(data).inputs[0].data

    def serialize(self, data: Any) -> bytes:
        """The answer of one request."""
        output = {"name": "row", "datatype": "FP32", "shape": [1, len(data)], "data": data}
        return msgspec.json.encode({"model_name": "tiny", "model_version": "1", "outputs": [output]})


if __name__ == "__main__":
    worker = ProtocolModel if os.environ.get("BENCH_WIRE") == "oip" else Model
    server = Server()
    if BATCH > 1:
        server.append_worker(worker, num=1, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    else:
        server.append_worker(worker, num=1)
    server.run()
