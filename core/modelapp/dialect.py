"""Forms of TOML 1.1 in an app file: they are read here, and refused by readers of TOML 1.0, which most editors are."""

import re
from collections.abc import Iterator

from modelapp.document import Document, problem_at
from modelapp.problems import Edit, Problem
from modelapp.spans import KeyPath, Span

_ESCAPE = re.compile(r"\\(?:(e)|x([0-9A-Fa-f]{2})|.)", re.DOTALL)
_TIME = re.compile(r"(?:\d{4}-\d\d-\d\d[Tt ])?\d\d:\d\d(?!:|\d)")
_NEW = re.compile(r"\\[ex]|\d\d:\d\d(?!:)|[{,][ \t]*(?:#[^\n]*)?\r?\n|,[ \t]*\}|\n[ \t]*\}")
"""Whether a text may hold any of it: most do not, and need not be looked through."""


def of(document: Document) -> Iterator[Problem]:
    """A note for each value that readers of TOML 1.0 refuse, with the edit that they accept."""
    text, values = document.text, document.spans.values
    if not _NEW.search(text):
        return
    inner = _inner(document)
    for path, span in values.items():
        opening = text[span.start]
        if opening == "{":
            yield from _table(document, span, inner.get(path, []))
        elif opening == '"':
            yield from _escapes(document, span)
        elif found := _TIME.match(text, span.start, span.end):
            edit = Edit(start=found.end(), end=found.end(), text=":00")
            yield _note(document, span, "a time without seconds", f"write {found[0]}:00", edit)
    for span in document.spans.keys.values():
        if text[span.start] == '"':
            yield from _escapes(document, span)


def _inner(document: Document) -> dict[KeyPath, list[Span]]:
    """Inline table -> the key-value pairs directly in it, in their order."""
    values, text = document.spans.values, document.text
    found: dict[KeyPath, list[Span]] = {}
    for path, pair in document.spans.pairs.items():
        home = next((path[:end] for end in range(len(path) - 1, 0, -1) if path[:end] in values), None)
        if home is not None and text[values[home].start] == "{":
            found.setdefault(home, []).append(pair)
    return found


def _table(document: Document, span: Span, pairs: list[Span]) -> Iterator[Problem]:
    """Line ends, comments and a comma at the end, between the pairs of an inline table."""
    text = document.text
    ends = [span.start + 1, *(pair.end for pair in pairs)]
    starts = [*(pair.start for pair in pairs), span.end - 1]
    gaps = [text[end:start] for end, start in zip(ends, starts, strict=True)]
    if "\n" in "".join(gaps):
        message, advice = "an inline table goes over several lines", "write it on one line, or as a table of its own"
    elif pairs and gaps[-1].strip() == ",":
        message, advice = "an inline table ends in a comma", "leave the comma out"
    else:
        return
    written = ", ".join(text[pair.start : pair.end] for pair in pairs)
    edit = None if "#" in "".join(gaps) else Edit(start=span.start, end=span.end, text=f"{{ {written} }}")
    yield _note(document, Span(span.start, span.start + 1), message, advice, edit)


def _escapes(document: Document, span: Span) -> Iterator[Problem]:
    for found in _ESCAPE.finditer(document.text, span.start, span.end):
        if found[1] or found[2]:
            start, end = found.span()
            old = f"\\u00{found[2]}" if found[2] else "\\u001B"
            edit = Edit(start=start, end=end, text=old)
            yield _note(document, Span(start, end), f"the escape {found[0]}", f"write {old}", edit)


def _note(document: Document, span: Span, what: str, advice: str, edit: Edit | None) -> Problem:
    return problem_at(
        document.file,
        document.text,
        span,
        "MA009",
        f"{what}, which is TOML 1.1",
        "other TOML readers refuse this",
        help=advice,
        edit=edit,
        severity="note",
    )
