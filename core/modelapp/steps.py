"""The scheduler of generation, without threads, loops or clocks: who joins a step, who is fed how much, who leaves.

Every sequence that is admitted is named exactly once: by `next_step` or `expire` as too late, by `finish` when it has
its outcome, by `bury` when the model dies, or by its own waiter, who gives up with `drop`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import attrs

from modelapp.batching import OVER, STUCK_S, WAITING, Limits, Work
from modelapp.batchqueue import BatchQueue
from modelapp.costs import CostLine
from modelapp.decoding import Decoding
from modelapp.dispatching import check_size
from modelapp.drainrate import DrainRate
from modelapp.errors import QueueFull
from modelapp.readingpace import ReadingPace
from modelapp.sampling import Chosen


class Step:
    """One run of the model. Whoever runs it first empties `release`, then admits `joining` while there is room."""

    __slots__ = (
        "budget", "deserted_s", "extra_runs", "fed", "infer_s", "joining", "outcomes", "reading",
        "release", "started_s", "writing",
    )  # fmt: skip

    def __init__(
        self,
        *,
        release: list[int],
        joining: Sequence[Decoding],
        reading: Sequence[Decoding],
        writing: Sequence[Decoding],
        budget: int,
        started_s: float,
    ) -> None:
        self.release = release
        """Slots to take back; whoever runs the step takes each off the list."""
        self.joining = joining
        self.reading = reading
        self.writing = writing
        self.budget = budget
        """The most tokens of prompts."""
        self.started_s = started_s
        self.infer_s = 0.0
        """Seconds that the model itself took."""
        self.extra_runs = 0
        self.fed: dict[Decoding, int] = {}
        """Tokens each was fed."""
        self.outcomes: dict[Decoding, Chosen | BaseException | None] = {}
        """For each that took part: its next token, its error, or None where it has more to read."""
        self.deserted_s: float | None = None
        """Since when nobody waits for it any more."""

    @property
    def members(self) -> Iterator[Decoding]:
        """All that may take part."""
        yield from self.writing
        yield from self.reading
        yield from self.joining

    @property
    def tokens(self) -> int:
        """Tokens that were fed."""
        return sum(self.fed.values())


class Schedule:
    """One model's sequences. Times are seconds on a clock that the caller reads.

    `slots` of the engine, `step_tokens` the most tokens of a step.
    """

    def __init__(self, limits: Limits, *, slots: int, step_tokens: int) -> None:
        self.limits = limits
        """`max_queue_rows` and `levels` are obeyed; the rest of a batch's limits means nothing here."""
        self.slots = slots
        self.step_tokens = step_tokens
        self.pace = ReadingPace()
        self.active: dict[Decoding, None] = {}
        """Those that have a slot, the oldest first."""
        self._queue = BatchQueue(limits, CostLine())
        self._door: list[Decoding] = []
        """Those that are next, and may have found no memory yet."""
        self._release: list[int] = []
        self._drain = DrainRate()
        self.running: Step | None = None

    def retune(self, limits: Limits, *, step_tokens: int) -> None:
        """Keep to other bounds. Whoever waits keeps the place."""
        self.limits, self.step_tokens = limits, step_tokens
        self._queue.retune(limits)

    @property
    def waiting(self) -> int:
        """Sequences without a slot."""
        return self._queue.rows + len(self._door)

    @property
    def _free_slots(self) -> int:
        """Slots that nobody has, nor is next to get."""
        return self.slots - len(self.active) - len(self._door)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not (self.running or self.active or self._door or self._queue.rows)

    def admit(self, decodings: Sequence[Decoding], now_s: float) -> None:
        """Let the sequences of one request wait, all or none. Raises QueueFull with the time until there should be
        room, and InvalidInput where there never can be."""
        check_size(len(decodings), self.limits, what="answers", field="n")
        waiting = self._queue.rows - self._free_slots  # beyond those who have a slot from the next step on
        if waiting + len(decodings) > self.limits.max_queue_rows:
            raise QueueFull(
                f"{max(0, waiting)} sequences are waiting and the queue holds {self.limits.max_queue_rows}",
                retry_after_s=self._drain.drain_s(self.waiting, now_s),
            )
        self._queue.append(decodings, now_s)

    def next_step(self, now_s: float) -> tuple[Step | None, list[Decoding]]:
        """The step that starts now, None where one runs or there is nothing to do; and who is too late."""
        late: list[Decoding] = []
        if self.running is not None:
            return None, late
        self._call_up(now_s, late)
        if not (self.active or self._door or self._release):
            return None, late
        writing = [one for one in self.active if not one.reading]
        step = Step(
            release=self._release,
            joining=tuple(self._door),
            reading=[one for one in self.active if one.reading],
            writing=writing,
            budget=self.pace.share(len(writing), self.step_tokens - len(writing)),
            started_s=now_s,
        )
        self._release = []
        self._drain.began(now_s)
        self.running = step
        return step, late

    def _call_up(self, now_s: float, late: list[Decoding]) -> None:
        """Let the next ones to the door, as many as there are slots. Nobody overtakes one who waits for memory."""
        free = self._free_slots
        if free <= 0 or not self._queue.rows:
            return
        self._queue.retune(attrs.evolve(self.limits, max_rows=free, max_cost=0.0, max_wait_s=0.0))
        overdue: list[Work] = []
        batch = self._queue.take(now_s, overdue)
        if batch is not None:
            self._door += cast("list[Decoding]", batch.works)
        for one in overdue:
            one.state = OVER
        late += cast("list[Decoding]", overdue)

    def ended(self, step: Step) -> None:
        """A step has run, whatever came of it. Those that it admitted are active, unless nobody waits for them."""
        self.running = None
        self._release[:0] = step.release  # where it failed before it came so far
        self._door = [
            one for one in self._door if one.slot is None and one.state is not OVER and one not in step.outcomes
        ]
        for one in step.joining:
            if one.slot is not None and one.state is OVER:
                self._free(one)
            elif one.slot is not None:
                self.active[one] = None
        if step.fed and not step.extra_runs and not any(isinstance(out, Exception) for out in step.outcomes.values()):
            writing = sum(not one.reading for one in step.fed)
            self.pace.learn(writing, step.tokens - writing, step.infer_s)

    def finish(self, decodings: Iterable[Decoding], now_s: float) -> None:
        """These have their outcome: their slots are free."""
        finished = 0
        for one in decodings:
            finished += one.state is not OVER
            self._leave(one)
        if finished or self.idle:
            self._drain.ended(finished, now_s, more=not self.idle)

    def drop(self, decodings: Iterable[Decoding], now_s: float) -> None:
        """Nobody waits for these any more: they leave at the next step."""
        for one in decodings:
            self._leave(one)
        step = self.running
        if step is not None and step.deserted_s is None and all(one.state is OVER for one in step.members):
            step.deserted_s = now_s

    def _leave(self, one: Decoding) -> None:
        if one.state is OVER:
            return
        if one.state is WAITING:
            self._queue.remove(one)
        elif one in self._door:
            self._door.remove(one)
        one.state = OVER
        if one in self.active:  # a slot that is being given by the running step is freed when that has ended
            del self.active[one]
            self._free(one)

    def _free(self, one: Decoding) -> None:
        if one.slot is not None:
            self._release.append(one.slot)
            one.slot = None

    def expire(self, now_s: float) -> list[Decoding]:
        """Every sequence, waiting or running, whose deadline has passed; they leave."""
        overdue = [one for one in self if one.is_late(now_s)]
        self.drop(overdue, now_s)
        return overdue

    def next_deadline_s(self) -> float | None:
        """The earliest deadline of a sequence that waits or runs."""
        return min((one.deadline_s for one in self if one.deadline_s is not None), default=None)

    def bury(self, now_s: float) -> list[Decoding]:
        """The model is dead: every sequence leaves."""
        everyone = list(self)
        self.drop(everyone, now_s)
        return everyone

    def is_stuck(self, now_s: float) -> bool:
        """Whether a step runs that nobody has waited for in the last second: nobody can be served."""
        since_s = None if self.running is None else self.running.deserted_s
        return since_s is not None and now_s - since_s > STUCK_S

    def __iter__(self) -> Iterator[Decoding]:
        """All that are not over."""
        yield from [one for one in self.active if one.state is not OVER]
        yield from [one for one in self._door if one.state is not OVER]
        yield from cast("list[Decoding]", list(self._queue))
