"""Cron lines: five fields, each within its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.cron import SHORTHANDS, fault

BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


@st.composite
def _field(draw, low, high):
    """One field of any of its forms."""
    kind = draw(st.sampled_from(["*", "number", "range", "step", "list"]))
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, 9))
    forms = {
        "*": "*",
        "number": str(first),
        "range": f"{first}-{last}",
        "step": draw(st.sampled_from([f"*/{step}", f"{first}-{last}/{step}", f"{first}/{step}"])),
        "list": f"{first},{last}",
    }
    return forms[kind]


@given(st.tuples(*[_field(low, high) for low, high in BOUNDS]))
def test_every_form_of_every_field_is_read(fields):
    """A number, a range, a step, a list, or all; a day that no month has is the one thing to say."""
    assert fault(" ".join(fields)) in ("", "no such day in that month")


@pytest.mark.parametrize(
    "line",
    [
        "0 6 * * *",
        "*/15 0-6,22,23 1,15 jan-mar MON-FRI",
        "59 23 31 12 7",
        "0  6\t* * *",
        "0 0 29 2 *",
        *SHORTHANDS.values(),
    ],
)
def test_a_line_that_a_clock_can_follow(line):
    """Nothing is said."""
    assert fault(line) == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "0 fields, and a cron line has 5"),
        ("0 6 * *", "4 fields, and a cron line has 5"),
        ("0 0 6 * * *", "6 fields, and a cron line has 5"),
        ("60 * * * *", '"60" is no minute, which is 0 to 59'),
        ("* 24 * * *", '"24" is no hour, which is 0 to 23'),
        ("* * 0 * *", '"0" is no day of month, which is 1 to 31'),
        ("* * * 13 *", '"13" is no month, which is 1 to 12'),
        ("* * * * 8", '"8" is no day of week, which is 0 to 7'),
        ("* * * mon *", '"mon" is no month, which is 1 to 12'),
        ("*/0 * * * *", '"*/0" is no minute, which is 0 to 59'),
        ("5-1 * * * *", '"5-1" is no minute: it ends before it begins'),
        ("1,,2 * * * *", '"" is no minute'),
        ("1.5 * * * *", '"1.5" is no minute'),
        ("-1 * * * *", '"-1" is no minute'),
        ("² * * * *", '"²" is no minute, which is 0 to 59'),
        ("0 0 31 2 *", "no such day in that month"),
        ("0 0 31 4,6 *", "no such day in that month"),
    ],
)
def test_a_line_that_no_clock_can_follow(line, said):
    """Its fault is told in a few words."""
    assert fault(line) == said


def test_a_day_of_the_week_makes_an_impossible_day_possible():
    """Where both are given, either starts the job."""
    assert fault("0 0 31 2 mon") == ""
