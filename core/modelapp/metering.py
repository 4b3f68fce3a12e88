"""What a run took: written on its requests, and told to observers while somebody watches."""

from collections.abc import Sequence
from typing import Any

from modelapp.batching import Batch, Limits, Part, Work
from modelapp.batchrun import Ended
from modelapp.call import Call
from modelapp.errors import RequestError
from modelapp.observing import ModelFigures, ModelRun, Observers
from modelapp.runtime import Run


class Meter:
    """Accounts for one model's runs. `extra_runs` of all runs searched for offenders."""

    def __init__(self, model: str, device: str, observers: Observers) -> None:
        self._model = model
        self._device = device
        self._observers = observers
        self.figures = ModelFigures()
        self.extra_runs = 0

    def account(self, batch: Batch, ended: Ended, limits: Limits) -> None:
        """A batch has run, and nobody is answered yet."""
        self.extra_runs += ended.extra_runs
        execute_ms, queue_s = ended.seconds * 1e3, 0.0
        for work in batch.works:
            times = work.call.timings_ms
            waited_s = batch.started_s - work.arrived_s
            queue_s += waited_s
            times["queue"] = times.get("queue", 0.0) + (waited_s - batch.held_s) * 1e3
            if batch.held_s:
                times["batch"] = times.get("batch", 0.0) + batch.held_s * 1e3
            times["execute"] = times.get("execute", 0.0) + execute_ms
        if batch.works[0].call.protocol:  # the warm-up came by none
            failed = 0
            for outcome in ended.outcomes:
                if isinstance(outcome, BaseException):
                    failed += 1
            self._add(batch.rows, len(batch.works), batch.started_s, batch.run, ended, failed, queue_s)
        if self._observers.watching:
            self._tell(batch, ended, limits)

    def account_lone(self, part: Part, call: Call, run: Run, started_s: float, ended: Ended, limits: Limits) -> None:
        """A request has run past the queue, alone."""
        times = call.timings_ms
        times["queue"] = times.get("queue", 0.0)
        times["execute"] = times.get("execute", 0.0) + ended.seconds * 1e3
        if call.protocol:
            self._add(part.rows, 1, started_s, run, ended, isinstance(ended.outcomes[0], BaseException), 0.0)
        if self._observers.watching:
            batch = Batch((Work(part, arrived_s=started_s, call=call),))
            batch.started_s, batch.run = started_s, run
            self._tell(batch, ended, limits)

    def _add(
        self, rows: int, requests: int, started_s: float, run: Run, ended: Ended, failed: int, queue_s: float
    ) -> None:
        self.figures.add(
            rows,
            requests=requests,
            failed=failed,
            queue_s=queue_s,
            run_s=ended.seconds,
            infer_s=run.infer_s,
            extra_runs=ended.extra_runs,
            started_s=started_s,
        )

    def _tell(self, batch: Batch, ended: Ended, limits: Limits) -> None:
        """Write each request's share, by rows, on its call, and tell the observers of the run."""
        infer_s: float = batch.run.infer_s
        run = ModelRun(
            self._model,
            device=self._device,
            calls=tuple([work.call for work in batch.works]),
            rows=batch.rows,
            cost=batch.cost(limits),
            started_s=batch.started_s,
            ended_s=batch.started_s + ended.seconds,
            held_s=batch.held_s,
            infer_s=infer_s,
            cpu_s=ended.cpu_s,
            extra_runs=ended.extra_runs,
            outcome=outcome_code(ended.outcomes),
            queued_s=tuple([work.arrived_s for work in batch.works]),
        )
        for work in batch.works:
            call: Call = work.call
            share = work.part.rows / batch.rows
            call.rows += work.part.rows
            call.device_s += infer_s * share
            call.cpu_s += ended.cpu_s * share
            call.runs += (run,)
        self._observers.run_ended(run)


def outcome_code(outcomes: Sequence[Any]) -> str:
    """ "ok" where anybody got an answer, else the code of the first error."""
    for outcome in outcomes:
        if not isinstance(outcome, BaseException):
            return "ok"
    first = outcomes[0]
    return first.code if isinstance(first, RequestError) else "model_failed"
