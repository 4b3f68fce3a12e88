"""What a network answers becomes named tensors, in whatever form it answers."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from modelapp.errors import ModelFailed
from modelapp_torch.outputs import named, to_array

A, B = torch.ones(2, 3), torch.zeros(2)


class Pair(NamedTuple):
    """Two tensors with names."""

    a: torch.Tensor
    b: torch.Tensor


@dataclass
class Fields:
    """The same, one of them left out."""

    a: torch.Tensor
    b: torch.Tensor | None = None


@pytest.mark.parametrize(
    ("answer", "names", "found"),
    [
        (A, (), ["output"]),
        (A, ("y",), ["y"]),
        ((A, B), (), ["output_0", "output_1"]),
        ([A, B], ("y", "z"), ["y", "z"]),
        ({"a": A, "b": B}, (), ["a", "b"]),
        ({"a": A, "b": B}, ("b",), ["b"]),
        (Pair(A, B), (), ["a", "b"]),
        (Fields(A), (), ["a"]),
    ],
)
def test_names(answer: Any, names: tuple[str, ...], found: list[str]) -> None:
    """Their own, those declared, or their places."""
    assert list(named(answer, names)) == found


@pytest.mark.parametrize(
    ("answer", "names", "says"),
    [
        ("text", (), "should answer tensors, not str"),
        (None, (), "should answer tensors, not NoneType"),
        ({"a": 1}, (), 'answered int in "a", not a tensor'),
        ((A, B), ("y",), "answered 2 tensors, and 1 are declared"),
    ],
)
def test_what_are_no_tensors(answer: Any, names: tuple[str, ...], says: str) -> None:
    """The model is at fault, and the text says how."""
    with pytest.raises(ModelFailed, match=says):
        named(answer, names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_arrays_hold_what_the_tensor_holds(dtype: torch.dtype) -> None:
    """Also of one that is transposed."""
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    for one in (tensor, tensor.t()):
        array = to_array(one)
        assert array.dtype.name == str(dtype).removeprefix("torch.")
        np.testing.assert_array_equal(array.astype(np.float32), one.float().numpy())
