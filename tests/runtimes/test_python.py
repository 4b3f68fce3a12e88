"""The python runtime: a class of handlers.py, its options and files, and the two forms of predict."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelapp.errors import HandlerError, InvalidInput, LoadError, ModelFailed
from modelapp.runtime import Artefact, LoadedModel, Placement, RawOptions, Run
from modelapp_python import SPEC, modelapp_runtimes

Load = Callable[..., LoadedModel]

ARRAYS = """
    from collections.abc import Mapping
    from typing import Any
    import numpy as np
    from numpy.typing import NDArray
    from modelapp.signature import TensorSpec

    class Model:
        inputs = (TensorSpec("x", "float32", ("batch", 2)),)
        outputs = (TensorSpec("y", "float32", ("batch",)),)

        def predict(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, np.ndarray]:
            return {"y": batch["x"].sum(axis=1)}
"""
RECORDS = """
    class Model:
        def predict(self, batch: list[dict]) -> list[dict]:
            return [{"upper": row["text"].upper()} for row in batch]
"""


def with_init(init: str, head: str = "") -> str:
    """A class with that constructor, whose answer shows what it was given."""
    return f"""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
import attrs
{head}
class Model:
    {init}

    def predict(self, batch: list[dict]) -> list[dict]:
        return [dict(vars(self)) for _ in batch]
"""


def given(model: LoadedModel) -> dict[str, object]:
    """What the class of `with_init` kept."""
    return dict(model.infer([{}], Run())[0])  # type: ignore[arg-type,index] # a model over records


def test_record_is_light() -> None:
    """The plugin's record names the runtime and what it can do, and imports no numpy."""
    assert list(modelapp_runtimes()) == [SPEC]
    assert SPEC.capabilities == {"tensors", "records", "stream"}
    assert SPEC.options is RawOptions
    assert SPEC.probe().ok
    assert SPEC.open().describe(Artefact("m", Path("handlers.py"), symbol="Model"), RawOptions()) is None
    code = "import sys, modelapp_python; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_arrays(load_python: Load) -> None:
    """A class over arrays declares its tensors as attributes, and is called with the whole batch."""
    model = load_python(ARRAYS)
    assert model.signature.kind == "tensors"
    assert model.signature.batched
    assert [spec.name for spec in (*model.signature.inputs, *model.signature.outputs)] == ["x", "y"]
    assert model.device == "cpu"
    answer = model.infer({"x": np.array([[1, 2], [3, 4]], np.float32)}, Run(2))
    assert answer["y"].tolist() == [3, 7]  # type: ignore[call-overload,index] # a model over arrays


def test_records(load_python: Load) -> None:
    """A class over records needs no further declaration."""
    model = load_python(RECORDS)
    assert model.signature.kind == "records"
    assert model.signature.batched
    assert model.infer([{"text": "a"}, {"text": "b"}], Run(2)) == [{"upper": "A"}, {"upper": "B"}]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("None", "it answered NoneType"),
        ("[batch['x']]", "it answered list"),
        ("{'y': [1.0, 2.0]}", 'answered list in "y", not a numpy array'),
    ],
)
def test_answers_that_are_no_arrays(load_python: Load, answer: str, told: str) -> None:
    """An answer that is not what predict declares is the model's failure, named."""
    model = load_python(ARRAYS.replace('{"y": batch["x"].sum(axis=1)}', answer))
    with pytest.raises(ModelFailed, match=told):
        model.infer({"x": np.ones((2, 2), np.float32)}, Run(2))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("None", "it answered NoneType"),
        ("'ab'", "it answered str"),
        ("[3]", "answer 0 of predict is int, not a rec"),
    ],
)
def test_answers_that_are_no_records(load_python: Load, answer: str, told: str) -> None:
    """The same for records."""
    code = f"class Model:\n    def predict(self, batch: list[dict]) -> list[dict]:\n        return {answer}\n"
    with pytest.raises(ModelFailed, match=told):
        load_python(code).infer([{}], Run())


def test_exceptions_of_predict_are_not_touched(load_python: Load) -> None:
    """What predict raises reaches the caller as it is."""
    code = "class Model:\n    def predict(self, batch: list[dict]) -> list[dict]:\n        raise KeyError('colour')\n"
    with pytest.raises(KeyError, match="colour"):
        load_python(code).infer([{}], Run())


def test_close_is_called(load_python: Load, tmp_path: Path) -> None:
    """A class with `close` is closed, and one without needs none."""
    code = """
from pathlib import Path

class Model:
    def __init__(self, options):
        self.log = Path(options["log"])

    def predict(self, batch: list[dict]) -> list[dict]:
        return batch

    def close(self) -> None:
        self.log.write_text("closed")
"""
    model = load_python(code, {"log": str(tmp_path / "log")})
    model.close()
    assert (tmp_path / "log").read_text() == "closed"
    load_python(RECORDS).close()


@pytest.mark.parametrize(
    ("init", "kept"),
    [
        ("pass", {}),
        ("def __init__(self) -> None: self.a = 1", {"a": 1}),
        ("def __init__(self, options) -> None: self.o = options", {"o": {}}),
        ("def __init__(self, options: Mapping[str, Any]) -> None: self.o = options", {"o": {}}),
        ("def __init__(self, files: Mapping[str, Path]) -> None: self.f = files", {"f": {}}),
        ("def __init__(self, files, options) -> None: self.f, self.o = files, options", {"f": {}, "o": {}}),
        ("def __init__(self, *, options, extra=3) -> None: self.e = extra", {"e": 3}),
        ("def __init__(self, *args, **rest) -> None: self.r = rest", {"r": {}}),
    ],
)
def test_constructor_takes_what_it_names(load_python: Load, init: str, kept: dict[str, object]) -> None:
    """Any subset of options and files, by name, in any order."""
    assert given(load_python(with_init(init))) == kept


def test_constructor_that_wants_more(load_python: Load) -> None:
    """A parameter that nobody fills is refused at load."""
    with pytest.raises(LoadError, match="__init__ wants `tokenizer`") as caught:
        load_python(with_init("def __init__(self, options, tokenizer) -> None: ..."))
    assert "`files`" in caught.value.help


def test_files_are_local_paths(load_python: Load, tmp_path: Path) -> None:
    """Files reach the class as paths by name; a class that ignores declared files is told so."""
    files = {"words": tmp_path / "words.txt"}
    init = "def __init__(self, files: Mapping[str, Path]) -> None: self.words = files['words']"
    assert given(load_python(with_init(init), files=files)) == {"words": tmp_path / "words.txt"}
    with pytest.raises(LoadError, match=r"models\.m\.files: .* takes no files, app\.toml has words"):
        load_python(RECORDS, files=files)


def test_class_that_does_not_import(load_python: Load) -> None:
    """A broken handlers.py is told by its own last line and place."""
    with pytest.raises(HandlerError, match="ZeroDivisionError") as caught:
        load_python("x = 1\ny = x / 0\n")
    assert caught.value.place == "handlers.py:2"


def test_constructor_that_raises(load_python: Load) -> None:
    """What the constructor raises is told with its place in the app's files."""
    with pytest.raises(LoadError, match=r"could not be made: ValueError: no weights \(handlers\.py:9\)"):
        load_python(with_init("def __init__(self) -> None: raise ValueError('no weights')"))


def test_function_is_no_model(load_python: Load, tmp_path: Path) -> None:
    """A function and a file without a class are refused, each with what to write."""
    with pytest.raises(LoadError, match="is not a class"):
        load_python("def Model(batch: list[dict]) -> list[dict]: return batch\n")
    with pytest.raises(LoadError, match="names no class") as caught:
        SPEC.open().load(Artefact("m", tmp_path / "net.onnx", root=tmp_path), RawOptions(), Placement())
    assert caught.value.help == 'write source = "handlers.py:ClassName" in [models.m]'


def test_device_is_what_the_class_says(load_python: Load) -> None:
    """A class that computes elsewhere says so; the core compares it with the device asked for."""
    assert load_python(RECORDS.replace("class Model:", "class Model:\n        device = 'cuda:0'")).device == "cuda:0"


def test_rows_as_instances(load_python: Load) -> None:
    """Rows become instances of the declared class, nested and in lists; answers become mappings again."""
    code = """
import attrs
from dataclasses import dataclass

@attrs.frozen
class Box:
    x: float
    label: str | None = None

@dataclass
class Row:
    boxes: list[Box]
    best: Box | None = None
    n: int = 2

@attrs.frozen
class Answer:
    first: Box
    rest: tuple[Box, ...]
    n: int

class Model:
    def predict(self, batch: list[Row]) -> list[Answer]:
        return [Answer(row.boxes[0], tuple(row.boxes[1:]), row.n) for row in batch]
"""
    model = load_python(code)
    rows = [{"boxes": [{"x": 1.0}, {"x": 2.0, "label": "cat"}], "best": None}]
    assert model.infer(rows, Run()) == [
        {"first": {"x": 1.0, "label": None}, "rest": [{"x": 2.0, "label": "cat"}], "n": 2}
    ]
    with pytest.raises(InvalidInput, match=r'"boxes\[1\]\.y" is no field of Box') as caught:
        model.infer([{"boxes": [{"x": 1.0}, {"x": 1.0, "y": 2.0}]}], Run())
    assert caught.value.field == "boxes[1].y"
    with pytest.raises(InvalidInput, match='"boxes" is missing'):
        model.infer([{}], Run())
