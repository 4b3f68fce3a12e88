"""Declared fields as JSON Schema, held against the checks that really run."""

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from modelapp.answers import Outputs
from modelapp.app import Field
from modelapp.errors import RequestError
from modelapp.fieldtype import FieldType, parse
from modelapp.schemas import field_schema, has_media, object_schema
from modelapp.values import Inputs

types = st.recursive(
    st.builds(
        FieldType, st.sampled_from(["str", "int", "float", "bool", "json", "box", "tensor"]), st.none(), st.booleans()
    ),
    lambda inner: st.builds(FieldType, st.just("list"), inner, st.booleans()),
    max_leaves=3,
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "min": st.integers(-3, 3),
        "max": st.integers(-3, 3),
        "min_chars": st.integers(0, 3),
        "max_chars": st.integers(0, 3),
        "min_items": st.integers(0, 2),
        "max_items": st.integers(0, 3),
        "pattern": st.just("[a-c]"),
        "choices": st.just(("a", 1, 2)),
        "dtype": st.sampled_from(["float32", "int64", "bool", "string"]),
        "shape": st.sampled_from([(), (-1,), (2,), (-1, 2)]),
    },
)
fields = st.builds(lambda type_, bounds: Field(name="", type=type_, **bounds), types, limits) | st.builds(
    lambda inner: Field(name="", type=parse("list[record]"), fields={"a": Field(name="", type=inner)}), types
)
numbers = st.integers(-5, 5) | st.floats(-5, 5).filter(lambda x: not x.is_integer())
keys = st.sampled_from(["a", "x_min", "y_min", "x_max", "y_max", "label", "score"])
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(alphabet="abcd", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=8,
)


def accepted(declared: Field, document: Any) -> bool:
    """Whether a request of this document is taken."""
    try:
        Inputs({"x": declared}).read(document)
    except RequestError:
        return False
    return True


@given(fields, values | st.builds(lambda value: {"x": value}, values))
def test_the_schema_says_what_the_checks_do(declared: Field, document: Any) -> None:
    """A document is valid if, and only if, the endpoint takes it; ragged and shapeless tensors left aside."""
    assume(declared.type.innermost != "tensor" or declared.shape)
    valid = Draft202012Validator(object_schema({"x": declared})).is_valid(document)
    assert accepted(declared, document) or not valid or _is_ragged(declared)
    if accepted(declared, document):
        assert valid


def _is_ragged(declared: Field) -> bool:
    """What a schema cannot say: neighbours of equal length, bounds on a tensor's numbers."""
    return declared.type.innermost == "tensor"


@given(fields, values)
def test_answers_fit_their_schema(declared: Field, value: Any) -> None:
    """Whatever is sent as a success is what the document promises."""
    try:
        body = Outputs({"x": declared}).encode({"x": value})
    except RequestError:
        return
    schema = object_schema({"x": declared}, answer=True)
    Draft202012Validator(schema).validate(json.loads(body))


def test_descriptions_defaults_and_media() -> None:
    """What a field says of itself; how media travel in and out."""
    declared = Field(name="n", type=parse("int"), default=3, doc="How many")
    assert field_schema(declared) == {"type": "integer", "default": 3, "description": "How many"}
    photo = Field(name="p", type=parse("list[image]"))
    assert field_schema(photo)["items"]["contentMediaType"] == "image/*"
    assert field_schema(photo, answer=True)["items"]["contentMediaType"] == "image/png"
    assert has_media({"p": photo})
    assert not has_media({"n": declared})
    assert object_schema({}) == {"type": "object"}
