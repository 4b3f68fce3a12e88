"""What several answers have in common, and where it is written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Field
from modelapp.fieldtype import parse
from modelapp.matchers import MISSING, Tolerance, differences, same
from modelapp.recording import INLINE_CHARS, common, is_plain, listed, place, rounded
from modelapp.tomlstyle import Style

USUAL = Tolerance()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text("abc.[]1", min_size=1, max_size=3), VALUES, max_size=4)
TOLERANCES = st.builds(Tolerance, st.sampled_from([0, 1e-6, 0.5]), st.sampled_from([0, 1e-4, 0.1]))


@given(RECORDS, TOLERANCES)
def test_what_always_comes_is_recorded_whole_and_passes(body: dict[str, Any], tolerance: Tolerance) -> None:
    """Rounding never takes more than the tolerance gives."""
    found = common([body] * 3, tolerance)
    assert found.varied == ()
    assert list(differences("", found.value, body, tolerance)) == []
    assert found.value.keys() == body.keys()


@given(st.lists(RECORDS, min_size=2, max_size=3), TOLERANCES)
def test_what_is_recorded_passes_with_every_answer_it_was_recorded_from(
    bodies: list[Any], tolerance: Tolerance
) -> None:
    """Whatever they have in common, and if it is nothing."""
    found = common(bodies, tolerance)
    if found.value is not MISSING:
        assert all(not list(differences("", found.value, body, tolerance)) for body in bodies)


@given(RECORDS, RECORDS)
def test_an_answer_goes_into_the_file_or_into_app_toml_and_no_field_into_both(body: Any, more: Any) -> None:
    """And what goes into app.toml can be written there, and is short."""
    placed = place({**body, **more}, {})
    filed = {} if placed.filed is MISSING else placed.filed
    assert {**placed.inline, **filed} == {**body, **more}
    assert not placed.inline.keys() & filed.keys()
    assert not placed.inline or len(Style().value(placed.inline)) <= INLINE_CHARS


def test_fields_that_vary_are_left_out_and_named() -> None:
    """At any depth; a list of which one item varies is left out whole, a record in it is not."""
    bodies = [
        {"a": 1, "t": n, "r": {"x": "y", "id": n}, "l": [1, n], "rows": [{"w": "a", "n": n}], "some": [1] * n}
        for n in (1, 2, 3)
    ]
    found = common(bodies, USUAL)
    assert found.value == {"a": 1, "r": {"x": "y"}, "rows": [{"w": "a"}]}
    assert found.varied == ("t", "r.id", "l", "rows[0].n", "some")


def test_a_clock_is_no_answer_though_it_moves_within_the_tolerance() -> None:
    """A test that a person wrote may still look at what varies that little."""
    bodies = [{"now_ms": 1.7e12 + n} for n in range(3)]
    assert common(bodies, USUAL).value is MISSING
    assert common(bodies, USUAL, spread=USUAL).value == {"now_ms": 1.7e12}


def test_a_field_that_does_not_always_come_varies() -> None:
    """So do values of different kinds, and lists of different lengths."""
    assert common([{"a": 1, "b": 1}, {"a": 1}], USUAL).varied == ("b",)
    assert common([{"a": 1}, {"a": True}], USUAL).value is MISSING
    assert common([{"a": None}, {"a": None}], USUAL).value == {"a": None}
    assert common([{"a": {}}, {"a": {"x": 1}}], USUAL).varied == ("a.x",)


@pytest.mark.parametrize(
    ("value", "tolerance", "short"),
    [
        (0.9829668419524347, USUAL, 0.98297),
        (0.99999999, USUAL, 1.0),
        (123456.789, USUAL, 123457.0),
        (3e-8, USUAL, 3e-8),
        (0.1 + 0.2, Tolerance(0, 0), 0.1 + 0.2),
        (0.123, Tolerance(1, 0), 0.1),
        (0.0, USUAL, 0.0),
    ],
)
def test_floats_are_as_short_as_the_tolerance_lets_them(value: float, tolerance: Tolerance, short: float) -> None:
    """Which leaves most of it to the answers to come."""
    assert rounded([value] * 3, tolerance) == short


@given(st.lists(st.floats(0.9999, 1.0001), min_size=3, max_size=3))
def test_a_rounded_number_stands_for_all_it_was_made_from(values: list[float]) -> None:
    """Where they are the same within the tolerance at all."""
    if all(same(values[0], value, USUAL) for value in values):
        assert all(USUAL.holds(rounded(values, USUAL), value) for value in values)


def test_lists_media_and_what_toml_cannot_hold_go_to_the_file() -> None:
    """Texts and numbers stay in app.toml while there is room."""
    output = {"pic": Field(name="pic", type=parse("image")), "ok": Field(name="ok", type=parse("bool"))}
    body = {
        "ok": True,
        "pic": "iVBO",
        "n": None,
        "row": [1],
        "long": "x" * 121,
        "short": "y",
        "big": 2**70,
        "r": {"a": 1},
    }
    placed = place(body, output)
    assert placed.inline == {"ok": True, "short": "y", "r": {"a": 1}}
    assert list(placed.filed) == ["pic", "n", "row", "long", "big"]
    assert place([1, 2], {}).filed == [1, 2]
    assert place({"a": 1}, {}).filed is MISSING


@pytest.mark.parametrize("value", [None, [], {"a": [1]}, {"a": None}, "\ud800", {"\ud800": 1}, 2**63, -(2**63) - 1])
def test_not_everything_is_plain(value: Any) -> None:
    """What TOML, or a reader of 64 bits, cannot hold."""
    assert not is_plain(value)


def test_what_is_listed_is_looked_at_and_nothing_else() -> None:
    """In records inside lists too, when the lists are equally long."""
    got = {"a": {"x": 1, "y": 2}, "rows": [{"w": "b", "n": 3}], "more": 1}
    assert listed({"a": {"x": 9}, "rows": [{"w": "a"}], "gone": 1}, got) == {"a": {"x": 1}, "rows": [{"w": "b"}]}
    assert listed([1], [1, 2]) == [1, 2]
