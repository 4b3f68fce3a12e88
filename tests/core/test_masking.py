"""What is sensitive, and texts without it."""

import json
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import App, AppInfo, AppTest, Endpoint, Field, Model, Split, Step
from modelapp.errors import InvalidInput
from modelapp.fieldtype import parse
from modelapp.masking import (
    HIDDEN,
    Curtain,
    bared,
    everything,
    hides,
    leaves,
    masked,
    private_models,
    scrub,
    scrubbed,
    touches,
    values_of_tests,
)
from modelapp.matchers import Mismatch

WORDS = st.text(string.ascii_letters + string.digits + " '\"\\éß\n", min_size=3, max_size=60).filter(str.strip)


def field(name: str, type_: str = "str", *fields: Field, sensitive: bool = False) -> Field:
    """A declared field."""
    return Field(name=name, type=parse(type_), fields={one.name: one for one in fields}, sensitive=sensitive)


CARD = field("card", "record", field("number", sensitive=True), field("expires"))
FIELDS = {
    one.name: one
    for one in (
        field("name", sensitive=True),
        field("age", "int", sensitive=True),
        field("note"),
        CARD,
        field("people", "list[record]", field("inner", "record", field("id", "int", sensitive=True)), field("city")),
        field("blob", "json", sensitive=True),
    )
}
VALUES = {
    "name": "Ann Example",
    "age": 4711,
    "note": "plain",
    "card": {"number": "4111-1111", "expires": "12/30"},
    "people": [{"inner": {"id": 123456}, "city": "Rome"}, {"inner": {"id": 654321}, "city": "Oslo"}],
    "blob": {"key-in-blob": [True, None, "deep text"]},
}


def test_a_field_hides_its_record():
    """At any depth."""
    assert hides(FIELDS)
    assert hides({"card": CARD})
    assert not hides({"note": FIELDS["note"]})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("name", True),
        ("note", False),
        ("card", True),
        ("card.number", True),
        ("card.expires", False),
        ("people[1].inner.id", True),
        ("people[-1].city", False),
        ("people", True),
        ("people[0]", True),
        ("blob.key.deeper[3]", True),
        ("elsewhere", False),
        ("", True),
    ],
)
def test_a_path_touches_what_it_leads_through_to_and_holds(path, expected):
    """The whole answer holds it; a plain neighbour in the same record does not."""
    assert touches(FIELDS, path) is expected


def test_every_sensitive_leaf_is_found_and_no_other():
    """Below a sensitive field also the names in objects, since nothing declares them."""
    found = list(leaves(FIELDS, VALUES))
    assert found == ["Ann Example", 4711, "4111-1111", 123456, 654321, "key-in-blob", True, "deep text"]


def test_masked_values_keep_their_shape():
    """And the values themselves are left as they were."""
    before = json.dumps(VALUES)
    assert masked(FIELDS, VALUES) == {
        "name": HIDDEN,
        "age": HIDDEN,
        "note": "plain",
        "card": {"number": HIDDEN, "expires": "12/30"},
        "people": [{"inner": {"id": HIDDEN}, "city": "Rome"}, {"inner": {"id": HIDDEN}, "city": "Oslo"}],
        "blob": HIDDEN,
    }
    assert json.dumps(VALUES) == before


@pytest.mark.parametrize("value", ["4111-1111", ["4111-1111"], 41111111])
def test_what_has_another_shape_than_declared_is_masked_whole(value):
    """It may be the sensitive part."""
    assert "4111" not in json.dumps(masked(FIELDS, {"card": value}))


def test_bared_values_lack_the_sensitive_ones_and_tell_where_they_were():
    """For what is recorded."""
    kept, left_out = bared(FIELDS, VALUES)
    assert kept == {
        "note": "plain",
        "card": {"expires": "12/30"},
        "people": [{"inner": {}, "city": "Rome"}, {"inner": {}, "city": "Oslo"}],
    }
    assert left_out == ("name", "age", "card.number", "people[0].inner.id", "people[1].inner.id", "blob")


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("no name Ann Example here", "Ann Example", "no name *** here"),
        ("KeyError: 'ann example'", "Ann Example", "KeyError: '***'"),
        (r"'O\'Brien' failed", "O'Brien", "'***' failed"),
        ('"a\\nb c" failed', "a\nb c", '"***" failed'),
        ("id 123456, 1234567", 123456, "id ***, 1234567"),
        ("x=0.123456", 0.123456, "x=***"),
        ("7 of 7", 7, "7 of 7"),
        ("true is true", True, "true is true"),
        ("a cat is a cat", "a", "*** cat is *** cat"),
        ("b'\\x00secret'", b"\x00secret", "b'***'"),
        ("", "Ann", ""),
        ("nothing of it", "Ann Example", "nothing of it"),
        ("İ Ann İ", "ann", "İ *** İ"),
    ],
)
def test_a_value_is_cut_out_of_a_text(text, value, expected):
    """As it is, escaped, in another case; small numbers stay, since they say nothing."""
    assert scrub(text, [value]) == expected


@given(WORDS, st.text(max_size=30), st.text(max_size=30), st.sampled_from([str, repr, json.dumps, str.upper]))
def test_no_text_holds_a_value_after_it_is_cut_out(value, before, after, form):
    """However it was written into it."""
    clean = scrub(f"{before}{form(value)}{after}", [value])
    assert value.strip().lower() not in clean.lower() or value.strip().lower() in HIDDEN


@given(st.text(string.ascii_letters, min_size=30, max_size=200), st.integers(0, 100), st.integers(12, 40))
def test_a_long_piece_of_a_value_is_cut_out_too(value, start, length):
    """Texts show long values cut short."""
    piece = value[start : start + length]
    if len(piece) >= 12:
        assert piece not in scrub(f'got "{piece}..." (str)', [value])


def test_an_array_of_a_value_is_looked_through():
    """A picture is not: its numbers are everywhere."""
    assert scrub("row 123456", everything([np.array([1, 123456])])) == "row ***"
    assert list(everything(np.zeros((200, 200, 3)))) == []


def test_too_much_to_look_for_hides_all():
    """Rather than let something pass."""
    assert scrub("anything", range(1_000_000)) == HIDDEN


def test_an_error_keeps_its_class_and_loses_the_value():
    """In its field too; the original is left alone, since batch mates share it."""
    error = InvalidInput("no card 4111-1111", field="cards.4111-1111")
    clean = scrubbed(error, ["4111-1111"])
    assert (type(clean), clean.message, clean.field, str(clean)) == (
        InvalidInput,
        "no card ***",
        "cards.***",
        "no card ***",
    )
    assert error.message == "no card 4111-1111"


def test_the_models_of_a_private_endpoint():
    """Its model, its arms, the steps that are models; those of others are free to tell."""
    fields = {"name": field("name", sensitive=True)}
    models = {name: Model(name=name, source="s", runtime="null") for name in ("a", "b", "c", "d", "e")}
    endpoints = {
        "one": Endpoint(name="one", model="a", input=fields),
        "two": Endpoint(name="two", split=Split(arms={"b": 100}), output=fields),
        "three": Endpoint(name="three", steps=(Step(name="x", run="c"), Step(name="y", run="h.py:f")), input=fields),
        "four": Endpoint(name="four", model="d"),
    }
    assert private_models(App(app=AppInfo(name="app"), models=models, endpoints=endpoints)) == {"a", "b", "c"}


def test_a_curtain_hides_both_sides_of_a_difference():
    """What was expected is as sensitive as what came; and a step's result is declared nowhere."""
    endpoint = Endpoint(name="e", model="m", output=FIELDS)
    found = Mismatch("card.number", "4111-1111", "4111-2222")
    assert "4111" not in str(Curtain(endpoint).mismatch(found))
    plain = Mismatch("note", "a", "b")
    assert Curtain(endpoint).mismatch(plain) == plain
    assert "4111" not in str(Curtain(endpoint, probe=True).mismatch(Mismatch("x", "4111-1111", "4111")))
    free = Curtain(Endpoint(name="e", model="m"), probe=True)
    assert free.mismatch(found) == found


def test_the_sensitive_values_of_tests():
    """Inputs by their fields, expectations by their paths."""
    endpoint = Endpoint(name="e", model="m", input={"name": FIELDS["name"], "note": FIELDS["note"]}, output=FIELDS)
    test = AppTest(name="t", input={"name": "Ann", "note": "n"}, expect={"card.number": "4111", "note": "x"})
    app = App(app=AppInfo(name="app"), endpoints={"e": endpoint}, tests=(test,))
    assert list(values_of_tests(app)) == ["Ann", "4111"]
