"""The classification extension: the highest values of an output, with their places and class names, as text.

Source: Triton's classification extension.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelapp.signature import is_floating


def classify(array: NDArray[Any], classes: int, labels: Sequence[str] = (), *, batched: bool = True) -> NDArray[Any]:
    """The `classes` highest values of each row, highest first, as bytes "value:index" or "value:index:label".

    Shape [rows, classes], or [classes] where axis 0 does not count rows; less where the output holds less. Of equal
    values the one of the lower index comes first; NaN comes last.
    """
    rows = array.reshape(len(array), -1) if batched else array.reshape(1, -1)
    most = min(classes, rows.shape[1])
    best = np.array([_highest(row, most) for row in rows], np.intp).reshape(len(rows), most)
    texts = np.empty(best.shape, object)
    for row, indices in enumerate(best.tolist()):
        texts[row] = [_text(rows[row, index], index, labels) for index in indices]
    return texts if batched else texts[0]


def _highest(row: NDArray[Any], most: int) -> NDArray[Any]:
    if is_floating(row.dtype):
        row = np.where(np.isnan(row), -np.inf, row.astype(np.float64))
    # A stable sort of the row read backwards: equal values then come in their order once that is turned round.
    return (len(row) - 1 - np.argsort(row[::-1], kind="stable")[::-1])[:most]


def _text(value: Any, index: int, labels: Sequence[str]) -> bytes:
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{value!s}:{index}{label}".encode()  # formatted as it is, a float32 would show the digits of a float64
