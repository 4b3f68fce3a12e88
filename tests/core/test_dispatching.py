"""The batcher's decisions under everything that can come, on a clock moved by hand."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelapp.batching import Batch, Limits, Part, State, Work
from modelapp.batchqueue import PATIENCE
from modelapp.dispatching import Dispatcher
from modelapp.errors import InvalidInput, QueueFull
from modelapp.isolation import allowance, run_isolated

WAITS_S = 0.01
QUEUE_ROWS = 14
LATE = "too late"


def taught(limits: Limits) -> Dispatcher:
    """A dispatcher that knows its model's cost line."""
    dispatcher = Dispatcher(limits)
    for cost in (1, 2, 4, 8) * 3:
        dispatcher.costs.add(cost, 0.010 + 0.001 * cost)
    return dispatcher


def work_of(rows: int = 1, **more: Any) -> Work:
    """A work of plain rows."""
    return Work(Part(None, rows, tokens=rows), **more)


class Request(Work):
    """A work with what the test knows of it: its own answer, or poison; its outcomes; and the runs it saw start."""

    __slots__ = ("ahead", "outcomes", "poison", "seen")

    def __init__(self, part: Part, *, poison: bool, **more: Any) -> None:
        super().__init__(part, **more)
        self.poison = poison
        self.outcomes: list[Any] = []
        self.seen = self.ahead = 0


LIMITS = st.builds(
    Limits,
    max_rows=st.integers(1, 5),
    max_cost=st.sampled_from([0.0, 6.0, 9.0]),
    padded=st.booleans(),
    max_queue_rows=st.just(QUEUE_ROWS),
    max_wait_s=st.sampled_from([0.0, WAITS_S]),
    concurrency=st.integers(1, 2),
    levels=st.integers(1, 3),
)


ARRIVALS = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.integers(1, 3), min_size=1, max_size=2),
        "length": st.integers(1, 3),
        "key": st.sampled_from("aab"),
        "priority": st.integers(0, 4),
        "patience_s": st.none() | st.floats(0.001, 0.05),
        "poison": st.integers(0, 5).map(lambda number: number == 0),
    }
)


class DispatcherMachine(RuleBasedStateMachine):
    """Arrivals of all sizes and priorities, deadlines, leavers, poison, runs that are slow, fail or never end."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.everybody: list[Request] = []
        self.waiting: list[Request] = []
        self.running: list[Batch] = []
        self.gone: set[Request] = set()

    @initialize(limits=LIMITS)
    def set_up(self, limits: Limits) -> None:
        """Any bounds."""
        self.limits = limits
        self.dispatcher = taught(limits)

    @rule(requests=st.lists(ARRIVALS, min_size=1, max_size=6))
    def arrive(self, requests: list[dict[str, Any]]) -> None:
        """Requests come in a burst."""
        for one in requests:
            self._arrive(**one)

    def _arrive(
        self, sizes: Sequence[int], length: int, key: str, priority: int, patience_s: float | None, poison: bool
    ) -> None:
        """A request, perhaps of several pieces: refused whole exactly where the queue has no room for all of it."""
        if priority > self.limits.levels:
            with pytest.raises(InvalidInput, match="no priority"):
                self.dispatcher.level(priority)
            return
        deadline_s = None if patience_s is None else self.now_s + patience_s
        works = [
            Request(
                Part(None, rows, key, rows * length, length),
                poison=poison,
                level=self.dispatcher.level(priority),
                arrived_s=self.now_s,
                deadline_s=deadline_s,
            )
            for rows in sizes
        ]
        room = sum(one.part.rows for one in self.waiting) + sum(sizes) <= QUEUE_ROWS
        if not room:
            with pytest.raises(QueueFull) as refused:
                self.dispatcher.admit(works, self.now_s)
            assert refused.value.retry_after_s is not None
            assert refused.value.retry_after_s > 0
            return
        self.dispatcher.admit(works, self.now_s)
        for work in works:
            work.ahead = sum(one.level == work.level for one in self.waiting)
            self.waiting.append(work)
            self.everybody.append(work)

    @rule(step_s=st.floats(0.0001, 0.02))
    def tick(self, step_s: float) -> None:
        """Time passes; who is overdue is told so, nobody else, and runs without any waiter are named."""
        self.now_s += step_s
        overdue, deserted = self.dispatcher.expire(self.now_s)
        running = [
            work for batch in self.running for work in batch.works if not work.outcomes and work not in self.gone
        ]
        late = [one for one in [*self.waiting, *running] if one.deadline_s is not None and one.deadline_s <= self.now_s]
        assert set(overdue) == set(late)
        for work in late:
            work.outcomes.append(LATE)
        self._check_deserted(deserted)
        self.waiting = [one for one in self.waiting if one not in late]

    @rule(step_s=st.floats(0.0001, 0.02))
    def lag(self, step_s: float) -> None:
        """Time passes, and nobody has looked yet for what is overdue."""
        self.now_s += step_s

    @precondition(lambda self: self._alive())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A client gives up, waiting or running."""
        work = data.draw(st.sampled_from(self._alive()))
        self.gone.add(work)
        deserted = self.dispatcher.desert([work], self.now_s)
        assert work.state is State.OVER
        self._check_deserted(deserted)
        self.waiting = [one for one in self.waiting if one is not work]

    @rule()
    def start(self) -> None:
        """The shell asks for a run."""
        level_heads = self._heads()
        batch, late = self.dispatcher.next_batch(self.now_s)
        for work in late:
            assert work.is_late(self.now_s)
            assert work in self.waiting
            work.outcomes.append(LATE)
            self.waiting.remove(work)
        if batch is None:
            self._check_nothing_starts(late)
        else:
            self._check_batch(batch, level_heads)

    def _check_nothing_starts(self, late: Sequence[Work]) -> None:
        """An idle model waits only where that is declared, and within its bound."""
        if len(self.running) >= self.limits.concurrency or not self.waiting:
            return
        assert self.limits.max_wait_s, "an idle model was kept waiting"
        wake_s = self.dispatcher.wake_at_s(self.now_s)
        assert wake_s is not None
        assert self.now_s < wake_s <= min(one.arrived_s for one in self.waiting) + self.limits.max_wait_s
        assert len({one.part.key for one in self.waiting}) == 1, "there is a run that nobody who waits could join"
        assert sum(one.part.rows for one in self.waiting) < self.limits.max_rows

    def _check_batch(self, batch: Batch, heads: dict[int, Request]) -> None:
        works: list[Request] = list(batch.works)
        limits = self.limits
        assert len(self.running) < limits.concurrency
        assert not any(work.is_late(self.now_s) or work.outcomes or work in self.gone for work in works)
        assert [work for work in works if work not in self.waiting] == []
        assert self._cost_of(works) == (batch.rows, batch.cost(limits))
        assert len(works) == 1 or self._is_allowed(works), "over the bounds"
        lead, *mates = works
        assert lead is min((one for one in self.waiting if one.level == lead.level), key=lambda one: one.order)
        likes = sorted(
            (one for one in self.waiting if one.part.key == lead.part.key and one is not lead),
            key=lambda one: (one.level, one.order),
        )
        assert mates == likes[: len(mates)], "not in the order of arrival, the more urgent first"
        rest = likes[len(mates) :]
        assert not rest or not self._is_allowed([*works, rest[0]]), "room was left unused"
        urgent = min(one.level for one in self.waiting)
        if lead.level != urgent:
            assert lead.seen >= PATIENCE, "an urgent row was passed over for one that had not waited long"
        self.waiting = [one for one in self.waiting if one not in works]
        self.running.append(batch)
        for one in self.waiting:
            one.seen += 1
            assert one.seen < (one.ahead + 1) * (PATIENCE + limits.levels), "starving"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), broken=st.integers(0, 9).map(lambda number: number == 0), seconds=st.floats(0, 0.02))
    def end(self, data: st.DataObject, broken: bool, seconds: float) -> None:
        """A run ends: offenders fail alone, or the whole model fails."""
        batch = data.draw(st.sampled_from(self.running))
        self.now_s += seconds

        def execute(works: Sequence[Work]) -> list[Any]:
            if broken or any(work.poison for work in works):
                raise ValueError("poison")
            return [("answer of", id(work)) for work in works]

        isolated = run_isolated(batch.works, execute)
        self.running.remove(batch)
        self.dispatcher.ended(batch, self.now_s)
        if not isolated.extra_runs:
            self.dispatcher.learn(batch, max(seconds, 1e-6), max(seconds, 1e-6))
        told = self.dispatcher.answers(batch, isolated.outcomes)
        assert self.dispatcher.answers(batch, isolated.outcomes) == [], "told twice"
        offenders = sum(work.poison for work in batch.works)
        for work, outcome in told:
            assert work not in self.gone
            work.outcomes.append(outcome)
            if not broken and offenders <= allowance(len(batch.works)) // 2 and not work.poison:
                assert outcome == ("answer of", id(work)), "a mate was harmed"

    @rule(limits=LIMITS)
    def retune(self, limits: Limits) -> None:
        """The app's bounds change while it serves; whoever waits keeps the place."""
        if limits.levels != self.limits.levels:  # the bound on waiting starts anew
            for one in self.waiting:
                one.seen = 0
                one.ahead = len(self.waiting)
        self.limits = limits
        self.dispatcher.retune(limits)

    @invariant()
    def counts_agree(self) -> None:
        """The dispatcher knows what waits and what runs, and nobody has two outcomes."""
        if not hasattr(self, "dispatcher"):
            return
        assert set(self.dispatcher.queue) == set(self.waiting)
        assert self.dispatcher.queue.rows == sum(one.part.rows for one in self.waiting)
        assert self.dispatcher.running == set(self.running)
        assert all(len(one.outcomes) + (one in self.gone) <= 1 for one in self.everybody)
        expected = [one.deadline_s for one in self._alive() if one.deadline_s is not None]
        assert self.dispatcher.next_deadline_s() == min(expected, default=None)

    @invariant()
    def stuck_is_told(self) -> None:
        """Stuck is: no slot free, and nobody waiting for any run for over a second."""
        if not hasattr(self, "dispatcher"):
            return
        nobody = all(work.state is State.OVER for batch in self.running for work in batch.works)
        full = len(self.running) >= self.limits.concurrency
        assert self.dispatcher.is_stuck(self.now_s + 1000) == (nobody and full)
        assert not self.dispatcher.is_stuck(self.now_s)

    def teardown(self) -> None:
        """Whatever happened, the rest can be served, and everybody has exactly one outcome."""
        if not hasattr(self, "dispatcher"):
            return
        for _ in range(1000):
            while self.running:
                batch = self.running.pop()
                self.dispatcher.ended(batch, self.now_s)
                for work, outcome in self.dispatcher.answers(batch, ["answer"] * len(batch.works)):
                    work.outcomes.append(outcome)
            if not self.waiting:
                break
            wake_s = self.dispatcher.wake_at_s(self.now_s)
            assert wake_s is not None
            self.now_s = max(self.now_s, wake_s)
            self.start()
        assert self.dispatcher.idle
        assert all(len(one.outcomes) + (one in self.gone) == 1 for one in self.everybody)

    def _alive(self) -> list[Request]:
        running: list[Any] = [work for batch in self.running for work in batch.works]
        return [one for one in [*self.waiting, *running] if not one.outcomes and one not in self.gone]

    def _heads(self) -> dict[int, Request]:
        return {one.level: one for one in sorted(self.waiting, key=lambda one: -one.order)}

    def _check_deserted(self, deserted: Sequence[Batch]) -> None:
        for batch in deserted:
            assert all(work.outcomes or work in self.gone for work in batch.works)

    def _cost_of(self, works: Sequence[Work]) -> tuple[int, float]:
        rows = sum(work.part.rows for work in works)
        tokens = sum(work.part.tokens for work in works)
        return rows, rows * max(work.part.longest for work in works) if self.limits.padded else tokens

    def _is_allowed(self, works: Sequence[Work]) -> bool:
        rows, cost = self._cost_of(works)
        return rows <= self.limits.max_rows and (not self.limits.max_cost or cost <= self.limits.max_cost)


DispatcherMachine.TestCase.settings = settings(
    deadline=None, max_examples=150, stateful_step_count=60, suppress_health_check=[HealthCheck.too_slow]
)
TestDispatcherMachine = DispatcherMachine.TestCase


def test_refused_requests_leave_nothing_behind() -> None:
    """All pieces of a request are admitted or none."""
    dispatcher = Dispatcher(Limits(max_rows=2, max_queue_rows=3))

    with pytest.raises(InvalidInput, match="can never fit"):
        dispatcher.admit([work_of(2), work_of(2)], 0.0)
    dispatcher.admit([work_of(2)], 0.0)
    with pytest.raises(QueueFull):
        dispatcher.admit([work_of(1), work_of(1)], 0.0)

    assert dispatcher.queue.rows == 2


def test_refusal_says_when_to_come_again() -> None:
    """Retry-After is the time that the waiting rows take at the measured rate."""
    dispatcher = Dispatcher(Limits(max_rows=2, max_queue_rows=8))
    dispatcher.admit([work_of(2) for _ in range(4)], 0.0)
    for turn in range(2):
        batch, _ = dispatcher.next_batch(turn * 0.5)
        assert batch is not None
        dispatcher.ended(batch, turn * 0.5 + 0.5)
    dispatcher.admit([work_of(2) for _ in range(2)], 1.0)

    with pytest.raises(QueueFull) as refused:
        dispatcher.admit([work_of(1)], 1.0)

    assert refused.value.retry_after_s == pytest.approx(8 / 4)


@pytest.mark.parametrize(("levels", "default"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_default_level_is_the_middle(levels: int, default: int) -> None:
    """A request that names no priority can be overtaken and can overtake."""
    assert Dispatcher(Limits(levels=levels)).level(0) == default


def test_dead_model_frees_who_waits() -> None:
    """Whoever waits is named once, and nothing is left to run."""
    dispatcher = Dispatcher(Limits(max_rows=1))
    works = [work_of() for _ in range(3)]
    dispatcher.admit(works, 0.0)
    running, _ = dispatcher.next_batch(0.0)

    assert running is not None
    assert dispatcher.bury() == works[1:]
    dispatcher.ended(running, 1.0)
    assert dispatcher.idle
    assert dispatcher.next_batch(1.0) == (None, [])


def test_run_without_waiters_is_stuck_after_a_second() -> None:
    """Only when no slot is left: another one still serves."""
    dispatcher = Dispatcher(Limits(concurrency=2))
    first, second = work_of(), work_of()
    dispatcher.admit([first, second], 0.0)
    for _ in range(2):
        dispatcher.next_batch(0.0)

    assert len(dispatcher.desert([first], 1.0)) == 1
    assert not dispatcher.is_stuck(9.0)
    assert len(dispatcher.desert([second], 9.0)) == 1
    assert not dispatcher.is_stuck(10.0)
    assert dispatcher.is_stuck(10.001)
