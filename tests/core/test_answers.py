"""Results against the declared output, and JSON that never lies."""

import base64
import io
import json
import math
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelapp.answers import Outputs, encode_json
from modelapp.app import Field
from modelapp.errors import ModelFailed
from modelapp.fieldtype import parse
from modelapp.media import Audio


def field(word: str, **bounds: Any) -> Field:
    """A field of that type word."""
    return Field(name="", type=parse(word), **bounds)


def one(declared: Field, value: Any) -> Any:
    """What a client reads for the output x."""
    return json.loads(Outputs({"x": declared}).encode({"x": value}))["x"]


@pytest.mark.parametrize(
    ("declared", "value", "wanted"),
    [
        (field("str"), np.str_("a"), "a"),
        (field("int"), np.int64(7), 7),
        (field("int"), np.array(7), 7),
        (field("float"), np.float32(0.5), 0.5),
        (field("float"), 2, 2.0),
        (field("bool"), np.True_, True),
        (field("str?"), None, None),
        (field("json"), {"a": [np.float64(1.5), None, (1, 2)]}, {"a": [1.5, None, [1, 2]]}),
        (field("list[float]"), np.array([1, 2.5], np.float32), [1.0, 2.5]),
        (field("list[float]"), [1, np.float32(2.5)], [1.0, 2.5]),
        (field("list[list[float]]"), np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        (field("list[list[float]]"), [np.array([1.0]), [2]], [[1.0], [2.0]]),
        (field("list[int]"), np.array([1, 2], np.uint8), [1, 2]),
        (field("list[str]"), np.array(["a", "b"]), ["a", "b"]),
        (field("list[str]"), ("a",), ["a"]),
        (field("bytes"), b"abc", "YWJj"),
        (field("tensor", shape=(-1, 2)), np.ones((1, 2), np.float32), [[1.0, 1.0]]),
        (field("tensor", dtype="string"), np.array(["a"]), ["a"]),
        (field("record", fields={"a": field("int"), "b": field("str?")}), {"a": 1}, {"a": 1, "b": None}),
        (
            field("list[box]"),
            [{"x_min": 1, "y_min": np.float32(2), "x_max": 3, "y_max": 4, "score": np.float32(0.5)}],
            [{"x_min": 1.0, "y_min": 2.0, "x_max": 3.0, "y_max": 4.0, "score": 0.5}],
        ),
    ],
)
def test_results_that_fit(declared: Field, value: Any, wanted: Any) -> None:
    """Plain values, numpy's scalars and arrays all become the JSON of the declared type."""
    assert one(declared, value) == wanted


@pytest.mark.parametrize(
    ("declared", "value", "place", "text"),
    [
        (field("str"), 7, "x", 'the output "x" must be str, got 7 (int)'),
        (field("int"), 7.0, "x", 'the output "x" must be int, got 7.0 (float)'),
        (field("int"), True, "x", 'the output "x" must be int, got true (bool)'),
        (field("float"), "1", "x", 'the output "x" must be float, got "1" (str)'),
        (field("float"), np.array([1.0]), "x", 'the output "x" must be float, got an array of float64 with shape [1]'),
        (field("float"), math.nan, "x", 'the output "x" is NaN or infinite'),
        (field("float"), np.float32("inf"), "x", 'the output "x" is NaN or infinite'),
        (field("bool"), 1, "x", 'the output "x" must be bool, got 1 (int)'),
        (field("str"), None, "x", 'the output "x" must be str, got null'),
        (field("list[float]"), [1.0, math.nan], "x[1]", 'the output "x[1]" is NaN or infinite'),
        (field("list[float]"), np.array([1.0, np.inf]), "x[1]", 'the output "x[1]" is NaN or infinite'),
        (field("list[float]"), np.ones((2, 2)), "x[0]", 'the output "x[0]" must be float, got a list of 2'),
        (field("list[int]"), np.ones(2), "x[0]", 'the output "x[0]" must be int, got 1.0 (float)'),
        (field("list[str]"), "ab", "x", 'the output "x" must be list[str], got "ab" (str)'),
        (field("list[str]"), np.array("a"), "x", 'the output "x" must be list[str], got an array'),
        (field("list[str]", min_items=2), ["a"], "x", 'the output "x" must have at least 2 items, got 1'),
        (field("float", max=1), 1.5, "x", 'the output "x" must be at most 1, got 1.5'),
        (field("str", choices=("a",)), "b", "x", 'the output "x" must be one of "a", got "b" (str)'),
        (field("bytes"), "abc", "x", 'the output "x" must be bytes, got "abc" (str)'),
        (field("image"), [[1]], "x", 'the output "x" must be image (a uint8 array), got a list of 1'),
        (field("image"), np.ones((2, 2, 3)), "x", 'the output "x" must be image (uint8 [height, width, 3])'),
        (field("audio"), np.ones(3), "x", 'the output "x" must be audio (modelapp.media.Audio)'),
        (field("tensor"), [1.0], "x", 'the output "x" must be tensor (an array of float32), got a list of 1'),
        (field("tensor"), np.ones(2), "x", 'the output "x" must be a tensor of float32, got float64'),
        (
            field("tensor", shape=(3,)),
            np.ones(2, np.float32),
            "x",
            'the output "x" must have shape [3], got [2]',
        ),
        (field("tensor"), np.full(2, np.nan, np.float32), "x", 'the output "x" holds NaN or infinity'),
        (field("record", fields={"a": field("int")}), {}, "x.a", 'the output "x.a" is missing; the model gave nothing'),
        (field("record", fields={"a": field("int")}), {"a": 1, "b": 2}, "x.b", 'the output "x.b" is not declared'),
        (field("record", fields={"a": field("int")}), [1], "x", 'the output "x" must be an object, got a list of 1'),
        (field("json"), {"a": [math.nan]}, "", "the answer holds NaN or infinity at x.a[0]"),
        (field("json"), {"a": np.array([np.nan])}, "", "the answer holds an array with NaN or infinity"),
        (field("json"), object(), "", "the answer cannot be written as JSON: a object is no JSON value"),
    ],
)
def test_results_that_do_not_fit(declared: Field, value: Any, place: str, text: str) -> None:
    """A wrong result is the model's failure, named by place, never a success."""
    with pytest.raises(ModelFailed) as caught:
        one(declared, value)
    assert caught.value.field == place
    assert caught.value.message.startswith(text)


def test_missing_and_undeclared_outputs_are_named() -> None:
    """At the top of the answer as inside it, and where the result is no mapping at all."""
    outputs = Outputs({"label": field("str"), "score": field("float")})
    for result, text in [
        ({"label": "a"}, 'the output "score" is missing; the model gave label'),
        (
            {"label": "a", "scores": 1},
            'the output "score" is missing; the model gave label, scores; did you mean "scores"?',
        ),
        ({"label": "a", "score": 1, "extra": 2}, 'the output "extra" is not declared'),
        (["a"], "the answer must be an object, got a list of 1"),
    ]:
        with pytest.raises(ModelFailed) as caught:
            outputs.encode(result)  # type: ignore[arg-type]  # a handler may give anything
        assert caught.value.message == text


def test_images_and_sound_are_files_in_base64() -> None:
    """PNG and WAV, which any client can open."""
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    outputs = Outputs({"photo": field("image"), "voice": field("audio"), "many": field("list[image]")})
    assert outputs.heavy
    tone = Audio(np.array([[0.5], [-0.5]], np.float32), 8000)
    answer = json.loads(outputs.encode({"photo": pixels, "voice": tone, "many": np.stack([pixels, pixels])}))
    for text in (answer["photo"], answer["many"][1]):
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), pixels)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(answer["voice"])))
    assert rate == 8000
    assert np.abs(samples - [0.5, -0.5]).max() < 1e-4


def test_without_declared_outputs_everything_is_sent() -> None:
    """Whatever JSON can hold, numpy's values too."""
    body = Outputs({}).encode({"a": np.arange(2), "b": np.float32(0.5), "c": b"abc"})
    assert json.loads(body) == {"a": [0, 1], "b": 0.5, "c": "YWJj"}


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def finite(value: Any) -> bool:
    """Whether no float inside is NaN or infinite."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@given(plain)
def test_json_is_exact_or_refused(value: Any) -> None:
    """A NaN anywhere is a failure; everything else comes back equal; null stays null."""
    if finite(value):
        assert json.loads(encode_json(value)) == value
    else:
        with pytest.raises(ModelFailed, match="NaN or infinity"):
            encode_json(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "the answer holds NaN or infinity"),
        ({"a": {"b": [1.0, np.float32("nan")]}}, "the answer holds NaN or infinity at a.b[1]"),
        ({"null": 1, "b": -math.inf}, "the answer holds NaN or infinity at b"),
        ("\ud800", "the answer cannot be written as JSON"),
        ({(1, 2): 3}, "the answer cannot be written as JSON"),
        (1j, "the answer cannot be written as JSON: a complex is no JSON value"),
    ],
)
def test_what_json_cannot_hold_is_a_failure(value: Any, text: str) -> None:
    """The place of the NaN, or the kind of the value."""
    with pytest.raises(ModelFailed) as caught:
        encode_json(value)
    assert caught.value.message.startswith(text)


def test_an_answer_that_holds_itself_is_a_failure() -> None:
    """A circle has no JSON."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ModelFailed, match="holds itself"):
        encode_json(circle)


def test_nan_of_bfloat16_never_leaves_as_null() -> None:
    """numpy does not count bfloat16 among the floats; its NaN is found all the same."""
    import ml_dtypes

    with pytest.raises(ModelFailed, match="NaN or infinity"):
        encode_json({"y": np.array([np.nan], ml_dtypes.bfloat16)})
