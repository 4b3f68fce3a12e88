"""From a picture to the detector's input, and from the detector's answer to boxes and an alarm."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Boxes = NDArray[np.float64]
"""[boxes, 4]: left, top, right, bottom."""
Places = NDArray[np.intp]

HERE = Path(__file__).parent
SIDE_PX = 416
"""The detector sees a square; the picture is stretched to it."""
MEAN_BGR = np.array([103.53, 116.28, 123.675], np.float32)
DEVIATION_BGR = np.array([57.375, 57.12, 58.395], np.float32)
STRIDES_PX = (8, 16, 32)
"""The detector looks at the square through three grids of cells of these sizes."""
BINS = 11
"""The distance from a cell's middle to each side of a box is a distribution over 0, 1 ... 10 strides."""
MAX_OVERLAP = 0.5
"""Of two boxes of one class that overlap more (intersection over union) the lower-scored is dropped."""
MAX_CANDIDATES = 1000
"""The best so many compete; more are only met at a `min_score` near its lower bound."""
PERSON = "person"
ALARM_SCORE = 0.60
"""A person of at least this score raises the alarm; app.toml says why."""


# --- the detector's input --------------------------------------------------------------------------------------------


def pixels(frame: NDArray[np.uint8]) -> Floats:
    """The detector's input, float32 [3, 416, 416]: the picture stretched to a square, blue first, normalised."""
    square = Image.fromarray(frame).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    blue_first = np.asarray(square, np.float32)[:, :, ::-1]
    normal = (blue_first - MEAN_BGR) / DEVIATION_BGR
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


# --- the detector's answer -------------------------------------------------------------------------------------------


def found(heads: Mapping[str, Floats], frame: NDArray[np.uint8], min_score: float) -> list[dict[str, Any]]:
    """What was found, best first, in pixels of `frame`: all that reaches `min_score` or could raise the alarm."""
    scores = np.concatenate([heads[f"cls_s{stride}"] for stride in STRIDES_PX])
    bins = np.concatenate([heads[f"reg_s{stride}"] for stride in STRIDES_PX])
    places, kinds = candidates(scores, min(min_score, ALARM_SCORE))
    boxes = decode(bins[places], places)
    kept = survivors(boxes, kinds)
    height, width = frame.shape[:2]
    corners = boxes[kept] * (np.array([width, height, width, height]) / SIDE_PX)
    return [
        {"label": _labels()[kind], "score": score, "x_min": left, "y_min": top, "x_max": right, "y_max": bottom}
        for kind, score, (left, top, right, bottom) in zip(
            kinds[kept], scores[places, kinds][kept].tolist(), corners.tolist(), strict=True
        )
    ]


def candidates(scores: Floats, min_score: float) -> tuple[Places, Places]:
    """The cells and classes of `scores` [cells, classes] that reach `min_score`, best first."""
    places, kinds = np.nonzero(scores >= min_score)
    best_first = np.argsort(-scores[places, kinds], kind="stable")[:MAX_CANDIDATES]
    return places[best_first], kinds[best_first]


def decode(bins: Floats, places: Places) -> Boxes:
    """The boxes of the cells at `places`, in pixels of the square and cut to it; `bins` is [boxes, 4 * 11].

    Each side lies at its distribution's mean distance from the cell's middle (Li et al., Generalized Focal Loss, 2020).
    """
    powers = bins.reshape(-1, 4, BINS).astype(np.float64)
    powers = np.exp(powers - powers.max(axis=2, keepdims=True))
    strides_away = powers @ np.arange(BINS) / powers.sum(axis=2)
    x, y, stride = _cells()[places].T
    left, top, right, bottom = strides_away.T * stride
    return np.stack([x - left, y - top, x + right, y + bottom], axis=1).clip(0, SIDE_PX)


@functools.cache
def _cells() -> NDArray[np.float64]:
    """One row a cell, in the order of the answer: x and y of its middle and its side, in pixels of the square."""
    grids = []
    for stride in STRIDES_PX:
        row, column = np.indices((SIDE_PX // stride, SIDE_PX // stride)).reshape(2, -1)
        grids.append(np.stack([(column + 0.5) * stride, (row + 0.5) * stride, np.full(row.size, stride)], axis=1))
    return np.concatenate(grids)


def survivors(boxes: Boxes, kinds: Places) -> Places:
    """The places of the boxes that no better one of their class overlaps too far; `boxes` are sorted, best first."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while left.size:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[(kinds[left] != kinds[best]) | (overlaps(boxes[best], boxes[left]) <= MAX_OVERLAP)]
    return np.array(kept, np.intp)


def overlaps(box: NDArray[np.float64], others: Boxes) -> NDArray[np.float64]:
    """Intersection over union of `box` with each of `others`; 0 where both are empty."""
    corner, far = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (far - corner).clip(0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


@functools.cache
def _labels() -> tuple[str, ...]:
    return tuple((HERE / "data/coco_labels.txt").read_text(encoding="utf-8").splitlines())


# --- the answer ------------------------------------------------------------------------------------------------------


def answer(boxes: Sequence[Mapping[str, Any]], min_score: float) -> dict[str, Any]:
    """The boxes from `min_score` up, the persons among them, and the alarm, which `min_score` does not change."""
    shown = [box for box in boxes if box["score"] >= min_score]
    return {
        "boxes": shown,
        "persons": sum(box["label"] == PERSON for box in shown),
        "alert": any(box["label"] == PERSON and box["score"] >= ALARM_SCORE for box in boxes),
    }
