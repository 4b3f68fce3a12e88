"""Programs in files: what torch.export, AOTInductor and TorchScript write is served without the model's code."""

import platform
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from modelapp.errors import LoadError, ModelFailed
from modelapp.runtime import LoadedModel, Run

Load = Callable[..., LoadedModel]
ROWS = {"x": "float32[batch, 4]"}


class Pair(nn.Module):
    """Two inputs, one of them by name, and two named answers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, *, shift: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rows in, rows out."""
        return {"y": self.layer(x) + shift, "sum": x.sum(1)}


class Single(nn.Module):
    """One input, one answer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows in, rows out."""
        return self.layer(x)  # type: ignore[no-any-return] # a module's call is open


def exported(module: nn.Module, *args: torch.Tensor, dims: Any, **kwargs: torch.Tensor) -> Any:
    """The program, in memory; `dims`: by name, which sizes are open."""
    return torch.export.export(module.eval(), args, kwargs, dynamic_shapes=dims)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Pair, exported with open rows."""
    file = tmp_path / "pair.pt2"
    rows = {0: Dim("batch")}
    made = exported(Pair(), torch.ones(2, 4), shift=torch.ones(2, 3), dims={"x": rows, "shift": rows})
    torch.export.save(made, file)
    return file


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Single, as TorchScript."""
    file = tmp_path / "single.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Single().eval(), torch.ones(2, 4)).save(str(file))
    return file


def rows(count: int, width: int = 4) -> Any:
    """Some numbers."""
    return np.random.default_rng(1).normal(size=(count, width)).astype(np.float32)


def test_an_exported_program_says_itself_what_it_takes(load_torch: Load, program: Path) -> None:
    """Names, dtypes and open rows are its own; answers are those of the module it was made from, for one row too."""
    model = load_torch(source=program)
    signature = model.signature
    assert [(one.name, one.dtype, one.shape) for one in signature.inputs] == [
        ("x", "float32", ("batch", 4)),
        ("shift", "float32", ("batch", 3)),
    ]
    assert [(one.name, one.shape) for one in signature.outputs] == [("y", ("batch", 3)), ("sum", ("batch",))]
    assert signature.batched
    for count in (1, 5):
        fed = {"x": rows(count), "shift": rows(count, 3)}
        answer: Any = model.infer(fed, Run(count))
        whole = Pair().eval()(torch.from_numpy(fed["x"]), shift=torch.from_numpy(fed["shift"]))
        for name, tensor in whole.items():
            np.testing.assert_allclose(answer[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_program_for_fixed_rows_is_not_batched(load_torch: Load, tmp_path: Path) -> None:
    """As exported without an open axis."""
    torch.export.save(exported(Single(), torch.ones(2, 4), dims=None), tmp_path / "fixed.pt2")
    signature = load_torch(source=tmp_path / "fixed.pt2").signature
    assert not signature.batched
    assert signature.inputs[0].shape == (2, 4)
    assert signature.notes == ('Input "x" is fixed to 2 on axis 0, so requests run one at a time.',)


def test_a_guard_of_the_program_is_the_requests_fault(load_torch: Load, program: Path) -> None:
    """What the program refuses is told on one line, with its file."""
    with pytest.raises(ModelFailed, match=r"^pair.pt2: Guard failed: .*4$"):
        load_torch(source=program).infer({"x": rows(2, 5), "shift": rows(2, 3)}, Run(2))


def test_a_program_of_lists_is_refused(load_torch: Load, tmp_path: Path) -> None:
    """A tensor for each argument is all that can be fed."""

    class Lists(nn.Module):
        def forward(self, pair: list[torch.Tensor]) -> torch.Tensor:
            return pair[0] + pair[1]

    program = torch.export.export(Lists(), ([torch.ones(2), torch.ones(2)],))
    torch.export.save(program, tmp_path / "lists.pt2")
    with pytest.raises(LoadError, match="takes lists or tables of tensors"):
        load_torch(source=tmp_path / "lists.pt2")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"dtype": "bfloat16"}, "dtype"),
        ({"quantize": "int8"}, "quantize"),
        ({"arguments": {"width": 2}}, "arguments"),
        ({"inputs": ROWS}, "inputs"),
    ],
)
def test_options_that_a_program_cannot_follow(load_torch: Load, program: Path, options: Any, key: str) -> None:
    """Each is named; nothing is quietly left out."""
    with pytest.raises(LoadError, match=rf"models\.m\.torch\.{key}"):
        load_torch(source=program, **options)


def test_torchscript_needs_its_inputs_said(load_torch: Load, script: Path) -> None:
    """Their names are in the file, dtypes and sizes are not: the error shows the line to write."""
    with pytest.raises(LoadError, match=r"single.pt does not say what it takes") as told:
        load_torch(source=script)
    assert 'inputs = { x = "float32[batch, ...]" }' in told.value.help
    with pytest.raises(LoadError, match='has no input "z"'):
        load_torch(source=script, inputs={"z": "float32[batch, 4]"})


def test_torchscript_answers(load_torch: Load, script: Path) -> None:
    """As the module that was traced; its errors are their last line."""
    model = load_torch(source=script, inputs=ROWS, outputs={"y": "float32[batch, 3]"})
    assert model.signature.batched
    answer: Any = model.infer({"x": rows(3)}, Run(3))
    whole = Single().eval()(torch.from_numpy(rows(3))).detach().numpy()
    np.testing.assert_allclose(answer["y"], whole, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelFailed, match=r"^single.pt: RuntimeError: mat1 and mat2 shapes [^\n]*$"):
        model.infer({"x": rows(3, 5)}, Run(3))


@pytest.mark.parametrize(("name", "keep"), [("program", 0.5), ("program", 0.95), ("script", 0.5), ("script", 0.95)])
def test_cut_files_are_told(load_torch: Load, request: pytest.FixtureRequest, name: str, keep: float) -> None:
    """Whatever is left of them."""
    file: Path = request.getfixturevalue(name)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    with pytest.raises(LoadError, match=file.name):
        load_torch(source=file, inputs={} if name == "program" else ROWS)


def test_weights_alone_are_no_program(load_torch: Load, tmp_path: Path) -> None:
    """Both ways to name their class are shown."""
    torch.save(Single().state_dict(), tmp_path / "net.pth")
    with pytest.raises(LoadError, match="holds weights, and no network that uses them") as told:
        load_torch(source=tmp_path / "net.pth")
    assert "files = { weights" in told.value.help
    assert "architecture" in told.value.help


def test_a_text_file_is_nothing(load_torch: Load, tmp_path: Path) -> None:
    """And a folder is none of a model either, without a task."""
    (tmp_path / "net.bin").write_text("hello, this is no model")
    with pytest.raises(LoadError, match="is nothing that the torch runtime opens"):
        load_torch(source=tmp_path / "net.bin")


# --- AOTInductor -----------------------------------------------------------------------------------------------------

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on PATH")


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pair, compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dims = {"x": {0: Dim("batch")}, "shift": None}
        made = exported(Pair(), torch.ones(2, 4), shift=torch.ones(3), dims=dims)
        return Path(torch._inductor.aoti_compile_and_package(made, package_path=str(folder / "pair.pt2")))


PAIR = {"x": "float32[batch, 4]", "shift": "float32[3]"}


@needs_compiler
@pytest.mark.slow
def test_a_compiled_package_answers(load_torch: Load, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module it was made from, and what does not fit is refused by itself, as the runtime's setting has it."""
    monkeypatch.setenv("AOTI_RUNTIME_CHECK_INPUTS", "1")
    model = load_torch(source=package, inputs=PAIR)
    assert [one.name for one in model.signature.outputs] == ["y", "sum"]
    assert model.signature.notes == ('Input "shift" is fixed to 3 on axis 0, so requests run one at a time.',)
    for count in (2, 5):  # it is not made for a single row
        fed = {"x": rows(count), "shift": rows(1, 3)[0]}
        answer: Any = model.infer(fed, Run(count))
        whole = Pair().eval()(torch.from_numpy(fed["x"]), shift=torch.from_numpy(fed["shift"]))
        for name, tensor in whole.items():
            np.testing.assert_allclose(answer[name], tensor.detach().numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelFailed, match="unmatched dim value"):
        model.infer({"x": rows(2, 5), "shift": rows(1, 3)[0]}, Run(2))


@needs_compiler
@pytest.mark.slow
def test_a_compiled_package_says_how_many_inputs_it_takes(load_torch: Load, package: Path) -> None:
    """Their names by place are not in it."""
    with pytest.raises(LoadError, match="does not say what it takes") as told:
        load_torch(source=package)
    assert 'inputs = { x0 = "float32[batch, ...]", shift = "float32[batch, ...]" }' in told.value.help
    with pytest.raises(LoadError, match=r"declares 1 tensors, .* takes 2"):
        load_torch(source=package, inputs=ROWS)
    with pytest.raises(LoadError, match=r"torch\.compile has no effect on a compiled package"):
        load_torch(source=package, inputs=PAIR, compile="default")


def rewritten(package: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A copy of a package with its files changed."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(target, "w") as new:
        for one in old.infolist():
            new.writestr(one, change(one.filename, old.read(one)))
    return target


@needs_compiler
@pytest.mark.slow
def test_a_package_of_another_machine_or_version_is_refused(load_torch: Load, package: Path, tmp_path: Path) -> None:
    """Before its code is run; and code that this version of torch cannot link is told with the fix."""
    here = platform.machine().encode()
    other = rewritten(package, tmp_path / "other.pt2", lambda name, data: data.replace(b'"' + here + b'"', b'"sparc"'))
    with pytest.raises(LoadError) as told:
        load_torch(source=other, inputs=PAIR)
    assert "sparc" in told.value.message or "sparc" in told.value.help or "cannot be loaded" in told.value.message
    broken = rewritten(
        package,
        tmp_path / "broken.pt2",
        lambda name, data: data.replace(b"aoti_torch_", b"aoti_tor__") if name.endswith(".so") else data,
    )
    with pytest.raises(LoadError, match=r"broken\.pt2 cannot be loaded by torch 2\.") as refused:
        load_torch(source=broken, inputs=PAIR)
    assert refused.value.help == "compile it again with this version, on this kind of machine"
