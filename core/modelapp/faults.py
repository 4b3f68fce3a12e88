"""A TOML syntax error with the text around it, and the ways to tell of it."""

import re
from functools import cached_property
from pathlib import Path

import tomli

from modelapp.document import problem_at
from modelapp.problems import Edit, Problem
from modelapp.spans import Span


class Fault:
    """What tomli said, and where: `at` counts characters of the file's own text, `rest` is the line from there on."""

    def __init__(self, file: Path, text: str, error: tomli.TOMLDecodeError) -> None:
        self.file, self.text, self.error = file, text, error
        self.at = _original_offset(text, error)
        self.line_start = text.rfind("\n", 0, self.at) + 1
        end = text.find("\n", self.at)
        self.line_end = len(text) if end < 0 else end
        if end > 0 and text[end - 1] == "\r":
            self.line_end = max(end - 1, self.at)
        self.rest = text[self.at : self.line_end]

    @property
    def line(self) -> str:
        """The line that the error is on."""
        return self.text[self.line_start : self.line_end]

    @cached_property
    def statement_start(self) -> int:
        """Where the first line of the broken statement begins: all text before it can be read."""
        start = self.line_start
        while start > 0:
            try:
                tomli.loads(self.text[:start].removeprefix("\ufeff"))
            except tomli.TOMLDecodeError:
                start = self.text.rfind("\n", 0, start - 1) + 1
            else:
                break
        return start

    @property
    def in_container(self) -> bool:
        """Whether the error lies in a list or an inline table."""
        return re.search(r"=\s*[\[{]", self.text[self.statement_start : self.at]) is not None

    def say(
        self, span: Span, message: str, label: str, help: str = "", edit: Edit | None = None, code: str = "MA001"
    ) -> Problem:
        """A problem about `span`. An edit that does not help the parser on is left out."""
        return problem_at(self.file, self.text, span, code, message, label, help=help, edit=self._helps(edit))

    def write(self, span: Span, message: str, label: str, text: str) -> Problem:
        """A problem that ends when the characters of `span` become `text`; the help shows the whole line."""
        line = self.text[self.line_start : span.start] + text + self.text[span.end : max(self.line_end, span.end)]
        written = line.removeprefix("\ufeff").strip()
        return self.say(span, message, label, f"write {written}", Edit(start=span.start, end=span.end, text=text))

    def insert(self, offset: int, text: str, message: str, label: str, help: str) -> Problem:
        """A problem that ends when `text` stands at `offset`."""
        edit = Edit(start=offset, end=offset, text=text)
        return self.say(Span(offset, offset + 1), message, label, help, edit)

    def key(self, before: int) -> str:
        """The key whose value begins at `before`."""
        match = re.search(r"([\w-]+)[\"']?\s*=\s*$", self.text[self.line_start : before])
        return match[1] if match else ""

    def _helps(self, edit: Edit | None) -> Edit | None:
        if edit is None:
            return None
        try:
            tomli.loads(edit.apply(self.text).removeprefix("\ufeff"))
        except tomli.TOMLDecodeError as error:
            left, was = len(error.doc) - error.pos, len(self.error.doc) - self.error.pos
            return edit if left < was else None
        except (RecursionError, ValueError):
            return None
        return edit


def _original_offset(text: str, error: tomli.TOMLDecodeError) -> int:
    """tomli counts in a text whose line ends are all LF and that has no byte order mark."""
    mark = 1 if text.startswith("\ufeff") else 0
    start = error.doc.rfind("\n", 0, error.pos) + 1
    own_start = 0
    for _ in range(error.doc.count("\n", 0, error.pos)):
        own_start = text.index("\n", own_start) + 1
    return own_start + error.pos - start + (mark if start == 0 else 0)
