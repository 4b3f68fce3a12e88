"""A TOML text that is changed by splicing: values replaced, keys, tables and blocks put in and taken out.

What is added stands where a person would write it, in the style of the text. Whether the result says what was meant
is for the caller to prove.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import tomli

from modelapp import splicing
from modelapp.document import table_name
from modelapp.problems import Edit
from modelapp.spans import KeyPath, index
from modelapp.tomlstyle import Style, style_of

_BLANK_LINE_AT_END = re.compile(r"(?:\A|\n)[ \t]*\r?\n\Z")


def parsed(text: str) -> dict[str, Any]:
    """The data of a TOML text. Raises tomli.TOMLDecodeError."""
    return tomli.loads(text.removeprefix("\ufeff"))


def found(data: Any, path: KeyPath) -> Any:
    """What stands at a path; None where nothing does."""
    for part in path:
        if isinstance(data, Mapping) and isinstance(part, str):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and 0 <= part < len(data):
            data = data[part]
        else:
            return None
    return data


def identical(left: Any, right: Any) -> bool:
    """Whether two values are the same and of the same kind: 1 is neither 1.0 nor true; NaN is NaN."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(identical(item, right[key]) for key, item in left.items())
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(identical, left, right))
    return type(left) is type(right) and bool(left == right or (left != left and right != right))


def is_tables(value: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """Whether it is a list of nothing but tables."""
    return isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value)


class Rewriting:
    """The text, with its index at every moment. Paths must exist where the method says so."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = index(text)

    @property
    def style(self) -> Style:
        """How the text is written now."""
        return style_of(self.text, self.spans)

    def _splice(self, *edits: Edit) -> None:
        """Apply edits, the last in the text first."""
        for edit in edits:
            self.text = edit.apply(self.text)
        self.spans = index(self.text)

    def put(self, path: KeyPath, value: Any) -> None:
        """Make a path, whose list items exist, say `value`. What says so already stays as it is spelt."""
        old = found(parsed(self.text), path)
        if identical(old, value):
            return
        if isinstance(old, dict) and isinstance(value, Mapping) and self._can_merge(path, old, value):
            self._merge(path, old, value)
        elif is_tables(value) and value and (*path, 0) in self.spans.headers:
            self._merge_items(path, len(old), value)
        elif path in self.spans.values:
            if not self._merge_array(path, old, value):
                self._replace(path, value)
        else:
            if old is not None:
                self.take(path)
            self._add(path, value)

    def _can_merge(self, path: KeyPath, old: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
        if path in self.spans.values:
            return bool(old.keys() & value.keys())
        return bool(value) or path in self.spans.headers

    def _merge(self, path: KeyPath, old: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        for key, item in value.items():
            self.put((*path, key), item)
        for key in old:
            if key not in value:
                self.take((*path, key))

    def _merge_items(self, path: KeyPath, count: int, value: Sequence[Mapping[str, Any]]) -> None:
        for number in range(count - 1, len(value) - 1, -1):
            self.take((*path, number))
        for number, item in enumerate(value):
            if number < count:
                self.put((*path, number), item)
            else:
                self.add_item(path, item)

    def _merge_array(self, path: KeyPath, old: Any, value: Any) -> bool:
        """Change an array over several lines item by item, so that what stands between them stays."""
        lists = isinstance(old, list) and isinstance(value, list | tuple) and old and value
        if not lists or "\n" not in self.text[slice(*self.spans.values[path])]:
            return False
        for number in range(len(old) - 1, len(value) - 1, -1):
            self.take((*path, number))
        for number, item in enumerate(value):
            if number < len(old):
                self.put((*path, number), item)
            else:
                self._add_inline_item(path, item)
        return True

    def _replace(self, path: KeyPath, value: Any) -> None:
        span, pair, style = self.spans.values[path], self.spans.pairs.get(path), self.style
        rows = [style.value(value)]
        if pair is not None and splicing.table_of(self.text, self.spans, path) not in self.spans.values:
            start = splicing.line_start(self.text, pair.start)
            rows = style.wrapped(value, span.start - start, self.text[start : pair.start])
        self._splice(Edit(start=span.start, end=span.end, text=style.newline.join(rows)))

    def take(self, path: KeyPath) -> None:
        """Take out a key, an item, or a table or list with all that is below it; it exists."""
        if edit := splicing.removal(self.text, self.spans, path):
            self._splice(edit)
            return
        for number in reversed(self._sections_below(path)):
            self._splice(splicing.block_removal(self.text, splicing.sections(self.text, self.spans), number))
        while dotted := self._dotted(path):
            if edit := splicing.removal(self.text, self.spans, dotted[-1]):
                self._splice(edit)

    def _sections_below(self, table: KeyPath) -> list[int]:
        """The numbers of the sections of a table and of what is below it."""
        all_of = splicing.sections(self.text, self.spans)
        return [number for number, one in enumerate(all_of) if number and one.path[: len(table)] == table]

    def _dotted(self, table: KeyPath) -> list[KeyPath]:
        """The pairs that make a table by dotted keys, in their order."""
        size = len(table)
        below = [path for path in self.spans.pairs if path[:size] == table and len(path) > size]
        makers = [path for path in below if len(splicing.table_of(self.text, self.spans, path)) < size]
        return sorted(makers, key=lambda path: self.spans.pairs[path])

    def _add(self, path: KeyPath, value: Any) -> None:
        """Say something at a path that says nothing yet."""
        if len(path) == 1 and is_tables(value) and value:
            for item in value:
                self.add_item(path, item)
            return
        data, depth = parsed(self.text), 0
        while depth < len(path) - 1 and found(data, path[: depth + 1]) is not None:
            depth += 1
        table, rest = path[:depth], [str(part) for part in path[depth:]]
        dotted = self._dotted(table) if table else []
        in_list = any(isinstance(part, int) for part in table)
        if table in self.spans.values:
            self._add_inline(table, rest[:1], _nested(rest[1:], value))
        elif dotted:
            self._add_dotted(dotted[-1], table, rest, value)
        elif table in self.spans.headers and (len(rest) == 1 or in_list):
            self._add_line(table, rest[0], _nested(rest[1:], value))
        elif isinstance(value, Mapping) and value and is_tables(list(value.values())):
            for key, item in value.items():
                self._add((*path, key), item)
        elif isinstance(value, Mapping):
            self._add_header(path, value, near=table)
        elif len(path) == 1:
            self._add_line((), rest[0], value)
        else:
            self._add_header(path[:-1], {rest[-1]: value}, near=table)

    def _add_inline(self, table: KeyPath, keys: Sequence[str], value: Any) -> None:
        span, style = self.spans.values[table], self.style
        pair = f"{style.key(keys)}{style.equals}{style.value(value)}"
        inside = [one.end for one in self.spans.pairs.values() if span.start < one.start and one.end < span.end]
        if inside:
            self._splice(Edit(start=max(inside), end=max(inside), text=f", {pair}"))
            return
        filler = self.text[span.start + 1 : span.end - 1]
        kept = filler if filler.strip() else style.padding
        self._splice(Edit(start=span.start, end=span.end, text=f"{{{style.padding}{pair}{kept}}}"))

    def _add_dotted(self, last: KeyPath, table: KeyPath, rest: Sequence[str], value: Any) -> None:
        """Behind `last`, the last of the dotted keys that make `table`."""
        home, end, style = splicing.table_of(self.text, self.spans, last), self.spans.pairs[last].end, self.style
        key = style.key([*map(str, table[len(home) :]), *rest])
        if home in self.spans.values:
            self._splice(Edit(start=end, end=end, text=f", {key}{style.equals}{style.value(value)}"))
        else:
            self._insert_pair(end, key, value)

    def _add_line(self, table: KeyPath, name: str, value: Any) -> None:
        """At the end of the pairs right below a header, or of those at the top of the file."""
        all_of = splicing.sections(self.text, self.spans)
        number = next(number for number, one in enumerate(all_of) if one.path == table)
        section, key = all_of[number], self.style.key([name])
        inside = [one.end for one in self.spans.pairs.values() if section.start <= one.start < section.end]
        if inside or table:
            self._insert_pair(max(inside) if inside else self.spans.headers[table].end, key, value)
            return
        at = splicing.block(self.text, all_of, 1).start if len(all_of) > 1 else len(self.text)
        self._insert_block(at, self.style.lines(key, value))

    def _insert_pair(self, after: int, key: str, value: Any) -> None:
        """A pair on lines of its own below the line of a character, indented like it."""
        at, style = splicing.line_end(self.text, after), self.style
        rows = style.lines(key, value, self._indent(after))
        if self.text[:at].endswith("\n"):
            self._splice(Edit(start=at, end=at, text="".join(row + style.newline for row in rows)))
        else:
            self._splice(Edit(start=at, end=at, text="".join(style.newline + row for row in rows)))

    def _indent(self, at: int) -> str:
        line = self.text[splicing.line_start(self.text, at) : splicing.line_end(self.text, at)]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _add_header(self, table: KeyPath, values: Mapping[str, Any], near: KeyPath) -> None:
        """A table of its own: before the first below it, else after the last below `near`, else at the end."""
        all_of = splicing.sections(self.text, self.spans)
        below = self._sections_below(table)
        at = splicing.block(self.text, all_of, below[0]).start if below else self._end_of(near, all_of)
        self._insert_block(at, self._block_lines(table_name(table), values))

    def _end_of(self, table: KeyPath, all_of: Sequence[splicing.Section]) -> int:
        """Where the last section at or below a table ends, else the text."""
        around = self._sections_below(table) if table else []
        return splicing.block(self.text, all_of, around[-1]).end if around else len(self.text)

    def add_item(self, path: KeyPath, values: Mapping[str, Any]) -> None:
        """Add a table to a list of tables that exists, or to one at the top of the file that does not."""
        if path in self.spans.values:
            self._add_inline_item(path, values)
            return
        all_of = splicing.sections(self.text, self.spans)
        last = [one for one in all_of if one.path[:-1] == path]
        pairs = [one for one in self.spans.pairs.values() if last and last[-1].start < one.start < last[-1].end]
        indent = self._indent(min(pairs).start) if pairs else ""
        self._insert_block(self._end_of(path, all_of), self._block_lines(table_name((*path, 0)), values, indent))

    def _add_inline_item(self, path: KeyPath, value: Any) -> None:
        array, style, text = self.spans.values[path], self.style, self.style.value(value)
        items = [span for place, span in self.spans.values.items() if place[:-1] == path]
        if not items:
            self._splice(Edit(start=array.start + 1, end=array.start + 1, text=text))
            return
        last = max(items)
        comma, below = splicing.filler_end(self.text, last.end), splicing.line_end(self.text, last.end)
        has_comma = self.text[comma] == ","
        start = splicing.line_start(self.text, last.start)
        if array.start >= start or array.end <= below or (has_comma and comma >= below):
            self._splice(Edit(start=last.end, end=last.end, text=f", {text}"))
            return
        line = f"{self._indent(last.start)}{text}{',' * has_comma}{style.newline}"
        edits = [Edit(start=below, end=below, text=line)]
        self._splice(*edits, *([] if has_comma else [Edit(start=last.end, end=last.end, text=",")]))

    def _block_lines(self, header: str, values: Mapping[str, Any], indent: str = "") -> list[str]:
        style = self.style
        pairs = ((style.key([key]), value) for key, value in values.items())
        return [header, *(row for key, value in pairs for row in style.lines(key, value, indent))]

    def _insert_block(self, at: int, lines: Sequence[str]) -> None:
        """Lines with a blank line around them; a text without a line end at its end gets none."""
        newline, before = self.style.newline, self.text[:at].removeprefix("\ufeff")
        open_line = bool(before) and not before.endswith("\n")
        lead = newline if open_line else ""
        if before.strip() and not _BLANK_LINE_AT_END.search(before):
            lead += newline
        tail = "" if open_line and at == len(self.text) else newline
        if at < len(self.text) and not splicing.is_blank(self.text, at):
            tail += newline
        self._splice(Edit(start=at, end=at, text=lead + newline.join(lines) + tail))


def _nested(keys: Sequence[str], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value
