"""The drills' model behind LitServe: requests checked by pydantic, workers started again when they die."""

import os
from typing import Any

import litserve
from drill_model import BATCH, MAX_BODY, TIMEOUT_S, WAIT_MS, DrillModel
from pydantic import BaseModel


class Request(BaseModel):
    """One row."""

    row: list[float]


class Batched(litserve.LitAPI):
    """Many rows a call."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self.model = DrillModel()

    def decode_request(self, request: Request) -> Any:
        """The row of a request."""
        return request.row

    def batch(self, inputs: Any) -> Any:
        """Rows as they are."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Run a list of rows."""
        return self.model(x)

    def unbatch(self, output: Any) -> Any:
        """A list already."""
        return output

    def encode_response(self, output: Any) -> Any:
        """The answer of one request."""
        return {"row": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        Batched(max_batch_size=BATCH, batch_timeout=WAIT_MS / 1000),
        accelerator="cpu",
        workers_per_device=1,
        timeout=TIMEOUT_S,
        max_payload_size=MAX_BODY,
        restart_workers=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["DRILL_PORT"]),
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
    )
