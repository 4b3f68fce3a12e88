"""The memory of a generating model: keys and values of every sequence, which the graph reads and writes in place."""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # the library ships no types
from numpy.typing import NDArray

from modelapp_onnx.generationfacts import GenerationFacts

Views: TypeAlias = Sequence[tuple[Any, Any]]
"""Of each layer, keys and values of some rows, as values of the library that share the memory."""


class Caches:
    """`rows` sequences of up to `capacity` tokens each. Memory is taken as it is written to, and given back by `free`.

    Of each layer there are keys and values [rows, kv_heads, capacity, head_size], float32.
    """

    def __init__(self, facts: GenerationFacts, *, rows: int, capacity: int) -> None:
        shape = (rows, facts.kv_heads, capacity, facts.head_size)
        self._row_bytes = facts.kv_heads * capacity * facts.head_size * 4
        self._maps = [_pages(rows * self._row_bytes) for _ in range(2 * facts.layers)]
        self._arrays: list[NDArray[np.float32]] = [
            np.frombuffer(pages, np.float32).reshape(shape) for pages in self._maps
        ]
        self._views: dict[tuple[int, int], Views] = {}

    def view(self, first: int, end: int) -> Views:
        """The rows from `first` until `end`, made once."""
        known = self._views.get((first, end))
        if known is None:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array[first:end]) for array in self._arrays]
            known = self._views[first, end] = list(zip(values[::2], values[1::2], strict=True))
        return known

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Make the first `tokens` of row `target` those of `source`."""
        for array in self._arrays:
            array[target, :, :tokens] = array[source, :, :tokens]

    def free(self, row: int) -> None:
        """Give the row's memory back to the system, but for what shares a page with its neighbours."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        page = mmap.PAGESIZE
        start = -(-row * self._row_bytes // page) * page
        end = (row + 1) * self._row_bytes // page * page
        if end > start:
            for pages in self._maps:
                pages.madvise(mmap.MADV_DONTNEED, start, end - start)


def _pages(size: int) -> mmap.mmap:
    """Memory of which only what is written to is taken. Raises OSError."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a large page would take the memory of many tokens for one
        with suppress(OSError):  # a system that has no large pages at all
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages
