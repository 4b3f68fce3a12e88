"""A failed batch is split and run again, so that only the offenders fail."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs

from modelapp.errors import Cancelled, DeadlineExceeded, OutOfMemory

T = TypeVar("T")
R = TypeVar("R")

INDIVISIBLE = (Cancelled, DeadlineExceeded, OutOfMemory)
"""Failures that splitting cannot pin on one member."""


@attrs.frozen
class Isolated(Generic[R]):
    """One outcome a member, in order: its result or its error; and how many runs came on top of the first."""

    outcomes: list[R | BaseException]
    extra_runs: int


def allowance(members: int) -> int:
    """2*ceil(log2 n): the extra runs that find one offender among `members`."""
    return 2 * (members - 1).bit_length()


def run_isolated(
    members: Sequence[T], execute: Callable[[Sequence[T]], Sequence[R | BaseException]], *, split: bool = True
) -> Isolated[R]:
    """Run all members together; where that raises, be it SystemExit, halve until each offender stands alone.

    Every offender found allows another `allowance(n)` runs, once any member has succeeded. When the first allowance is
    used up without one success the fault is the model's, not a member's, and all fail with the first error.
    """
    try:
        return Isolated(list(execute(members)), 0)
    except BaseException as error:
        first = error
    if not split or len(members) == 1 or isinstance(first, INDIVISIBLE):
        return Isolated([first] * len(members), 0)
    outcomes: list[R | BaseException] = [first] * len(members)
    middle = len(members) // 2
    parts = [(middle, len(members)), (0, middle)]
    per_offender = allowance(len(members))
    runs, offenders, succeeded = 0, 0, False
    while parts:
        if runs >= per_offender * (1 + (offenders if succeeded else 0)):
            break
        start, end = parts.pop()
        runs += 1
        try:
            outcomes[start:end] = execute(members[start:end])
            succeeded = True
        except BaseException as error:
            if isinstance(error, INDIVISIBLE):
                break
            if end - start == 1:
                outcomes[start] = error
                offenders += 1
            else:
                middle = (start + end) // 2
                parts += [(middle, end), (start, middle)]
    if not succeeded:
        outcomes = [first] * len(members)
    return Isolated(outcomes, runs)
