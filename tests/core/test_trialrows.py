"""Made-up rows fit the signature that they are made for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelapp.signature import DTYPES, Signature, TensorSpec
from modelapp.tensors import check_inputs
from modelapp.trialrows import made_up, trials

dims = st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["n", "m"]), st.none()), max_size=2)
inputs = st.lists(st.tuples(st.sampled_from(DTYPES), dims), min_size=1, max_size=3)


@given(inputs=inputs, batched=st.booleans())
def test_every_trial_is_what_the_model_takes(inputs: list[tuple[str, list[int | str | None]]], batched: bool) -> None:
    """Whatever the dtypes and sizes, every way to fill them passes the check that requests pass, one row each."""
    specs = tuple(TensorSpec(f"x{at}", dtype, ("batch", *shape)) for at, (dtype, shape) in enumerate(inputs))
    signature = Signature(specs, batched=batched)
    for number, trial in enumerate(trials(signature)):
        arrays = made_up(signature, trial)
        assert list(check_inputs(signature, arrays)) == list(arrays)
        if batched:
            assert {len(array) for array in arrays.values()} == {1}
        if number > 8:
            break


def test_rows_with_other_numbers_differ() -> None:
    """Two rows of one trial are of one shape, and not the same."""
    signature = Signature((TensorSpec("x", "float32", ("batch", 8)),))
    trial = next(iter(trials(signature)))
    one, other = made_up(signature, trial, 0)["x"], made_up(signature, trial, 1)["x"]
    assert one.shape == other.shape
    assert not np.array_equal(one, other)
    assert np.array_equal(one, made_up(signature, trial, 0)["x"])


def test_whole_numbers_are_in_any_vocabulary() -> None:
    """0 and 1, and a mask is never empty."""
    signature = Signature((TensorSpec("ids", "int64", ("batch", "n")),))
    for trial in trials(signature):
        ids = made_up(signature, trial)["ids"]
        assert set(ids.ravel().tolist()) <= {0, 1}
        assert ids[:, 0].all()
