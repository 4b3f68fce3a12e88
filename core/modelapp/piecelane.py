"""Answers that a model makes piece by piece by its own code: each on a thread, a bounded number of them at a time."""

import asyncio
import heapq
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, perf_counter
from typing import Any

from modelapp.batching import STUCK_S, Limits
from modelapp.blame import failure
from modelapp.call import Call, client_left, too_late
from modelapp.cpuclock import clock_of_this_loop
from modelapp.current import work_for
from modelapp.drainrate import DrainRate
from modelapp.errors import Cancelled, ModelDied, ModelFailed, NotReady, OutOfMemory, QueueFull, RequestError
from modelapp.execution import hushed
from modelapp.generating import Piece, join_pieces
from modelapp.lane import Around
from modelapp.observing import ModelFigures, ModelRun, Observers
from modelapp.runtime import Run, Streams

AHEAD = 64
"""Pieces that a model may be ahead of who takes them."""


class Telling:
    """One answer on its way, from its admission to the end of the model's work for it."""

    def __init__(self, row: Mapping[str, Any], call: Call, now_s: float) -> None:
        self.row = row
        self.call = call
        self.arrived_s = now_s
        self.started_s = 0.0
        self.run = Run(1, call.deadline_s)
        self.room = threading.Semaphore(AHEAD)
        self.run.on_cancel(self.room.release)  # who waits for room sees that nobody wants more
        self.events: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        """None ends it; `error` says how."""
        self.error: RequestError | None = None
        self.cpu_s = 0.0
        self.over = False
        self.left_s = 0.0
        """Since when nobody waits for it; 0: somebody does."""

    def end(self, error: RequestError | None = None) -> None:
        """Tell who waits, once."""
        if not self.over:
            self.over, self.error = True, error
            self.events.put_nowait(None)


class PieceLane:
    """The answers of one model in pieces. `figures` are the model's; `hush` of the model's lane sets `private`.

    Belongs to one event loop; the model alone works elsewhere, on `concurrency` threads.
    """

    def __init__(self, name: str, loaded: Streams, limits: Limits, around: Around, figures: ModelFigures) -> None:
        self.private = False
        """Whether what the model raises may hold what nobody may see."""
        self._name = name
        self._loaded = loaded
        self._around = around
        self._figures = figures
        self._observers = around.observers or Observers()
        self._cpu = clock_of_this_loop()
        self._loop = asyncio.get_running_loop()
        self._drain = DrainRate()
        self._queue: list[tuple[int, int, Telling]] = []
        self._count = itertools.count()
        self._running: set[Telling] = set()
        self._closed = False
        self._dead: ModelDied | None = None
        self._drained: asyncio.Future[None] | None = None
        self._limits = limits
        self._threads = self._new_threads(limits)

    def _new_threads(self, limits: Limits) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(limits.concurrency, thread_name_prefix=f"model-{self._name}")

    @property
    def waiting(self) -> int:
        """Answers that have not begun."""
        return len(self._queue)

    def is_stuck(self, now_s: float) -> bool:
        """Whether every thread works for somebody who is gone, and does not end."""
        return len(self._running) >= self._limits.concurrency and all(
            one.left_s and now_s - one.left_s > STUCK_S for one in self._running
        )

    def tune(self, limits: Limits) -> None:
        """Obey other bounds from now on. Whoever waits keeps the place."""
        if limits.concurrency != self._limits.concurrency:
            threads, self._threads = self._threads, self._new_threads(limits)
            threads.shutdown(wait=False)  # what runs there still ends
        self._limits = limits
        self._pump()

    async def stream(self, row: Mapping[str, Any], call: Call) -> AsyncGenerator[Piece]:
        """The answer to one record; the last piece is all of them joined. Raises RequestError."""
        one = self._admit(row, call)
        leave = partial(self._leave, one)
        call.watch(leave)
        pieces = []
        try:
            while (piece := await one.events.get()) is not None:
                one.room.release()
                pieces.append(piece)
                yield Piece(piece)
            if (error := one.error) is not None:
                try:
                    raise error
                finally:
                    one.error = None  # an exception and a frame that lead to each other stay in memory
                    del error
            yield Piece(join_pieces(pieces), final=True)
        finally:
            call.unwatch(leave)
            self._leave(one)

    def _admit(self, row: Mapping[str, Any], call: Call) -> Telling:
        now_s = monotonic()
        call.check(now_s)
        if self._dead is not None:
            raise self._dead.again()
        if self._closed:
            raise NotReady(f'model "{self._name}" is stopping', retry_after_s=1)
        level, waiting = self._limits.level(call.priority), len(self._queue)
        if waiting >= self._limits.max_queue_rows:
            raise QueueFull(
                f"{waiting} rows are waiting and the queue holds {self._limits.max_queue_rows}",
                retry_after_s=self._drain.drain_s(waiting, now_s),
            )
        one = Telling(row, call, now_s)
        heapq.heappush(self._queue, (level, next(self._count), one))
        self._pump()
        return one

    def _pump(self) -> None:
        while self._queue and len(self._running) < self._limits.concurrency:
            _, _, one = heapq.heappop(self._queue)
            one.started_s = monotonic()
            if one.run.deadline_s is not None and one.started_s >= one.run.deadline_s:
                one.end(too_late())
                continue
            self._running.add(one)
            self._drain.began(one.started_s)
            try:
                self._threads.submit(work_for, (one.call,), self._work, one)
            except RuntimeError as error:  # the system gives no thread
                self._loop.call_soon(self._ended, one, error)
        if self._drained is not None and not self._running and not self._drained.done():
            self._drained.set_result(None)

    def _work(self, one: Telling) -> None:
        """On a thread: take one piece after the other."""
        begun, error = self._cpu.begin(), None
        try:
            self._take(one)
        except BaseException as raised:  # an outcome like any other; a model may also call sys.exit
            error = raised
        one.cpu_s = self._cpu.end(begun)
        self._loop.call_soon_threadsafe(self._ended, one, error)

    def _take(self, one: Telling) -> None:
        run = one.run
        pieces = iter(self._loaded.stream(one.row, run))
        try:
            while not run.cancelled:
                started = perf_counter()
                piece = next(pieces, None)
                run.infer_s += perf_counter() - started
                if piece is None:
                    return
                if not isinstance(piece, Mapping):
                    raise ModelFailed(
                        f'model "{self._name}" should answer in pieces that are records, not {type(piece).__name__}'
                    )
                if run.deadline_s is not None and monotonic() >= run.deadline_s:
                    raise too_late()
                one.room.acquire()
                self._loop.call_soon_threadsafe(one.events.put_nowait, dict(piece))  # it may be used again
            raise Cancelled("nobody waits for this answer any more")
        finally:
            close: Callable[[], None] | None = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _ended(self, one: Telling, error: BaseException | None) -> None:
        now_s = monotonic()
        self._running.discard(one)
        self._drain.ended(1, now_s, more=bool(self._running or self._queue))
        told = None if error is None else work_for((one.call,), self._told, error, one.row)
        self._account(one, told, now_s)
        if isinstance(told, ModelDied):
            self._bury(told)
        one.end(told)
        self._pump()

    def _told(self, error: BaseException, row: Mapping[str, Any]) -> RequestError:
        what, root = f'model "{self._name}"', self._around.root
        if isinstance(error, MemoryError):
            return OutOfMemory(f"{what} ran out of memory")
        if self.private:
            return hushed(what, error, row, root)
        return error.again() if isinstance(error, RequestError) else failure(what, error, root)

    def _bury(self, died: ModelDied) -> None:
        """Nobody waits for a dead model, and whoever is told is told once."""
        if self._dead is not None:
            return
        self._dead = died
        waiting, self._queue = self._queue, []
        for _, _, one in waiting:
            one.end(died.again())
        if self._around.on_death is not None:
            self._loop.call_soon(self._around.on_death, died)

    def _account(self, one: Telling, error: RequestError | None, now_s: float) -> None:
        """Write on the call what its answer took, and tell the observers."""
        call, queue_s, run_s = one.call, one.started_s - one.arrived_s, now_s - one.started_s
        call.add_time("queue", queue_s * 1e3)
        call.add_time("execute", run_s * 1e3)
        if call.protocol and not isinstance(error, Cancelled):
            self._figures.add(
                1,
                requests=1,
                failed=error is not None,
                queue_s=queue_s,
                run_s=run_s,
                infer_s=one.run.infer_s,
                extra_runs=0,
                started_s=one.started_s,
            )
        if not self._observers.watching:
            return
        run = ModelRun(
            self._name,
            device=self._around.device,
            calls=(call,),
            rows=1,
            cost=1,
            started_s=one.started_s,
            ended_s=now_s,
            infer_s=one.run.infer_s,
            cpu_s=one.cpu_s,
            outcome="ok" if error is None else error.code,
            queued_s=(one.arrived_s,),
        )
        call.rows += 1
        call.device_s += one.run.infer_s
        call.cpu_s += one.cpu_s
        call.runs += (run,)
        self._observers.run_ended(run)

    def _leave(self, one: Telling) -> None:
        """Nobody waits for this answer any more, or it is over."""
        if one in self._running:
            one.left_s = one.left_s or monotonic()
            one.run.cancel()
        elif not one.over:
            self._queue = [entry for entry in self._queue if entry[2] is not one]
            heapq.heapify(self._queue)
        one.end(client_left())

    async def close(self) -> None:
        """Take no more, finish what was admitted, then free the threads."""
        self._closed = True
        self._drained = self._loop.create_future()
        self._pump()
        await self._drained
        self._threads.shutdown(wait=True)
