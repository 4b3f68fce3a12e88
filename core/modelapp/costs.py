"""What a run takes: a line, time = a*cost + b, fitted while serving, and how often requests arrive.

The cost is in rows, or in tokens where app.toml counts them.
"""

_DECAY = 0.95
_ENOUGH = 4.0


class CostLine:
    """An exponentially forgetting least-squares line through (cost, seconds) of past runs."""

    __slots__ = ("_n", "_nn", "_nt", "_t", "_weight")

    def __init__(self) -> None:
        self._weight = self._n = self._t = self._nn = self._nt = 0.0

    def add(self, cost: float, seconds: float) -> None:
        """Learn from a run. One slow outlier moves the line by its share only; old runs fade."""
        self._weight = self._weight * _DECAY + 1.0
        self._n = self._n * _DECAY + cost
        self._t = self._t * _DECAY + seconds
        self._nn = self._nn * _DECAY + cost * cost
        self._nt = self._nt * _DECAY + cost * seconds

    @property
    def known(self) -> bool:
        """Whether any run has been seen."""
        return self._weight > 0.0

    @property
    def fixed_s(self) -> float | None:
        """b, the seconds a run costs whatever its size; None until runs of different sizes were seen."""
        line = self._line()
        return None if line is None else line[1]

    def predict_s(self, cost: float) -> float:
        """Expected seconds of a run of `cost`; infinity before the first run."""
        if self._weight == 0.0:
            return float("inf")
        line = self._line()
        if line is not None:
            return line[0] * cost + line[1]
        mean_cost = self._n / self._weight
        return self._t / self._weight * max(1.0, cost / mean_cost)

    def _line(self) -> tuple[float, float] | None:
        if self._weight < _ENOUGH:
            return None
        spread = self._nn * self._weight - self._n * self._n
        if spread <= 1e-6 * self._nn * self._weight:
            return None
        slope = max(0.0, (self._nt * self._weight - self._n * self._t) / spread)
        return slope, max(0.0, (self._t - slope * self._n) / self._weight)


class Floor:
    """The least a run takes, by size: what remains when nothing else wanted the processor or Python's lock.

    Sizes are counted in powers of two. A floor rises slowly, so that a model which became slower is found out.
    """

    __slots__ = ("_least_s",)

    def __init__(self) -> None:
        self._least_s: dict[int, float] = {}

    def add(self, cost: float, seconds: float) -> None:
        """Learn from a run."""
        size = int(cost).bit_length()
        known_s = self._least_s.get(size)
        self._least_s[size] = seconds if known_s is None else min(seconds, known_s * 1.1)

    def at_s(self, cost: float) -> float:
        """Least seconds of a run of `cost`; in proportion to the next smaller size where its own was not seen yet."""
        size = int(cost).bit_length()
        known_s = self._least_s.get(size)
        if known_s is not None:
            return known_s
        smaller = max((seen for seen in self._least_s if seen < size), default=0)
        return self._least_s[smaller] * 2 ** (size - smaller) if smaller else float("inf")


class Arrivals:
    """The mean time between arriving rows, lately."""

    __slots__ = ("_gap_s", "_last_s")

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._gap_s: float | None = None

    def add(self, now_s: float) -> None:
        """Something arrived at `now_s`."""
        if self._last_s is not None:
            gap_s = now_s - self._last_s
            self._gap_s = gap_s if self._gap_s is None else 0.8 * self._gap_s + 0.2 * gap_s
        self._last_s = now_s

    @property
    def gap_s(self) -> float:
        """Mean seconds between arrivals; infinity until two have come."""
        return float("inf") if self._gap_s is None else self._gap_s


def waiting_pays(costs: CostLine, arrivals: Arrivals, rows_waiting: int) -> bool:
    """Whether holding `rows_waiting` rows back for the next arrival saves more than it costs.

    Company saves one run's fixed cost; until it comes, every row held back waits one gap longer.
    """
    fixed_s = costs.fixed_s
    return fixed_s is not None and rows_waiting * arrivals.gap_s < fixed_s
