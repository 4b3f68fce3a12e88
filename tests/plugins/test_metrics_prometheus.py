"""A real Prometheus server scrapes a real app, by the configuration that the documentation shows."""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from modelapp.testing import AppProject, free_port
from modelapp_metrics import pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed: apt install prometheus"
    ),
]
SECRET = "s" * 40
APP = """\
[app]
name = "gain"
[models.quick]
source = "app.toml"
runtime = "null"
max_batch_size = 8
[models.quick.null]
inputs = { x = "float32[batch, 2]" }
poison = 13.0
[models.heavy]
source = "app.toml"
runtime = "null"
[models.heavy.null]
inputs = { x = "float32[batch, 2]" }
delay_ms = 60
[endpoints.quick]
model = "quick"
[endpoints.quick.input]
x = { type = "tensor", dtype = "float32", shape = [2] }
[endpoints.heavy]
model = "heavy"
[endpoints.heavy.input]
x = { type = "tensor", dtype = "float32", shape = [2] }
[server]
tokens_env = "TOKENS"
[guarantees.latency]
p95_ms = 55
min_samples = 20
max_error_percent = 50
"""


class Prometheus:
    """A server on a free port, scraping what `config` says."""

    def __init__(self, folder, config):
        (folder / "prometheus.yml").write_text(config)
        self.port = free_port()
        self._output = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            cwd=folder,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self._log = folder / "prometheus.log"

    def get(self, path, **query):
        """The data of an answer of its API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expr, *labels):
        """label values -> number."""
        found = self.get("query", query=expr)["result"]
        return {tuple(one["metric"].get(label, "") for label in labels): float(one["value"][1]) for one in found}

    def wait(self, what, ask):
        """Ask until the answer is true; the last one."""
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError):
                if found := ask():
                    return found
            time.sleep(0.2)
        raise AssertionError(f"{what} did not come within 60 s\n{self._log.read_text()[-2000:]}")

    def close(self):
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._output.close()


@pytest.fixture
def start(tmp_path):
    """start(config) starts a Prometheus that ends with the test."""
    started = []

    def begin(config):
        started.append(Prometheus(tmp_path, config))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture
def config(request):
    """The configuration of docs/monitoring.md, with its interval, its target and a token."""
    page = (request.config.rootpath / "docs" / "monitoring.md").read_text()
    shown = re.search(r"```yaml file=prometheus.yml\n(.*?)```", page, re.DOTALL)[1]
    token = re.search(r"`(authorization: .*?)`", page)[1]

    def fill(port):
        text = shown.replace("10s", "1s").replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        return text.replace("    static_configs:", f"    {token}\n    static_configs:")

    return fill


def test_prometheus_sees_what_clients_sent_and_calls_for_help(tmp_path, start, config):
    """Counts are exact, percentiles plausible, the dashboard's queries work, and the slow endpoint alone alerts."""
    project = AppProject(tmp_path, env={"TOKENS": f"ann={SECRET}"}).write(APP, {"token": SECRET})
    assert project.run("alerts", "--write").exit_code == 0
    rules = tmp_path / "alerts.rules.yml"
    rules.write_text(rules.read_text().replace("for: 1m", "for: 0s"))
    with project.serve() as app:
        prometheus = start(config(app.port))
        up = 'up{job="modelapp"} == 1'
        prometheus.wait("the target", lambda: prometheus.query(up) and prometheus.query("modelapp_up"))

        headers = {"content-type": "application/json", "authorization": f"Bearer {SECRET}"}

        def send(endpoint, value):
            return app.ask("POST", f"/{endpoint}", json.dumps({"x": [1, value]}), headers).status

        sent = [("quick", 2)] * 50 + [("quick", 13)] * 3 + [("quick", "no")] * 4 + [("heavy", 2)] * 40
        statuses = [send(endpoint, value) for endpoint, value in sent]
        assert [statuses.count(status) for status in (200, 500, 422)] == [90, 3, 4]
        expected = {
            ("quick", "ok"): 50,
            ("quick", "model_failed"): 3,
            ("quick", "invalid_input"): 4,
            ("heavy", "ok"): 40,
        }
        counted = 'sum by (endpoint, outcome) (modelapp_requests_total{endpoint!=""}) > 0'
        by = ("endpoint", "outcome")
        assert prometheus.wait("the counts", lambda: (found := prometheus.query(counted, *by)) == expected and found)

        requests = "sum by (token) (modelapp_token_requests_total) > 0"
        assert prometheus.query(requests, "token")["ann",] >= len(sent)  # and the scrapes
        assert prometheus.query("sum by (model) (modelapp_rows_total)", "model")["heavy",] >= 40

        median = "histogram_quantile(0.5, sum by (le, endpoint) (rate(modelapp_request_duration_seconds_bucket[1m])))"
        times = prometheus.query(median, "endpoint")
        assert 0.055 <= times["heavy",] <= 0.1
        assert 0 < times["quick",] < 0.055

        def firing():
            return [one for one in prometheus.get("alerts")["alerts"] if one["state"] == "firing"]

        fired = prometheus.wait("the alert", firing)
        assert [(one["labels"]["alertname"], one["labels"]["endpoint"]) for one in fired] == [
            ("ModelappLatencyP95", "heavy")
        ]
        assert fired[0]["annotations"]["summary"] == "heavy is slower than promised: p95_ms = 55"
        for panel in pages.dashboard()["panels"]:
            for target in panel.get("targets", ()):
                filled = target["expr"].replace("$__rate_interval", "1m")
                found = prometheus.query(re.sub(r"\$\w+", ".*", filled))
                of_texts = re.search(r"first_chunk|token|sequences", filled)  # and no model here writes any
                assert found or of_texts, filled
