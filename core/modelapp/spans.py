"""Where everything in a TOML text stands: key path -> characters of key, value and header.

tomli gives values without positions. This index gives positions without values, for a text that tomli has accepted: it
checks nothing, so it stays small.
"""

import re
from typing import NamedTuple, TypeAlias

import attrs
import tomli

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys from the root; numbers count the items of arrays and of arrays of tables."""

_BLANKS = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
# A date may hold one blank before its time; nothing else outside quotes and brackets holds any.
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")


class Span(NamedTuple):
    """The characters [start, end) of the text."""

    start: int
    end: int


@attrs.frozen
class Spans:
    """`keys`: the part of a key that names the path. `values`: what stands after "=" or in an array.

    `headers`: whole headers, brackets included. `pairs`: from the start of a (dotted) key to the end of its value.
    """

    keys: dict[KeyPath, Span] = attrs.Factory(dict)
    values: dict[KeyPath, Span] = attrs.Factory(dict)
    headers: dict[KeyPath, Span] = attrs.Factory(dict)
    pairs: dict[KeyPath, Span] = attrs.Factory(dict)


def index(text: str) -> Spans:
    """Index a text that `tomli.loads` accepts; a byte order mark in front of it is skipped, and counted."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = Spans()
        self.table: KeyPath = ()
        self.lengths: dict[KeyPath, int] = {}

    def run(self) -> Spans:
        at = self._filler(1 if self.text.startswith("\ufeff") else 0)
        while at < len(self.text):
            at = self._header(at) if self.text[at] == "[" else self._pair(self.table, at)
            at = self._filler(at)
        return self.spans

    def _filler(self, at: int) -> int:
        return _end(_FILLER.match(self.text, at))

    def _blanks(self, at: int) -> int:
        return _end(_BLANKS.match(self.text, at))

    def _header(self, start: int) -> int:
        many = self.text.startswith("[[", start)
        parts, at = self._key(start + (2 if many else 1))
        end = at + (2 if many else 1)
        path: KeyPath = ()
        for number, (name, span) in enumerate(parts):
            path = (*path, name)
            self.spans.keys.setdefault(path, span)
            if many and number == len(parts) - 1:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            # A header below [[name]] speaks of its latest item.
            if path in self.lengths:
                path = (*path, self.lengths[path] - 1)
                self.spans.keys.setdefault(path, span)
        self.spans.headers[path] = Span(start, end)
        self.table = path
        return end

    def _pair(self, table: KeyPath, start: int) -> int:
        parts, at = self._key(start)
        for name, span in parts:
            table = (*table, name)
            self.spans.keys.setdefault(table, span)
        end = self._value(table, self._blanks(at + 1))
        self.spans.pairs[table] = Span(start, end)
        return end

    def _key(self, at: int) -> tuple[list[tuple[str, Span]], int]:
        """The parts of a dotted key, and where the character after it stands."""
        parts: list[tuple[str, Span]] = []
        while True:
            at = self._blanks(at)
            end = _end((_STRING if self.text[at] in "\"'" else _BARE).match(self.text, at))
            parts.append((self._name(Span(at, end)), Span(at, end)))
            at = self._blanks(end)
            if self.text[at] != ".":
                return parts, at
            at += 1

    def _name(self, span: Span) -> str:
        raw = self.text[span.start : span.end]
        if raw[0] == '"' and "\\" in raw:
            return str(tomli.loads(f"key = {raw}")["key"])
        return raw[1:-1] if raw[0] in "\"'" else raw

    def _value(self, path: KeyPath, start: int) -> int:
        opening = self.text[start]
        if opening == "[":
            end = self._array(path, start)
        elif opening == "{":
            end = self._inline_table(path, start)
        else:
            end = _end((_STRING if opening in "\"'" else _SCALAR).match(self.text, start))
        self.spans.values[path] = Span(start, end)
        return end

    def _array(self, path: KeyPath, start: int) -> int:
        at, number = self._filler(start + 1), 0
        while self.text[at] != "]":
            at = self._filler(self._value((*path, number), at))
            number += 1
            if self.text[at] == ",":
                at = self._filler(at + 1)
        return at + 1

    def _inline_table(self, path: KeyPath, start: int) -> int:
        at = self._filler(start + 1)
        while self.text[at] != "}":
            at = self._filler(self._pair(path, at))
            if self.text[at] == ",":
                at = self._filler(at + 1)
        return at + 1


def _end(match: "re.Match[str] | None") -> int:
    """Where a match ends; the text was accepted by tomli, so there is one."""
    assert match is not None
    return match.end()


def key_at(text: str, start: int) -> tuple[tuple[str, ...], Span]:
    """The parts of the (dotted) key that begins at `start`, and its characters, following blanks not counted."""
    parts, _ = _Scanner(text)._key(start)
    return tuple(name for name, _ in parts), Span(parts[0][1].start, parts[-1][1].end)
