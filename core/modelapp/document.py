"""The texts an app is read from, app.toml and what is laid over it, and problems placed in them."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import attrs

from modelapp import splicing
from modelapp.problems import Edit, Problem, Related
from modelapp.spans import KeyPath, Span, Spans
from modelapp.suggestions import toml_key

At = Literal["key", "value", "header"]


@attrs.frozen
class Document:
    """One TOML text with its index."""

    file: Path
    text: str
    spans: Spans

    def holds(self, path: KeyPath) -> bool:
        """Whether the text says something about exactly this path."""
        return path in self.spans.keys or path in self.spans.values

    def span(self, path: KeyPath, at: At) -> Span:
        """The characters that stand for a path; those of the nearest table around it where it has none."""
        for length in range(len(path), 0, -1):
            for candidates in self._preference(at if length == len(path) else "header"):
                if found := candidates.get(path[:length]):
                    return found
        return Span(0, 0)

    def _preference(self, at: At) -> Iterator[dict[KeyPath, Span]]:
        spans = self.spans
        order = {
            "key": (spans.keys, spans.values, spans.headers),
            "value": (spans.values, spans.headers, spans.keys),
            "header": (spans.headers, spans.values, spans.keys),
        }
        yield from order[at]

    def line(self, path: KeyPath) -> int:
        """The line of a table's header, or of a key."""
        return position(self.text, self.span(path, "header").start)[0]


@lru_cache(maxsize=8)
def _line_starts(text: str) -> list[int]:
    """Where each line begins; kept, since a large file is asked about every test of it."""
    return [0, *(found.end() for found in re.finditer("\n", text))]


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character, from 1; a byte order mark has no column."""
    starts = _line_starts(text)
    line = bisect_right(starts, offset)
    mark = 1 if line == 1 and text.startswith("\ufeff") else 0
    return line, max(offset - starts[line - 1] - mark, 0) + 1


def source_line(text: str, offset: int) -> str:
    """The line around a character, without its end and without a byte order mark."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : len(text) if end < 0 else end].rstrip("\r")
    return line if start else line.removeprefix("\ufeff")


def related(text: str, span: Span, label: str) -> Related:
    """A second place of a problem."""
    line, column = position(text, span.start)
    source = source_line(text, span.start)
    length = max(1, min(span.end - span.start, len(source) - column + 1))
    return Related(line=line, column=column, length=length, source=source, label=label)


def problem_at(file: Path, text: str, span: Span, code: str, message: str, label: str = "", **more: Any) -> Problem:
    """A problem about the characters of `span`; `more` are further attributes of Problem."""
    here = related(text, span, label)
    return Problem(
        code=code,
        message=message,
        file=file,
        line=here.line,
        column=here.column,
        length=here.length,
        source=here.source,
        label=label,
        **more,
    )


@attrs.frozen
class Layer:
    """A text, or one table of it, whose keys lie over those of what comes before it.

    `below`: the table, () for the whole text. `origin` is what people call it: "profile prod", "--set".
    """

    document: Document
    origin: str
    below: KeyPath = ()


@attrs.frozen
class Sources:
    """app.toml, and what is laid over it: profiles, which are tables of the same file, and overrides.

    Each path is looked up in the layer that had the last word on it.
    """

    base: Document
    layers: Sequence[Layer] = ()

    def located(self, path: KeyPath) -> tuple[Document, KeyPath]:
        """The text that a path's value comes from, and the path in it."""
        layer = self.layer(path)
        return (self.base, path) if layer is None else (layer.document, (*layer.below, *path))

    def layer(self, path: KeyPath) -> Layer | None:
        """The layer that had the last word on a path; None: app.toml itself."""
        for layer in reversed(self.layers):
            if (*layer.below, *path) in layer.document.spans.values:
                return layer
        if self.base.holds(path):
            return None
        # A table that only a layer speaks of, by a header or by dotted keys.
        return next((one for one in reversed(self.layers) if one.document.holds((*one.below, *path))), None)

    def holds(self, path: KeyPath) -> bool:
        """Whether any text says something about exactly this path."""
        document, full = self.located(path)
        return document.holds(full)

    def related(self, path: KeyPath, label: str, at: At = "header") -> tuple[Related, ...]:
        """A second place in app.toml; none where the path comes from an override."""
        document, full = self.located(path)
        return (related(document.text, document.span(full, at), label),) if document is self.base else ()

    def problem(
        self,
        code: str,
        message: str,
        path: KeyPath,
        label: str = "",
        *,
        at: At = "value",
        edit: Edit | None = None,
        **more: Any,
    ) -> Problem:
        """A problem about a path. An edit mends app.toml, so one about an override has none."""
        layer = self.layer(path)
        document, full = self.located(path)
        span, kept = document.span(full, at), edit if document is self.base else None
        if layer is not None and document is self.base:
            more["notes"] = (*more.get("notes", ()), f"in {layer.origin}")
        return problem_at(document.file, document.text, span, code, message, label, edit=kept, **more)

    def written(self, path: KeyPath, at: At | Literal["pair"]) -> Span | None:
        """Where app.toml writes a path's key, value, header, or key with value; None where it does not."""
        document, full = self.located(path)
        if document is not self.base:
            return None
        spans = document.spans
        return {"key": spans.keys, "value": spans.values, "header": spans.headers, "pair": spans.pairs}[at].get(full)

    def replace(self, path: KeyPath, text: str, at: At = "value") -> Edit | None:
        """The edit that puts `text` in the place of a path's key, value or header."""
        found = self.written(path, at)
        return Edit(start=found.start, end=found.end, text=text) if found else None

    def remove(self, path: KeyPath) -> Edit | None:
        """The edit that takes a key and its value out, with the lines or the comma that they alone need."""
        document, full = self.located(path)
        return splicing.removal(document.text, document.spans, full) if document is self.base else None

    def lines(self, path: KeyPath) -> Span | None:
        """The whole lines of a key and its value, or None where they share them with others (an inline table)."""
        pair = self.written(path, "pair")
        return splicing.whole_lines(self.base.text, pair) if pair else None

    def insert(self, table: KeyPath, line: str) -> Edit | None:
        """The edit that adds a line directly below a table's header, or a key to an inline table."""
        text, newline = self.base.text, "\r\n" if "\r\n" in self.base.text else "\n"
        if header := self.written(table, "header"):
            end = text.find("\n", header.end)
            if end < 0:
                return Edit(start=len(text), end=len(text), text=f"{newline}{line}{newline}")
            return Edit(start=end + 1, end=end + 1, text=line + newline)
        value = self.written(table, "value")
        if value and text[value.start] == "{":
            empty = not text[value.start + 1 : value.end - 1].strip()
            return Edit(start=value.start + 1, end=value.start + 1, text=f" {line} " if empty else f" {line},")
        return None


def table_name(path: KeyPath) -> str:
    """A table as its header is written: [models.story], [[tests]]; "app.toml" for the root."""
    names = [toml_key(part) for part in path if isinstance(part, str)]
    if not path:
        return "app.toml"
    return f"[[{'.'.join(names)}]]" if isinstance(path[-1], int) else f"[{'.'.join(names)}]"


def key_name(path: KeyPath) -> str:
    """The last key of a path with the item numbers after it: tags, steps[1]."""
    last = max((number for number, part in enumerate(path) if isinstance(part, str)), default=0)
    return f"{path[last]}{''.join(f'[{part}]' for part in path[last + 1 :])}" if path else "app.toml"
