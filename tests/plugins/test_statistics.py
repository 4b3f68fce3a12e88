"""What the protocol's statistics tell: a model's own figures, and the requests that never reached it."""

from types import SimpleNamespace
from typing import Any

from modelapp.call import Call
from modelapp.observing import ModelFigures, Observer, RequestObserver
from modelapp_oip.statistics import Statistics


def told(statistics: Statistics, figures: ModelFigures) -> Any:
    """The figures of one model."""
    model: Any = SimpleNamespace(name="m", figures=figures)
    return statistics.told([model])["model_stats"][0]


def sums(stats: Any) -> dict[str, tuple[int, float]]:
    """The inference figures as (count, seconds)."""
    return {name: (one["count"], one["ns"] / 1e9) for name, one in stats["inference_stats"].items()}


def run(figures: ModelFigures, rows: int, *, requests: int = 1, failed: int = 0, extra_runs: int = 0) -> None:
    """A run of 4 s, 3 of them in the model, for which each request waited 1 s."""
    figures.add(
        rows, requests=requests, failed=failed, queue_s=1.0 * requests, run_s=4.0, infer_s=3.0, extra_runs=extra_runs,
        started_s=7.0,
    )  # fmt: skip


def test_rows_runs_and_batch_sizes() -> None:
    """Rows over runs is the average batch; each number of rows has figures of its own."""
    figures = ModelFigures()
    for rows in (4, 4, 1):
        run(figures, rows)
    run(figures, 2, requests=2, failed=1, extra_runs=2)

    stats = told(Statistics(), figures)

    assert (stats["inference_count"], stats["execution_count"]) == (11, 6)
    assert [(one["batch_size"], one["compute_infer"]) for one in stats["batch_stats"]] == [
        (1, {"count": 1, "ns": 3_000_000_000}),
        (2, {"count": 1, "ns": 3_000_000_000}),
        (4, {"count": 2, "ns": 6_000_000_000}),
    ]
    assert sums(stats)["success"] == (4, 4 * 5.0)
    assert sums(stats)["fail"] == (1, 5.0)
    assert (sums(stats)["queue"], sums(stats)["compute_infer"], sums(stats)["compute_input"]) == (
        (4, 4),
        (4, 12),
        (4, 4),
    )


def test_requests_that_never_ran_are_failures_too() -> None:
    """Counted once: what ran and failed is in the model's own figures; names that no model has are not kept."""
    statistics = Statistics()
    assert isinstance(statistics, RequestObserver)
    assert not isinstance(statistics, Observer)  # being told of runs would cost every request
    statistics.know(["m"])
    for outcome, model, times in (
        ("invalid_input", "m", {}),
        ("queue_full", "m", {}),
        ("model_failed", "m", {"execute": 1.0}),
        ("ok", "m", {"execute": 1.0}),
        ("not_found", "unknown", {}),
    ):
        call = Call(100.0)
        call.outcome, call.model, call.timings_ms, call.ended_s = outcome, model, times, 110.0
        statistics.request_ended(call)

    assert sums(told(statistics, ModelFigures()))["fail"] == (2, 20.0)
    assert set(statistics._refused) == {"m"}


def test_a_model_that_never_ran() -> None:
    """Everything is 0."""
    stats = told(Statistics(), ModelFigures())
    assert (stats["last_inference"], stats["execution_count"], stats["batch_stats"]) == (0, 0, [])
