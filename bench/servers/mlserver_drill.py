"""The drills' model behind MLServer, Open Inference Protocol JSON, in its pool of one worker process."""

import numpy as np
from drill_model import DrillModel
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    """One input tensor, one output tensor."""

    async def load(self) -> bool:
        """Open the model."""
        self.model = DrillModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the rows of the first input."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).tolist()
        answer = np.array(self.model(rows), np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("row", answer)])
