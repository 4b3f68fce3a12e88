"""Memory for batches, used again: a large batch is put together in the place of the one before."""

import math
import sys
import threading
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

_SMALL_BYTES = 1 << 16
"""Below this the allocator is as quick."""
_WINDOW = 64
"""After so many batches a block that was too large for all of them is given back."""


@attrs.define
class _Block:
    """Bytes that are owned here; `peak` is the most that was needed lately."""

    memory: NDArray[np.uint8]
    peak: int = 0
    uses: int = 0


_UNSHARED = 2
"""References to a block's memory while nobody else has one: the block's own, and the argument of the count."""


class Buffers(threading.local):
    """Each thread's blocks, one an input. What `take` gives is good until the next `take` of that name.

    A block that anything still refers to when its name is taken again, be it an output that is a view of it or
    something a model has kept, is left to that and replaced: a view of numpy's holds its memory, and so does every
    library that takes an array without copying it.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, _Block] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array with anything in it."""
        size = dtype.itemsize * math.prod(shape)
        if size < _SMALL_BYTES or dtype.hasobject:
            return np.empty(shape, dtype)
        block = self._blocks.get(name)
        if block is None or len(block.memory) < size or _is_shared(block) or _is_oversized(block):
            self._blocks.pop(name, None)  # before the new one, or both would be there at once
            block = self._blocks[name] = _Block(np.empty(1 << (size - 1).bit_length(), np.uint8))
        block.uses += 1
        block.peak = max(block.peak, size)
        return block.memory[:size].view(dtype).reshape(shape)


def _is_shared(block: _Block) -> bool:
    return sys.getrefcount(block.memory) > _UNSHARED


def _is_oversized(block: _Block) -> bool:
    """Whether the last batches needed less than a quarter; looked at once a window."""
    if block.uses < _WINDOW:
        return False
    oversized = block.peak * 4 <= len(block.memory)
    block.uses = block.peak = 0
    return oversized
