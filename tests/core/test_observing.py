"""Observers are told, and none of them can harm the others."""

import gc
import logging
import weakref

from modelapp.call import Call
from modelapp.observing import ModelRun, Observers


class Notes:
    """Keeps what it is told."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[object] = []
        self.fails = fails

    def request_ended(self, call: Call) -> None:
        """Note it."""
        self.told.append(call)
        if self.fails:
            raise RuntimeError("full")

    def run_ended(self, run: ModelRun) -> None:
        """Note it."""
        self.told.append(run)

    def close(self) -> None:
        """Note it."""
        self.told.append("closed")


def test_everybody_is_told_of_requests_runs_and_the_end() -> None:
    """In the order in which it happened."""
    one, two = Notes(), Notes()
    observers = Observers([one])
    observers.add(two)
    call = Call(0.0)
    run = ModelRun("m", device="cpu", calls=(call,), rows=1, cost=1.0, started_s=0.0, ended_s=0.1)
    observers.run_ended(run)
    observers.request_ended(call)
    observers.close()
    assert one.told == two.told == [run, call, "closed"]
    assert not observers.watching


def test_one_that_raises_is_told_nothing_more_and_the_next_one_everything(caplog) -> None:
    """With a warning, once."""
    bad, good = Notes(fails=True), Notes()
    observers = Observers([bad, good])
    calls = [Call(0.0), Call(0.0)]
    with caplog.at_level(logging.WARNING, logger="modelapp"):
        for call in calls:
            observers.request_ended(call)
    assert good.told == calls
    assert bad.told == [calls[0], "closed"]
    assert caplog.text.count("Notes failed and is told nothing more") == 1


def test_one_that_watches_requests_alone_makes_nobody_tell_of_runs() -> None:
    """Telling of runs and of beginnings costs, and is left out where nobody listens."""

    class OfRequests:
        def __init__(self) -> None:
            self.told: list[object] = []

        def request_ended(self, call: Call) -> None:
            self.told.append(call)

        def close(self) -> None:
            self.told.append("closed")

    class OfAll(Notes):
        def request_started(self, call: Call) -> None:
            self.told.append("started")

    one, all_of_it = OfRequests(), OfAll()
    observers = Observers([one])
    assert (observers.watching, observers.following) == (False, False)
    observers.add(all_of_it)
    assert (observers.watching, observers.following) == (True, True)
    call = Call(0.0)
    observers.request_started(call)
    observers.request_ended(call)
    observers.close()
    assert one.told == [call, "closed"]
    assert all_of_it.told == ["started", call, "closed"]


class Silent:
    """Watches, and keeps nothing."""

    def request_ended(self, call: Call) -> None:
        """Nothing."""

    def run_ended(self, run: ModelRun) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def test_a_request_that_has_ended_waits_for_no_collector() -> None:
    """A run holds its requests and each of them the run: left so, every request would be garbage that only gc finds."""
    observers, call = Observers([Silent()]), Call(0.0)
    run = ModelRun("m", device="cpu", calls=(call,), rows=1, cost=1.0, started_s=0.0, ended_s=1.0)
    call.runs = (run,)
    observers.run_ended(run)
    observers.request_ended(call)
    gone = weakref.ref(call)
    gc.disable()
    try:
        del run, call
        assert gone() is None
    finally:
        gc.enable()
