"""What [[tests]] may say about an answer."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp import matchers
from modelapp.matchers import MISSING, Mismatch, Tolerance, resolve

EXACT = Tolerance(0, 0)
USUAL = Tolerance()
ANSWER = {
    "label": "shoe",
    "score": 0.83,
    "count": 12,
    "ok": True,
    "none": None,
    "keywords": ["red", "leather"],
    "boxes": [{"label": "person", "score": 0.91}, {"label": "car", "score": 0.2}],
    "a.b": "a name with a dot",
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def found(mismatches: Any) -> list[Mismatch]:
    return list(mismatches)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("label", "shoe"),
        ("boxes[0].label", "person"),
        ("boxes[-1].score", 0.2),
        ("a.b", "a name with a dot"),
        ("boxes[2].label", MISSING),
        ("boxes.label", MISSING),
        ("label[0]", MISSING),
        ("nothing", MISSING),
        ("boxes[x]", MISSING),
        ("none", None),
    ],
)
def test_a_path_leads_to_the_value_or_to_nothing(path: str, expected: Any) -> None:
    """A path is a field, then .field or [index]; whatever it does not fit is missing, never an exception."""
    assert resolve(ANSWER, path) == expected


@given(values, st.text(max_size=10))
def test_no_path_and_no_answer_raises(answer: Any, path: str) -> None:
    """Any text may stand as a path, any JSON as an answer."""
    resolve(answer, path)


@given(values)
def test_a_value_matches_itself_exactly(value: Any) -> None:
    """What an answer holds, expected, passes without any tolerance."""
    assert found(matchers.expect({"field": value}, {"field": value}, EXACT)) == []


@given(values, values)
def test_matching_is_the_same_as_having_no_difference(left: Any, right: Any) -> None:
    """`same` and `differences` never disagree."""
    assert matchers.same(left, right, USUAL) == (not found(matchers.differences("x", left, right, USUAL)))


def test_fields_that_are_not_listed_are_free() -> None:
    """A test names what it cares about, in nested records too."""
    assert found(matchers.expect({"label": "shoe"}, ANSWER, USUAL)) == []
    assert found(matchers.expect({"boxes": [{"label": "person"}, {"label": "car"}]}, ANSWER, USUAL)) == []


def test_a_missing_field_is_a_mismatch() -> None:
    """Nothing is not a value."""
    assert found(matchers.expect({"colour": None}, ANSWER, USUAL)) == [Mismatch("colour", "null", "nothing")]


def test_a_list_must_have_the_expected_length() -> None:
    """A longer or shorter list differs as a whole."""
    (mismatch,) = found(matchers.expect({"keywords": ["red"]}, ANSWER, USUAL))
    assert mismatch.path == "keywords"
    assert "1 items" in mismatch.expected
    assert "2 items" in mismatch.got


def test_the_first_difference_is_placed_inside_lists_and_records() -> None:
    """The path of a mismatch leads to the very value."""
    wanted = {"boxes": [{"score": 0.91}, {"score": 0.3}]}
    assert found(matchers.expect(wanted, ANSWER, USUAL)) == [Mismatch("boxes[1].score", "0.3", "0.2")]


@pytest.mark.parametrize(
    ("expected", "got"), [(True, 1), (1, True), (False, 0), (0.0, False), ([True], [1]), ("1", 1), (1, "1"), (None, 0)]
)
def test_a_bool_is_no_number_and_a_text_is_neither(expected: Any, got: Any) -> None:
    """Python's True == 1 must not let a wrong answer pass."""
    assert len(found(matchers.expect({"x": expected}, {"x": got}, Tolerance(10, 10)))) == 1


@pytest.mark.parametrize(
    ("expected", "got", "abs_tol", "rel_tol", "holds"),
    [
        (0.5, 0.5000001, 1e-6, 0, True),
        (0.5, 0.51, 1e-6, 0, False),
        (100.0, 100.009, 0, 1e-4, True),
        (100.0, 100.02, 0, 1e-4, False),
        (12, 12.0, 0, 0, True),
        (100_000, 100_001, 1e-6, 1e-4, False),  # counts are exact unless abs_tol says otherwise
        (100_000, 100_001, 1, 0, True),
        (math.nan, math.nan, 0, 0, True),
        (math.nan, 1.0, 10, 10, False),
        (1.0, math.nan, 10, 10, False),
        (math.inf, math.inf, 0, 0, True),
        (math.inf, 1e308, 10, 10, False),
        (-math.inf, math.inf, 10, 10, False),
        (10**400, 1.5, 10, 10, False),
        (10**400, 10**400 + 1, 1, 0, True),
    ],
)
def test_tolerance_of_numbers(expected: float, got: float, abs_tol: float, rel_tol: float, holds: bool) -> None:
    """Floats match within either tolerance, integers within abs_tol alone, NaN only itself."""
    assert Tolerance(abs_tol, rel_tol).holds(expected, got) is holds


def test_tolerance_reaches_into_lists() -> None:
    """Each number of a list of floats has the tolerance."""
    assert found(matchers.expect({"v": [[1.0, 2.0]]}, {"v": [[1.00001, 2.0]]}, USUAL)) == []
    assert found(matchers.expect({"v": [[1.0, 2.0]]}, {"v": [[1.1, 2.0]]}, USUAL))[0].path == "v[0][0]"


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_bounds_agree_with_comparison(bound: float, got: float) -> None:
    """At least and at most are >= and <=, both including the bound itself."""
    assert (not found(matchers.expect_min({"x": bound}, {"x": got}))) == (got >= bound)
    assert (not found(matchers.expect_max({"x": bound}, {"x": got}))) == (got <= bound)


@pytest.mark.parametrize("got", [math.nan, True, "1", None, [1], MISSING])
def test_nothing_but_a_number_is_within_bounds(got: Any) -> None:
    """NaN, true and texts satisfy neither bound."""
    answer = {} if got is MISSING else {"x": got}
    assert len(found(matchers.expect_min({"x": -1}, answer))) == 1
    assert len(found(matchers.expect_max({"x": 9}, answer))) == 1


def test_a_bound_that_is_nan_holds_for_nothing() -> None:
    """A bound that cannot be compared does not pass."""
    assert len(found(matchers.expect_min({"x": math.nan}, {"x": 1.0}))) == 1


@pytest.mark.parametrize(
    ("path", "value", "holds"),
    [
        ("keywords", ["red", "leather"], True),
        ("keywords", "red", True),
        ("keywords", ["red", "blue"], False),
        ("keywords", [], False),
        ("label", "ho", True),
        ("label", ["sh", "oe"], True),
        ("label", "boot", False),
        ("boxes[0]", {"label": "person"}, True),
        ("boxes[0]", {"label": "car"}, False),
        ("boxes[0]", "label", True),
        ("boxes[0]", "colour", False),
        ("count", 1, False),
        ("nothing", "red", False),
        ("score", [0.83], False),
    ],
)
def test_contains(path: str, value: Any, holds: bool) -> None:
    """Lists contain items, texts parts, records fields; asking for nothing proves nothing."""
    assert (not found(matchers.expect_contains({path: value}, ANSWER, USUAL))) is holds


def test_contains_names_only_what_is_absent() -> None:
    """The explanation lists the items that were not found."""
    (mismatch,) = found(matchers.expect_contains({"keywords": ["red", "blue"]}, ANSWER, USUAL))
    assert mismatch.expected == 'containing "blue"'


@pytest.mark.parametrize(("pattern", "holds"), [("^sh", True), ("(?i)SHOE", True), ("^oe", False), ("(", False)])
def test_match_finds_a_regular_expression(pattern: str, holds: bool) -> None:
    """The expression may match anywhere; one that is none fails instead of raising."""
    assert (not found(matchers.expect_match({"label": pattern}, ANSWER))) is holds


@pytest.mark.parametrize("path", ["count", "nothing", "keywords"])
def test_match_wants_a_text(path: str) -> None:
    """A number is not matched by its digits."""
    assert len(found(matchers.expect_match({path: "."}, ANSWER))) == 1


NATURAL = {"error": {"code": "invalid_input", "message": 'input "prompt" is empty', "field": "prompt"}}


@pytest.mark.parametrize(
    ("status", "contains", "body", "holds"),
    [
        (422, "", NATURAL, True),
        (422, "prompt", NATURAL, True),
        (422, "PROMPT", NATURAL, True),
        (422, "invalid_input", NATURAL, True),
        (422, "image", NATURAL, False),
        (400, "prompt", NATURAL, False),
        (422, "prompt", {"error": 'input "prompt" is empty'}, True),
        (422, "prompt", "plain prompt text", True),
    ],
)
def test_expect_error(status: int, contains: str, body: Any, holds: bool) -> None:
    """Status and words must both be right, whichever protocol shaped the error."""
    assert (not found(matchers.expect_error(status, contains, 422, body))) is holds


def test_an_answer_is_not_an_expected_error() -> None:
    """200 where an error was expected shows the answer that came."""
    (mismatch,) = found(matchers.expect_error(422, "prompt", 200, {"text": "..."}))
    assert mismatch == Mismatch("", 'error 422 containing "prompt"', '200 {"text": "..."}')


@given(values)
def test_shown_values_are_short(value: Any) -> None:
    """No explanation floods the screen."""
    assert len(matchers.show(value)) < 200
