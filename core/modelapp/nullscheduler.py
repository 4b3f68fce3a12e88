"""The null scheduler: replicas in memory, whose life follows a script and a clock that it is handed."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

import attrs

from modelapp.nulloptions import SchedulerOptions
from modelapp.scheduler import Replica, ReplicaState

_ALIVE = (ReplicaState.STARTING, ReplicaState.READY)


@attrs.define
class _Life:
    """What was done to one replica and when, in seconds of the clock; infinity: not done. Its state follows."""

    id: str
    release: str
    started_s: float
    ready_s: float
    fails_s: float
    drained_s: float = math.inf
    ends_s: float = math.inf

    def state(self, now_s: float) -> ReplicaState:
        """The state at `now_s`. A failure after the end does not happen any more."""
        if now_s >= min(self.ends_s, self.fails_s):
            return ReplicaState.FAILED if self.fails_s < self.ends_s else ReplicaState.STOPPED
        if now_s >= self.drained_s:
            return ReplicaState.DRAINING
        return ReplicaState.READY if now_s >= self.ready_s else ReplicaState.STARTING


class NullScheduler:
    """Implements `modelapp.scheduler.Scheduler` over nothing. `clock` returns seconds."""

    def __init__(self, options: SchedulerOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._lives: list[_Life] = []
        self._made: dict[str, int] = {}
        self.shares: Mapping[str, float] = {}

    def plan(self, release: str, replicas: int) -> Sequence[str]:
        """What `start` would do."""
        missing = replicas - len(self._alive(release))
        placed = min(max(missing, 0), self._room())
        sentences = [f"start {placed} of {replicas} replicas of {release}"] if placed else []
        if missing > placed:
            sentences.append(f"leave {missing - placed} out: there is room for {self._options.capacity} replicas")
        return sentences

    def start(self, release: str, replicas: int) -> Sequence[Replica]:
        """Bring the release up to `replicas`, as far as there is room; failed ones are replaced."""
        missing = replicas - len(self._alive(release))
        for _ in range(min(max(missing, 0), self._room())):
            self._lives.append(self._new(release))
        return [self._told(life) for life in self._alive(release)]

    def status(self) -> Sequence[Replica]:
        """Every replica that ever was, oldest first."""
        return [self._told(life) for life in self._lives]

    def weights(self, shares: Mapping[str, float]) -> None:
        """Keep the shares. Raises ValueError unless they sum to 100, none is negative and each release is known."""
        if not math.isclose(math.fsum(shares.values()), 100, abs_tol=1e-6) or min(shares.values()) < 0:
            raise ValueError(f"shares must be 0 or more and sum to 100 percent, got {dict(shares)}")
        for release in shares:
            if release not in self._made:
                raise ValueError(f'no release is called "{release}"; known: {", ".join(self._made) or "none"}')
        self.shares = dict(shares)

    def drain(self, release: str) -> None:
        """The release's replicas stop `drain_s` from now."""
        now_s = self._clock()
        for life in self._alive(release):
            life.drained_s = now_s
            life.ends_s = now_s + self._options.drain_s

    def stop(self, release: str) -> None:
        """The release's replicas, draining ones included, are stopped now."""
        now_s = self._clock()
        for life in self._lives:
            if life.release == release and life.state(now_s) in (*_ALIVE, ReplicaState.DRAINING):
                life.ends_s = now_s

    def scale(self, release: str, replicas: int) -> None:
        """Start what is missing, or stop the newest. Raises ValueError for a negative number."""
        if replicas < 0:
            raise ValueError(f"a release has 0 replicas or more, not {replicas}")
        now_s = self._clock()
        for life in self._alive(release)[replicas:]:
            life.ends_s = now_s
        self.start(release, replicas)

    def logs(self, replica: str) -> Sequence[str]:
        """What happened to the replica so far. Raises ValueError where there is none of that id."""
        for life in self._lives:
            if life.id == replica:
                return self._history(life)
        raise ValueError(f'no replica is called "{replica}"')

    def _new(self, release: str) -> _Life:
        now_s = self._clock()
        number = self._made[release] = self._made.get(release, 0) + 1
        never = release in self._options.never_ready
        return _Life(
            id=f"{release}-{number}",
            release=release,
            started_s=now_s,
            ready_s=math.inf if never else now_s + self._options.start_delay_s,
            fails_s=now_s + self._options.crash_after_s.get(release, math.inf),
        )

    def _alive(self, release: str) -> list[_Life]:
        now_s = self._clock()
        return [life for life in self._lives if life.release == release and life.state(now_s) in _ALIVE]

    def _room(self) -> int:
        now_s = self._clock()
        held = sum(life.state(now_s) in (*_ALIVE, ReplicaState.DRAINING) for life in self._lives)
        return max(0, self._options.capacity - held) if self._options.capacity else 1_000_000

    def _told(self, life: _Life) -> Replica:
        state = life.state(self._clock())
        return Replica(
            id=life.id,
            release=life.release,
            state=state,
            url=f"null://{life.id}" if state in (ReplicaState.READY, ReplicaState.DRAINING) else "",
            reason="it crashed as scripted" if state is ReplicaState.FAILED else "",
        )

    def _history(self, life: _Life) -> list[str]:
        events = [
            (life.started_s, "started"),
            (life.ready_s, "ready"),
            (life.drained_s, "draining"),
            (life.fails_s, "crashed as scripted"),
            (life.ends_s, "stopped"),
        ]
        over_s = min(life.fails_s, life.ends_s)
        now_s = min(self._clock(), over_s)
        return [
            f"{when_s:.3f} {what}" for when_s, what in sorted(events, key=lambda event: event[0]) if when_s <= now_s
        ]
