"""Whether axis 0 counts rows: declared by the file, tried at load, corrected where the file does not keep it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelapp.errors import LoadError, ModelFailed
from modelapp.runtime import LoadedModel, Run

Load = Callable[..., LoadedModel]
Write = Callable[..., Path]
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
ROWS = {"x": ("float", ["batch", 4])}
ANSWERS = {"y": ("float", ["batch", 4])}


def test_honest_model_is_batched(load_onnx: Load, affine: Path) -> None:
    """A model whose rows are independent is batched, without a note."""
    signature = load_onnx(affine).signature
    assert signature.batched
    assert signature.notes == ()


@pytest.mark.parametrize("path", [LIGHT[0], LIGHT[5]], ids=lambda path: path.stem)
def test_whole_networks_fixed_to_one_row(load_onnx: Load, path: Path) -> None:
    """A network exported for one row runs one row at a time, and the note names the input."""
    signature = load_onnx(path).signature
    assert not signature.batched
    assert signature.inputs[0].shape[0] == 1
    assert signature.notes[-1].endswith("is fixed to 1 on axis 0, so requests run one at a time.")


def test_declared_batch_that_fails_on_two_rows(load_onnx: Load, write_graph: Write) -> None:
    """A hard-coded Reshape to one row is found at load: from then on the signature wants one row."""
    shape = {"shape": np.array([1, 4])}
    path = write_graph([("Reshape", ["x", "shape"], ["y"], {})], ROWS, ANSWERS, shape)
    model = load_onnx(path)
    assert not model.signature.batched
    assert model.signature.inputs[0].shape == (1, 4)
    assert model.signature.outputs[0].shape == (1, 4)
    assert model.signature.notes[0].startswith("It declares a batch axis but fails on two rows (Reshape node: ")
    assert model.infer({"x": np.ones((1, 4), np.float32)}, Run())["y"].shape == (1, 4)


def test_declared_batch_that_answers_one_row(load_onnx: Load, write_graph: Write) -> None:
    """A mean over all axes answers one row for any number: rows never share a run, the shape stays as declared."""
    path = write_graph([("ReduceMean", ["x"], ["y"], {"keepdims": 1})], ROWS, {"y": ("float", ["batch", 1])})
    signature = load_onnx(path).signature
    assert not signature.batched
    assert signature.inputs[0].shape == ("batch", 4)
    assert signature.notes == ('Output "y" has 1 rows for 1 row and 1 for 2, so requests run one at a time.',)


def test_output_without_rows(load_onnx: Load, write_graph: Write) -> None:
    """An output that is a single number has no row for each row in."""
    path = write_graph([("ReduceSum", ["x"], ["y"], {"keepdims": 0})], ROWS, {"y": ("float", [])})
    signature = load_onnx(path).signature
    assert not signature.batched
    assert '"y" has no rows' in signature.notes[0]


def test_rows_that_read_each_other(load_onnx: Load, write_graph: Write) -> None:
    """A softmax over axis 0 answers a row for each row, and yet rows must not meet: found by comparing with alone."""
    path = write_graph([("Softmax", ["x"], ["y"], {"axis": 0})], ROWS, ANSWERS)
    signature = load_onnx(path).signature
    assert not signature.batched
    assert signature.inputs[0].shape == ("batch", 4)
    assert signature.notes == ("A row's answer depends on the other rows of its run, so requests run one at a time.",)


def test_running_sum_over_rows(load_onnx: Load, write_graph: Write) -> None:
    """A model that carries something from one row to the next is found too."""
    path = write_graph([("CumSum", ["x", "axis"], ["y"], {})], ROWS, ANSWERS, {"axis": np.array(0)})
    assert not load_onnx(path).signature.batched


def test_random_answers_are_not_taken_for_mixing(load_onnx: Load, write_graph: Write) -> None:
    """A model that answers otherwise each time is batched: its rows do not read each other."""
    nodes = [("RandomUniformLike", ["x"], ["noise"], {}), ("Add", ["x", "noise"], ["y"], {})]
    assert load_onnx(write_graph(nodes, ROWS, ANSWERS)).signature.batched


def test_symbol_on_two_axes(load_onnx: Load, write_graph: Write) -> None:
    """A square matrix [n, n] cannot be stacked, and is not tried."""
    square = {"x": ("float", ["n", "n"])}
    path = write_graph([("Abs", ["x"], ["y"], {})], square, {"y": ("float", ["n", "n"])})
    signature = load_onnx(path).signature
    assert not signature.batched
    assert '"n" on a further axis' in signature.notes[0]


def test_one_input_without_rows(load_onnx: Load, endless: Path) -> None:
    """One input that has no axis is enough to run requests one at a time."""
    signature = load_onnx(endless).signature
    assert not signature.batched
    assert signature.notes == ('Input "times" has no axis that could count rows, so requests run one at a time.',)


def test_open_dimensions_are_found_by_trying(load_onnx: Load, write_graph: Write) -> None:
    """An image model with open channels and sides is tried with other sizes until it runs."""
    weight = {"w": np.ones((2, 3, 5, 5), np.float32)}
    path = write_graph(
        [("Conv", ["x", "w"], ["y"], {})],
        {"x": ("float", ["n", "channels", "height", "width"])},
        {"y": ("float", [None, None, None, None])},
        weight,
    )
    signature = load_onnx(path).signature
    assert signature.batched
    assert signature.notes == ()
    assert signature.outputs[0].shape[:2] == ("n", 2)


def test_nameless_dimensions(load_onnx: Load, write_graph: Write) -> None:
    """Sizes that exporters leave nameless are any size, also where axis 0 is one of them."""
    path = write_graph([("Abs", ["x"], ["y"], {})], {"x": ("float", [None, "unk__7", "?", 2])}, {"y": ("float", None)})
    signature = load_onnx(path).signature
    assert signature.inputs[0].shape == (None, None, None, 2)
    assert signature.batched


def test_no_made_up_input_runs(load_onnx: Load, write_graph: Write) -> None:
    """Where no trial runs the declared axis stays, and the note says that it was not tried."""
    nodes = [("Reshape", ["x", "shape"], ["y"], {})]
    values = {"x": ("float", ["batch", "n"])}
    path = write_graph(nodes, values, {"y": ("float", ["batch", 77])}, {"shape": np.array([-1, 77, 1])})
    model = load_onnx(path)
    assert model.signature.batched
    assert model.signature.notes == ("No made-up input runs, so its batch axis is taken as declared.",)
    assert model.infer({"x": np.ones((2, 77), np.float32)}, Run(2))["y"].shape == (2, 77, 1)


def test_two_rows_run_and_one_does_not(load_onnx: Load, write_graph: Write) -> None:
    """A model that cannot run one row is refused at load."""
    path = write_graph(
        [("Reshape", ["x", "shape"], ["y"], {})],
        {"x": ("float", ["batch", 4])},
        {"y": ("float", ["batch", 4])},
        {"shape": np.array([2, 4])},
    )
    with pytest.raises(LoadError, match="runs over two rows, but not over one") as caught:
        load_onnx(path)
    assert "example batch of 2" in caught.value.help


def test_never_batched_when_the_app_says_so(load_onnx: Load, affine: Path) -> None:
    """`batching = "never"` keeps rows apart without trying."""
    signature = load_onnx(affine, batching="never").signature
    assert not signature.batched
    assert signature.inputs[0].shape == ("batch", 4)


def test_always_trusts_the_file(load_onnx: Load, write_graph: Write) -> None:
    """`batching = "always"` skips the trial; a file that fixes axis 0 is refused."""
    shape = {"shape": np.array([1, 4])}
    lying = write_graph([("Reshape", ["x", "shape"], ["y"], {})], ROWS, ANSWERS, shape, name="lying.onnx")
    model = load_onnx(lying, batching="always")
    assert model.signature.batched
    with pytest.raises(ModelFailed, match="Reshape node"):
        model.infer({"x": np.ones((2, 4), np.float32)}, Run(2))
    with pytest.raises(LoadError, match='batching is "always", but the model cannot: Input "data_0" is fixed to 1'):
        load_onnx(LIGHT[0], batching="always")
