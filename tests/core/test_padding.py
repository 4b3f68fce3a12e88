"""Requests made one batch and cut apart again."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.app import Model, Pad
from modelapp.padding import Padding
from modelapp.signature import Signature, TensorSpec

TOKENS = Signature(
    inputs=(TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "int64", ("batch", "length"))),
    outputs=(TensorSpec("states", "float32", ("batch", "length", 2)), TensorSpec("pooled", "float32", ("batch", 2))),
)


def padding_of(signature: Signature, pad: Mapping[str, Pad], *buckets: int | tuple[int, ...]) -> Padding:
    """The padding of a model with these keys in app.toml."""
    return Padding(signature, Model(name="m", source="m", runtime="null", pad=pad, buckets=buckets))


def request(lengths: tuple[int, int], start: int) -> dict[str, np.ndarray]:
    """`rows` rows of `length` ids, all different."""
    rows, length = lengths
    ids = np.arange(start, start + rows * length, dtype=np.int64).reshape(rows, length)
    return {"ids": ids, "mask": np.ones_like(ids)}


def fake_model(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every token's state is its id; padding has state -1."""
    ids = np.where(batch["mask"] == 1, batch["ids"], -1)
    states = np.stack([ids, ids], axis=2).astype(np.float32)
    return {"states": states, "pooled": np.stack([(ids + 1).sum(axis=1)] * 2, axis=1).astype(np.float32)}


@given(
    sizes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=5),
    side=st.sampled_from(["left", "right"]),
)
def test_answers_have_the_same_shape_alone_and_in_company(
    sizes: list[tuple[int, int]], side: Literal["left", "right"]
) -> None:
    """Ragged requests share a batch, and each gets back what it would have got alone."""
    pad = {"ids": Pad(value=0, side=side), "mask": Pad(value=0, side=side)}
    padding = padding_of(TOKENS, pad)
    parts = [request(size, 100 * index) for index, size in enumerate(sizes)]
    assert len({padding.key(part) for part in parts}) == 1

    answers = padding.cut(fake_model(dict(padding.stack(parts))), parts, [rows for rows, _ in sizes])

    for part, answer in zip(parts, answers, strict=True):
        alone = fake_model(part)
        np.testing.assert_array_equal(answer["states"], alone["states"])
        np.testing.assert_array_equal(answer["pooled"], alone["pooled"])


def test_unpadded_inputs_of_different_sizes_do_not_mix() -> None:
    """Without `pad` only equal sizes share a run."""
    padding = padding_of(TOKENS, {})

    assert padding.key(request((1, 3), 0)) == padding.key(request((2, 3), 0))
    assert padding.key(request((1, 3), 0)) != padding.key(request((1, 4), 0))


def test_outputs_without_usable_names_follow_by_place() -> None:
    """A file whose axes carry no common symbol still gives each request its own length."""
    nameless = Signature(
        inputs=(TensorSpec("ids", "int64", ("b", None)),), outputs=(TensorSpec("states", "float32", ("b", None, 2)),)
    )
    padding = padding_of(nameless, {"ids": Pad()})
    parts = [{"ids": np.ones((1, 2), np.int64)}, {"ids": np.ones((1, 5), np.int64)}]

    answers = padding.cut({"states": np.ones((2, 5, 2), np.float32)}, parts, [1, 1])

    assert [answer["states"].shape for answer in answers] == [(1, 2, 2), (1, 5, 2)]


@pytest.mark.parametrize("value", [0, 7])
def test_padding_is_filled_with_the_declared_value(value: int) -> None:
    """What padding adds is what app.toml says."""
    padding = padding_of(TOKENS, {"ids": Pad(value=value), "mask": Pad(value=0)})

    batch = padding.stack([request((1, 1), 5), request((1, 3), 10)])

    assert batch["ids"].tolist() == [[5, value, value], [10, 11, 12]]


def test_views_of_a_message_are_copied_once_where_they_run_alone() -> None:
    """Native code may fail on what is not aligned, and a model may write to its input; else nothing is copied."""
    padding = padding_of(Signature(inputs=(TensorSpec("x", "float32", ("batch", 2)),)), {})
    message = b"\0" + np.arange(4, dtype=np.float32).tobytes()
    view = np.frombuffer(message, np.float32, offset=1).reshape(2, 2)
    good = np.zeros((2, 2), np.float32)

    owned = padding.stack([{"x": view}])["x"]

    assert owned.flags.carray
    assert owned.tolist() == [[0, 1], [2, 3]]
    assert padding.stack([{"x": good}])["x"] is good
    assert padding.stack([{"x": view}, {"x": good}])["x"].flags.carray
