"""A failed batch is split and run again, so that only the offenders fail."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs

from modelapp.errors import Cancelled, DeadlineExceeded, ModelDied, OutOfMemory

T = TypeVar("T")
R = TypeVar("R")

INDIVISIBLE = (Cancelled, DeadlineExceeded, ModelDied, OutOfMemory)
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

    Every offender found allows another `allowance(n)` runs, which is what finding the next one takes at most. When more
    than log2 n members have failed alone and nobody has succeeded the fault is the model's, and all fail with the
    first error: up to log2 n offenders never harm a mate.
    """
    try:
        return Isolated(list(execute(members)), 0)
    except BaseException as error:
        first = error
    if not split or len(members) == 1 or isinstance(first, INDIVISIBLE):
        return Isolated([first] * len(members), 0)
    return _bisected(members, execute, first)


def _bisected(
    members: Sequence[T], execute: Callable[[Sequence[T]], Sequence[R | BaseException]], first: BaseException
) -> Isolated[R]:
    size = len(members)
    outcomes: list[R | BaseException] = [first] * size
    per_offender = allowance(size)
    parts = _halves(0, size)
    runs, offenders, succeeded = 0, 0, False
    while parts and runs < per_offender * (1 + offenders):
        if not succeeded and offenders > per_offender // 2:
            return Isolated([first] * size, runs)
        start, end = parts.pop()
        runs += 1
        try:
            outcomes[start:end] = execute(members[start:end])
            succeeded = True
        except INDIVISIBLE as error:
            for low, high in [(start, end), *parts]:
                outcomes[low:high] = [error] * (high - low)
            break
        except BaseException as error:
            if end - start == 1:
                outcomes[start] = error
                offenders += 1
            else:
                parts += _halves(start, end)
    return Isolated(outcomes, runs)


def _halves(start: int, end: int) -> list[tuple[int, int]]:
    """The left half last, where it is taken first."""
    middle = (start + end) // 2
    return [(middle, end), (start, middle)]
