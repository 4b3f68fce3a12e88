"""The batcher on a loop and a clock moved by hand, with threads that run when the test says so: no wake-up is lost."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelapp.batcher import Batcher
from modelapp.batching import Limits, Part
from modelapp.call import Call
from modelapp.errors import Cancelled, DeadlineExceeded, ModelDied, ModelFailed, QueueFull, RequestError
from modelapp.isolation import allowance
from modelapp.observing import ModelRun, Observers
from modelapp.runtime import Run
from modelapp.testing import FakeClock

SWEEP_S = 0.002


class HandLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the test's; `turn` lets it do all there is to do."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.time = clock

    def turn(self) -> None:
        """Let it go on until nothing more happens."""
        for _ in range(12):
            self.call_soon(self.stop)
            self.run_forever()


class HandThreads(Executor):
    """Threads that do nothing until `finish`."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Any, /, *args: Any, **keys: Any) -> Future[Any]:
        """Keep it for later."""
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: work(*args, **keys)))
        return future

    def finish(self, number: int) -> None:
        """Do one of the jobs now."""
        future, work = self.jobs.pop(number)
        future.set_result(work())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to end."""


class Asked:
    """One request: what came of it, and when its model saw it."""

    def __init__(self, number: int, call: Call, *, poison: bool) -> None:
        self.number, self.call, self.poison = number, call, poison
        self.outcomes: list[Any] = []
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None

    async def ask(self, batcher: Batcher, rows: int) -> None:
        """Ask, and keep the outcome."""
        try:
            self.outcomes.append(await batcher.submit(Part(self, rows, tokens=rows), self.call))
        except (RequestError, asyncio.CancelledError) as error:
            self.outcomes.append(error)


class Script:
    """A model that answers each request with its number, fails on poison, and knows who may not run any more."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.infer_s = 0.001
        self.broken = self.dead = False
        self.wrong: list[str] = []
        self.broke: set[int] = set()
        """Whom it failed without a poison row among them."""

    def run(self, parts: Sequence[Part], run: Run) -> list[Any]:
        """One answer a part."""
        assert parts
        if self.broken:
            self.broke.update(part.payload.number for part in parts)
        for part in parts:
            asked: Asked = part.payload
            if asked.outcomes or asked.call.gone:
                self.wrong.append(f"{asked.number} ran though nobody waits")
            if asked.call.deadline_s is not None and asked.call.deadline_s <= self.clock():
                self.wrong.append(f"{asked.number} ran after its deadline")
        seconds = self.infer_s * (10 + sum(part.rows for part in parts))
        run.infer_s += seconds
        self.clock.advance(seconds)
        if self.dead:
            raise ModelDied("as told")
        if self.broken or any(part.payload.poison for part in parts):
            raise ValueError("poison")
        return [("answer", part.payload.number) for part in parts]


class Watcher:
    """Sees runs, and that they are told before their requests are answered."""

    def __init__(self) -> None:
        self.asked: dict[Call, Asked] = {}
        self.runs: list[ModelRun] = []
        self.wrong: list[str] = []

    def request_ended(self, call: Call) -> None:
        """Not looked at."""

    def run_ended(self, run: ModelRun) -> None:
        """Keep it."""
        self.runs.append(run)
        for call in run.calls:
            if any(not isinstance(outcome, BaseException) for outcome in self.asked[call].outcomes):
                self.wrong.append("answered before the run was told")

    def close(self) -> None:
        """Nothing to write."""


class BatcherMachine(RuleBasedStateMachine):
    """Requests, clients that leave, cancelled tasks, deadlines, poison, a model that fails, dies or is quick."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(100.0)
        self.loop = HandLoop(self.clock)
        self.threads = HandThreads()
        self.script = Script(self.clock)
        self.watcher = Watcher()
        self.asked: list[Asked] = []
        self.deaths: list[ModelDied] = []

    @initialize(
        limits=st.builds(
            Limits,
            max_rows=st.integers(1, 5),
            max_queue_rows=st.just(9),
            max_wait_s=st.sampled_from([0.0, 0.0, 0.01]),
            concurrency=st.integers(1, 2),
        ),
        quick=st.booleans(),
    )
    def set_up(self, limits: Limits, quick: bool) -> None:
        """Any bounds, and a model that runs on threads, or on the loop after its first runs."""
        self.limits = limits
        self.script.infer_s = 1e-7 if quick else 0.001

        async def make() -> Batcher:
            observers = Observers([self.watcher])
            return Batcher(
                "m",
                self.script,
                limits,
                observers=observers,
                on_death=self.deaths.append,
                clock=self.clock,
                threads=lambda number, name: self.threads,
            )

        self.batcher = self.loop.run_until_complete(make())

    @rule(
        requests=st.lists(
            st.tuples(
                st.integers(1, 3),
                st.none() | st.floats(0.001, 0.05),
                st.integers(0, 7).map(lambda number: number == 0),
                st.booleans(),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def arrive(self, requests: list[tuple[int, float | None, bool, bool]]) -> None:
        """Requests come, some in the same turn of the loop."""
        for one in requests:
            self._arrive(*one)

    def _arrive(self, rows: int, patience_s: float | None, poison: bool, turn: bool) -> None:
        now_s = self.clock()
        call = Call(now_s, deadline_s=None if patience_s is None else now_s + patience_s)
        asked = Asked(len(self.asked), call, poison=poison)
        self.asked.append(asked)
        self.watcher.asked[call] = asked
        asked.task = self.loop.create_task(asked.ask(self.batcher, min(rows, self.limits.max_rows)))
        if turn:
            self.loop.turn()

    @rule(step_s=st.floats(0.0001, 0.03))
    def tick(self, step_s: float) -> None:
        """Time passes."""
        self.loop.turn()
        self.clock.advance(step_s)

    @precondition(lambda self: self.threads.jobs)
    @rule(data=st.data(), broken=st.integers(0, 9).map(lambda number: number == 0))
    def finish(self, data: st.DataObject, broken: bool) -> None:
        """A run on a thread ends."""
        self.script.broken = broken
        self.threads.finish(data.draw(st.integers(0, len(self.threads.jobs) - 1)))
        self.loop.turn()
        self.script.broken = False

    @precondition(lambda self: self._open())
    @rule(data=st.data(), task=st.booleans())
    def leave(self, data: st.DataObject, task: bool) -> None:
        """A client hangs up, or the task that asks is cancelled."""
        asked = data.draw(st.sampled_from(self._open()))
        self.loop.turn()
        if asked.outcomes:
            return
        asked.cancelled = True
        if task:
            asked.task.cancel()
        else:
            asked.call.cancel()
        self.loop.turn()
        asked.call.gone = True

    @precondition(lambda self: len(self.asked) > 20)
    @rule()
    def die(self) -> None:
        """The next run says that the model is dead."""
        self.script.dead = True

    @invariant()
    def nothing_is_left_lying(self) -> None:
        """Whatever could happen by now has: a free model has no row waiting, and nobody waits past a deadline."""
        if not hasattr(self, "batcher"):
            return
        self.loop.turn()
        self.clock.advance(SWEEP_S)
        self.loop.turn()
        assert self.script.wrong == []
        assert self.watcher.wrong == []
        if self.batcher.waiting_rows and len(self.threads.jobs) < self.limits.concurrency:
            assert self.limits.max_wait_s, "an idle model has been forgotten"
            oldest_s = min(asked.call.arrived_s for asked in self._open())
            assert self.clock() < oldest_s + self.limits.max_wait_s + 2 * SWEEP_S
        overdue = [
            asked
            for asked in self._open()
            if asked.call.deadline_s is not None and asked.call.deadline_s < self.clock() - SWEEP_S
        ]
        assert overdue == []

    @invariant()
    def outcomes_are_right(self) -> None:
        """One outcome each at most, the own answer or an error with a reason."""
        for asked in self.asked:
            assert len(asked.outcomes) <= 1
            for outcome in asked.outcomes:
                self._check(asked, outcome)
        assert len(self.deaths) <= 1

    def _check(self, asked: Asked, outcome: Any) -> None:
        if isinstance(outcome, Cancelled | asyncio.CancelledError):
            assert asked.cancelled
        elif isinstance(outcome, DeadlineExceeded):
            assert asked.call.deadline_s is not None
        elif isinstance(outcome, ModelDied):
            assert self.script.dead
        elif isinstance(outcome, ModelFailed):
            mates = [self.watcher.asked[call] for run in asked.call.runs for call in run.calls]
            poison = sum(mate.poison for mate in mates)
            broke = asked.number in self.script.broke
            whole = all(run.outcome == "model_failed" for run in asked.call.runs)
            assert asked.poison or broke or whole or poison > allowance(len(mates)) // 2, "a mate was harmed"
        elif not isinstance(outcome, QueueFull):
            assert outcome == ("answer", asked.number)
            assert not asked.poison

    def teardown(self) -> None:
        """Closing waits for all that was accepted; then everybody has an outcome, and the runs add up."""
        if hasattr(self, "batcher"):
            closing = self.loop.create_task(self.batcher.close())
            for _ in range(200):
                self.loop.turn()
                if self.threads.jobs:
                    self.threads.finish(0)
                self.clock.advance(SWEEP_S)
                if closing.done():
                    break
            closing.result()
            self.loop.turn()
            self.outcomes_are_right()
            assert all(len(asked.outcomes) == 1 for asked in self.asked)
            assert bool(self.deaths) == any(run.outcome == "model_died" for run in self.watcher.runs)
            answered = [asked for asked in self.asked if not isinstance(asked.outcomes[0], BaseException)]
            assert all(asked.call.device_s > 0 and len(asked.call.runs) == 1 for asked in answered)
            assert all(sum(run.rows for run in asked.call.runs) >= asked.call.rows for asked in self.asked)
        self.loop.close()

    def _open(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.outcomes]


BatcherMachine.TestCase.settings = settings(
    deadline=None, max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestBatcherMachine = pytest.mark.filterwarnings("ignore::ResourceWarning")(BatcherMachine.TestCase)
