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


class _Sizes:
    """The runs of one number of rows: how many, the time in the model, and the time around that."""

    __slots__ = ("around_s", "infer_s", "runs")

    def __init__(self) -> None:
        self.runs = 0
        self.infer_s = self.around_s = 0.0


class ModelStatistics:
    """The figures of one model since the replica started. Bare sums: they are added to for every request."""

    __slots__ = (
        "answered", "around_s", "fail_s", "failed", "infer_s", "last_s", "queue_s", "rows", "runs", "sizes",
        "success_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rows = self.runs = self.answered = self.failed = 0
        self.last_s = self.success_s = self.fail_s = self.queue_s = self.infer_s = self.around_s = 0.0
        self.sizes: dict[int, _Sizes] = {}

    def told(self, name: str) -> dict[str, Any]:
        """Everything, in Triton's shape. What is around a model's own time is not split into before and after."""
        ago_s = time.monotonic() - self.last_s
        answered = self.answered
        return {
            "name": name,
            "version": VERSION,
            "last_inference": round((time.time() - ago_s) * 1000) if self.runs else 0,
            "inference_count": self.rows,
            "execution_count": self.runs,
            "inference_stats": {
                "success": _sum(answered, self.success_s),
                "fail": _sum(self.failed, self.fail_s),
                "queue": _sum(answered, self.queue_s),
                "compute_input": _sum(answered, self.around_s),
                "compute_infer": _sum(answered, self.infer_s),
                "compute_output": _sum(answered, 0.0),
                "cache_hit": _sum(0, 0.0),
                "cache_miss": _sum(0, 0.0),
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": _sum(sizes.runs, sizes.around_s),
                    "compute_infer": _sum(sizes.runs, sizes.infer_s),
                    "compute_output": _sum(sizes.runs, 0.0),
                }
                for rows, sizes in sorted(self.sizes.items())
            ],
        }


def _sum(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}


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
        if not run.calls or not run.calls[0].protocol:
            return
        model = self.of(run.model)
        rows, started_s, infer_s = run.rows, run.started_s, run.infer_s
        model.runs += 1 + run.extra_runs
        model.rows += rows
        model.last_s = started_s
        sizes = model.sizes.get(rows)
        if sizes is None:
            sizes = model.sizes[rows] = _Sizes()
        sizes.runs += 1
        sizes.infer_s += infer_s
        sizes.around_s += run.ended_s - started_s - infer_s

    def request_ended(self, call: Call) -> None:
        """Count a request with each model that ran for it, its waiting shared among them evenly; one that failed, with
        the model it failed at."""
        runs = call.runs
        if call.outcome != "ok":
            name = runs[-1].model if runs else call.model
            if name in self._models:
                model = self._models[name]
                model.failed += 1
                model.fail_s += call.ended_s - call.arrived_s
        elif runs:
            times = call.timings_ms
            waited_s = (times.get("queue", 0.0) + times.get("batch", 0.0)) / (1000 * len(runs))
            for run in runs:
                model = self.of(run.model)
                took_s, infer_s = run.ended_s - run.started_s, run.infer_s
                model.answered += 1
                model.success_s += waited_s + took_s
                model.queue_s += waited_s
                model.infer_s += infer_s
                model.around_s += took_s - infer_s

    def close(self) -> None:
        """There is nothing to write."""

    def told(self, models: Iterable[ModelService]) -> dict[str, Any]:
        """The figures of `models`, in Triton's shape."""
        return {"model_stats": [self.of(model.name).told(model.name) for model in models]}


@cache
def of_process() -> Statistics:
    """Those of this process, which is one replica."""
    return Statistics()
