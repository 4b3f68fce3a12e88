"""The batcher at work on a loop and on threads."""

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp.batcher import Batcher
from modelapp.batching import Limits, Part
from modelapp.call import Call
from modelapp.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    ModelDied,
    ModelFailed,
    NotReady,
    QueueFull,
    RequestError,
)
from modelapp.runtime import Run


class Doubler:
    """Doubles numbers; negative ones poison a run, a gate holds it, `slow_s` delays it."""

    def __init__(self, *, slow_s: float = 0.0, gate: threading.Event | None = None) -> None:
        self.slow_s = slow_s
        self.gate = gate
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        self.cancelled: list[bool] = []

    def run(self, parts: Sequence[Part], run: Run) -> list[Any]:
        """One answer a part."""
        started = time.perf_counter()
        try:
            return self._answer(parts, run)
        finally:
            run.infer_s += time.perf_counter() - started

    def _answer(self, parts: Sequence[Part], run: Run) -> list[Any]:
        self.batches.append([part.payload for part in parts])
        self.entered.set()
        stopped = threading.Event()
        run.on_cancel(stopped.set)
        if self.gate is not None:
            while not self.gate.wait(0.005) and not stopped.is_set():
                pass
        elif self.slow_s:
            time.sleep(self.slow_s)
        self.cancelled.append(stopped.is_set())
        if stopped.is_set():
            raise Cancelled("stopped")
        if any(part.payload < 0 for part in parts):
            raise ValueError("negative")
        return [part.payload * 2 for part in parts]


def on_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario on a fresh loop and bound its time."""
    asyncio.run(asyncio.wait_for(scenario(), 30))


async def ask(batcher: Batcher, value: int, *, patience_s: float | None = None, call: Call | None = None) -> int:
    """One request of one row."""
    now_s = asyncio.get_running_loop().time()
    call = call or Call(now_s, deadline_s=None if patience_s is None else now_s + patience_s)
    return int(await batcher.submit(Part(value, 1), call))


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens on a thread
        await asyncio.sleep(0.002)


def test_everyone_gets_the_own_answer() -> None:
    """A thousand requests at once, each answered with its own double, in batches within the bound."""

    async def scenario() -> None:
        doubler = Doubler()
        batcher = Batcher("m", doubler, Limits(max_rows=16, max_queue_rows=2000))
        answers = await asyncio.gather(*(ask(batcher, value) for value in range(1000)))
        assert answers == [value * 2 for value in range(1000)]
        assert max(map(len, doubler.batches)) <= 16
        assert len(doubler.batches) < 1000
        await batcher.close()

    on_loop(scenario)


def test_requests_of_one_turn_share_a_run() -> None:
    """An idle runtime takes all that arrived together, without any wait being declared."""

    async def scenario() -> None:
        doubler = Doubler()
        batcher = Batcher("m", doubler, Limits(max_rows=8))
        await asyncio.gather(*(ask(batcher, value) for value in range(5)))
        assert doubler.batches == [[0, 1, 2, 3, 4]]
        await batcher.close()

    on_loop(scenario)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    values=st.lists(st.integers(-3, 50), min_size=1, max_size=40),
    leavers=st.sets(st.integers(0, 39), max_size=6),
    slow=st.booleans(),
)
def test_exactly_one_right_outcome_each(values: list[int], leavers: set[int], slow: bool) -> None:
    """With poison, leaving clients, and runs on the loop or off it: the own answer, the own error, or cancelled."""

    async def one(batcher: Batcher, index: int, value: int) -> object:
        call = Call(asyncio.get_running_loop().time())
        if index in leavers:
            asyncio.get_running_loop().call_later(0.001 * (index % 3), call.cancel)
        try:
            return await ask(batcher, value, call=call)
        except RequestError as error:
            return error

    async def scenario() -> None:
        batcher = Batcher("m", Doubler(slow_s=0.001 if slow else 0.0), Limits(max_rows=8, max_queue_rows=100))
        outcomes = await asyncio.gather(*(one(batcher, index, value) for index, value in enumerate(values)))
        few_bad = sum(value < 0 for value in values) <= 1
        for index, (value, outcome) in enumerate(zip(values, outcomes, strict=True)):
            if isinstance(outcome, Cancelled):
                assert index in leavers
            elif value < 0:
                assert isinstance(outcome, ModelFailed)
            elif few_bad or not isinstance(outcome, ModelFailed):
                assert outcome == value * 2
        await batcher.close()

    on_loop(scenario)


def test_offender_fails_alone_and_extra_runs_are_counted() -> None:
    """One bad request among eight costs itself only."""

    async def scenario() -> None:
        batcher = Batcher("m", Doubler(), Limits(max_rows=8))
        outcomes = await asyncio.gather(*(ask(batcher, v) for v in [1, 2, -1, 4, 5, 6, 7, 8]), return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, Exception)] == [2, 4, 8, 10, 12, 14, 16]
        assert isinstance(outcomes[2], ModelFailed)
        assert str(outcomes[2]) == 'model "m" raised ValueError: negative'
        assert 0 < batcher.extra_runs <= 6
        await batcher.close()

    on_loop(scenario)


def test_full_queue_is_refused_at_once() -> None:
    """While a run holds the model, one more than the queue's bound is told when to come again."""

    async def scenario() -> None:
        gate = threading.Event()
        doubler = Doubler(gate=gate)
        batcher = Batcher("m", doubler, Limits(max_rows=1, max_queue_rows=2))
        first = asyncio.ensure_future(ask(batcher, 1))
        await until(doubler.entered.is_set)
        waiting = [asyncio.ensure_future(ask(batcher, value)) for value in (2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as refused:
            await ask(batcher, 4)
        assert refused.value.retry_after_s is not None
        gate.set()
        assert await asyncio.gather(first, *waiting) == [2, 4, 6]
        await batcher.close()

    on_loop(scenario)


def test_request_that_can_never_fit_is_bad_input() -> None:
    """More rows than the queue holds are not told to come again."""

    async def scenario() -> None:
        batcher = Batcher("m", Doubler(), Limits(max_rows=1, max_queue_rows=2))
        call = Call(asyncio.get_running_loop().time())
        with pytest.raises(InvalidInput, match="can never fit"):
            await batcher.submit_parts([Part(1, 1)] * 3, call)
        await batcher.close()

    on_loop(scenario)


def test_deadline_counts_the_time_in_the_queue() -> None:
    """A request that is overdue before its turn is answered so, and never runs."""

    async def scenario() -> None:
        gate = threading.Event()
        doubler = Doubler(gate=gate)
        batcher = Batcher("m", doubler, Limits(max_rows=1, max_queue_rows=9))
        first = asyncio.ensure_future(ask(batcher, 1))
        await until(doubler.entered.is_set)
        with pytest.raises(DeadlineExceeded):
            await ask(batcher, 2, patience_s=0.05)
        gate.set()
        assert await first == 2
        await batcher.close()
        assert doubler.batches == [[1]]

    on_loop(scenario)


def test_overdue_run_is_answered_and_stopped() -> None:
    """The deadline also ends a request whose run is in progress; with nobody left the run is told to stop."""

    async def scenario() -> None:
        doubler = Doubler(gate=threading.Event())
        batcher = Batcher("m", doubler, Limits(max_rows=4))
        with pytest.raises(DeadlineExceeded):
            await ask(batcher, 1, patience_s=0.05)
        await until(lambda: doubler.cancelled == [True])
        await batcher.close()

    on_loop(scenario)


def test_run_goes_on_while_one_waits() -> None:
    """A run is not stopped for one client that left while a mate still waits for it."""

    async def scenario() -> None:
        gate = threading.Event()
        doubler = Doubler(gate=gate)
        batcher = Batcher("m", doubler, Limits(max_rows=4))
        leaver = Call(asyncio.get_running_loop().time())
        left, stayed = asyncio.ensure_future(ask(batcher, 1, call=leaver)), asyncio.ensure_future(ask(batcher, 2))
        await until(doubler.entered.is_set)
        leaver.cancel()
        with pytest.raises(Cancelled):
            await left
        gate.set()
        assert await stayed == 4
        assert doubler.cancelled == [False]
        await batcher.close()

    on_loop(scenario)


def test_client_gone_before_its_turn_never_runs() -> None:
    """Abandoned work leaves the queue."""

    async def scenario() -> None:
        gate = threading.Event()
        doubler = Doubler(gate=gate)
        batcher = Batcher("m", doubler, Limits(max_rows=1))
        first = asyncio.ensure_future(ask(batcher, 1))
        await until(doubler.entered.is_set)
        leaver = Call(asyncio.get_running_loop().time())
        second = asyncio.ensure_future(ask(batcher, 2, call=leaver))
        await asyncio.sleep(0)
        assert batcher.waiting_rows == 1
        leaver.cancel()
        with pytest.raises(Cancelled):
            await second
        assert batcher.waiting_rows == 0
        gate.set()
        await first
        await batcher.close()
        assert doubler.batches == [[1]]

    on_loop(scenario)


def test_short_runs_stay_on_the_loop() -> None:
    """A model known to be quick is not handed to a thread; one not known yet is."""

    async def scenario() -> None:
        threads: list[str] = []

        class Noting(Doubler):
            def run(self, parts: Sequence[Part], run: Run) -> list[Any]:
                threads.append(threading.current_thread().name)
                return super().run(parts, run)

        batcher = Batcher("m", Noting(), Limits(max_rows=4))
        for value in range(200):
            await ask(batcher, value)
        assert threads[0].startswith("model-m")
        assert threads[-1] == "MainThread"
        await batcher.close()

    on_loop(scenario)


def test_times_are_told() -> None:
    """A call knows how long it queued and how long its run took."""

    async def scenario() -> None:
        batcher = Batcher("m", Doubler(slow_s=0.02), Limits(max_rows=1))
        calls = [Call(asyncio.get_running_loop().time()) for _ in range(2)]
        await asyncio.gather(*(ask(batcher, 1, call=call) for call in calls))
        assert all(call.timings_ms["execute"] >= 20 for call in calls)
        assert calls[1].timings_ms["queue"] >= 19
        await batcher.close()

    on_loop(scenario)


def test_closing_finishes_what_is_queued() -> None:
    """Nothing accepted is lost by closing, and nothing more is accepted."""

    async def scenario() -> None:
        batcher = Batcher("m", Doubler(slow_s=0.01), Limits(max_rows=1))
        asked = [asyncio.ensure_future(ask(batcher, value)) for value in range(4)]
        await asyncio.sleep(0)
        await batcher.close()
        assert await asyncio.gather(*asked) == [0, 2, 4, 6]
        with pytest.raises(NotReady):
            await ask(batcher, 5)

    on_loop(scenario)


def test_failing_pieces_leave_no_unseen_errors(caplog: pytest.LogCaptureFixture) -> None:
    """A request cut into several runs fails once, with its first error."""

    async def scenario() -> None:
        batcher = Batcher("m", Doubler(slow_s=0.002), Limits(max_rows=1))
        call = Call(asyncio.get_running_loop().time())
        with pytest.raises(ModelFailed):
            await batcher.submit_parts([Part(1, 1), Part(-1, 1), Part(-2, 1), Part(3, 1)], call)
        await batcher.close()
        gc.collect()

    on_loop(scenario)
    assert "never retrieved" not in caplog.text


def test_model_that_calls_exit_fails_its_request_only() -> None:
    """SystemExit inside a run is an outcome like any other, on a thread and on the loop."""

    class Leaving(Doubler):
        def _answer(self, parts: Sequence[Part], run: Run) -> list[Any]:
            if any(part.payload < 0 for part in parts):
                raise SystemExit(3)
            return [part.payload * 2 for part in parts]

    async def scenario() -> None:
        batcher = Batcher("m", Leaving(), Limits(max_rows=4))
        outcomes = await asyncio.gather(ask(batcher, 1), ask(batcher, -1), ask(batcher, 3), return_exceptions=True)
        assert [outcomes[0], outcomes[2]] == [2, 6]
        assert str(outcomes[1]) == 'model "m" raised SystemExit: 3'
        for value in range(50):
            await ask(batcher, value)
        with pytest.raises(ModelFailed):
            await ask(batcher, -1)
        await batcher.close()

    on_loop(scenario)


def test_lone_quick_runs_obey_like_any_other() -> None:
    """Past the queue a wrong priority is refused, and a death is told, once and for all."""

    class Mortal(Doubler):
        def _answer(self, parts: Sequence[Part], run: Run) -> list[Any]:
            if any(part.payload == 17 for part in parts):
                raise ModelDied("as told")
            return [part.payload * 2 for part in parts]

    async def scenario() -> None:
        deaths: list[ModelDied] = []
        batcher = Batcher("m", Mortal(), Limits(max_rows=4), on_death=deaths.append)
        for value in range(45):
            assert await ask(batcher, value % 10) == value % 10 * 2
        for _ in range(20):
            call = Call(asyncio.get_running_loop().time())
            call.priority = 2
            with pytest.raises(InvalidInput, match="the only priority is 1"):
                await ask(batcher, 1, call=call)
        with pytest.raises(ModelDied):
            await ask(batcher, 17)
        with pytest.raises(ModelDied):
            await ask(batcher, 1)
        await asyncio.sleep(0)
        assert len(deaths) == 1
        await batcher.close()

    on_loop(scenario)


def test_a_system_without_threads_fails_the_run_and_not_the_model() -> None:
    """Whoever waits is told, and the next run is tried again."""

    class NoThreads(ThreadPoolExecutor):
        refuse = True

        def submit(self, *arguments: Any, **keys: Any) -> Any:
            """As where the system has no more."""
            if self.refuse:
                raise RuntimeError("can't start new thread")
            return super().submit(*arguments, **keys)

    async def ask() -> None:
        threads = NoThreads(1)
        batcher = Batcher("m", Doubler(), Limits(), threads=lambda number, name: threads)
        with pytest.raises(ModelFailed, match="can't start new thread"):
            await batcher.submit(Part(1, 1), Call(time.monotonic()))
        threads.refuse = False
        assert await batcher.submit(Part(2, 1), Call(time.monotonic())) == 4
        await batcher.close()

    asyncio.run(ask())
