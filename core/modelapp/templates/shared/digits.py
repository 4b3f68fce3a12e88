"""From a picture to what the model was trained on, and from its answer to a digit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelapp.errors import InvalidInput

SIDE = 8
"""The model sees 8 x 8 squares, each the share of it that is ink."""
FINE = 4 * SIDE
LEAST_CONTRAST = 40
"""Between ink and paper, of 255 shades of grey."""


def pixels(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's input, float32 [8, 8]: the ink, cut out, as high as the square, in its middle.

    Raises InvalidInput for a picture without ink.
    """
    grey = picture.mean(axis=2)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(edge))  # dark on light or light on dark: the edge is paper
    if ink.max() < LEAST_CONTRAST:
        raise InvalidInput("nothing is written on it", field="picture")
    ink = ink / ink.max()
    rows, columns = np.nonzero(ink > 0.3)
    cut = Image.fromarray(ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32))
    scale = FINE / max(cut.size)
    width, height = (max(1, round(side * scale)) for side in cut.size)
    square = np.zeros((FINE, FINE), np.float32)
    top, left = (FINE - height) // 2, (FINE - width) // 2
    square[top : top + height, left : left + width] = np.asarray(cut.resize((width, height), Image.Resampling.BOX))
    shares: NDArray[np.float32] = square.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))
    return shares


def digit(answer: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """The likeliest digit and its probability."""
    chances = answer["chances"]
    best = int(chances.argmax())
    return {"digit": best, "score": float(chances[best])}
