"""The model behind BentoML: one worker, access log, metrics and traces off."""

import bentoml
import numpy as np
from onnx_model import BATCH, OnnxModel


@bentoml.service(
    workers=1,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"exporter_type": None, "sample_rate": 0.0},
)
class Server:
    """Rows in, rows out; BentoML joins the rows of several requests where batching is on."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    if BATCH > 1:

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
        def predict(self, rows: np.ndarray) -> np.ndarray:
            """Run rows of one or several requests."""
            return self.model(rows)

    else:

        @bentoml.api
        def predict(self, rows: np.ndarray) -> np.ndarray:
            """Run rows of one or several requests."""
            return self.model(rows)
