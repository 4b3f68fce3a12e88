"""The null scheduler keeps the contract of a scheduler, on a clock moved by hand."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelapp import ReplicaState
from modelapp.nulloptions import SchedulerOptions
from modelapp.nullscheduler import NullScheduler
from modelapp.testing import FakeClock


def scheduler(**options):
    clock = FakeClock()
    return NullScheduler(SchedulerOptions(**options), clock), clock


def states(cluster, release="a"):
    return [replica.state.value for replica in cluster.status() if replica.release == release]


def test_a_replica_is_ready_after_its_delay():
    """And has an address only then."""
    cluster, clock = scheduler(start_delay_s=2)
    assert [(r.state, r.url) for r in cluster.start("a", 1)] == [(ReplicaState.STARTING, "")]
    clock.advance(2)
    assert [(r.state, r.url) for r in cluster.status()] == [(ReplicaState.READY, "null://a-1")]


def test_a_release_may_never_become_ready():
    """However long it is waited for; others do."""
    cluster, clock = scheduler(never_ready=("b",))
    cluster.start("a", 1)
    cluster.start("b", 1)
    clock.advance(1e6)
    assert (states(cluster, "a"), states(cluster, "b")) == (["ready"], ["starting"])


def test_a_crash_is_a_failed_replica_with_a_reason_and_start_replaces_it():
    """The failed one stays on record."""
    cluster, clock = scheduler(crash_after_s={"a": 5})
    cluster.start("a", 2)
    clock.advance(5)
    assert {r.reason for r in cluster.status()} == {"it crashed as scripted"}
    cluster.start("a", 2)
    assert states(cluster) == ["failed", "failed", "ready", "ready"]


def test_draining_takes_its_time_and_ends_stopped():
    """A draining replica still has its address, for what it has in hand."""
    cluster, clock = scheduler(drain_s=3)
    cluster.start("a", 1)
    cluster.drain("a")
    assert (states(cluster), cluster.status()[0].url) == (["draining"], "null://a-1")
    clock.advance(3)
    assert (states(cluster), cluster.status()[0].url) == (["stopped"], "")


def test_stop_does_not_wait():
    """Not for draining replicas either."""
    cluster, _ = scheduler(drain_s=3)
    cluster.start("a", 1)
    cluster.drain("a")
    cluster.stop("a")
    assert states(cluster) == ["stopped"]


def test_scaling_down_stops_the_newest():
    """The oldest are the ones that have shown they work."""
    cluster, _ = scheduler()
    cluster.start("a", 3)
    cluster.scale("a", 1)
    assert states(cluster) == ["ready", "stopped", "stopped"]
    with pytest.raises(ValueError, match="not -1"):
        cluster.scale("a", -1)


def test_no_more_replicas_than_there_is_room_for():
    """`plan` says how many are left out; a draining replica still takes its place."""
    cluster, clock = scheduler(capacity=3, drain_s=1)
    assert cluster.plan("a", 2) == ["start 2 of 2 replicas of a"]
    cluster.start("a", 2)
    assert cluster.plan("a", 2) == []
    assert cluster.plan("b", 2) == ["start 1 of 2 replicas of b", "leave 1 out: there is room for 3 replicas"]
    cluster.drain("a")
    assert len(cluster.start("b", 2)) == 1
    clock.advance(1)
    assert len(cluster.start("b", 2)) == 2


@pytest.mark.parametrize("shares", [{}, {"a": 99}, {"a": 150, "b": -50}, {"a": 50, "b": 49.9}])
def test_shares_must_sum_to_a_hundred(shares):
    """And none is negative; what was set before stays."""
    cluster, _ = scheduler()
    cluster.start("a", 1)
    cluster.start("b", 1)
    cluster.weights({"a": 100})
    with pytest.raises(ValueError, match="sum to 100 percent"):
        cluster.weights(shares)
    assert cluster.shares == {"a": 100}


def test_no_share_for_a_release_that_was_never_started():
    """The error lists those that were."""
    cluster, _ = scheduler()
    cluster.start("a", 1)
    with pytest.raises(ValueError, match='no release is called "b"; known: a'):
        cluster.weights({"b": 100})


def test_a_replicas_log_tells_its_life():
    """What happened so far, with times; an unknown id is an error."""
    cluster, clock = scheduler(start_delay_s=1, drain_s=2)
    cluster.start("a", 1)
    clock.advance(1.5)
    cluster.drain("a")
    assert cluster.logs("a-1") == ["0.000 started", "1.000 ready", "1.500 draining"]
    clock.advance(9)
    assert cluster.logs("a-1")[-1] == "3.500 stopped"
    with pytest.raises(ValueError, match='no replica is called "zzz"'):
        cluster.logs("zzz")


class Verbs(RuleBasedStateMachine):
    """Any sequence of verbs."""

    releases = st.sampled_from(["a", "b"])

    def __init__(self):
        super().__init__()
        self.cluster, self.clock = scheduler(start_delay_s=1, drain_s=2, capacity=5, crash_after_s={"b": 4})
        self.ended = {}

    @rule(release=releases, replicas=st.integers(0, 4), verb=st.sampled_from(["start", "scale", "drain", "stop"]))
    def twice(self, release, replicas, verb):
        """A second call changes nothing."""
        arguments = (release, replicas) if verb in ("start", "scale") else (release,)
        getattr(self.cluster, verb)(*arguments)
        before = self.cluster.status()
        getattr(self.cluster, verb)(*arguments)
        assert self.cluster.status() == before
        if verb == "start":
            assert self.cluster.plan(release, replicas) in (
                [],
                [s for s in self.cluster.plan(release, replicas) if "leave" in s],
            )

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def pass_time(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def room_is_kept_and_the_dead_stay_dead(self):
        """Never over capacity, ids are unique, and an ended replica never changes again."""
        replicas = self.cluster.status()
        held = [r for r in replicas if r.state.value in ("starting", "ready", "draining")]
        assert len(held) <= 5
        assert len({r.id for r in replicas}) == len(replicas)
        now = {r.id: r.state for r in replicas}
        assert {name: now[name] for name in self.ended} == self.ended
        self.ended = {name: state for name, state in now.items() if state.value in ("stopped", "failed")}


TestVerbs = Verbs.TestCase
