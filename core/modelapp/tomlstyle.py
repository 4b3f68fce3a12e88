"""How a TOML text is written: its line ends, the blanks around its equals signs and inside its braces.

What is added to a text is written as the rest of it is.
"""

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from modelapp.spans import Spans, key_at
from modelapp.suggestions import toml, toml_key

WIDTH = 120
"""The longest line that is written where there is a choice, in characters."""
_EQUALS = (" = ", "=", " =", "= ")


@attrs.frozen
class Style:
    """`newline` ends a line, `padding` stands inside braces, `equals` between key and value."""

    newline: str = "\n"
    padding: str = " "
    equals: str = " = "

    def value(self, value: Any) -> str:
        """A value on one line; unlike `suggestions.toml` it reads back as exactly the same, 1.0 as a float.

        Raises ValueError for what TOML cannot hold: null, half of a surrogate pair, an object of another kind.
        """
        if isinstance(value, Mapping):
            pairs = ", ".join(f"{self.key([key])}{self.equals}{self.value(item)}" for key, item in value.items())
            return f"{{{self.padding}{pairs}{self.padding}}}" if pairs else "{}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self.value, value))}]"
        return _scalar(value)

    def key(self, parts: Iterable[str]) -> str:
        """A dotted key. Raises ValueError as `value` does."""
        return ".".join(toml_key(_writable(part)) for part in parts)

    def lines(self, key: str, value: Any, indent: str = "") -> list[str]:
        """`key = value` as lines: one where it fits, else a list over several, a table as dotted keys. No line ends."""
        start = f"{indent}{key}{self.equals}"
        if isinstance(value, Mapping) and value and len(start) + len(self.value(value)) > WIDTH:
            pairs = ((f"{key}.{self.key([name])}", item) for name, item in value.items())
            return [line for name, item in pairs for line in self.lines(name, item, indent)]
        first, *more = self.wrapped(value, len(start), indent)
        return [start + first, *more]

    def wrapped(self, value: Any, used: int, indent: str = "") -> list[str]:
        """A value that begins after `used` characters of a line: a list that does not fit goes over several lines."""
        one = self.value(value)
        if not isinstance(value, list | tuple) or not value or used + len(one) <= WIDTH:
            return [one]
        inner = f"{indent}  "
        rows = _rows(value, [f"{self.value(item)}," for item in value], len(inner))
        return ["[", *(inner + row for row in rows), f"{indent}]"]


def _rows(values: Sequence[Any], items: Sequence[str], indent_chars: int) -> Iterator[str]:
    """Numbers fill their lines; anything else has one of its own."""
    if not all(isinstance(value, int | float) for value in values):
        yield from items
        return
    row = ""
    for item in items:
        if row and indent_chars + len(row) + 1 + len(item) > WIDTH:
            yield row
            row = ""
        row = f"{row} {item}" if row else item
    yield row


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if not isinstance(value, str | int):
        what = "null" if value is None else type(value).__name__
        raise ValueError(f"TOML cannot hold {what}")  # noqa: TRY004 - the other values TOML cannot hold raise it too
    return toml(_writable(value) if isinstance(value, str) else value)


def _writable(text: str) -> str:
    if not isinstance(text, str) or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("TOML cannot hold half of a surrogate pair, or a key that is no text")
    return text


def style_of(text: str, spans: Spans) -> Style:
    """The style that most of a text is written in."""
    tables = [text[span.start + 1] for span in spans.values.values() if text[span.start] == "{"]
    paddings = Counter("" if char not in " \t" else " " for char in tables if char not in "}\r\n")
    equals: Counter[str] = Counter()
    for path, pair in spans.pairs.items():
        between = text[key_at(text, pair.start)[1].end : spans.values[path].start]
        equals[between if between in _EQUALS else " = "] += 1
    newline = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
    return Style(newline, _most(paddings, " "), _most(equals, " = "))


def _most(counts: "Counter[str]", otherwise: str) -> str:
    return counts.most_common(1)[0][0] if counts else otherwise
