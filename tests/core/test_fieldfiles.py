"""Fields of a record that stand in a file of their own are fields like any other, and their mistakes are told there."""

import pytest

from modelapp.app import Field
from modelapp.fieldtype import parse

FIELDS = """\
# what the model was trained on
age = { type = "int", min = 0 }
city = "str?"

[home]
type = "record"
fields = { rooms = "int" }
"""


@pytest.fixture
def person(dungeon):
    """An app whose input has such a record; `write` writes its file."""
    dungeon.text = dungeon.text.replace(
        'photo = "image?"', 'photo = "image?"\nperson = { type = "record?", fields_from = "data/person.toml" }'
    )
    dungeon.write = (dungeon.root / "data" / "person.toml").write_text
    return dungeon


def test_the_fields_are_read_into_the_record(person):
    """Shorthands, tables and records within, as in app.toml itself."""
    person.write(FIELDS)
    fields = person.load().endpoints["continue"].input["person"].fields
    assert fields["age"] == Field(name="age", type=parse("int"), min=0.0)
    assert fields["city"] == Field(name="city", type=parse("str?"))
    assert fields["home"].fields == {"rooms": Field(name="rooms", type=parse("int"))}


def test_a_list_of_records_and_a_record_in_a_record_may_have_them(person):
    """Wherever a record stands."""
    person.write(FIELDS)
    text = person.text.replace(
        'boxes = "list[box]"', 'boxes = { type = "list[record]", fields_from = "data/person.toml" }'
    )
    text = text.replace("person = {", 'outer = { type = "record?", fields = { person = {').replace(
        '"data/person.toml" }\n[', '"data/person.toml" } } }\n['
    )
    app = person.load(text.replace('"boxes[0].label" = "cave"', "tokens = 12").replace("tokens = 12, tokens", "tokens"))
    assert set(app.endpoints["continue"].output["boxes"].fields) == {"age", "city", "home"}
    assert set(app.endpoints["continue"].input["outer"].fields["person"].fields) == {"age", "city", "home"}


def test_a_test_s_input_is_checked_against_them(person):
    """A value that the record would refuse is told at the test."""
    person.write(FIELDS)
    problem = person.only(
        person.text.replace('input = { prompt = "x" }', 'input = { prompt = "x", person = { age = "y" } }')
    )
    assert (problem.code, problem.message) == ("MA053", '"person" "age" must be a whole number')


@pytest.mark.parametrize(
    ("fields", "code", "line", "marked"),
    [
        ('age = "integer"\n', "MA023", 1, '"integer"'),
        ('x = "str"\nage = { type = "int", mn = 0 }\n', "MA010", 2, "mn"),
        ('age = { type = "int", min = 5, max = 1 }\n', "MA027", 1, "1"),
        ("age = int\n", "MA001", 1, "int"),
        ("age = 5\n", "MA020", 1, "5"),
        ('a = { type = "record", fields_from = "data/b.toml" }\n', "MA026", 1, "fields_from"),
        ("", "MA014", 1, ""),
    ],
)
def test_a_mistake_is_placed_in_its_file(person, fields, code, line, marked):
    """With the line there; app.toml is not blamed."""
    person.write(fields)
    problem = person.only(person.text)
    assert (problem.code, problem.file.name, problem.line) == (code, "person.toml", line)
    assert problem.source[problem.column - 1 :][: problem.length] == marked


def test_a_mistake_of_a_file_that_two_fields_name_is_told_once(person):
    """It is one mistake."""
    person.write('age = "integer"\n')
    text = person.text.replace(
        "person = {", 'other = { type = "record?", fields_from = "data/person.toml" }\nperson = {'
    )
    assert person.only(text).code == "MA023"


def test_a_file_that_is_not_utf_8_is_told(person):
    """By its name."""
    (person.root / "data" / "person.toml").write_bytes(b'caf\xe9 = "str"\n')
    problem = person.only(person.text)
    assert (problem.code, problem.file.name) == ("MA003", "person.toml")


@pytest.mark.parametrize(
    ("old", "new", "code", "marked"),
    [
        ("data/person.toml", "data/persn.toml", "MA057", '"data/persn.toml"'),
        ("data/person.toml", "../person.toml", "MA028", '"../person.toml"'),
        ('"record?"', '"json?"', "MA026", "fields_from"),
        ('"record?",', '"record?", fields = { a = "int" },', "MA026", "fields_from"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_in_app_toml(person, old, new, code, marked):
    """A missing file, one outside, a field that is no record, fields in two places."""
    person.write(FIELDS)
    problem = person.only(person.text.replace(old, new))
    assert (problem.code, problem.file.name) == (code, "app.toml")
    assert problem.source[problem.column - 1 :][: problem.length] == marked
