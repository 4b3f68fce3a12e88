"""What one release of an app did: its requests and its models' runs, counted by the labels of the metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from modelapp.app import App
from modelapp.errors import RequestError, request_codes
from modelapp.tasks import TASKS
from modelapp_metrics.metric import Metric, Source
from modelapp_metrics.table import of
from modelapp_metrics.tally import Column, Sums, Tally

REQUEST_NUMBERS = ("total_s", "queue_s", "first_s", "bytes_in", "bytes_out", "rows", "device_s", "cpu_s")
RUN_NUMBERS = ("run_s", "held_s", "infer_s", "cpu_s", "rows", "cost", "extra_runs")
TOKEN_NUMBERS = ("prompt_tokens", "generated_tokens", "first_token_s", "next_token_s")
_STEPS: Mapping[str, float] = {"cost": 1e-3}
_NANOSECOND = 1e-9
_OWN_CODES = 32
"""Codes of errors that an app defines itself and that are told apart; their number must be bounded."""
OTHER = "other"
_REMEMBERED = 10_000  # raw keys may hold what clients chose, so what is kept of them must be bounded


class RequestKey(NamedTuple):
    """What a request is counted by. `status` tells only whose fault an unknown outcome was."""

    endpoint: str
    model: str
    protocol: str
    outcome: str
    token: str
    status: int = 0


class RunKey(NamedTuple):
    """What a run is counted by."""

    model: str
    device: str
    outcome: str


class TokenKey(NamedTuple):
    """What tokens are counted by."""

    model: str


KeyKind = TypeVar("KeyKind", RequestKey, RunKey, TokenKey)
RawKey = tuple[Any, ...]
"""The values of one of these keys."""


class Ledger:
    """The counts of one release. Keys of requests are made safe: what a client chose never becomes a label.

    `retired_s`: since when another release is served in its place.
    """

    def __init__(self, app: App) -> None:
        limits = sorted(_limits(app))
        self.requests: Tally[RequestKey] = Tally(_columns("requests", REQUEST_NUMBERS, limits))
        self.runs: Tally[RunKey] = Tally(_columns("runs", RUN_NUMBERS, limits))
        self.tokens: Tally[TokenKey] = Tally(_columns("tokens", TOKEN_NUMBERS, limits))
        self.retired_s: float | None = None
        self._app = app
        self._codes = {"ok", OTHER, *request_codes()}
        self._own: set[str] = set()
        self._rows: dict[RawKey, int] = {}
        self._expect()

    def _expect(self) -> None:
        """Begin at zero what is bound to come, and what an alert must see the first of."""
        faults = sorted(code for code, status in request_codes().items() if status >= 500)
        for endpoint in self._app.endpoints.values():
            for arm in endpoint.split.arms if endpoint.split else ("",):
                for outcome in ("ok", *faults):
                    self.requests.row(RequestKey(endpoint.name, arm, "natural", outcome, ""))
        for model in self._app.models.values():
            if model.device != "auto":  # which it will be is not known yet
                self.runs.row(RunKey(model.name, model.device, "ok"))
            if model.task and TASKS[model.task].generates:
                self.tokens.row(TokenKey(model.name))

    def add_requests(self, keys: Sequence[RawKey], numbers: bytes) -> None:
        """Count requests, at most MOST_EVENTS; the numbers of all of them stand in a row, each a double."""
        self._add(self.requests, lambda raw: self._safe(RequestKey(*raw)), keys, numbers)

    def add_runs(self, keys: Sequence[RawKey], numbers: bytes) -> None:
        """Count runs, likewise."""
        self._add(self.runs, lambda raw: RunKey(*raw), keys, numbers)

    def add_tokens(self, keys: Sequence[RawKey], numbers: bytes) -> None:
        """Count tokens, likewise: those of prompts as they are read, each generated one with the time that it took."""
        self._add(self.tokens, lambda raw: TokenKey(*raw), keys, numbers)

    def sums(self, metric: Metric, labels: Sequence[str]) -> Mapping[tuple[str, ...], Sums]:
        """What a metric came to, by the values of these labels. Without a column, events are counted."""
        if metric.source == "requests":
            return _sums(self.requests, metric, labels)
        if metric.source == "tokens":
            return _sums(self.tokens, metric, labels)
        return _sums(self.runs, metric, labels)

    def bounds(self, metric: Metric) -> tuple[float, ...]:
        """The bounds of a histogram's buckets, in this release."""
        columns = {"requests": self.requests.columns, "runs": self.runs.columns, "tokens": self.tokens.columns}
        return next((column.bounds for column in columns[metric.source] if column.name == metric.column), ())

    def _add(
        self, tally: Tally[KeyKind], make: Callable[[RawKey], KeyKind], keys: Sequence[RawKey], numbers: bytes
    ) -> None:
        places = self._rows
        if len(places) > _REMEMBERED:
            places.clear()
        rows = []
        for raw in keys:
            row = places.get(raw)
            if row is None:
                row = places[raw] = tally.row(make(raw))
            rows.append(row)
        tally.add(rows, np.frombuffer(numbers).reshape(len(keys), -1))

    def _safe(self, key: RequestKey) -> RequestKey:
        endpoint = key.endpoint if key.endpoint in self._app.endpoints else ""
        model = key.model if key.model in self._app.models else ""
        return key._replace(endpoint=endpoint, model=model, outcome=self._outcome(key), status=0)

    def _outcome(self, key: RequestKey) -> str:
        """The outcome as it is where it is known; one that fails the promise on errors keeps failing it."""
        code = key.outcome
        if code in self._codes or code in self._own:
            return code
        if key.status >= 500 or not code:
            return RequestError.code
        if len(self._own) < _OWN_CODES:
            self._own.add(code)
            return code
        return OTHER


def _sums(tally: Tally[KeyKind], metric: Metric, labels: Sequence[str]) -> Mapping[tuple[str, ...], Sums]:
    def group(key: KeyKind) -> tuple[str, ...] | None:
        if metric.kind == "histogram" and isinstance(key, RequestKey) and not (key.endpoint or key.model):
            return None  # health and unknown paths have counts, and no times that matter
        return tuple([str(getattr(key, label)) for label in labels])

    if metric.column:
        return tally.sums(metric.column, group)
    return {name: Sums(float(count)) for name, count in tally.events(group).items()}


def _columns(source: Source, names: Sequence[str], limits: Sequence[float]) -> list[Column]:
    metrics = {metric.column: metric for metric in of(source) if metric.kind == "histogram"}
    return [_column(name, metrics.get(name), limits) for name in names]


def _column(name: str, metric: Metric | None, limits: Sequence[float]) -> Column:
    step = _NANOSECOND if name.endswith("_s") else _STEPS.get(name, 1.0)
    bounds = metric.buckets if metric else ()
    return Column(name, step, tuple(sorted({*bounds, *limits})) if metric and metric.promised else bounds)


def _limits(app: App) -> Iterator[float]:
    """What the app promises of its answers' times, in seconds."""
    for latency in app.guarantees.latency.values():
        for limit in (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.p95_first_token_ms):
            if limit is not None:
                yield limit / 1000
