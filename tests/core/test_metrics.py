"""Scores over many cases."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.matchers import MISSING
from modelapp.metrics import METRICS, Undefined, score


def value(name: str, expected: list[Any], got: list[Any]) -> float | None:
    """The score, None where it is not defined."""
    try:
        return score(METRICS[name], expected, got)
    except Undefined:
        return None


@pytest.mark.parametrize(
    ("name", "expected", "got", "wanted"),
    [
        ("accuracy", ["a", "b", "c", "d"], ["a", "b", "x", "d"], 0.75),
        ("accuracy", [1, True, [1, 2]], [1.0, 1, [1, 2]], 2 / 3),
        ("exact_match", ["a b", "c"], [" a  b\n", "C"], 0.5),
        ("precision", [True, True, False, False], [True, False, True, False], 0.5),
        ("recall", [True, True, True, False], [True, False, True, True], 2 / 3),
        ("f1", [True, True, False], [True, False, True], 0.5),
        ("precision", [["a", "b"], ["c"]], [["a"], ["c", "d"]], 2 / 3),
        ("recall", [["a", "b"], ["c"]], [["a"], ["c", "d"]], 2 / 3),
        ("f1", [["a", "b"]], [["a", "b"]], 1.0),
        ("mae", [1, 2.0], [2, 0], 1.5),
        ("mae", [[1, 2], [3, 4]], [[1, 2], [3, 8]], 1.0),
        ("rmse", [0, 0], [3, 4], math.sqrt(12.5)),
    ],
)
def test_values_worked_out_by_hand(name: str, expected: list[Any], got: list[Any], wanted: float) -> None:
    """Each metric gives what its formula gives on paper."""
    assert value(name, expected, got) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("name", "expected", "got", "words"),
    [
        *[(name, [], [], "no cases") for name in METRICS],
        ("precision", [True], [False], "not defined"),
        ("recall", [False], [True], "not defined"),
        ("f1", [False], [False], "not defined"),
        ("precision", ["cat"], ["cat"], "true and false"),
        ("mae", ["1"], [1], "needs numbers"),
        ("mae", [True], [1], "needs numbers"),
        ("mae", [[1, 2]], [[1]], "needs numbers"),
        ("mae", [[]], [[]], "lists are empty"),
        ("mae", [1.0], [math.nan], "no finite number"),
        ("rmse", [1.0], [math.inf], "no finite number"),
        ("exact_match", ["a"], [1], "compares texts"),
        ("accuracy", ["a", MISSING], ["a", "b"], "case 2: the cases file lacks the field"),
        ("accuracy", ["a", "b"], [MISSING, "b"], "case 1: the answer lacks the field"),
    ],
)
def test_what_is_not_defined_has_no_score(name: str, expected: list[Any], got: list[Any], words: str) -> None:
    """No cases, a division by zero and values of the wrong kind give no score, and say why."""
    with pytest.raises(Undefined, match=words):
        score(METRICS[name], expected, got)


@given(st.lists(st.text(max_size=3), min_size=1), st.data())
def test_accuracy_is_a_share_and_perfect_for_itself(expected: list[str], data: st.DataObject) -> None:
    """Between 0 and 1, and 1 exactly when every case is right."""
    got = data.draw(st.lists(st.text(max_size=3), min_size=len(expected), max_size=len(expected)))
    found = value("accuracy", expected, got)
    assert found is not None
    assert 0 <= found <= 1
    assert (found == 1) == (expected == got)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs: list[tuple[bool, bool]]) -> None:
    """Where both are defined and not both zero."""
    expected, got = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    precision, recall, f1 = (value(name, expected, got) for name in ("precision", "recall", "f1"))
    if precision and recall:
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(finite, finite), min_size=1))
def test_rmse_is_at_least_mae(pairs: list[tuple[float, float]]) -> None:
    """Squares weigh large errors more."""
    expected, got = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    mae, rmse = value("mae", expected, got), value("rmse", expected, got)
    assert mae is not None
    assert rmse is not None
    assert rmse >= mae - 1e-9 * max(1, mae)


@pytest.mark.parametrize("result", [None, "0.9", True, math.nan, math.inf])
def test_a_metric_of_ones_own_must_give_a_finite_number(result: Any) -> None:
    """Whatever else a function gives is no score."""
    with pytest.raises(Undefined, match="no finite number"):
        score(lambda expected, got: result, [1], [1])
