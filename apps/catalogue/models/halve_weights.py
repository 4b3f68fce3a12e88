"""Write a copy of an ONNX file whose large weights are stored as float16, each followed by a Cast back to float32.

    python halve_weights.py SOURCE.onnx TARGET.onnx

ONNX Runtime folds the Casts when it loads the file, so the arithmetic stays float32 and costs nothing more; only the
weights are rounded. Small tensors (biases) are kept as they are. Needs the `onnx` package, which the app does not.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 1024
"""Tensors with fewer elements than this keep float32: they weigh nothing."""


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every large float32 initializer of `model`, in place. Raises ValueError where a value overflows."""
    casts = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < SMALL:
            continue
        with np.errstate(over="ignore"):  # reported below, with the tensor's name
            half = array.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{tensor.name} does not fit into float16")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)  # a graph lists producers before users
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    data = halve(onnx.load(arguments.source)).SerializeToString(deterministic=True)
    arguments.target.write_bytes(data)
    print(f"{hashlib.sha256(data).hexdigest()}  {arguments.target.name}  {len(data)} bytes")


if __name__ == "__main__":
    main()
