"""What `[[tests]]` may say about an answer. Each matcher is a function that yields the places where it does not hold.

Values are those of JSON. A path is a field, then `.field` or `[index]`: "boxes[0].label".
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import attrs

_SHOWN = 160
"""How many characters of a value an explanation shows."""


@attrs.frozen
class Mismatch:
    """One place where an answer is not as expected; both sides as text for people."""

    path: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path} expected {self.expected}, got {self.got}".strip()


@attrs.frozen
class Tolerance:
    """Two numbers match when they differ by at most abs_tol or rel_tol times the larger; integers by abs_tol alone."""

    abs_tol: float = 1e-6
    rel_tol: float = 1e-4

    def holds(self, expected: float, got: float) -> bool:
        """NaN matches NaN alone, an infinity itself alone."""
        if expected == got:
            return True
        if isinstance(expected, int) and isinstance(got, int):
            return abs(expected - got) <= self.abs_tol
        try:
            left, right = float(expected), float(got)
        except OverflowError:  # an integer beyond the range of floats
            return False
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        if math.isinf(left) or math.isinf(right):
            return False
        return abs(left - right) <= max(self.abs_tol, self.rel_tol * max(abs(left), abs(right)))


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""What a path leads to where the answer holds no such place."""


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def show(value: Any) -> str:
    """A value as short text."""
    if value is MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def resolve(answer: Any, path: str) -> Any:
    """The value at `path`, or MISSING. A field whose name is the whole path comes first."""
    if isinstance(answer, Mapping) and path in answer:
        return answer[path]
    rest = path
    value = answer
    while rest:
        part = re.match(r"\[(-?\d+)\]|\.?([^.\[\]]+)", rest)
        if part is None:
            return MISSING
        index, name = part.groups()
        if index is not None:
            value = _item(value, int(index))
        else:
            value = value.get(name, MISSING) if isinstance(value, Mapping) else MISSING
        if value is MISSING:
            return MISSING
        rest = rest[part.end() :]
    return value


def _item(value: Any, index: int) -> Any:
    if not isinstance(value, list) or not -len(value) <= index < len(value):
        return MISSING
    return value[index]


def expect(wanted: Mapping[str, Any], answer: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    """Each listed place holds the listed value; places not listed are free, in nested records too."""
    for path, value in wanted.items():
        yield from differences(path, value, resolve(answer, path), tolerance)


def differences(path: str, expected: Any, got: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    """The first difference of each branch. A list must have the expected length."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for name, value in expected.items():
            below = f"{path}.{name}" if path else str(name)
            yield from differences(below, value, got.get(name, MISSING), tolerance)
    elif _is_list(expected) and _is_list(got):
        if len(expected) != len(got):
            yield Mismatch(path, f"{len(expected)} items {show(expected)}", f"{len(got)} items {show(got)}")
            return
        for index, (left, right) in enumerate(zip(expected, got, strict=True)):
            yield from differences(f"{path}[{index}]", left, right, tolerance)
    elif not _equal(expected, got, tolerance):
        yield Mismatch(path, show(expected), show(got))


def same(expected: Any, got: Any, tolerance: Tolerance) -> bool:
    """Whether two values match, numbers within the tolerance."""
    return next(differences("", expected, got, tolerance), None) is None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _equal(expected: Any, got: Any, tolerance: Tolerance) -> bool:
    if is_number(expected) and is_number(got):
        return tolerance.holds(expected, got)
    return type(expected) is type(got) and bool(expected == got)


def expect_min(wanted: Mapping[str, float], answer: Any) -> Iterator[Mismatch]:
    """Each listed place holds a number of at least the listed value."""
    return _bounds(wanted, answer, "at least", lambda got, bound: got >= bound)


def expect_max(wanted: Mapping[str, float], answer: Any) -> Iterator[Mismatch]:
    """Each listed place holds a number of at most the listed value."""
    return _bounds(wanted, answer, "at most", lambda got, bound: got <= bound)


def _bounds(
    wanted: Mapping[str, float], answer: Any, words: str, holds: Callable[[float, float], bool]
) -> Iterator[Mismatch]:
    for path, bound in wanted.items():
        got = resolve(answer, path)
        if not is_number(got) or not holds(got, bound):
            yield Mismatch(path, f"{words} {show(bound)}", show(got))


def expect_contains(wanted: Mapping[str, Any], answer: Any, tolerance: Tolerance) -> Iterator[Mismatch]:
    """A list contains each item, a text each part, a record each listed field."""
    for path, value in wanted.items():
        got = resolve(answer, path)
        if isinstance(value, Mapping) and isinstance(got, Mapping):
            yield from differences(path, value, got, tolerance)
            continue
        parts = list(value) if _is_list(value) else [value]
        missing = [part for part in parts if not _contains(got, part, tolerance)]
        if missing or not parts:
            yield Mismatch(path, f"containing {', '.join(map(show, missing)) or 'something'}", show(got))


def _contains(got: Any, part: Any, tolerance: Tolerance) -> bool:
    if isinstance(got, str):
        return isinstance(part, str) and part in got
    if isinstance(got, Mapping):
        return isinstance(part, str) and part in got
    return _is_list(got) and any(same(part, item, tolerance) for item in got)


def expect_match(wanted: Mapping[str, str], answer: Any) -> Iterator[Mismatch]:
    """Each listed place holds a text in which the regular expression is found."""
    for path, pattern in wanted.items():
        got = resolve(answer, path)
        try:
            found = isinstance(got, str) and re.search(pattern, got)
        except re.error as error:
            yield Mismatch(path, f"a text matching {pattern!r}, which is no regular expression: {error}", show(got))
            continue
        if not found:
            yield Mismatch(path, f"a text matching {pattern!r}", show(got))


def expect_error(status: int, contains: str, got_status: int, body: Any) -> Iterator[Mismatch]:
    """The answer is an error with this status, whose text contains `contains`, in any letter case."""
    wanted = f"error {status}" + (f" containing {show(contains)}" if contains else "")
    text = error_text(body)
    if got_status != status or contains.casefold() not in text.casefold():
        yield Mismatch("", wanted, f"{got_status} {show(body)}")


def error_text(body: Any) -> str:
    """The words of an error answer, whichever protocol shaped it."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        return " ".join(str(error[name]) for name in ("code", "message", "field") if error.get(name))
    return str(error)
