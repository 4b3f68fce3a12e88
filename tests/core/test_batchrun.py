"""A batch that runs: offenders set apart, nobody run in vain."""

import threading
import time
from collections.abc import Sequence
from typing import Any

from modelapp.batching import Batch, Part, State, Work
from modelapp.batchrun import Runner
from modelapp.call import Call
from modelapp.current import calls
from modelapp.errors import Cancelled, DeadlineExceeded
from modelapp.observing import Observers
from modelapp.runtime import Run
from modelapp.testing import FakeClock


class Model:
    """Doubles numbers, fails on negative ones, and keeps what it was given; `before` is done in every run."""

    def __init__(self, before: Any = lambda: None) -> None:
        self.before = before
        self.seen: list[list[int]] = []

    def run(self, parts: Sequence[Part], run: Run) -> list[Any]:
        """One answer a part."""
        self.seen.append([part.payload for part in parts])
        self.before()
        if any(part.payload < 0 for part in parts):
            raise ValueError("negative")
        return [part.payload * 2 for part in parts]


class Watcher:
    """Only makes runs be measured."""

    def request_ended(self, call: Call) -> None:
        """Not looked at."""

    def run_ended(self, run: Any) -> None:
        """Not looked at."""

    def close(self) -> None:
        """Nothing to write."""


def batch_of(*values: int, deadlines: dict[int, float] | None = None) -> Batch:
    """One row each."""
    batch = Batch(Work(Part(value, 1), call=Call(0.0), deadline_s=(deadlines or {}).get(value)) for value in values)
    batch.run = Run(batch.rows)
    return batch


def test_offender_fails_alone() -> None:
    """Its mates have their answers, and the search is counted."""
    model = Model()
    ended = Runner(model, Observers()).run(batch_of(1, -2, 3), inline=True, rerun=True)

    assert (ended.outcomes[0], ended.outcomes[2]) == (2, 6)
    assert isinstance(ended.outcomes[1], ValueError)
    assert ended.extra_runs == len(model.seen) - 1 > 0


def test_who_is_gone_or_late_is_not_run_again() -> None:
    """During the search nobody runs for whom nobody waits any more; that harms no mate."""
    clock = FakeClock(10.0)
    batch = batch_of(1, -2, 3, 4, deadlines={3: 10.5})

    def after_the_first() -> None:
        if len(model.seen) == 1:
            clock.advance(1.0)
            batch.works[0].state = State.OVER

    model = Model(after_the_first)
    ended = Runner(model, Observers(), clock).run(batch, inline=True, rerun=True)

    assert {value for seen in model.seen[1:] for value in seen} == {-2, 4}
    assert [] not in model.seen
    assert isinstance(ended.outcomes[1], ValueError)
    assert isinstance(ended.outcomes[2], DeadlineExceeded)
    assert ended.outcomes[3] == 8


def test_search_ends_when_nobody_waits() -> None:
    """A run that was cancelled is not begun again."""
    batch = batch_of(1, -2)
    model = Model(batch.run.cancel)
    ended = Runner(model, Observers()).run(batch, inline=True, rerun=True)

    assert model.seen == [[1, -2]]
    assert [type(outcome) for outcome in ended.outcomes] == [Cancelled, Cancelled]


def test_code_that_runs_knows_its_requests() -> None:
    """On whatever thread."""
    batch, seen = batch_of(1, 2), []
    model = Model(lambda: seen.append(calls()))
    thread = threading.Thread(target=lambda: Runner(model, Observers()).run(batch, inline=False, rerun=True))
    thread.start()
    thread.join()

    assert seen == [tuple(work.call for work in batch.works)]


def test_processor_time_is_measured_while_somebody_watches() -> None:
    """On the loop and beside it; unwatched it is not looked at."""

    def spend() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    model, spent = Model(spend), []
    watched = Runner(model, Observers([Watcher()]))
    thread = threading.Thread(target=lambda: spent.append(watched.run(batch_of(1), inline=False, rerun=True)))
    thread.start()
    thread.join()
    spent += [watched.run(batch_of(1), inline=True, rerun=True), watched.run_lone(Part(1, 1), Run())]

    assert all(0.019 < ended.cpu_s < 0.05 for ended in spent)
    assert Runner(model, Observers()).run(batch_of(1), inline=True, rerun=True).cpu_s == 0.0


def test_lone_run_has_an_outcome_like_any_other() -> None:
    """Also where the model calls sys.exit."""

    def leave() -> None:
        raise SystemExit(3)

    assert Runner(Model(), Observers()).run_lone(Part(4, 1), Run()).outcomes == (8,)
    assert isinstance(Runner(Model(leave), Observers()).run_lone(Part(4, 1), Run()).outcomes[0], SystemExit)
