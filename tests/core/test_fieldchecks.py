"""Declared fields: bounds that do not suit a type, and values that do not suit a field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Field
from modelapp.fieldchecks import mismatch
from modelapp.fieldtype import parse
from modelapp.mismatch import Mismatch
from modelapp.values import check_of

MOOD = 'mood = { type = "str", default = "grim", choices = ["grim", "gay"] }'
PLAIN = st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("abc", max_size=4))
BOUNDS = {
    "min": st.integers(-5, 5),
    "max": st.integers(-5, 5),
    "min_chars": st.integers(0, 4),
    "max_chars": st.integers(0, 4),
    "min_items": st.integers(0, 3),
    "max_items": st.integers(0, 3),
    "pattern": st.sampled_from(["", "^a", "b$"]),
}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ('type = "list[str]", default = ["x"], choices = ["a"]', 'the default must be one of "a", got "x" (str)'),
        ('type = "list[int]", default = [1, -1], min = 0', "the default must be at least 0, got -1"),
        ('type = "list[int]", default = [1], choices = ["a"]', "a choice must be a whole number"),
        ('type = "list[int]", default = [], min_items = 1', "the default must have at least 1 items, got 0"),
        ('type = "image?", choices = ["a"]', '"choices" means nothing for a field of type image?'),
        ('type = "str", default = "", allow_hosts = ["a.test"]', '"allow_hosts" means nothing for a field of type str'),
        ('type = "bytes?", allow_hosts = ["a.test", "https://b.test/"]', '"https://b.test/" is no host'),
        ('type = "bytes?", allow_hosts = ["*"]', '"*" is no host'),
    ],
)
def test_bounds_hold_for_the_items_of_a_list(dungeon, declared, message):
    """As they do when a request comes; a bound that its type never heeds is told."""
    assert dungeon.only(dungeon.text.replace(MOOD, f"mood = {{ {declared} }}")).message == message


def test_choices_of_a_list_are_those_of_its_items(dungeon):
    """A default is a list of them."""
    app = dungeon.load(
        dungeon.text.replace(MOOD, 'mood = { type = "list[str]", default = ["b"], choices = ["a", "b"] }')
    )
    assert app.endpoints["continue"].input["mood"].default == ["b"]


@given(st.sampled_from(["str", "int", "float", "bool"]), st.booleans(), st.data())
def test_check_and_serving_agree_on_every_plain_value(word: str, many: bool, data: st.DataObject) -> None:
    """What a test or a default may hold is exactly what a request may."""
    limits = {name: data.draw(strategy) for name, strategy in BOUNDS.items() if data.draw(st.booleans())}
    choices = tuple(data.draw(st.lists(PLAIN, max_size=2)))
    field = Field(name="f", type=parse(f"list[{word}]" if many else word), choices=choices, **limits)
    value: Any = data.draw(st.one_of(PLAIN, st.lists(PLAIN, max_size=4)))
    try:
        check_of(field)(value)
    except Mismatch:
        assert mismatch(field, value)
    else:
        assert mismatch(field, value) == ""
