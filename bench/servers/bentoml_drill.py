"""The drills' model behind BentoML: one worker, its own timeout and bound on concurrency, typed rows."""

import bentoml
from drill_model import BATCH, CAPACITY, TIMEOUT_S, DrillModel


@bentoml.service(workers=1, traffic={"timeout": TIMEOUT_S, "max_concurrency": CAPACITY})
class Server:
    """Rows in, rows out; BentoML joins the rows of several requests."""

    def __init__(self) -> None:
        self.model = DrillModel()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
    def predict(self, rows: list[list[float]]) -> list[list[float]]:
        """Run rows of one or several requests."""
        return self.model(rows)
