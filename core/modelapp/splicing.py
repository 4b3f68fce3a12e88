"""Where a TOML text may be cut and joined without touching what it does not mean to: lines, commas, sections.

Comments and blank lines belong to what follows them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from modelapp.problems import Edit
from modelapp.spans import KeyPath, Span, Spans, key_at
from modelapp.suggestions import toml_key

_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")


class Section(NamedTuple):
    """A header, or the top of the file, with the pairs below it; `end` is the end of the last of these lines."""

    path: KeyPath
    start: int
    end: int


def line_start(text: str, at: int) -> int:
    """Where the line around a character begins, a byte order mark not counted."""
    return text.rfind("\n", 0, at) + 1 or int(text.startswith("\ufeff"))


def line_end(text: str, at: int) -> int:
    """Where the line after this one begins."""
    return text.find("\n", at) + 1 or len(text)


def whole_lines(text: str, span: Span) -> Span | None:
    """The whole lines of a span, or None where it shares them with more than a comment behind it."""
    start, end = line_start(text, span.start), line_end(text, span.end)
    before, after = text[start : span.start].strip(), text[span.end : end].strip()
    return None if before or (after and not after.startswith("#")) else Span(start, end)


def table_of(text: str, spans: Spans, pair: KeyPath) -> KeyPath:
    """The table that a pair is written in: that of its header, or an inline table."""
    return pair[: len(pair) - len(key_at(text, spans.pairs[pair].start)[0])]


def removal(text: str, spans: Spans, path: KeyPath) -> Edit | None:
    """The edit that takes out a key and its value, or an item of an array, with the lines or the comma it needs.

    None where the path is neither. Comments stay.
    """
    if path in spans.pairs:
        span, around = spans.pairs[path], table_of(text, spans, path)
    elif path in spans.values:
        span, around = spans.values[path], path[:-1]
    else:
        return None
    if around in spans.values:
        return _item_removal(text, spans, span, spans.values[around])
    lines = whole_lines(text, span) or span
    return Edit(start=lines.start, end=lines.end, text="")


def renaming(text: str, spans: Spans, path: KeyPath, to: KeyPath) -> list[Edit]:
    """The edits, last first, that write another path into the headers at and below one, or another name before a value.

    They say all that has to be said only where the path is made by headers alone, or is a key that keeps its table.
    """
    if path in spans.pairs and path[:-1] == to[:-1]:
        span = spans.keys[path]
        return [Edit(start=span.start, end=span.end, text=toml_key(to[-1]))]
    edits = []
    for header, span in spans.headers.items():
        if header[: len(path)] == path:
            keys = ".".join(toml_key(part) for part in (*to, *header[len(path) :]) if isinstance(part, str))
            many = text.startswith("[[", span.start)
            edits.append(Edit(start=span.start, end=span.end, text=f"[[{keys}]]" if many else f"[{keys}]"))
    return sorted(edits, key=lambda edit: edit.start, reverse=True)


def _item_removal(text: str, spans: Spans, span: Span, around: Span) -> Edit:
    """An item of an array, or a pair of an inline table."""
    after = filler_end(text, span.end)
    comma = text[after] == ","
    start, end = line_start(text, span.start), line_end(text, span.end)
    alone = not text[start : span.start].strip() and _REST_OF_LINE.fullmatch(text, span.end, end)
    if alone and (not comma or after < end):
        return Edit(start=start, end=end, text="")
    if comma:
        beyond = after + 1
        while text[beyond] in " \t":
            beyond += 1
        return Edit(start=span.start, end=beyond, text=text[span.end : after].strip(" \t"))
    everything = (*spans.pairs.values(), *spans.values.values())
    if earlier := [one.end for one in everything if around.start < one.start and one.end <= span.start]:
        comma_at = filler_end(text, max(earlier))
        between = text[comma_at + 1 : span.start]
        return Edit(start=comma_at, end=span.end, text=between if "#" in between else "")
    rest = text[around.start + 1 : span.start] + text[span.end : around.end - 1]
    return Edit(start=around.start + 1, end=around.end - 1, text=rest if rest.strip() else "")


def filler_end(text: str, at: int) -> int:
    """Where the blanks, line ends and comments from here end."""
    match = _FILLER.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()


def sections(text: str, spans: Spans) -> list[Section]:
    """The top of the file and every header, in their order."""
    top = int(text.startswith("\ufeff"))
    starts = [((), Span(top, top)), *sorted(spans.headers.items(), key=lambda item: item[1])]
    pairs = sorted(spans.pairs.values())
    found, number = [], 0
    for place, (path, header) in enumerate(starts):
        limit = starts[place + 1][1].start if place + 1 < len(starts) else len(text)
        last = header.end
        while number < len(pairs) and pairs[number].start < limit:
            last, number = max(last, pairs[number].end), number + 1
        found.append(Section(path, header.start, last if last == top else line_end(text, last)))
    return found


def block(text: str, all_of: Sequence[Section], number: int) -> Span:
    """A section with the comment right above its header, and comments right below it that a blank line ends.

    A comment at the very top of the file is the file's.
    """
    section = all_of[number]
    floor = all_of[number - 1].end if number else section.start
    start = line_start(text, section.start)
    while start > floor and (above := line_start(text, start - 1)) >= floor and _is_comment(text, above):
        start = above
    if start <= int(text.startswith("\ufeff")):
        start = line_start(text, section.start)
    limit = line_start(text, all_of[number + 1].start) if number + 1 < len(all_of) else len(text)
    end = section.end
    while end < limit and _is_comment(text, end):
        end = line_end(text, end)
    return Span(start, end if is_blank(text, end) else section.end)


def block_removal(text: str, all_of: Sequence[Section], number: int) -> Edit:
    """The edit that takes out a section's block and the blank lines above it."""
    start, end = block(text, all_of, number)
    while start > all_of[number - 1].end and is_blank(text, above := line_start(text, start - 1)):
        start = above
    while start <= int(text.startswith("\ufeff")) and end < len(text) and is_blank(text, end):
        end = line_end(text, end)
    return Edit(start=start, end=end, text="")


def _is_comment(text: str, at: int) -> bool:
    return text[at : line_end(text, at)].lstrip(" \t").startswith("#")


def is_blank(text: str, at: int) -> bool:
    """Whether the line that begins here is blank, or the text ends."""
    return not text[at : line_end(text, at)].strip(" \t\r\n")
