"""Only the offenders of a failed batch fail."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.errors import ModelDied, OutOfMemory
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


@given(size=st.integers(2, 64), data=st.data())
def test_several_offenders_leave_no_mate_harmed(size: int, data: st.DataObject) -> None:
    """Up to log2 n offenders, wherever they stand, fail alone, each with its own error and within its allowance."""
    most = (size - 1).bit_length()
    poison = data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=most))
    machine = Machine(poison)

    isolated = run_isolated(list(range(size)), machine)

    failed = {member: outcome for member, outcome in enumerate(isolated.outcomes) if isinstance(outcome, Exception)}
    assert {member: str(error) for member, error in failed.items()} == {one: f"poison in [{one}]" for one in poison}
    assert isolated.extra_runs == machine.runs - 1 <= allowance(size) * len(poison)


@given(size=st.integers(2, 64), data=st.data())
def test_once_anybody_succeeds_every_mate_does(size: int, data: st.DataObject) -> None:
    """A model that answered its first request is not at fault, however many others fail."""
    poison = data.draw(st.sets(st.integers(1, size - 1), min_size=1))
    machine = Machine(poison)

    isolated = run_isolated(list(range(size)), machine)

    assert {member for member, outcome in enumerate(isolated.outcomes) if isinstance(outcome, Exception)} == poison
    assert machine.runs - 1 <= allowance(size) * len(poison)


@given(size=st.integers(2, 64), answers=st.lists(st.booleans(), min_size=1, max_size=200))
def test_moods_are_bounded(size: int, answers: list[bool]) -> None:
    """A model that fails at random costs no more runs than its offenders allow, and everybody has an outcome."""
    runs = 0

    def execute(members: Sequence[int]) -> list[int | Exception]:
        nonlocal runs
        runs += 1
        if runs == 1 or answers[runs % len(answers)]:
            raise ValueError("in a mood")
        return list(members)

    isolated = run_isolated(list(range(size)), execute)

    failed = sum(isinstance(outcome, Exception) for outcome in isolated.outcomes)
    assert isolated.extra_runs <= min(2 * size - 2, allowance(size) * (1 + failed))
    assert all(isinstance(outcome, Exception) or outcome == at for at, outcome in enumerate(isolated.outcomes))


@pytest.mark.parametrize("size", [4, 8, 33, 64])
def test_broken_model_is_given_up(size: int) -> None:
    """Where more than log2 n members fail alone and nobody succeeds, all get the first error: it is the model."""
    machine = Machine(set(range(size)))

    isolated = run_isolated(list(range(size)), machine)

    assert isolated.extra_runs <= 3 * (size - 1).bit_length() + 2
    assert {str(outcome) for outcome in isolated.outcomes} == {f"poison in {list(range(size))}"}


def test_end_of_the_search_is_told_to_whom_it_left_out() -> None:
    """A model that dies while an offender is searched for is dead for whoever was not tried yet, not for the rest."""

    def execute(members: Sequence[int]) -> list[int | Exception]:
        if len(members) == 4:
            raise ValueError("somebody is at fault")
        if 2 in members:
            raise ModelDied("the device is gone")
        return list(members)

    isolated = run_isolated([0, 1, 2, 3], execute)

    assert isolated.outcomes[:2] == [0, 1]
    assert [type(outcome) for outcome in isolated.outcomes[2:]] == [ModelDied, ModelDied]


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
