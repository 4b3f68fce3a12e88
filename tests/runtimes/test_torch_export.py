"""Networks written as ONNX files: open sizes stay open, names stay, and what cannot be written is told."""

import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from modelapp.app import Model
from modelapp.errors import LoadError
from modelapp.parity import Comparison, Ledger, Twins, compare_drawn
from modelapp.runtime import Artefact, Exports, Placement, Run
from modelapp_onnx import Options as OnnxOptions
from modelapp_onnx.runtime import OnnxRuntime
from modelapp_torch import Options
from modelapp_torch.runtime import TorchRuntime

Export = Callable[..., tuple[list[str], Path]]
PLACEMENT = Placement()


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Writes a class, exports it, and gives the notes and the file: export("class Net...", inputs={...})."""

    def write(code: str, **options: Any) -> tuple[list[str], Path]:
        (tmp_path / "handlers.py").write_text("import torch\n" + textwrap.dedent(code))
        artefact = Artefact("net", tmp_path / "handlers.py", symbol="Net", root=tmp_path)
        folder = tmp_path / "out"
        folder.mkdir()
        notes = TorchRuntime().export(artefact, Options(**options), PLACEMENT, folder, "onnx")
        return list(notes), folder / "model.onnx"

    return write


def compared(tmp_path: Path, path: Path, *, most_rows: int = 5, **options: Any) -> list[Comparison]:
    """What comes of drawn inputs to the class and to the file."""
    original = TorchRuntime().load(
        Artefact("net", tmp_path / "handlers.py", symbol="Net", root=tmp_path), Options(**options), PLACEMENT
    )
    exported = OnnxRuntime().load(Artefact("net", path), OnnxOptions(), PLACEMENT)
    model = Model(name="net", source="handlers.py:Net", runtime="torch", max_batch_size=most_rows)
    ledger = Ledger(1e-4)
    compare_drawn(Twins(original, exported, model, ledger), ledger, most_rows=most_rows)  # type: ignore[arg-type]
    return ledger.comparisons


TWO = """
    class Net(torch.nn.Module):
        def forward(self, a, b, mask):
            mixed = torch.matmul(a, b) * mask.unsqueeze(2)
            return {"mixed": mixed, "total": mixed.sum((1, 2)), "longest": mask.sum(1)}
"""
TWO_INPUTS = {
    "a": "float32[batch, n, 4]",
    "b": "float32[batch, 4, m]",
    "mask": "int64[batch, n]",
}


def test_open_sizes_stay_open_under_their_names(export: Export, tmp_path: Path) -> None:
    """Those that are shared are one; inputs and outputs keep their names, their order and their types."""
    assert isinstance(TorchRuntime(), Exports)
    notes, path = export(TWO, inputs=TWO_INPUTS)
    graph = onnx.load(path).graph

    def shapes(values: Any) -> dict[str, list[Any]]:
        dims = {one.name: one.type.tensor_type.shape.dim for one in values}
        return {name: [dim.dim_param or dim.dim_value for dim in found] for name, found in dims.items()}

    assert shapes(graph.input) == {"a": ["batch", "n", 4], "b": ["batch", 4, "m"], "mask": ["batch", "n"]}
    assert shapes(graph.output) == {"mixed": ["batch", "n", "m"], "total": ["batch"], "longest": ["batch"]}
    comparisons = compared(tmp_path, path, inputs=TWO_INPUTS)
    assert len(comparisons) == 27
    assert all(one.ok for one in comparisons), [one.told() for one in comparisons if not one.ok]
    facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert facts["modelapp.exporter"] == "torch.export"
    assert facts["modelapp.torch"] == torch.__version__
    assert notes == [f"written by torch.export of torch {torch.__version__}, opset {facts['modelapp.opset']}"]


def test_a_model_over_images(export: Export, tmp_path: Path) -> None:
    """Convolutions with sizes that are fixed, of uint8 pixels, answers in a tuple."""
    code = """
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.edges = torch.linspace(-1, 1, 54).reshape(2, 3, 3, 3)
            def forward(self, x):
                seen = torch.nn.functional.conv2d(x.float() / 255, self.edges, stride=2)
                return seen.mean((2, 3)), seen.amax((1, 2, 3))
    """
    inputs = {"x": "uint8[batch, 3, 9, 9]"}
    _, path = export(code, inputs=inputs)
    comparisons = compared(tmp_path, path, inputs=inputs)
    assert {one.output for one in comparisons} == {"output_0", "output_1"}
    assert all(one.ok for one in comparisons), [one.told() for one in comparisons if not one.ok]


def test_a_model_that_is_not_batched(export: Export, tmp_path: Path) -> None:
    """Its first axis is open like any other, and no rows."""
    code = """
        class Net(torch.nn.Module):
            def forward(self, x):
                return {"y": torch.cumsum(x, 0) / x.shape[0]}
    """
    options: dict[str, Any] = {"inputs": {"x": "float32[n, 3]"}, "batching": "never"}
    _, path = export(code, **options)
    comparisons = compared(tmp_path, path, **options)
    assert {one.shape for one in comparisons} == {(8, 3), (3, 3), (17, 3)}
    assert all(one.ok for one in comparisons), [one.told() for one in comparisons if not one.ok]


def test_the_older_exporter_is_tried_and_said(export: Export, tmp_path: Path) -> None:
    """Where torch.export cannot follow the code; what it kept of the example's way the comparison finds."""
    code = """
        class Net(torch.nn.Module):
            def forward(self, x):
                return {"y": x * 2 if float(x.sum()) > 0 else x * 3}
    """
    inputs = {"x": "float32[batch, 4]"}
    notes, path = export(code, inputs=inputs, batching="always")
    assert notes[0].startswith("written by TorchScript of torch")
    assert notes[1].startswith("torch.export could not: ")
    assert "\n" not in notes[1]
    wrong = [one for one in compared(tmp_path, path, inputs=inputs, batching="always", most_rows=9) if not one.ok]
    assert wrong
    assert {one.output for one in wrong} == {"y"}


def test_an_export_that_is_wrong_is_found(export: Export, tmp_path: Path) -> None:
    """A network that computes something else while it is exported."""
    code = """
        class Net(torch.nn.Module):
            def forward(self, x):
                return {"y": x * 1.001 if torch.compiler.is_compiling() else x}
    """
    inputs = {"x": "float32[batch, 4]"}
    _, path = export(code, inputs=inputs)
    comparisons = compared(tmp_path, path, inputs=inputs)
    assert comparisons
    assert not any(one.ok for one in comparisons)
    assert all(one.max_rel == pytest.approx(1e-3, rel=1e-2) for one in comparisons)


def test_what_neither_exporter_can_write_is_told_in_a_line(export: Export) -> None:
    """An operator that ONNX lacks: with the last cause; the pages of advice around it are for -vv."""
    code = """
        class Net(torch.nn.Module):
            def forward(self, x):
                return {"y": torch.special.bessel_j0(x)}
    """
    with pytest.raises(LoadError, match=r"handlers\.py:Net cannot be exported: \w+: ") as caught:
        export(code, inputs={"x": "float32[batch, 2]"}, batching="always")
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is not None


def test_8_bit_weights_of_torch(export: Export) -> None:
    """They are refused before anything is loaded, with the way to make them."""
    with pytest.raises(LoadError, match='quantize = "int8" cannot be exported') as caught:
        export(TWO, inputs=TWO_INPUTS, quantize="int8")
    assert "--precision int8" in caught.value.help


def test_a_task_other_than_generation(tmp_path: Path) -> None:
    """It says what can be exported instead."""
    for task, told in (("embeddings", "as a model over tensors"), ("text-to-text", "serve it with the torch runtime")):
        with pytest.raises(LoadError, match=f'a model with task = "{task}" cannot be exported') as caught:
            TorchRuntime().export(Artefact("m", tmp_path, task=task), Options(), PLACEMENT, tmp_path, "onnx")
        assert told in caught.value.help
    with pytest.raises(LoadError, match='does not export to "tflite"'):
        TorchRuntime().export(Artefact("m", tmp_path), Options(), PLACEMENT, tmp_path, "tflite")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that brings them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LoadError, match="needs the package onnx") as caught:
        TorchRuntime().export(Artefact("m", tmp_path), Options(), PLACEMENT, tmp_path, "onnx")
    assert caught.value.help == "pip install 'modelapp[export]'"


def test_an_exported_program_and_torchscript_are_exported_too(tmp_path: Path) -> None:
    """No code of the model is needed for that."""

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 + 1

    rows = torch.export.Dim("batch")
    example = (torch.ones(2, 3),)
    torch.export.save(torch.export.export(Net(), example, dynamic_shapes=({0: rows},)), tmp_path / "net.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(Net(), example).save(str(tmp_path / "net.pt"))
    for name, inputs in (("net.pt2", {}), ("net.pt", {"x": "float32[batch, 3]"})):
        folder = tmp_path / f"out-{name}"
        folder.mkdir()
        notes = TorchRuntime().export(
            Artefact("net", tmp_path / name), Options(inputs=inputs), PLACEMENT, folder, "onnx"
        )
        loaded = OnnxRuntime().load(Artefact("net", folder / "model.onnx"), OnnxOptions(), PLACEMENT)
        answer = loaded.infer({"x": np.ones((4, 3), np.float32)}, Run(4))  # type: ignore[union-attr]
        assert np.asarray(answer["output"]).tolist() == [[3, 3, 3]] * 4
        assert ("TorchScript" in notes[0]) == (name == "net.pt")
