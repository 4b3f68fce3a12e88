"""What the answers to one call have in common, and where it is written down: app.toml, or a file beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from modelapp import matchers
from modelapp.app import AppTest, Field
from modelapp.fieldtype import MEDIA
from modelapp.matchers import MISSING, Tolerance, is_number, same
from modelapp.tomlstyle import Style

CALLS = 3
"""How often a call is made before its answer counts as one that comes each time."""
INLINE_CHARS = 120
"""The most characters that recorded values take in app.toml; what does not fit goes to a file."""
EXACT = Tolerance(0, 0)
_INT64 = 2**63


@attrs.frozen
class Written:
    """What became of one test. `how` is "recorded", "accepted" or "saved"; `varied` and `hidden` are places left out,
    since they are not the same each time, or sensitive.
    """

    test: str
    how: str
    keys: tuple[str, ...]
    file: str = ""
    varied: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


@attrs.frozen
class Left:
    """Places that are not recorded."""

    varied: tuple[str, ...]
    hidden: tuple[str, ...]


class Unrecordable(Exception):
    """Nothing can be recorded; the text says why."""


@attrs.frozen
class Common:
    """What several values share, MISSING where nothing, and the places that are not the same in all."""

    value: Any
    varied: tuple[str, ...] = ()


def common(values: Sequence[Any], tolerance: Tolerance, path: str = "", *, spread: Tolerance = EXACT) -> Common:
    """Records share the fields that are the same in all of them, lists must be the same in every item.

    Floats are rounded to what `tolerance` keeps. They are the same within `spread`, which is nothing unless told: a
    clock changes little from call to call, and is no answer.
    """
    first = values[0]
    if all(isinstance(value, Mapping) for value in values):
        return _common_fields(values, tolerance, path, spread)
    if all(isinstance(value, list) and len(value) == len(first) for value in values):
        columns = enumerate(zip(*values, strict=True))
        items = [common(column, tolerance, f"{path}[{n}]", spread=spread) for n, column in columns]
        if any(item.value is MISSING for item in items):
            return Common(MISSING, (path,))
        return Common([item.value for item in items], tuple(place for item in items for place in item.varied))
    if isinstance(first, Mapping | list) or not all(same(first, value, spread) for value in values):
        return Common(MISSING, (path,))
    return Common(rounded(values, tolerance) if isinstance(first, float) else first)


def _common_fields(values: Sequence[Mapping[str, Any]], tolerance: Tolerance, path: str, spread: Tolerance) -> Common:
    fields: dict[str, Any] = {}
    varied: list[str] = []
    for name in dict.fromkeys(name for value in values for name in value):
        place = f"{path}.{name}" if path else name
        column = [value.get(name, MISSING) for value in values]
        absent = any(item is MISSING for item in column)
        found = Common(MISSING, (place,)) if absent else common(column, tolerance, place, spread=spread)
        varied += found.varied
        if found.value is not MISSING:
            fields[name] = found.value
    return Common(fields if fields or not varied else MISSING, tuple(varied))


def rounded(values: Sequence[float], tolerance: Tolerance) -> float:
    """The shortest number that stands for all values and takes no more than a tenth of the tolerance."""
    first = values[0]
    room = max(tolerance.abs_tol, tolerance.rel_tol * abs(first)) / 10
    for digits in range(1, 17):
        short = float(f"{first:.{digits}g}")
        if abs(short - first) <= room and all(tolerance.holds(short, value) for value in values):
            return short
    return first


def listed(expected: Any, got: Any) -> Any:
    """As much of `got` as `expected` speaks of: in records, at any depth, no other fields."""
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return {name: listed(value, got[name]) for name, value in expected.items() if name in got}
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        return [listed(*pair) for pair in zip(expected, got, strict=True)]
    return got


@attrs.frozen
class Placed:
    """What goes into `expect`, and what goes to a file (MISSING: nothing)."""

    inline: Mapping[str, Any]
    filed: Any = MISSING


def place(value: Any, output: Mapping[str, Field]) -> Placed:
    """Scalars go into app.toml while they fit; lists, media and what TOML cannot hold go to the file."""
    if not isinstance(value, Mapping):
        return Placed({}, value)
    inline: dict[str, Any] = {}
    filed: dict[str, Any] = {}
    for name, item in value.items():
        is_media = name in output and output[name].type.innermost in MEDIA
        if not is_media and is_plain(item) and len(Style().value({**inline, name: item})) <= INLINE_CHARS:
            inline[name] = item
        else:
            filed[name] = item
    return Placed(inline, filed or MISSING)


def is_plain(value: Any) -> bool:
    """Whether it is a scalar that TOML can hold, or a record of such."""
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values())) and _writable(dict.fromkeys(value, 0))
    if is_number(value) and isinstance(value, int) and not -_INT64 <= value < _INT64:
        return False
    return isinstance(value, str | int | float) and _writable(value)


def _writable(value: Any) -> bool:
    try:
        Style().value(value)
    except ValueError:
        return False
    return True


def broken_rule(test: AppTest, body: Any) -> str:
    """The first of a test's rules, which are no recordings, that an answer breaks; "" for none."""
    rules = {
        "expect_min": matchers.expect_min(test.expect_min, body),
        "expect_max": matchers.expect_max(test.expect_max, body),
        "expect_contains": matchers.expect_contains(test.expect_contains, body, Tolerance(test.abs_tol, test.rel_tol)),
        "expect_match": matchers.expect_match(test.expect_match, body),
    }
    return next((name for name, found in rules.items() if any(True for _ in found)), "")
