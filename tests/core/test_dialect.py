"""Forms of TOML 1.1: each has a note and an edit, after which the standard library's TOML 1.0 reader takes the file."""

import tomllib
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from modelapp import dialect
from modelapp.document import Document
from modelapp.spans import index


def _notes(text):
    return list(dialect.of(Document(Path("app.toml"), text, index(text))))


@pytest.mark.parametrize(
    ("text", "line", "marked", "message", "mended"),
    [
        ("a = {\n b = 1,\n c = 2 }\n", 1, "{", "an inline table goes over several lines", "a = { b = 1, c = 2 }\n"),
        ("a = { b = 1, }\n", 1, "{", "an inline table ends in a comma", "a = { b = 1 }\n"),
        ("a = [1, { b = 1, }, 2]\n", 1, "{", "an inline table ends in a comma", "a = [1, { b = 1 }, 2]\n"),
        ("a = {\n}\n", 1, "{", "an inline table goes over several lines", "a = {  }\n"),
        ('a = "x\\ey"\n', 1, "\\e", "the escape \\e", 'a = "x\\u001By"\n'),
        ('a = "\\x41"\n', 1, "\\x41", "the escape \\x41", 'a = "\\u0041"\n'),
        ('"\\e" = 1\n', 1, "\\e", "the escape \\e", '"\\u001B" = 1\n'),
        ("a = 07:32\n", 1, "07:32", "a time without seconds", "a = 07:32:00\n"),
        ("a = 1979-05-27 07:32\n", 1, "1979-05-27 07:32", "a time without seconds", "a = 1979-05-27 07:32:00\n"),
        ("a = 1979-05-27T07:32Z\n", 1, "1979-05-27T07:32Z", "a time without seconds", "a = 1979-05-27T07:32:00Z\n"),
    ],
)  # fmt: skip
def test_a_form_is_noted_with_the_way_that_everybody_reads(text, line, marked, message, mended):
    """The file means the same afterwards, and TOML 1.0 takes it."""
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    (note,) = _notes(text)
    assert (note.code, note.severity, note.line) == ("MA009", "note", line)
    assert note.message == f"{message}, which is TOML 1.1"
    assert note.source[note.column - 1 :][: note.length] == marked
    assert note.edit.apply(text) == mended
    assert tomllib.loads(mended) == tomli.loads(text)


def test_a_comment_in_an_inline_table_is_not_thrown_away():
    """It has no place on one line, so the edit is left to whoever wrote it."""
    (note,) = _notes("a = { # why\n  b = 1 }\n")
    assert (note.edit, note.help) == (None, "write it on one line, or as a table of its own")


@pytest.mark.parametrize(
    "text",
    [
        'a = { b = "x, }", c = """\n}\n""" }\n',
        "a = [\n  1,\n  { b = 1 },\n]\n",
        'a = "C:\\\\env \\\\x41"\n',
        "a = '\\e \\x41 07:32'\n",
        'a = "at 07:32"\n',
        "a = 07:32:00\n",
        "a = { b = [\n1,\n] }\n",
        "# a = { b = 1, }\n",
    ],
)
def test_what_everybody_reads_is_not_noted(text):
    """What looks alike in a text, a comment or a list is TOML 1.0."""
    tomllib.loads(text)
    assert _notes(text) == []


PARTS = st.sampled_from(
    [
        "{ a = 1, }",
        "{\n a = 1\n}",
        '"\\e"',
        '"\\x41"',
        "07:32",
        "[\n1,\n]",
        "'x'",
        '"""\n,}"""',
        "{ b = { c = 1, }, }",
        "1",
    ]
)


@given(st.lists(PARTS, max_size=4))
def test_there_is_a_note_exactly_where_the_old_reader_stops(parts):
    """And after all edits, one at a time, it stops no more."""
    text = "".join(f"k{number} = {part}\n" for number, part in enumerate(parts))
    meaning = tomli.loads(text)
    while notes := _notes(text):
        with pytest.raises(tomllib.TOMLDecodeError):
            tomllib.loads(text)
        text = notes[0].edit.apply(text)
        assert tomli.loads(text) == meaning
    assert tomllib.loads(text) == meaning
