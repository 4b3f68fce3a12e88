"""A class of torch.nn.Module with its weights: made, filled, tried, run; and what is said where that cannot be."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modelapp.errors import LoadError, ModelFailed, OutOfMemory
from modelapp.runtime import Artefact, LoadedModel, Placement, Run
from modelapp_torch import Options
from modelapp_torch.runtime import TorchRuntime

Load = Callable[..., LoadedModel]
ROWS = {"x": "float32[batch, 4]"}
LINEAR = """
class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layer = nn.Linear(4, width)

    def forward(self, x):
        return self.layer(x)
"""


def weights(width: int = 3) -> dict[str, torch.Tensor]:
    """Of LINEAR."""
    numbers = torch.Generator().manual_seed(1)
    return {
        "layer.weight": torch.rand(width, 4, generator=numbers),
        "layer.bias": torch.rand(width, generator=numbers),
    }


def x(rows: int = 2) -> dict[str, Any]:
    """Some rows."""
    return {"x": np.random.default_rng(2).normal(size=(rows, 4)).astype(np.float32)}


def expected(rows: dict[str, Any], width: int = 3) -> Any:
    """What LINEAR answers."""
    state = weights(width)
    return rows["x"] @ state["layer.weight"].numpy().T + state["layer.bias"].numpy()


# --- what it takes and gives -----------------------------------------------------------------------------------------


def test_a_class_with_its_weights_answers(load_torch: Load) -> None:
    """Declared inputs, outputs found by trial, arguments for the constructor; a batch axis that was tried."""
    model = load_torch(LINEAR, weights(5), inputs=ROWS, arguments={"width": 5})

    assert [(one.name, one.dtype, one.shape) for one in model.signature.outputs] == [
        ("output", "float32", ("batch", 5))
    ]
    assert model.signature.batched
    assert model.signature.notes == ()
    answer: Any = model.infer(x(), Run(2))
    np.testing.assert_allclose(answer["output"], expected(x(), 5), rtol=1e-5)


def test_forward_may_say_itself_what_it_takes(load_torch: Load) -> None:
    """Annotations in the words of the option stand for it."""
    code = """
    from typing import Annotated
    from torch import Tensor
    class Net(nn.Module):
        def forward(self, x: Annotated[Tensor, "float32[batch, n]"], mask: Annotated[Tensor, "int64[batch, n]"]):
            return x * mask, mask.sum(1)
    """
    signature = load_torch(code).signature
    assert [(one.name, one.dtype, one.shape) for one in signature.inputs] == [
        ("x", "float32", ("batch", "n")),
        ("mask", "int64", ("batch", "n")),
    ]
    assert [(one.name, one.dtype, one.shape) for one in signature.outputs] == [
        ("output_0", "float32", ("batch", "n")),
        ("output_1", "int64", ("batch",)),
    ]


def test_a_class_of_a_package_is_named_beside_its_weights(load_torch: Load, tmp_path: Path) -> None:
    """`source` is the file of weights, `architecture` the class."""
    file = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, file)
    model = load_torch(
        source=file,
        architecture="torch.nn:Linear",
        arguments={"in_features": 4, "out_features": 2},
        inputs={"input": "float32[batch, 4]"},
    )
    answer: Any = model.infer({"input": np.ones((1, 4), np.float32)}, Run())
    assert answer["output"].tolist() == [[4.0, 4.0]]


def test_rows_that_read_each_other_run_one_request_at_a_time(load_torch: Load) -> None:
    """The batch axis is tried as it is for ONNX files."""
    signature = load_torch(
        "class Net(nn.Module):\n    def forward(self, x): return x.softmax(0)", inputs=ROWS
    ).signature
    assert not signature.batched
    assert signature.notes == ("A row's answer depends on the other rows of its run, so requests run one at a time.",)


def test_batching_never_and_always(load_torch: Load) -> None:
    """The option overrules the trial, but not a fixed axis."""
    assert not load_torch(LINEAR, weights(), inputs=ROWS, batching="never").signature.batched
    with pytest.raises(LoadError, match=r'torch.batching is "always", but the model cannot: Input "x" is fixed to 2'):
        load_torch(LINEAR, weights(), inputs={"x": "float32[2, 4]"}, batching="always")


def test_arrays_go_in_and_out_without_a_copy(load_torch: Load) -> None:
    """What the network answers is the memory that came in, also where numpy says that it may not be written to."""
    model = load_torch("class Net(nn.Module):\n    def forward(self, x): return x.view(x.shape)", inputs=ROWS)
    for rows in (x(), {"x": np.frombuffer(x()["x"].tobytes(), np.float32).reshape(2, 4)}):
        answer: Any = model.infer(rows, Run(2))
        assert np.shares_memory(answer["output"], rows["x"])


def test_a_network_that_writes_to_its_inputs_is_given_copies(load_torch: Load) -> None:
    """A request's own memory is never changed."""
    model = load_torch("class Net(nn.Module):\n    def forward(self, x): return x.mul_(2)", inputs=ROWS)
    rows = x()
    answer: Any = model.infer(rows, Run(2))
    np.testing.assert_array_equal(rows["x"], x()["x"])
    np.testing.assert_array_equal(answer["output"], rows["x"] * 2)


def test_bfloat16_comes_out_as_ml_dtypes_has_it(load_torch: Load) -> None:
    """Weights of another type are cast once, with a note; floating inputs are cast at each run."""
    model = load_torch(LINEAR, weights(), inputs=ROWS, dtype="bfloat16")
    assert model.signature.outputs[0].dtype == "bfloat16"
    assert model.signature.notes == (
        "Its weights are stored as float32 and cast to bfloat16: replicas do not share its memory.",
    )
    answer: Any = model.infer(x(), Run(2))
    assert answer["output"].dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(answer["output"].astype(np.float32), expected(x()), atol=0.05)
    halves = {name: tensor.bfloat16() for name, tensor in weights().items()}
    stored = load_torch(LINEAR, halves, inputs={"x": "bfloat16[batch, 4]"}, dtype="bfloat16")
    assert stored.signature.notes == ()
    same: Any = stored.infer({"x": x()["x"].astype(ml_dtypes.bfloat16)}, Run(2))
    np.testing.assert_array_equal(same["output"], answer["output"])


def test_int8_changes_linear_layers(load_torch: Load) -> None:
    """Answers are near those of float32, not the same; a network without such a layer is refused."""
    model = load_torch(LINEAR, weights(), inputs=ROWS, quantize="int8")
    answer: Any = model.infer(x(), Run(2))
    difference = np.abs(answer["output"] - expected(x())).max()
    assert 0 < difference < 0.1
    with pytest.raises(LoadError, match="has no linear layer"):
        load_torch("class Net(nn.Module):\n    def forward(self, x): return x", inputs=ROWS, quantize="int8")
    with pytest.raises(
        LoadError, match=r'quantize = "int8" does not go together with models.m.torch.dtype = "bfloat16"'
    ):
        load_torch(LINEAR, weights(), inputs=ROWS, quantize="int8", dtype="bfloat16")


def test_threads_are_kept_to_in_every_run(load_torch: Load) -> None:
    """The budget is set for the thread that runs, whatever ran there before; more than it is refused."""
    code = """
    class Net(nn.Module):
        def forward(self, x): return x + torch.get_num_threads()
    """
    model = load_torch(code, inputs=ROWS, placement=Placement(threads=2), threads=1)
    torch.set_num_threads(2)
    answer: Any = model.infer({"x": np.zeros((1, 4), np.float32)}, Run())
    assert answer["output"].tolist() == [[1.0] * 4]
    with pytest.raises(LoadError, match="threads is 3, over the model's budget of 2"):
        load_torch(code, inputs=ROWS, placement=Placement(threads=2), threads=3)


def test_an_open_size_of_the_answer_has_its_name(load_torch: Load) -> None:
    """Two sizes are tried: what follows an input's symbol bears it, what stays is a number, the rest is open."""
    code = """
    class Net(nn.Module):
        def forward(self, x): return x.cumsum(1), x[:, :, :1].expand(-1, -1, 7), x.flatten(1)
    """
    outputs = load_torch(code, inputs={"x": "float32[batch, n, 3]"}).signature.outputs
    assert [one.shape for one in outputs] == [("batch", "n", 3), ("batch", "n", 7), ("batch", None)]


def test_declared_outputs_name_the_answer(load_torch: Load) -> None:
    """In their order; another number of tensors is an error of the run, and where nothing runs they are believed."""
    pair = "class Net(nn.Module):\n    def forward(self, x): return x, x.sum(1)"
    outputs = {"same": "float32[batch, 4]", "sum": "float32[batch]"}
    answer: Any = load_torch(pair, inputs=ROWS, outputs=outputs).infer(x(), Run(2))
    assert list(answer) == ["same", "sum"]
    one = load_torch(pair, inputs=ROWS, outputs={"same": "float32[batch, 4]"})
    with pytest.raises(ModelFailed, match="answered 2 tensors, and 1 are declared"):
        one.infer(x(), Run(2))


# --- weights ---------------------------------------------------------------------------------------------------------


def test_weights_are_mapped_and_not_copied(load_torch: Load) -> None:
    """Every parameter of the loaded network lies in the mapped file."""
    model: Any = load_torch(LINEAR, weights(), inputs=ROWS)
    file = next(iter(Path("/proc/self/maps").read_text().splitlines()), "")
    assert file
    mapped = [
        tuple(int(part, 16) for part in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("net.safetensors")
    ]
    for tensor in model.program.target.parameters():
        assert any(start <= tensor.data_ptr() < end for start, end in mapped)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
def test_a_state_dict_of_torch_save_is_read(load_torch: Load, tmp_path: Path, new: bool) -> None:
    """Also under "state_dict"; one of the old kind is not mapped, which a note says."""
    file = tmp_path / "net.pth"
    torch.save({"state_dict": weights()}, file, _use_new_zipfile_serialization=new)
    model = load_torch(LINEAR, file, inputs=ROWS)
    answer: Any = model.infer(x(), Run(2))
    np.testing.assert_allclose(answer["output"], expected(x()), rtol=1e-5)
    notes = () if new else ("net.pth is of an old kind that cannot be mapped: replicas do not share its memory.",)
    assert model.signature.notes == notes


def test_tensors_in_another_order_are_laid_out_as_networks_want_them(load_torch: Load, tmp_path: Path) -> None:
    """Left as a converter wrote them every run would do that."""
    file = tmp_path / "net.pth"
    state = weights()
    state["layer.weight"] = state["layer.weight"].t().contiguous().t()
    torch.save(state, file)
    model: Any = load_torch(LINEAR, file, inputs=ROWS)
    assert all(tensor.is_contiguous() for tensor in model.program.target.parameters())
    assert model.signature.notes == (
        "net.pth holds tensors in another order, which are laid out anew: replicas do not share its memory.",
    )
    answer: Any = model.infer(x(), Run(2))
    np.testing.assert_allclose(answer["output"], expected(x()), rtol=1e-5)


def test_a_network_that_computes_while_it_is_made_is_made_in_memory(load_torch: Load) -> None:
    """A constructor that reads its tensors, and one that keeps some which are no part of the weights."""
    code = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, int(torch.tensor(3.0).item()))
            self.scale = torch.full((3,), 2.0)

        def forward(self, x):
            return self.layer(x) * self.scale
    """
    answer: Any = load_torch(code, weights(), inputs=ROWS).infer(x(), Run(2))
    np.testing.assert_allclose(answer["output"], expected(x()) * 2, rtol=1e-5)


def test_a_tensor_with_two_names_may_be_written_once(load_torch: Load) -> None:
    """As safetensors writes tied weights."""
    code = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.last = nn.Linear(4, 4, bias=False)
            self.last.weight = self.first.weight

        def forward(self, x):
            return self.last(self.first(x))
    """
    answer: Any = load_torch(code, {"first.weight": torch.eye(4) * 3}, inputs=ROWS).infer(x(), Run(2))
    np.testing.assert_allclose(answer["output"], x()["x"] * 9, rtol=1e-5)


class Payload:
    """What a malicious pickle does when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (open, (str(self.file), "w"))


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
def test_a_pickle_that_would_run_code_is_refused(load_torch: Load, tmp_path: Path, new: bool) -> None:
    """It does not run, and the error says what it asks for."""
    file, mark = tmp_path / "net.pth", tmp_path / "ran"
    torch.save({"layer.weight": Payload(mark)}, file, _use_new_zipfile_serialization=new)
    with pytest.raises(
        LoadError, match=r"it asks for (_io|io|builtins).open, and reading that would run code"
    ) as refused:
        load_torch(LINEAR, file, inputs=ROWS)
    assert "safetensors.torch.save_file" in refused.value.help
    assert not mark.exists()


def test_a_plain_pickle_is_refused(load_torch: Load, tmp_path: Path) -> None:
    """Also one that torch did not write."""
    file, mark = tmp_path / "net.pth", tmp_path / "ran"
    file.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(LoadError, match=r"net\.pth"):
        load_torch(LINEAR, file, inputs=ROWS)
    assert not mark.exists()


def damaged(folder: Path, name: str, keep: float) -> Path:
    """A file of weights that was cut, as both kinds."""
    file = folder / name
    if file.suffix == ".safetensors":
        save_file(weights(), file)
    else:
        torch.save(weights(), file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    return file


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_cut_files_are_told(load_torch: Load, tmp_path: Path, name: str, keep: float) -> None:
    """A copy that ended too soon is an error that names the file, whatever is left of it."""
    with pytest.raises(LoadError, match=rf"{name} cannot be loaded: .*") as told:
        load_torch(LINEAR, damaged(tmp_path, name, keep), inputs=ROWS)
    assert "compare size and digest" in told.value.help


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x00garbage and more garbage", "cannot be loaded"),
        (b"\xff" * 64, "cannot be loaded"),
    ],
)
def test_garbage_is_told(load_torch: Load, tmp_path: Path, content: bytes, says: str) -> None:
    """A file that holds no weights."""
    file = tmp_path / "net.safetensors"
    file.write_bytes(content)
    with pytest.raises(LoadError, match=f"net.safetensors {says}"):
        load_torch(LINEAR, file, inputs=ROWS)


def test_weights_that_are_missing(load_torch: Load) -> None:
    """A class with weights needs a file of them, and the error shows the key."""
    with pytest.raises(
        LoadError, match=r'has weights \("layer.weight" and others\), and app.toml names no file'
    ) as told:
        load_torch(LINEAR, inputs=ROWS)
    assert told.value.help == 'files = { weights = "models/net.safetensors" } in [models.m]'


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layer.bias": None}, 'lacks "layer.bias", which handlers.py:Net has'),
        ({"head.weight": torch.ones(1)}, 'has "head.weight", which handlers.py:Net lacks'),
        (
            {"layer.weight": torch.ones(3, 5)},
            r'"layer.weight" is \[3, 5\] in .*net.safetensors and \[3, 4\] in handlers.py:Net',
        ),
        ({"layer.bias": None, "layer.biass": torch.ones(3)}, r'lacks "layer.bias".* \(and 1 more that do not fit\)'),
    ],
)
def test_weights_that_do_not_fit(load_torch: Load, change: dict[str, Any], says: str) -> None:
    """The tensor is named, and both shapes."""
    state = {name: tensor for name, tensor in {**weights(), **change}.items() if tensor is not None}
    with pytest.raises(LoadError, match=says):
        load_torch(LINEAR, state, inputs=ROWS)


def test_a_checkpoint_of_something_else_is_told(load_torch: Load, tmp_path: Path) -> None:
    """Plain values are no state dict."""
    file = tmp_path / "net.pth"
    torch.save({"epoch": 3, "loss": 0.1}, file)
    with pytest.raises(LoadError, match="is no state dict: it holds the keys epoch, loss"):
        load_torch(LINEAR, file, inputs=ROWS)


# --- the class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class Net:\n    def predict(self, rows): ...", "handlers.py:Net is no torch.nn.Module"),
        ("def Net(): ...", "handlers.py:Net is no torch.nn.Module"),
    ],
)
def test_what_is_no_network(load_torch: Load, code: str, says: str) -> None:
    """A class that torch does not know is refused before it is made."""
    with pytest.raises(LoadError, match=says):
        load_torch(code, inputs=ROWS)


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("torch.nn.Linear", '"torch.nn.Linear" names no class of an installed package'),
        ("handlers.py:Net", "names no class of an installed package"),
        ("no_such_package:Net", "no_such_package cannot be imported"),
        ("torch.nn:Linaer", 'torch.nn has no "Linaer"'),
        ("torch.nn:init", "torch.nn:init is no torch.nn.Module"),
    ],
)
def test_an_architecture_that_cannot_be_found(load_torch: Load, tmp_path: Path, architecture: str, says: str) -> None:
    """Each fault has its words."""
    save_file(weights(), tmp_path / "w.safetensors")
    with pytest.raises(LoadError, match=says):
        load_torch(source=tmp_path / "w.safetensors", architecture=architecture, inputs=ROWS)


def test_two_classes_are_one_too_many(load_torch: Load) -> None:
    """Which would be filled?"""
    with pytest.raises(LoadError, match=r"names two classes: Net in source, torch.nn:Linear in architecture"):
        load_torch(LINEAR, weights(), inputs=ROWS, architecture="torch.nn:Linear")


def test_arguments_that_the_constructor_refuses(load_torch: Load) -> None:
    """The near word is named."""
    with pytest.raises(LoadError, match=r"arguments: handlers.py:Net refuses them") as told:
        load_torch(LINEAR, weights(), inputs=ROWS, arguments={"widht": 4})
    assert told.value.help == 'did you mean "width"?'


def test_what_the_constructor_raises_passes(load_torch: Load) -> None:
    """The core tells it with its place in the app's files."""
    with pytest.raises(ZeroDivisionError):
        load_torch("class Net(nn.Module):\n    def __init__(self): 1 / 0", inputs=ROWS)


@pytest.mark.parametrize(
    ("inputs", "says", "fix"),
    [
        ({}, "handlers.py:Net.forward does not say what it takes", 'inputs = { x = "float32[batch, ...]" }'),
        ({"y": "float32[batch]"}, 'handlers.py:Net.forward has no parameter "y"', "it takes x"),
        ({"x": "float[batch]"}, 'm.torch.inputs: tensor "x" has the unknown dtype "float"', "float32"),
        ({"x": "string[batch]"}, 'torch has no tensors of "string"', ""),
    ],
)
def test_inputs_that_are_not_said_or_said_wrongly(load_torch: Load, inputs: Any, says: str, fix: str) -> None:
    """Each error shows the line to write."""
    with pytest.raises(LoadError, match=says) as told:
        load_torch(LINEAR, weights(), inputs=inputs)
    assert fix in told.value.help


def test_an_input_that_is_left_out(load_torch: Load) -> None:
    """Parameters without a default must be declared."""
    with pytest.raises(LoadError, match=r'Net.forward needs "mask" too'):
        load_torch("class Net(nn.Module):\n    def forward(self, x, mask): return x", inputs=ROWS)


def test_a_forward_that_never_runs_is_told_at_load(load_torch: Load) -> None:
    """Nothing is known of its answer then; where it is declared the model loads, and each request is told."""
    code = "class Net(nn.Module):\n    def forward(self, x): raise ValueError('not today')"
    with pytest.raises(LoadError, match=r"handlers.py:Net runs over no made-up input: not today"):
        load_torch(code, inputs=ROWS)
    model = load_torch(code, inputs=ROWS, outputs={"y": "float32[batch]"})
    with pytest.raises(ValueError, match="not today"):
        model.infer(x(), Run(2))


def test_a_run_that_does_not_fit_into_memory(load_torch: Load) -> None:
    """The library's plain RuntimeError becomes the product's own class, and keeps none of the run's memory."""
    code = """
    class Net(nn.Module):
        def forward(self, x):
            return x.sum(1) + torch.empty(10 ** (15 if len(x) > 2 else 1)).shape[0]
    """
    model = load_torch(code, inputs=ROWS)
    with pytest.raises(OutOfMemory, match="a run over 3 rows did not fit into memory") as failed:
        model.infer(x(3), Run(3))
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("tpu", 'device is "tpu", which the torch runtime does not know'),
        ("cuda:x", 'device is "cuda:x", which the torch runtime does not know'),
        ("cuda:99", 'device is "cuda:99", but torch .* finds'),
    ],
)
def test_a_device_that_is_not_here(load_torch: Load, device: str, says: str) -> None:
    """Never a quiet fall-back to the CPU."""
    with pytest.raises(LoadError, match=says):
        load_torch(LINEAR, weights(), inputs=ROWS, placement=Placement(device=device))


def test_auto_is_what_there_is(load_torch: Load) -> None:
    """CUDA where it is available."""
    model = load_torch(LINEAR, weights(), inputs=ROWS, placement=Placement(device="auto"))
    assert model.device.split(":")[0] == ("cuda" if torch.cuda.is_available() else "cpu")


def test_compiling_needs_a_compiler(load_torch: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said before it is tried, with the command that brings one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadError, match=r"needs a C\+\+ compiler, and there is none on PATH") as told:
        load_torch(LINEAR, weights(), inputs=ROWS, compile="default")
    assert "apt install g++" in told.value.help


@pytest.mark.slow
def test_a_compiled_network_answers_as_it_did(load_torch: Load) -> None:
    """For one row and several, and what it took is noted."""
    model = load_torch(LINEAR, weights(), inputs=ROWS, compile="default")
    assert model.signature.notes[-1].startswith("torch.compile took ")
    for rows in (1, 2, 5):
        answer: Any = model.infer(x(rows), Run(rows))
        np.testing.assert_allclose(answer["output"], expected(x(rows)), rtol=1e-4, atol=1e-5)


def test_a_closed_model_has_let_go_of_its_weights(load_torch: Load) -> None:
    """Nothing refers to the network any more."""
    model: Any = load_torch(LINEAR, weights(), inputs=ROWS)
    network: nn.Module = model.program.target
    before = sys.getrefcount(network)
    model.close()
    assert sys.getrefcount(network) < before


def test_a_task_is_described_before_it_is_loaded() -> None:
    """A task's models are over records; nothing is known of others before they are loaded."""
    file = Path("weights.safetensors")
    task = TorchRuntime().describe(Artefact("m", file, task="embeddings"), Options())
    assert task is not None
    assert task.kind == "records"
    assert TorchRuntime().describe(Artefact("m", file), Options()) is None


def test_the_page_lists_every_option() -> None:
    """docs/runtimes.md names each key with its default."""
    page = (Path(__file__).parents[2] / "docs/runtimes.md").read_text(encoding="utf-8")
    section = page[page.index("\n## torch: ") :]
    table = section[section.index("| key | ") :].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:3] == "| `"]
    listed = {cells[0].strip("` "): cells[2] for cells in rows}
    fields = attrs.fields_dict(Options)
    assert listed.keys() == fields.keys()
    told = {"inputs": "what the program or the annotations say", "outputs": "found by trial runs", "arguments": "`{}`"}
    for name, field in fields.items():
        default = f'`"{field.default}"`' if isinstance(field.default, str) else f"`{field.default}`"
        assert listed[name] == told.get(name, default)
