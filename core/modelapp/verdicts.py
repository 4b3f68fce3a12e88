"""What came of a test, and the one function that turns many outcomes into a verdict."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from modelapp.app import AppTest
from modelapp.matchers import Mismatch

Verdict = Literal["pass", "fail", "inconclusive"]
EXIT_STATUS: Mapping[Verdict, int] = {"pass": 0, "fail": 1, "inconclusive": 4}
"""What a command ends with."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one test. `reason` tells in words what no mismatch can; `measured` are numbers worth keeping.

    `values` is the request to repeat: the first that failed, else the first. `line` is the test's place in app.toml.
    """

    test: AppTest
    verdict: Verdict
    endpoint: str
    seconds: float = 0.0
    mismatches: tuple[Mismatch, ...] = ()
    reason: str = ""
    passed: int = 0
    tried: int = 1
    needed: int = 1
    measured: Mapping[str, float] = attrs.field(factory=dict)
    values: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def line(self) -> int:
        """The line of the test's header in app.toml."""
        return self.test.line


def overall(outcomes: Iterable[Outcome]) -> Verdict:
    """One failure fails; without one, nothing tested or anything undecided is inconclusive."""
    verdicts = [outcome.verdict for outcome in outcomes]
    if "fail" in verdicts:
        return "fail"
    return "inconclusive" if not verdicts or "inconclusive" in verdicts else "pass"


def count(outcomes: Iterable[Outcome]) -> dict[Verdict, int]:
    """How many there are of each verdict."""
    counts: dict[Verdict, int] = {"fail": 0, "inconclusive": 0, "pass": 0}
    for outcome in outcomes:
        counts[outcome.verdict] += 1
    return counts


def summary(outcomes: Iterable[Outcome]) -> str:
    """The counts in words: "1 failed, 2 passed"."""
    words: dict[Verdict, str] = {"fail": "failed", "inconclusive": "inconclusive", "pass": "passed"}
    found = [f"{number} {words[verdict]}" for verdict, number in count(outcomes).items() if number]
    return ", ".join(found) or "no tests"
