"""8 bit weights for models that generate: each 32 numbers of a weight, and of what meets it, have a scale of their own.

Scales that are taken from a whole batch, as `quantizing` has them, make an answer depend on its neighbours. Here a
token's answer has the same bits alone and in company, and one token at a time is read faster too.
"""

from pathlib import Path
from typing import Any

import numpy as np

from modelapp_onnx.generationfacts import METADATA

_BLOCK = 32
"""Blocks of 128 were tried: ONNX Runtime 1.32 computes them in two ways, by how many tokens there are."""
_BY_INT8 = 4
"""The `accuracy_level` by which both sides of a product are 8 bit numbers."""


def generates(model: Any) -> bool:
    """Whether this ONNX model was exported to generate."""
    return any(one.key == METADATA for one in model.metadata_props)


def write_blockwise(model: Any, made: Path, *, large: bool) -> None:
    """Write the ONNX model to `made`; it is used up. Raises what the library raises."""
    from onnxruntime.quantization.matmul_nbits_quantizer import (  # type: ignore[import-untyped]  # it has no types
        MatMulNBitsQuantizer,
    )
    from onnxruntime.quantization.onnx_model import ONNXModel  # type: ignore[import-untyped]

    _turn_weights(model.graph)
    whole = ONNXModel(model)
    whole.replace_gemm_with_matmul()
    quantizer: Any = MatMulNBitsQuantizer(
        whole.model, bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=_BY_INT8
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(made), large)


def _turn_weights(graph: Any) -> None:
    """Keep weights as they are multiplied: a head that shares its weights with the embedding turns them at each load,
    which the quantizer does not see through."""
    from onnx import numpy_helper

    weights = {one.name: one for one in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in weights]:
        axes = next((list(one.ints) for one in node.attribute if one.name == "perm"), None)
        turned = np.transpose(numpy_helper.to_array(weights[node.input[0]]), axes)
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(turned), node.output[0]))
        graph.node.remove(node)
