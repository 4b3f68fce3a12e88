"""Opens acme models: a text file that holds one number."""

import numpy as np
from modelapp import LoadError, Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", "width")),),
    outputs=(TensorSpec("y", "float32", ("batch", "width")),),
)


class AcmeModel:
    signature = SIGNATURE
    device = "cpu"

    def __init__(self, factor):
        self.factor = np.float32(factor)

    def infer(self, rows, run):
        return {"y": rows["x"] * self.factor}

    def close(self):
        pass


class AcmeRuntime:
    def describe(self, artefact, options):
        return SIGNATURE

    def load(self, artefact, options, placement):
        text = artefact.source.read_text()
        try:
            factor = float(text)
        except ValueError:
            raise LoadError(f'{artefact.source} should hold one number, it holds "{text[:40]}"') from None
        return AcmeModel(factor * options.gain)
