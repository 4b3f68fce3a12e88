"""Where and how soon runs start: on the loop or on a thread, at once or a turn later. Learned from past runs."""

from modelapp.costs import CostLine, Floor

INLINE_S = 150e-6
"""Runs whose model can be quicker than this stay on the loop: handing them to a thread costs more than the work."""
_WAITS_S = 0.02
"""A model whose runs take longer on average waits for something, however short some are; it is kept off the loop."""
_LONELY = 8
_LOOK_AGAIN = 16
_LEARN_AGAIN = 4  # of many equal runs some are enough


class Pacing:
    """One model's pace. Asked for every request, so answers are ready in attributes; `learn` keeps them right.

    A size is judged by the floor of its runs, not by their mean: on a thread most of a short run's time is waiting for
    Python's lock.
    """

    __slots__ = ("_costs", "_floor", "_lonely", "_quick", "at_once", "quick")

    def __init__(self, costs: CostLine) -> None:
        self._costs = costs
        self._floor = Floor()
        self._lonely = 0
        self._quick: dict[int, bool] = {}
        self.quick = False
        """Whether runs stay on the loop lately."""
        self.at_once = False
        """Whether a lone row may start at once: the last ones that waited a turn for company found none."""

    def stays(self, cost: float) -> bool:
        """Whether a run of `cost` stays on the loop."""
        found = self._quick.get(int(cost).bit_length())
        return self._judge(cost) if found is None else found

    def learn(self, cost: float, members: int, seconds: float, infer_s: float) -> None:
        """A run of `cost` for `members` requests took `seconds`, of which the model itself `infer_s`."""
        self._lonely = self._lonely + 1 if members == 1 else 0
        if self._lonely < _LONELY or not self.quick or not self._lonely % _LEARN_AGAIN:
            self._costs.add(cost, seconds)
            self._floor.add(cost, infer_s)
            self.quick = self._quick[int(cost).bit_length()] = self._judge(cost)
        # Every so often a row waits its turn all the same, or company that has come would never be noticed.
        self.at_once = self.quick and self._lonely >= _LONELY and bool(self._lonely % _LOOK_AGAIN)

    def _judge(self, cost: float) -> bool:
        return self._floor.at_s(cost) < INLINE_S and self._costs.predict_s(cost) < _WAITS_S
