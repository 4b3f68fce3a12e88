"""Whether a replica's event loop turns, as its parent sees it: by beats that stop when anything holds the loop."""

BEAT_S = 0.25
"""How often a replica beats."""
SILENT_S = 1.0
"""How long without a beat means that it answers nobody."""


class Pulse:
    """The beats of one replica, from its first. Times are seconds of `time.monotonic`."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._silent = False

    def beat(self, now_s: float) -> str:
        """It has beaten. What that ends, in words; "" where nothing is to be told."""
        last_s, self._last_s = self._last_s, now_s
        if not self._silent or last_s is None:
            return ""
        self._silent = False
        return f"the replica answers again, after {now_s - last_s:.1f} s"

    def look(self, now_s: float) -> str:
        """What its silence means, once; "" where nothing is to be told."""
        if self._silent or self._last_s is None or now_s - self._last_s < SILENT_S:
            return ""
        self._silent = True
        return (
            f"the replica answers nobody since {now_s - self._last_s:.1f} s: something holds its event loop;"
            " `modelapp dump` shows what"
        )

    def wait_s(self, now_s: float) -> float | None:
        """When to look again, in seconds from now; None where only a beat or an end is worth waking for."""
        if self._silent or self._last_s is None:
            return None
        return max(0.0, self._last_s + SILENT_S - now_s)

    @property
    def silent(self) -> bool:
        """Whether it answers nobody now."""
        return self._silent
