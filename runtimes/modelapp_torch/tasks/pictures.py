"""Pictures as a model sees them: each prepared for itself, those of one size through the model together."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from transformers import AutoImageProcessor

from modelapp.errors import InvalidInput
from modelapp_torch.modelfolder import ModelFolder
from modelapp_torch.pretrained import Pretrained, load_part
from modelapp_torch.tasks.adapter import Row
from modelapp_torch.tasks.fields import image_of, number_of


@attrs.frozen
class Picture:
    """One prepared picture: `pixels` [channels, height, width], and its own size before."""

    pixels: Tensor
    height: int
    width: int
    min_score: float


class Pictures:
    """A model's image processor: the one by Pillow, so that an answer does not hang on what else is installed."""

    def __init__(self, folder: ModelFolder, net: Pretrained) -> None:
        self.processor: Any = load_part(folder, AutoImageProcessor, "image processor", backend="pil")
        self._net = net

    @staticmethod
    def example() -> Row:
        """A grey picture."""
        return {"image": np.full((64, 64, 3), 127, np.uint8)}

    def prepare(self, row: Row) -> Picture:
        """The picture, scaled and normalised. Raises InvalidInput."""
        image = image_of(row)
        min_score = number_of(row, "min_score", 0.5, low=0, high=1)
        height, width = image.shape[:2]
        try:
            made = self.processor(images=[image], return_tensors="pt", input_data_format="channels_last")
        except Exception as error:  # a strip of a pixel's width cannot be scaled by every rule
            told = f'"image" of {width} x {height} pixels cannot be prepared: {error}'
            raise InvalidInput(told, field="image") from error
        return Picture(made["pixel_values"][0].to(self._net.model.dtype), height, width, min_score)

    def together(self, pictures: Sequence[Picture], read: Callable[[Any, int, Picture], Row]) -> list[Row]:
        """Run the model once for each size that there is; `read` makes an answer of the output, a row of it, a picture.

        Never padded to one size: what convolutions make of the padding beside a picture would change its answer.
        """
        answers: dict[int, Row] = {}
        sizes: dict[torch.Size, list[int]] = {}
        for at, picture in enumerate(pictures):
            sizes.setdefault(picture.pixels.shape, []).append(at)
        for places in sizes.values():
            pixels = torch.stack([pictures[at].pixels for at in places])
            output = self._net.model(pixel_values=pixels.to(self._net.device))
            answers |= {at: read(output, row, pictures[at]) for row, at in enumerate(places)}
        return [answers[at] for at in range(len(pictures))]
