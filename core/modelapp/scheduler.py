"""The contract of a scheduler: what a plugin that places replicas must offer.

A scheduler plugin yields a `SchedulerSpec` from the hook `modelapp_schedulers`.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import attrs

from modelapp.runtime import API_VERSION, Availability, NoOptions, always_available


class ReplicaState(Enum):
    """The life of a replica as every scheduler reports it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


@attrs.frozen
class Replica:
    """One process serving one release; `url` is where it answers, "" before it listens."""

    id: str
    release: str
    state: ReplicaState
    url: str = ""
    reason: str = ""


class Scheduler(Protocol):
    """Places replicas and moves traffic between releases. Every verb may be repeated: a second call changes nothing."""

    def plan(self, release: str, replicas: int) -> Sequence[str]:
        """What `start` would do, one sentence each; empty where nothing would change."""
        ...

    def start(self, release: str, replicas: int) -> Sequence[Replica]:
        """Start replicas of `release` beside whatever runs; they take no traffic yet."""
        ...

    def status(self) -> Sequence[Replica]:
        """Every replica known, of every release."""
        ...

    def weights(self, shares: Mapping[str, float]) -> None:
        """Share traffic among releases, in percent. Raises ValueError unless the shares sum to 100."""
        ...

    def drain(self, release: str) -> None:
        """Let the release's replicas finish what they have and take no more."""
        ...

    def stop(self, release: str) -> None:
        """Stop the release's replicas."""
        ...

    def scale(self, release: str, replicas: int) -> None:
        """Change how many replicas the release has."""
        ...

    def logs(self, replica: str) -> Sequence[str]:
        """The replica's last lines."""
        ...


SCHEDULER_CAPABILITIES: Mapping[str, str] = {
    "weights": "traffic can be shared among releases by percent",
    "scale": "the number of replicas can change while serving",
    "logs": "a replica's output can be read",
    "scripted": "imitates replicas by script, for tests; never counts as coverage of a real one",
}


@attrs.frozen
class SchedulerSpec:
    """What a scheduler plugin yields; `options` is the attrs class that [deploy.<name>] is read into."""

    name: str
    open: Callable[[Any], Scheduler]
    options: type = NoOptions
    capabilities: frozenset[str] = frozenset()
    probe: Callable[[], Availability] = always_available
    api_versions: frozenset[int] = frozenset({API_VERSION})
