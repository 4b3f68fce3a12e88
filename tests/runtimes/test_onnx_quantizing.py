"""Files made smaller: which weights become 8 bit numbers, how close the answers stay, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelapp.errors import LoadError
from modelapp.runtime import Artefact, Placement, Quantizes, Run
from modelapp_onnx import Options
from modelapp_onnx.quantizing import MAIN_FILE
from modelapp_onnx.runtime import OnnxRuntime

WEIGHTS = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32) * np.logspace(-2, 2, 32)


@pytest.fixture
def dense(write_graph: Any) -> Path:
    """One matrix product, whose columns are of very different sizes."""
    return write_graph(  # type: ignore[no-any-return]
        [("MatMul", ["x", "w"], ["y"], {})],
        {"x": ("float", ["batch", 64])},
        {"y": ("float", ["batch", 32])},
        {"w": WEIGHTS.astype(np.float32)},
    )


def test_each_column_has_its_own_scale(dense: Path, tmp_path: Path) -> None:
    """So the small ones keep their meaning beside large ones; the file is about a quarter of the size."""
    target = tmp_path / "small"
    target.mkdir()
    runtime = OnnxRuntime()
    assert isinstance(runtime, Quantizes)
    notes = runtime.quantize(dense, target, "int8")
    assert any("8 bit weights" in note for note in notes)
    assert (target / MAIN_FILE).stat().st_size < dense.stat().st_size / 2
    x = np.random.default_rng(1).standard_normal((1, 64)).astype(np.float32)
    model = runtime.load(Artefact("m", target / MAIN_FILE), Options(), Placement())
    answer = model.infer({"x": x}, Run())["y"]  # type: ignore[union-attr]
    apart = np.abs(answer - x @ WEIGHTS).max(axis=0) / np.abs(WEIGHTS).max(axis=0)
    assert apart.max() < 0.2


def test_a_folder_keeps_what_lies_beside_the_model(dense: Path, tmp_path: Path) -> None:
    """The tokenizer of a model that generates goes along, and the file's own words on itself say the precision."""
    folder, target = tmp_path / "whole", tmp_path / "small"
    folder.mkdir()
    target.mkdir()
    model = onnx.load(dense)
    model.metadata_props.add(key="modelapp.generation", value='{"version": 1, "precision": "float32"}')
    onnx.save(model, folder / MAIN_FILE)
    (folder / "tokenizer.json").write_text("{}")
    OnnxRuntime().quantize(folder, target, "int8")
    assert (target / "tokenizer.json").read_text() == "{}"
    (entry,) = [one for one in onnx.load(target / MAIN_FILE).metadata_props if one.key == "modelapp.generation"]
    assert entry.value == '{"version": 1, "precision": "int8"}'


def test_a_model_without_matrices_is_refused(write_graph: Any, tmp_path: Path) -> None:
    """A smaller copy that is no smaller would mislead; so would a precision that there is not."""
    path = write_graph([("Relu", ["x"], ["y"], {})], {"x": ("float", ["n"])}, {"y": ("float", ["n"])})
    with pytest.raises(LoadError, match="no matrix of weights"):
        OnnxRuntime().quantize(path, tmp_path, "int8")
    with pytest.raises(LoadError, match='"int3" is no precision'):
        OnnxRuntime().quantize(path, tmp_path, "int3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match=r"there is no model\.onnx in"):
        OnnxRuntime().quantize(tmp_path / "empty", tmp_path, "int8")
