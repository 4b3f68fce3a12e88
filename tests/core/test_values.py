"""Declared fields against whatever a request carries."""

import base64
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelapp.app import Field
from modelapp.errors import InvalidInput, LoadError
from modelapp.fieldtype import FieldType, parse
from modelapp.forms import Part
from modelapp.media import Audio
from modelapp.values import Inputs


def field(word: str, **bounds: Any) -> Field:
    """A field of that type word."""
    return Field(name="", type=parse(word), **bounds)


def one(declared: Field, value: Any) -> Any:
    """What the value of a field called x becomes."""
    return Inputs({"x": declared}).read({"x": value})["x"]


def refusal(fields: Mapping[str, Field], document: Any) -> tuple[str, str]:
    """Field and message of the InvalidInput that must come."""
    with pytest.raises(InvalidInput) as caught:
        Inputs(fields).read(document)
    return caught.value.field, caught.value.message


def png(width: int = 3, height: int = 2) -> bytes:
    """A white image as a file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("declared", "value", "wanted"),
    [
        (field("str"), "a", "a"),
        (field("int"), 7, 7),
        (field("int"), 10**30, 10**30),
        (field("float"), 1, 1.0),
        (field("float"), 1.5, 1.5),
        (field("bool"), True, True),
        (field("json"), {"a": [None]}, {"a": [None]}),
        (field("int?"), None, None),
        (field("list[float]"), [1, 2.5], [1.0, 2.5]),
        (field("list[int?]"), [1, None], [1, None]),
        (field("list[list[str]]"), [["a"], []], [["a"], []]),
        (field("bytes"), "YWJj", b"abc"),
        (field("bytes"), "data:text/plain;base64,YWJj", b"abc"),
        (field("list[bytes]"), ["YWJj"], [b"abc"]),
        (field("record", fields={"a": field("int"), "b": field("str", default="z")}), {"a": 1}, {"a": 1, "b": "z"}),
        (field("list[record]", fields={"a": field("int?")}), [{}, {"a": 2}], [{"a": None}, {"a": 2}]),
        (
            field("box"),
            {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4.5, "label": "cat"},
            {"x_min": 1.0, "y_min": 2.0, "x_max": 3.0, "y_max": 4.5, "label": "cat"},
        ),
        (field("int", choices=(1, 2)), 2, 2),
        (field("str", min_chars=1, max_chars=2, pattern="b"), "ab", "ab"),
        (field("float", min=0, max=1), 1, 1.0),
    ],
)
def test_values_that_fit(declared: Field, value: Any, wanted: Any) -> None:
    """Each type word takes its JSON and gives the Python value that handlers see."""
    got = one(declared, value)
    assert got == wanted
    assert type(got) is type(wanted)


@pytest.mark.parametrize(
    ("declared", "value", "place", "text"),
    [
        (field("int"), "7", "x", '"x" must be int, got "7" (str)'),
        (field("int"), True, "x", '"x" must be int, got true (bool)'),
        (field("int"), 2.0, "x", '"x" must be int, got 2.0 (float)'),
        (field("float"), True, "x", '"x" must be float, got true (bool)'),
        (field("float"), 10**400, "x", '"x" must be float, got a number too large for one'),
        (field("bool"), 1, "x", '"x" must be bool, got 1 (int)'),
        (field("str"), None, "x", '"x" must be str, got null'),
        (field("str"), ["a"], "x", '"x" must be str, got a list of 1'),
        (field("str?"), {}, "x", '"x" must be str, got an object'),
        (field("list[int]"), [1, 2, "3"], "x[2]", '"x[2]" must be int, got "3" (str)'),
        (field("list[float]"), "abc", "x", '"x" must be list[float], got "abc" (str)'),
        (field("list[list[int]]"), [[1], [2, None]], "x[1][1]", '"x[1][1]" must be int, got null'),
        (field("int", min=1), 0, "x", '"x" must be at least 1, got 0'),
        (field("float", max=0.5), 0.75, "x", '"x" must be at most 0.5, got 0.75'),
        (field("list[int]", max=9), [1, 10], "x[1]", '"x[1]" must be at most 9, got 10'),
        (field("list[int]", min_items=2), [1], "x", '"x" must have at least 2 items, got 1'),
        (field("list[str]", max_items=1), ["a", "b"], "x", '"x" must have at most 1 items, got 2'),
        (field("str", min_chars=2), "a", "x", '"x" must have at least 2 characters, got 1'),
        (field("str", max_chars=2), "abc", "x", '"x" must have at most 2 characters, got 3'),
        (field("str", pattern="^[a-z]+$"), "A1", "x", '"x" must match the pattern ^[a-z]+$, got "A1"'),
        (field("str", choices=("a", "b")), "c", "x", '"x" must be one of "a", "b", got "c" (str)'),
        (field("int", choices=(0, 1)), 2, "x", '"x" must be one of 0, 1, got 2 (int)'),
        (field("bytes"), "?", "x", '"x" must be base64 text or a data URL, got "?"'),
        (field("image"), "YWJj", "x", '"x" is not an image of a known format'),
        (field("image"), 7, "x", '"x" must be base64 text or a data URL, got 7 (int)'),
        (field("audio"), "YWJj", "x", '"x" is not audio of a known format'),
        (field("record", fields={"a": field("int")}), {"a": "1"}, "x.a", '"x.a" must be int, got "1" (str)'),
        (field("record", fields={"a": field("int")}), {}, "x.a", '"x.a" is missing'),
        (field("record", fields={"a": field("int")}), 3, "x", '"x" must be an object, got 3 (int)'),
        (
            field("list[record]", fields={"label": field("str")}),
            [{"label": "a"}, {"lable": "b"}],
            "x[1].lable",
            '"x[1].lable" is not declared; did you mean "label"?',
        ),
        (field("box"), {"x_min": 1, "y_min": 2, "x_max": 3}, "x.y_max", '"x.y_max" is missing'),
        (
            field("list[box]"),
            [{"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4, "label": 5}],
            "x[0].label",
            '"x[0].label" must be str, got 5 (int)',
        ),
    ],
)
def test_values_that_do_not_fit(declared: Field, value: Any, place: str, text: str) -> None:
    """Each refusal names the place inside the value, what was wanted and what came."""
    found, message = refusal({"x": declared}, {"x": value})
    assert found == place
    assert message.startswith(text)


def test_the_body_must_be_an_object_of_declared_fields() -> None:
    """Not an object, a missing field, an unknown one with and without a near name; the misspelling comes first."""
    fields = {"text": field("str"), "top_k": field("int", default=3)}
    assert refusal(fields, [1]) == ("", "the body must be a JSON object, got a list of 1")
    assert refusal(fields, {}) == ("text", '"text" is missing')
    assert refusal(fields, {"txt": "a"}) == ("txt", '"txt" is not declared; did you mean "text"?')
    assert refusal(fields, {"text": "a", "zzz": 1}) == ("zzz", '"zzz" is not declared; known here: text, top_k')
    assert refusal(fields, {"text": "a", "top_k": None})[1] == '"top_k" must be int, got null'
    long = "k" * 1000
    assert len(refusal(fields, {"text": "a", long: 1})[1]) < 200


def test_absent_fields_take_their_default_or_null() -> None:
    """A default is checked like a value, once, and a list is a fresh one for each request."""
    inputs = Inputs({"a": field("float", default=1), "b": field("str?"), "c": field("list[int]", default=[1])})
    first = inputs.read({})
    assert first == {"a": 1.0, "b": None, "c": [1]}
    assert isinstance(first["a"], float)
    first["c"].append(2)
    assert inputs.read({})["c"] == [1]
    with pytest.raises(LoadError, match='the default of "a" must be int, got "7"'):
        Inputs({"a": field("int", default="7")})


def test_without_declared_inputs_every_object_passes() -> None:
    """The model's own signature checks it later."""
    assert Inputs({}).read({"a": [1]}) == {"a": [1]}
    assert refusal({}, 3)[1] == "the body must be a JSON object, got 3 (int)"


def test_images_and_sound_are_decoded() -> None:
    """Base64, data URL and bounds on the picture's side, also inside lists and records."""
    text = base64.b64encode(png()).decode()
    inner = field("record", fields={"photo": field("image")})
    inputs = Inputs({"x": field("image", max_side_px=3), "many": field("list[image]"), "deep": inner})
    assert inputs.heavy
    got = inputs.read({"x": f"data:image/png;base64,{text}", "many": [text, text], "deep": {"photo": text}})
    assert got["x"].shape == got["many"][1].shape == got["deep"]["photo"].shape == (2, 3, 3)
    assert refusal({"x": field("image", max_side_px=2)}, {"x": text}) == (
        "x",
        '"x" must be at most 2 pixels on each side, got 3 x 2',
    )
    assert refusal({"x": field("list[image]")}, {"x": [text, text[:40]]})[0] == "x[1]"


def test_which_inputs_are_heavy() -> None:
    """Decoding images and sound leaves the loop; numbers, texts and bytes do not."""
    assert Inputs({"x": field("list[record]", fields={"a": field("audio?")})}).heavy
    assert not Inputs({"x": field("list[float]"), "b": field("bytes")}).heavy


WORDS = ["str", "int", "float", "bool", "json", "image", "audio", "video", "bytes", "box", "tensor"]
types = st.recursive(
    st.builds(FieldType, st.sampled_from(WORDS), st.none(), st.booleans()),
    lambda inner: st.builds(FieldType, st.just("list"), inner, st.booleans()),
    max_leaves=3,
)
bounds = st.fixed_dictionaries(
    {},
    optional={
        "min": st.integers(-3, 3),
        "max": st.floats(-3, 3),
        "min_chars": st.integers(0, 3),
        "max_items": st.integers(0, 3),
        "pattern": st.just("[a-c]"),
        "choices": st.just((1, 2.5, "a", True)),
        "dtype": st.sampled_from(["float32", "int64", "uint8", "bool", "float16", "string", "bytes"]),
        "shape": st.sampled_from([(), (-1,), (2,), (-1, 2), (2, -1)]),
    },
)
plain = st.builds(lambda type_, limits: Field(name="", type=type_, **limits), types, bounds)
records = st.builds(
    lambda type_, fields: Field(name="", type=parse(type_), fields=fields),
    st.sampled_from(["record", "list[record]", "record?"]),
    st.dictionaries(st.sampled_from("abc"), plain, max_size=3),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["YWJj", "data:image/png;base64,YWJj", base64.b64encode(png()).decode()])
)
keys = st.sampled_from(["a", "b", "c", "x_min", "y_min", "x_max", "y_max", "label", "score", "é"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6), max_leaves=10
)


def fits(type_: FieldType, declared: Field, value: Any) -> bool:
    """Whether a value handed to a handler is what its declaration promises."""
    if value is None:
        return type_.nullable or type_.word == "json"
    if type_.item is not None:
        return isinstance(value, list) and all(fits(type_.item, declared, item) for item in value)
    if type_.word == "record":
        return set(value) == set(declared.fields) and all(
            fits(inner.type, inner, value[name]) for name, inner in declared.fields.items()
        )
    if type_.word == "tensor":
        wanted = np.dtype(object if declared.dtype in ("string", "bytes") else declared.dtype)
        shape_fits = not declared.shape or (
            value.ndim == len(declared.shape)
            and all(want in (-1, got) for want, got in zip(declared.shape, value.shape, strict=True))
        )
        return value.dtype == wanted and shape_fits
    return {
        "str": lambda: type(value) is str,
        "int": lambda: type(value) is int,
        "float": lambda: type(value) is float and math.isfinite(value),
        "bool": lambda: type(value) is bool,
        "json": lambda: True,
        "image": lambda: value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3,
        "audio": lambda: isinstance(value, Audio),
        "video": lambda: type(value) is bytes,
        "bytes": lambda: type(value) is bytes,
        "box": lambda: {"x_min", "y_min", "x_max", "y_max"} <= set(value),
    }[type_.word]()


@given(plain | records, values)
def test_any_json_for_any_field_fits_or_is_refused(declared: Field, value: Any) -> None:
    """Never another exception, and never a value of another type than declared."""
    try:
        got = one(declared, value)
    except InvalidInput as error:
        place, message = error.field, error.message
    else:
        assert fits(declared.type, declared, got)
        return
    assert place.startswith("x")
    assert f'"{place}"' in message


@given(plain | records, values, st.sampled_from([None, "f.png"]))
def test_any_form_for_any_field_fits_or_is_refused(declared: Field, value: Any, filename: str | None) -> None:
    """The same holds for uploads."""
    data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    try:
        got = Inputs({"x": declared}).read_parts([Part("x", data, filename)])["x"]
    except InvalidInput as error:
        place = error.field
    else:
        assert fits(declared.type, declared, got)
        return
    assert place.startswith("x")


def test_a_form_is_read_by_the_declared_types() -> None:
    """Numbers and records stand as JSON text, texts as they are, media as files or as base64."""
    fields = {
        "text": field("str"),
        "n": field("int"),
        "t": field("float?"),
        "flag": field("bool", default=False),
        "tags": field("list[str]"),
        "photo": field("image"),
        "more": field("list[image]"),
        "raw": field("bytes"),
        "note": field("str?"),
    }
    parts = [
        Part("text", b"7"),
        Part("n", b"7"),
        Part("t", b"null"),
        Part("flag", b"true"),
        Part("tags", b'["a"]'),
        Part("photo", png(), "a.png"),
        Part("more", png(), "b.png"),
        Part("more", png(4, 4), "c.png"),
        Part("raw", b"YWJj"),
    ]
    got = Inputs(fields).read_parts(parts)
    assert (got["text"], got["n"], got["t"], got["flag"], got["tags"]) == ("7", 7, None, True, ["a"])
    assert got["photo"].shape == (2, 3, 3)
    assert [image.shape for image in got["more"]] == [(2, 3, 3), (4, 4, 3)]
    assert (got["raw"], got["note"]) == (b"abc", None)


@pytest.mark.parametrize(
    ("parts", "place", "text"),
    [
        ([Part("n", b"seven")], "n", '"n" must be int, got "seven"'),
        ([Part("n", b"nan")], "n", '"n" must be int, got "nan"'),
        ([Part("n", b"1.0")], "n", '"n" must be int, got 1.0 (float)'),
        ([Part("n", b'{"a": 1, "a": 2}')], "n", '"n" must be int, got'),
        ([Part("n", b"1"), Part("n", b"2")], "n", '"n" stands in the form 2 times'),
        ([Part("n", b"1"), Part("s", b"\xff")], "s", '"s" must be UTF-8 text'),
        ([Part("n", b"1"), Part("m", b"2")], "m", '"m" is not declared'),
        ([], "n", '"n" is missing'),
    ],
)
def test_forms_that_do_not_fit(parts: list[Part], place: str, text: str) -> None:
    """Each refusal names the part."""
    inputs = Inputs({"n": field("int"), "s": field("str?")})
    with pytest.raises(InvalidInput) as caught:
        inputs.read_parts(parts)
    assert caught.value.field == place
    assert caught.value.message.startswith(text)
