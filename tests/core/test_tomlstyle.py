"""Values in TOML, in the style of the text around them."""

import datetime
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from modelapp.spans import index
from modelapp.tomlstyle import WIDTH, Style, style_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.dates(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, TEXTS, st.sampled_from(["", "  ", "\t"]))
def test_a_value_reads_back_as_it_was(value: Any, key: str, indent: str) -> None:
    """On one line or wrapped, with its type: 1.0 is no 1."""
    style = Style()
    read = tomli.loads(f"x = {style.value(value)}")["x"]
    assert repr(read) == repr(value)
    lines = style.lines(style.key([key]), value, indent)
    assert tomli.loads("\n".join(lines)) == {key: value}
    assert all(line.startswith(indent) for line in lines)


@given(st.dictionaries(TEXTS, st.integers() | st.text("abc", max_size=50), max_size=6))
def test_no_line_is_longer_than_it_must_be(value: dict[str, Any]) -> None:
    """A table that does not fit has a line for each key."""
    assert max(map(len, Style().lines("expect", value))) <= max(WIDTH, *(len(key) * 6 + 99 for key in value), 0)


def test_numbers_fill_their_lines() -> None:
    """Thousands of them are not thousands of lines."""
    lines = Style().lines("x", [0.5] * 100)
    assert len(lines) == 7
    assert len(lines[1]) > WIDTH - 6


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("", Style()),
        ("a = { x = 1 }", Style()),
        ("a={x=1}\nb={}\n", Style(padding="", equals="=")),
        ("a = {x = 1}\r\n", Style(newline="\r\n", padding="")),
        ("a      = 1\nbb     = 2\n", Style()),
        ("[a]\r\n[b]\n[c]\n", Style()),
    ],
)
def test_the_style_of_a_text_is_that_of_most_of_it(text: str, style: Style) -> None:
    """Aligned equals signs are not imitated."""
    assert style_of(text, index(text)) == style


@pytest.mark.parametrize("value", [None, [None], {"x": {"y": None}}, "\ud800", {"\udfff": 1}, {1: 2}, b"x", object()])
def test_what_toml_cannot_hold_is_refused(value: Any) -> None:
    """null, half a surrogate pair, keys that are no texts, anything that is no plain value."""
    with pytest.raises(ValueError, match="TOML cannot hold"):
        Style().value(value)


def test_moments_are_written_as_toml_has_them() -> None:
    """With their offset."""
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert Style().value([moment, moment.date()]) == "[2026-01-02T03:04:05+00:00, 2026-01-02]"
