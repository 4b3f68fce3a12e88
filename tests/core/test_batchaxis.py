"""Whether axis 0 counts rows, tried on any function from arrays to arrays."""

from pathlib import Path
from typing import Any

import pytest

from modelapp.batchaxis import settled, verified, why_fixed
from modelapp.errors import LoadError
from modelapp.runtime import Artefact
from modelapp.signature import Signature, TensorSpec

ARTEFACT = Artefact("m", Path("net.bin"))
X = TensorSpec("x", "float32", ("batch", 4))
ROWS = Signature((X,), (TensorSpec("y", "float32", ("batch", 4)),))


def test_rows_that_stand_alone_are_batched() -> None:
    """Without a note; outputs bear the name of the axis."""
    assert verified(ROWS, lambda rows: {"y": rows["x"] * 2}, ARTEFACT) == ROWS


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (lambda x: x - x.mean(0), "A row's answer depends on the other rows of its run"),
        (lambda x: x.mean(0, keepdims=True), 'Output "y" has 1 rows for 1 row and 1 for 2'),
        (lambda x: x.reshape(1, 4), "It declares a batch axis but fails on two rows (told: cannot reshape"),
    ],
)
def test_rows_that_do_not(answer: Any, note: str) -> None:
    """They run one request at a time, and a note says why in the words of `reason`."""
    found = verified(ROWS, lambda rows: {"y": answer(rows["x"])}, ARTEFACT, lambda error: f"told: {error}")
    assert not found.batched
    assert found.notes[-1].startswith(note)


def test_a_model_for_two_rows_only_does_not_load() -> None:
    """Requests come alone too."""

    def infer(rows: Any) -> Any:
        if len(rows["x"]) < 2:
            raise ValueError("too few")
        return {"y": rows["x"]}

    with pytest.raises(LoadError, match="runs over two rows, but not over one"):
        verified(ROWS, infer, ARTEFACT)


def test_bfloat16_rows_are_judged_too() -> None:
    """numpy takes it for no number."""
    import ml_dtypes

    half = Signature((TensorSpec("x", "bfloat16", ("batch", 4)),), (TensorSpec("y", "bfloat16", ("batch", 4)),))
    mixing = verified(half, lambda rows: {"y": (rows["x"] - rows["x"].mean(0)).astype(ml_dtypes.bfloat16)}, ARTEFACT)
    assert not mixing.batched


def test_the_option_overrules_the_trial() -> None:
    """ "never" is never, "always" believes what is declared and refuses what cannot be."""

    def unused(rows: Any) -> Any:
        raise AssertionError("not to be run")

    assert not settled(ROWS, unused, ARTEFACT, "never", table="t").batched
    assert settled(ROWS, unused, ARTEFACT, "always", table="t") is ROWS
    fixed = Signature((TensorSpec("x", "float32", (2, 4)),), batched=False, notes=("Fixed.",))
    with pytest.raises(LoadError, match=r'models\.m\.t\.batching is "always", but the model cannot: Fixed\.'):
        settled(fixed, unused, ARTEFACT, "always", table="t")


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ((X,), ""),
        ((), "The model has no input"),
        ((TensorSpec("x", "float32", ()),), 'Input "x" has no axis'),
        ((TensorSpec("x", "float32", (3, 4)),), 'Input "x" is fixed to 3 on axis 0'),
        ((TensorSpec("x", "float32", ("n", "n")),), 'Input "x" has "n" on a further axis too'),
        ((X, TensorSpec("k", "int64", ("batch",), optional=True)), 'Input "k" is one value for a whole run'),
    ],
)
def test_what_is_declared_may_say_no_already(inputs: tuple[TensorSpec, ...], why: str) -> None:
    """The first input that stands against it is named."""
    assert why_fixed(inputs).startswith(why)
    assert bool(why_fixed(inputs)) is bool(why)
