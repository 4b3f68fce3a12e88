"""The page and the dashboard of the metrics say what the table says."""

import json
import re
import shutil
import subprocess

import pytest
from prometheus_client.utils import floatToGoString

from modelapp import alerts
from modelapp_metrics import pages, table
from modelapp_metrics.metric import APP, LABELS

KINDS = {"row", "timeseries"}
"""The panels of Grafana that are used."""


@pytest.fixture
def docs(request):
    """The folder of documentation."""
    return request.config.rootpath / "docs"


def test_the_page_holds_the_table(docs):
    """Brought up to date by `python -m modelapp_metrics.pages docs`."""
    page = (docs / pages.PAGE).read_text()
    assert pages.filled(page) == page
    assert all(f"| `{metric.name}` |" in page for metric in table.METRICS)


def test_the_dashboard_is_that_of_the_table(docs):
    """The same."""
    assert (docs / pages.DASHBOARD).read_text() == pages.dashboard_text()


def test_writing_twice_changes_nothing(docs, tmp_path):
    """As it should be for files in git."""
    (tmp_path / pages.PAGE).write_text((docs / pages.PAGE).read_text())
    pages.write(tmp_path)
    assert (tmp_path / pages.PAGE).read_text() == (docs / pages.PAGE).read_text()
    assert json.loads((tmp_path / pages.DASHBOARD).read_text()) == pages.dashboard()


def test_the_dashboard_shows_every_metric_that_is_worth_a_graph():
    """Panels of known kinds, side by side without overlap, each with a number of its own."""
    panels = pages.dashboard()["panels"]
    assert {panel["type"] for panel in panels} == KINDS
    assert len({panel["id"] for panel in panels}) == len(panels)
    text = json.dumps(panels)
    drawn = {metric.name for metric in table.METRICS if metric.name in text}
    assert {metric.name for metric in table.METRICS} - drawn == {
        "modelapp_build_info",
        "process_start_time_seconds",
        "process_max_fds",
        "process_virtual_memory_bytes",
    }
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: apt install prometheus")
def test_prometheus_reads_every_query_of_the_dashboard(tmp_path):
    """As rules, which promtool checks, with Grafana's variables filled in."""
    queries = [target["expr"] for panel in pages.dashboard()["panels"] for target in panel.get("targets", ())]
    filled = [re.sub(r"\$\w+", "1m", query) for query in queries]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


def test_the_table_keeps_to_prometheus_conventions():
    """Names by kind and unit, labels that are documented, help that is a sentence, buckets that rise."""
    assert len({metric.name for metric in table.METRICS}) == len(table.METRICS)
    for metric in table.METRICS:
        assert re.fullmatch(r"(modelapp|process)(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.family.endswith(f"_{metric.unit}") or not metric.unit
        assert metric.help.endswith(".")
        assert [*metric.labels] == sorted(metric.labels)
        assert set(metric.labels) <= set(LABELS) - {APP}
        assert [*metric.buckets] == sorted(set(metric.buckets))
        assert bool(metric.buckets) == (metric.kind == "histogram")
    used = {label for metric in table.METRICS for label in metric.labels}
    assert set(LABELS) - {APP} == used


def test_alert_rules_speak_of_metrics_that_are_there():
    """The core writes the rules and does not know this plugin: names, labels and buckets must fit all the same."""
    metrics = {metric.name: metric for metric in table.METRICS}
    assert {"endpoint", "model", "release", "outcome"} <= {*metrics[alerts.REQUESTS].labels}
    assert metrics[alerts.DURATION].promised
    assert {"endpoint", "model", "release", "outcome"} <= {*metrics[alerts.DURATION].labels}
    assert metrics[alerts.FIRST_CHUNK].promised
    assert {"endpoint", "model", "release"} <= {*metrics[alerts.FIRST_CHUNK].labels}


@pytest.mark.parametrize("limit_ms", [0.05, 0.1, 0.3, 1, 2.5, 250, 400.5, 1000, 60000, 123456.789])
def test_an_alert_names_a_bucket_as_the_exposition_does(limit_ms):
    """Labels are text to Prometheus: "0.3" is not "0.30"."""
    assert floatToGoString(limit_ms / 1000) == repr(limit_ms / 1000)
