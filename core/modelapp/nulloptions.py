"""What the null runtime and the null scheduler can be told: their delays and their faults."""

from collections.abc import Mapping
from typing import Literal

import attrs

from modelapp.keys import key


def _one_input() -> dict[str, str]:
    return {"x": "float32[batch, 1]"}


@attrs.frozen(kw_only=True)
class RuntimeOptions:
    """[models.NAME.null]. Calls count from 1, warm-up calls included; 0 means never.

    With a task that generates the model's tokens are bytes, a call is a step, and "a row that holds this number" is a
    step that is fed this token.
    """

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
    hang_on: float | None = key("a run with a row that holds this number ends only when it is cancelled", default=None)
    dies_on: float | None = key("a run with a row that holds this number says that the model is dead", default=None)
    crash_on_call: int = key("this call kills the process, as a fault in native code does", default=0, min=0)
    cache_tokens: int = key(
        "a model that generates: tokens of all sequences together; 0: what its slots can hold", default=0, min=0
    )


@attrs.frozen(kw_only=True)
class SchedulerOptions:
    """[deploy.null]. Times count from a replica's start."""

    start_delay_s: float = key("time from start to ready", default=0.0, min=0)
    drain_s: float = key("time a draining replica takes to finish", default=0.0, min=0)
    never_ready: tuple[str, ...] = key("releases whose replicas never become ready", default=())
    crash_after_s: Mapping[str, float] = key("release -> when its replicas fail", factory=dict)
    capacity: int = key("the most replicas there is room for; further ones wait; 0: no bound", default=0, min=0)
