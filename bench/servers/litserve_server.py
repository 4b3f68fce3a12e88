"""The model behind LitServe: one worker, one API process."""

import os
from typing import Any

import litserve
from onnx_model import BATCH, WAIT_MS, OnnxModel


class Single(litserve.LitAPI):
    """One row a call."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self.model = OnnxModel()

    def decode_request(self, request):  # noqa: ANN001, ANN201 - LitServe takes an annotation for a query parameter
        """The row of a request."""
        return request["row"]

    def predict(self, x: Any) -> Any:
        """Run one row."""
        return self.model([x])[0].tolist()

    def encode_response(self, output: Any) -> Any:
        """The answer of one request."""
        return {"row": output}


class Batched(Single):
    """Many rows a call."""

    def batch(self, inputs: Any) -> Any:
        """Rows as they are; the model stacks them."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Run a list of rows."""
        return self.model(x).tolist()

    def unbatch(self, output: Any) -> Any:
        """A list already."""
        return output


if __name__ == "__main__":
    api = Batched(max_batch_size=BATCH, batch_timeout=WAIT_MS / 1000) if BATCH > 1 else Single()
    fast_queue = os.environ.get("BENCH_FAST_QUEUE") == "1"
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60, fast_queue=fast_queue)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        num_api_servers=1,
        log_level="error",
        generate_client_file=False,
    )
