"""The scheduler of generation on a hand-driven clock: who joins, who leaves, who is fed; every sequence has one end."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelapp.batching import OVER, Limits
from modelapp.decoding import Decoding
from modelapp.errors import InvalidInput, ModelFailed, QueueFull
from modelapp.nulloptions import RuntimeOptions
from modelapp.nulltext import ByteText, NullEngine, expected
from modelapp.prompts import GenerationRequest
from modelapp.runtime import Placement
from modelapp.sampling import Sampling
from modelapp.steprun import run_step
from modelapp.steps import Schedule, Step
from modelapp.testing import FakeClock

TEXT = ByteText()
POISON = 7
SLOTS = 3


def decoding(
    prompt: str | bytes = "a cave", max_tokens: int = 5, *, level: int = 1, deadline_s: float | None = None, **more: Any
) -> Decoding:
    """A sequence that is not admitted yet."""
    tokens = prompt.encode() if isinstance(prompt, str) else prompt
    values: dict[str, Any] = {"n": 1, "seed": None, "stop": (), "stop_tokens": frozenset(), "ignore_end": False}
    request = GenerationRequest(prompt=tuple(tokens), max_tokens=max_tokens, sampling=Sampling(), **{**values, **more})
    return Decoding(
        request, 0, text=TEXT, ends={256}, room=len(tokens) + max_tokens, seed=1, level=level, deadline_s=deadline_s
    )


class Driver:
    """Steps a schedule on a scripted engine, as the generator does, one after the other."""

    def __init__(
        self, *, step_tokens: int = 16, slots: int = SLOTS, queue: int = 64, levels: int = 1, **script: Any
    ) -> None:
        self.clock = FakeClock(10.0)
        self.engine = NullEngine(RuntimeOptions(**script), Placement(slots=slots), wait=lambda *_: None)
        self.schedule = Schedule(Limits(max_queue_rows=queue, levels=levels), slots=slots, step_tokens=step_tokens)
        self.over: dict[Decoding, Any] = {}
        self.steps: list[Step] = []

    def admit(self, *decodings: Decoding) -> None:
        """Let them wait."""
        self.schedule.admit(decodings, self.clock())

    def note(self, one: Decoding, outcome: Any) -> None:
        """An end, of which each has one."""
        assert one not in self.over
        self.over[one] = outcome

    def begin(self) -> Step | None:
        """Plan the next step."""
        step, late = self.schedule.next_step(self.clock())
        for one in late:
            self.note(one, "late")
        return step

    def run(self, step: Step) -> None:
        """Run a planned step and tell what came of it."""
        self.steps.append(step)
        run_step(self.engine, step, clock=self.clock)
        step.infer_s = 0.001 * (20 + step.tokens)
        self.clock.advance(step.infer_s)
        self.schedule.ended(step)
        for one, outcome in step.outcomes.items():
            if one.state is OVER or outcome is None:
                continue
            if isinstance(outcome, BaseException):
                self.note(one, outcome)
                self.schedule.finish([one], self.clock())
                continue
            fragment = one.accept(outcome, self.clock())
            if fragment is not None and fragment.finish_reason:
                self.note(one, "".join(one.texts))
                self.schedule.finish([one], self.clock())

    def step(self) -> Step | None:
        """Plan and run."""
        step = self.begin()
        if step is not None:
            self.run(step)
        return step

    def drain(self) -> None:
        """Step until nothing is left."""
        for _ in range(2000):
            if self.step() is None:
                return
        raise AssertionError("it never came to an end")


def test_sequences_join_and_leave_at_every_step() -> None:
    """A short answer leaves while a long one goes on, and one that waited takes its place in the next step."""
    driver = Driver(slots=2)
    long, short, next_one = decoding("long", 9), decoding("short", 2), decoding("next", 2)
    driver.admit(long, short, next_one)
    driver.step()
    driver.step()
    assert short in driver.over
    assert next_one not in driver.over
    step = driver.step()
    assert step is not None
    assert set(step.fed) == {long, next_one}
    driver.drain()
    assert driver.over == {
        long: expected("long", 9), short: expected("short", 2), next_one: expected("next", 2),
    }  # fmt: skip


def test_a_long_prompt_is_read_in_parts_beside_those_who_are_written_for() -> None:
    """While 1,000 tokens are read, an answer in progress gets a token at every step, and a new short prompt its first
    within three."""
    driver = Driver(step_tokens=64)
    writing = decoding("once upon", 60, ignore_end=True)
    driver.admit(writing)
    for _ in range(6):
        driver.step()
    long = decoding("x" * 1000, 4)
    driver.admit(long)
    driver.step()
    short = decoding("hello", 4)
    driver.admit(short)
    before, steps = len(writing.chosen), 0
    while not short.chosen:
        driver.step()
        steps += 1
    assert steps <= 3
    while not long.chosen:
        driver.step()
        steps += 1
    assert steps > 3
    assert len(writing.chosen) - before == min(steps, 60 - before)
    driver.drain()
    assert driver.over[long] == expected("x" * 1000, 4)


def test_reading_slows_a_step_by_no_more_than_its_share() -> None:
    """While a prompt of 2,000 tokens is read no step takes more than 1.6 times as long as one that only writes, and the
    prompt gets on."""
    driver = Driver(step_tokens=4096, slots=3)
    driver.admit(decoding("a", 500, ignore_end=True), decoding("b", 500, ignore_end=True))
    for _ in range(3):
        driver.step()
    alone_s = driver.steps[-1].infer_s
    long = decoding("y" * 2000, 2, ignore_end=True)
    driver.admit(long)
    before = len(driver.steps)
    while not long.chosen:
        driver.step()
    taken = [step.infer_s / alone_s for step in driver.steps[before:]]
    assert max(taken) <= 1.6
    assert len(taken) < 250


def test_nobody_is_admitted_without_memory_and_nobody_overtakes() -> None:
    """A sequence that finds no memory waits at the door, the smaller ones behind it too, until others have left."""
    driver = Driver(cache_tokens=30)
    first, large, small = decoding("aaaaa", 10, ignore_end=True), decoding("b" * 20, 8), decoding("c", 2)
    driver.admit(first, large, small)
    while first not in driver.over:
        step = driver.step()
        assert step is not None
        assert set(step.fed) <= {first}
    driver.drain()
    assert driver.over[large] == expected("b" * 20, 8)
    assert list(driver.over) == [first, large, small] or list(driver.over) == [first, small, large]
    assert large.started_s <= small.started_s


def test_a_full_queue_refuses_with_the_time_to_come_back() -> None:
    """One sequence more than the queue holds is refused, with all that belong to its request; one that never fits is
    bad input."""
    driver = Driver(queue=2, slots=1)
    driver.admit(decoding(), decoding())
    driver.admit(decoding())  # who has the free slot from the next step on does not wait
    with pytest.raises(QueueFull) as refused:
        driver.admit(decoding())
    assert refused.value.retry_after_s
    with pytest.raises(InvalidInput, match="a request of 3 answers can never fit the queue of 2 answers") as never:
        driver.admit(decoding(), decoding(), decoding())
    assert never.value.field == "n"
    assert driver.schedule.waiting == 3


def test_the_urgent_go_first() -> None:
    """A sequence of a more urgent level gets the next slot."""
    driver = Driver(slots=1, levels=2)
    plain, urgent = decoding("plain", 2, level=2), decoding("urgent", 2, level=1)
    driver.admit(decoding("busy", 3, level=2))
    driver.step()
    driver.admit(plain)
    driver.admit(urgent)
    driver.drain()
    assert list(driver.over).index(urgent) < list(driver.over).index(plain)


def test_an_offender_fails_alone() -> None:
    """A step that a token makes fail is run again in parts: the others' answers are what they are alone."""
    driver = Driver(poison=POISON)
    good, bad, other = decoding("good", 8), decoding(b"bad\x07", 8), decoding("other", 8)
    driver.admit(good, bad, other)
    driver.drain()
    assert driver.over[good] == expected("good", 8)
    assert driver.over[other] == expected("other", 8)
    assert type(driver.over[bad]).__name__ == "ScriptedStepError"
    assert driver.engine.used_slots == 0


def test_logits_without_a_number_are_an_error() -> None:
    """NaN after one sequence fails that one, and never draws a token."""
    driver = Driver(nan_on=ord("z"))
    good, bad = decoding("good", 4), decoding("zz", 4)
    driver.admit(good, bad)
    driver.drain()
    assert isinstance(driver.over[bad], ModelFailed)
    assert driver.over[good] == expected("good", 4)


def test_a_step_that_nobody_waits_for_is_told_as_stuck() -> None:
    """When all who take part in a running step have left, the model is stuck a second later, until it ends."""
    driver = Driver()
    one = decoding("hang", 5)
    driver.admit(one)
    step = driver.begin()
    assert step is not None
    driver.schedule.drop([one], driver.clock())
    assert not driver.schedule.is_stuck(driver.clock())
    driver.clock.advance(1.1)
    assert driver.schedule.is_stuck(driver.clock())
    driver.run(step)
    assert not driver.schedule.is_stuck(driver.clock())
    driver.drain()
    assert driver.engine.used_slots == 0


def test_who_leaves_later_does_not_put_off_that_it_is_stuck() -> None:
    """The time counts from when the running step was deserted, however many give up waiting for it."""
    driver = Driver(slots=1)
    one, waiting = decoding("hang", 5), decoding("waits", 5)
    driver.admit(one, waiting)
    step = driver.begin()
    assert step is not None
    driver.schedule.drop([one], driver.clock())
    driver.clock.advance(0.9)
    driver.schedule.drop([waiting], driver.clock())
    driver.clock.advance(0.2)
    assert driver.schedule.is_stuck(driver.clock())
    driver.run(step)
    driver.drain()


def test_no_more_are_called_to_the_door_than_there_are_slots() -> None:
    """Whoever waits there for memory has a slot in prospect; the urgent come after those that were called before."""
    driver = Driver(slots=3, levels=2, cache_tokens=40)
    large = [decoding(name * 20, 8, level=2, ignore_end=True) for name in "abcde"]
    driver.admit(*large)
    for _ in range(3):
        driver.step()
    urgent = decoding("urgent", 2)
    driver.admit(urgent)
    driver.drain()
    order = list(driver.over)
    assert order.index(urgent) < min(order.index(one) for one in large[3:])


def test_other_bounds_hold_from_the_next_step_on() -> None:
    """Fewer tokens of a step and another queue bound are obeyed; whoever waits keeps the place."""
    driver = Driver(slots=1)
    driver.admit(decoding("x" * 40, 2), decoding("y", 2))
    driver.schedule.retune(Limits(max_queue_rows=1), step_tokens=4)
    step = driver.step()
    assert step is not None
    assert step.tokens == 4
    with pytest.raises(QueueFull):
        driver.admit(decoding())
    driver.drain()
    assert len(driver.over) == 2


PROMPTS = st.text("abcxyz ", min_size=1, max_size=30)


class GenerationMachine(RuleBasedStateMachine):
    """Requests of any size and urgency, clients that leave at any moment, deadlines, poison, memory that is short."""

    @initialize(
        slots=st.integers(1, 4), step_tokens=st.integers(4, 40), cache_tokens=st.integers(50, 200),
        levels=st.integers(1, 3),
    )  # fmt: skip
    def begin(self, slots: int, step_tokens: int, cache_tokens: int, levels: int) -> None:
        """An engine and its schedule."""
        self.levels = levels
        self.driver = Driver(
            slots=slots, step_tokens=step_tokens, queue=12, levels=levels, cache_tokens=cache_tokens, poison=POISON
        )
        self.admitted: list[Decoding] = []
        self.dropped: set[Decoding] = set()
        self.planned: Step | None = None

    @rule(
        prompt=PROMPTS, max_tokens=st.integers(1, 12), poison=st.booleans(), level=st.integers(1, 3),
        patience_s=st.none() | st.floats(0.0, 0.2), stop=st.sampled_from(((), ("e",), ("ab", "th"))),
    )  # fmt: skip
    def ask(
        self, prompt: str, max_tokens: int, poison: bool, level: int, patience_s: float | None, stop: tuple[str, ...]
    ) -> None:
        """A request arrives."""
        deadline_s = None if patience_s is None else self.driver.clock() + patience_s
        tokens = prompt.encode() + (bytes([POISON]) if poison and len(prompt) % 3 == 0 else b"")
        one = decoding(tokens, max_tokens, level=min(level, self.levels), deadline_s=deadline_s, stop=stop)
        try:
            self.driver.admit(one)
        except QueueFull:
            return
        self.admitted.append(one)

    @precondition(lambda self: self.planned is None)
    @rule()
    def plan(self) -> None:
        """A step is planned, and runs for a while."""
        self.planned = self.driver.begin()

    @precondition(lambda self: self.planned is not None)
    @rule()
    def run_planned(self) -> None:
        """It has run."""
        planned, self.planned = self.planned, None
        assert planned is not None
        self.driver.run(planned)
        assert planned.tokens <= max(self.driver.schedule.step_tokens, len(planned.writing) + 1)

    @precondition(lambda self: self.admitted)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        """A client leaves."""
        one = data.draw(st.sampled_from(self.admitted))
        if one not in self.driver.over:
            self.driver.schedule.drop([one], self.driver.clock())
            self.driver.note(one, "left")

    @rule(seconds=st.floats(0.0, 0.1))
    def wait(self, seconds: float) -> None:
        """Time passes, and whoever is overdue is told."""
        self.driver.clock.advance(seconds)
        for one in self.driver.schedule.expire(self.driver.clock()):
            self.driver.note(one, "late")

    @invariant()
    def slots_are_accounted_for(self) -> None:
        """No more sequences than slots, and none of them twice."""
        slots = [one.slot for one in self.driver.schedule.active]
        assert len(slots) == len(set(slots)) <= self.driver.schedule.slots
        assert self.driver.engine.used_slots <= self.driver.schedule.slots

    def teardown(self) -> None:
        """At the end everyone has one outcome, the right one, and the engine is empty."""
        if not hasattr(self, "driver"):
            return
        if self.planned is not None:
            self.driver.run(self.planned)
        self.driver.drain()
        assert set(self.driver.over) == set(self.admitted)
        assert self.driver.engine.used_slots == 0
        assert self.driver.schedule.idle
        for one, outcome in self.driver.over.items():
            poisoned = POISON in one.request.prompt
            if outcome in ("left", "late"):
                continue
            if poisoned:
                assert type(outcome).__name__ == "ScriptedStepError"
                continue
            whole = expected(bytes(one.request.prompt).decode(), one.request.max_tokens)
            cuts = [at for stop in one.request.stop if (at := whole.find(stop)) >= 0]
            assert outcome == whole[: min(cuts, default=len(whole))]


TestGenerationMachine = GenerationMachine.TestCase
TestGenerationMachine.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
