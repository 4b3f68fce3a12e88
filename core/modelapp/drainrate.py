"""How fast a model gets its rows done, measured while it has work: what a refused client is told to wait for."""

from math import exp

_SPAN_S = 5.0
"""Busy seconds after which a run counts a third."""
_MOST_S = 60.0


class DrainRate:
    """Rows a second lately. Only time with work counts, or a quiet hour would look like a slow one."""

    __slots__ = ("_busy_s", "_rows", "_since_s")

    def __init__(self) -> None:
        self._rows = self._busy_s = 0.0
        self._since_s: float | None = None
        """Up to when busy time is counted; None while there is no work."""

    def began(self, now_s: float) -> None:
        """A run starts."""
        if self._since_s is None:
            self._since_s = now_s

    def ended(self, rows: int, now_s: float, *, more: bool) -> None:
        """`rows` are done, however they ended. `more`: there is more work, waiting or running."""
        spent_s = 0.0 if self._since_s is None else now_s - self._since_s
        keep = exp(-spent_s / _SPAN_S)
        self._rows = self._rows * keep + rows
        self._busy_s = self._busy_s * keep + spent_s
        self._since_s = now_s if more else None

    def per_s(self, now_s: float) -> float:
        """Rows a second; 0 while nothing was done. What runs since long slows it down."""
        open_s = 0.0 if self._since_s is None else now_s - self._since_s
        keep = exp(-open_s / _SPAN_S)
        busy_s = self._busy_s * keep + open_s
        return self._rows * keep / busy_s if busy_s > 0.0 else 0.0

    def drain_s(self, rows: int, now_s: float) -> float:
        """Seconds until `rows` should be done, a minute at most; before the first are, as long as they take already."""
        rate = self.per_s(now_s)
        if rate <= 0.0:
            return min(max(1.0, now_s - self._since_s), _MOST_S) if self._since_s is not None else 1.0
        return min(rows / rate, _MOST_S)
