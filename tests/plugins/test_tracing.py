"""Requests and runs become spans: the right parents, times, links and words."""

import asyncio
import contextvars
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from modelapp.call import Call
from modelapp.observing import ModelRun, StartObserver
from modelapp_metrics.tracing import Tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traces:
    """A tracer whose spans are kept here; `share` of the requests without a parent are sampled."""

    def __init__(self, share: float = 1.0) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = Tracer(provider)

    def start(self, at_s: float = 10.0, **facts: Any) -> Call:
        """A request that has its route, in a context of its own."""
        call = Call(at_s)
        given = {"method": "POST", "route": "/score", "protocol": "natural", "endpoint": "score", "release": "rel"}
        for name, value in {**given, **facts}.items():
            setattr(call, name, value)
        contextvars.copy_context().run(self.tracer.request_started, call)
        return call

    def run(self, *calls: Call, started_s: float, ended_s: float, held_s: float = 0.0, **facts: Any) -> ModelRun:
        """The three of them have run together."""
        run = ModelRun(
            "m",
            device="cpu",
            calls=calls,
            rows=len(calls),
            cost=1.0,
            started_s=started_s,
            ended_s=ended_s,
            held_s=held_s,
            queued_s=tuple(call.arrived_s + 0.001 for call in calls),
            **facts,
        )
        for call in calls:
            call.runs += (run,)
        self.tracer.run_ended(run)
        return run

    def end(self, call: Call, at_s: float, status: int = 200, outcome: str = "ok") -> None:
        """It has its answer."""
        call.ended_s, call.status, call.outcome = at_s, status, outcome
        contextvars.copy_context().run(self.tracer.request_ended, call)

    @property
    def spans(self) -> list[ReadableSpan]:
        """All that have ended, in that order."""
        return list(self._kept.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def traces() -> Iterator[Traces]:
    """All requests are sampled."""
    return Traces()


def _ms(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return round((span.end_time - span.start_time) / 1e6, 3)


def test_it_is_told_of_beginnings_ends_and_runs(traces: Traces) -> None:
    """Or the core would tell it less."""
    assert isinstance(traces.tracer, StartObserver)


def test_a_request_is_a_server_span_of_its_route_with_queue_batch_and_execute_below(traces: Traces) -> None:
    """Each with the times that the core measured, one after the other."""
    call = traces.start(10.0)
    traces.run(call, started_s=10.030, ended_s=10.050, held_s=0.009)
    call.rows, call.token = 1, "team"
    traces.end(call, 10.060)
    server = traces.named("POST /score")[0]
    assert server.kind is trace.SpanKind.SERVER
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/score",
        "http.response.status_code": 200,
        "url.path": "/score",
        "url.scheme": "http",
        "modelapp.request_id": call.id,
        "modelapp.release": "rel",
        "modelapp.endpoint": "score",
        "modelapp.token": "team",
        "modelapp.outcome": "ok",
        "modelapp.rows": 1,
    }
    children = {span.name: span for span in traces.spans if span.name in ("queue", "batch", "execute")}
    assert {name: _ms(span) for name, span in children.items()} == {"queue": 20.0, "batch": 9.0, "execute": 20.0}
    assert _ms(server) == 60.0
    for span in children.values():
        assert span.parent is not None
        assert span.parent.span_id == server.context.span_id
        assert span.context.trace_id == server.context.trace_id
        assert span.attributes == {"modelapp.model": "m", "modelapp.batch.rows": 1}
    assert children["queue"].end_time == children["batch"].start_time
    assert children["batch"].end_time == children["execute"].start_time


def test_times_are_told_by_the_clock_of_the_world(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core counts from the start of the machine."""
    monkeypatch.setattr("modelapp_metrics.tracing.time_ns", lambda: 2_000_000_000_000_000_000)
    monkeypatch.setattr("modelapp_metrics.tracing.monotonic_ns", lambda: 100_000_000_000)
    call = traces.start(99.0)
    traces.end(call, 101.0)
    (span,) = traces.spans
    assert (span.start_time, span.end_time) == (1_999_999_999_000_000_000, 2_000_000_001_000_000_000)


def test_a_run_of_three_is_one_span_that_links_all_and_is_linked_by_all(traces: Traces) -> None:
    """It stands in the trace of the first."""
    calls = [traces.start(10.0 + number / 1000) for number in range(3)]
    traces.run(*calls, started_s=10.010, ended_s=10.020)
    for call in calls:
        traces.end(call, 10.021)
    (run,) = traces.named("run m")
    servers = traces.named("POST /score")
    assert {link.context.span_id for link in run.links} == {span.context.span_id for span in servers}
    assert run.parent is not None
    assert run.parent.span_id == servers[0].context.span_id
    executes = traces.named("execute")
    assert len(executes) == 3
    assert all([link.context.span_id for link in span.links] == [run.context.span_id] for span in executes)
    assert len({span.context.trace_id for span in servers}) == 3
    assert run.attributes is not None
    assert (run.attributes["modelapp.batch.rows"], run.attributes["modelapp.batch.requests"]) == (3, 3)


def test_a_request_in_parts_is_linked_once_by_each_run(traces: Traces) -> None:
    """Its parts may share a run."""
    call = traces.start(10.0)
    traces.run(call, call, started_s=10.01, ended_s=10.02)
    traces.run(call, started_s=10.02, ended_s=10.03)
    traces.end(call, 10.04)
    assert [len(span.links) for span in traces.named("run m")] == [1, 1]
    assert len(traces.named("execute")) == 2


@pytest.mark.parametrize("sampled", [True, False])
def test_the_callers_decision_and_trace_are_kept(sampled: bool) -> None:
    """Whatever would be decided here."""
    traces = Traces(0.0 if sampled else 1.0)
    flags = "01" if sampled else "00"
    call = traces.start(headers={"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "tracestate": "a=b"})
    traces.run(call, started_s=10.01, ended_s=10.02)
    traces.end(call, 10.03)
    assert call.traceresponse.startswith(f"00-{TRACE}-")
    assert call.traceresponse.endswith(f"-{flags}")
    assert SPAN not in call.traceresponse
    if not sampled:
        assert traces.spans == []
        return
    server = traces.named("POST /score")[0]
    assert server.parent is not None
    assert (server.parent.is_remote, f"{server.parent.span_id:016x}") == (True, SPAN)
    assert server.context.trace_state == {"a": "b"}


def test_metadata_of_other_doors_carries_the_context_too(traces: Traces) -> None:
    """What the protocol found is as good as a header; such a call is told as one of RPC."""
    call = traces.start(method="", route="inference.GRPCInferenceService/ModelInfer", protocol="grpc")
    call.traceparent = f"00-{TRACE}-{SPAN}-01"
    contextvars.copy_context().run(traces.tracer.request_started, call)
    traces.end(call, 10.1)
    (span,) = traces.spans
    assert span.name == "inference.GRPCInferenceService/ModelInfer"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes is not None
    assert span.attributes["rpc.system"] == "grpc"
    assert "http.response.status_code" not in span.attributes


def test_what_is_not_sampled_makes_no_spans_but_hides_no_mate() -> None:
    """The run is told in the trace of the first that is."""
    traces = Traces(0.0)
    dull = traces.start()
    bright = traces.start(headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    traces.run(dull, bright, started_s=10.01, ended_s=10.02)
    traces.run(dull, started_s=10.02, ended_s=10.03)
    traces.end(dull, 10.03)
    traces.end(bright, 10.03)
    assert {f"{span.context.trace_id:032x}" for span in traces.spans} == {TRACE}
    (run,) = traces.named("run m")
    assert len(run.links) == 1
    assert dull.surroundings is None
    assert bright.surroundings is not None


@pytest.mark.parametrize(
    ("status", "outcome", "failed"),
    [(200, "ok", False), (422, "invalid_input", False), (500, "model_failed", True), (504, "deadline_exceeded", True)],
)
def test_failures_of_the_server_are_errors_and_those_of_callers_are_not(
    traces: Traces, status: int, outcome: str, failed: bool
) -> None:
    """As the conventions for HTTP servers have it."""
    traces.end(traces.start(), 10.1, status, outcome)
    (span,) = traces.spans
    assert span.attributes is not None
    assert (span.status.status_code is trace.StatusCode.ERROR) == failed
    assert span.attributes.get("error.type") == (outcome if failed else None)
    assert span.attributes["modelapp.outcome"] == outcome


def test_a_request_that_no_route_takes_has_a_span_of_few_words(traces: Traces) -> None:
    """Names that callers choose would fill every index."""
    call = Call(10.0, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    call.method = "BREW"
    traces.end(call, 10.1, 404, "not_found")
    (span,) = traces.spans
    assert span.name == "HTTP"
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "_OTHER"
    assert "http.route" not in span.attributes


@pytest.mark.parametrize("protocol", ["health", "metrics"])
def test_probes_and_scrapes_are_not_traced(traces: Traces, protocol: str) -> None:
    """They come every few seconds."""
    call = traces.start(protocol=protocol)
    traces.end(call, 10.1)
    assert traces.spans == []
    assert call.traceresponse == ""


def test_what_a_request_calls_itself_belongs_to_its_trace(traces: Traces) -> None:
    """In its own task, in tasks of it, on threads, and in runs on its behalf; not in another request's."""
    from modelapp import current

    def outgoing() -> str:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier.get("traceparent", "")

    async def ask() -> Call:
        call = Call(10.0)
        call.method, call.route = "GET", "/x"
        traces.tracer.request_started(call)
        assert outgoing() == call.traceresponse
        assert await asyncio.create_task(asyncio.to_thread(outgoing)) == call.traceresponse
        return call

    async def ask_both() -> list[Call]:
        return list(await asyncio.gather(asyncio.create_task(ask()), asyncio.create_task(ask())))

    calls = asyncio.run(ask_both())
    assert outgoing() == ""
    assert current.work_for(tuple(calls), outgoing) == calls[0].traceresponse
    assert calls[0].traceresponse != calls[1].traceresponse


def test_a_collector_that_hangs_delays_the_end_by_no_more_than_a_bound(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """And the log says that spans were lost."""
    import threading

    asked, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        let_go.wait()

    monkeypatch.setattr("modelapp_metrics.exporting.FLUSH_S", 0.05)
    Tracer(SimpleNamespace(shutdown=hang, get_tracer=lambda _: None)).close()  # type: ignore[arg-type]
    assert asked.is_set()
    assert "the last spans were not sent" in caplog.text
    let_go.set()


def test_a_step_has_no_span_and_a_generation_has_one(traces: Traces) -> None:
    """Hundreds of steps would say nothing that the whole does not say; the tokens stand on the request's span."""
    call = traces.start(10.0)
    step = ModelRun("m", device="cpu", calls=(call,), rows=1, cost=9, started_s=10.1, ended_s=10.2, step=True)
    traces.tracer.run_ended(step)
    call.tokens_in, call.tokens_out = 8, 2
    call.runs += (
        ModelRun("m", device="cpu", calls=(call,), rows=1, cost=10, started_s=10.1, ended_s=10.6, queued_s=(10.0,)),
    )
    traces.end(call, 10.7)

    assert sorted(span.name for span in traces.spans) == ["POST /score", "execute", "queue"]
    (whole,) = traces.named("POST /score")
    assert (whole.attributes["modelapp.tokens_in"], whole.attributes["modelapp.tokens_out"]) == (8, 2)
