"""Which runs are larger than usual, and that the memory of such a run is given back."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelapp_onnx.envelope import Envelope

Write = Callable[..., Path]


def outsize(envelope: Envelope, size: int) -> bool:
    return envelope.is_outsize({"x": np.empty(size, np.uint8)})


def test_size_becomes_usual_at_its_third_run() -> None:
    """Two runs of a size are odd, from the third on they are usual, and so are smaller ones."""
    envelope = Envelope()
    assert [outsize(envelope, 100) for _ in range(4)] == [True, True, False, False]
    assert not outsize(envelope, 99)
    assert outsize(envelope, 101)


def test_rare_large_runs_stay_odd() -> None:
    """A large run every 200 runs never becomes usual."""
    envelope = Envelope()
    for _ in range(5):
        outsize(envelope, 10)
    for _ in range(6):
        assert outsize(envelope, 1000)
        for _ in range(199):
            assert not outsize(envelope, 10)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300))
def test_usual_size_has_been_seen_thrice(sizes: list[int]) -> None:
    """Whatever comes, the usual size only grows, and at least three runs were that large."""
    envelope = Envelope()
    usual = 0
    for number, size in enumerate(sizes, start=1):
        odd = outsize(envelope, size)
        assert odd == (size > envelope.usual_bytes)
        assert envelope.usual_bytes >= usual
        usual = envelope.usual_bytes
        assert usual == 0 or sum(seen >= usual for seen in sizes[:number]) >= 3


CHILD = """
import sys
from pathlib import Path
import numpy as np
from modelapp.runtime import Artefact, Placement, Run
from modelapp_onnx import Options
from modelapp_onnx.runtime import OnnxRuntime

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20

options = Options(arena_shrinkage=sys.argv[2] == "on")
model = OnnxRuntime().load(Artefact("m", Path(sys.argv[1])), options, Placement())
small = {"x": np.ones((1, 1000), np.float32)}
for _ in range(5):
    model.infer(small, Run())
before = resident_mb()
model.infer({"x": np.ones((25_000, 1000), np.float32)}, Run())
print(resident_mb() - before)
"""


def test_memory_of_an_outsize_run_is_given_back(write_graph: Write) -> None:
    """After one run of 100 MB among small ones the process is small again; without shrinkage it stays large."""
    nodes = [("Exp", ["x"], ["a"], {}), ("Log", ["a"], ["b"], {}), ("ReduceSum", ["b", "axes"], ["y"], {})]
    values = {"x": ("float", ["n", 1000])}
    path = write_graph(nodes, values, {"y": ("float", ["n", 1])}, {"axes": np.array([1])})
    kept = {}
    for shrinkage in ("on", "off"):
        command = [sys.executable, "-c", CHILD, str(path), shrinkage]
        kept[shrinkage] = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert kept["on"] < 40
    assert kept["off"] > 80
