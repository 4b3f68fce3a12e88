"""Runs a batch, on the loop or on a thread: offenders set apart, time and processor seconds measured."""

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, thread_time
from typing import Any, NamedTuple, Protocol

from modelapp.batching import OVER, Batch, Part, Work
from modelapp.call import client_left, too_late
from modelapp.cpuclock import clock_of_this_loop
from modelapp.current import work_for
from modelapp.errors import Cancelled
from modelapp.isolation import Isolated, run_isolated
from modelapp.observing import Observers
from modelapp.runtime import Run


class Executes(Protocol):
    """What a batcher runs."""

    def run(self, parts: Sequence[Part], run: Run) -> list[Any]:
        """Run the parts together, and add to `run.infer_s`. One answer or error a part; raises where all failed."""
        ...


class Ended(NamedTuple):
    """A run that has ended: one outcome a work, how long all took, and what of the processor where that was watched."""

    outcomes: Sequence[Any]
    seconds: float
    cpu_s: float = 0.0
    extra_runs: int = 0


class Runner:
    """Runs batches of one model. Made on the thread of the loop; `run` may be called on any, and never raises."""

    def __init__(self, execution: Executes, observers: Observers, clock: Callable[[], float] = monotonic) -> None:
        self._execution = execution
        self._clock = clock
        self._observers = observers
        self._cpu = clock_of_this_loop()

    def run(self, batch: Batch, *, inline: bool, rerun: bool) -> Ended:
        """Run all works together; where that fails and `rerun` allows it, search the offender."""
        watched = self._observers.watching
        begun = 0.0 if not watched else thread_time() if inline else self._cpu.begin()
        started_s = self._clock()
        calls = tuple([work.call for work in batch.works])
        isolated: Isolated[Any] = work_for(
            calls, run_isolated, batch.works, partial(self._attempt, batch.run), split=rerun
        )
        seconds = self._clock() - started_s
        cpu_s = 0.0 if not watched else thread_time() - begun if inline else self._cpu.end(begun)
        return Ended(isolated.outcomes, seconds, cpu_s, isolated.extra_runs)

    def run_lone(self, part: Part, run: Run) -> Ended:
        """Run the only part of a request in that request's own task."""
        watched = self._observers.watching
        begun = thread_time() if watched else 0.0
        started_s = self._clock()
        try:
            outcome = self._execution.run((part,), run)[0]
        except BaseException as error:  # an outcome like any other; a model may also call sys.exit
            outcome = error
        return Ended((outcome,), self._clock() - started_s, thread_time() - begun if watched else 0.0)

    def _attempt(self, run: Run, works: Sequence[Work]) -> Sequence[Any]:
        """One run of a batch, or of a part of it once more; whom nobody waits for by now is left out."""
        if run.cancelled:
            raise Cancelled("nobody waits for this run any more")
        now_s = self._clock()
        wanted = [work for work in works if work.state is not OVER and not _is_gone(work) and not work.is_late(now_s)]
        answers = self._execution.run([work.part for work in wanted], run) if wanted else ()
        if len(wanted) == len(works):
            return answers
        found = dict(zip(wanted, answers, strict=True))
        return [found[work] if work in found else client_left() if _is_gone(work) else too_late() for work in works]


def _is_gone(work: Work) -> bool:
    """Whether its client left without the queue having been told: quick requests are not watched."""
    return work.call is not None and work.call.gone
