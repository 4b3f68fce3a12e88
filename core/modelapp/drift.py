"""How far a less precise model that generates is from the one that it was made of: told, and never judged."""

from typing import Any

import attrs
from numpy.typing import NDArray

from modelapp.parity import compare


@attrs.define
class Drift:
    """Implements `modelapp.textparity.Judge`. A step is one answer: logits [vocabulary], of which a token is taken.

    `max_abs` is the largest difference of two logits, `largest` the largest logit of the precise model. `fault` is what
    no number tells, "" where there is none.
    """

    precision: str
    steps: int = 0
    same: int = 0
    """Steps whose likeliest token is the same."""
    max_abs: float = 0.0
    largest: float = 0.0
    fault_told: str = ""

    @property
    def max_rel(self) -> float:
        """The largest difference as a share of the largest value; 0 where that is 0."""
        return self.max_abs / self.largest if self.largest else 0.0

    def begin(self, given: str) -> None:
        """All prompts count alike."""

    def step(self, kind: str, mine: NDArray[Any], theirs: NDArray[Any]) -> None:
        """Count the answers of one step."""
        found = compare("", f"logits, {kind}", mine, theirs, 0.0)
        if found.fault:
            self.fault(found.fault)
        if theirs.shape != mine.shape:
            return
        self.max_abs, self.largest = max(self.max_abs, found.max_abs), max(self.largest, found.largest)
        self.steps += len(mine)
        self.same += int((mine.argmax(1) == theirs.argmax(1)).sum()) if mine.size else 0

    def fault(self, told: str) -> None:
        """Keep the first."""
        self.fault_told = self.fault_told or told

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "steps": self.steps,
            "same_token": self.same,
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
            "fault": self.fault_told or None,
        }

    def told(self) -> str:
        """The same in a sentence."""
        fault = f"; logits of the {self.precision} model: {self.fault_told}" if self.fault_told else ""
        return (
            f"{self.precision} beside the model it was made of, at the same prompts: logits differ by"
            f" {self.max_abs:.3g} at most, {self.max_rel:.2g} of the largest value; the likeliest token is the same in"
            f" {self.same} of {self.steps} steps{fault}"
        )
