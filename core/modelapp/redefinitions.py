"""What is defined twice in a TOML text: keys, tables, and tables written in two ways."""

import re
from collections.abc import Mapping

import attrs
import tomli

from modelapp.document import related
from modelapp.faults import Fault
from modelapp.problems import Edit, Problem
from modelapp.spans import KeyPath, Span, Spans, index, key_at
from modelapp.suggestions import toml_key


def recast(fault: Fault) -> Problem | None:
    """A statement that defines what an earlier one has defined."""
    start = fault.statement_start
    before = index(fault.text[:start])
    start += _leading(r"\ufeff?[ \t]*", fault.text[start:])
    brackets = _leading(r"\[*", fault.text[start:])
    names, span = key_at(fault.text, start + brackets)
    if brackets:
        span = Span(start, min(span.end + brackets, fault.line_end))
        return _header(fault, before, names, span)
    path = (*_table(before), *names)
    first = next((before.keys[path[:end]] for end in range(len(path), 0, -1) if path[:end] in before.keys), None)
    if path in before.pairs:
        message, edit = f'"{".".join(names)}" is set twice', _remove(fault, start)
        return _twice(fault, message, span, first, "first set here", "keep one of the two lines", edit)
    return _two_ways(fault, path, span, first)


def recast_inline(fault: Fault) -> Problem | None:
    """A key that an inline table holds twice."""
    name = fault.error.msg.rsplit(" ", 1)[-1].strip("'\"")
    found = list(re.finditer(rf"(?<![\w-])[\"']?{re.escape(name)}[\"']?\s*=", fault.text[: fault.at]))
    if not found:
        return None
    span = Span(found[-1].start(), found[-1].end() - 1)
    first = Span(found[-2].start(), found[-2].end() - 1) if len(found) > 1 else None
    return _twice(fault, f'"{name}" is set twice', span, first, "first set here", "keep one of the two", None)


def _header(fault: Fault, before: Spans, names: tuple[str, ...], span: Span) -> Problem | None:
    defined = [path for path in before.headers if tuple(part for part in path if isinstance(part, str)) == names]
    first = before.headers[defined[-1]] if defined else before.keys.get(names)
    written = ".".join(map(toml_key, names))
    if not defined:
        return _reopened(fault, names, span, first) or _two_ways(fault, names, span, first)
    many = f"[[{written}]]"
    if isinstance(defined[-1][-1], int):
        edit: Edit | None = Edit(start=span.start, end=span.end, text=many)
        return _twice(fault, f"[{written}] is also {many}", span, first, "a list begins", f"write {many}", edit)
    if fault.text.startswith("[[", span.start):
        edit = first and Edit(start=first.start, end=first.end, text=many)
        return _twice(fault, f"{many} is also [{written}]", span, first, "one table", f"write {many} there", edit)
    advice = "put its keys below the first of the two headers"
    edit = _folded(fault, before, defined[-1], "", span)
    if edit is None and len(names) > 1:
        fresh = ".".join(map(toml_key, (*names[:-1], f"{names[-1]}-2")))
        edit, advice = Edit(start=span.start, end=span.end, text=f"[{fresh}]"), f"{advice}, or write [{fresh}]"
    return _twice(fault, f"table [{written}] is defined twice", span, first, "first defined here", advice, edit)


def _reopened(fault: Fault, names: tuple[str, ...], span: Span, first: Span | None) -> Problem | None:
    """A header of a table that dotted keys below another header have made: [profiles.prod.deploy] is the usual one."""
    before = index(fault.text[: span.start])
    found = [path for path in before.headers if path == names[: len(path)] and (*path, names[len(path)]) in before.keys]
    home = max(found, key=len, default=())
    if not home or not any(path[: len(names)] == names for path in before.pairs):
        return None
    is_profile = home[0] == "profiles"
    written = f"[{'.'.join(map(toml_key, home))}]"
    message = f"{'a profile' if is_profile else '.'.join(map(toml_key, names))} is written in two ways"
    example = ".".join(map(toml_key, names[len(home) :]))
    advice = f"keep it all in {written}, one dotted key a line, e.g. {example}.{_first_key(fault, span)} = ..."
    edit = _folded(fault, before, home, example, span)
    told = _twice(fault, message, span, first, "made here", advice, edit)
    return attrs.evolve(told, label="this header reopens a table that dotted keys already made")


def _first_key(fault: Fault, span: Span) -> str:
    match = re.match(r"[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*([\w-]+)[ \t]*=", fault.text[span.start :])
    return match[1] if match else "key"


def _folded(fault: Fault, before: Spans, home: KeyPath, prefix: str, span: Span) -> Edit | None:
    """The edit that moves the keys below a header to the end of those of `home`, with `prefix.` in front of them.

    None where that is not possible, or `home` has one of them already.
    """
    header = before.headers[home]
    limit = min((one.start for one in before.headers.values() if one.start > header.start), default=span.start)
    last = max([header.end, *(pair.end for pair in before.pairs.values() if header.end < pair.end <= limit)])
    newline, body = fault.text.find("\n", last), fault.text.find("\n", span.end)
    if newline < 0 or body < 0:
        return None
    line_end = "\r\n" if "\r\n" in fault.text else "\n"
    rest = fault.text[body + 1 :]
    following = re.search(r"^[ \t]*\[", rest, re.MULTILINE)
    section = rest[: following.start()] if following else rest
    section = section.rstrip()
    end = body + 1 + len(section) + (len(line_end) if section else 0)
    try:
        pairs = index(section).pairs if tomli.loads(section) else {}
    except tomli.TOMLDecodeError:
        return None
    if not prefix and any((*home, path[0]) in before.keys for path in pairs):
        return None
    for pair in sorted((pair for path, pair in pairs.items() if prefix and not _nested(path, pairs)), reverse=True):
        section = f"{section[: pair.start]}{prefix}.{section[pair.start :]}"
    kept = section + line_end if section else ""
    return Edit(start=newline + 1, end=min(end, len(fault.text)), text=kept + fault.text[newline + 1 : span.start])


def _nested(path: KeyPath, pairs: Mapping[KeyPath, Span]) -> bool:
    """Whether a pair stands in an inline table."""
    return any(path[:length] in pairs for length in range(1, len(path)))


def _two_ways(fault: Fault, path: KeyPath, span: Span, first: Span | None) -> Problem:
    name = ".".join(toml_key(part) for part in path if isinstance(part, str))
    advice = "keep all its keys in one place, in one way"
    return _twice(fault, f"{name} is written in two ways", span, first, "already made here", advice, None)


def _twice(
    fault: Fault, message: str, span: Span, first: Span | None, label: str, help: str, edit: Edit | None
) -> Problem:
    places = (related(fault.text, first, label),) if first else ()
    problem = fault.say(span, message, "again here", help, edit, code="MA002")
    return attrs.evolve(problem, related=places)


def _table(before: Spans) -> KeyPath:
    """The table that a key below all that text belongs to."""
    return max(before.headers, key=lambda path: before.headers[path].start, default=())


def _remove(fault: Fault, start: int) -> Edit:
    end = fault.text.find("\n", fault.at)
    return Edit(start=fault.text.rfind("\n", 0, start) + 1, end=len(fault.text) if end < 0 else end + 1, text="")


def _leading(pattern: str, text: str) -> int:
    """How many characters at the start of a text a pattern takes."""
    match = re.match(pattern, text)
    return match.end() if match else 0
