"""Syntax errors are told as what the writer did, where the writer did it."""

from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from modelapp.problems import Problem
from modelapp.syntax import problem_of

#: text, code, line, column, marked characters, message, help, the text after the edit (None: there is none)
CASES: list[tuple[str, str, int, int, str, str, str, str | None]] = [
    (
        '[app]\nname = "x"\n\n[models.story\nsource = "a"\n',
        "MA001",
        4,
        14,
        "",
        "table header is not closed",
        "write [models.story]",
        '[app]\nname = "x"\n\n[models.story]\nsource = "a"\n',
    ),
    (
        '[[tests]\nname = "a"\n',
        "MA001",
        1,
        9,
        "",
        "table header is not closed",
        "write [[tests]]",
        '[[tests]]\nname = "a"\n',
    ),
    (
        '[models:story]\nsource = "a"\n',
        "MA001",
        1,
        8,
        ":",
        "the parts of a table's name are not joined by a dot",
        "write [models.story]",
        '[models.story]\nsource = "a"\n',
    ),
    (
        "[models.s]\nmax_wait_ms = 15ms\n",
        "MA001",
        2,
        15,
        "15ms",
        "a number has a unit glued to it",
        "the unit is in the key: write max_wait_ms = 15",
        "[models.s]\nmax_wait_ms = 15\n",
    ),
    (
        "[models.s]\nmax_wait_ms = 15 s # c\n",
        "MA001",
        2,
        15,
        "15 s",
        "a number has a unit glued to it",
        "the unit is in the key: write max_wait_ms = 15000",
        "[models.s]\nmax_wait_ms = 15000 # c\n",
    ),
    (
        "[e]\ninput = { max = 15kg, min = 3 }\n",
        "MA001",
        2,
        17,
        "15kg",
        "a number has a unit glued to it",
        "write input = { max = 15, min = 3 }",
        "[e]\ninput = { max = 15, min = 3 }\n",
    ),
    (
        "[e]\ninput = [1, 15ms]\n",
        "MA001",
        2,
        13,
        "15ms",
        "a number has a unit glued to it",
        "write input = [1, 15]",
        "[e]\ninput = [1, 15]\n",
    ),
    (
        "timeout_s = 1500ms\n",
        "MA001",
        1,
        13,
        "1500ms",
        "a number has a unit glued to it",
        "the unit is in the key: write timeout_s = 1.5",
        "timeout_s = 1.5\n",
    ),
    ("a = 0,5\n", "MA001", 1, 5, "0,5", "a number has a decimal comma", "write a = 0.5", "a = 0.5\n"),
    ("port = 08000\n", "MA001", 1, 8, "08000", "a number begins with 0", "write port = 8000", "port = 8000\n"),
    (
        "host = 127.0.0.1\n",
        "MA001",
        1,
        8,
        "127.0.0.1",
        "a text has no quotes",
        'write host = "127.0.0.1"',
        'host = "127.0.0.1"\n',
    ),
    (
        "requires = >=0.1\n",
        "MA001",
        1,
        12,
        ">=0.1",
        "a text has no quotes",
        'write requires = ">=0.1"',
        'requires = ">=0.1"\n',
    ),
    (
        "requires = 1.2.3\n",
        "MA001",
        1,
        12,
        "1.2.3",
        "a text has no quotes",
        'write requires = "1.2.3"',
        'requires = "1.2.3"\n',
    ),
    (
        "a = 1 b = 2\n",
        "MA001",
        1,
        7,
        "b",
        "two statements share a line",
        "put it on a line of its own",
        "a = 1 \nb = 2\n",
    ),
    (
        '[models.s] source = "x"\n',
        "MA001",
        1,
        12,
        "s",
        "two statements share a line",
        "put it on a line of its own",
        '[models.s] \nsource = "x"\n',
    ),
    ("a = 1;\n", "MA001", 1, 6, ";", "the line does not end after its value", "write a = 1", "a = 1\n"),
    ("a = 1,\n", "MA001", 1, 6, ",", "the line does not end after its value", "write a = 1", "a = 1\n"),
    (
        'name = "a"b"\n',
        "MA001",
        1,
        11,
        'b"',
        "the line does not end after its value",
        'in a text, write a double quote as \\"',
        None,
    ),
    ("a = True\n", "MA001", 1, 5, "True", "True is not a TOML word", "write a = true", "a = true\n"),
    ("a = None\nb = 1\n", "MA001", 1, 5, "None", "TOML has no null", "remove this line", "b = 1\n"),
    ("name = “x”\n", "MA001", 1, 8, "“x”", "typographic quotes", 'write name = "x"', 'name = "x"\n'),
    (
        "runtime = onnx # c\n",
        "MA001",
        1,
        11,
        "onnx",
        "a text has no quotes",
        'write runtime = "onnx" # c',
        'runtime = "onnx" # c\n',
    ),
    (
        "a = { runtime = onnx, b = 1 }\n",
        "MA001",
        1,
        17,
        "onnx",
        "a text has no quotes",
        'write a = { runtime = "onnx", b = 1 }',
        'a = { runtime = "onnx", b = 1 }\n',
    ),
    ("a = .5\n", "MA001", 1, 5, ".5", "a number begins with a point", "write a = 0.5", "a = 0.5\n"),
    ("a =\nb = 1\n", "MA001", 1, 4, "", "a value is missing", "", None),
    ("a = # nothing\n", "MA001", 1, 5, "#", "a value is missing", "", None),
    ('name: "x"\n', "MA001", 1, 5, ":", "a colon in the place of =", 'write name = "x"', 'name = "x"\n'),
    ('name "x"\n', "MA001", 1, 6, '"', "this line is neither a header nor a key with its value", "", None),
    ("hello\n", "MA001", 1, 1, "hello", "this line is neither a header nor a key with its value", "", None),
    ("// comment\na = 1\n", "MA001", 1, 1, "//", "not a TOML comment", "write # comment", "# comment\na = 1\n"),
    ("; c\n", "MA001", 1, 1, ";", "not a TOML comment", "write # c", "# c\n"),
    ("“name” = 1\n", "MA001", 1, 1, "“name”", "typographic quotes", "write name = 1", "name = 1\n"),
    ("[]\n", "MA001", 1, 2, "]", "a name is missing", "", None),
    ("= 5\n", "MA001", 1, 1, "=", "a name is missing", "", None),
    ("- a\n", "MA001", 1, 3, "a", "this line is neither a header nor a key with its value", "", None),
    (
        "steps = [\n  { a = 1 }\n  { a = 2 },\n]\n",
        "MA001",
        2,
        12,
        "",
        "a comma is missing",
        "separate the items by commas",
        "steps = [\n  { a = 1 },\n  { a = 2 },\n]\n",
    ),
    (
        'steps = [\n  { a = 1 },\n\n[tests]\nname = "x"\n',
        "MA001",
        1,
        9,
        "[",
        "a list is not closed",
        "write ] where it ends",
        'steps = [\n  { a = 1 },]\n\n[tests]\nname = "x"\n',
    ),
    ("a = [1, 2\nb = 3\n", "MA001", 1, 5, "[", "a list is not closed", "write ] where it ends", "a = [1, 2]\nb = 3\n"),
    (
        "a = { b = 1\nc = 2\n",
        "MA001",
        1,
        5,
        "{",
        "an inline table is not closed",
        "write } where it ends",
        "a = { b = 1}\nc = 2\n",
    ),
    (
        "a = { b = 1\n[d]\n",
        "MA001",
        1,
        5,
        "{",
        "an inline table is not closed",
        "write } where it ends",
        "a = { b = 1}\n[d]\n",
    ),
    ("a = [1,\n", "MA001", 1, 5, "[", "a list is not closed", "write ] where it ends", "a = [1,]\n"),
    ("a = [1", "MA001", 1, 5, "[", "a list is not closed", "write ] where it ends", "a = [1]"),
    (
        'name = "abc\nb = 1\n',
        "MA001",
        1,
        8,
        '"abc',
        "a text is not closed",
        'write name = "abc"',
        'name = "abc"\nb = 1\n',
    ),
    (
        "name = 'abc\nb = 1\n",
        "MA001",
        1,
        8,
        "'abc",
        "a text is not closed",
        "write name = 'abc'",
        "name = 'abc'\nb = 1\n",
    ),
    (
        "name = 'abc\nb = '1'\n",
        "MA001",
        1,
        8,
        "'abc",
        "a text is not closed",
        "write name = 'abc'",
        "name = 'abc'\nb = '1'\n",
    ),
    ('a = { b = "x }\n', "MA001", 1, 11, '"x', "a text is not closed", 'write a = { b = "x" }', 'a = { b = "x" }\n'),
    ('a = """x\nfoo\n', "MA001", 1, 5, '"""', "a text is not closed", 'close it with """', None),
    ("b = 1\na = '''x\nfoo\n", "MA001", 2, 5, "'''", "a text is not closed", "close it with '''", None),
    (
        'a = "models\\new.onnx"\nb = "c:\\users"\n',
        "MA001",
        2,
        8,
        "\\u",
        "a backslash in double quotes",
        "single quotes keep backslashes: write 'c:\\users'",
        "a = \"models\\new.onnx\"\nb = 'c:\\users'\n",
    ),
    (
        'a = "c:\\users"\n',
        "MA001",
        1,
        8,
        "\\u",
        "a backslash in double quotes",
        "single quotes keep backslashes: write 'c:\\users'",
        "a = 'c:\\users'\n",
    ),
    (
        'pattern = "^\\d+$"\n',
        "MA001",
        1,
        13,
        "\\d",
        "a backslash in double quotes",
        "single quotes keep backslashes: write '^\\d+$'",
        "pattern = '^\\d+$'\n",
    ),
    ("a = 1\x00\n", "MA001", 1, 5, "1\x00", "a text has no quotes", 'write a = "1\\u0000"', 'a = "1\\u0000"\n'),
    ("# \x07\n", "MA001", 1, 3, "\x07", "the invisible character U+0007", "delete it, or write an escape", None),
    (
        "[models.a]\nx = 1\n[models.a]\ny = 1\n\n[app]\n",
        "MA002",
        3,
        1,
        "[models.a]",
        "table [models.a] is defined twice",
        "put its keys below the first of the two headers",
        "[models.a]\nx = 1\ny = 1\n\n[app]\n",
    ),
    (
        "[models.a]\nx = 1\n[models.a]\nx = 2\n",
        "MA002",
        3,
        1,
        "[models.a]",
        "table [models.a] is defined twice",
        "put its keys below the first of the two headers, or write [models.a-2]",
        "[models.a]\nx = 1\n[models.a-2]\nx = 2\n",
    ),
    (
        '[tests]\nname = "a"\n[tests]\nname="b"\n',
        "MA002",
        3,
        1,
        "[tests]",
        "table [tests] is defined twice",
        "put its keys below the first of the two headers",
        None,
    ),
    (
        "[[tests]]\na=1\n[tests]\na=1\n",
        "MA002",
        3,
        1,
        "[tests]",
        "[tests] is also [[tests]]",
        "write [[tests]]",
        "[[tests]]\na=1\n[[tests]]\na=1\n",
    ),
    (
        "[tests]\na=1\n[[tests]]\na=1\n",
        "MA002",
        3,
        1,
        "[[tests]]",
        "[[tests]] is also [tests]",
        "write [[tests]] there",
        "[[tests]]\na=1\n[[tests]]\na=1\n",
    ),
    ("a = 1\na = 2\n", "MA002", 2, 1, "a", '"a" is set twice', "keep one of the two lines", "a = 1\n"),
    (
        '[s]\nport = 1\nhost="x"\nport = 2\n',
        "MA002",
        4,
        1,
        "port",
        '"port" is set twice',
        "keep one of the two lines",
        '[s]\nport = 1\nhost="x"\n',
    ),
    ("i = { a = 1, a = 2 }\n", "MA002", 1, 14, "a ", '"a" is set twice', "keep one of the two", None),
    (
        "[profiles.prod]\ndeploy.replicas = 4\n[profiles.prod.deploy]\nx = 1\n",
        "MA002",
        3,
        1,
        "[profiles.prod.deploy]",
        "a profile is written in two ways",
        "keep it all in [profiles.prod], one dotted key a line, e.g. deploy.x = ...",
        "[profiles.prod]\ndeploy.replicas = 4\ndeploy.x = 1\n",
    ),
    (
        "a.b = 1\na = 2\n",
        "MA002",
        2,
        1,
        "a",
        "a is written in two ways",
        "keep all its keys in one place, in one way",
        None,
    ),
    (
        "a = 1\n[a]\n",
        "MA002",
        2,
        1,
        "[a]",
        "a is written in two ways",
        "keep all its keys in one place, in one way",
        None,
    ),
    (
        "a = 1\na.b = 2\n",
        "MA002",
        2,
        1,
        "a.b",
        "a.b is written in two ways",
        "keep all its keys in one place, in one way",
        None,
    ),
    (
        "a = {b = 1}\na.c = 1\n",
        "MA002",
        2,
        1,
        "a.c",
        "a.c is written in two ways",
        "keep all its keys in one place, in one way",
        None,
    ),
    ("d = 2024-02-31\n", "MA001", 1, 5, "2024-02-31", "no such date", 'write d = "2024-02-31"', 'd = "2024-02-31"\n'),
    (
        "\ufeffname = x\r\nb = 1\r\n",
        "MA001",
        1,
        8,
        "x",
        "a text has no quotes",
        'write name = "x"',
        '\ufeffname = "x"\r\nb = 1\r\n',
    ),
    (
        '[app]\r\nname = "x"\r\nport = 8_000_\r\n',
        "MA001",
        3,
        8,
        "8_000_",
        "a text has no quotes",
        'write port = "8_000_"',
        '[app]\r\nname = "x"\r\nport = "8_000_"\r\n',
    ),
    (
        "a = 1979-05-27T07\n",
        "MA001",
        1,
        5,
        "1979-05-27T07",
        "a text has no quotes",
        'write a = "1979-05-27T07"',
        'a = "1979-05-27T07"\n',
    ),
    (
        'a = "x" "y"\n',
        "MA001",
        1,
        9,
        '"y"',
        "the line does not end after its value",
        'in a text, write a double quote as \\"',
        None,
    ),
    (
        'expect = { label: "x" }\n',
        "MA001",
        1,
        17,
        ":",
        "a colon in the place of =",
        'write expect = { label = "x" }',
        'expect = { label = "x" }\n',
    ),
    ("a = [1 2]\n", "MA001", 1, 7, " ", "a comma is missing", "separate the items by commas", "a = [1, 2]\n"),
    ("a = `x`\n", "MA001", 1, 5, "`x`", "typographic quotes", 'write a = "x"', 'a = "x"\n'),
    ("a = yes\n", "MA001", 1, 5, "yes", "yes is not a TOML word", "write a = true", "a = true\n"),
    (
        'a = "tab\tok"\nb = "x\n',
        "MA001",
        2,
        5,
        '"x',
        "a text is not closed",
        'write b = "x"',
        'a = "tab\tok"\nb = "x"\n',
    ),
]
FILE = Path("app.toml")


def _read(text: str) -> dict[str, Any] | Problem:
    try:
        return tomli.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        return problem_of(FILE, text, error)


def _problem(text: str) -> Problem:
    found = _read(text)
    assert isinstance(found, Problem)
    return found


@pytest.mark.parametrize(("text", "code", "line", "column", "marked", "message", "help", "mended"), CASES)
def test_a_syntax_error_is_recast_to_its_culprit(
    text: str, code: str, line: int, column: int, marked: str, message: str, help: str, mended: str | None
) -> None:
    """Place, marked characters, message, help and edit are exactly these."""
    problem = _problem(text)
    assert (problem.code, problem.message, problem.help) == (code, message, help)
    assert (problem.line, problem.column) == (line, column)
    start = problem.column - 1
    assert problem.source[start : start + problem.length] == marked
    assert (problem.edit and problem.edit.apply(text)) == mended


@pytest.mark.parametrize("text", [case[-1] for case in CASES if case[-1] is not None])
def test_the_edit_of_a_syntax_error_makes_the_text_readable(text: str) -> None:
    """The mended text is TOML."""
    assert isinstance(_read(text), dict)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5000, "lists or tables are nested too deeply"),
        ("a = " + "1" * 5000, "an integer has thousands of digits"),
    ],
)
def test_what_tomli_cannot_bear_is_a_problem_too(text: str, message: str) -> None:
    """Limits of the parser end in a problem, not in a traceback."""
    assert _problem(text).message == message


def test_lines_are_counted_the_same_with_either_line_end() -> None:
    """tomli counts without carriage returns; the edit's characters are those of the file."""
    unix = '[app]\nname = "x"\nport = 15ms\n'
    windows = unix.replace("\n", "\r\n")
    one, other = _problem(unix), _problem(windows)
    assert (one.line, one.column, one.source) == (other.line, other.column, other.source) == (3, 8, "port = 15ms")
    assert other.edit is not None
    assert other.edit.apply(windows) == windows.replace("15ms", "15")


VALID = '''[app]
name = "x" # it's
steps = [
  { a = 1, b = 'c' },
]
[[tests]]
text = """two
lines"""
input = { when = 1979-05-27 07:32:00, list = [1, 2.5] }
'''


@given(st.data())
def test_any_broken_text_has_one_problem_inside_it(data: st.DataObject) -> None:
    """Characters taken out or put in never end in anything but data, or one problem whose edit can be applied."""
    start = data.draw(st.integers(0, len(VALID)))
    end = data.draw(st.integers(start, min(len(VALID), start + 4)))
    put = data.draw(st.text(st.sampled_from("[]{}=\"'\\,#\n\r .a1:\t-\ufeff\x00"), max_size=4))
    text = VALID[:start] + put + VALID[end:]
    found = _read(text)
    if isinstance(found, dict):
        return
    assert found.render()
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    assert 1 <= found.line <= len(lines)
    assert found.source == lines[found.line - 1].rstrip("\r")
    assert 1 <= found.column <= len(found.source) + 1
    if found.edit is not None:
        assert found.edit.apply(text) != text
