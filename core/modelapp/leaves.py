"""What nested lists hold at their ends, before numpy makes something else of it."""

from collections.abc import Collection
from typing import Any


def leaf_kinds(value: Any) -> set[type]:
    """The types of all that is no list in nested lists."""
    if type(value) is not list:
        return {type(value)}
    kinds = set(map(type, value))
    if list in kinds:
        kinds.discard(list)
        for item in value:
            if type(item) is list:
                kinds |= leaf_kinds(item)
    return kinds


def told_kinds(kinds: Collection[type]) -> str:
    """Those types for people: "bool and int"."""
    return " and ".join(sorted("null" if kind is type(None) else kind.__name__ for kind in kinds)) or "nothing"
