"""Tensors as raw bytes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modelapp.errors import InvalidInput, ModelFailed
from modelapp_oip.rawtensors import RAW_DTYPES, read_raw, write_raw

NUMBERS = sorted(set(RAW_DTYPES) - {"BYTES", "BF16"})


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda word: st.tuples(
            st.just(word),
            npst.arrays(RAW_DTYPES[word], npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
        )
    )
)
def test_numbers_survive(drawn: tuple[str, Any]) -> None:
    """What is written reads back as the same array, NaN, empty and single values included."""
    word, array = drawn
    back = read_raw("x", word, array.shape, bytes(write_raw("x", array)))
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert back.shape == array.shape


@given(npst.arrays(object, npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3), elements=st.binary()))
def test_elements_survive(array: Any) -> None:
    """Bytes of any kind and length, empty ones too, keep their places."""
    back = read_raw("x", "BYTES", array.shape, write_raw("x", array))
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


def test_text_becomes_text() -> None:
    """A model that takes text gets str, and bytes that are none are refused."""
    raw = write_raw("x", np.array(["å", ""], object))
    assert read_raw("x", "BYTES", [2], raw, text=True).tolist() == ["å", ""]
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_raw("x", "BYTES", [1], b"\x01\x00\x00\x00\xff", text=True)


def test_halves_are_widened_exactly() -> None:
    """BF16 is the upper half of a float32."""
    floats = np.array([[1.5, -0.0], [np.inf, 3.0]], np.float32)
    raw = (floats.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    back = read_raw("x", "BF16", [2, 2], raw)
    assert back.dtype == np.float32
    assert back.tobytes() == floats.tobytes()


def test_numbers_are_viewed() -> None:
    """An array of numbers is the very memory of the bytes that came, and bytes that go are the array's."""
    raw = bytearray(np.arange(4, dtype=np.float32).tobytes())
    array = read_raw("x", "FP32", [4], memoryview(raw))
    raw[:4] = np.float32(9).tobytes()
    assert array[0] == 9
    out = np.arange(3.0)
    assert np.shares_memory(np.frombuffer(write_raw("y", out), np.uint8), out)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "text"),
    [
        ("FP32", [2], b"\0" * 7, "takes 8 bytes, 7 came"),
        ("FP32", [-1], b"", "whole numbers"),
        ("FP32", [1] * 33, b"\0" * 4, "at most 32"),
        ("FP31", [1], b"\0" * 4, "unknown datatype 'FP31'"),
        ("BOOL", [2], b"\0\2", "neither 0 nor 1"),
        ("BYTES", [2**60], b"\0" * 8, "end before"),
        ("BYTES", [2], b"\1\0\0\0a\1\0\0\0", "end before"),
        ("BYTES", [1], b"\xff\xff\xff\xffa", "end before"),
        ("BYTES", [1], b"\1\0\0\0ab", "1 bytes more"),
    ],
)
def test_bad_bytes_are_told(datatype: str, shape: list[int], raw: bytes, text: str) -> None:
    """Bytes that do not fit the shape are refused, and take no memory for what they claim to be."""
    with pytest.raises(InvalidInput, match=text) as failed:
        read_raw("x", datatype, shape, raw)
    assert failed.value.field == "x"


@given(st.sampled_from([*RAW_DTYPES, "?"]), st.lists(st.integers(-2, 2**40), max_size=3), st.binary(max_size=64))
def test_any_bytes_are_a_tensor_or_bad_input(datatype: str, shape: list[int], raw: bytes) -> None:
    """Nothing makes the reader fail in any other way."""
    try:
        assert list(read_raw("x", datatype, shape, raw, text=True).shape) == shape
    except InvalidInput:
        return


def test_what_is_no_text_is_the_models_fault() -> None:
    """An output of BYTES holds text or bytes."""
    with pytest.raises(ModelFailed, match="the model gave int"):
        write_raw("y", np.array([1], object))
