"""Inference requests and answers in gRPC's messages."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modelapp.errors import InvalidInput, ModelFailed
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.datatypes import DATATYPES, dtype_of
from modelapp_oip.grpccontents import read_contents, write_contents
from modelapp_oip.grpcframe import Frame
from modelapp_oip.grpcmessages import message
from modelapp_oip.grpcwire import GrpcWire
from modelapp_oip.raw import write_raw

REQUEST, RESPONSE = message("ModelInferRequest"), message("ModelInferResponse")
TYPED = sorted(set(DATATYPES) - {"FP16", "BF16"})


def signature(datatype: str, word: str = "") -> Signature:
    """One input "x" and one output "y" of that datatype."""
    dtype = word or ("bytes" if datatype == "BYTES" else dtype_of(datatype).name)
    return Signature(inputs=(TensorSpec("x", dtype, ("n", None)),), outputs=(TensorSpec("y", dtype, ("n", None)),))


def typed(datatype: str, array: Any, name: str = "x") -> Any:
    """A request with one typed input."""
    request = REQUEST(model_name="m")
    tensor = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
    write_contents(tensor, array)
    return request


def raw(datatype: str, array: Any) -> Any:
    """A request with one raw input."""
    request = REQUEST(model_name="m", raw_input_contents=[bytes(write_raw("x", array))])
    request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    return request


def frame(request: Any) -> Frame:
    """The request as it comes in."""
    return Frame(request.SerializeToString())


def arrays(words: list[str]) -> st.SearchStrategy[tuple[str, Any]]:
    """A datatype of `words`, and an array of it with two axes, perhaps empty."""
    shapes = npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=4)

    def of(word: str) -> st.SearchStrategy[tuple[str, Any]]:
        if word == "BF16":
            floats = npst.arrays(np.float32, shapes, elements=st.floats(-(2.0**99), 2.0**99, width=32))
            return st.tuples(st.just(word), floats.map(lambda array: array.astype(ml_dtypes.bfloat16)))
        elements = st.binary(max_size=5) if word == "BYTES" else None
        return st.tuples(st.just(word), npst.arrays(dtype_of(word), shapes, elements=elements))

    return st.sampled_from(words).flatmap(of)


def same(found: Any, expected: Any) -> bool:
    """Equal in dtype, shape and every value, a NaN to any other: typed fields do not keep which one it was."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    return bool(np.array_equal(found, expected, equal_nan=expected.dtype.kind in "fV"))


@given(arrays(sorted(DATATYPES)))
def test_raw_is_answered_raw(drawn: tuple[str, Any]) -> None:
    """Every datatype goes in and comes out in raw contents, bit for bit, and in no other field."""
    word, array = drawn
    wire = GrpcWire("m", signature(word))
    asked = frame(raw(word, array))

    assert same(wire.read(asked)["x"], array)

    told = RESPONSE.FromString(wire.write({"y": array}, wire.wanted(asked), asked))
    assert list(told.raw_output_contents) == [bytes(write_raw("y", array))]
    assert (told.outputs[0].datatype, list(told.outputs[0].shape)) == (word, list(array.shape))
    assert not told.outputs[0].HasField("contents")


@given(arrays(TYPED))
def test_typed_is_answered_typed(drawn: tuple[str, Any]) -> None:
    """Every datatype but the halves goes in and comes out in the field of its kind."""
    word, array = drawn
    wire = GrpcWire("m", signature(word))
    asked = frame(typed(word, array))

    assert same(wire.read(asked)["x"], array)

    told = RESPONSE.FromString(wire.write({"y": array}, wire.wanted(asked), asked))
    assert not told.raw_output_contents
    assert same(read_contents(told.outputs[0]), array)


def test_text_comes_as_the_model_takes_it() -> None:
    """A model that takes str gets it from raw bytes and from typed ones."""
    wire = GrpcWire("m", signature("BYTES", "string"))
    texts = np.array([["å", ""]], object)
    for request in (raw("BYTES", texts), typed("BYTES", texts)):
        assert wire.read(frame(request))["x"].tolist() == [["å", ""]]


def test_the_answer_names_model_version_and_id() -> None:
    """The id is the request's own."""
    request = raw("FP32", np.zeros((1, 1), np.float32))
    request.id = "7"
    wire, asked = GrpcWire("m", signature("FP32")), frame(request)
    told = RESPONSE.FromString(wire.write({"y": np.zeros((1, 1), np.float32)}, wire.wanted(asked), asked))
    assert (told.model_name, told.model_version, told.id) == ("m", "1", "7")


def test_the_highest_classes_can_be_asked_for() -> None:
    """The parameter `classification` of an output makes it text, with the names of the classes where there are some."""
    request = raw("FP32", np.zeros((1, 1), np.float32))
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    wire, asked = GrpcWire("m", signature("FP32"), ("cat", "dog")), frame(request)
    told = RESPONSE.FromString(wire.write({"y": np.array([[1, 3, 2]], np.float32)}, wire.wanted(asked), asked))
    assert (told.outputs[0].datatype, list(told.outputs[0].shape)) == ("BYTES", [1, 2])
    assert told.raw_output_contents[0] == b"\x09\0\0\x003.0:1:dog\x05\0\0\x002.0:2"


ONE = np.zeros((1, 1), np.float32)


def test_mixing_is_refused() -> None:
    """Contents beside raw contents would say two things of one tensor."""
    request = typed("FP32", ONE)
    request.raw_input_contents.append(bytes(4))
    with pytest.raises(InvalidInput, match='"x" has contents beside raw_input_contents'):
        GrpcWire("m", signature("FP32")).read(frame(request))


def test_as_many_raws_as_inputs() -> None:
    """The order alone says which bytes are whose."""
    request = raw("FP32", ONE)
    request.raw_input_contents.append(bytes(4))
    with pytest.raises(InvalidInput, match="1 inputs and 2 raw_input_contents"):
        GrpcWire("m", signature("FP32")).read(frame(request))


@pytest.mark.parametrize(
    ("datatype", "shape", "contents", "text"),
    [
        ("FP32", [1, 1], {}, "1 elements, and 0 in its fp32_contents"),
        ("FP32", [1, 2], {"fp32_contents": [1]}, "2 elements, and 1 in its fp32_contents"),
        ("FP32", [1, 1], {"fp64_contents": [1]}, "go in fp32_contents, and has fp64_contents"),
        ("FP32", [1, 1], {"fp32_contents": [1], "int_contents": [1]}, "and has int_contents"),
        ("INT8", [1, 1], {"int_contents": [128]}, "holds a value that INT8 cannot"),
        ("UINT16", [1, 1], {"uint_contents": [65536]}, "holds a value that UINT16 cannot"),
        ("FP16", [1, 1], {"fp32_contents": [1]}, "FP16, which goes in raw_input_contents only"),
        ("WHAT", [1, 1], {}, "unknown datatype 'WHAT'"),
        ("FP32", [-1, 1], {}, "whole numbers"),
    ],
)
def test_bad_contents_are_told(datatype: str, shape: list[int], contents: dict[str, Any], text: str) -> None:
    """What does not fit its shape, its datatype or its field is the caller's to mend."""
    request = REQUEST(model_name="m")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    with pytest.raises(InvalidInput, match=text) as failed:
        GrpcWire("m", signature("FP32")).read(frame(request))
    assert failed.value.field == "x"


def test_what_else_is_refused() -> None:
    """An input that stands twice, shared memory, records, an unknown output, halves that would have to be typed."""
    twice = raw("FP32", ONE)
    twice.inputs.append(twice.inputs[0])
    twice.raw_input_contents.append(bytes(4))
    shared = raw("FP32", ONE)
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    for request, text in ((twice, "stands twice"), (shared, "shared memory")):
        with pytest.raises(InvalidInput, match=text):
            GrpcWire("m", signature("FP32")).read(frame(request))
    with pytest.raises(InvalidInput, match="takes records"):
        GrpcWire("m", Signature(kind="records")).read(frame(raw("FP32", ONE)))
    unknown = raw("FP32", ONE)
    unknown.outputs.add(name="z")
    with pytest.raises(InvalidInput, match="no output 'z'; its outputs: y"):
        GrpcWire("m", signature("FP32")).wanted(frame(unknown))
    with pytest.raises(InvalidInput, match='"y" is FP16, which goes raw only'):
        GrpcWire("m", signature("FP16")).wanted(frame(typed("FP32", ONE)))


def test_an_output_that_is_no_text_is_the_models_fault() -> None:
    """In raw and in typed answers."""
    wire = GrpcWire("m", signature("BYTES"))
    for request in (raw("BYTES", np.array([[b""]], object)), typed("BYTES", np.array([[b""]], object))):
        asked = frame(request)
        with pytest.raises(ModelFailed, match="the model gave int"):
            wire.write({"y": np.array([[1]], object)}, wire.wanted(asked), asked)
