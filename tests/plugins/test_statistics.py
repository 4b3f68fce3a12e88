"""What the protocol's statistics count."""

from types import SimpleNamespace
from typing import Any

from modelapp.call import Call
from modelapp.observing import ModelRun, Observer
from modelapp_oip.statistics import Statistics


def call(*runs: ModelRun, outcome: str = "ok", waited_ms: float = 0.0, model: str = "") -> Call:
    """A request that ended after 10 s."""
    made = Call(100.0)
    made.protocol, made.model, made.outcome, made.ended_s, made.runs = "oip", model, outcome, 110.0, runs
    made.timings_ms = {"queue": waited_ms, "batch": 0.0}
    return made


def run(model: str, rows: int, *, calls: tuple[Call, ...] = (), extra_runs: int = 0) -> ModelRun:
    """A run of 4 s, 3 of them in the model."""
    return ModelRun(
        model, device="cpu", calls=calls or (call(),), rows=rows, cost=rows, started_s=101.0, ended_s=105.0,
        infer_s=3.0, extra_runs=extra_runs,
    )  # fmt: skip


def told(statistics: Statistics, model: str) -> Any:
    """The figures of one model."""
    return statistics.told([SimpleNamespace(name=model)])["model_stats"][0]  # type: ignore[list-item]


def sums(stats: Any) -> dict[str, tuple[int, float]]:
    """The inference figures as (count, seconds)."""
    return {name: (one["count"], one["ns"] / 1e9) for name, one in stats["inference_stats"].items()}


def test_rows_runs_and_batch_sizes() -> None:
    """Rows over runs is the average batch; each number of rows has figures of its own."""
    statistics = Statistics()
    assert isinstance(statistics, Observer)
    for rows in (4, 4, 1):
        statistics.run_ended(run("m", rows))
    statistics.run_ended(run("m", 2, extra_runs=2))

    stats = told(statistics, "m")

    assert (stats["inference_count"], stats["execution_count"]) == (11, 6)
    assert [(one["batch_size"], one["compute_infer"]) for one in stats["batch_stats"]] == [
        (1, {"count": 1, "ns": 3_000_000_000}),
        (2, {"count": 1, "ns": 3_000_000_000}),
        (4, {"count": 2, "ns": 6_000_000_000}),
    ]


def test_requests_that_got_an_answer_and_those_that_did_not() -> None:
    """Success has the time waited and run; a failure counts at the model it failed at, or never reached."""
    statistics = Statistics()
    statistics.know(["m", "n"])
    first, second = run("m", 1), run("n", 1)
    statistics.request_ended(call(first, waited_ms=500, model="m"))
    statistics.request_ended(call(first, second, waited_ms=1000))
    statistics.request_ended(call(first, second, outcome="model_failed"))
    statistics.request_ended(call(outcome="invalid_input", model="m"))
    statistics.request_ended(call(outcome="not_found", model="unknown"))

    m, n = sums(told(statistics, "m")), sums(told(statistics, "n"))

    assert (m["success"], m["fail"], m["queue"]) == ((2, 9.0), (1, 10.0), (2, 1.0))
    assert (n["success"], n["fail"], n["queue"]) == ((1, 4.5), (1, 10.0), (1, 0.5))
    assert (m["compute_infer"], m["compute_input"]) == ((2, 6.0), (2, 2.0))
    assert sums(told(statistics, "unknown"))["fail"] == (0, 0.0)


def test_the_warm_up_does_not_count() -> None:
    """A run whose call came by no protocol is none that a client asked for."""
    statistics = Statistics()
    statistics.run_ended(run("m", 1, calls=(Call(0.0),)))

    assert told(statistics, "m")["execution_count"] == 0
    assert told(statistics, "m")["last_inference"] == 0
