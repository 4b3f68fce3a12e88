"""What a step took, shared among those whose it was."""

import asyncio

import pytest

from modelapp.call import Call
from modelapp.decoding import Decoding
from modelapp.nulltext import ByteText
from modelapp.observing import ModelRun, Observers
from modelapp.prompts import GenerationRequest
from modelapp.sampling import Chosen
from modelapp.stepmeter import StepMeter
from modelapp.steps import Step


class Watcher:
    """Keeps the steps it is told of."""

    def __init__(self) -> None:
        self.runs: list[ModelRun] = []

    def request_ended(self, call: Call) -> None:
        """Not looked at."""

    def run_ended(self, run: ModelRun) -> None:
        """Keep it."""
        self.runs.append(run)

    def close(self) -> None:
        """Nothing to write."""


def sequence(prompt: str) -> Decoding:
    """One that arrived at 1.0 s."""
    request = GenerationRequest(prompt=tuple(prompt.encode()), max_tokens=9)
    made = Call(1.0)
    made.protocol = "natural"
    return Decoding(request, 0, text=ByteText(), ends=(), room=20, seed=1, arrived_s=1.0, call=made)


def test_a_step_is_shared_by_tokens() -> None:
    """A sequence that was fed three of four tokens has three quarters of the step's seconds; first tokens and gaps are
    told apart."""

    async def work() -> None:
        watcher = Watcher()
        meter = StepMeter("story", "cpu", Observers([watcher]))
        reading, writing = sequence("abc"), sequence("a")
        writing.accept(Chosen(97, 0.0, ()), 2.0)
        step = Step(release=[], joining=[], reading=[reading], writing=[writing], budget=9, started_s=3.0)
        step.fed = {reading: 3, writing: 1}
        step.outcomes = {reading: Chosen(98, 0.0, ()), writing: Chosen(0, 0.0, ())}
        step.infer_s = 0.8
        with meter.timed(step):
            pass
        meter.account(step, 4.0)
        (run,) = watcher.runs
        assert (run.step, run.rows, run.cost, run.tokens_in) == (True, 2, 4, 3)
        assert (run.firsts_s, run.gaps_s) == ((3.0,), (2.0,))
        assert reading.call.device_s == pytest.approx(0.6)
        assert writing.call.device_s == pytest.approx(0.2)
        assert meter.figures.rows == 2
        assert meter.figures.sizes[2].around_s == pytest.approx(0.2)

    asyncio.run(work())


def test_a_request_counts_once() -> None:
    """Its time is split where it got its slot, and its tokens stand on the call."""

    async def work() -> None:
        meter = StepMeter("story", "cpu", Observers())
        one = sequence("abc")
        one.started_s = 1.5
        one.accept(Chosen(97, 0.0, ()), 2.0)
        meter.finished(one.call, [one], 3.0)
        assert one.call.timings_ms == {"queue": 500.0, "execute": 1500.0}
        assert (one.call.tokens_in, one.call.tokens_out) == (3, 1)
        assert (meter.figures.answered, meter.figures.queue_s, meter.figures.infer_s) == (1, 0.5, 1.5)
        waited = sequence("late")
        meter.failed(waited.call, [waited], 3.0)
        assert waited.call.timings_ms["execute"] == 0
        assert meter.figures.failed == 1

    asyncio.run(work())
