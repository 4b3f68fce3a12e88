"""The timer by which whoever is overdue is told: set to the earliest deadline, and going off not too often."""

import asyncio
from collections.abc import Callable


class Sweep:
    """Calls `look` with the time when a deadline has passed, on the loop; it tells the next deadline, None for none.

    `least_s` lies between two looks, since each looks at everything that waits. `clock` tells the loop's time.
    """

    __slots__ = ("_clock", "_least_s", "_look", "_loop", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        look: Callable[[float], float | None],
        *,
        least_s: float,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._look = look
        self._least_s = least_s
        self._timer: asyncio.TimerHandle | None = None

    def by(self, deadline_s: float | None) -> None:
        """Look at that time at the latest."""
        if deadline_s is None or (self._timer is not None and self._timer.when() <= deadline_s):
            return
        self.close()
        self._timer = self._loop.call_at(deadline_s, self._go)

    def _go(self) -> None:
        self._timer = None
        now_s = self._clock()
        next_s = self._look(now_s)
        if next_s is not None:
            self.by(max(next_s, now_s + self._least_s))

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
