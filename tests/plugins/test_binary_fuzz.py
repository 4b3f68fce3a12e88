"""Requests with raw tensors that are broken in every way: always refused in words, never a failure of ours."""

import gzip
import json
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.bodies import inflate
from modelapp.errors import BadRequest, RequestError, TooLarge, UnsupportedMedia
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.wire import HEADER, Wire

SIGNATURE = Signature(
    inputs=(
        TensorSpec("x", "float32", ("batch", "n")),
        TensorSpec("t", "string", ("batch",)),
        TensorSpec("b", "bool", ("batch", 2)),
        TensorSpec("h", "bfloat16", ("batch",)),
    ),
    outputs=(TensorSpec("y", "float32", ("batch", "n")), TensorSpec("z", "float16", ("batch",))),
)
WIRE = Wire("m", SIGNATURE)
HUGE = [2**63, 2**31, 10**12, -1, 2**64 + 1]


def tensors() -> list[tuple[dict[str, Any], bytes]]:
    """The inputs of a right request, with their bytes."""
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"one", "zwölf".encode()))
    made = [
        ("x", "FP32", [2, 3], np.arange(6, dtype="<f4").tobytes()),
        ("t", "BYTES", [2], texts),
        ("b", "BOOL", [2, 2], b"\1\0\0\1"),
        ("h", "BF16", [2], b"\x80\x3f\0\x40"),
    ]
    return [
        ({"name": name, "datatype": word, "shape": shape, "parameters": {"binary_data_size": len(raw)}}, raw)
        for name, word, shape, raw in made
    ]


def request(parts: list[tuple[dict[str, Any], bytes]], **keys: Any) -> tuple[bytes, str]:
    """The body and the header of a request."""
    head = json.dumps(
        {"inputs": [told for told, _ in parts], "parameters": {"binary_data_output": True}, **keys}
    ).encode()
    return head + b"".join(raw for _, raw in parts), str(len(head))


def outcome(body: bytes, header: str) -> int:
    """The status that reading gives: 200, or that of the error, which must be a client's."""
    try:
        arrays, wanted, _, _ = WIRE.read_binary(body, header)
    except RequestError as error:
        failed = error
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
        assert len(wanted) <= 2
        return 200
    assert 400 <= failed.status < 500, failed.message
    assert len(failed.message) < 600
    return failed.status


def test_right_request_is_read() -> None:
    """What the others break is right."""
    body, header = request(tensors())
    arrays, wanted, _, _ = WIRE.read_binary(body, header)
    assert arrays["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["t"].tolist() == ["one", "zwölf"]
    assert arrays["b"].tolist() == [[True, False], [False, True]]
    assert arrays["h"].tolist() == [1, 2]
    assert [(one.name, one.binary) for one in wanted] == [("y", True), ("z", True)]


@given(st.data())
def test_broken_bytes(data: st.DataObject) -> None:
    """Bytes changed, cut out, put in or cut off, and a header that says anything."""
    body, header = request(tensors())
    raw = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        match data.draw(st.sampled_from(["set", "cut", "put", "end"])):
            case "set" if at < len(raw):
                raw[at] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 8))]
            case "put":
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case _:
                del raw[at:]
    told = data.draw(
        st.sampled_from([header, "0", str(len(raw)), "-1", "", "1e3", "٣", "9" * 30]) | st.integers().map(str)
    )
    outcome(bytes(raw), told)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(HUGE)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_broken_claims(data: st.DataObject) -> None:
    """Any key of a tensor claims something else: sizes, shapes, names, datatypes, parameters."""
    parts = tensors()
    for told, _ in parts:
        if data.draw(st.booleans()):
            continue
        key = data.draw(st.sampled_from(["name", "datatype", "shape", "parameters", "data", "binary_data_size"]))
        if key == "binary_data_size":
            told["parameters"] = {key: data.draw(st.sampled_from([0, 1, 8, *HUGE]) | values)}
        elif key == "shape":
            told[key] = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, *HUGE]), max_size=40) | values)
        else:
            told[key] = data.draw(values)
    keys = data.draw(st.dictionaries(st.sampled_from(["id", "outputs", "parameters", "inputs"]), values, max_size=1))
    outcome(*request(parts, **keys))


@pytest.mark.parametrize("size", [2**63, 2**31, 10**12])
@pytest.mark.parametrize("word", ["FP32", "BYTES", "BOOL", "BF16"])
def test_huge_claims_cost_nothing(word: str, size: int) -> None:
    """Sizes and shapes of 10^12 are refused before anything of that size is made, with data and without."""
    for shape in ([size], [size, 0], [0, size, size], [1, size]):
        for told in (size, 4, 0):
            tensor = {"name": "x", "datatype": word, "shape": shape, "parameters": {"binary_data_size": told}}
            tracemalloc.start()
            try:
                assert outcome(*request([(tensor, b"\0" * 4)])) == 422
                assert tracemalloc.get_traced_memory()[1] < 200_000
            finally:
                tracemalloc.stop()
    assert read_json({"name": "x", "datatype": "FP32", "shape": [size], "data": [1.0]}) == 422
    assert read_json({"name": "x", "datatype": "FP32", "shape": [size, 0], "data": []}) == 422


def read_json(tensor: dict[str, Any]) -> int:
    """The status of a request in JSON alone."""
    try:
        WIRE.read(json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode())
    except RequestError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"binary_data_size": 25}}, "must be a number of bytes, at most the 24 that are left"),
        ({"name": "x" * 2000}, "longer than 1000 characters"),
        ({"parameters": {"binary_data_size": 23}}, "24 bytes, and 23 came"),
        ({"parameters": {"binary_data_size": 999}}, 'the "binary_data_size" of input "x" must be a number of bytes'),
        ({"parameters": {"binary_data_size": True}}, 'the "binary_data_size" of input "x" must be a number of bytes'),
        ({"parameters": {"binary_data_size": 24}, "data": [1]}, 'has "data" and binary data; send one of them'),
        ({"parameters": {}}, 'input "x" must have its "data" as a list'),
        ({"datatype": "FP16", "parameters": {}}, "FP16, which has no JSON form; send it as binary data"),
        ({"parameters": {"shared_memory_region": "r"}}, 'input "x" is in shared memory, which is not served here'),
        ({"parameters": [1]}, 'the "parameters" of input "x" must be an object'),
    ],
)
def test_claims_that_do_not_agree_are_told(change: dict[str, Any], told: str) -> None:
    """The text names the input and both numbers."""
    part, raw = tensors()[0]
    body, header = request([({**part, **change}, raw)])
    with pytest.raises(RequestError) as failed:
        WIRE.read_binary(body, header)
    assert told in failed.value.message


def test_bytes_that_belong_to_nobody_are_refused() -> None:
    """Behind the last input nothing may follow; without the header nothing raw may be announced."""
    body, header = request(tensors())
    with pytest.raises(RequestError, match="3 bytes follow the inputs"):
        WIRE.read_binary(body + b"abc", header)
    with pytest.raises(RequestError, match=f"no {HEADER}"):
        WIRE.read(body[: int(header)])


def test_whole_bodies_are_one_tensor() -> None:
    """With 0 in the header a body is the one input, its free size worked out; text is one element."""
    one = Wire("m", Signature(inputs=(TensorSpec("x", "float32", ("batch", 2)),), outputs=SIGNATURE.outputs))
    arrays, wanted, _, _ = one.read_binary(np.arange(4, dtype="<f4").tobytes(), "0")
    assert arrays["x"].tolist() == [[0, 1], [2, 3]]
    assert all(output.binary for output in wanted)
    for body, told in ((b"\0" * 12, "16 bytes, and 12 came|8 bytes, and 12 came"), (b"\0", "0 bytes, and 1 came")):
        with pytest.raises(RequestError, match=told):
            one.read_binary(body, "0")
    text = Wire("m", Signature(inputs=(TensorSpec("t", "bytes", ("batch", 1)),)))
    assert text.read_binary(b"\xff\0abc", "0")[0]["t"].tolist() == [[b"\xff\0abc"]]
    free = Wire("m", Signature(inputs=(TensorSpec("x", "int8", ("batch", "n")),)))
    assert free.read_binary(b"\1\2\3", "0")[0]["x"].tolist() == [[1, 2, 3]]
    for wire, told in (
        (WIRE, "has 4 inputs"),
        (Wire("m", Signature(inputs=(TensorSpec("x", "int8", ("batch", "n", "m")),))), "2 free sizes"),
        (Wire("m", Signature(inputs=(TensorSpec("t", "string", ("batch", 2)),))), "more than the one element"),
        (Wire("m", Signature(kind="records")), "takes records"),
    ):
        with pytest.raises(RequestError, match=told):
            wire.read_binary(b"abcd", "0")


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", "identity", ""]))
def test_any_compressed_body_inflates_or_is_refused(body: bytes, encoding: str) -> None:
    """No bytes make inflating fail in any other way, and none make it pass its bound."""
    try:
        plain = inflate(body, encoding, 1000)
    except (BadRequest, TooLarge, UnsupportedMedia):
        return
    assert len(plain) <= 1000


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_bombs_stop_at_the_bound(pack: Any) -> None:
    """A body that inflates a thousandfold is given up at the bound, not after it."""
    packed = pack(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match="over 1000000 bytes when inflated"):
            inflate(packed, "gzip" if packed[:2] == b"\x1f\x8b" else "deflate", 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
