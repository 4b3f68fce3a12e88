"""`GET /metrics` of a running app: its formats, its port, its tokens, and what it says without its library."""

import gzip
import json
import re
import shutil
import subprocess
import time
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from modelapp.testing import AppProject, free_port
from modelapp_metrics.table import METRICS

APP = """\
[app]
name = "gain"
[models.gain]
source = "app.toml"
runtime = "null"
max_batch_size = 8
[models.gain.null]
inputs = { x = "float32[batch, 2]" }
poison = 13.0
[endpoints.gain]
model = "gain"
[endpoints.gain.input]
x = { type = "tensor", dtype = "float32", shape = [2] }
[server]
"""
OF_GENERATION = [metric for metric in METRICS if metric.source == "tokens" or "sequences" in metric.name]
OF_GENERATION += [metric for metric in METRICS if metric.name == "modelapp_cached_tokens"]
"""No model of this app generates."""
OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}
WITHOUT_LIBRARY = "import sys\nsys.modules['prometheus_client'] = None\n"


@pytest.fixture
def project(tmp_path):
    """The app."""
    return AppProject(tmp_path / "gain").write(APP)


def samples(answer):
    """(sample name, labels without app and release) -> value."""
    found = {}
    for family in read_text(answer.body.decode()):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name not in ("app", "release") and value}
            found[sample.name, *sorted(labels.items())] = sample.value
    return found


def scrape(url, headers=None):
    """The text at a URL."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
        return answer.read().decode()


def test_what_it_did_is_told_by_the_names_and_labels_of_the_table(project):
    """Counts are those of the requests that were sent; both formats parse, hold the same, and hold nothing else."""
    with project.serve() as app:
        answers = [app.post("/gain", {"x": [1, value]}).status for value in (2, 3, 13, "no")]
        assert answers == [200, 200, 500, 422]
        assert app.ask("GET", "/no/such/path").status == 404
        plain, open_metrics = app.ask("GET", "/metrics"), app.ask("GET", "/metrics", headers=OPENMETRICS)
        packed = app.ask("GET", "/metrics", headers={"accept-encoding": "gzip"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body).startswith(b"# HELP modelapp_up ")

    found = samples(plain)
    own = [dict(key[1:]) | {"count": value} for key, value in found.items() if key[0] == "modelapp_requests_total"]
    outcomes = {labels["outcome"]: labels["count"] for labels in own if labels.get("endpoint") == "gain"}
    assert {code: count for code, count in outcomes.items() if count} == {
        "ok": 2,
        "model_failed": 1,
        "invalid_input": 1,
    }
    assert [labels["count"] for labels in own if labels["outcome"] == "not_found"] == [1]
    answered = (("endpoint", "gain"), ("outcome", "ok"))
    assert found["modelapp_request_duration_seconds_count", *answered] == 2
    assert found["modelapp_requests_total", ("endpoint", "gain"), ("outcome", "ok"), ("protocol", "natural")] == 2
    assert found["modelapp_ready",] == found["modelapp_model_ready", ("model", "gain")] == 1
    assert found["modelapp_endpoint_ready", ("endpoint", "gain")] == 1
    assert found["modelapp_queue_limit_rows", ("model", "gain")] == 64

    for families in ([*read_text(plain.body.decode())], [*read_openmetrics(open_metrics.body.decode())]):
        assert {(family.name, family.type) for family in families} == {(m.family, m.kind) for m in METRICS}
        for metric in METRICS:
            family = next(family for family in families if family.name == metric.family)
            assert family.documentation == metric.help
            expected = {*metric.labels, *(() if metric.source == "process" else ("app",))}
            labels = [{*sample.labels} - {"le"} for sample in family.samples]
            assert [found for found in labels if found != expected] == []
            assert labels or metric.column == "first_s" or metric in OF_GENERATION


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt install prometheus")
def test_prometheus_own_linter_finds_nothing_to_say(project):
    """`promtool check metrics`: names, units, types and help."""
    with project.serve() as app:
        app.post("/gain", {"x": [1, 2]})
        text = app.ask("GET", "/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_port_of_their_own(project):
    """Then the app's port has no /metrics, and the other nothing else."""
    port = free_port()
    with project.serve("--set", f"server.metrics_port={port}") as app:
        assert app.ask("GET", "/metrics").status == 404
        assert 'modelapp_ready{app="gain"} 1.0' in scrape(f"http://127.0.0.1:{port}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            scrape(f"http://127.0.0.1:{port}/readyz")


@pytest.mark.parametrize("own_port", [False, True])
def test_tokens_guard_them(project, own_port):
    """A server that asks for tokens asks for one here too, on whichever port."""
    port = free_port()
    words = ["--set", 'server.tokens_env="TOKENS"', *(["--set", f"server.metrics_port={port}"] if own_port else [])]
    with project.serve(*words, env={"TOKENS": "ann=" + "a" * 40}) as app:
        url = f"http://127.0.0.1:{port if own_port else app.port}/metrics"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            scrape(url)
        told = scrape(url, {"authorization": f"Bearer {'a' * 40}"})
    assert re.search(r'modelapp_token_requests_total\{.*outcome="unauthorized".*token=""\} 1\.0', told)
    assert "a" * 40 not in told


def test_a_port_that_is_taken_is_an_error(project):
    """At the start, naming the key to change."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = project.run("run", "--set", "server.port=0", "--set", f"server.metrics_port={port}")
    assert done.exit_code == 5
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr
    assert f"server.metrics_port={port + 1}" in done.stderr


def test_without_the_library_there_are_no_metrics(project, tmp_path):
    """And everything else works; asking for a port of their own is an error that tells what to install."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_LIBRARY)
    lacking = {"PYTHONPATH": str(tmp_path)}
    with project.serve(env=lacking) as app:
        assert app.post("/gain", {"x": [1, 2]}).status == 200
        assert app.ask("GET", "/metrics").status == 404
    refused = project.run("run", "--set", "server.port=0", "--set", "server.metrics_port=9464", env=lacking)
    assert refused.exit_code == 5
    assert "metrics_port needs the package prometheus-client" in refused.stderr
    assert "pip install 'modelapp[metrics]'" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_change_that_is_taken_over_has_series_of_its_own(project):
    """Under its release; the counts of the one before it stay, and everything that is served now is told by the new."""
    with project.serve("--watch") as app:
        app.post("/gain", {"x": [1, 2]})
        before = app.ask("GET", "/readyz").headers["x-modelapp-release"]
        project.write(APP.replace("max_batch_size = 8", "max_batch_size = 8\nmax_queue = 7"))
        until_s = time.monotonic() + 30
        while (after := app.ask("GET", "/readyz").headers["x-modelapp-release"]) == before:
            assert time.monotonic() < until_s
            time.sleep(0.1)
        for _ in range(2):
            app.post("/gain", {"x": [1, 2]})
        told = app.ask("GET", "/metrics").body.decode()
    counted = {
        sample.labels["release"]: sample.value
        for family in read_text(told)
        for sample in family.samples
        if sample.name == "modelapp_requests_total"
        and (sample.labels["endpoint"], sample.labels["outcome"]) == ("gain", "ok")
    }
    assert counted == {before: 1, after: 2}
    assert 'modelapp_queue_limit_rows{app="gain",model="gain"} 7.0' in told
    assert [line for line in told.splitlines() if line.startswith("modelapp_build_info{") and after in line]


WRITER = """\
[app]
name = "writer"
[models.scribe]
source = "app.toml"
runtime = "null"
task = "text-generation"
max_batch_size = 4
[endpoints.write]
model = "scribe"
stream = true
input = { prompt = "str", max_tokens = "int", ignore_end = "bool" }
output = { text = "str" }
"""


def test_a_model_that_generates_tells_its_tokens(tmp_path):
    """Those it read and those it made are as many as were asked for, each in one of the two times."""
    with AppProject(tmp_path / "writer").write(WRITER).serve() as app:
        begun = samples(app.ask("GET", "/metrics"))
        for most in (5, 7):
            body = json.dumps({"prompt": "It was a", "max_tokens": most, "ignore_end": True})
            assert app.ask("POST", "/write", body, {"content-type": "application/json"}).status == 200  # streamed
        found = samples(app.ask("GET", "/metrics"))

    def more(name, *labels):
        return found[name, *labels] - begun[name, *labels]

    scribe = ("model", "scribe")
    assert more("modelapp_generated_tokens_total", scribe) == 12
    assert 0 < more("modelapp_prompt_tokens_total", scribe) <= 16
    assert more("modelapp_first_token_seconds_count", scribe) == 2
    assert more("modelapp_next_token_seconds_count", scribe) == 10
    assert more("modelapp_runs_total", scribe, ("outcome", "ok")) >= 12
    assert found["modelapp_active_sequences_limit", scribe] == 4
    assert found["modelapp_active_sequences", scribe] == found["modelapp_cached_tokens", scribe] == 0
    assert found["modelapp_request_first_chunk_seconds_count", ("endpoint", "write")] == 2
