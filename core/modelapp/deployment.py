"""[deploy]: where the app runs, how many replicas it has, and how a new release replaces the one that serves."""

from typing import Any, Literal

import attrs

from modelapp.keys import key

GATES = ("tests", "guarantees", "errors")
"""What a release has to hold before it takes traffic, in the order in which it is asked."""


@attrs.frozen(kw_only=True)
class Rollout:
    """[deploy.rollout]"""

    strategy: Literal["blue-green", "canary", "rolling", "recreate"] = key(
        "how replicas are replaced; recreate stops the old ones first", default="blue-green"
    )
    steps: tuple[float, ...] = key(
        "canary: shares of the traffic in percent, rising to 100", default=(5.0, 25.0, 100.0)
    )
    step_s: float = key("the least time of a step", default=60, min=0)
    gate: tuple[Literal["tests", "guarantees", "errors"], ...] = key("what a release has to hold", default=GATES)
    shadow_percent: float = key(
        "share of the traffic that is copied to the new release first", default=0, min=0, max=100
    )
    auto_promote: bool = key("the gate decides; false waits for a person", default=True)
    auto_revert: bool = key("a release that fails its gate is taken back", default=True)
    max_parallel: int = key("rolling: replicas replaced at a time", default=1, min=1)
    health_deadline_s: float = key("the longest a new replica may take to be ready", default=120, min=1)
    placement_timeout_s: float = key("the longest the scheduler may take to place a replica", default=300, min=1)
    max_gate_s: float = key("the longest the gate may take to decide; then it holds", default=1800, min=1)
    bake_s: float = key("how long the old replicas stay warm after a promotion", default=600, min=0)
    drain_s: float | None = key(
        "time for requests in progress; default: the longest timeout_s + 5", default=None, min=0
    )


@attrs.frozen(kw_only=True)
class Autoscale:
    """[deploy.autoscale]"""

    min: int = key("the fewest replicas", default=1, min=1)
    max: int = key("the most replicas", default=100, min=1)
    target_in_flight: float | None = key(
        "requests a replica should have; default: what it runs at once", default=None, min=0.001
    )
    window_s: float = key("how far back requests are averaged", default=60, min=1)
    upscale_stabilization_s: float = key("the lowest wish of this time counts when growing", default=60, min=0)
    downscale_stabilization_s: float = key("the highest wish of this time counts when shrinking", default=300, min=0)
    max_upscale_factor: float = key("most replicas after one decision, over those now", default=1.5, min=1)
    max_downscale_factor: float = key("fewest replicas after one decision, over those now", default=0.75, min=0, max=1)
    upscale_tolerance: float = key("growth that is too small to act on", default=0.05, min=0)
    downscale_tolerance: float = key("shrinking that is too small to act on", default=0.05, min=0, max=1)


@attrs.frozen(kw_only=True)
class Spot:
    """[deploy.spot]"""

    on_demand_base: int = key("replicas that never run on spot nodes", default=0, min=0)
    on_demand_percent_above_base: float = key("share of the others that does not either", default=0, min=0, max=100)
    node_meta: str = key("the node attribute that marks spot nodes", default="spot")


@attrs.frozen(kw_only=True)
class Deploy:
    """[deploy]"""

    scheduler: str = key("the name of a scheduler plugin", default="local")
    replicas: int = key("processes that answer", default=1, min=1)
    cpu_mhz: int = key("processor time of a replica, for schedulers that divide it", default=500, min=1)
    memory_mb: int = key("memory of a replica; 0: the models' together", default=0, min=0)
    gpus: int = key("graphics processors of a replica", default=0, min=0)
    rollout: Rollout = attrs.field(factory=Rollout, metadata={"doc": "how a release replaces another"})
    autoscale: Autoscale | None = attrs.field(default=None, metadata={"doc": "replicas that follow the load"})
    spot: Spot | None = attrs.field(default=None, metadata={"doc": "replicas on nodes that may be taken away"})
    options: Any = attrs.field(default=None, metadata={"plugin": "scheduler"})
    """[deploy.<scheduler>], as an instance of the scheduler's options class."""
