"""The null plugin: a runtime and a scheduler that imitate real ones by script, delays and faults included.

Batching, isolation and rollouts are tested on them without a model and without a cluster. They say so by the capability
"scripted": what was tried on them alone counts as tried on no real runtime and no real scheduler.
"""

from collections.abc import Iterable
from typing import Any

from modelapp.hookspecs import hookimpl
from modelapp.nulloptions import RuntimeOptions, SchedulerOptions
from modelapp.runtime import Runtime, RuntimeSpec
from modelapp.scheduler import Scheduler, SchedulerSpec


def _open_runtime() -> Runtime:
    from modelapp.nullruntime import NullRuntime

    return NullRuntime()


def _open_scheduler(options: Any) -> Scheduler:
    from modelapp.nullscheduler import NullScheduler

    return NullScheduler(options)


RUNTIME = RuntimeSpec(
    name="null",
    open=_open_runtime,
    options=RuntimeOptions,
    capabilities=frozenset({"tensors", "records", "generate", "cancel", "concurrent", "scripted"}),
    tasks=frozenset({"*"}),
)
SCHEDULER = SchedulerSpec(
    name="null",
    open=_open_scheduler,
    options=SchedulerOptions,
    capabilities=frozenset({"weights", "scale", "logs", "scripted"}),
)


@hookimpl
def modelapp_runtimes() -> Iterable[RuntimeSpec]:
    """The runtime "null"."""
    return [RUNTIME]


@hookimpl
def modelapp_schedulers() -> Iterable[SchedulerSpec]:
    """The scheduler "null"."""
    return [SCHEDULER]
