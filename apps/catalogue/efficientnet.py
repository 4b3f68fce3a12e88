"""EfficientNet-Lite0 for PyTorch, which the profile `torch` fills with the weights of a package.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019. The Lite variant of
2020 has no squeeze-and-excitation, and ReLU6 throughout. The names of the parts are those in the file of weights.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

#: blocks, kernel, stride of the first block, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD, CLASSES = 32, 1280, 1000


class Same(nn.Conv2d):
    """A convolution padded so that its output is its input divided by its stride; an odd rest goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """[rows, channels, height, width], both ways."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        spare = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[3], x.shape[2])]
        return super().forward(functional.pad(x, [side for one in spare for side in (one // 2, one - one // 2)]))


def norm(channels: int) -> nn.BatchNorm2d:
    """As it was trained."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Widen, filter each channel, narrow; added to the input where that has the same shape."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(before, wide, 1, bias=False), norm(wide)
        self._depthwise_conv, self._bn1 = Same(wide, wide, kernel, stride, groups=wide, bias=False), norm(wide)
        self._project_conv, self._bn2 = nn.Conv2d(wide, after, 1, bias=False), norm(after)
        self.widens, self.adds = expansion > 1, stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """[rows, channels, height, width], both ways."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


def blocks(stages: Sequence[tuple[int, int, int, int, int]]) -> nn.ModuleList:
    """All blocks, one stage after the other."""
    made, before = nn.ModuleList(), STEM
    for count, kernel, stride, expansion, after in stages:
        for place in range(count):
            made.append(Block(before, after, kernel, 1 if place else stride, expansion))
            before = after
    return made


class EfficientNetLite0(nn.Module):
    """Photos to the scores of 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Same(3, STEM, 3, 2, bias=False), norm(STEM)
        self._blocks = blocks(STAGES)
        self._conv_head, self._bn1 = nn.Conv2d(STAGES[-1][-1], HEAD, 1, bias=False), norm(HEAD)
        self._fc = nn.Linear(HEAD, CLASSES)

    def forward(self, image: Annotated[Tensor, "float32[batch, 3, 224, 224]"]) -> dict[str, Tensor]:
        """Photos as (x - 127) / 128, red, green, blue; one row of logits each."""
        x = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return {"logits": self._fc(torch.mean(x, (2, 3)))}
