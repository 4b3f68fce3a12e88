"""Arrays are checked before any library sees them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.signature import Signature, TensorSpec
from modelapp.tensors import InputCheck, OutputCheck, check_inputs, finite_rows

PAIR = Signature(
    inputs=(TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "int64", ("batch", "length"))),
    outputs=(TensorSpec("y", "float32", ("batch", 3)),),
)
IMAGE = Signature(inputs=(TensorSpec("image", "float32", ("batch", 3, 8, 8)),))


def ids(*shape: int) -> np.ndarray:
    """Int64 ones."""
    return np.ones(shape, np.int64)


@pytest.mark.parametrize(
    ("arrays", "field", "text"),
    [
        ({"ids": ids(1, 4)}, "mask", 'input "mask" is missing'),
        ({"ids": ids(1, 4), "mask": ids(1, 4), "x": ids(1, 1)}, "x", 'no input "x"; its inputs: ids, mask'),
        ({"ids": ids(1, 4).astype(np.int32), "mask": ids(1, 4)}, "ids", '"ids" wants int64, got int32'),
        ({"ids": ids(1, 4).astype(">i8"), "mask": ids(1, 4)}, "ids", '"ids" wants int64, got >i8'),
        ({"ids": ids(4), "mask": ids(1, 4)}, "ids", '"ids" wants shape [batch, length], got [4]'),
        ({"ids": ids(1, 4), "mask": ids(1, 5)}, "mask", 'share the size "length", but have 4 and 5'),
        ({"ids": ids(2, 4), "mask": ids(3, 4)}, "mask", 'share the size "batch", but have 2 and 3'),
        ({"ids": ids(0, 4), "mask": ids(0, 4)}, "ids", "at least one row"),
    ],
)
def test_wrong_feed_names_input_wanted_and_got(arrays: dict[str, np.ndarray], field: str, text: str) -> None:
    """Name, dtype, byte order, rank and shared sizes are told in words."""
    with pytest.raises(InvalidInput) as refused:
        InputCheck(PAIR)(arrays)

    assert refused.value.field == field
    assert text in str(refused.value)


def test_wrong_fixed_size_names_the_axis() -> None:
    """A fixed size that differs is told with its axis."""
    with pytest.raises(InvalidInput, match=r"wants shape \[batch, 3, 8, 8\], got \[1, 4, 8, 8\]: axis 1 must be 3"):
        InputCheck(IMAGE)({"image": np.zeros((1, 4, 8, 8), np.float32)})


@given(
    shapes=st.tuples(*[st.lists(st.integers(0, 3), min_size=1, max_size=3)] * 2),
    dtypes=st.tuples(*[st.sampled_from([np.int64, np.int32, np.float32])] * 2),
    names=st.permutations(["ids", "mask"]),
)
def test_quick_check_agrees_with_the_full_one(
    shapes: tuple[list[int], list[int]], dtypes: tuple[type, type], names: list[str]
) -> None:
    """The compiled check refuses exactly what the full check refuses, with the same words."""
    arrays = {name: np.zeros(shape, dtype) for name, shape, dtype in zip(names, shapes, dtypes, strict=True)}

    def outcome(check: object) -> object:
        try:
            return [(name, array.shape) for name, array in check(arrays).items()]  # type: ignore[operator]
        except InvalidInput as error:
            return str(error)

    assert outcome(InputCheck(PAIR)) == outcome(lambda given: check_inputs(PAIR, given))


def test_views_are_made_contiguous() -> None:
    """A transposed view reaches native code as a plain block."""
    image = np.zeros((1, 8, 8, 3), np.float32).transpose(0, 3, 1, 2)

    checked = InputCheck(IMAGE)({"image": image})

    assert checked["image"].flags.c_contiguous


def test_single_numbers_stay_single_numbers() -> None:
    """A scalar input keeps its rank of 0 beside an array that has to be copied."""
    signature = Signature(inputs=(TensorSpec("n", "int64", ()), TensorSpec("x", "float32", ("a", "b"))), batched=False)

    checked = InputCheck(signature)({"x": np.zeros((2, 3), np.float32).T, "n": np.array(3)})

    assert checked["n"].shape == ()
    assert checked["x"].flags.c_contiguous


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({}, 'no output "y"'),
        ({"y": np.zeros((2, 3), np.float64)}, '"y" should be float32, the model gave float64'),
        ({"y": np.zeros((3, 3), np.float32)}, 'was given 2 rows and answered 3 in "y"'),
        ({"y": np.float32(0).reshape(())}, 'answered a single value in "y"'),
    ],
)
def test_wrong_answers_are_errors(outputs: dict[str, np.ndarray], text: str) -> None:
    """A missing output, another dtype, too few or too many rows never leave as an answer."""
    with pytest.raises(ModelFailed, match=text):
        OutputCheck(PAIR)(outputs, 2)


def test_finite_rows_point_at_the_bad_ones() -> None:
    """NaN and infinity are found by row, over all float outputs."""
    first = np.zeros((3, 2), np.float32)
    second = np.zeros((3,), np.float64)
    first[0, 1], second[2] = np.nan, np.inf

    good = finite_rows({"a": first, "b": second, "c": np.zeros(3, np.int64)})

    assert good is not None
    assert good.tolist() == [False, True, False]
    assert finite_rows({"a": np.zeros((2, 2), np.float32)}) is None


def test_bfloat16_is_a_number_that_may_not_be_finite():
    """numpy does not count it among the floats; NaN is found all the same."""
    import ml_dtypes

    spec = TensorSpec("x", "bfloat16", ("batch",))
    array = np.array([1.0, np.nan, np.inf], ml_dtypes.bfloat16)

    assert (spec.datatype, spec.numpy_dtype) == ("BF16", array.dtype)
    good = finite_rows({"x": array})
    assert good is not None
    assert good.tolist() == [True, False, False]
