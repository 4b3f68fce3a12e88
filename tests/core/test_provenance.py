"""Recorded files that changed, and outputs that something else made."""

import hashlib
from pathlib import Path

import attrs
import pytest

from modelapp.app import App, AppInfo, AppTest
from modelapp.lockfile import Lock, Recorded
from modelapp.provenance import changed_files, with_origin
from modelapp.verdicts import Outcome

TEST = AppTest(name="cave", expect_file="x.json")
FAILED = Outcome(test=TEST, verdict="fail", endpoint="e")


def test_a_file_that_is_not_the_recorded_one_is_named(tmp_path: Path) -> None:
    """A missing one and one that was never recorded are not."""
    (tmp_path / "x.json").write_text("{}")
    app = App(app=AppInfo(name="a"), root=tmp_path)
    tests = [TEST, AppTest(name="gone", expect_file="y.json"), AppTest(name="new", expect_file="x.json")]
    same = Recorded("cave", hashlib.sha256(b"{}").hexdigest())
    gone = Recorded("gone", "0" * 64)
    assert list(changed_files(app, Lock(recorded=(same, gone)), tests)) == []
    found = list(changed_files(app, Lock(recorded=(attrs.evolve(same, sha256="0" * 64), gone)), tests))
    assert found == ['x.json is not the file that was recorded for test "cave" (app.lock)']


@pytest.mark.parametrize(
    ("made", "now", "reason"),
    [
        (("ort 1.30", "cpu"), ("ort 1.32", "cpu"), "recorded with ort 1.30, this is ort 1.32"),
        (("ort 1.30", "cpu"), ("ort 1.30", "cpu"), ""),
        (("ort 1.30", "cpu"), ("ort 1.30",), "recorded with cpu, this is ort 1.30"),
        ((), ("ort 1.32",), ""),
    ],
)
def test_a_failure_says_what_its_expected_output_was_made_with(
    made: tuple[str, ...], now: tuple[str, ...], reason: str
) -> None:
    """Where that is something else now."""
    lock = Lock(recorded=(Recorded("cave", "0" * 64, made),))
    assert with_origin(FAILED, lock, lambda _: now).reason == reason


def test_only_failures_of_recorded_outputs_say_so() -> None:
    """What passes, and what a person wrote, has no origin."""
    lock = Lock(recorded=(Recorded("cave", "0" * 64, ("ort 1",)),))
    for outcome in (
        attrs.evolve(FAILED, verdict="pass"),
        attrs.evolve(FAILED, test=attrs.evolve(TEST, expect_file="")),
        attrs.evolve(FAILED, test=attrs.evolve(TEST, name="other")),
    ):
        assert with_origin(outcome, lock, lambda _: ("ort 2",)) == outcome
