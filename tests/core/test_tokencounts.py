"""What a request costs where tokens are counted."""

import numpy as np
import pytest

from modelapp.app import Model, Pad
from modelapp.buckets import Buckets
from modelapp.signature import Signature, TensorSpec
from modelapp.tokencounts import TokenCounts

TEXT = Signature(
    inputs=(TensorSpec("kind", "int64", ("batch", 4)), TensorSpec("ids", "int64", ("batch", "length"))),
)


def counts(signature, *buckets, pad=()):
    """The counts of a model with these keys in app.toml."""
    model = Model(name="m", source="m", runtime="null", pad={name: Pad() for name in pad}, buckets=buckets)
    return TokenCounts(signature, model, Buckets(signature, model))


def request(rows, length):
    """Arrays for TEXT."""
    return {"kind": np.ones((rows, 4), np.int64), "ids": np.ones((rows, length), np.int64)}


def test_arrays_are_counted_by_what_may_differ():
    """The first input whose size is not fixed."""
    assert counts(TEXT).of(request(3, 5)) == (15, 5)


def test_padded_input_is_the_one_that_counts():
    """Before any other."""
    assert counts(TEXT, pad=["kind"]).of(request(3, 5)) == (12, 4)


def test_in_a_bucket_all_its_numbers_count():
    """The runtime works on the padding too."""
    assert counts(TEXT, 16, 8, pad=["ids"]).of(request(3, 5)) == (24, 8)


def test_fixed_sizes_count_as_they_are():
    """A model of one shape has one cost a row."""
    fixed = Signature(inputs=(TensorSpec("x", "float32", ("batch", 3, 4)),))
    assert counts(fixed).of({"x": np.ones((2, 3, 4), np.float32)}) == (24, 12)


def test_model_that_is_not_batched_is_counted_whole():
    """There are no rows to count by."""
    whole = Signature(inputs=(TensorSpec("ids", "int64", (None, None)),), batched=False)
    assert counts(whole).of({"ids": np.ones((3, 5), np.int64)}) == (15, 15)


@pytest.mark.parametrize(
    ("record", "tokens"),
    [
        ({"text": "seven c"}, 7),
        ({"words": ["a", "b"], "text": "abc"}, 5),
        ({"n": 3.5}, 1),
        ({"pixels": np.zeros((2, 5))}, 10),
        ({"raw": b"1234", "extra": {"a": "not looked into"}}, 4),
    ],
)
def test_records_are_counted_by_their_texts_and_lists(record, tokens):
    """Characters and items, and at least one."""
    assert counts(Signature(kind="records")).of([record]) == (tokens, tokens)


def test_rows_of_records_differ():
    """The longest is known beside the sum."""
    assert counts(Signature(kind="records")).of([{"t": "abc"}, {"t": "abcdefg"}, {"t": ""}]) == (11, 7)
