"""Values are taken as they are or refused: nothing is coerced."""

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.fieldtype import FieldType, parse
from modelapp.strict import Refused, remedy, structure, without_none

PLAIN = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
    st.dates(),
)


@given(PLAIN, st.sampled_from([int, bool, str, float]))
def test_a_value_is_kept_exactly_or_refused(value: Any, wanted: type) -> None:
    """Only a value of that very type passes, and unchanged; a float takes whole numbers too, as the nearest one."""
    allowed = (int, float) if wanted is float else (wanted,)
    if type(value) in allowed:
        read = structure(value, wanted, "key")
        assert read == wanted(value)
        assert type(read) is wanted
    else:
        with pytest.raises(Refused):
            structure(value, wanted, "key")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_is_finite(value: float) -> None:
    """TOML has nan and inf; no setting is one."""
    with pytest.raises(Refused, match="must be a finite number"):
        structure(value, float, "timeout_s")


@pytest.mark.parametrize(
    ("value", "wanted", "message", "label", "fix"),
    [
        ("7", int, "must be a whole number", "this is a string", 7.0),
        (True, int, "must be a whole number", "this is true", None),
        (1.5, int, "must be a whole number", "this is a number", 2),
        (1, bool, "must be true or false", "this is a whole number", True),
        ("yes", bool, "must be true or false", "this is a string", True),
        ([1], str, "must be a string", "this is a list", None),
        (7, str, "must be a string", "this is a whole number", "7"),
        (False, float, "must be a number", "this is false", None),
        ({}, Path, "must be a string", "this is a table", None),
        ("lft", Literal["left", "right"], 'must be one of "left", "right"', "not one of them", "left"),
        (1, Literal[True, 2], "must be one of True, 2", "not one of them", None),
        (5, FieldType, "must be a type word", "this is a whole number", None),
        ("list[integer]?", FieldType, 'has the unknown type "integer"', "no type is called so", "list[int]?"),
        ("", FieldType, 'has the unknown type ""', "no type is called so", None),
    ],
)
def test_a_refusal_says_what_was_wanted_and_what_would_do(
    value: Any, wanted: Any, message: str, label: str, fix: Any
) -> None:
    """Message, label and the value that was most likely meant."""
    with pytest.raises(Refused) as caught:
        structure(value, wanted, "key")
    assert (caught.value.message, caught.value.label, caught.value.fix) == (message, label, fix)


@pytest.mark.parametrize("value", ["ab", 7, True, {"a": 1}])
@pytest.mark.parametrize(
    "wanted", [list, list[str], tuple[str, ...], tuple[str, str], set[str], frozenset[str], Sequence[str]]
)
def test_only_a_list_is_a_list(value: Any, wanted: Any) -> None:
    """Python would walk through the characters of a text; here it is one value."""
    with pytest.raises(Refused, match="must be a list"):
        structure(value, wanted, "key")


def test_a_list_becomes_the_wanted_collection() -> None:
    """The items are as strict as single values, at any depth; a tuple of fixed length has that length."""
    assert structure([1, 2], set[int], "key") == {1, 2}
    assert structure([["a"], []], tuple[list[str], ...], "key") == (["a"], [])
    assert structure(["a"], list[str] | str, "key") == ["a"]
    assert structure("a", list[str] | str, "key") == "a"
    assert structure([1, "a"], tuple[int, str], "key") == (1, "a")
    for value, wanted in (([1], list[str]), (["ab"], set[tuple[str, ...]]), ([1], tuple[int, str])):
        with pytest.raises(Refused):
            structure(value, wanted, "key")


def test_types_of_app_toml_and_of_plugins_are_read() -> None:
    """Type words, paths, literals, enumerations and unions of plain types."""
    level = enum.Enum("level", {"ALL": "all"})
    assert structure("list[str?]", FieldType, "type") == parse("list[str?]")
    assert structure("a/b", Path, "cache") == Path("a/b")
    assert structure("left", Literal["left"], "side") == "left"
    assert structure("all", level, "level") is level["ALL"]
    assert structure("auto", int | str, "threads") == "auto"
    assert structure(3, int | str, "threads") == 3
    with pytest.raises(Refused):
        structure(True, int | str, "threads")


@pytest.mark.parametrize(
    ("value", "key", "number"),
    [
        ("1500ms", "timeout_s", 1.5),
        ("2 min", "timeout_s", 120),
        ("15", "max_wait_ms", 15),
        ("0.1s", "max_wait_ms", 100),
        ("500kb", "max_body_mb", 0.5),
        ("15kg", "timeout_s", None),
        ("soon", "timeout_s", None),
    ],
)
def test_a_text_with_a_unit_becomes_a_number_in_the_unit_of_its_key(value: str, key: str, number: float | None) -> None:
    """The remedy converts between units of the same kind and guesses nothing else."""
    assert remedy(value, float, key) == number


def test_none_is_taken_out_of_a_type() -> None:
    """A key that may be left out wants the rest of its type when it is there."""
    assert without_none(int | None) is int
    assert without_none(int | str | None) == int | str
    assert without_none(str) is str
