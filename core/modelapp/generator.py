"""Generation at work: it steps one model as its schedule decides, on a thread of its own, and tells who waits."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from modelapp.batching import OVER, Limits
from modelapp.blame import failure
from modelapp.call import Call, client_left, too_late
from modelapp.current import work_for
from modelapp.decoding import Decoding, Fragment
from modelapp.errors import ModelDied, NotReady, RequestError
from modelapp.generating import TextModel
from modelapp.masking import scrubbed
from modelapp.observing import ModelFigures, Observers
from modelapp.prompts import GenerationRequest
from modelapp.stepmeter import StepMeter
from modelapp.steprun import run_step
from modelapp.steps import Schedule, Step
from modelapp.sweep import Sweep

_SWEEP_S = 0.005


class Ticket:
    """One request: its sequences, and where what comes of them goes. Exactly one outcome ends it."""

    __slots__ = ("_error", "call", "decodings", "ended", "events", "left", "over")

    def __init__(self, call: Call, *, streamed: bool) -> None:
        self.call = call
        self.decodings: list[Decoding] = []
        self.left = 0
        """Sequences that are not over."""
        self.over = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: RequestError | None = None
        self.events: asyncio.Queue[tuple[Decoding, Fragment] | None] | None = asyncio.Queue() if streamed else None
        """None ends it; `judge` says how."""

    def end(self, error: RequestError | None = None) -> None:
        """It is over, once; what comes later is for nobody."""
        if self.over:
            return
        self.over, self._error = True, error
        if not self.ended.done():  # it is cancelled with the task that waited for it
            self.ended.set_result(None)
        if self.events is not None:
            self.events.put_nowait(None)

    def judge(self) -> None:
        """Raise what it ended with. A fresh one: a kept one would keep, by its traceback, who waited for it."""
        if self._error is not None:
            raise self._error.again()


class Generator:
    """Runs the requests of one model that generates. Every request gets exactly one outcome.

    `root` is the app's folder, `on_death` is called once when a step says that the model is dead. Belongs to one event
    loop; only steps leave it, for the thread made by `threads`. `clock` must tell the loop's time, and more exactly.
    """

    def __init__(
        self,
        name: str,
        model: TextModel,
        limits: Limits,
        *,
        slots: int,
        step_tokens: int,
        root: Path = Path(),
        observers: Observers | None = None,
        on_death: Callable[[ModelDied], None] | None = None,
        clock: Callable[[], float] = monotonic,
        threads: Callable[[int, str], Executor] = ThreadPoolExecutor,
    ) -> None:
        self._name = name
        self._model = model
        self._engine = model.engine
        self._capacity = model.engine.capacity
        self._root = root
        self._on_death = on_death
        self._clock = clock
        self.private = False
        """Whether what the model raises may hold what nobody may see."""
        self.schedule = Schedule(limits, slots=slots, step_tokens=step_tokens)
        self._meter = StepMeter(name, model.device, observers or Observers())
        self._loop = asyncio.get_running_loop()
        self._threads = threads(1, f"model-{name}")
        self._pump_due = False
        self._sweep = Sweep(self._loop, clock, self._expire, least_s=_SWEEP_S)
        self._closed = False
        self._dead: ModelDied | None = None
        self._drained: asyncio.Future[None] | None = None

    @property
    def figures(self) -> ModelFigures:
        """Sums over its steps and requests so far."""
        return self._meter.figures

    async def whole(self, request: GenerationRequest, call: Call) -> Sequence[Decoding]:
        """The sequences of a request when all are finished, by index. Raises RequestError."""
        ticket = self._admit(request, call, streamed=False)
        with self._watched(ticket):
            await ticket.ended
            ticket.judge()
        return ticket.decodings

    async def pieces(self, request: GenerationRequest, call: Call) -> AsyncIterator[tuple[Decoding, Fragment]]:
        """What comes of a request as it comes; ends when all its sequences are finished. Raises RequestError."""
        ticket = self._admit(request, call, streamed=True)
        assert ticket.events is not None
        with self._watched(ticket):
            while (event := await ticket.events.get()) is not None:
                yield event
            ticket.judge()

    @contextmanager
    def _watched(self, ticket: Ticket) -> Any:
        """While somebody waits; whoever leaves, however, is worked for no longer."""
        leave = partial(self._give_up, ticket, client_left)
        ticket.call.watch(leave)
        try:
            yield
        except BaseException:
            self._give_up(ticket, client_left)
            raise
        finally:
            ticket.call.unwatch(leave)

    def _admit(self, request: GenerationRequest, call: Call, *, streamed: bool) -> Ticket:
        now_s = self._clock()
        call.check(now_s)
        if self._dead is not None:
            raise self._dead.again()
        if self._closed:
            raise NotReady(f'model "{self._name}" is stopping', retry_after_s=1)
        ticket = Ticket(call, streamed=streamed)
        ticket.decodings = self._decodings(request, call, ticket, now_s)
        ticket.left = len(ticket.decodings)
        self.schedule.admit(ticket.decodings, now_s)
        self._sweep.by(call.deadline_s)
        self._pump_soon()
        return ticket

    def _decodings(self, request: GenerationRequest, call: Call, ticket: Ticket, now_s: float) -> list[Decoding]:
        seed = call.seed if request.seed is None else request.seed
        if seed is None:
            seed = random.getrandbits(63)
        level = self.schedule.limits.level(call.priority)
        before = 1 if self._capacity.source_tokens else len(request.prompt)
        return [
            Decoding(
                request,
                index,
                text=self._model.text,
                ends=self._capacity.ends,
                room=before + request.max_tokens,
                seed=seed + index,
                level=level,
                arrived_s=now_s,
                deadline_s=call.deadline_s,
                call=call,
                ticket=ticket,
            )
            for index in range(request.n)
        ]

    def tune(self, limits: Limits, *, step_tokens: int) -> None:
        """Obey other bounds from now on. Whoever waits keeps the place."""
        self.schedule.retune(limits, step_tokens=step_tokens)

    def _pump_soon(self) -> None:
        # One turn later, so that requests read in the same turn of the loop begin in the same step.
        if not self._pump_due and self.schedule.running is None:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        step, late = self.schedule.next_step(self._clock())
        for one in late:
            self._give_up(one.ticket, too_late)
        if step is None:
            self._settle_idle()
            return
        try:
            running = self._threads.submit(self._run, step)
        except RuntimeError as error:  # the system gives no thread
            step.outcomes = dict.fromkeys(step.members, error)
            self._loop.call_soon(self._ended, step, None)
            return
        running.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._ended, step, done.exception()))

    def _run(self, step: Step) -> None:
        calls = tuple(dict.fromkeys(one.call for one in step.members))
        with self._meter.timed(step):
            work_for(calls, run_step, self._engine, step, rerun=self.schedule.limits.rerun, clock=self._clock)

    def _ended(self, step: Step, error: BaseException | None) -> None:
        """A step has run: the next one starts before anybody is told, or the model would wait."""
        now_s = self._clock()
        if error is not None:  # the engine could not even free a slot
            step.outcomes = dict.fromkeys(step.members, error)
        self.schedule.ended(step)
        self._meter.account(step, now_s)
        told: list[tuple[Decoding, Fragment]] = []
        failed: list[tuple[Decoding, BaseException]] = []
        for one, outcome in step.outcomes.items():
            if one.state is OVER or outcome is None:
                continue
            if isinstance(outcome, BaseException):
                failed.append((one, outcome))
                continue
            try:
                fragment = one.accept(outcome, now_s)
            except BaseException as broken:  # the tokenizer is a plugin's, and may panic; the others' steps go on
                failed.append((one, broken))
            else:
                told += [(one, fragment)] if fragment is not None else []
        finished = [one for one, fragment in told if fragment.finish_reason]
        self.schedule.finish(finished, now_s)
        for one, outcome in failed:
            self._fail(one.ticket, outcome)
        self._pump()
        for one, fragment in told:
            self._tell(one, fragment, now_s)
        self._settle_idle()

    def _tell(self, one: Decoding, fragment: Fragment, now_s: float) -> None:
        ticket: Ticket = one.ticket
        if ticket.over:
            return
        if ticket.events is not None:
            ticket.events.put_nowait((one, fragment))
        if fragment.finish_reason:
            ticket.left -= 1
            if not ticket.left:
                self._meter.finished(ticket.call, ticket.decodings, now_s)
                ticket.end()

    def _fail(self, ticket: Ticket, error: BaseException) -> None:
        """A request's sequence failed, and so does the request."""
        if isinstance(error, ModelDied):
            self._bury(error)
        if ticket.over:
            return
        self.schedule.drop(ticket.decodings, self._clock())
        told = work_for((ticket.call,), self._told, ticket, error)  # its log line tells whose it is
        self._meter.failed(ticket.call, ticket.decodings, self._clock())
        ticket.end(told)

    def _told(self, ticket: Ticket, error: BaseException) -> RequestError:
        if not isinstance(error, RequestError):
            return failure(f'model "{self._name}"', error, self._root, private=self.private)
        if self.private:
            request = ticket.decodings[0].request
            return scrubbed(error, [self._model.text.decode(request.prompt), *request.stop])
        return error.again()  # a fresh one each: many must not share a traceback

    def _bury(self, died: ModelDied) -> None:
        """Nobody waits for a dead model, and whoever is told is told once."""
        if self._dead is not None:
            return
        self._dead = died
        for one in self.schedule.bury(self._clock()):
            self._cut(one.ticket, died.again())
        if self._on_death is not None:
            self._loop.call_soon(self._on_death, died)

    def _give_up(self, ticket: Ticket, why: Callable[[], RequestError]) -> None:
        """Nobody waits for this request any more, or its time is over."""
        if not ticket.over:
            self.schedule.drop(ticket.decodings, self._clock())
            self._cut(ticket, why())
            self._pump_soon()  # a slot may be free
            self._settle_idle()

    def _cut(self, ticket: Ticket, error: RequestError) -> None:
        if not ticket.over:
            self._meter.cut(ticket.call, ticket.decodings, self._clock())
            ticket.end(error)

    def _expire(self, now_s: float) -> float | None:
        """End everyone whose deadline has passed, waiting or running; the next deadline."""
        for one in self.schedule.expire(now_s):
            self._cut(one.ticket, too_late())
        self._pump_soon()
        self._settle_idle()
        return self.schedule.next_deadline_s()

    def _settle_idle(self) -> None:
        if self._drained is not None and self.schedule.idle and not self._drained.done():
            self._drained.set_result(None)

    async def close(self) -> None:
        """Take no more, finish what was admitted, then free the thread."""
        self._closed = True
        self._drained = self._loop.create_future()
        self._settle_idle()
        await self._drained
        self._sweep.close()
        self._threads.shutdown(wait=True)
