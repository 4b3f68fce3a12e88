"""What a metric is: its name, kind, labels and help, where its values come from, and the buckets it falls into."""

from collections.abc import Mapping
from typing import Literal

import attrs

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["requests", "runs", "tokens", "replica", "process"]
"""Where its values come from: every request that ended, every run of a model, every token that a model generated, a
look at the replica, or the system."""

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
    "protocol": "`natural`, `oip`, `openai`, `grpc` and the like; empty where a path belongs to none",
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
