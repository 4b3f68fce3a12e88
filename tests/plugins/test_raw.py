"""Tensors as raw bytes: views in, the same bytes out, and nothing that is wrong gets through."""

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modelapp.errors import InvalidInput, ModelFailed
from modelapp_oip.datatypes import DATATYPES, dtype_of
from modelapp_oip.raw import as_text, read_raw, write_raw

NUMBERS = [word for word in DATATYPES if word != "BYTES"]
shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw):
    """A datatype and an array of it, of any shape: 0-d, empty, non-native, not contiguous, NaN and all."""
    word = draw(st.sampled_from(DATATYPES))
    shape = draw(shapes)
    if word == "BYTES":
        return word, draw(npst.arrays(object, shape, elements=st.binary(max_size=5), fill=st.nothing()))
    dtype = dtype_of(word)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = bytes(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))) if word == "BOOL" else None
    array = np.frombuffer(raw if raw is not None else draw(st.binary(min_size=size, max_size=size)), dtype)
    array = array.reshape(shape)
    if draw(st.booleans()):
        array = array.T
    if word not in ("BOOL", "BF16") and draw(st.booleans()):
        array = array.astype(array.dtype.newbyteorder())
    return word, array


def same(left, right):
    """Equal, bit for bit, whatever the byte order."""
    if left.dtype.kind == "O":
        return left.tolist() == right.tolist()
    return left.shape == right.shape and left.astype(right.dtype).tobytes() == right.tobytes()


@given(arrays())
def test_every_array_survives(drawn):
    """What is written reads back as the same array, bit for bit, for every datatype and shape."""
    word, array = drawn

    back = read_raw("x", word, array.shape, bytes(write_raw("x", array)))

    assert back.dtype == dtype_of(word)
    assert back.shape == array.shape
    assert same(array, back)


@given(arrays(), st.integers(0, 7))
def test_reading_is_a_view(drawn, offset):
    """No element is copied, at whatever offset of the message it lies; the message cannot be written to."""
    word, array = drawn
    if word == "BYTES" or not array.size:
        return
    message = b"\0" * offset + bytes(write_raw("x", array))

    back = read_raw("x", word, array.shape, memoryview(message)[offset:])

    assert np.shares_memory(back, np.frombuffer(message, np.uint8))
    assert not back.flags.writeable


def test_writing_is_a_view():
    """An array in order is not copied before the answer is put together."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert np.shares_memory(np.frombuffer(write_raw("y", array), np.uint8), array)


@given(
    st.sampled_from([*DATATYPES, "FLOAT", "", 7, None]),
    st.lists(st.one_of(st.integers(-3, 5), st.sampled_from([2**31, 2**63, 10**12, 1.5, True, "2"])), max_size=40),
    st.binary(max_size=64),
)
def test_anything_reads_or_is_bad_input(word, shape, data):
    """Whatever is claimed, reading gives an array of just that claim, or says what is wrong."""
    try:
        array = read_raw("x", word, shape, data)
    except InvalidInput:
        return
    assert list(array.shape) == shape
    assert array.dtype == dtype_of(word)


@pytest.mark.parametrize("word", DATATYPES)
@pytest.mark.parametrize("shape", [[10**12], [10**6, 10**6], [10**9, 10**9, 0], [2**63], [-1]])
def test_claims_do_not_allocate(word, shape):
    """A shape of 10^12 elements costs nothing when the bytes are not there."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            read_raw("x", word, shape, b"\0" * 16)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("word", "shape", "data", "told"),
    [
        ("FP32", [2], b"\0" * 7, 'input "x" is FP32 of the shape [2], 8 bytes, and 7 came'),
        ("FP32", [2], b"\0" * 9, "and 9 came"),
        ("BOOL", [2], b"\1\2", "holds bytes other than 0 and 1"),
        ("BYTES", [2], struct.pack("<I", 9) + b"abcd", "ends in the middle of element 0"),
        ("BYTES", [2], struct.pack("<I", 4) + b"abcd", "ends in the middle of element 1"),
        ("BYTES", [2], struct.pack("<I", 2) + b"abcd", "ends in the middle of element 1"),
        ("BYTES", [1], struct.pack("<I", 2) + b"abcd", "2 bytes follow the last"),
        ("BYTES", [3], b"\0" * 8, "take more than the 8 bytes"),
        ("FP32", [1] * 33, b"\0" * 4, "has 33 axes"),
        ("FP8", [1], b"\0", "unknown datatype 'FP8'"),
    ],
)
def test_what_is_wrong_is_told(word, shape, data, told):
    """Lengths, bounds and values that do not agree are named."""
    with pytest.raises(InvalidInput) as failed:
        read_raw("x", word, shape, data)
    assert told in failed.value.message


def test_texts_are_read_as_text_where_the_model_takes_it():
    """Bytes are made text by UTF-8, and the element that is none is named."""
    array = np.array([[b"a", "ü".encode()]], object)
    assert as_text("x", array).tolist() == [["a", "ü"]]
    with pytest.raises(InvalidInput, match='element 1 of input "x" is not UTF-8'):
        as_text("x", np.array([b"a", b"\xff"], object))


def test_objects_that_are_no_text_are_the_models_fault():
    """An array of objects holds text or bytes."""
    assert bytes(write_raw("y", np.array(["ü", b"\xff"], object))) == b"\2\0\0\0\xc3\xbc\1\0\0\0\xff"
    with pytest.raises(ModelFailed, match='output "y" should hold text or bytes, the model gave int'):
        write_raw("y", np.array([3], object))
