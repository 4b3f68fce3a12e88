"""Values of a request bound to a model's inputs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.binding import bind_model, first_row
from modelapp.errors import InvalidInput
from modelapp.signature import Signature, TensorSpec

ONE = Signature(inputs=(TensorSpec("x", "float32", ("batch", 2)),))
TWO = Signature(inputs=(TensorSpec("a", "int64", ("batch", "n")), TensorSpec("b", "float32", ("batch",))))


def test_single_value_reaches_the_single_input_whatever_its_name() -> None:
    """One need and one input need no common name; a row gets its row axis and is remembered as single."""
    rows, single = bind_model("m", ONE, {"features": np.array([1, 2], np.float32)})

    assert single
    assert rows["x"].tolist() == [[1.0, 2.0]]  # type: ignore[call-overload]


def test_mapping_is_spread_into_named_inputs() -> None:
    """A step that gives a dict feeds several inputs."""
    rows, single = bind_model("m", TWO, {"tokens": {"a": [[1, 2]], "b": [0.5]}})

    assert not single
    assert {name: array.tolist() for name, array in rows.items()} == {"a": [[1, 2]], "b": [0.5]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("signature", "values", "text"),
    [
        (ONE, {"x": [1.0, 2.0], "y": 3}, 'no input "y"; its inputs: x'),
        (TWO, {"a": [1]}, 'model "m" needs "b", got a'),
        (ONE, {"x": "text"}, '"x" wants float32, got <U4'),
        (ONE, {"x": [[[1.0, 2.0]]]}, r"wants \[batch, 2\] or one row of it, got \[1, 1, 2\]"),
        (ONE, {"x": [[1.0], [2.0, 3.0]]}, '"x" is not rectangular'),
        (ONE, {"x": [1e300, 0.0]}, '"x" does not fit float32'),
        (TWO, {"a": [1.5], "b": 1.0}, '"a" wants int64, got float64'),
        (TWO, {"a": [True], "b": 1.0}, '"a" wants int64, got bool'),
        (TWO, {"a": [[1]], "b": 1.0}, "some inputs of model"),
    ],
)
def test_misfits_are_told(signature: Signature, values: dict[str, Any], text: str) -> None:
    """Unknown, missing, wrong, ragged and too large values name the input."""
    with pytest.raises(InvalidInput, match=text):
        bind_model("m", signature, values)


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=8), st.sampled_from(["int8", "int32", "float32", "uint8"]))
def test_numbers_are_cast_only_without_loss(numbers: list[int], dtype: str) -> None:
    """A whole number reaches the model as itself, or the request is refused."""
    signature = Signature(inputs=(TensorSpec("x", dtype, ("batch", len(numbers))),))
    try:
        rows, _ = bind_model("m", signature, {"x": numbers})
    except InvalidInput:
        assert dtype == "uint8"
        assert min(numbers) < 0
    else:
        assert rows["x"].tolist() == [numbers]  # type: ignore[call-overload]
        assert rows["x"].dtype == dtype  # type: ignore[call-overload]


def test_records_are_one_row_or_a_list_of_rows() -> None:
    """A record model gets the fields as one record, a record, or a list of records."""
    signature = Signature(kind="records")

    assert bind_model("m", signature, {"text": "a", "n": 1}) == ([{"text": "a", "n": 1}], True)
    assert bind_model("m", signature, {"item": {"text": "a"}}) == ([{"text": "a"}], True)
    assert bind_model("m", signature, {"items": [{"text": "a"}, {"text": "b"}]}) == (
        [{"text": "a"}, {"text": "b"}],
        False,
    )


def test_fixed_single_row_model_takes_a_row_without_axis() -> None:
    """A model exported for exactly one row is fed one row."""
    signature = Signature(inputs=(TensorSpec("x", "float32", (1, 2)),), batched=False)

    rows, single = bind_model("m", signature, {"x": [1.0, 2.0]})

    assert single
    assert rows["x"].shape == (1, 2)  # type: ignore[call-overload]


def test_first_row_drops_the_row_axis() -> None:
    """A single row's answer comes back as it was sent: without rows."""
    answer = first_row(ONE, {"y": np.array([[1, 2]])})

    assert {name: value.tolist() for name, value in answer.items()} == {"y": [1, 2]}
    assert first_row(Signature(kind="records"), [{"label": "a"}]) == {"label": "a"}


def test_axes_that_count_something_else_are_kept() -> None:
    """A detector that runs one image at a time gives as many boxes as it found: their axis is no row axis."""
    detector = Signature(
        inputs=(TensorSpec("image", "float32", (1, 2)),),
        outputs=(TensorSpec("boxes", "float32", (None, 4)), TensorSpec("label", "int64", (1,))),
        batched=False,
    )

    answer = first_row(detector, {"boxes": np.zeros((1, 4)), "label": np.array([7])})

    assert answer["boxes"].shape == (1, 4)
    assert answer["label"].shape == ()


def test_input_that_comes_twice_is_refused() -> None:
    """Two needs that bring the same input are not settled silently."""
    with pytest.raises(InvalidInput, match='the input "a" is given twice, once in "tokens"'):
        bind_model("m", TWO, {"a": [[1]], "tokens": {"a": [[1]], "b": [0.5]}})


@pytest.mark.parametrize("value", [[True, 2], ["1", 2.0]])
def test_mixed_lists_are_not_cast(value: list[Any]) -> None:
    """A flag is no number and a text is none, also beside numbers."""
    with pytest.raises(InvalidInput, match='"x" wants float32, got'):
        bind_model("m", ONE, {"x": value})


def test_numbers_are_rounded_to_bfloat16_and_stay_finite() -> None:
    """Fields cannot be bfloat16; those of float32 feed such a model, and what is too large for it is refused."""
    signature = Signature(inputs=(TensorSpec("x", "bfloat16", ("batch", 2)),))

    rows, _ = bind_model("m", signature, {"x": np.array([1, 1.001], np.float32)})

    assert rows["x"].dtype == signature.inputs[0].numpy_dtype  # type: ignore[call-overload]
    assert rows["x"].tolist() == [[1.0, 1.0]]  # type: ignore[call-overload]
    with pytest.raises(InvalidInput, match="does not fit bfloat16"):
        bind_model("m", signature, {"x": [1e300, 0.0]})
