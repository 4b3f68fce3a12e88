"""The timer of deadlines."""

import asyncio
from collections.abc import Callable

import pytest

from modelapp.sweep import Sweep


class Timer:
    """A timer that a test lets go off."""

    def __init__(self, at_s: float, work: Callable[[], None]) -> None:
        self.at_s, self.work = at_s, work
        self.cancelled = False

    def when(self) -> float:
        """As asyncio's."""
        return self.at_s

    def cancel(self) -> None:
        """As asyncio's."""
        self.cancelled = True


class Loop:
    """As much of a loop as a sweep uses."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_at(self, at_s: float, work: Callable[[], None]) -> Timer:
        """Keep it."""
        self.timers.append(Timer(at_s, work))
        return self.timers[-1]

    @property
    def pending(self) -> list[float]:
        """When those go off that are not cancelled."""
        return [timer.at_s for timer in self.timers if not timer.cancelled]


@pytest.fixture
def loop() -> Loop:
    """The loop by hand."""
    return Loop()


def sweep(loop: Loop, looked: list[float], next_s: float | None = None, now_s: float = 10.0) -> Sweep:
    """One that keeps when it looked."""

    def look(at_s: float) -> float | None:
        looked.append(at_s)
        return next_s

    given: asyncio.AbstractEventLoop = loop  # type: ignore[assignment]
    return Sweep(given, lambda: now_s, look, least_s=0.5)


def test_it_is_set_to_the_earliest_deadline(loop: Loop) -> None:
    """An earlier deadline moves it, a later one or none does not."""
    one = sweep(loop, [])
    one.by(None)
    assert loop.pending == []
    one.by(20.0)
    one.by(30.0)
    assert loop.pending == [20.0]
    one.by(15.0)
    assert loop.pending == [15.0]
    one.close()
    assert loop.pending == []


def test_it_goes_on_to_the_next_deadline_but_not_too_often(loop: Loop) -> None:
    """After a look it is set anew, half a second later at the earliest."""
    looked: list[float] = []
    one = sweep(loop, looked, next_s=10.1)
    one.by(10.0)
    loop.timers[0].work()
    assert looked == [10.0]
    assert [timer.at_s for timer in loop.timers[1:]] == [10.5]


def test_it_rests_where_nobody_has_a_deadline(loop: Loop) -> None:
    """Until one comes."""
    looked: list[float] = []
    one = sweep(loop, looked)
    one.by(10.0)
    loop.timers[0].work()
    assert len(loop.timers) == 1
    one.by(12.0)
    assert loop.timers[-1].at_s == 12.0
