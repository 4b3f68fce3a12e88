"""Messages taken apart without copying their tensors."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import BadRequest
from modelapp_oip import grpcframe
from modelapp_oip.grpcframe import Frame, answer, failed, streamed
from modelapp_oip.grpcmessages import message

REQUEST = message("ModelInferRequest")
RESPONSE = message("ModelInferResponse")


def request(*raws: bytes, id: str = "") -> bytes:
    """A request with an input for each raw content, and a parameter."""
    built = REQUEST(model_name="m", id=id, raw_input_contents=raws)
    for index in range(len(raws)):
        built.inputs.add(name=str(index), datatype="UINT8", shape=[2**40, len(raws)])
    built.parameters["timeout"].int64_param = -1
    return bytes(built.SerializeToString())


@given(st.lists(st.binary(max_size=300), max_size=5), st.text(max_size=20))
def test_both_ways_of_reading_agree(raws: list[bytes], id: str) -> None:
    """A large message, whose raw contents are viewed, holds what a small one does, which is parsed whole."""
    content = request(*raws, id=id)

    rest, views = grpcframe._split(content)

    whole = Frame(content)
    assert [bytes(view) for view in views] == list(whole.raws) == raws
    whole.request.ClearField("raw_input_contents")
    assert REQUEST.FromString(rest) == whole.request


@given(
    st.binary(max_size=200) | st.builds(lambda raw, cut: request(raw)[:cut], st.binary(max_size=9), st.integers(0, 60))
)
def test_any_bytes_are_a_message_or_a_bad_request(content: bytes) -> None:
    """What protobuf refuses is refused, and nothing fails in another way; groups are refused in large messages only."""
    try:
        expected = REQUEST.FromString(content)
    except DecodeError:
        with pytest.raises(BadRequest):
            Frame(content)
        return
    try:
        rest, views = grpcframe._split(content)
    except BadRequest:
        return
    found = REQUEST.FromString(rest)
    found.raw_input_contents.extend(bytes(view) for view in views)
    assert found == expected


def test_large_contents_are_views_of_the_message() -> None:
    """Nothing is copied of a tensor that came in a large message."""
    content = request(bytes(100_000))
    (raw,) = Frame(content).raws
    assert isinstance(raw, memoryview)
    assert np.shares_memory(np.frombuffer(raw, np.uint8), np.frombuffer(content, np.uint8))


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_answers_read_as_protobuf_writes_them(raws: list[bytes]) -> None:
    """An answer put together by hand is the message that protobuf would make, alone and in a stream."""
    head = RESPONSE(model_name="m", id="7")
    expected = RESPONSE(model_name="m", id="7", raw_output_contents=raws)

    content = answer(head, [memoryview(raw) for raw in raws])

    assert RESPONSE.FromString(content) == expected
    assert message("ModelStreamInferResponse").FromString(streamed(content)).infer_response == expected


def test_a_failure_in_a_stream_names_the_request() -> None:
    """Clients find their request by its id; a message that cannot be read has none."""
    told = message("ModelStreamInferResponse").FromString(failed(request(id="7"), "no"))
    assert (told.error_message, told.infer_response.id) == ("no", "7")
    assert message("ModelStreamInferResponse").FromString(failed(b"\xff", "no")).error_message == "no"
