"""One thing to say about app.toml, and how it is shown: place, source line, carets, and the mending edit."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import attrs

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
OVERRIDE = Path("--set")
"""Stands for the file of a problem that is in an override of the command line."""
_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}
_WINDOW = 160
"""The longest source line that is shown whole, in characters."""


@attrs.frozen(kw_only=True)
class Edit:
    """Replace the characters [start, end) of the file by `text`."""

    start: int
    end: int
    text: str

    def apply(self, text: str) -> str:
        """The file's text after the edit."""
        return text[: self.start] + self.text + text[self.end :]


@attrs.frozen(kw_only=True)
class Related:
    """Another place that the problem is about."""

    line: int
    column: int
    length: int
    source: str
    label: str


@attrs.frozen(kw_only=True)
class Problem:
    """One problem. Lines and columns count from 1, columns in characters; line 0: the file as a whole."""

    code: str
    message: str
    file: Path
    line: int
    column: int
    length: int = 1
    source: str = ""
    label: str = ""
    help: str = ""
    notes: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()
    edit: Edit | None = None
    command: str = ""
    severity: Literal["error", "warning", "note"] = "error"
    """A warning or a note leaves the file valid."""

    @property
    def place(self) -> str:
        """file:line:column, or the file alone where no line is to blame."""
        name = shown(self.file)
        return f"{name}:{self.line}:{self.column}" if self.line else name

    def render(self) -> str:
        """The text shown to people."""
        return "\n".join(self._lines())

    def brief(self) -> str:
        """One line, for what needs no source line to be understood."""
        return f"{self.severity}[{self.code}] {self.place}: {self.message}"

    def _lines(self) -> Iterator[str]:
        yield f"{self.severity}[{self.code}]: {self.message}"
        places = [*self.related]
        if self.line:
            own = Related(line=self.line, column=self.column, length=self.length, source=self.source, label=self.label)
            places.append(own)
        width = max([2, *(len(str(place.line)) for place in places)])
        yield f"{' ' * width}--> {self.place}"
        for place in sorted(places, key=lambda place: (place.line, place.column)):
            yield from _snippet(place, width)
        if self.help:
            yield f"{' ' * width} = help: {self.help}"
        if self.command:
            yield f"{' ' * width} = run:  {self.command}"
        for note in self.notes:
            yield f"{' ' * width} = note: {note}"

    def as_dict(self) -> dict[str, Any]:
        """The problem as plain JSON values."""
        values = attrs.asdict(self)
        values["file"] = shown(self.file)
        values["notes"] = list(self.notes)
        values["related"] = list(values["related"])
        return values

    def annotation(self) -> str:
        """The problem as a GitHub workflow command, which marks the line in a pull request."""
        where = f"{self.file} {self.source}: " if self.file == OVERRIDE else ""
        text = "\n".join(
            part for part in (where + self.message, self.help and f"help: {self.help}", self.command) if part
        )
        place: dict[str, object] = {} if where else {"file": shown(self.file)}
        if self.line and not where:
            place |= {"line": self.line, "col": self.column, "endColumn": self.column + max(self.length, 1)}
        return github_command(_GITHUB[self.severity], text, **place, title=self.code)


def github_error(text: str, **properties: object) -> str:
    """A workflow command that makes GitHub show an error: a text, and where it belongs."""
    return github_command("error", text, **properties)


def github_command(command: str, text: str, **properties: object) -> str:
    """A workflow command with a text, and where it belongs."""
    words = [
        f"{name}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}" for name, value in properties.items()
    ]
    return f"::{command} {','.join(words)}::{_escaped(text)}"


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems by file, line and column; the order in which people mend them."""
    return sorted(problems, key=lambda problem: (str(problem.file), problem.line, problem.column, problem.code))


def shown(file: Path) -> str:
    """A file's name as people see it: relative to the current folder where it lies below it."""
    try:
        return str(file.relative_to(Path.cwd())) if file.is_absolute() else str(file)
    except ValueError:
        return str(file)


def _snippet(place: Related, width: int) -> Iterator[str]:
    source, column = _cut(_CONTROL.sub("�", place.source), place.column)
    marked = source[column - 1 : column - 1 + place.length]
    # Tabs stay tabs and wide characters count twice, so that the carets stand under what they mean.
    indent = "".join("\t" if char == "\t" else " " * _columns(char) for char in source[: column - 1])
    carets = "^" * max(1, sum(_columns(char) for char in marked))
    yield f"{place.line:>{width}} | {source}"
    yield f"{' ' * width} | {indent}{carets} {place.label}".rstrip()


def _cut(source: str, column: int) -> tuple[str, int]:
    """A window of a very long line that holds the column, and the column within it."""
    if len(source) <= _WINDOW:
        return source, column
    start = max(0, min(column - _WINDOW // 2, len(source) - _WINDOW))
    head, tail = "..." if start else "", "..." if start + _WINDOW < len(source) else ""
    return head + source[start : start + _WINDOW] + tail, column - start + len(head)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
