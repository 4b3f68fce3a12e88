"""Where a command writes: results to standard output, notes to standard error."""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

SCHEMA_VERSION = 1
"""The version of every JSON document; it rises when a key changes its meaning or goes."""
_COLOURS = {"PASS": "32", "FAIL": "31", "INCONCLUSIVE": "33", "error": "31"}


class Console:
    """`json`: results are one document. `verbosity`: -1 leaves notes out, 1 adds details, 2 adds tracebacks."""

    def __init__(self) -> None:
        self.json = False
        self.verbosity = 0
        self.no_color = False
        self.log_json = False
        """Notes and errors are lines of JSON, like those of the replica."""

    def result(self, text: str) -> None:
        """A line of the result; nothing where the result is a document."""
        if not self.json:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def text(self, text: str) -> None:
        """A part of a line of the result, at once."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def document(self, content: Mapping[str, Any]) -> None:
        """The result as one JSON document."""
        document = {"schema_version": SCHEMA_VERSION, **content}
        sys.stdout.write(f"{json.dumps(document, ensure_ascii=False, default=str)}\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something to know that is not the result. May be called from any thread."""
        if self.verbosity >= 0:
            self._write("INFO", text)

    def detail(self, text: str) -> None:
        """Something to know with -v."""
        if self.verbosity >= 1:
            self._write("DEBUG", text)

    def error(self, text: str) -> None:
        """What went wrong."""
        self._write("ERROR", text)

    def _write(self, level: str, text: str) -> None:
        if self.log_json:
            from modelapp.loglines import json_line  # the command line needs no logging otherwise

            text = json_line(level, "modelapp", text, time.time(), {})
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def traceback(self, error: BaseException) -> None:
        """Where an error came from, with -vv."""
        if self.verbosity >= 2:
            self.error("".join(traceback.format_exception(error)).rstrip())

    def word(self, word: str, stream: TextIO) -> str:
        """A word in its colour, where the stream is a terminal that wants colours."""
        plain = self.no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        if plain or not stream.isatty() or word.strip() not in _COLOURS:
            return word
        return f"\x1b[{_COLOURS[word.strip()]}m{word}\x1b[0m"
