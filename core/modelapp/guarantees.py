"""[guarantees]: the numbers an app promises. A limit that is not given is not promised."""

from collections.abc import Mapping
from typing import Literal

import attrs

from modelapp.keys import key

Enforce = Literal["fail", "report"]


@attrs.frozen(kw_only=True)
class Latency:
    """[guarantees.latency], or [guarantees.latency.NAME] where there are several."""

    name: str = attrs.field(metadata={"from_header": True})
    endpoint: str = key("the endpoint it is about; empty: each", default="", looser="other")
    arm: str = key("the arm of a split endpoint it is about; empty: all", default="", looser="other")
    p50_ms: float | None = key("the most that half of the answers take", default=None, min=0, looser="more")
    p95_ms: float | None = key("the most that 95 of 100 answers take", default=None, min=0, looser="more")
    p99_ms: float | None = key("the most that 99 of 100 answers take", default=None, min=0, looser="more")
    p95_first_token_ms: float | None = key(
        "the most until the first token of 95 of 100 streams", default=None, min=0, looser="more"
    )
    max_realtime_factor: float | None = key(
        "most seconds of work for a second of audio or video", default=None, min=0, looser="more"
    )
    min_tokens_per_s: float | None = key("the fewest tokens a second of one stream", default=None, min=0, looser="less")
    max_error_percent: float = key(
        "the most 5xx answers and cut streams, of all", default=0, min=0, max=100, looser="more"
    )
    concurrency: int | None = key(
        "load: requests at a time, each sent when the one before is answered", default=None, min=1, looser="less"
    )
    rate_per_s: float | None = key(
        "load: requests a second, sent whether answers come or not", default=None, min=0.001, looser="less"
    )
    inputs: str = key("load: a .jsonl file of requests; default: the inputs of the tests", default="")
    duration_s: float = key("how long the load lasts", default=10, min=0.1, looser="less")
    warmup_s: float = key("load before anything is counted", default=2, min=0, looser="more")
    min_samples: int | None = key(
        "fewest answers that decide; default: what its highest percentile needs", default=None, min=1, looser="less"
    )
    enforce: Enforce = key("whether a breach fails, or is only reported", default="fail", looser="report")


@attrs.frozen(kw_only=True)
class Batching:
    """[guarantees.batching], or [guarantees.batching.NAME] where there are several."""

    name: str = attrs.field(metadata={"from_header": True})
    model: str = key("the model it is about; empty: each that batches", default="", looser="other")
    min_mean_batch: float | None = key(
        "the fewest rows of a run, on average under load", default=None, min=1, looser="less"
    )
    max_added_wait_ms: float | None = key(
        "the longest wait for company; default: max_wait_ms + 5", default=None, min=0, looser="more"
    )
    min_speedup: float | None = key(
        "throughput in batches over throughput one by one", default=None, min=0, looser="less"
    )
    same_output: bool = key("a row's answer is the same alone and in company", default=True, looser="false")
    abs_tol: float = key("absolute tolerance of same_output", default=1e-6, min=0, looser="more")
    rel_tol: float = key("relative tolerance of same_output", default=1e-4, min=0, looser="more")
    enforce: Enforce = key("whether a breach fails, or is only reported", default="fail", looser="report")


@attrs.frozen(kw_only=True)
class RolloutGuarantee:
    """[guarantees.rollout]"""

    max_failed_requests: int = key(
        "requests that may fail while a release replaces another", default=0, min=0, looser="more"
    )
    max_unavailable: int = key("replicas that may be missing meanwhile", default=0, min=0, looser="more")
    min_healthy_s: float = key(
        "how long a new replica must be ready before it counts", default=10, min=0, looser="less"
    )
    max_rollback_s: float = key("the longest it may take to go back", default=60, min=1, looser="more")
    max_mixed_versions_s: float = key(
        "the longest two releases may answer; 0: not checked", default=0, min=0, looser="more"
    )


@attrs.frozen(kw_only=True)
class Robustness:
    """[guarantees.robustness]"""

    max_examples: int = key(
        "requests drawn from the declared input, for each endpoint", default=50, min=1, looser="less"
    )
    never_5xx: bool = key(
        "no request that fits the declared input is answered with a 5xx", default=True, looser="false"
    )
    deterministic: bool = key("the same request has the same answer", default=False, looser="false")


@attrs.frozen(kw_only=True)
class Drift:
    """[guarantees.drift]"""

    reference: str = key("a .jsonl file of requests as the model was trained on")
    max_statistic: float = key(
        "the largest difference between seen and reference values, 0 to 1", default=0.2, min=0, max=1, looser="more"
    )
    window_s: float = key("how far back what is seen counts", default=86400, min=1)
    min_samples: int = key("fewest requests that decide", default=200, min=1, looser="less")
    task: str = key("the job that is started on drift; empty: it only warns", default="")


@attrs.frozen(kw_only=True)
class Guarantees:
    """[guarantees]"""

    latency: Mapping[str, Latency] = attrs.field(factory=dict, metadata={"one_or_named": True, "pending": True})
    batching: Mapping[str, Batching] = attrs.field(factory=dict, metadata={"one_or_named": True, "pending": True})
    rollout: RolloutGuarantee | None = attrs.field(default=None, metadata={"pending": True})
    robustness: Robustness | None = attrs.field(default=None, metadata={"pending": True})
    drift: Drift | None = attrs.field(default=None, metadata={"pending": True})
