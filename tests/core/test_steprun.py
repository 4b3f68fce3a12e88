"""One step: how its tokens are shared out, and how little whoever leaves or fails in it takes from the others."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelapp.batching import Limits
from modelapp.decoding import Decoding
from modelapp.errors import OutOfMemory
from modelapp.generating import Feed
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import END, ByteText, NullEngine
from modelapp.prompts import GenerationRequest
from modelapp.runtime import Placement
from modelapp.sampling import Chosen, Sampling
from modelapp.steprun import fair_shares, run_step
from modelapp.steps import Schedule, Step


class Engine(NullEngine):
    """One to which things happen."""

    def __init__(self, *, slots: int, **script: Any) -> None:
        super().__init__(RuntimeOptions(**script), Placement(slots=slots))
        self.before_step: list[Callable[[], object]] = []
        """All of it happens in the next step, once."""
        self.fails_to_release: set[int] = set()

    def step(self, feeds: Sequence[Feed]) -> Any:
        """As scripted."""
        happens, self.before_step = self.before_step, []
        for one in happens:
            one()
        return super().step(feeds)

    def release(self, slot: int) -> None:
        """As scripted."""
        if slot in self.fails_to_release:
            raise ValueError("as scripted")
        super().release(slot)


def _fail() -> None:
    raise ValueError("as scripted")


def sequence(prompt: str, *, max_tokens: int = 9, sampling: Sampling | None = None) -> Decoding:
    """One that is not admitted yet."""
    tokens = tuple(prompt.encode())
    request = GenerationRequest(prompt=tokens, max_tokens=max_tokens, sampling=sampling or Sampling(), ignore_end=True)
    return Decoding(request, 0, text=ByteText(), ends={END}, room=len(tokens) + max_tokens, seed=1)


def go_on(schedule: Schedule, engine: NullEngine) -> None:
    """One whole step."""
    step, _ = schedule.next_step(1.0)
    if step is not None:
        run_step(engine, step)
        end(schedule, step)


def end(schedule: Schedule, step: Step) -> None:
    """Take over what came of it."""
    schedule.ended(step)
    for one, outcome in step.outcomes.items():
        if isinstance(outcome, Chosen):
            one.accept(outcome, 1.0)


@given(st.lists(st.integers(1, 500), max_size=20), st.integers(1, 600))
def test_shares_are_fair(wanted: list[int], budget: int) -> None:
    """Nobody gets more than wanted, the budget is spent where it is wanted, and whoever gets less than wanted gets no
    less than anybody else, but for the odd token."""
    shares = fair_shares(wanted, budget)
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    assert sum(shares) == min(budget, sum(wanted)) or len(wanted) > budget
    if len(wanted) <= budget:
        short = [share for share, want in zip(shares, wanted, strict=True) if share < want]
        assert all(share >= 1 for share in shares)
        assert not short or min(short) >= max(shares) - 1


def test_a_short_prompt_is_read_at_once() -> None:
    """Beside long ones it gets all it wants, and the first come first where there is not a token for each."""
    assert fair_shares([1000, 5, 1000], 65) == [30, 5, 30]
    assert fair_shares([9, 9, 9], 2) == [1, 1, 0]


def test_who_leaves_between_plan_and_run_harms_nobody() -> None:
    """The client goes in the very moment in which its tokens are about to be fed: its mate has its token, also where
    nothing is run again, and the slot is given back once."""
    schedule, engine = Schedule(Limits(), slots=2, step_tokens=32), Engine(slots=2)
    leaver, mate = sequence("leaver"), sequence("mate")
    schedule.admit([leaver, mate], 0.0)
    go_on(schedule, engine)
    step, _ = schedule.next_step(1.0)
    assert step is not None

    def leave() -> float:
        schedule.drop([leaver], 1.0)
        return 1.0

    run_step(engine, step, rerun=False, clock=leave)
    assert isinstance(step.outcomes[mate], Chosen)
    end(schedule, step)
    assert engine.used_slots == 2
    go_on(schedule, engine)
    assert (engine.used_slots, list(schedule.active)) == (1, [mate])


def test_a_slot_that_is_taken_in_the_last_moment_is_not_fed() -> None:
    """The loop's thread may take it between any two lines of the step; whoever has none is in it no more."""
    schedule, engine = Schedule(Limits(), slots=2, step_tokens=32), Engine(slots=2)
    leaver, mate = sequence("leaver"), sequence("mate")
    schedule.admit([leaver, mate], 0.0)
    go_on(schedule, engine)
    step, _ = schedule.next_step(1.0)
    assert step is not None
    leaver.slot = None
    run_step(engine, step)
    assert (list(step.fed), list(step.outcomes)) == ([mate], [mate])


def test_who_leaves_while_a_step_fails_is_no_failure_of_the_mates() -> None:
    """What is run again feeds the slots that the first run had."""
    schedule, engine = Schedule(Limits(), slots=3, step_tokens=32), Engine(slots=3)
    everyone = [sequence("leaver"), sequence("mate"), sequence("other")]
    schedule.admit(everyone, 0.0)
    go_on(schedule, engine)
    step, _ = schedule.next_step(1.0)
    assert step is not None
    engine.before_step = [lambda: schedule.drop(everyone[:1], 1.0), _fail]
    run_step(engine, step)
    assert [type(step.outcomes[one]) for one in everyone[1:]] == [Chosen, Chosen]


def test_who_has_left_before_the_step_is_not_admitted() -> None:
    """No memory is promised to a sequence that nobody waits for."""
    schedule, engine = Schedule(Limits(), slots=2, step_tokens=32), Engine(slots=2)
    gone = sequence("gone")
    schedule.admit([gone], 0.0)
    step, _ = schedule.next_step(0.0)
    assert step is not None
    schedule.drop([gone], 0.0)
    run_step(engine, step)
    assert (engine.used_slots, step.fed) == (0, {})


def test_a_failed_step_is_run_again_only_where_it_may_be() -> None:
    """Without `rerun` all fail together; with it the others have their tokens."""
    for rerun, kinds in ((True, [Chosen, Chosen]), (False, [ValueError, ValueError])):
        schedule, engine = Schedule(Limits(), slots=2, step_tokens=32), Engine(slots=2)
        everyone = [sequence("a"), sequence("b")]
        schedule.admit(everyone, 0.0)
        step, _ = schedule.next_step(0.0)
        assert step is not None
        engine.before_step = [_fail]
        run_step(engine, step, rerun=rerun)
        assert [type(step.outcomes[one]) for one in everyone] == kinds


def test_logits_of_a_wrong_size_are_one_sequences_failure() -> None:
    """A token that there is no number for ends its own request."""
    schedule, engine = Schedule(Limits(), slots=2, step_tokens=32), Engine(slots=2)
    biased = sequence("a", sampling=Sampling(logit_bias={999: 1.0}))
    everyone = [biased, sequence("b")]
    schedule.admit(everyone, 0.0)
    step, _ = schedule.next_step(0.0)
    assert step is not None
    run_step(engine, step)
    assert [type(step.outcomes[one]) for one in everyone] == [IndexError, Chosen]


def test_a_slot_that_could_not_be_taken_back_holds_up_no_other() -> None:
    """What comes after it in the list is released by the next step."""
    schedule, engine = Schedule(Limits(), slots=3, step_tokens=32), Engine(slots=3)
    everyone = [sequence("a"), sequence("b"), sequence("c")]
    schedule.admit(everyone, 0.0)
    go_on(schedule, engine)
    schedule.drop(everyone, 1.0)
    step, _ = schedule.next_step(1.0)
    assert step is not None
    engine.fails_to_release = {step.release[0]}
    with pytest.raises(ValueError, match="as scripted"):
        run_step(engine, step)
    schedule.ended(step)
    go_on(schedule, engine)
    assert engine.used_slots == 1
    assert schedule.idle


def test_an_engine_that_never_has_room_is_not_asked_for_ever() -> None:
    """A sequence that does not fit into memory that nobody holds is told so; the next one is asked for."""
    schedule, engine = Schedule(Limits(), slots=2, step_tokens=32), Engine(slots=2, cache_tokens=10)
    large, small = sequence("x" * 20), sequence("y", max_tokens=3)
    schedule.admit([large, small], 0.0)
    step, _ = schedule.next_step(0.0)
    assert step is not None
    run_step(engine, step)
    assert isinstance(step.outcomes[large], OutOfMemory)
    schedule.ended(step)
    schedule.drop([large], 0.0)
    go_on(schedule, engine)
    assert list(schedule.active) == [small]
