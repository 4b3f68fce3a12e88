"""How often the bytes of a large tensor are copied between a request's body and its answer."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modelapp.app import Model
from modelapp.execution import Execution
from modelapp.runtime import Run
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.wire import Wire

SIZE = 1 << 20
SIGNATURE = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", SIZE)),), outputs=(TensorSpec("y", "float32", ("batch",)),)
)
RAW = np.ones((2, SIZE), np.float32).tobytes()


class First:
    """Answers the first number of each row, and keeps whether its input was in order; not the input."""

    signature = SIGNATURE
    device = "cpu"
    in_order = False

    def infer(self, rows: Any, run: Run) -> Any:
        """Answer."""
        self.in_order = rows["x"].flags.carray
        return {"y": rows["x"][:, 0].copy()}

    def close(self) -> None:
        """Nothing to give back."""


def body(offset: int) -> tuple[bytes, str]:
    """A request with 8 MB behind JSON of such a length that they begin `offset` bytes off an aligned place."""
    tensor = {"name": "x", "shape": [2, SIZE], "datatype": "FP32", "parameters": {"binary_data_size": len(RAW)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    head += b" " * ((offset - len(head)) % 16)
    return head + RAW, str(len(head))


def allocated(work: Callable[[], Any]) -> tuple[float, Any]:
    """The most memory that `work` holds at once, in copies of those 8 MB, and its result."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1] / len(RAW), result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("requests", [1, 4])
def test_a_tensor_is_copied_once_on_its_way_in(offset: int, requests: int) -> None:
    """Reading copies nothing; the batch is the one copy, and where there was one before it takes no memory at all."""
    wire, model = Wire("m", SIGNATURE), First()
    execution = Execution(model, Model(name="m", source="s", runtime="null", max_batch_size=8))
    bodies = [body(offset) for _ in range(requests)]

    read, parts = allocated(lambda: [execution.check(wire.read_binary(*one)[0]) for one in bodies])
    run, _ = allocated(lambda: execution.run(parts, Run()))
    again, _ = allocated(lambda: execution.run(parts, Run()))

    assert read < 0.01
    assert run < requests + 0.01
    assert again < (0.01 if requests > 1 else 1.01)
    assert model.in_order


def test_an_answer_is_put_together_by_one_copy() -> None:
    """The array is viewed until the body is made of it."""
    signature = Signature(outputs=(TensorSpec("y", "float32", ("batch", SIZE)),))
    wire = Wire("m", signature)
    outputs = {"y": np.ones((2, SIZE), np.float32)}
    wanted = wire.read(b'{"inputs":[],"parameters":{"binary_data_output":true}}')[1]

    copies, answer = allocated(lambda: wire.write(outputs, wanted, ""))

    assert copies < 1.01
    assert answer.body.endswith(RAW)
