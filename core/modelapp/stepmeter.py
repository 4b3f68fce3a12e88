"""What steps and requests of a generating model took: written on the calls, summed, and told to observers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from modelapp.call import Call
from modelapp.cpuclock import clock_of_this_loop
from modelapp.decoding import Decoding
from modelapp.metering import outcome_code
from modelapp.observing import ModelFigures, ModelRun, Observers, RunSums
from modelapp.steps import Step


class StepMeter:
    """Accounts for one generating model. Made on the thread of the loop."""

    def __init__(self, model: str, device: str, observers: Observers) -> None:
        self._model = model
        self._device = device
        self._observers = observers
        self._cpu = clock_of_this_loop()
        self._cpu_s = 0.0
        self.figures = ModelFigures()

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """While a step runs, on whatever thread: its processor time is kept where somebody watches."""
        if not self._observers.watching:
            yield
            return
        begun = self._cpu.begin()
        try:
            yield
        finally:
            self._cpu_s = self._cpu.end(begun)

    def account(self, step: Step, now_s: float) -> None:
        """A step has run, and nobody is told: `last_s` of its members is still that of the token before."""
        if not step.fed:
            return
        figures, rows = self.figures, len(step.fed)
        if any(one.call.protocol for one in step.fed):  # the warm-up came by none
            figures.rows += rows
            figures.runs += 1 + step.extra_runs
            figures.last_s = step.started_s
            sums = figures.sizes.setdefault(rows, RunSums())
            sums.runs += 1
            sums.infer_s += step.infer_s
            sums.around_s += now_s - step.started_s - step.infer_s
        if self._observers.watching:
            self._tell(step, now_s)

    def _tell(self, step: Step, now_s: float) -> None:
        tokens = step.tokens
        chose = [one for one, outcome in step.outcomes.items() if outcome and not isinstance(outcome, BaseException)]
        for one, fed in step.fed.items():
            share = fed / tokens
            one.call.device_s += step.infer_s * share
            one.call.cpu_s += self._cpu_s * share
        self._observers.run_ended(
            ModelRun(
                self._model,
                device=self._device,
                calls=tuple(dict.fromkeys(one.call for one in step.fed)),
                rows=len(step.fed),
                cost=tokens,
                started_s=step.started_s,
                ended_s=now_s,
                infer_s=step.infer_s,
                cpu_s=self._cpu_s,
                extra_runs=step.extra_runs,
                outcome=outcome_code(list(step.outcomes.values())),
                step=True,
                tokens_in=sum(fed for one, fed in step.fed.items() if one.reading),
                firsts_s=tuple(now_s - one.arrived_s for one in chose if not one.last_s),
                gaps_s=tuple(now_s - one.last_s for one in chose if one.last_s),
            )
        )

    def finished(self, call: Call, decodings: Sequence[Decoding], now_s: float) -> None:
        """A request has all its answers."""
        queue_s, execute_s = self._took(call, decodings, now_s)
        if call.protocol:
            self.figures.answered += 1
            self.figures.queue_s += queue_s
            self.figures.infer_s += execute_s

    def failed(self, call: Call, decodings: Sequence[Decoding], now_s: float) -> None:
        """A request that had begun has failed."""
        queue_s, execute_s = self._took(call, decodings, now_s)
        if call.protocol:
            self.figures.failed += 1
            self.figures.failed_s += queue_s + execute_s

    def cut(self, call: Call, decodings: Sequence[Decoding], now_s: float) -> None:
        """A request ends before its answer does; what was done for it by then is told all the same."""
        if any(one.started_s for one in decodings):
            self._took(call, decodings, now_s)

    def _took(self, call: Call, decodings: Sequence[Decoding], now_s: float) -> tuple[float, float]:
        """Seconds until its first sequence got a slot, and from then on; both on the call too, with its tokens."""
        arrived_s = decodings[0].arrived_s
        started_s = min((one.started_s for one in decodings if one.started_s), default=now_s)
        call.add_time("queue", (started_s - arrived_s) * 1e3)
        call.add_time("execute", (now_s - started_s) * 1e3)
        call.rows += len(decodings)
        call.tokens_in += len(decodings[0].request.prompt)
        call.tokens_out += sum(len(one.chosen) for one in decodings)
        if self._observers.watching:
            call.runs += (self._generation(call, decodings, arrived_s, started_s, now_s),)
        return started_s - arrived_s, now_s - started_s

    def _generation(
        self, call: Call, decodings: Sequence[Decoding], arrived_s: float, started_s: float, now_s: float
    ) -> ModelRun:
        """All steps of a request as one run, for whoever tells of the request: hundreds of them would tell nothing."""
        return ModelRun(
            self._model,
            device=self._device,
            calls=(call,),
            rows=len(decodings),
            cost=len(decodings[0].request.prompt) + sum(len(one.chosen) for one in decodings),
            started_s=started_s,
            ended_s=now_s,
            queued_s=(arrived_s,),
        )
