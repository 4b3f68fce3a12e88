"""The statistics extension: how many requests each model had, in how many runs, and where their time went.

Source: Triton's statistics extension.
"""

import time
from collections.abc import Iterable
from functools import cache
from typing import Any

from modelapp.call import Call
from modelapp.observing import ModelRun
from modelapp.service import ModelService
from modelapp_oip.wire import VERSION


class _Sum:
    """How often something happened, and how long it took altogether."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def told(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


class _Sizes:
    """The runs of one number of rows."""

    __slots__ = ("around", "infer")

    def __init__(self) -> None:
        self.around, self.infer = _Sum(), _Sum()


class ModelStatistics:
    """The figures of one model since the replica started."""

    def __init__(self) -> None:
        self.rows = self.runs = 0
        self.last_s = 0.0
        self.success, self.fail = _Sum(), _Sum()
        self.queue, self.around, self.infer = _Sum(), _Sum(), _Sum()
        self.sizes: dict[int, _Sizes] = {}

    def ran(self, run: ModelRun) -> None:
        """Count a run."""
        self.runs += 1 + run.extra_runs
        self.rows += run.rows
        self.last_s = run.started_s
        sizes = self.sizes.get(run.rows)
        if sizes is None:
            sizes = self.sizes[run.rows] = _Sizes()
        sizes.infer.add(run.infer_s)
        sizes.around.add(run.ended_s - run.started_s - run.infer_s)

    def answered(self, run: ModelRun, waited_s: float) -> None:
        """Count a request that got its answer by `run`."""
        took_s = run.ended_s - run.started_s
        self.success.add(waited_s + took_s)
        self.queue.add(waited_s)
        self.infer.add(run.infer_s)
        self.around.add(took_s - run.infer_s)

    def told(self, name: str) -> dict[str, Any]:
        """Everything, in Triton's shape."""
        ago_s = time.monotonic() - self.last_s
        return {
            "name": name,
            "version": VERSION,
            "last_inference": round((time.time() - ago_s) * 1000) if self.runs else 0,
            "inference_count": self.rows,
            "execution_count": self.runs,
            "inference_stats": {
                "success": self.success.told(),
                "fail": self.fail.told(),
                "queue": self.queue.told(),
                "compute_input": self.around.told(),
                "compute_infer": self.infer.told(),
                "compute_output": {"count": self.around.count, "ns": 0},
                "cache_hit": _Sum().told(),
                "cache_miss": _Sum().told(),
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": sizes.around.told(),
                    "compute_infer": sizes.infer.told(),
                    "compute_output": {"count": sizes.around.count, "ns": 0},
                }
                for rows, sizes in sorted(self.sizes.items())
            ],
        }


class Statistics:
    """Counts for all models of a replica. Implements `modelapp.observing.Observer`."""

    def __init__(self) -> None:
        self._models: dict[str, ModelStatistics] = {}

    def know(self, models: Iterable[str]) -> None:
        """Count requests to these models from now on, also those that fail before any run."""
        for model in models:
            self.of(model)

    def of(self, model: str) -> ModelStatistics:
        """The figures of a model."""
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = ModelStatistics()
        return found

    def run_ended(self, run: ModelRun) -> None:
        """Count a run, unless it was for the warm-up, which came by no protocol."""
        if run.calls and run.calls[0].protocol:
            self.of(run.model).ran(run)

    def request_ended(self, call: Call) -> None:
        """Count a request with each model that ran for it; one that failed, with the model it failed at."""
        runs = call.runs
        if call.outcome == "ok":
            if runs:
                waited_s = _waited_s(call) / len(runs)
                for run in runs:
                    self.of(run.model).answered(run, waited_s)
        elif runs or call.model in self._models:
            model = runs[-1].model if runs else call.model
            self.of(model).fail.add(call.ended_s - call.arrived_s)

    def close(self) -> None:
        """There is nothing to write."""

    def told(self, models: Iterable[ModelService]) -> dict[str, Any]:
        """The figures of `models`, in Triton's shape."""
        return {"model_stats": [self.of(model.name).told(model.name) for model in models]}


def _waited_s(call: Call) -> float:
    times = call.timings_ms
    return (times.get("queue", 0.0) + times.get("batch", 0.0)) / 1000


@cache
def of_process() -> Statistics:
    """Those of this process, which is one replica."""
    return Statistics()
