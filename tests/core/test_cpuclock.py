"""Processor seconds of runs on threads."""

import threading
import time

import pytest

from modelapp.cpuclock import CpuClock, clock_of_this_loop


@pytest.fixture
def scripted(monkeypatch):
    """set(process=, loop=): what the process and its loop's thread have spent."""
    spent = {"process": 10.0, "loop": 4.0}
    monkeypatch.setattr(time, "process_time", lambda: spent["process"])
    monkeypatch.setattr(time, "clock_gettime", lambda clock: spent["loop"])
    return lambda **more: spent.update(more)


def test_run_gets_what_the_process_spends_without_its_loop(scripted):
    """Also what a library's own threads spend; not what was spent before."""
    clock = CpuClock()
    begun = clock.begin()
    scripted(process=13.0, loop=5.0)

    assert clock.end(begun) == pytest.approx(2.0)


def test_runs_at_the_same_time_share_equally(scripted):
    """Each instant belongs to the runs there are."""
    clock = CpuClock()
    first = clock.begin()
    scripted(process=11.0)
    second = clock.begin()
    scripted(process=15.0)
    assert clock.end(first) == pytest.approx(1.0 + 2.0)
    scripted(process=16.0)
    assert clock.end(second) == pytest.approx(2.0 + 1.0)


def test_time_between_runs_is_nobodys(scripted):
    """What the process does while no run is in progress is not told."""
    clock = CpuClock()
    clock.end(clock.begin())
    scripted(process=99.0)

    assert clock.end(clock.begin()) == 0.0


def test_real_work_on_a_thread_is_seen():
    """A thread that spends a tenth of a second gets it, though this thread spends some too."""
    clock, found = CpuClock(), []

    def spend(seconds):
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    def run():
        begun = clock.begin()
        spend(0.1)
        found.append(clock.end(begun))

    thread = threading.Thread(target=run)
    thread.start()
    spend(0.05)
    thread.join()
    assert 0.09 < found[0] < 0.12


def test_models_of_one_loop_share_a_clock():
    """Two models that run at the same time are not both charged with all; another thread's loop has its own."""
    others = []
    thread = threading.Thread(target=lambda: others.append(clock_of_this_loop()))
    thread.start()
    thread.join()

    assert clock_of_this_loop() is clock_of_this_loop()
    assert others[0] is not clock_of_this_loop()


def test_loop_that_has_ended_does_no_harm():
    """A run may outlive it."""
    others = []
    thread = threading.Thread(target=lambda: others.append(CpuClock()))
    thread.start()
    thread.join()

    assert others[0].end(others[0].begin()) >= 0.0
