"""What a replica tells whoever watches it: every request that has ended, and every run of a model."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from modelapp.call import Call

log = logging.getLogger("modelapp")

POLLED = frozenset({"health", "metrics"})
"""Protocols whose requests come every few seconds and tell nothing."""


class ModelRun:
    """One run of a model, batch mates and all. Times are seconds of `time.monotonic`.

    `queued_s`: when each of `calls` came into the queue. `held_s`: how long the idle model waited for company.
    `infer_s`: what the model itself took. `outcome` is "ok" where any of `calls` got an answer, else the code of the
    error.

    `step`: one step of a model that generates. Its `rows` are sequences, its `cost` the tokens that it was fed,
    `tokens_in` those of them that belong to prompts. Each sequence that was given a token stands in one of two: in
    `firsts_s` with the time since it came, where that was its first, else in `gaps_s` with the time since its last.
    """

    __slots__ = (
        "calls", "cost", "cpu_s", "device", "ended_s", "extra_runs", "firsts_s", "gaps_s", "held_s", "infer_s",
        "model", "outcome", "queued_s", "rows", "span", "started_s", "step", "tokens_in",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        *,
        device: str,
        calls: tuple[Call, ...],
        rows: int,
        cost: float,
        started_s: float,
        ended_s: float,
        held_s: float = 0.0,
        infer_s: float = 0.0,
        cpu_s: float = 0.0,
        extra_runs: int = 0,
        outcome: str = "ok",
        queued_s: tuple[float, ...] = (),
        step: bool = False,
        tokens_in: int = 0,
        firsts_s: tuple[float, ...] = (),
        gaps_s: tuple[float, ...] = (),
    ) -> None:
        self.model = model
        self.device = device
        self.calls = calls
        self.rows = rows
        self.cost = cost
        self.started_s = started_s
        self.ended_s = ended_s
        self.held_s = held_s
        self.infer_s = infer_s
        self.cpu_s = cpu_s
        self.extra_runs = extra_runs
        self.outcome = outcome
        self.queued_s = queued_s
        self.step = step
        self.tokens_in = tokens_in
        self.firsts_s = firsts_s
        self.gaps_s = gaps_s
        self.span: Any = None
        """What a tracer keeps of it."""


class InProgress(NamedTuple):
    """What a model that generates works on now: sequences that have their slots, and the tokens kept of them."""

    sequences: int
    tokens: int


class RunSums:
    """The runs of one number of rows: how many, the time in the model, and the time of the run around that."""

    __slots__ = ("around_s", "infer_s", "runs")

    def __init__(self) -> None:
        self.runs = 0
        self.infer_s = self.around_s = 0.0


class ModelFigures:
    """Sums over a model's runs since it was loaded, the warm-up left out; kept whether anybody watches or not.

    `answered` and `failed` are requests that ran. For those with an answer: `queue_s` that they waited, `infer_s` and
    `around_s` of the runs they were part of. `last_s`: when the last run began, a time of `time.monotonic`.
    """

    __slots__ = ("answered", "around_s", "failed", "failed_s", "infer_s", "last_s", "queue_s", "rows", "runs", "sizes")

    def __init__(self) -> None:
        self.answered = self.failed = self.rows = self.runs = 0
        self.around_s = self.failed_s = self.infer_s = self.last_s = self.queue_s = 0.0
        self.sizes: dict[int, RunSums] = {}

    def add(
        self,
        rows: int,
        *,
        requests: int,
        failed: int,
        queue_s: float,
        run_s: float,
        infer_s: float,
        extra_runs: int,
        started_s: float,
    ) -> None:
        """Add a run of `requests`, who waited `queue_s` altogether."""
        self.rows += rows
        self.runs += 1 + extra_runs
        self.last_s = started_s
        if failed:  # each with its share of the waiting
            share = failed / requests
            self.failed += failed
            self.failed_s += queue_s * share + run_s * failed
            queue_s -= queue_s * share
        answered, around_s = requests - failed, run_s - infer_s
        self.answered += answered
        self.queue_s += queue_s
        self.infer_s += infer_s * answered
        self.around_s += around_s * answered
        sums = self.sizes.get(rows)
        if sums is None:
            sums = self.sizes[rows] = RunSums()
        sums.runs += 1
        sums.infer_s += infer_s
        sums.around_s += around_s


@runtime_checkable
class RequestObserver(Protocol):
    """Who is told of requests alone. Called on the replica's loop for every request: it must be quick.

    An observer that raises is left out from then on, with a warning.
    """

    def request_ended(self, call: Call) -> None:
        """A request has its answer: `call` tells status, outcome, times and all else."""
        ...

    def close(self) -> None:
        """The replica stops: write what is left."""
        ...


@runtime_checkable
class Observer(RequestObserver, Protocol):
    """What a plugin hands over to be told of requests and of runs."""

    def run_ended(self, run: ModelRun) -> None:
        """A model has run; its requests are answered right after. Of one that generates: it has made a step."""
        ...


@runtime_checkable
class StartObserver(Observer, Protocol):
    """An observer that is told of the beginnings of requests too."""

    def request_started(self, call: Call) -> None:
        """A request has its route and is about to be admitted. Called in the request's own task and context."""
        ...


class Observers:
    """All observers of a replica."""

    def __init__(self, observers: Iterable[RequestObserver] = ()) -> None:
        self._all: list[RequestObserver] = []
        self._of_runs: list[Observer] = []
        self._of_starts: list[StartObserver] = []
        self._keep(observers)

    def _keep(self, observers: Iterable[RequestObserver]) -> None:
        # New lists: this may happen while a loop walks the old ones.
        self._all = list(observers)
        self._of_runs = [one for one in self._all if isinstance(one, Observer)]
        self._of_starts = [one for one in self._all if isinstance(one, StartObserver)]

    @property
    def watching(self) -> bool:
        """Whether anybody wants to know of runs."""
        return bool(self._of_runs)

    @property
    def following(self) -> bool:
        """Whether anybody wants to know of the beginnings of requests."""
        return bool(self._of_starts)

    def add(self, observer: RequestObserver) -> None:
        """Tell it too from now on."""
        self._keep([*self._all, observer])

    def request_started(self, call: Call) -> None:
        """Tell of a request that begins."""
        for observer in self._of_starts:
            try:
                observer.request_started(call)
            except Exception as error:
                self._drop(observer, error)

    def request_ended(self, call: Call) -> None:
        """Tell of a request. Its runs are forgotten: they hold their calls, and such circles wait for the collector."""
        for observer in self._all:
            try:
                observer.request_ended(call)
            except Exception as error:
                self._drop(observer, error)
        call.runs = ()

    def run_ended(self, run: ModelRun) -> None:
        """Tell of a run."""
        for observer in self._of_runs:
            try:
                observer.run_ended(run)
            except Exception as error:
                self._drop(observer, error)

    def close(self) -> None:
        """Tell everybody that this was all."""
        everybody = self._all
        self._keep(())
        for observer in everybody:
            self._contained(observer.close)

    def _drop(self, observer: RequestObserver, error: Exception) -> None:
        self._keep([kept for kept in self._all if kept is not observer])
        log.warning("%s failed and is told nothing more", type(observer).__qualname__, exc_info=error)
        self._contained(observer.close)

    def _contained(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception:
            log.warning("an observer did not close", exc_info=True)
