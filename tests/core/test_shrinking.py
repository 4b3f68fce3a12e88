"""A run that does not fit into memory is halved until it does: nothing is lost, order kept, a bound learned."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.batching import Part
from modelapp.errors import Cancelled, OutOfMemory
from modelapp.runtime import Run
from modelapp.shrinking import Shrinking


class Machine:
    """Doubles numbers, and has room for so many rows; some rows never fit."""

    def __init__(self, room: int, giants: frozenset[int] = frozenset()) -> None:
        self.room = room
        self.giants = giants
        self.seen: list[list[int]] = []

    def __call__(self, parts: Sequence[Part]) -> list[Any]:
        rows = [row for part in parts for row in part.payload]
        self.seen.append(rows)
        if len(rows) > self.room or self.giants & set(rows):
            raise OutOfMemory(f"no room for {len(rows)}")
        return [[2 * row for row in part.payload] for part in parts]


def cut(part: Part, start: int, end: int) -> Part:
    """Some rows of a part."""
    return Part(part.payload[start:end], end - start)


def join(answers: Sequence[Any]) -> Any:
    """One list of several."""
    return [row for answer in answers for row in answer]


def numbered(sizes: Sequence[int]) -> list[Part]:
    """Parts of so many rows, all rows numbered through."""
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [Part(list(range(start, start + size)), size) for start, size in zip(starts, sizes, strict=True)]


def outcomes(machine: Machine, parts: Sequence[Part], shrinking: Shrinking | None = None) -> list[Any]:
    """What comes of parts that failed together once."""
    with pytest.raises(OutOfMemory):
        machine(parts)
    first = OutOfMemory(f"no room for {sum(part.rows for part in parts)}")
    return (shrinking or Shrinking("m", cut, join)).run(parts, Run(), machine, first)


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=9)


@given(sizes=sizes, data=st.data())
def test_every_part_has_its_answer(sizes: list[int], data: st.DataObject) -> None:
    """Whatever the sizes and the room, each part gets its own rows' answers in their order, also when it is cut."""
    rows = sum(sizes)
    if rows == 1:
        return
    machine = Machine(data.draw(st.integers(1, rows - 1)))
    parts = numbered(sizes)

    assert outcomes(machine, parts) == [[2 * row for row in part.payload] for part in parts]
    fitted = [seen for seen in machine.seen if len(seen) <= machine.room]
    assert [row for seen in fitted for row in seen] == list(range(rows))


@given(sizes=sizes, data=st.data())
def test_the_bound_is_one_that_fitted(sizes: list[int], data: st.DataObject) -> None:
    """What is learned is the largest run that had room, and at least half of what there is room for."""
    rows = sum(sizes)
    if rows == 1:
        return
    machine, shrinking = Machine(data.draw(st.integers(1, rows - 1))), Shrinking("m", cut, join)
    told: list[int | None] = []
    shrinking.on_learned = lambda: told.append(shrinking.most_rows)

    outcomes(machine, numbered(sizes), shrinking)

    assert shrinking.most_rows is not None
    assert machine.room / 2 < shrinking.most_rows <= machine.room
    assert told == [shrinking.most_rows]


@given(sizes=sizes, data=st.data())
def test_a_row_that_never_fits_fails_its_part_alone(sizes: list[int], data: st.DataObject) -> None:
    """The part that holds it runs out of memory, every other one has its answer."""
    rows = sum(sizes)
    giant = data.draw(st.integers(0, rows - 1))
    if rows == 1:
        return
    parts = numbered(sizes)

    found = outcomes(Machine(rows, frozenset({giant})), parts)

    for part, outcome in zip(parts, found, strict=True):
        if giant in part.payload:
            assert isinstance(outcome, OutOfMemory)
        else:
            assert outcome == [2 * row for row in part.payload]


@pytest.mark.parametrize("rows", [2, 8, 64, 100])
def test_no_room_at_all_is_given_up(rows: int) -> None:
    """Where not even single rows fit few of them are tried, all parts are told, and nothing is learned."""
    machine, shrinking = Machine(0), Shrinking("m", cut, join)

    found = outcomes(machine, numbered([1] * rows), shrinking)

    assert len(found) == rows
    assert all(isinstance(outcome, OutOfMemory) for outcome in found)
    assert len(machine.seen) <= 4 * (rows - 1).bit_length() + 2
    assert shrinking.most_rows is None


def test_a_bound_is_kept() -> None:
    """A later run that failed while more was known to fail does not raise it."""
    shrinking = Shrinking("m", cut, join)
    outcomes(Machine(2), numbered([1] * 8), shrinking)
    outcomes(Machine(6), numbered([1] * 8), shrinking)

    assert shrinking.most_rows == 2


def test_one_row_cannot_be_halved() -> None:
    """It is out of memory, as it was."""
    machine = Machine(0)
    with pytest.raises(OutOfMemory, match="no room for 1"):
        outcomes(machine, numbered([1]))
    assert len(machine.seen) == 1


def test_another_failure_is_nobody_elses_business() -> None:
    """What else a half raises is raised, for whoever searches offenders."""

    def broken(parts: Sequence[Part]) -> list[Any]:
        raise ValueError("poison")

    with pytest.raises(ValueError, match="poison"):
        Shrinking("m", cut, join).run(numbered([1, 1]), Run(), broken, OutOfMemory("no room"))


def test_a_run_that_nobody_waits_for_is_not_halved() -> None:
    """A cancelled run ends between two attempts."""
    run = Run()
    run.cancel()
    machine = Machine(1)
    with pytest.raises(Cancelled):
        Shrinking("m", cut, join).run(numbered([1, 1]), run, machine, OutOfMemory("no room"))
    assert machine.seen == []
