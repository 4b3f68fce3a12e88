"""Differences between app.lock and what is there, as sentences."""

import pytest

from modelapp.lockdrift import Difference, differences, drift
from modelapp.lockfile import Block, Lock, LockedFile, LockedPlugin, LockedSource, Recorded

A, B = "a" * 64, "b" * 64
STORY = LockedFile("models/story.onnx", A, 5)
TEXT = LockedSource("text", "", "package:p/m.onnx", "p", "1.0", A, 3)


def lock(*blocks: Block) -> Lock:
    kinds = (LockedFile, LockedSource, Recorded, LockedPlugin)
    return Lock(*(tuple(one for one in blocks if isinstance(one, kind)) for kind in kinds))  # type: ignore[arg-type]


SAID = [
    (
        STORY,
        LockedFile("models/story.onnx", B, 5),
        "models/story.onnx: app.lock has aaaaaaaaaaaa..., the file is bbbbbbbbbbbb...",
    ),
    (STORY, LockedFile("models/story.onnx", A, 6), "models/story.onnx: app.lock has 5 bytes, the file is 6 bytes"),
    (None, STORY, "models/story.onnx is not in app.lock"),
    (STORY, None, "models/story.onnx is in app.lock, and is no part of the app any more"),
    (
        TEXT,
        LockedSource("text", "", "package:p/m.onnx", "p", "1.1", A, 3),
        "package:p/m.onnx: app.lock has p 1.0, installed is p 1.1, with the same bytes",
    ),
    (
        TEXT,
        LockedSource("text", "", "package:p/m.onnx", "p", "1.1", B, 3),
        "package:p/m.onnx: app.lock has p 1.0 aaaaaaaaaaaa..., installed is p 1.1 bbbbbbbbbbbb...",
    ),
    (
        TEXT,
        LockedSource("text", "", "package:p/m.onnx", "p", "1.0", B, 3),
        "package:p/m.onnx: app.lock has p 1.0 aaaaaaaaaaaa..., installed is p 1.0 with other bytes, bbbbbbbbbbbb...",
    ),
    (
        TEXT,
        LockedSource("text", "", "package:p/m.onnx", "", "", A, 3),
        "package:p/m.onnx: app.lock has p 1.0, installed is no distribution, with the same bytes",
    ),
    (
        Recorded("greedy", A, ("x 1",)),
        Recorded("greedy", B),
        'the expect_file of "greedy": app.lock has aaaaaaaaaaaa..., the file is bbbbbbbbbbbb...',
    ),
    (None, Recorded("greedy", A), 'the expect_file of "greedy" is not in app.lock'),
    (LockedPlugin("acme", "1"), LockedPlugin("acme", "2"), "acme: app.lock has 1, installed is 2"),
]


@pytest.mark.parametrize(("locked", "now", "sentence"), SAID, ids=[one[2] for one in SAID])
def test_a_difference_is_one_sentence(locked: Block | None, now: Block | None, sentence: str) -> None:
    """That names the file or package, what app.lock has, and what is there."""
    before, after = (lock(*filter(None, [one])) for one in (locked, now))
    assert drift(before, after) == [sentence]
    assert drift(after, after) == []


def test_what_made_an_output_is_no_difference() -> None:
    """It is knowledge about the file that was recorded, and the file is the same."""
    assert drift(lock(Recorded("t", A, ("x 1",))), lock(Recorded("t", A))) == []


def test_all_differences_come_in_the_order_of_the_file() -> None:
    """Files first, plugins last, each table sorted."""
    before = lock(STORY, LockedPlugin("acme", "1"))
    after = lock(LockedFile("a", A, 1), LockedPlugin("acme", "2"), Recorded("t", A))
    told = [(one.change, one.table, one.name) for one in differences(before, after)]
    assert told == [
        ("added", "file", "a"),
        ("removed", "file", "models/story.onnx"),
        ("added", "recorded", 'the expect_file of "t"'),
        ("changed", "plugin", "acme"),
    ]


def test_a_difference_is_also_a_line_of_a_diff_and_json() -> None:
    """For the command that writes, and for programs."""
    (one,) = differences(lock(STORY), lock(LockedFile("models/story.onnx", B, 5)))
    assert one.line == "~ file models/story.onnx   aaaaaaaaaaaa... -> bbbbbbbbbbbb..."
    assert one.as_dict()["message"] == str(one)
    missing = Difference(change="missing", table="", name="m.onnx", now="there is no m.onnx")
    assert str(missing) == "there is no m.onnx"
