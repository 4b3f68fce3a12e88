"""Every metric there is, in one table: what is exposed, documented, drawn and alerted on comes from here."""

from collections.abc import Mapping
from typing import Literal

import attrs

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["requests", "runs", "replica", "process"]
"""Where its values come from: every request that ended, every run of a model, a look at the replica, or the system."""

SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
ROWS = tuple(float(2**power) for power in range(11))
COST = tuple(float(4**power) for power in range(10))

APP = "app"
"""The label that every metric of ours carries: an app's alerts must not be set off by another's."""
LABELS: Mapping[str, str] = {
    APP: "`[app] name`",
    "device": "what the model runs on, e.g. `cpu`",
    "endpoint": "the endpoint; empty where a request came to none",
    "model": "the model; of a request, the one it called past the endpoints, or the arm of a split that answered it",
    "outcome": "`ok`, or the code of the error ([http.md](http.md#errors))",
    "protocol": "`natural`, `oip`, `grpc` and the like; empty where a path belongs to none",
    "python": "the version of Python",
    "release": "the release that answered",
    "token": "the name of the bearer token; empty without one",
    "version": "the version of modelapp",
}


@attrs.frozen(kw_only=True)
class Metric:
    """One metric. `column` is what it sums or sorts of its source, "" for how many there were."""

    name: str
    kind: Kind
    source: Source
    labels: tuple[str, ...] = ()
    unit: str = ""
    help: str
    column: str = ""
    buckets: tuple[float, ...] = ()
    promised: bool = False
    """Whether the limits of `[guarantees.latency]` are buckets too, so that alerts compare exactly."""

    @property
    def family(self) -> str:
        """Its name without the suffix of counters."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


_CALLED = ("endpoint", "model", "release")
_RUN = ("model", "release")

METRICS: tuple[Metric, ...] = (
    Metric(
        name="modelapp_requests_total",
        kind="counter",
        source="requests",
        labels=("endpoint", "model", "outcome", "protocol", "release"),
        help="Requests that have ended.",
    ),
    Metric(
        name="modelapp_request_duration_seconds",
        kind="histogram",
        source="requests",
        labels=("endpoint", "model", "outcome", "release"),
        unit="seconds",
        help="Time from the head of a request to its answer, or to the end of a streamed one.",
        column="total_s",
        buckets=SECONDS,
        promised=True,
    ),
    Metric(
        name="modelapp_request_first_chunk_seconds",
        kind="histogram",
        source="requests",
        labels=_CALLED,
        unit="seconds",
        help="Time from the head of a request to the first piece of its streamed answer.",
        column="first_s",
        buckets=SECONDS,
        promised=True,
    ),
    Metric(
        name="modelapp_request_queue_seconds",
        kind="histogram",
        source="requests",
        labels=_CALLED,
        unit="seconds",
        help="Time a request waited in models' queues because they were busy.",
        column="queue_s",
        buckets=SECONDS,
    ),
    Metric(
        name="modelapp_request_bytes_total",
        kind="counter",
        source="requests",
        labels=_CALLED,
        unit="bytes",
        help="Bytes of request bodies.",
        column="bytes_in",
    ),
    Metric(
        name="modelapp_response_bytes_total",
        kind="counter",
        source="requests",
        labels=_CALLED,
        unit="bytes",
        help="Bytes of answers.",
        column="bytes_out",
    ),
    Metric(
        name="modelapp_token_requests_total",
        kind="counter",
        source="requests",
        labels=("outcome", "release", "token"),
        help="Requests that have ended, by the bearer token they came with.",
    ),
    Metric(
        name="modelapp_token_rows_total",
        kind="counter",
        source="requests",
        labels=("release", "token"),
        help="Rows that models ran for the holder of a token.",
        column="rows",
    ),
    Metric(
        name="modelapp_token_device_seconds_total",
        kind="counter",
        source="requests",
        labels=("release", "token"),
        unit="seconds",
        help="Seconds of model runs for the holder of a token; a run is shared out by rows.",
        column="device_s",
    ),
    Metric(
        name="modelapp_token_cpu_seconds_total",
        kind="counter",
        source="requests",
        labels=("release", "token"),
        unit="seconds",
        help="CPU seconds of model runs for the holder of a token; a run is shared out by rows.",
        column="cpu_s",
    ),
    Metric(
        name="modelapp_runs_total",
        kind="counter",
        source="runs",
        labels=("model", "outcome", "release"),
        help="Runs of a model, batch mates and all; one of which any request was answered is ok.",
    ),
    Metric(
        name="modelapp_rows_total",
        kind="counter",
        source="runs",
        labels=("model", "outcome", "release"),
        help="Rows that a model has run.",
        column="rows",
    ),
    Metric(
        name="modelapp_extra_runs_total",
        kind="counter",
        source="runs",
        labels=_RUN,
        help="Further runs of parts of a failed batch, to find the request at fault.",
        column="extra_runs",
    ),
    Metric(
        name="modelapp_run_duration_seconds",
        kind="histogram",
        source="runs",
        labels=_RUN,
        unit="seconds",
        help="Time a run took, stacking, checking and further runs included.",
        column="run_s",
        buckets=SECONDS,
    ),
    Metric(
        name="modelapp_run_wait_seconds",
        kind="histogram",
        source="runs",
        labels=_RUN,
        unit="seconds",
        help="Time an idle model waited for company before a run.",
        column="held_s",
        buckets=SECONDS,
    ),
    Metric(
        name="modelapp_run_rows",
        kind="histogram",
        source="runs",
        labels=_RUN,
        help="Rows of a run.",
        column="rows",
        buckets=ROWS,
    ),
    Metric(
        name="modelapp_run_cost",
        kind="histogram",
        source="runs",
        labels=_RUN,
        help="Cost of a run, in what `cost` of the model says: rows, tokens or padded tokens.",
        column="cost",
        buckets=COST,
    ),
    Metric(
        name="modelapp_device_seconds_total",
        kind="counter",
        source="runs",
        labels=("device", "model", "release"),
        unit="seconds",
        help="Seconds that a model itself worked.",
        column="infer_s",
    ),
    Metric(
        name="modelapp_cpu_seconds_total",
        kind="counter",
        source="runs",
        labels=_RUN,
        unit="seconds",
        help="CPU seconds of a model's runs.",
        column="cpu_s",
    ),
    Metric(name="modelapp_up", kind="gauge", source="replica", help="1: the process answers."),
    Metric(name="modelapp_ready", kind="gauge", source="replica", help="1 while the app takes requests, else 0."),
    Metric(
        name="modelapp_endpoint_ready",
        kind="gauge",
        source="replica",
        labels=("endpoint",),
        help="1 while the endpoint takes requests, else 0.",
    ),
    Metric(
        name="modelapp_model_ready",
        kind="gauge",
        source="replica",
        labels=("model",),
        help="1 while the model takes requests, else 0.",
    ),
    Metric(
        name="modelapp_requests_in_flight",
        kind="gauge",
        source="replica",
        help="Requests in progress, by every door, the one that asks for this among them.",
    ),
    Metric(
        name="modelapp_queue_rows",
        kind="gauge",
        source="replica",
        labels=("model",),
        help="Rows that wait in a model's queue.",
    ),
    Metric(
        name="modelapp_queue_limit_rows",
        kind="gauge",
        source="replica",
        labels=("model",),
        help="The most rows that may wait, which is `max_queue` of the model.",
    ),
    Metric(
        name="modelapp_build_info",
        kind="gauge",
        source="replica",
        labels=("python", "release", "version"),
        help="Always 1; its labels tell what is served by what.",
    ),
    Metric(
        name="process_cpu_seconds_total",
        kind="counter",
        source="process",
        unit="seconds",
        help="Total user and system CPU time spent in seconds.",
    ),
    Metric(
        name="process_resident_memory_bytes",
        kind="gauge",
        source="process",
        unit="bytes",
        help="Resident memory size in bytes.",
    ),
    Metric(
        name="process_virtual_memory_bytes",
        kind="gauge",
        source="process",
        unit="bytes",
        help="Virtual memory size in bytes.",
    ),
    Metric(
        name="process_start_time_seconds",
        kind="gauge",
        source="process",
        unit="seconds",
        help="Start time of the process since unix epoch in seconds.",
    ),
    Metric(name="process_open_fds", kind="gauge", source="process", help="Number of open file descriptors."),
    Metric(name="process_max_fds", kind="gauge", source="process", help="Maximum number of open file descriptors."),
)


def of(source: Source) -> tuple[Metric, ...]:
    """The metrics of one source."""
    return tuple(metric for metric in METRICS if metric.source == source)
