"""How many requests a second, and how many at a time: pure logic, told the time by whoever asks.

For one thread: asking and taking are two calls with nothing in between.
"""

_NO_TIME_S = 1e-9
"""Waits below this come of rounding."""


class RateLimit:
    """At most rate_per_s * t + burst requests within any t seconds; `burst` is one second's worth, at least 1.

    The generic cell rate algorithm (ITU-T I.371): the whole state is the time at which the bucket will be full again.
    """

    __slots__ = ("_full_at_s", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float) -> None:
        self._full_at_s = float("-inf")
        self.change(rate_per_s)

    def change(self, rate_per_s: float) -> None:
        """Another rate from now on; what was taken stays taken."""
        self.rate_per_s = rate_per_s
        self.burst = max(1.0, rate_per_s)

    def wait_s(self, now_s: float) -> float:
        """How long until the next request may come, 0 for at once. Times are of a monotonic clock."""
        wait_s = self._full_at_s - now_s - (self.burst - 1) / self.rate_per_s
        return wait_s if wait_s > _NO_TIME_S else 0.0

    def take(self, now_s: float) -> None:
        """Count a request, which `wait_s` has let pass."""
        self._full_at_s = max(self._full_at_s, now_s) + 1 / self.rate_per_s


class Gate:
    """At most `most` at a time."""

    __slots__ = ("inside", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.inside = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self.inside >= self.most

    def enter(self) -> None:
        """One more, which `full` has let pass."""
        self.inside += 1

    def leave(self) -> None:
        """One of them is gone."""
        self.inside -= 1
