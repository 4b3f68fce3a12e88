"""The few shapes that padded inputs are brought to."""

import numpy as np
import pytest

from modelapp.app import Model, Pad
from modelapp.buckets import Buckets
from modelapp.errors import InvalidInput, LoadError
from modelapp.signature import Signature, TensorSpec

TOKENS = Signature(
    inputs=(TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "int64", ("batch", "length")))
)
IMAGES = Signature(inputs=(TensorSpec("image", "float32", ("batch", 3, None, None)),))


def buckets_of(signature, *buckets, pad=None):
    """The buckets of a model with these keys in app.toml; every input is padded."""
    pad = {spec.name: Pad() for spec in signature.inputs} if pad is None else pad
    return Buckets(signature, Model(name="m", source="m", runtime="null", pad=pad, buckets=buckets))


def ids(length):
    """A request of one row."""
    return {"ids": np.ones((1, length), np.int64), "mask": np.ones((1, length), np.int64)}


@pytest.mark.parametrize(("length", "found"), [(1, 16), (16, 16), (17, 32), (64, 64)])
def test_smallest_bucket_that_holds_a_request(length, found):
    """In whatever order they are declared."""
    buckets = buckets_of(TOKENS, 64, 16, 32)

    assert buckets[buckets.find(ids(length))].declared == found


def test_longer_than_the_largest_is_bad_input():
    """The client is told the largest, and which input it is about."""
    with pytest.raises(InvalidInput) as refused:
        buckets_of(TOKENS, 16, 64).find(ids(65))

    assert (refused.value.message, refused.value.field) == ('input "ids" has 65 a row; the largest is 64', "ids")


def test_shapes_hold_in_every_axis():
    """An image needs room in height and in width."""
    buckets = buckets_of(IMAGES, (3, 64, 64), (3, 32, 128), (3, 128, 128))
    wide = {"image": np.zeros((1, 3, 20, 100), np.float32)}

    assert buckets[buckets.find(wide)].declared == (3, 32, 128)
    with pytest.raises(InvalidInput, match="has 3 x 200 x 1 a row; the largest is 3 x 128 x 128"):
        buckets.find({"image": np.zeros((1, 3, 200, 1), np.float32)})


def test_length_is_that_of_the_one_axis_that_may_differ():
    """Frames of fixed size: a number says how many."""
    frames = Signature(inputs=(TensorSpec("frames", "float32", ("batch", None, 80)),))

    assert buckets_of(frames, 100)[0].shapes == {"frames": (100, 80)}


@pytest.mark.parametrize(
    ("signature", "bucket", "text"),
    [
        (IMAGES, 64, '64 is one length, "image" has 2 sizes that may differ'),
        (IMAGES, (64, 64), '[64, 64] has 2 sizes, a row of "image" has 3'),
        (IMAGES, (4, 64, 64), '[4, 64, 64] does not fit "image", whose file fixes 3 where it has 4'),
    ],
)
def test_buckets_that_do_not_fit_the_model_are_told(signature, bucket, text):
    """At load, with what would fit."""
    with pytest.raises(LoadError) as refused:
        buckets_of(signature, bucket)

    assert text in str(refused.value)
    assert refused.value.help


def test_input_that_shares_a_padded_size_must_be_padded():
    """Else one input would grow and the other would not."""
    with pytest.raises(LoadError, match='"mask" shares the size "length" and is not padded'):
        buckets_of(TOKENS, 16, pad={"ids": Pad()})


def test_no_buckets_are_none():
    """Models without any are not slowed down."""
    assert not buckets_of(TOKENS)
