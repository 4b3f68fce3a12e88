"""One model's requests and answers in JSON, read the plain way and the full way alike."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelapp.errors import RequestError
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.wire import Wire

FLOATS = Signature(
    inputs=(TensorSpec("x", "float32", ("batch", 2)), TensorSpec("y", "float32", ("batch", 2))),
    outputs=(TensorSpec("z", "float32", ("batch", 2)),),
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(width=64), st.sampled_from([1e39, -1e39, 3.4028235e38, 0.1, 1])
)
scalars = st.one_of(numbers, st.booleans(), st.none(), st.text(max_size=3))
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", "a:b"]),
        "shape": st.sampled_from([[1, 2], [2], [2, 1], [1, -2], [3], [1.0, 2.0]]) | st.lists(scalars, max_size=2),
        "datatype": st.sampled_from(["FP32", "FP64", "INT64", "BOOL", "nonsense"]),
        "data": st.lists(numbers, min_size=2, max_size=2)
        | st.lists(scalars, max_size=3)
        | st.just([[1, 2]])
        | st.just("12"),
    },
    optional={"parameters": st.just({}), "more": st.just(1)},
)
documents = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | scalars},
    optional={
        "id": st.sampled_from(["", "7", "a:b"]) | scalars,
        "outputs": st.sampled_from([None, [], [{"name": "z"}]]) | scalars,
        "parameters": st.just({"a": 1}),
    },
)


def outcome(wire: Wire, body: bytes) -> Any:
    """What reading gives, or the error it raises."""
    try:
        arrays, wanted, request_id, _ = wire.read(body)
    except RequestError as error:
        return type(error), error.message
    return {name: (array.dtype, array.shape, array.tolist()) for name, array in arrays.items()}, wanted, request_id


@given(documents.map(lambda document: json.dumps(document).encode()))
@example(b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2.5]}],"id":"7"}')
@example(b'{"inputs":[{"name":"x","name":"y","shape":[1,2],"datatype":"FP32","data":[1,2]}]}')
@example(b'{"inputs":[],"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}')
@example(b'{"id":"","id":"a","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}')
@example(
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]},{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
)
def test_plain_way_is_only_quicker(body: bytes) -> None:
    """Whatever comes, the quick reading gives what the full reading gives: arrays, or the error in the same words."""
    quick, full = Wire("m", FLOATS), Wire("m", FLOATS)
    full.plain = False

    assert outcome(quick, body) == outcome(full, body)


def test_plain_request_takes_the_plain_way() -> None:
    """The commonest request does not fall through to the full reading."""
    body = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}], "id": "7"}'

    plain = Wire("m", FLOATS)._read_plain(body)

    assert plain is not None
    assert plain[0]["x"].tolist() == [[1.0, 2.5]]
    assert plain[1] == "7"


@pytest.mark.parametrize(
    ("dtype", "datatype", "data", "read"),
    [
        ("bytes", "BYTES", ["a", "ü"], [b"a", "ü".encode()]),
        ("string", "BYTES", ["a", "ü"], ["a", "ü"]),
        ("bool", "BOOL", [True, False], [True, False]),
    ],
)
def test_what_json_lacks_is_converted(dtype: str, datatype: str, data: list[Any], read: list[Any]) -> None:
    """Text becomes bytes where the model takes those."""
    signature = Signature(inputs=(TensorSpec("x", dtype, ("batch",)),))
    tensor = {"name": "x", "shape": [2], "datatype": datatype, "data": data}

    arrays, _, _, _ = Wire("m", signature).read(json.dumps({"inputs": [tensor]}).encode())

    assert arrays["x"].tolist() == read
    assert arrays["x"].dtype == (object if dtype in ("bytes", "string") else np.dtype(dtype))
