"""The bounds a field declares beside its type: min, max, min_chars, pattern, choices and their like."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from modelapp.app import Field
from modelapp.mismatch import Mismatch, quoted, told

Bound: TypeAlias = Callable[[Any], None]
"""Raises Mismatch where the value breaks the bound."""


def of_number(field: Field) -> Sequence[Bound]:
    """`min` and `max` of an int or a float."""
    bounds: list[Bound] = []
    if field.min is not None:
        bounds.append(_at_least(field.min))
    if field.max is not None:
        bounds.append(_at_most(field.max))
    return bounds


def of_text(field: Field) -> Sequence[Bound]:
    """`min_chars`, `max_chars` and `pattern` of a str."""
    bounds: list[Bound] = []
    if field.min_chars is not None or field.max_chars is not None:
        bounds.append(_size(field.min_chars, field.max_chars, "characters"))
    if field.pattern:
        bounds.append(_matching(field.pattern))
    return bounds


def of_list(field: Field) -> Sequence[Bound]:
    """`min_items` and `max_items` of the outermost list."""
    if field.min_items is None and field.max_items is None:
        return ()
    return (_size(field.min_items, field.max_items, "items"),)


def of_choice(field: Field) -> Sequence[Bound]:
    """`choices`; true is not 1 and "1" is not 1."""
    return (_one_of(tuple(field.choices)),) if field.choices else ()


def number_text(number: float) -> str:
    """A bound as people write it: 3, not 3.0."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(number)


def _at_least(low: float) -> Bound:
    def check(value: Any) -> None:
        if value < low:
            raise Mismatch(f"must be at least {number_text(low)}", got=f", got {value}")

    return check


def _at_most(high: float) -> Bound:
    def check(value: Any) -> None:
        if value > high:
            raise Mismatch(f"must be at most {number_text(high)}", got=f", got {value}")

    return check


def _size(low: int | None, high: int | None, what: str) -> Bound:
    def check(value: Any) -> None:
        size = len(value)
        if low is not None and size < low:
            raise Mismatch(f"must have at least {low} {what}", got=f", got {size}")
        if high is not None and size > high:
            raise Mismatch(f"must have at most {high} {what}", got=f", got {size}")

    return check


def _matching(pattern: str) -> Bound:
    search = re.compile(pattern).search

    def check(value: str) -> None:
        if search(value) is None:
            raise Mismatch(f"must match the pattern {pattern}", got=f", got {quoted(value)}")

    return check


def _one_of(choices: tuple[Any, ...]) -> Bound:
    def check(value: Any) -> None:
        if not any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices):
            listed = ", ".join(quoted(choice) if isinstance(choice, str) else str(choice) for choice in choices)
            raise Mismatch(f"must be one of {listed}", got=f", got {told(value)}")

    return check
