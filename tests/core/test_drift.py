"""What fewer bits cost a model that generates: differences of logits, and steps that would take another token."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelapp.drift import Drift
from modelapp.errors import ModelFailed
from modelapp.generating import Feed
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import NullEngine
from modelapp.runtime import Placement
from modelapp.textparity import TwinEngine, drive

PRECISE = np.array([[1.0, 3.0, -4.0], [2.0, 0.0, 1.0]], np.float32)
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(*[arrays(np.float32, shape, elements=st.floats(-100, 100, width=32))] * 2)
)


def test_steps_and_differences_are_counted() -> None:
    """The largest difference, also as a share of the largest logit; the second row would take another token."""
    drift = Drift("int8")
    drift.step("one token each", PRECISE, PRECISE + np.array([[0, 0.5, 0], [-2, 0, 0]], np.float32))
    drift.step("reading a prompt", PRECISE[:1], PRECISE[:1])
    assert drift.document() == {"steps": 3, "same_token": 2, "max_abs": 2.0, "max_rel": 0.5, "fault": None}
    assert drift.told() == (
        "int8 beside the model it was made of, at the same prompts: logits differ by 2 at most, 0.5 of the largest"
        " value; the likeliest token is the same in 2 of 3 steps"
    )


@given(pairs=st.lists(PAIRS, min_size=1, max_size=4))
def test_it_counts_as_one_pass_over_all_does(pairs: list[tuple[Any, Any]]) -> None:
    """In whatever steps the answers come."""
    drift = Drift("int8")
    for mine, theirs in pairs:
        drift.step("", mine, theirs)
    rows = [(a.astype(float), b.astype(float)) for pair in pairs for a, b in zip(*pair, strict=True)]
    assert drift.steps == len(rows)
    assert drift.same == sum(int(a.argmax() == b.argmax()) for a, b in rows)
    assert drift.max_abs == max(np.abs(a - b).max() for a, b in rows)
    assert drift.largest == max(np.abs(a).max() for a, _ in rows)
    json.dumps(drift.document(), allow_nan=False)


@pytest.mark.parametrize(
    ("theirs", "told"),
    [(PRECISE * np.nan, "is nan at [0, 0]"), (PRECISE[:, :2], "has shape [2, 2]"), (PRECISE + np.inf, "is inf at")],
)
def test_what_no_number_tells_is_told(theirs: Any, told: str) -> None:
    """The first such fault is kept, and the rest still counts."""
    drift = Drift("int8")
    drift.step("", PRECISE, theirs)
    drift.fault("are none")
    assert told in drift.document()["fault"]
    assert f"; logits of the int8 model: {drift.document()['fault']}" in drift.told()
    json.dumps(drift.document(), allow_nan=False)


def test_two_engines_are_driven_to_it() -> None:
    """One that does the same loses nothing; one that fails is told, and the precise one goes on alone."""

    class Failing(NullEngine):
        def step(self, feeds: Sequence[Feed]) -> Any:
            raise ModelFailed("no kernel")

    def drifted(other: type[NullEngine]) -> Drift:
        found = Drift("int8")
        engines = [kind(RuntimeOptions(), Placement(slots=3)) for kind in (NullEngine, other)]
        drive(TwinEngine(*engines, found), found)
        return found

    same = drifted(NullEngine)
    assert (same.same, same.max_abs, same.fault_told) == (same.steps, 0.0, "")
    assert same.steps > 20
    assert drifted(Failing).document()["fault"] == "are none: no kernel"
