"""Requests and runs as OpenTelemetry spans, made after the fact from what the core tells."""

from collections.abc import Mapping
from contextvars import copy_context
from time import monotonic_ns, time_ns
from typing import Any

import attrs
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from modelapp.call import Call
from modelapp.observing import POLLED, ModelRun
from modelapp_metrics.exporting import flush

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_SERVER_ERROR = 500
_NOBODY = context.Context()


@attrs.define
class _Traced:
    """A request's span, and what turns times of `time.monotonic` into nanoseconds since 1970."""

    span: Span
    context: SpanContext
    recording: bool
    offset_ns: int

    def at_ns(self, monotonic_s: float) -> int:
        return int(monotonic_s * 1e9) + self.offset_ns


class Tracer:
    """An observer that makes the spans: one a request, below it queue, batch and execute, and one a run of a model.

    The span of a run belongs to the trace of its first sampled request and links to those of all.
    """

    def __init__(self, provider: TracerProvider, *, scheme: str = "http") -> None:
        self._provider = provider
        self._scheme = scheme
        self._tracer = provider.get_tracer("modelapp")
        self._headers = tuple(sorted(propagate.get_global_textmap().fields))

    def request_started(self, call: Call) -> None:
        """Begin its span, and make that the current context of the request's task and of work done for it elsewhere."""
        if call.protocol in POLLED:
            return
        surroundings = self._parent(call)
        offset_ns = time_ns() - monotonic_ns()
        span = self._tracer.start_span(
            _name(call),
            surroundings,
            SpanKind.SERVER,
            self._first_attributes(call),
            start_time=int(call.arrived_s * 1e9) + offset_ns,
        )
        told, recording = span.get_span_context(), span.is_recording()
        call.span = _Traced(span, told, recording, offset_ns)
        call.traceresponse = f"00-{told.trace_id:032x}-{told.span_id:016x}-{int(told.trace_flags):02x}"
        context.attach(trace.set_span_in_context(span, surroundings))  # ends with the task
        if recording:
            call.surroundings = copy_context()

    def _parent(self, call: Call) -> context.Context:
        """The caller's context; an empty one where it sent none."""
        headers: Mapping[str, str] = call.headers
        carrier = {name: value for name in self._headers if (value := headers.get(name))}
        if call.traceparent:
            carrier["traceparent"] = call.traceparent
        return propagate.extract(carrier, _NOBODY) if carrier else _NOBODY

    def _first_attributes(self, call: Call) -> dict[str, Any]:
        """What a sampler may decide by."""
        if not call.method:
            return {"rpc.system": call.protocol, "rpc.method": call.route}
        method = call.method if call.method in _METHODS else "_OTHER"
        found = {"http.request.method": method, "url.scheme": self._scheme}
        if call.route:
            found["http.route"] = call.route
            if "{" not in call.route:
                found["url.path"] = call.route
        return found

    def run_ended(self, run: ModelRun) -> None:
        """Make the span of a run, where any of its requests is sampled. A step has none: a request has hundreds."""
        if run.step:
            return
        sampled = [call for call in run.calls if call.span is not None and call.span.recording]
        if not sampled:
            return
        mates: list[_Traced] = [call.span for call in dict.fromkeys(sampled)]  # one may be there in several parts
        first = mates[0]
        span = self._tracer.start_span(
            f"run {run.model}",
            trace.set_span_in_context(first.span, _NOBODY),
            SpanKind.INTERNAL,
            {
                "modelapp.model": run.model,
                "modelapp.device": run.device,
                "modelapp.batch.rows": run.rows,
                "modelapp.batch.requests": len(set(run.calls)),
                "modelapp.batch.extra_runs": run.extra_runs,
                "modelapp.outcome": run.outcome,
            },
            [Link(mate.context) for mate in mates],
            start_time=first.at_ns(run.started_s),
        )
        if run.outcome != "ok":
            _fail(span, run.outcome)
        span.end(first.at_ns(run.ended_s))
        run.span = span.get_span_context()

    def request_ended(self, call: Call) -> None:
        """End its span, with those of its times below it."""
        if call.span is None:  # no route takes it
            self.request_started(call)
        traced: _Traced | None = call.span
        if traced is None or not traced.recording:
            return
        for run in dict.fromkeys(call.runs):
            self._tell_run(call, run, traced)
        span = traced.span
        span.set_attributes(_last_attributes(call))
        if call.status >= _SERVER_ERROR:
            _fail(span, call.outcome)
        span.end(traced.at_ns(call.ended_s))

    def _tell_run(self, call: Call, run: ModelRun, traced: _Traced) -> None:
        """Its way through one run: in the queue, held for company, executed."""
        held_from_s = run.started_s - run.held_s
        queued_s = min([at_s for mate, at_s in zip(run.calls, run.queued_s, strict=False) if mate is call] or [0.0])
        if 0.0 < queued_s < held_from_s:
            self._child("queue", traced, queued_s, held_from_s, run)
        if run.held_s:
            self._child("batch", traced, max(queued_s, held_from_s), run.started_s, run)
        self._child("execute", traced, run.started_s, run.ended_s, run)

    def _child(self, name: str, traced: _Traced, from_s: float, to_s: float, run: ModelRun) -> None:
        links = [Link(run.span)] if name == "execute" and run.span is not None else None
        parent = trace.set_span_in_context(traced.span, _NOBODY)
        span = self._tracer.start_span(
            name,
            parent,
            SpanKind.INTERNAL,
            {"modelapp.model": run.model, "modelapp.batch.rows": run.rows},
            links,
            start_time=traced.at_ns(from_s),
        )
        span.end(traced.at_ns(to_s))

    def close(self) -> None:
        """Send what is left."""
        flush(self._provider)


def _name(call: Call) -> str:
    if not call.method:
        return call.route or call.protocol
    return f"{call.method} {call.route}" if call.route else "HTTP"


def _last_attributes(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {
        "modelapp.request_id": call.id,
        "modelapp.release": call.release,
        "modelapp.endpoint": call.endpoint,
        "modelapp.model": call.model,
        "modelapp.arm": call.arm,
        "modelapp.token": call.token,
        "modelapp.outcome": call.outcome,
        "modelapp.rows": call.rows,
        "modelapp.tokens_in": call.tokens_in,
        "modelapp.tokens_out": call.tokens_out,
    }
    if call.method:
        found["http.response.status_code"] = call.status
    return {name: value for name, value in found.items() if value}


def _fail(span: Span, outcome: str) -> None:
    span.set_attribute("error.type", outcome)
    span.set_status(Status(StatusCode.ERROR))
