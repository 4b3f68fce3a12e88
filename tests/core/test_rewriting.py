"""A text changed in place. What the edits mean is proven in test_writeback.py; here, what they are made of."""

from typing import Any

import pytest

from modelapp.rewriting import Rewriting, found, identical, is_tables, parsed


def test_what_says_so_already_stays_as_it_is_spelt() -> None:
    """Of a whole table too."""
    text = Rewriting("a = { x = 0x10, y = 'b' } # c\n")
    text.put(("a",), {"y": "b", "x": 16})
    assert text.text == "a = { x = 0x10, y = 'b' } # c\n"
    text.put(("a",), {"y": "b", "x": 17})
    assert text.text == "a = { x = 17, y = 'b' } # c\n"


def test_the_index_follows_the_text() -> None:
    """An edit after an edit finds its place."""
    text = Rewriting("[a]\nx = 1\n")
    text.put(("a", "y"), [1, 2])
    text.put(("a", "y", 0), "longer")
    text.take(("a", "x"))
    text.add_item(("t",), {"k": 1})
    text.add_item(("t",), {"k": 2})
    assert text.text == '[a]\ny = ["longer", 2]\n\n[[t]]\nk = 1\n\n[[t]]\nk = 2\n'


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, False),
        (1, True, False),
        (float("nan"), float("nan"), True),
        ([1], (1,), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({}, None, False),
    ],
)
def test_identical_is_the_same_value_of_the_same_kind(left: Any, right: Any, same: bool) -> None:
    """Not what == says."""
    assert identical(left, right) is same


def test_looking_up_what_is_not_there_finds_nothing() -> None:
    """Nor does looking through a text or a number, or by the wrong kind of part."""
    data = parsed("a = [{ x = 'text' }]\n")
    assert found(data, ("a", 0, "x")) == "text"
    for path in (("b",), ("a", 1), ("a", "0"), ("a", 0, "x", 0), ("a", -1)):
        assert found(data, path) is None


def test_a_list_of_tables_holds_tables_alone() -> None:
    """An empty list is one."""
    assert is_tables([])
    assert is_tables([{}])
    assert not is_tables([{}, 1])
    assert not is_tables({})
