"""The statistics extension: how many requests each model had, in how many runs, and where their time went.

Source: Triton's statistics extension.
"""

import time
from collections.abc import Iterable
from functools import cache
from typing import Any

from modelapp.call import Call
from modelapp.service import ModelService
from modelapp_oip.wire import VERSION


class Statistics:
    """Tells the models' own figures, and counts what they cannot see: requests that failed before they ran.

    Implements `modelapp.observing.RequestObserver`.
    """

    def __init__(self) -> None:
        self._refused: dict[str, tuple[int, float]] = {}

    def know(self, models: Iterable[str]) -> None:
        """Count requests to these models from now on."""
        for model in models:
            self._refused.setdefault(model, (0, 0.0))

    def request_ended(self, call: Call) -> None:
        """Count a request that failed and never ran."""
        if call.outcome != "ok" and call.model in self._refused and "execute" not in call.timings_ms:
            count, seconds = self._refused[call.model]
            self._refused[call.model] = count + 1, seconds + call.ended_s - call.arrived_s

    def close(self) -> None:
        """There is nothing to write."""

    def told(self, models: Iterable[ModelService]) -> dict[str, Any]:
        """The figures of `models`, in Triton's shape."""
        return {"model_stats": [self._told(model) for model in models]}

    def _told(self, model: ModelService) -> dict[str, Any]:
        figures, (refused, refused_s) = model.figures, self._refused.get(model.name, (0, 0.0))
        answered = figures.answered
        answered_s = figures.queue_s + figures.around_s + figures.infer_s
        return {
            "name": model.name,
            "version": VERSION,
            "last_inference": _wall_ms(figures.last_s) if figures.runs else 0,
            "inference_count": figures.rows,
            "execution_count": figures.runs,
            "inference_stats": {
                "success": _sum(answered, answered_s),
                "fail": _sum(figures.failed + refused, figures.failed_s + refused_s),
                "queue": _sum(answered, figures.queue_s),
                # What a run takes beside the model is not split into what comes before and what after.
                "compute_input": _sum(answered, figures.around_s),
                "compute_infer": _sum(answered, figures.infer_s),
                "compute_output": _sum(answered, 0.0),
                "cache_hit": _sum(0, 0.0),
                "cache_miss": _sum(0, 0.0),
            },
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": _sum(sums.runs, sums.around_s),
                    "compute_infer": _sum(sums.runs, sums.infer_s),
                    "compute_output": _sum(sums.runs, 0.0),
                }
                for rows, sums in sorted(figures.sizes.items())
            ],
        }


def _sum(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}


def _wall_ms(monotonic_s: float) -> int:
    return round((time.time() - time.monotonic() + monotonic_s) * 1000)


@cache
def of_process() -> Statistics:
    """Those of this process, which is one replica."""
    return Statistics()
