"""The model behind MLServer, Open Inference Protocol JSON."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Model(MLModel):
    """One input tensor, one output tensor."""

    async def load(self) -> bool:
        """Open the model."""
        self.model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the rows of the first input."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        answer = self.model(rows)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("row", answer)])
