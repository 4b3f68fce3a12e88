"""The classification extension: the highest values as text."""

import ml_dtypes
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modelapp_oip.classification import classify
from modelapp_oip.datatypes import DATATYPES, dtype_of

NUMBERS = [word for word in DATATYPES if word not in ("BYTES", "BF16")]


def texts(array: np.ndarray) -> list:
    """The answer's elements as str, nested as they are."""
    return np.vectorize(bytes.decode, otypes=[object])(array).tolist() if array.size else array.tolist()


def test_value_index_and_label() -> None:
    """A row each, highest first; a label where there is one."""
    array = np.array([[0.1, 0.9, 0.5], [3, 2, 1]], np.float32)
    assert texts(classify(array, 2, ["cat", "dog"])) == [["0.9:1:dog", "0.5:2"], ["3.0:0:cat", "2.0:1:dog"]]
    assert texts(classify(array[0], 9, batched=False)) == ["0.9:1", "0.5:2", "0.1:0"]


def test_axes_behind_the_rows_are_read_as_one() -> None:
    """The place of a value counts through all of a row's elements."""
    assert texts(classify(np.arange(8, dtype=np.int64).reshape(1, 2, 4), 1)) == [["7:7"]]


def test_equal_values_nan_and_infinity() -> None:
    """Of equals the first comes first; NaN is the highest of nothing; bfloat16 is a number."""
    array = np.array([[np.nan, 1, 2, 2, -np.inf]], ml_dtypes.bfloat16)
    assert texts(classify(array, 3)) == [["2:2", "2:3", "1:1"]]


def test_empty_outputs() -> None:
    """Where there is nothing to rank the answer has no classes."""
    assert classify(np.zeros((2, 0), np.float32), 3).shape == (2, 0)


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda word: npst.arrays(dtype_of(word), npst.array_shapes(min_dims=2, max_dims=3, max_side=5))
    ),
    st.integers(1, 8),
)
def test_it_is_the_sorted_order(array: np.ndarray, classes: int) -> None:
    """Each row has its highest values in falling order, each with its own place."""
    rows = array.reshape(len(array), -1)

    got = classify(array, classes)

    assert got.shape == (len(rows), min(classes, rows.shape[1]))
    for row, told in zip(rows, texts(got), strict=True):
        indices = [int(text.rsplit(":", 1)[1]) for text in told]
        assert len(set(indices)) == len(indices)
        clean = [float("-inf") if value != value else value for value in row.tolist()]
        assert [clean[index] for index in indices] == sorted(clean, reverse=True)[: len(indices)]
        assert [text.rsplit(":", 1)[0] for text in told] == [str(row[index]) for index in indices]
