"""The five fields of a cron line: minute, hour, day of month, month, day of week."""

import re
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(\*|\w+(?:-\w+)?)(?:/(\w+))?")
SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Words that some programs take for a whole line, and what they stand for."""
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Field(NamedTuple):
    """`words` stand for the numbers from `low` on."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)


def fault(line: str) -> str:
    """What is wrong with a cron line, in a few words; "" where nothing is."""
    parts = line.split()
    if len(parts) != len(_FIELDS):
        return f"{len(parts)} field{'' if len(parts) == 1 else 's'}, and a cron line has 5"
    values = []
    for field, text in zip(_FIELDS, parts, strict=True):
        found = _read(field, text)
        if isinstance(found, str):
            return found
        values.append(found)
    _, _, days, months, _ = values
    if parts[4] == "*" and not any(day <= _LONGEST[month - 1] for day in days for month in months):
        return "no such day in that month"
    return ""


def _read(field: _Field, text: str) -> set[int] | str:
    """The numbers that a field allows, or what is wrong with it."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            return f'"{part}" is no {field.name}'
        first, _, last = match[1].partition("-")
        bounds = (field.low, field.high) if first == "*" else (_number(field, first), _number(field, last or first))
        if match[2] and first != "*" and not last:
            bounds = (bounds[0], field.high)  # 5/15: from 5 on
        step = int(match[2]) if match[2] and match[2].isascii() and match[2].isdigit() else 0 if match[2] else 1
        if None in bounds or step < 1:
            return f'"{part}" is no {field.name}, which is {field.low} to {field.high}'
        low, high = int(bounds[0] or 0), int(bounds[1] or 0)
        if high < low:
            return f'"{part}" is no {field.name}: it ends before it begins'
        found.update(range(low, high + 1, step))
    return found


def _number(field: _Field, text: str) -> int | None:
    if text.lower() in field.words:
        return field.words.index(text.lower()) + field.low
    if text.isascii() and text.isdigit() and len(text) <= 2 and field.low <= int(text) <= field.high:
        return int(text)
    return None
