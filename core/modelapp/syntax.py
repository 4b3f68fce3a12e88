"""TOML syntax errors, recast from where the parser stopped to what the writer did."""

import re
from collections.abc import Callable
from pathlib import Path

import tomli

from modelapp import redefinitions
from modelapp.faults import Fault
from modelapp.problems import Edit, Problem
from modelapp.spans import Span
from modelapp.suggestions import number_for, quantity, toml

_UNIT = re.compile(r"[+-]?\d+(?:\.\d+)?\s*[A-Za-z%]+(?!\w*\s*=)")
_HEADER_OR_KEY = re.compile(r"\s*(?:\[{1,2}[A-Za-z_][\w.\"' -]*\]|[\w-]+\s*=)")
_COMMENT_MARKS = ("//", ";", "--", "/*", "%")
_WORDS = {"True": "true", "TRUE": "true", "yes": "true", "on": "true"}
_WORDS |= {"False": "false", "FALSE": "false", "no": "false", "off": "false"}
_QUOTES = dict.fromkeys("\u201c\u201d\u201e\u201f`\u00b4", '"') | dict.fromkeys("\u2018\u2019", "'")


def problem_of(file: Path, text: str, error: ValueError | RecursionError) -> Problem:
    """What is wrong with a TOML text, of which tomli says `error`."""
    if isinstance(error, tomli.TOMLDecodeError):
        return _recast(Fault(file, text, error))
    deep = isinstance(error, RecursionError)
    message = "lists or tables are nested too deeply" if deep else "an integer has thousands of digits"
    return Problem(code="MA001", message=message, file=file, line=0, column=0)


def _recast(fault: Fault) -> Problem:
    """What the writer did; tomli's own words where no rule knows better."""
    said = fault.error.msg
    for begins, rule in _RULES.items():
        if said.startswith(begins) and (found := rule(fault)):
            return found
    return fault.say(Span(fault.at, fault.at + 1), said[0].lower() + said[1:], "TOML cannot be read from here on")


def _header(fault: Fault) -> Problem | None:
    closing = "]]" if fault.line.lstrip().startswith("[[") else "]"
    offset = fault.line_start + len(fault.text[fault.line_start : fault.at].rstrip())
    missing = closing[1:] if fault.rest.startswith("]") else closing
    if fault.rest.startswith("]"):
        offset = fault.at + 1
    elif fault.rest[:1] in tuple(":/=>") and fault.rest[1:2].isalnum():
        mark = Span(fault.at, fault.at + 1)
        return fault.write(mark, "the parts of a table's name are not joined by a dot", "a dot belongs here", ".")
    elif fault.rest.strip() and not fault.rest.lstrip().startswith("#"):
        label = f"expected '{closing}' here"
        return fault.say(Span(fault.at, fault.at + 1), "table header is not closed", label, "quote names with blanks")
    written = fault.text[fault.line_start : offset].strip() + missing
    return fault.insert(offset, missing, "table header is not closed", f"expected '{missing}' here", f"write {written}")


def _after_value(fault: Fault) -> Problem | None:
    """Something stands behind a complete value."""
    start = fault.line_start + _token_start(fault.text[fault.line_start : fault.at])
    if fault.rest[0] in ",;" and not re.match(r",\d", fault.rest):
        return fault.write(Span(fault.at, fault.at + 1), "the line does not end after its value", "too much", "")
    token = Span(start, start + len(re.split(r"[,\]}#\s]", fault.text[start : fault.line_end])[0]))
    if match := _UNIT.match(fault.text, start):
        return _unit(fault, Span(*match.span()))
    word = fault.text[token.start : token.end]
    if match := re.match(r"([+-]?\d+),(\d+)", fault.text[start : fault.line_end]):
        span = Span(start, start + match.end())
        return fault.write(span, "a number has a decimal comma", "TOML numbers have a point", f"{match[1]}.{match[2]}")
    if re.fullmatch(r"[+-]?0\d+", word):
        return fault.write(token, "a number begins with 0", "TOML numbers have no leading zeros", str(int(word)))
    if word and token.end > fault.at > token.start and word[0] not in "\"'[{":
        return fault.write(token, "a text has no quotes", "this is read as a number that ends too early", toml(word))
    if re.match(r"[\w\"'-]+\s*=|\[", fault.rest):
        newline, message = "\n", "two statements share a line"
        return fault.insert(fault.at, newline, message, "a new line must begin here", "put it on a line of its own")
    advice = 'in a text, write a double quote as \\"' if word[:1] == '"' else ""
    return fault.say(Span(fault.at, fault.line_end), "the line does not end after its value", "what is this?", advice)


def _unit(fault: Fault, span: Span) -> Problem:
    text, key = fault.text[span.start : span.end], fault.key(span.start)
    message, label = "a number has a unit glued to it", "numbers carry no unit in TOML"
    number = number_for(key, text)
    if number is None:
        read = quantity(text.rstrip("%"))
        return fault.write(span, message, label, toml(read.number if read else 0))
    edit = Edit(start=span.start, end=span.end, text=toml(number))
    advice = f"the unit is in the key: write {key} = {toml(number)}" if key else f"write {toml(number)}"
    return fault.say(span, message, label, advice, edit)


def _no_value(fault: Fault) -> Problem | None:
    word = re.split(r"\s*(?:#|$)", fault.rest)[0]
    if unclosed := _unclosed(fault):
        return unclosed
    if fault.in_container:
        word = re.split(r"[,\]}]", word)[0].rstrip()
    span = Span(fault.at, fault.at + len(word))
    if not word:
        return fault.say(Span(fault.at, fault.at + 1), "a value is missing", "nothing stands here")
    if word in _WORDS:
        return fault.write(span, f"{word} is not a TOML word", "true and false are written so", _WORDS[word])
    if word.lower() in ("none", "null", "nil"):
        message = "TOML has no null"
        edit = Edit(start=fault.line_start, end=min(fault.line_end + 1, len(fault.text)), text="")
        return fault.say(span, message, "a key without a value is left out", "remove this line", edit)
    if word[0] in _QUOTES:
        straight = "".join(_QUOTES.get(char, char) for char in word)
        return fault.write(span, "typographic quotes", 'TOML wants straight quotes: "', straight)
    if re.fullmatch(r"[+-]?\.\d+", word):
        return fault.write(span, "a number begins with a point", "a digit is missing", word.replace(".", "0.", 1))
    return fault.write(span, "a text has no quotes", "texts stand in double quotes", toml(word))


def _unclosed(fault: Fault) -> Problem | None:
    """A list or an inline table that runs into the next statement or the end of the file."""
    start, line = fault.statement_start, fault.line
    at_end = fault.at >= len(fault.text)
    if not at_end and (start >= fault.line_start or not _HEADER_OR_KEY.match(line)):
        return None
    body = fault.text[start:] if at_end else fault.text[start : fault.line_start]
    body = re.sub(r"#[^\n]*$", "", body.rstrip())
    end = start + len(body.rstrip())
    opened = re.search(r"=\s*([\[{])", body)
    kind, closing = ("a list", "]") if opened and opened[1] == "[" else ("an inline table", "}")
    span = Span(start + opened.start(1), start + opened.end(1)) if opened else Span(start, start + 1)
    edit = Edit(start=end, end=end, text=closing)
    return fault.say(span, f"{kind} is not closed", f"no {closing} follows", f"write {closing} where it ends", edit)


def _in_container(fault: Fault) -> Problem | None:
    """In a list or inline table, something other than a comma stands behind a value."""
    start = fault.line_start + _token_start(fault.text[fault.line_start : fault.at])
    if (match := _UNIT.match(fault.text, start)) and match.end() > fault.at:
        return _unit(fault, Span(*match.span()))
    if unclosed := _unclosed(fault):
        return unclosed
    previous = len(fault.text[: fault.at].rstrip())
    if fault.at >= len(fault.text) or not fault.rest.strip():
        return None
    comment = re.search(r"\s*#[^\n]*$", fault.text[:previous])
    previous = comment.start() if comment else previous
    return fault.insert(previous, ",", "a comma is missing", "after this", "separate the items by commas")


def _no_equals(fault: Fault) -> Problem | None:
    if fault.rest.startswith(":"):
        return fault.write(Span(fault.at, fault.at + 1), "a colon in the place of =", "TOML writes key = value", " =")
    span = Span(fault.line_start, fault.at) if fault.rest.strip() == "" else Span(fault.at, fault.at + 1)
    return fault.say(span, "this line is neither a header nor a key with its value", "= is missing")


def _no_key(fault: Fault) -> Problem | None:
    rest, at = fault.rest, fault.at
    if mark := next((mark for mark in _COMMENT_MARKS if rest.startswith(mark)), ""):
        return fault.write(Span(at, at + len(mark)), "not a TOML comment", "comments begin with #", "#")
    if rest[:1] in _QUOTES:
        quoted = re.split(r"\s*=", rest)[0]
        return fault.write(Span(at, at + len(quoted)), "typographic quotes", "not part of TOML", quoted[1:-1])
    return fault.say(Span(at, at + 1), "a name is missing", "a key or a header's name was expected here")


def _open_string(fault: Fault) -> Problem | None:
    """A string that the end of its line, or of the file, cuts off."""
    line_start, line = fault.line_start, fault.line
    if fault.at >= len(fault.text) or fault.rest:
        line_start = fault.statement_start
        line = fault.text[line_start:].split("\n", 1)[0]
    line = line.rstrip()
    opened = _last_open_quote(line)
    if opened < 0:
        return None
    start, quote = line_start + opened, line[opened]
    message, label = "a text is not closed", f"no {quote} follows"
    if line[opened : opened + 3] == quote * 3:
        return fault.say(Span(start, start + 3), message, f"no {quote * 3} follows", f"close it with {quote * 3}")
    tail = re.search(r"[\s,\]}]*$", line[opened + 1 :]) if re.search(r"=\s*[\[{]", line[:opened]) else None
    close = line_start + (opened + 1 + tail.start() if tail else len(line))
    written = f"{fault.text[line_start:close]}{quote}{fault.text[close : line_start + len(line)]}"
    edit = Edit(start=close, end=close, text=quote)
    return fault.say(Span(start, close), message, label, f"write {written.strip()}", edit)


def _backslash(fault: Fault) -> Problem | None:
    line = fault.line
    column = line.rfind("\\", 0, fault.at - fault.line_start)
    span = Span(fault.line_start + column, min(fault.line_start + column + 2, fault.line_end))
    message, label = "a backslash in double quotes", "not an escape that TOML knows"
    for match in re.finditer(r'"((?:\\.|[^"\\])*)"', line):
        if match.start() <= column < match.end() and "'" not in match[1]:
            start, end = fault.line_start + match.start(), fault.line_start + match.end()
            edit = Edit(start=start, end=end, text=f"'{match[1]}'")
            return fault.say(span, message, label, f"single quotes keep backslashes: write '{match[1]}'", edit)
    return fault.say(span, message, label, "write it twice: \\\\")


def _control(fault: Fault) -> Problem | None:
    if not fault.rest and (found := _open_string(fault)):
        return found
    code = ord(fault.text[fault.at])
    span = Span(fault.at, fault.at + 1)
    return fault.say(span, f"the invisible character U+{code:04X}", "not allowed here", "delete it, or write an escape")


def _date(fault: Fault) -> Problem:
    written = re.split(r"[\s,#\]}]", fault.rest)[0]
    return fault.write(Span(fault.at, fault.at + len(written)), "no such date", "not in the calendar", toml(written))


def _token_start(line: str) -> int:
    """Where the value begins that ends the given piece of a line."""
    match = re.search(r"(?:^|[=\[,{]\s*)([^=\[,{]*)$", line.rstrip())
    return match.start(1) if match else 0


def _last_open_quote(line: str) -> int:
    """Where the quote stands that nothing closes on this line; -1 where each is closed."""
    at = 0
    while match := re.compile(r"#|[\"']").search(line, at):
        quote, start = match[0], match.start()
        if quote == "#":
            return -1
        close = re.compile(r'"(?:\\.|[^"\\])*"' if quote == '"' else r"'[^']*'").match(line, start)
        if line.startswith(quote * 3, start):
            closing = line.find(quote * 3, start + 3)
            if closing < 0:
                return start
            at = closing + 3
        elif close is None:
            return start
        else:
            at = close.end()
    return -1


_RULES: dict[str, Callable[[Fault], Problem | None]] = {
    "Expected ']": _header,
    "Expected newline": _after_value,
    "Invalid value": _no_value,
    "Unclosed": _in_container,
    "Expected '='": _no_equals,
    "Invalid initial character": _no_key,
    "Invalid statement": _no_key,
    "Unterminated string": _open_string,
    "Expected": _open_string,
    "Illegal character": _control,
    "Found invalid character": _control,
    "Unescaped": _backslash,
    "Invalid hex value": _backslash,
    "Cannot": redefinitions.recast,
    "Duplicate inline table key": redefinitions.recast_inline,
    "Invalid date": _date,
}
