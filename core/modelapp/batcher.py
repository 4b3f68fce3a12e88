"""The batcher at work: it feeds one model as its dispatcher decides, on the loop or on threads, and answers."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from modelapp.batching import Batch, Limits, Part, Work
from modelapp.batchrun import Ended, Executes, Runner
from modelapp.blame import failure
from modelapp.call import Call, client_left, too_late
from modelapp.current import work_for
from modelapp.dispatching import Dispatcher
from modelapp.errors import ModelDied, NotReady, RequestError
from modelapp.metering import Meter
from modelapp.observing import ModelFigures, Observers
from modelapp.runtime import Run
from modelapp.sweep import Sweep

_SWEEP_S = 0.002


class Batcher:
    """Queues, batches and runs the requests of one model. Every request gets exactly one outcome.

    `root` is the app's folder: what a model of its own code raises is told with the line there. `on_death` is called
    once, when a run says that the model is dead. Belongs to one event loop; only the runs themselves leave it, for the
    `threads` made with their number and name. `clock` must tell the loop's time, and more exactly: uvloop's stands
    still between turns.
    """

    def __init__(
        self,
        name: str,
        execution: Executes,
        limits: Limits,
        *,
        root: Path = Path(),
        device: str = "",
        observers: Observers | None = None,
        on_death: Callable[[ModelDied], None] | None = None,
        clock: Callable[[], float] = monotonic,
        threads: Callable[[int, str], Executor] = ThreadPoolExecutor,
    ) -> None:
        self._name = name
        self._root = root
        self._on_death = on_death
        observers = observers or Observers()
        self._meter = Meter(name, device, observers)
        self._runner = Runner(execution, observers, clock)
        self._clock = clock
        self._make_threads = threads
        self._dispatcher = Dispatcher(limits)
        self.limits = limits
        """The bounds it obeys."""
        self._loop = asyncio.get_running_loop()
        self._threads = self._new_threads(limits)
        self._pump_due = False
        self._wake: asyncio.TimerHandle | None = None
        self._sweep = Sweep(self._loop, clock, self._expire, least_s=_SWEEP_S)
        self._closed = False
        self._dead: ModelDied | None = None
        self._drained: asyncio.Future[None] | None = None

    def tune(self, limits: Limits) -> None:
        """Obey other bounds from now on. Whoever waits keeps the place, also a work that is too large now."""
        if limits == self.limits:
            return
        self._dispatcher.retune(limits)
        self.limits = limits
        threads, self._threads = self._threads, self._new_threads(limits)
        threads.shutdown(wait=False)  # what runs there still ends
        self._pump_soon()

    def _new_threads(self, limits: Limits) -> Executor:
        return self._make_threads(limits.concurrency, f"model-{self._name}")

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue."""
        return self._dispatcher.queue.rows

    @property
    def figures(self) -> ModelFigures:
        """Sums over its runs so far."""
        return self._meter.figures

    @property
    def extra_runs(self) -> int:
        """Runs that searched for offenders, so far."""
        return self._meter.extra_runs

    def is_stuck(self, now_s: float) -> bool:
        """Whether every slot is taken by a run that nobody waits for any more, and that does not end."""
        return self._dispatcher.is_stuck(now_s)

    async def submit(self, part: Part, call: Call) -> Any:
        """The answer to a request that fits one run. Raises RequestError."""
        dispatcher = self._dispatcher
        if dispatcher.pacing.at_once and dispatcher.idle and not self._closed:
            return self._run_lone(part, call)
        works = self._admit((part,), call)
        if dispatcher.running or not dispatcher.pacing.quick:
            return (await self._wait_watched(works, call))[0]
        try:
            return await works[0].future
        except BaseException:
            self._desert(works)
            raise

    async def submit_parts(self, parts: Sequence[Part], call: Call) -> list[Any]:
        """The answers to the parts of one request that is too large for one run, in order.

        Parts are admitted together or not at all; the first error ends all.
        """
        return await self._wait_watched(self._admit(parts, call), call)

    def _admit(self, parts: Sequence[Part], call: Call) -> list[Work]:
        now_s = self._checked(call)
        level = self._dispatcher.level(call.priority)
        works = [
            Work(
                part,
                level=level,
                arrived_s=now_s,
                deadline_s=call.deadline_s,
                future=self._loop.create_future(),
                call=call,
            )
            for part in parts
        ]
        self._dispatcher.admit(works, now_s)
        self._sweep.by(call.deadline_s)
        self._pump_soon()
        return works

    def _checked(self, call: Call) -> float:
        """The time now, at which a request may still run. Raises RequestError."""
        now_s = self._clock()
        call.check(now_s)
        if self._dead is not None:
            raise self._dead.again()
        if self._closed:
            raise NotReady(f'model "{self._name}" is stopping', retry_after_s=1)
        return now_s

    async def _wait_watched(self, works: Sequence[Work], call: Call) -> list[Any]:
        """Wait, and give up as soon as the client leaves."""
        leave = partial(self._give_up, works)
        call.watch(leave)
        try:
            return [await work.future for work in works]
        except BaseException:
            self._desert(works)
            raise
        finally:
            call.unwatch(leave)

    def _run_lone(self, part: Part, call: Call) -> Any:
        """Run one request on the loop, past the queue, which is empty."""
        now_s = self._checked(call)
        if call.priority:
            self._dispatcher.level(call.priority)
        run, limits = Run(part.rows), self.limits
        ended = self._runner.run_lone(part, run)
        self._meter.account_lone(part, call, run, now_s, ended, limits)
        outcome = ended.outcomes[0]
        if isinstance(outcome, BaseException):
            self._look_for_death(ended.outcomes)
            raise self._told(outcome)
        cost = limits.cost(part.rows, part.tokens, part.longest)
        self._dispatcher.pacing.learn(cost, 1, ended.seconds, run.infer_s)
        return outcome

    def _pump_soon(self) -> None:
        # One turn later, so that requests read in the same turn of the loop share a run.
        if not self._pump_due and not self._dispatcher.busy:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        while True:
            now_s = self._clock()
            batch, late = self._dispatcher.next_batch(now_s)
            for work in late:
                self._answer(work, too_late())
            if batch is None:
                wake_s = self._dispatcher.wake_at_s(now_s)
                if wake_s is not None:
                    self._wake = self._loop.call_at(wake_s, self._pump)
                break
            if self._start(batch):
                # A long queue of short runs must not keep the loop from its other work.
                break
        self._settle_idle()

    def _start(self, batch: Batch) -> bool:
        """Start a batch; True where it ran, and ended, on the loop."""
        limits = self.limits
        inline = self._dispatcher.pacing.stays(batch.cost(limits))
        batch.run = Run(batch.rows, None if inline else batch.deadline_s)
        if inline:
            ended = self._runner.run(batch, inline=True, rerun=limits.rerun)
            self._dispatcher.ended(batch, self._clock())
            self._finish(batch, ended)
            return True
        try:
            running = self._threads.submit(self._runner.run, batch, inline=False, rerun=limits.rerun)
        except RuntimeError as error:  # the system gives no thread
            self._loop.call_soon(self._ended, batch, Ended([error] * len(batch.works), 0.0))
            return False
        running.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._ended, batch, done.result()))
        return False

    def _ended(self, batch: Batch, ended: Ended) -> None:
        """A run on a thread has ended: the next one starts before anybody is answered, or the model would wait."""
        self._dispatcher.ended(batch, self._clock())
        self._look_for_death(ended.outcomes)
        self._pump()
        self._finish(batch, ended)

    def _finish(self, batch: Batch, ended: Ended) -> None:
        self._account(batch, ended)
        for work, outcome in self._dispatcher.answers(batch, ended.outcomes):
            self._answer(work, outcome)
        if self._dispatcher.queue.rows:
            self._pump_soon()
        self._settle_idle()

    def _account(self, batch: Batch, ended: Ended) -> None:
        """Learn from a run, and write down what it took, before anybody is answered."""
        # A run that failed says nothing about the time of one that works.
        if not ended.extra_runs and not isinstance(ended.outcomes[0], BaseException):
            self._dispatcher.learn(batch, ended.seconds, batch.run.infer_s)
        self._meter.account(batch, ended, self.limits)
        self._look_for_death(ended.outcomes)

    def _look_for_death(self, outcomes: Sequence[Any]) -> None:
        """Where a run says that the model is dead nobody else waits for it, and whoever is told is told once."""
        died = next((outcome for outcome in outcomes if isinstance(outcome, ModelDied)), None)
        if died is None or self._dead is not None:
            return
        self._dead = died
        for work in self._dispatcher.bury():
            self._answer(work, died)
        if self._on_death is not None:
            self._loop.call_soon(self._on_death, died)  # whatever it does, everybody here is answered

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

    def _give_up(self, works: Sequence[Work]) -> None:
        """The client of these works has left."""
        self._desert(works)
        for work in works:
            self._answer(work, client_left())

    def _desert(self, works: Iterable[Work]) -> None:
        """Nobody waits for `works`: drop what has not run, and stop a run that is left without any waiter."""
        self._stop(self._dispatcher.desert(works, self._clock()))
        for work in works:
            if work.future.done() and not work.future.cancelled():
                work.future.exception()  # seen: the first error of the request is the one that is told

    def _stop(self, deserted: Iterable[Batch]) -> None:
        for batch in deserted:
            batch.run.cancel()
        self._settle_idle()

    def _expire(self, now_s: float) -> float | None:
        """Answer everyone whose deadline has passed, waiting or running; the next deadline."""
        overdue, deserted = self._dispatcher.expire(now_s)
        self._stop(deserted)
        for work in overdue:
            self._answer(work, too_late())
        return self._dispatcher.next_deadline_s()

    def _settle_idle(self) -> None:
        if self._drained is not None and self._dispatcher.idle and not self._drained.done():
            self._drained.set_result(None)

    async def close(self) -> None:
        """Take no more, finish what is queued, then free the threads."""
        self._closed = True
        self._drained = self._loop.create_future()
        self._settle_idle()
        await self._drained
        self._sweep.close()
        if self._wake is not None:
            self._wake.cancel()
        self._threads.shutdown(wait=True)
