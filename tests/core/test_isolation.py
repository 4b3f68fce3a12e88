"""Only the offenders of a failed batch fail."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import OutOfMemory
from modelapp.isolation import allowance, run_isolated


class Machine:
    """Doubles its members, and raises when a run holds a poisonous one."""

    def __init__(self, poison: set[int]) -> None:
        self.poison = poison
        self.runs = 0

    def __call__(self, members: Sequence[int]) -> list[int | Exception]:
        self.runs += 1
        if self.poison & set(members):
            raise ValueError(f"poison in {list(members)}")
        return [member * 2 for member in members]


@given(size=st.integers(2, 64), data=st.data())
def test_one_offender_fails_alone(size: int, data: st.DataObject) -> None:
    """Every mate of a single offender gets its answer, within 2*ceil(log2 n) extra runs."""
    offender = data.draw(st.integers(0, size - 1))
    machine = Machine({offender})

    isolated = run_isolated(list(range(size)), machine)

    for member, outcome in enumerate(isolated.outcomes):
        assert isinstance(outcome, ValueError) if member == offender else outcome == member * 2
    assert isolated.extra_runs == machine.runs - 1 <= allowance(size)


@given(size=st.integers(4, 64), data=st.data())
def test_several_offenders_leave_no_mate_harmed(size: int, data: st.DataObject) -> None:
    """With at most a quarter of the batch poisonous, exactly those fail, each within its allowance."""
    poison = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=max(1, size // 4)))
    machine = Machine(poison)

    isolated = run_isolated(list(range(size)), machine)

    failed = {member for member, outcome in enumerate(isolated.outcomes) if isinstance(outcome, Exception)}
    assert failed == poison
    assert isolated.extra_runs <= allowance(size) * (len(poison) + 1)


@pytest.mark.parametrize("size", [2, 3, 8, 33])
def test_broken_model_is_given_up(size: int) -> None:
    """When nobody succeeds within one allowance the model is at fault, and all get its first error."""
    machine = Machine(set(range(size)))

    isolated = run_isolated(list(range(size)), machine)

    assert isolated.extra_runs <= allowance(size)
    assert {str(outcome) for outcome in isolated.outcomes} == {f"poison in {list(range(size))}"}


def test_no_split_where_forbidden() -> None:
    """A model that may not be run again fails its batch at once."""
    machine = Machine({0})

    isolated = run_isolated([0, 1], machine, split=False)

    assert machine.runs == 1
    assert all(isinstance(outcome, ValueError) for outcome in isolated.outcomes)


def test_out_of_memory_is_nobodys_fault() -> None:
    """Failures that no member causes are not searched for."""
    runs: list[int] = []

    def execute(members: Sequence[int]) -> list[int | Exception]:
        runs.append(len(members))
        raise OutOfMemory("no room")

    isolated = run_isolated([1, 2, 3], execute)

    assert runs == [3]
    assert all(isinstance(outcome, OutOfMemory) for outcome in isolated.outcomes)
