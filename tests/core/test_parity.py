"""Two models held against each other: what differs is found, named and measured, and what does not passes."""

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Model
from modelapp.errors import InvalidInput, ModelFailed
from modelapp.parity import TOLERANCES, Comparison, Ledger, Twins, compare, compare_drawn, drawn, tolerance_of
from modelapp.runtime import Run
from modelapp.signature import Signature, TensorSpec, read_tensor

ALLOWED = 1e-4
NUMBERS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20)


def of(a: Any, b: Any) -> Comparison:
    """Two arrays compared as the output "y"."""
    return compare("test", "y", np.asarray(a), np.asarray(b), ALLOWED)


@given(NUMBERS)
def test_anything_is_the_same_as_itself(numbers: list[float]) -> None:
    """Equal answers pass, all zeros too."""
    array = np.array(numbers, np.float32)
    found = of(array, array.copy())
    assert found.ok
    assert (found.max_abs, found.max_rel) == (0, 0)


@given(NUMBERS, st.integers(0, 19), st.floats(-3, 3))
def test_a_difference_is_judged_by_the_largest_value(numbers: list[float], at: int, scale: float) -> None:
    """One value is moved by a share of the largest; it passes where that share is allowed, and is named."""
    array = np.array(numbers, np.float64)
    at %= len(array)
    largest = np.abs(array).max()
    other = array.copy()
    other[at] += scale * ALLOWED * largest
    found = of(array, other)
    assert found.max_abs == pytest.approx(abs(other[at] - array[at]))
    assert found.ok == (abs(other[at] - array[at]) <= ALLOWED * largest)
    if found.max_abs:
        assert found.place == (at,)


def test_nothing_is_allowed_around_zero() -> None:
    """Where the original answers zeros only, so must the other: there is no share of nothing."""
    found = of(np.zeros(3), np.array([0, 1e-12, 0]))
    assert not found.ok
    assert found.max_rel == float("inf")


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ([[1.0, 2.0]], [[1.0], [2.0]], "has shape [2, 1], the original [1, 2]"),
        ([1.0], np.array([1.0], np.float32), "is float32, in the original float64"),
        ([1.0, np.nan], [1.0, 2.0], "is 2.0 at [1], in the original nan"),
        ([1.0, 2.0], [np.inf, 2.0], "is inf at [0], in the original 1.0"),
        ([np.inf], [-np.inf], "is -inf at [0], in the original inf"),
        ([1, 2, 3], [1, 2, 4], "is 4 at [2], in the original 3; 1 of 3 differ"),
        ([True], [False], "is False at [0], in the original True; 1 of 1 differ"),
    ],
)
def test_what_no_number_tells_is_told_in_words(a: Any, b: Any, told: str) -> None:
    """Shapes, types, numbers that are none, and whole numbers, of which none may differ."""
    found = of(a, b)
    assert (found.ok, found.fault) == (False, told)


def test_what_is_not_finite_in_both_is_the_same() -> None:
    """NaN beside NaN and infinity beside infinity hide no difference elsewhere."""
    assert of([np.nan, np.inf, 1.0], [np.nan, np.inf, 1.0]).ok
    found = of([np.nan, np.inf, 1.0], [np.nan, np.inf, 1.5])
    assert (found.ok, found.place, found.max_abs) == (False, (2,), 0.5)


def test_a_missing_output_is_told() -> None:
    """The exported model must have every output of the original."""
    found = compare("test", "y", np.zeros(2), None, ALLOWED)
    assert "missing" in found.told()
    assert not found.ok


def test_coarser_types_are_allowed_more() -> None:
    """By the output's own type, and by the type that the options of the original name."""
    half = np.array([1.0], np.float16)
    assert compare("t", "y", half, half + np.float16(0.005), ALLOWED).ok
    assert not of(np.array([1.0], np.float32), np.array([1.005], np.float32)).ok

    @attrs.frozen
    class Options:
        dtype: str = "bfloat16"

    model = Model(name="m", source="m.onnx", runtime="onnx")
    assert tolerance_of(model) == TOLERANCES["float32"] == ALLOWED
    assert tolerance_of(attrs.evolve(model, options=Options())) == TOLERANCES["bfloat16"] == 1e-2


def test_the_ledger_keeps_the_worst_of_each_kind() -> None:
    """Of many runs of one test the worst is shown, with their number; a fault is worse than any number."""
    ledger = Ledger(ALLOWED)
    for off in (1e-6, 1e-2, 1e-5):
        ledger.add(of([1.0], [1.0 + off]))
    ledger.add(of([1.0], [1.0]).__class__(given="other", output="z", fault="is none"))
    first, second = ledger.comparisons
    assert (first.runs, first.ok) == (3, False)
    assert first.max_abs == pytest.approx(1e-2)
    assert ledger.worst == second


class Doubling:
    """A loaded model that doubles; `spoil` may change its answer."""

    device = "cpu"

    def __init__(self, signature: Signature, spoil: Any = None) -> None:
        self.signature = signature
        self.seen: list[tuple[int, ...]] = []
        self._spoil = spoil

    def infer(self, rows: Any, run: Run) -> Any:
        """Twice what comes in."""
        self.seen.append(rows["x"].shape)
        answer = {"y": rows["x"] * 2}
        return self._spoil(answer) if self._spoil else answer

    def close(self) -> None:
        """Nothing to give back."""


def doubling(shape: str = "float32[batch, n]") -> Signature:
    """Its signature."""
    return Signature(inputs=(read_tensor("x", shape),), outputs=(read_tensor("y", shape),))


MODEL = Model(name="m", source="m.py:M", runtime="python", max_batch_size=5)


def twins(spoil: Any = None, original: Any = None, shape: str = "float32[batch, n]") -> tuple[Twins, Ledger, Doubling]:
    """A model, and what it was exported to."""
    ledger = Ledger(ALLOWED)
    first = Doubling(doubling(shape), original)
    return Twins(first, Doubling(doubling(shape), spoil), MODEL, ledger), ledger, first


def test_drawn_rows_come_in_several_shapes() -> None:
    """One row, two and the most, and what is open in three sizes; nothing of it fails where both are the same."""
    both, ledger, first = twins()
    assert compare_drawn(both, ledger, most_rows=5) == []
    assert len(set(first.seen)) == 9
    assert {shape[0] for shape in first.seen} == {1, 2, 5}
    assert all(one.ok for one in ledger.comparisons)
    assert len(ledger.comparisons) == 9


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: {"y": answer["y"] + np.float32(0.01)},
        lambda answer: {"y": answer["y"] if len(answer["y"]) < 5 else answer["y"][::-1].copy()},
        lambda answer: {"y": answer["y"] if answer["y"].shape[1] < 17 else answer["y"] * np.float32(1.01)},
        lambda answer: {"z": answer["y"]},
        lambda answer: {"y": answer["y"][:1]},
    ],
    ids=["off by a little", "rows mixed up in large batches", "wrong when long", "another name", "one row only"],
)
def test_a_wrong_twin_is_found(spoil: Any) -> None:
    """Also where it is wrong in one of the shapes only; the other's refusals count as differences."""
    both, ledger, _ = twins(spoil)
    compare_drawn(both, ledger, most_rows=5)
    assert ledger.worst is not None
    assert not ledger.worst.ok
    assert '"y"' in ledger.worst.told()


def test_what_the_original_refuses_is_not_compared() -> None:
    """That is the model's own affair, and said."""

    def refuse(answer: Any) -> Any:
        raise ModelFailed("only multiples of seven")

    both, ledger, _ = twins(original=refuse)
    assert compare_drawn(both, ledger, most_rows=1) == [
        "no drawn input was compared: the model itself refuses them (only multiples of seven)"
    ]
    assert ledger.worst is None


def test_the_answers_of_twins_are_the_originals() -> None:
    """So whatever comes after the model goes on as it would."""
    both, ledger, _ = twins(lambda answer: {"y": answer["y"] * 0})
    ledger.begin('test "one"')
    answer = both.infer({"x": np.ones((1, 2), np.float32)}, Run())
    assert np.asarray(answer["y"]).tolist() == [[2, 2]]  # type: ignore[call-overload]
    assert ledger.worst is not None
    assert ledger.worst.given == 'test "one"'
    with pytest.raises(InvalidInput):
        both.trial({"x": np.ones((1, 2, 3), np.float32)})


@given(st.integers(1, 9), st.integers(1, 9))
def test_drawn_inputs_fit_the_signature(rows: int, size: int) -> None:
    """Every input, of any type, has its shape and its type; sizes that share a name are the same."""
    signature = Signature(
        inputs=(
            read_tensor("x", "float32[batch, n, 3]"),
            read_tensor("mask", "int64[batch, n]"),
            read_tensor("free", "bool[batch, ?]"),
            read_tensor("text", "string[batch]"),
            TensorSpec("extra", "float32", ("batch",), optional=True),
        )
    )
    arrays = drawn(signature, {"n": size, "free[1]": 2}, rows, seed=1)
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {"x": (rows, size, 3), "mask": (rows, size), "free": (rows, 2), "text": (rows,)}
    assert all(arrays[spec.name].dtype == spec.numpy_dtype for spec in signature.inputs[:4])
