"""The batcher at work: it feeds one model from its queue, on the loop or on threads, and answers whoever waits."""

import asyncio
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Protocol

from modelapp.batching import BatchQueue, Limits, Work
from modelapp.blame import failure
from modelapp.call import Call
from modelapp.current import work_for
from modelapp.errors import Cancelled, DeadlineExceeded, InvalidInput, NotReady, RequestError
from modelapp.isolation import Isolated, run_isolated
from modelapp.observing import Observers
from modelapp.pacing import Pacing
from modelapp.runtime import Run


class Executes(Protocol):
    """What a batcher runs: parts are (rows, count); one answer or error a part."""

    def run(self, parts: Sequence[tuple[Any, int]], run: Run) -> list[Any]:
        """Run the parts together, and add to `run.infer_s`; raises where the run as a whole failed."""
        ...


class _Batch:
    """A run in progress."""

    __slots__ = ("held_s", "run", "started_s", "works")

    def __init__(self, works: list[Work], started_s: float, held_s: float, deadline_s: float | None) -> None:
        self.works = works
        self.started_s = started_s
        self.held_s = held_s
        self.run = Run(deadline_s=deadline_s)


class Batcher:
    """Queues, batches and runs the requests of one model. Every request gets exactly one outcome.

    `root` is the app's folder: what a model of its own code raises is told with the line there. Belongs to one event
    loop; only the runs themselves leave it. Times are `time.monotonic`'s: the loop's clock is the same but for
    uvloop's, which stands still between turns and counts whole milliseconds.
    """

    def __init__(
        self, name: str, execution: Executes, limits: Limits, *, root: Path = Path(), observers: Observers | None = None
    ) -> None:
        self._name = name
        self._observers = observers or Observers()
        self._root = root
        self._execution = execution
        self._queue = BatchQueue(limits)
        self._pacing = Pacing(self._queue.costs)
        self._loop = asyncio.get_running_loop()
        self._threads = self._new_threads(limits)
        self._batches: set[_Batch] = set()
        self._pump_due = False
        self._wake: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self.extra_runs = self.runs = self.rows_run = 0

    def tune(self, limits: Limits) -> None:
        """Obey other bounds from now on. Whoever waits keeps the place, also a work that is too large now."""
        if limits == self._queue.limits:
            return
        self._queue.limits, threads = limits, self._threads
        self._threads = self._new_threads(limits)
        threads.shutdown(wait=False)  # what runs there still ends
        self._pump_soon()

    def _new_threads(self, limits: Limits) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(limits.concurrency, thread_name_prefix=f"model-{self._name}")

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue."""
        return self._queue.rows

    async def submit(self, rows: Any, count: int, key: Hashable, call: Call) -> Any:
        """The answer to `rows`, which are `count`. Rows with equal keys may share a run. Raises RequestError."""
        if self._pacing.at_once and not self._batches and not self._queue.rows and not self._closed:
            return self._run_lone(rows, count, call)
        work = self._work(rows, count, key, call)
        self._admit((work,), count)
        if self._batches or not self._pacing.quick:
            return (await self._wait_watched((work,), call))[0]
        try:
            return await work.future
        except BaseException:
            self._abandon((work,), None)
            raise

    async def submit_parts(self, parts: Sequence[tuple[Any, int]], key: Hashable, call: Call) -> list[Any]:
        """The answers to the parts of one request that is too large for one run, in order.

        Parts are admitted together or not at all; the first error ends all.
        """
        works = [self._work(rows, count, key, call) for rows, count in parts]
        self._admit(works, sum(count for _, count in parts))
        return await self._wait_watched(works, call)

    def _work(self, rows: Any, count: int, key: Hashable, call: Call) -> Work:
        now_s = monotonic()
        call.check(now_s)
        if self._closed:
            raise NotReady(f'model "{self._name}" is stopping', retry_after_s=1)
        future = self._loop.create_future()
        return Work(rows, count, key=key, arrived_s=now_s, deadline_s=call.deadline_s, future=future, call=call)

    def _admit(self, works: Sequence[Work], rows: int) -> None:
        if rows > self._queue.limits.max_queue_rows:
            raise InvalidInput(
                f"a request of {rows} rows can never fit the queue of {self._queue.limits.max_queue_rows} rows;"
                " send fewer rows at a time"
            )
        first = works[0]
        self._queue.offer(works, first.arrived_s)
        if first.deadline_s is not None and (self._sweep is None or self._sweep.when() > first.deadline_s):
            self._arm_sweep(first.deadline_s)
        self._pump_soon()

    async def _wait_watched(self, works: Sequence[Work], call: Call) -> list[Any]:
        """Wait, and give up as soon as the client leaves."""

        def abandon() -> None:
            self._abandon(works, Cancelled("the client left before the answer"))

        call.watch(abandon)
        try:
            return [await work.future for work in works]
        except BaseException:
            self._abandon(works, None)
            raise
        finally:
            call.unwatch(abandon)

    @property
    def _busy(self) -> bool:
        return len(self._batches) >= self._queue.limits.concurrency

    def _run_lone(self, rows: Any, count: int, call: Call) -> Any:
        """Run one request on the loop, past the queue, which is empty."""
        call.check(monotonic())
        run = Run(count)
        started = perf_counter()
        try:
            outcome = self._execution.run(((rows, count),), run)[0]
        except BaseException as error:  # told below like any other outcome; a model may also call sys.exit
            outcome = error
        seconds = perf_counter() - started
        self.runs += 1
        self.rows_run += count
        call.timings_ms["queue"] = call.timings_ms.get("queue", 0.0)
        call.add_time("execute", seconds * 1e3)
        if isinstance(outcome, BaseException):
            raise self._told(outcome)
        self._pacing.learn(count, 1, seconds, run.infer_s)
        return outcome

    def _pump_soon(self) -> None:
        # One turn later, so that requests read in the same turn of the loop share a run.
        if not self._pump_due and not self._busy:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        while not self._busy:
            now_s = monotonic()
            held_since_s = self._queue.held_since_s()
            works = self._queue.take(now_s)
            if not works:
                wake_s = self._queue.wake_at_s(now_s)
                if wake_s is not None:
                    self._wake = self._loop.call_at(wake_s, self._pump)
                break
            held_s = now_s - held_since_s if held_since_s is not None else 0.0
            if self._run(works, now_s, held_s):
                # A long queue of short runs must not keep the loop from its other work.
                if self._queue.rows:
                    self._pump_soon()
                break
        self._settle_idle()

    def _run(self, works: list[Work], now_s: float, held_s: float) -> bool:
        """Start a batch; True where it ran, and ended, on the loop."""
        late = [work for work in works if work.deadline_s is not None and work.deadline_s <= now_s]
        for work in late:
            works.remove(work)
            self._answer(work, _too_late())
        if not works:
            return False
        inline = self._pacing.stays(sum([work.rows for work in works]))
        deadline_s = None if inline else works[0].deadline_s
        batch = _Batch(works, now_s, held_s, deadline_s)
        if inline:
            self._finish(batch, *self._execute(batch))
            return True
        self._batches.add(batch)
        future = self._threads.submit(self._execute, batch)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._ended, batch, *done.result()))
        return False

    def _ended(self, batch: _Batch, isolated: Isolated[Any], seconds: float) -> None:
        """A run on a thread has ended: the next one starts before anybody is answered, or the model would wait."""
        self._batches.discard(batch)
        self._pump()
        self._finish(batch, isolated, seconds)

    def _execute(self, batch: _Batch) -> tuple[Isolated[Any], float]:
        """Runs on the loop or on a thread; never raises."""
        started = perf_counter()

        def execute(works: Sequence[Work]) -> list[Any]:
            if batch.run.cancelled:
                raise Cancelled("nobody waits for this run any more")
            return self._execution.run([(work.payload, work.rows) for work in works], batch.run)

        calls = tuple([work.call for work in batch.works])
        isolated = work_for(calls, run_isolated, batch.works, execute, split=self._queue.limits.rerun)
        return isolated, perf_counter() - started

    def _finish(self, batch: _Batch, isolated: Isolated[Any], seconds: float) -> None:
        works, held_s = batch.works, batch.held_s
        rows = sum([work.rows for work in works])
        self.runs += 1 + isolated.extra_runs
        self.rows_run += rows
        self.extra_runs += isolated.extra_runs
        # A run that failed says nothing about the time of one that works.
        if not isolated.extra_runs and not isinstance(isolated.outcomes[0], BaseException):
            self._pacing.learn(rows, len(works), seconds, batch.run.infer_s)
        execute_ms = seconds * 1e3
        for work, outcome in zip(works, isolated.outcomes, strict=True):
            times = work.call.timings_ms
            times["queue"] = times.get("queue", 0.0) + (batch.started_s - work.arrived_s - held_s) * 1e3
            if held_s:
                times["batch"] = times.get("batch", 0.0) + held_s * 1e3
            times["execute"] = times.get("execute", 0.0) + execute_ms
            self._answer(work, outcome)
        if self._queue.rows:
            self._pump_soon()
        self._settle_idle()

    def _answer(self, work: Work, outcome: Any) -> None:
        future: asyncio.Future[Any] = work.future
        if future.done():
            return
        if isinstance(outcome, BaseException):
            future.set_exception(work_for((work.call,), self._told, outcome))  # its log line tells whose it is
        else:
            future.set_result(outcome)

    def _told(self, error: BaseException) -> RequestError:
        if isinstance(error, RequestError):
            # A fresh one each: many futures must not share a traceback.
            return error.again()
        return failure(f'model "{self._name}"', error, self._root)

    def _abandon(self, works: Sequence[Work], error: RequestError | None) -> None:
        """Nobody waits for `works`: drop what has not run, and stop a run that is left without any waiter."""
        for work in works:
            self._queue.remove(work)
            future: asyncio.Future[Any] = work.future
            if future.done():
                if not future.cancelled():
                    future.exception()  # seen: the first error of the request is the one that is told
            elif error is None:
                future.cancel()
            else:
                future.set_exception(error.again())
        for batch in self._batches:
            if all(work.future.done() for work in batch.works):
                batch.run.cancel()
        self._settle_idle()

    def _arm_sweep(self, deadline_s: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep = self._loop.call_at(deadline_s, self._expire)

    def _expire(self) -> None:
        """Answer everyone whose deadline has passed, waiting or running, and look again at the next deadline."""
        self._sweep = None
        now_s = monotonic()
        overdue = self._queue.expire(now_s)
        running = [work for batch in self._batches for work in batch.works if not work.future.done()]
        overdue += [work for work in running if work.deadline_s is not None and work.deadline_s <= now_s]
        self._abandon(overdue, _too_late())
        ahead = [work.deadline_s for work in running if work.deadline_s is not None and work.deadline_s > now_s]
        next_s = min([*ahead, self._queue.next_deadline_s() or float("inf")], default=float("inf"))
        if next_s != float("inf"):
            self._arm_sweep(next_s)

    def _settle_idle(self) -> None:
        if self._drained is not None and not self._batches and not self._queue.rows and not self._drained.done():
            self._drained.set_result(None)

    async def close(self) -> None:
        """Take no more, finish what is queued, then free the threads."""
        self._closed = True
        self._drained = self._loop.create_future()
        self._settle_idle()
        await self._drained
        for timer in (self._wake, self._sweep):
            if timer is not None:
                timer.cancel()
        self._threads.shutdown(wait=True)


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the time allowed for this request is over")
