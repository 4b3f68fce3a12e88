"""The null plugin: a runtime and a scheduler that imitate real ones by script, delays and faults included.

Batching, isolation and rollouts are tested on them without a model and without a cluster. They say so by the capability
"scripted": what was tried on them alone counts as tried on no real runtime and no real scheduler.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from modelapp.app import key
from modelapp.hookspecs import hookimpl
from modelapp.runtime import Runtime, RuntimeSpec
from modelapp.scheduler import Scheduler, SchedulerSpec


def _one_input() -> dict[str, str]:
    return {"x": "float32[batch, 1]"}


@attrs.frozen(kw_only=True)
class RuntimeOptions:
    """[models.NAME.null]. Calls count from 1, warm-up calls included; 0 means never."""

    kind: Literal["tensors", "records"] = key("whether rows are named arrays or plain records", default="tensors")
    inputs: Mapping[str, str] = key(
        'tensor -> "dtype[sizes]", e.g. "float32[batch, 4, ?]"; each comes back as the output of its name',
        factory=_one_input,
    )
    batched: bool = key("axis 0 counts rows, and requests may share a run", default=True)
    scale: float = key("numbers are multiplied by this", default=1.0)
    offset: float = key("and this is added", default=0.0)
    delay_ms: float = key("time of a run", default=0.0, min=0)
    delay_ms_per_row: float = key("further time for each row of a run", default=0.0, min=0)
    load_delay_ms: float = key("time that loading takes", default=0.0, min=0)
    load_error: str = key("loading fails with this text", default="")
    fail_on_call: int = key("this call raises", default=0, min=0)
    poison: float | None = key("a run with a row that holds this number raises", default=None)
    nan_on: float | None = key("rows that hold this number come back as NaN", default=None)
    extra_rows: int = key("rows too many in each answer; negative: too few", default=0)
    wrong_dtype: bool = key("answers have another dtype than declared", default=False)
    hang_on_call: int = key("this call ends only when it is cancelled", default=0, min=0)
    crash_on_call: int = key("this call kills the process, as a fault in native code does", default=0, min=0)


@attrs.frozen(kw_only=True)
class SchedulerOptions:
    """[deploy.null]. Times count from a replica's start."""

    start_delay_s: float = key("time from start to ready", default=0.0, min=0)
    drain_s: float = key("time a draining replica takes to finish", default=0.0, min=0)
    never_ready: tuple[str, ...] = key("releases whose replicas never become ready", default=())
    crash_after_s: Mapping[str, float] = key("release -> when its replicas fail", factory=dict)
    capacity: int = key("the most replicas there is room for; further ones wait; 0: no bound", default=0, min=0)


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
    capabilities=frozenset({"tensors", "records", "cancel", "concurrent", "scripted"}),
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
