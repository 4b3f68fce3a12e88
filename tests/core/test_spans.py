"""The span index agrees with tomli about everything tomli accepts."""

import itertools
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from modelapp.spans import KeyPath, index, key_at

BLANKS = st.sampled_from(["", " ", "  ", "\t"])
FILLER = st.sampled_from(["", " ", "\n", "\n  ", ' # [no] = "header"\n', "\n# it's, a } comment ]\n\n"])
LINE_ENDS = st.sampled_from(["", " ", " # a = [1, { b = 'c' }]", "\t#"])
WORDS = st.text(st.sampled_from("abcXYZ019 .,=#[]{}'é漢\t"), max_size=8)


def _basic(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("é", "\\u00e9")
    return f'"{escaped}"'


STRINGS = st.one_of(
    WORDS.map(_basic),
    WORDS.map(lambda text: "'" + text.replace("'", "") + "'"),
    st.tuples(WORDS, WORDS).map(lambda pair: f'"""\n{pair[0]}""{pair[1]}\\"\\\n   x\n"y""""'),
    st.tuples(WORDS, WORDS).map(
        lambda pair: "'''" + pair[0].replace("'", "") + "\n# '' " + pair[1].replace("'", "") + "'''"
    ),
    st.sampled_from(['""', "''", '"""a"""""', "'''a'''''", '"\\\\"', "'\\'", '"# [x]"', '"""\\""""']),
)
NAMES = st.sampled_from(["key", "a-b", "1", "é.", "q q", "#", '"', "[x]", "true", "=", "\\"])
SCALARS = st.one_of(
    STRINGS,
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["true", "false", "0xDEAD_BEEF", "0o17", "0b1", "1_000", "+7", "-0.5e+3", "inf", "-inf"]),
    st.sampled_from(
        ["1979-05-27", "07:32:00.5", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00-07:00", "1979-05-27 07:32"]
    ),
)


@st.composite
def _keys(draw: Any, numbers: "itertools.count[int]", *, most: int = 3) -> str:
    """A key nobody used before, bare, quoted or dotted, with blanks around its dots."""
    parts = []
    for _ in range(draw(st.integers(1, most))):
        name = f"{draw(NAMES)}{next(numbers)}"
        bare = [name] if name.isascii() and name.replace("-", "").isalnum() else []
        parts.append(draw(st.sampled_from([_basic(name), f"'{name}'", *bare])))
    return draw(st.sampled_from([".", " . ", ".\t"])).join(parts)


@st.composite
def _values(draw: Any, numbers: "itertools.count[int]", depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth else "scalar"
    if kind == "scalar":
        return str(draw(SCALARS))
    size = draw(st.integers(0, 3))
    items = [draw(_values(numbers, depth - 1)) for _ in range(size)]
    if kind == "table":
        items = [f"{draw(_keys(numbers))}{draw(BLANKS)}={draw(BLANKS)}{item}" for item in items]
    filled = [f"{draw(FILLER)}{item}{draw(FILLER)}" for item in items]
    end = draw(st.sampled_from(["", ","])) if items else ""
    body = ",".join(filled) + end + draw(FILLER)
    return f"[{body}]" if kind == "array" else f"{{{body}}}"


@st.composite
def _pairs(draw: Any, numbers: "itertools.count[int]") -> list[str]:
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        key, value = draw(_keys(numbers)), draw(_values(numbers))
        lines.append(f"{draw(BLANKS)}{key}{draw(BLANKS)}={draw(BLANKS)}{value}{draw(LINE_ENDS)}")
        lines.extend(draw(st.sampled_from([[], [""], ['# it\'s a "comment" = [']])))
    return lines


@st.composite
def documents(draw: Any) -> str:
    """TOML texts of every spelling: all kinds of keys, strings, tables, arrays of tables, comments and line ends."""
    numbers = itertools.count()
    lines = draw(_pairs(numbers))
    for _ in range(draw(st.integers(0, 3))):
        name = draw(_keys(numbers, most=2))
        many = draw(st.booleans())
        for _ in range(draw(st.integers(1, 3)) if many else 1):
            inner = f"{draw(BLANKS)}{name}{draw(BLANKS)}"
            lines.append(f"{draw(BLANKS)}{'[[' if many else '['}{inner}{']]' if many else ']'}{draw(LINE_ENDS)}")
            lines += draw(_pairs(numbers))
            if draw(st.booleans()):
                below = f"{name}.{draw(_keys(numbers, most=1))}"
                nested = draw(st.sampled_from(["[{}]", "[[{}]]"])).format(below)
                lines += [nested, *draw(_pairs(numbers))]
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n# end"]))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return draw(st.sampled_from(["", "\ufeff"])) + text


def _paths(value: Any, path: KeyPath = ()) -> list[tuple[KeyPath, Any]]:
    """Every key and every item of a document."""
    found: list[tuple[KeyPath, Any]] = [(path, value)] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _paths(item, (*path, key))
    return found


@given(documents())
def test_values_read_alone_are_the_values_of_the_document(text: str) -> None:
    """The characters of every indexed value, read by tomli on their own, are that value."""
    data = dict(_paths(tomli.loads(text.removeprefix("\ufeff"))))
    spans = index(text)
    for path, span in spans.values.items():
        assert tomli.loads(f"x = {text[span.start : span.end]}")["x"] == data[path]


@given(documents())
def test_nothing_is_missing_and_nothing_is_made_up(text: str) -> None:
    """Every key has its characters, every scalar and item its value, and no path is indexed that is not there."""
    data = dict(_paths(tomli.loads(text.removeprefix("\ufeff"))))
    spans = index(text)
    assert set(spans.values) <= set(data)
    assert set(spans.keys) == {path for path in data if isinstance(path[-1], str) or path in spans.headers}
    plain = {path for path, value in data.items() if not isinstance(value, (dict, list))}
    assert plain <= set(spans.values)
    assert {path for path in data if isinstance(path[-1], int)} <= set(spans.values) | set(spans.headers)


@given(documents())
def test_keys_and_headers_stand_where_the_index_says(text: str) -> None:
    """A key's characters spell its last part, a header's characters are its brackets and what is between."""
    spans = index(text)
    for path, span in spans.keys.items():
        name = [part for part in path if isinstance(part, str)][-1]
        assert tomli.loads(f"{text[span.start : span.end]} = 1") == {name: 1}
    for path, span in spans.headers.items():
        table: Any = tomli.loads(text[span.start : span.end])
        for part in path:
            # An item's own header makes a list; one further down speaks of the item without its number.
            if isinstance(part, str):
                table = table[part]
            elif isinstance(table, list):
                table = table[0]
        assert table == {}


@given(documents())
def test_a_pair_reaches_from_its_key_to_the_end_of_its_value(text: str) -> None:
    """The characters of a pair are a TOML document of one value: that of its path."""
    data = dict(_paths(tomli.loads(text.removeprefix("\ufeff"))))
    spans = index(text)
    for path, span in spans.pairs.items():
        found = _paths(tomli.loads(text[span.start : span.end]))
        key = tuple(part for part in path if isinstance(part, str))
        assert any(key[-len(tail) :] == tail and value == data[path] for tail, value in found)
        assert spans.values[path].end == span.end


def test_headers_below_a_list_of_tables_belong_to_its_latest_item() -> None:
    """[tests.input] below the second [[tests]] is the input of the second test."""
    text = '[[tests]]\nname = "a"\n[tests.input]\nx = 1\n[[tests]]\n[tests.input]\nx = 2\n'
    spans = index(text)
    assert text[slice(*spans.values["tests", 1, "input", "x"])] == "2"
    assert spans.headers["tests", 1].start == text.rindex("[[tests]]")
    assert spans.headers["tests", 1, "input"].start == text.rindex("[tests.input]")


def test_a_table_that_only_deeper_headers_make_has_the_key_in_the_first_of_them() -> None:
    """`models` in [models.story] is where "models" is written."""
    text = "[models.story]\n[models.poem]\n"
    assert text[slice(*index(text).keys[("models",)])] == "models"
    assert index(text).keys[("models",)].start == 1
    assert ("models",) not in index(text).headers


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "\ufeff", "\ufeff# x\r\n"])
def test_texts_without_keys_have_an_empty_index(text: str) -> None:
    """Nothing in, nothing out."""
    assert index(text).keys == {}


def test_a_key_is_read_where_it_begins() -> None:
    """`key_at` gives the parts of a dotted key and its characters without the blanks around."""
    text = 'x = 1\na . "b c".d = 2\n'
    parts, span = key_at(text, 6)
    assert parts == ("a", "b c", "d")
    assert text[slice(*span)] == 'a . "b c".d'
