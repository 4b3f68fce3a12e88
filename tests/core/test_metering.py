"""What a run took, on its requests and told to observers."""

from typing import Any

import pytest

from modelapp.batching import Batch, Limits, Part, Work
from modelapp.batchrun import Ended
from modelapp.call import Call
from modelapp.errors import OutOfMemory
from modelapp.metering import Meter
from modelapp.observing import ModelRun, Observers
from modelapp.runtime import Run


class Watcher:
    """Keeps runs."""

    def __init__(self) -> None:
        self.runs: list[ModelRun] = []

    def request_ended(self, call: Call) -> None:
        """Not looked at."""

    def run_ended(self, run: ModelRun) -> None:
        """Keep it."""
        self.runs.append(run)

    def close(self) -> None:
        """Nothing to write."""


def batch_of(*sizes: int) -> Batch:
    """A batch of requests of so many rows, three tokens each, that waited 2 s, half of it for company."""
    batch = Batch(Work(Part(None, rows, (), 3 * rows, 3), arrived_s=8.0, call=Call(8.0)) for rows in sizes)
    batch.started_s, batch.held_s, batch.run = 10.0, 1.0, Run(batch.rows)
    batch.run.infer_s = 0.4
    return batch


def test_times_are_written_on_every_request() -> None:
    """Queue, batch and execute, watched or not."""
    batch = batch_of(1, 3)
    Meter("m", "cpu", Observers()).account(batch, Ended([1, 2], 0.5), Limits())

    for work in batch.works:
        assert work.call.timings_ms == pytest.approx({"queue": 1000, "batch": 1000, "execute": 500})
        assert (work.call.rows, work.call.runs) == (0, ())


def test_shares_are_by_rows_and_add_up() -> None:
    """A request of three of four rows pays three quarters, and is linked to the run with its mates."""
    watcher = Watcher()
    batch = batch_of(1, 3)
    Meter("m", "cuda:0", Observers([watcher])).account(
        batch, Ended([1, ValueError()], 0.5, 0.2, 3), Limits(padded=True)
    )

    small, large = (work.call for work in batch.works)
    assert (small.rows, large.rows) == (1, 3)
    assert (small.device_s, large.device_s) == pytest.approx((0.1, 0.3))
    assert (small.cpu_s, large.cpu_s) == pytest.approx((0.05, 0.15))
    (run,) = watcher.runs
    assert small.runs == large.runs == (run,)
    told = (run.model, run.device, run.calls, run.rows, run.cost, run.started_s, run.ended_s, run.held_s)
    assert told == ("m", "cuda:0", (small, large), 4, 12, 10.0, 10.5, 1.0)
    assert (run.infer_s, run.cpu_s, run.extra_runs, run.outcome) == (0.4, 0.2, 3, "ok")


def test_pieces_of_a_request_add_up() -> None:
    """A request that ran in two pieces has the sum of both."""
    call = Call(0.0)
    meter = Meter("m", "cpu", Observers([Watcher()]))
    for rows in (4, 2):
        batch = batch_of(rows)
        batch.works[0].call = call
        meter.account(batch, Ended([1], 0.1), Limits())

    assert (call.rows, len(call.runs), call.device_s) == (6, 2, pytest.approx(0.8))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([ValueError(), 1], "ok"),
        ([ValueError(), ValueError()], "model_failed"),
        ([OutOfMemory("no room")] * 2, "out_of_memory"),
    ],
)
def test_outcome_of_a_run(outcomes: list[Any], code: str) -> None:
    """It is ok where anybody got an answer."""
    watcher = Watcher()
    Meter("m", "cpu", Observers([watcher])).account(batch_of(1, 1), Ended(outcomes, 0.1), Limits())

    assert watcher.runs[0].outcome == code


def test_figures_are_kept_though_nobody_watches() -> None:
    """Rows, runs, waiting and failures add up; the warm-up, which came by no protocol, is left out."""
    meter = Meter("m", "cpu", Observers())
    meter.account(batch_of(1), Ended([1], 0.5), Limits())
    assert meter.figures.runs == 0
    batch = batch_of(1, 3)
    for work in batch.works:
        work.call.protocol = "oip"
    meter.account(batch, Ended([1, ValueError()], 0.5, 0.2, 3), Limits())

    figures = meter.figures
    assert (figures.rows, figures.runs, figures.answered, figures.failed) == (4, 4, 1, 1)
    assert (figures.queue_s, figures.failed_s) == pytest.approx((2.0, 2.5))
    assert (figures.infer_s, figures.around_s, figures.last_s) == pytest.approx((0.4, 0.1, 10.0))
    assert figures.sizes[4].runs == 1
