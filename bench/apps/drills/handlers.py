"""The drills' model as a class for the python runtime."""

import numpy as np
from drill_model import DrillModel

from modelapp import Arrays, TensorSpec


class Double:
    """Rows of any length, doubled."""

    inputs = (TensorSpec("row", "float32", ("batch", "length")),)
    outputs = (TensorSpec("row", "float32", ("batch", "length")),)

    def __init__(self) -> None:
        self.model = DrillModel()

    def predict(self, batch: Arrays) -> Arrays:
        """Run a batch."""
        return {"row": np.array(self.model(batch["row"].tolist()), np.float32)}
