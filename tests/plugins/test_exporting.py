"""Traces go where OpenTelemetry's own variables say: a collector that speaks OTLP gets them from a real replica."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from modelapp.testing import AppProject, RunningApp, free_port
from modelapp_metrics.exporting import asked_for

METHOD = "inference.GRPCInferenceService/ModelInfer"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("environment", "asks"),
    [
        ({}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/t"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, ""),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}, ""),
    ],
)
def test_only_the_usual_variables_ask_for_traces(environment: dict[str, str], asks: str) -> None:
    """A name or a sampler alone says nothing of where to."""
    assert asked_for(environment) == asks


def test_nothing_of_opentelemetry_is_imported_where_nobody_asks() -> None:
    """Not even where the hooks are called."""
    code = """
import sys
from types import SimpleNamespace
import modelapp_metrics
host = SimpleNamespace(service=SimpleNamespace(app=SimpleNamespace(name="a")))
list(modelapp_metrics.modelapp_observers(host))
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize(
    ("environment", "word"),
    [({"OTEL_TRACES_EXPORTER": "nonsense"}, "nonsense"), ({"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "smoke")],
)
def test_a_configuration_that_cannot_be_is_a_warning_and_no_end(environment: dict[str, str], word: str) -> None:
    """The app serves without traces."""
    code = "from modelapp_metrics import exporting; assert exporting.provider('a') is None"
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **environment}
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, check=True, capture_output=True, text=True
    )
    assert "asks for traces, but there are none" in found.stderr
    assert word in found.stderr


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP at /v1/traces, and answers any other request like somebody's service."""

    daemon_threads = True

    def __init__(self) -> None:
        self.exports: list[ExportTraceServiceRequest] = []
        self.traceparents: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        """All spans that came."""
        return [
            span
            for export in self.exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Span]:
        """Those of a name, by their start."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time_unix_nano)

    @property
    def services(self) -> set[str]:
        """What the senders call themselves."""
        return {
            attribute.value.string_value
            for export in self.exports
            for resource in export.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.exports.append(ExportTraceServiceRequest.FromString(body))
        else:
            self.server.traceparents.append(self.headers.get("traceparent", ""))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that listens."""
    collector = Collector()
    yield collector
    collector.shutdown()
    collector.server_close()


APP = """
[app]
name = "traced"

[models.m]
source = "handlers.py"
runtime = "null"
max_batch_size = 8
null = { inputs = { x = "float32[batch, 1]" }, delay_ms = 300 }

[endpoints.score]
model = "m"
access_log = "all"
input = { x = "list[float]" }
output = { x = "list[float]" }

[endpoints.relay]
steps = [
  { name = "plain", run = "handlers.py:plain", needs = ["url"] },
  { name = "done", run = "handlers.py:loop", needs = ["url", "plain"] },
]
input = { url = "str" }
output = { done = "int" }

[server]
log_format = "json"
"""
HANDLERS = """
import asyncio
import logging
import urllib.request

from opentelemetry import propagate, trace

log = logging.getLogger("mine")

def _ask(url):
    headers = {}
    propagate.inject(headers)
    with trace.get_tracer("mine").start_as_current_span("outgoing"):
        urllib.request.urlopen(urllib.request.Request(url, b"x", headers)).read()

def plain(url):
    log.warning("on a thread")
    _ask(url)
    return 1

async def loop(url, plain):
    log.warning("on the loop")
    await asyncio.to_thread(_ask, url)
    return {"done": plain + 1}
"""


@pytest.fixture
def app(tmp_path: Path) -> AppProject:
    """A slow model, and functions that call somebody else."""
    return AppProject(tmp_path / "app").write(APP, handlers=HANDLERS)


def _environment(collector: Collector, **more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}


def _ask(app: RunningApp, path: str, value: object, trace: str = "", flags: str = "01") -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if trace:
        headers["traceparent"] = f"00-{trace}-{SPAN}-{flags}"
    answer = app.ask("POST", path, json.dumps(value), headers)
    assert answer.status == 200, answer
    return dict(answer.headers)


def _run_together(app: RunningApp, collector: Collector, number: int) -> tuple[list[str], Span]:
    """Requests of `number` traces of their own that share a run, and the run's span.

    While another has the model to itself they wait; where this machine was too busy for that, again.
    """
    for attempt in range(1, 10):
        traces = [f"{attempt:02x}{mate:030x}" for mate in range(1, number + 1)]
        threads = [threading.Thread(target=_ask, args=(app, "/score", {"x": [1.0]}, trace)) for trace in ("", *traces)]
        for thread in threads:
            thread.start()
            time.sleep(0.1 if thread is threads[0] else 0)
        for thread in threads:
            thread.join()
        until_s = time.monotonic() + 10
        while len(collector.named("POST /score")) < attempt * (number + 1) and time.monotonic() < until_s:
            time.sleep(0.05)
        for run in collector.named("run m"):
            if len(run.links) == number:
                return traces, run
    raise AssertionError("they never ran together")


@pytest.mark.slow
def test_a_batch_reaches_the_collector_as_linked_spans_each_in_its_callers_trace(
    app: AppProject, collector: Collector
) -> None:
    """Server, queue and execute of each, and one run that links all three."""
    with app.serve(env=_environment(collector)) as running:
        traces, run = _run_together(running, collector, 3)
    assert collector.services == {"traced"}
    servers = {span.trace_id.hex(): span for span in collector.named("POST /score") if span.trace_id.hex() in traces}
    assert sorted(servers) == traces
    assert all(span.parent_span_id.hex() == SPAN and span.kind == Span.SPAN_KIND_SERVER for span in servers.values())
    assert sorted(link.trace_id.hex() for link in run.links) == traces
    executes = [span for span in collector.named("execute") if span.trace_id.hex() in traces]
    queues = [span for span in collector.named("queue") if span.trace_id.hex() in traces]
    assert [[link.span_id for link in span.links] for span in executes] == [[run.span_id]] * 3
    assert len(queues) == 3
    for span in [*executes, *queues]:
        server = servers[span.trace_id.hex()]
        assert span.parent_span_id == server.span_id
        assert server.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= server.end_time_unix_nano


@pytest.mark.slow
def test_a_trace_goes_on_through_handlers_to_what_they_call_and_into_every_log_line(
    app: AppProject, collector: Collector
) -> None:
    """From a thread and from the loop; the app's own spans stand below the request's."""
    with app.serve(env=_environment(collector, OTEL_SERVICE_NAME="mine")) as running:
        headers = _ask(running, "/relay", {"url": f"{collector.url}/other"}, TRACE)
        _ask(running, "/score", {"x": [1.0]}, TRACE)
        outcome = running.stop()
    assert collector.services == {"mine"}
    (server,) = collector.named("POST /relay")
    own = f"00-{TRACE}-{server.span_id.hex()}-01"
    assert headers["traceresponse"] == own
    assert collector.traceparents == [own, own]
    assert [span.parent_span_id for span in collector.named("outgoing")] == [server.span_id] * 2
    assert server.status.code == Status.STATUS_CODE_UNSET
    lines = [json.loads(line) for line in outcome.stderr.splitlines()]
    of_handlers = [line for line in lines if line["logger"] == "mine"]
    assert [line["message"] for line in of_handlers] == ["on a thread", "on the loop"]
    for line in of_handlers:
        assert (line["trace_id"], line["span_id"]) == (TRACE, server.span_id.hex())
        assert line["request_id"] == headers["x-request-id"]
        assert line["endpoint"] == "relay"
    (access,) = [line for line in lines if line["logger"] == "modelapp.access" and line.get("endpoint") == "score"]
    assert access["trace_id"] == TRACE
    assert (access["outcome"], access["status"], access["rows"], access["why"]) == ("ok", 200, 1, "all")
    assert access["execute_ms"] >= 300


@pytest.mark.slow
def test_the_samplers_variables_and_the_callers_decision_are_obeyed(app: AppProject, collector: Collector) -> None:
    """Nothing of what is not sampled is sent."""
    environment = _environment(collector, OTEL_TRACES_SAMPLER="parentbased_always_off")
    with app.serve(env=environment) as running:
        _ask(running, "/score", {"x": [1.0]})
        _ask(running, "/score", {"x": [1.0]}, "a" * 32, "00")
        _ask(running, "/score", {"x": [1.0]}, "b" * 32, "01")
    assert {span.trace_id.hex() for span in collector.spans} == {"b" * 32}


@pytest.mark.slow
def test_a_collector_that_is_not_there_delays_neither_answers_nor_the_end(app: AppProject) -> None:
    """It says so in the log, and exits 0."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with app.serve(env=environment) as running:
        for _ in range(3):
            _ask(running, "/score", {"x": [1.0]}, TRACE)
        outcome = running.stop(timeout_s=30)
    assert outcome.exit_code == 0
    assert any("opentelemetry" in json.loads(line)["logger"] for line in outcome.stderr.splitlines())


@pytest.mark.slow
def test_without_tracing_the_trace_of_a_caller_still_stands_in_the_log(app: AppProject) -> None:
    """And the answer claims no span."""
    with app.serve() as running:
        headers = _ask(running, "/score", {"x": [1.0]}, TRACE)
        outcome = running.stop()
    assert "traceresponse" not in headers
    lines = [json.loads(line) for line in outcome.stderr.splitlines()]
    (access,) = [line for line in lines if line.get("endpoint") == "score"]
    assert access["trace_id"] == TRACE
    assert "span_id" not in access
    assert access["release"] == headers["x-modelapp-release"]
    assert access["request_id"] == headers["x-request-id"]
    assert access["bytes_in"] == len(json.dumps({"x": [1.0]}))
    assert access["bytes_out"] == int(headers["content-length"])


@pytest.mark.slow
def test_a_request_by_grpc_belongs_to_its_callers_trace_too(app: AppProject, collector: Collector) -> None:
    """Told by its metadata; the log names the method."""
    port = free_port()
    with app.serve("--set", f"server.grpc_port={port}", env=_environment(collector)):
        client = grpc.InferenceServerClient(f"127.0.0.1:{port}")
        x = grpc.InferInput("x", [1, 1], "FP32")
        x.set_data_from_numpy(np.ones((1, 1), np.float32))
        client.infer("m", [x], headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "mine"})
        client.close()
        until_s = time.monotonic() + 10
        while not collector.named(METHOD) and time.monotonic() < until_s:
            time.sleep(0.05)
    (span,) = collector.named(METHOD)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    attributes = {one.key: one.value for one in span.attributes}
    assert attributes["rpc.system"].string_value == "grpc"
    assert attributes["modelapp.request_id"].string_value == "mine"
    assert attributes["modelapp.model"].string_value == "m"
    (execute,) = collector.named("execute")
    assert execute.parent_span_id == span.span_id
