"""The generate extension's objects: flat in, flat out."""

import json
from typing import Any

import numpy as np
import pytest

from modelapp.errors import BadRequest, InvalidInput, ModelFailed, RequestError
from modelapp.signature import Signature, TensorSpec
from modelapp_oip.generate import Generate, event, last_event


def model(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> Generate:
    """The reader and writer of one model."""
    return Generate("m", Signature(inputs=inputs, outputs=outputs))


def read(spec: TensorSpec, value: Any) -> np.ndarray:
    """What a value becomes as the only input."""
    arrays, _, _ = model(spec).read(json.dumps({spec.name: value}).encode())
    return arrays[spec.name]  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("dtype", "shape", "value", "wanted"),
    [
        ("string", ("batch", 1), "hi", [["hi"]]),
        ("bytes", ("batch",), "ü", ["ü".encode()]),
        ("int64", ("batch", 1), 7, [[7]]),
        ("bool", (), True, True),
        ("float32", ("batch", "n"), [1, 2.5], [[1.0, 2.5]]),
        ("float32", ("batch", "n"), [[1], [2]], [[1.0], [2.0]]),
        ("float16", ("batch", "n"), [1, 2.5], [[1.0, 2.5]]),
        ("bfloat16", ("batch",), 1.5, [1.5]),
        ("float64", ("batch", 2, 2), [[1, 2], [3, 4]], [[[1, 2], [3, 4]]]),
    ],
)
def test_values_take_the_rank_of_the_input(dtype: str, shape: tuple[Any, ...], value: Any, wanted: Any) -> None:
    """A single value is one element; leading axes of 1 are added; the dtype is the model's."""
    spec = TensorSpec("x", dtype, shape)

    array = read(spec, value)

    assert array.dtype == spec.numpy_dtype
    assert array.tolist() == wanted


@pytest.mark.parametrize(
    ("dtype", "value", "told"),
    [
        ("int64", 1.5, "declared INT64 and its data is numbers"),
        ("string", 3, "declared BYTES and its data is whole numbers"),
        ("float32", "3", "declared FP32 and its data is text"),
        ("float32", {"a": 1}, "declared FP32 and its data is objects"),
        ("float32", None, "declared FP32 and its data is null"),
        ("uint8", 256, "holds a value that UINT8 cannot"),
        ("float16", 1e6, "holds a value that FP16 cannot"),
        ("bfloat16", 1e39, "cannot"),
    ],
)
def test_values_of_another_kind_are_refused(dtype: str, value: Any, told: str) -> None:
    """Nothing is turned into something else."""
    with pytest.raises(InvalidInput) as failed:
        read(TensorSpec("x", dtype, ("batch",)), value)
    assert told in failed.value.message


def test_everything_else_is_a_parameter() -> None:
    """Keys that name no input, and those in "parameters", which come first."""
    rows, request_id, parameters = model(TensorSpec("x", "int64", ("batch",))).read(
        b'{"x": 1, "id": "7", "stream": false, "top": [1], "parameters": {"top": 3}}'
    )
    assert list(rows) == ["x"]
    assert (request_id, dict(parameters)) == ("7", {"stream": False, "top": 3})


def test_records_are_taken_and_given_as_they_are() -> None:
    """What the model answers cannot take the protocol's own names."""
    records = Generate("m", Signature(kind="records"))
    rows, request_id, _ = records.read(b'{"text": "a", "n": [1], "id": null, "parameters": null}')
    assert (rows, request_id) == ([{"text": "a", "n": [1]}], "")
    assert json.loads(records.write([{"text": "A", "model_name": "x"}], "7")) == {
        "text": "A",
        "model_name": "m",
        "model_version": "1",
        "id": "7",
    }


def test_a_model_that_generates_is_asked_as_tritons_are() -> None:
    """`text_input` and parameters; the record's own keys count first, and other parameters stay what they are."""
    scribe = Generate("m", Signature(kind="records"), "text-generation")
    body = {"text_input": "a", "top_k": 4, "stream": True, "parameters": {"max_tokens": 3, "top_k": 9, "priority": 1}}
    rows, _, parameters = scribe.read(json.dumps(body).encode())
    assert rows == [{"prompt": "a", "max_tokens": 3, "top_k": 4}]
    assert parameters["priority"] == 1
    answer = json.loads(scribe.write([{"text": "b", "index": 0}], ""))
    assert answer == {"text": "b", "text_output": "b", "index": 0, "model_name": "m", "model_version": "1"}


@pytest.mark.parametrize(
    ("task", "body", "told"),
    [
        (
            "text-generation",
            {"parameters": {"max_token": 3}},
            'has no parameter "max_token"; did you mean "max_tokens"?',
        ),
        ("text-generation", {"parameters": {"priorty": 3}}, 'has no parameter "priorty"; did you mean "priority"?'),
        ("object-detection", {"parameters": {"zzz": 3}}, 'has no parameter "zzz"; its inputs: image, min_score'),
        ("text-generation", {"prompt": "a", "text_input": "b"}, '"text_input" and "prompt" are the same input'),
        (
            "text-generation",
            {"text_input": "b", "parameters": {"prompt": "a"}},
            '"text_input" and "prompt" are the same input',
        ),
    ],
)
def test_what_a_task_does_not_know_is_refused(task: str, body: Any, told: str) -> None:
    """Nothing that was asked for is passed over."""
    with pytest.raises(InvalidInput) as failed:
        Generate("m", Signature(kind="records"), task).read(json.dumps(body).encode())
    assert told in failed.value.message


def test_keys_of_a_task_and_of_the_protocol_are_parameters_too() -> None:
    """Also of a task that does not generate; `stream` is said by the route."""
    body = {"image": 1, "parameters": {"min_score": 0.25, "timeout": 9, "sequence_id": 0, "stream": False}}
    rows, _, parameters = Generate("m", Signature(kind="records"), "object-detection").read(json.dumps(body).encode())
    assert rows == [{"image": 1, "min_score": 0.25}]
    assert parameters["timeout"] == 9


def test_what_a_task_needs_must_be_there() -> None:
    """Bad input, not a failure of the model's code."""
    with pytest.raises(InvalidInput, match='"text" is missing, which model "m" needs') as caught:
        Generate("m", Signature(kind="records"), "embeddings").read(b'{"txt": "a"}')
    assert caught.value.field == "text"


def test_outputs_are_flat() -> None:
    """One element is a value, more are a list; half precision is written as the numbers it holds."""
    outputs = tuple(TensorSpec(name, dtype, ("batch", "n")) for name, dtype in (("a", "int64"), ("b", "float16")))
    answer = model(outputs=outputs).write({"a": np.array([[3]]), "b": np.array([[0.5], [2]], np.float16)}, "")
    assert json.loads(answer) == {"model_name": "m", "model_version": "1", "a": 3, "b": [0.5, 2.0]}
    with pytest.raises(ModelFailed):
        model(outputs=outputs).write({"a": np.array([[3]]), "b": np.array([[np.nan]], np.float16)}, "")


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b'{"id": 7}', b'{"parameters": 3}', b'{"a": NaN}'])
def test_bodies_that_are_no_request(body: bytes) -> None:
    """Told as bad input."""
    with pytest.raises((BadRequest, InvalidInput)):
        model(TensorSpec("x", "int64", ("batch",))).read(body)


def test_events() -> None:
    """One line each, ended by an empty one; an error is the last of them."""
    assert event(b"{}") == b"data: {}\n\n"
    assert last_event(RequestError("it\nbroke")) == b'data: {"error":"it\\nbroke"}\n\n'
