"""The drills' model behind mosec: a typed document that is checked as mosec's manual says."""

from typing import Any

import msgspec
from drill_model import BATCH, WAIT_MS, WORKERS, DrillModel
from mosec import Server, ValidationError, Worker


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One row."""

    row: list[float]


class Model(Worker):
    """`forward` gets a list of requests."""

    def __init__(self) -> None:
        super().__init__()
        self.model = DrillModel()
        self.decode = msgspec.json.Decoder(Request).decode

    def deserialize(self, data: bytes) -> Any:
        """The row of a request."""
        try:
            return self.decode(data).row
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValidationError(str(error)) from error

    def serialize(self, data: Any) -> bytes:
        """The answer of one request."""
        return msgspec.json.encode({"row": data})

    def forward(self, data: Any) -> Any:
        """Run a list of rows, or one where batching is off."""
        return self.model(data) if BATCH > 1 else self.model([data])[0]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=WORKERS, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    server.run()
