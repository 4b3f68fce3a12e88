"""The cache of optimised graphs: keyed by all that shapes the graph, whole or absent, never trusted when damaged."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelapp.errors import LoadError
from modelapp.runtime import LoadedModel, Placement, Run
from modelapp_onnx.graphcache import GraphCache

Load = Callable[..., LoadedModel]
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "onnx").glob("*"))


def answer(model: LoadedModel) -> list[list[float]]:
    rows = model.infer({"x": X}, Run(2))
    assert isinstance(rows, dict)
    return rows["y"].tolist()


@pytest.fixture
def placement(tmp_path: Path) -> Placement:
    """A placement with a cache folder that does not exist yet."""
    return Placement(cache_dir=tmp_path / "cache")


def test_second_load_takes_the_entry(load_onnx: Load, affine: Path, placement: Placement) -> None:
    """The first load writes one entry, the second reads it, and both answer alike."""
    assert placement.cache_dir is not None
    first = load_onnx(affine, placement, cache_optimized=True)
    kept = entries(placement.cache_dir)
    assert [path.suffix for path in kept] == [".onnx"]
    written = kept[0].stat().st_mtime_ns
    second = load_onnx(affine, placement, cache_optimized=True)
    assert entries(placement.cache_dir) == kept
    assert kept[0].stat().st_mtime_ns == written
    assert answer(first) == answer(second) == (X * 3 + 1).tolist()


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_damaged_entry_is_made_anew(load_onnx: Load, affine: Path, placement: Placement, damage: str) -> None:
    """A cut, emptied or silently altered entry is replaced; one changed weight must not reach an answer."""
    assert placement.cache_dir is not None
    load_onnx(affine, placement, cache_optimized=True)
    (entry,) = entries(placement.cache_dir)
    content = entry.read_bytes()
    three = np.array([3], np.float32).tobytes()
    assert three in content
    damaged = {"cut": content[:40], "emptied": b"", "flipped": content.replace(three, np.float32(4).tobytes())}[damage]
    entry.write_bytes(damaged)
    assert answer(load_onnx(affine, placement, cache_optimized=True)) == (X * 3 + 1).tolist()
    (again,) = entries(placement.cache_dir)
    assert again.read_bytes() != damaged


def test_key_follows_the_model_and_the_level(affine: Path, tmp_path: Path) -> None:
    """Another model, library version or level is another entry; the same file elsewhere is the same one."""
    key = GraphCache.of(affine, tmp_path, ("1.0", "all")).key
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(affine.read_bytes())
    assert GraphCache.of(copy, tmp_path, ("1.0", "all")).key == key
    assert GraphCache.of(affine, tmp_path, ("1.1", "all")).key != key
    assert GraphCache.of(affine, tmp_path, ("1.0", "basic")).key != key
    copy.write_bytes(affine.read_bytes() + b"\0")
    assert GraphCache.of(copy, tmp_path, ("1.0", "all")).key != key


def with_external_weights(folder: Path, factor: float, location: str) -> Path:
    """y = factor * x, the factors in a file beside the model, as large models are exported."""
    weight = numpy_helper.from_array(np.full((4,), factor, np.float32), "w")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / location).unlink(missing_ok=True)
    path = folder / "big.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path


@pytest.mark.parametrize("location", ["weights.bin", "w" * 150 + ".bin"])
def test_weights_beside_the_model_are_part_of_the_key(
    load_onnx: Load, tmp_path: Path, placement: Placement, location: str
) -> None:
    """Where only the file with the weights changed, the old entry is not used."""
    assert placement.cache_dir is not None
    path = with_external_weights(tmp_path, 2, location)
    content = path.read_bytes()
    for _ in range(2):
        assert answer(load_onnx(path, placement, cache_optimized=True)) == (X * 2).tolist()
    assert with_external_weights(tmp_path, 5, location).read_bytes() == content
    assert answer(load_onnx(path, placement, cache_optimized=True)) == (X * 5).tolist()
    assert len(entries(placement.cache_dir)) == 2


def test_folder_that_cannot_be_written(load_onnx: Load, affine: Path, tmp_path: Path) -> None:
    """Without a usable folder the model is served all the same, and the note says why it was not kept."""
    (tmp_path / "taken").write_text("a file where the folder should be")
    model = load_onnx(affine, Placement(cache_dir=tmp_path / "taken"), cache_optimized=True)
    assert answer(model) == (X * 3 + 1).tolist()
    assert "could not be kept in" in model.signature.notes[0]
    model = load_onnx(affine, cache_optimized=True)
    assert model.signature.notes == ("cache_optimized has no effect: this replica has no cache folder.",)


def test_bad_model_is_still_named(load_onnx: Load, tmp_path: Path, placement: Placement) -> None:
    """A file that does not load gives the same error with the cache as without, and leaves nothing behind."""
    assert placement.cache_dir is not None
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nothing like a model")
    with pytest.raises(LoadError, match=r"bad\.onnx cannot be loaded: Protobuf parsing failed"):
        load_onnx(bad, placement, cache_optimized=True)
    assert entries(placement.cache_dir) == []


def test_cache_of_a_graph_that_is_not_optimised(load_onnx: Load, affine: Path, placement: Placement) -> None:
    """Caching what is switched off is a contradiction, told with both ways out."""
    with pytest.raises(LoadError, match='graph_optimization is "off"') as caught:
        load_onnx(affine, placement, cache_optimized=True, graph_optimization="off")
    assert caught.value.help == 'graph_optimization = "all", or cache_optimized = false'


@pytest.mark.parametrize("level", ["off", "basic", "extended", "all"])
def test_levels_answer_alike(load_onnx: Load, affine: Path, level: str) -> None:
    """Every level of optimisation gives the same answer."""
    assert answer(load_onnx(affine, graph_optimization=level)) == (X * 3 + 1).tolist()


CHILD = """
import sys
from pathlib import Path
import numpy as np
from modelapp.runtime import Artefact, Placement, Run
from modelapp_onnx import Options
from modelapp_onnx.runtime import OnnxRuntime

placement = Placement(cache_dir=Path(sys.argv[2]))
model = OnnxRuntime().load(Artefact("m", Path(sys.argv[1])), Options(cache_optimized=True), placement)
print(model.infer({"x": np.ones((1, 4), np.float32)}, Run())["y"].tolist())
"""


def test_processes_that_start_together(affine: Path, placement: Placement) -> None:
    """Replicas that start at once on an empty cache all answer rightly, and leave whole entries."""
    assert placement.cache_dir is not None
    command = [sys.executable, "-c", CHILD, str(affine), str(placement.cache_dir)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [child.communicate()[0].strip() for child in children] == ["[[4.0, 4.0, 4.0, 4.0]]"] * 3
    kept = entries(placement.cache_dir)
    assert kept
    assert all(path.suffix == ".onnx" for path in kept)
