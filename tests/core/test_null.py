"""The null plugin's records say what it is."""

from modelapp import null
from modelapp.nulloptions import SchedulerOptions
from modelapp.nullruntime import NullRuntime
from modelapp.nullscheduler import NullScheduler
from modelapp.speccheck import check_runtime, check_scheduler


def test_its_records_are_sound_and_marked_as_scripted():
    """What was tried on it alone counts as tried on no real one."""
    check_runtime(null.RUNTIME)
    check_scheduler(null.SCHEDULER)
    assert "scripted" in null.RUNTIME.capabilities & null.SCHEDULER.capabilities


def test_its_records_open_what_they_name():
    """The heavy parts are imported by `open` only."""
    assert isinstance(null.RUNTIME.open(), NullRuntime)
    assert isinstance(null.SCHEDULER.open(SchedulerOptions()), NullScheduler)
