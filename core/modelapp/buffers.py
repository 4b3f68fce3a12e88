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
"""After so many batches blocks are given back that were not needed, or were too large for all of them."""


@attrs.define(eq=False)
class _Block:
    """Bytes that are owned here; `peak` is the most that was needed of them lately."""

    memory: NDArray[np.uint8]
    peak: int = 0


_UNSHARED = 2
"""References to a block's memory while nobody else has one: the block's own, and the argument of the count."""
_MOST = 4
"""Blocks of one name that are remembered; whoever holds a forgotten one keeps it."""


class Buffers:
    """Blocks of memory by name, e.g. an input's. Thread-safe.

    A block is free when nothing refers to it any more: neither a run, nor an output that is a view of it, nor what a
    model may have kept. A view of numpy's holds its memory, and so does every library that takes an array as it is.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, list[_Block]] = {}
        self._takes = 0
        self._lock = threading.Lock()

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array with anything in it; its place is used again as soon as nothing refers to it."""
        size = dtype.itemsize * math.prod(shape)
        if size < _SMALL_BYTES or dtype.hasobject:
            return np.empty(shape, dtype)
        with self._lock:
            self._takes += 1
            if self._takes % _WINDOW == 0:
                self._shrink()
            block = _free(self._blocks.setdefault(name, []), size)
            block.peak = max(block.peak, size)
            return block.memory[:size].view(dtype).reshape(shape)

    def _shrink(self) -> None:
        for name, blocks in self._blocks.items():
            self._blocks[name] = [block for block in blocks if block.peak * 4 > len(block.memory)]
            for block in blocks:
                block.peak = 0


def _free(blocks: list[_Block], size: int) -> _Block:
    """A block of at least `size`: one that nothing refers to, else a new one in the place of one that is too small."""
    for block in blocks:
        if sys.getrefcount(block.memory) <= _UNSHARED:
            if len(block.memory) >= size:
                return block
            blocks.remove(block)
            break
    del blocks[: len(blocks) - _MOST + 1]
    blocks.append(_Block(np.empty(1 << (size - 1).bit_length(), np.uint8)))
    return blocks[-1]
