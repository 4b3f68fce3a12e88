"""Tells runs that are larger than usual: after those the library's memory arena is shrunk."""

from modelapp.runtime import Arrays

SHRINK = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""The setting of a run by which the library gives memory back after it."""
_WINDOW_RUNS = 200
_USUAL = 3


class Envelope:
    """The largest input, in bytes, that is usual for a model.

    The arena keeps the memory of the largest run ever made. Giving it back after each run costs up to a third of the
    run (measured on a small image network), so it is done for odd ones only: a size is usual once three inputs of that
    size or more came within 200 runs. Counts may be off by one where runs overlap, which is harmless.
    """

    __slots__ = ("_above", "_runs", "usual_bytes")

    def __init__(self) -> None:
        self.usual_bytes = 0
        self._runs = 0
        self._above: list[tuple[int, int]] = []

    def is_outsize(self, arrays: Arrays) -> bool:
        """Whether this run's input is larger than the usual ones; counts the run."""
        self._runs += 1
        size = 0
        for array in arrays.values():
            size += array.nbytes
        if size <= self.usual_bytes:
            return False
        recent = [seen for seen in self._above if seen[0] > self._runs - _WINDOW_RUNS]
        recent.append((self._runs, size))
        if len(recent) >= _USUAL:
            self.usual_bytes = min(seen[1] for seen in recent)
            recent = [seen for seen in recent if seen[1] > self.usual_bytes]
        self._above = recent
        return size > self.usual_bytes
