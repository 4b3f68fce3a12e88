"""The model behind mosec: one worker, JSON by msgspec."""

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


if __name__ == "__main__":
    server = Server()
    if BATCH > 1:
        server.append_worker(Model, num=1, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    else:
        server.append_worker(Model, num=1)
    server.run()
