"""Tensors as nested lists."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelapp.app import Field
from modelapp.fieldtype import parse
from modelapp.mismatch import Mismatch
from modelapp.ndlists import tensor_check


def read(value: Any, dtype: str = "float32", shape: tuple[int, ...] = (), **bounds: Any) -> Any:
    """The array of a tensor field."""
    return tensor_check(Field(name="", type=parse("tensor"), dtype=dtype, shape=shape, **bounds))(value)


@given(
    arrays.arrays(
        st.sampled_from(
            [np.dtype(name) for name in ("float32", "float64", "int8", "uint8", "int64", "uint64", "bool")]
        ),
        arrays.array_shapes(max_dims=4, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_an_array_survives_its_lists(array: Any) -> None:
    """Every dtype and rank, read with its exact shape, with free sizes, and with none declared."""
    for shape in (array.shape, (-1,) * array.ndim, ()):
        got = read(array.tolist(), str(array.dtype), shape)
        assert got.dtype == array.dtype
        assert np.array_equal(got, array)


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        ([[1, 2], [3]], {}, '"[1]" must have 2 items like its neighbours, got 1'),
        ([[1, 2], 3], {}, '"[1]" must be a list of 2, got 3 (int)'),
        ([1, [2]], {}, '"[1]" must be float, got a list of 1'),
        ([1, True], {}, '"[1]" must be float, got true (bool)'),
        ([1, None], {}, '"[1]" must be float, got null'),
        ([1, "2"], {}, '"[1]" must be float, got "2" (str)'),
        ([1, 2.5], {"dtype": "int64"}, '"[1]" must be int, got 2.5 (float)'),
        ([0, 1], {"dtype": "bool"}, '"[0]" must be bool, got 0 (int)'),
        ([300], {"dtype": "uint8"}, "holds a number that does not fit uint8"),
        ([2**63], {"dtype": "int64"}, "holds a number that does not fit int64"),
        ([1e39], {}, "holds a number that does not fit float32"),
        ([10**400], {}, "holds a number that does not fit float32"),
        ([70000], {"dtype": "float16"}, "holds a number that does not fit float16"),
        ([[1, 2]], {"shape": (-1, 3)}, "must be a tensor of shape [?, 3], got [1, 2]"),
        ([1, 2], {"shape": (-1, 3)}, "must be a tensor of shape [?, 3], got 1 (int) on axis 1"),
        (3, {"shape": (1,)}, "must be a tensor of shape [1], got 3 (int) on axis 0"),
        ([[[1]]], {"shape": (1, 1)}, '"[0][0]" must be float, got a list of 1'),
        ([-1], {"min": 0}, "must hold numbers of at least 0, got -1.0"),
        ([[2]], {"max": 1.5, "dtype": "int32"}, "must hold numbers of at most 1.5, got 2"),
        ("abc", {}, 'must be float, got "abc" (str)'),
        (["?"], {"dtype": "bytes"}, "must be base64 text"),
        ([1], {"dtype": "string"}, '"[0]" must be str, got 1 (int)'),
    ],
)
def test_lists_that_are_no_such_tensor(value: Any, options: dict[str, Any], text: str) -> None:
    """Ragged, mixed, out of range or of another shape: the place and the reason are named."""
    with pytest.raises(Mismatch) as caught:
        read(value, **options)
    assert str(caught.value).startswith(text)


def test_texts_bytes_scalars_and_empty_tensors() -> None:
    """Object arrays of str and bytes, a single number, and sizes of zero."""
    assert read([["a", "bc"]], "string").tolist() == [["a", "bc"]]
    assert read(["YWJj"], "bytes").tolist() == [b"abc"]
    assert read(7, "int64").shape == ()
    assert read([], "float32", (-1, 3)).shape == (0, 3)
    assert read([[], []], "float32", (-1, -1)).shape == (2, 0)
    assert read([]).shape == (0,)
