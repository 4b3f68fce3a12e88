"""Alert rules: written from what an app promises, judged by Prometheus' own promtool."""

import json
import shutil
import subprocess

import pytest

from modelapp.alerts import alerts, rules
from modelapp.loader import load_app
from modelapp.plugins import Plugins

APP = """\
[app]
name = "shop"

[models.fast]
source = "app.toml"
runtime = "null"
[models.slow]
source = "app.toml"
runtime = "null"
[models.words]
source = "app.toml"
runtime = "null"
task = "text-generation"

[endpoints.price]
model = "fast"
[endpoints.talk]
model = "words"
stream = true
[endpoints.both]
split = { arms = { fast = 50, slow = 50 } }
"""
PROMISES = """
[guarantees.latency.price]
endpoint = "price"
p95_ms = 250
max_error_percent = 2

[guarantees.latency.all]
p99_ms = 2.5
min_samples = 50
enforce = "report"
max_error_percent = 100

[guarantees.latency.arm]
endpoint = "both"
arm = "slow"
p50_ms = 40

[guarantees.latency.talk]
endpoint = "talk"
p95_first_token_ms = 300
max_realtime_factor = 1

[guarantees.batching]
min_mean_batch = 1
[guarantees.rollout]
"""
LATENCY = 'modelapp_request_duration_seconds_{}{{app="shop", endpoint="{}", model="", outcome="ok", release="r1"{}}}'
FIRST = 'modelapp_request_first_chunk_seconds_{}{{app="shop", endpoint="talk", model="", release="r1"{}}}'
REQUESTS = (
    'modelapp_requests_total{{app="{}", endpoint="{}", model="", outcome="{}", protocol="natural", release="r1"}}'
)
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt install prometheus"
)


@pytest.fixture
def shop(write_app):
    """The app, with these promises."""

    def load(promises=PROMISES):
        root = write_app(APP + promises)
        return load_app(root / "app.toml", Plugins.load())

    return load


def expect_firing(count, folder, text, alert, series, *, minutes=20):
    """So many alerts of a name fire when these series grow by so much a minute for so long."""
    (folder / "alerts.rules.yml").write_text(text)
    proof = {
        "rule_files": ["alerts.rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": f"0+{step}x{minutes}"} for name, step in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                        "eval_time": f"{minutes}m",
                        "exp_samples": [{"labels": "{}", "value": count}],
                    }
                ],
            }
        ],
    }
    (folder / "proof.yml").write_text(json.dumps(proof))
    done = subprocess.run(["promtool", "test", "rules", "proof.yml"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def answers(endpoint, within, every, limit_s):
    """The series of a histogram of answers."""
    return {
        LATENCY.format("bucket", endpoint, f', le="{limit_s}"'): within,
        LATENCY.format("count", endpoint, ""): every,
    }


def test_each_limit_becomes_a_rule_that_names_its_line(shop):
    """In the order of the file, and nothing that was not promised."""
    found = alerts(shop())
    assert [(alert.name, alert.source, alert.labels["severity"]) for alert in found] == [
        ("ModelappLatencyP95", "[guarantees.latency.price] p95_ms = 250", "critical"),
        ("ModelappErrors", "[guarantees.latency.price] max_error_percent = 2", "critical"),
        ("ModelappLatencyP99", "[guarantees.latency.all] p99_ms = 2.5", "warning"),
        ("ModelappErrors", "[guarantees.latency.all] max_error_percent = 100", "warning"),
        ("ModelappLatencyP50", "[guarantees.latency.arm] p50_ms = 40", "critical"),
        ("ModelappErrors", "[guarantees.latency.arm] max_error_percent = 0", "critical"),
        ("ModelappFirstTokenP95", "[guarantees.latency.talk] p95_first_token_ms = 300", "critical"),
        ("ModelappErrors", "[guarantees.latency.talk] max_error_percent = 0", "critical"),
    ]
    text = rules(shop())
    assert all(f"      # {alert.source}\n      - alert: {alert.name}\n" in text for alert in found)


def test_what_cannot_be_watched_is_named(shop):
    """So that nobody relies on an alert that is not there."""
    comments = [line for line in rules(shop()).splitlines() if line.startswith("# not watched")]
    assert comments == [
        "# not watched here: [guarantees.latency.talk] max_realtime_factor",
        "# not watched here: [guarantees.batching]",
        "# not watched here: [guarantees.rollout]",
    ]


def test_the_file_depends_on_the_promises_alone(shop):
    """It is kept in git and compared: the same promises give the same bytes, whatever else the app says."""
    assert rules(shop()) == rules(shop()) == rules(shop(PROMISES + "\n[server]\nport = 1\n"))


def test_an_app_without_promises_has_an_empty_file(shop):
    """Which Prometheus reads all the same."""
    assert rules(shop("")).endswith("\ngroups: []\n")


def test_the_verb_writes_once(write_app, modelapp):
    """And says `unchanged` when there was nothing to write; without --write it prints the very same."""
    root = write_app(APP + PROMISES)
    first, again = modelapp("alerts", "--write", cwd=root), modelapp("alerts", "--write", "--json", cwd=root)
    assert (first.returncode, first.stdout) == (0, "alerts.rules.yml: written\n"), first
    told = json.loads(again.stdout)
    assert (told["written"], len(told["alerts"])) == (False, 8)
    assert modelapp("alerts", cwd=root).stdout == (root / "alerts.rules.yml").read_text()
    assert json.loads(modelapp("alerts", "--json", cwd=root).stdout)["rules"] == (root / "alerts.rules.yml").read_text()


def test_without_a_promise_the_verb_says_so(write_app, modelapp):
    """Not an error: the file is valid, and there is nothing to watch."""
    done = modelapp("alerts", cwd=write_app(APP))
    assert done.returncode == 0
    assert "no [guarantees.latency]" in done.stderr


@promtool
@pytest.mark.parametrize("promises", ["", PROMISES])
def test_prometheus_reads_the_file(shop, tmp_path, promises):
    """As `promtool check rules` does."""
    path = tmp_path / "alerts.rules.yml"
    path.write_text(rules(shop(promises)))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts(shop(promises)))} rules found" in done.stdout


CASES = {
    "too many slow answers": (True, "ModelappLatencyP95", answers("price", 94, 100, 0.25)),
    "enough fast answers": (False, "ModelappLatencyP95", answers("price", 96, 100, 0.25)),
    "slow, and too few to decide": (False, "ModelappLatencyP95", answers("price", 1, 19, 0.25)),
    "slow, at another endpoint": (False, "ModelappLatencyP95", answers("talk", 1, 100, 0.25)),
    "slow, of another app": (
        False,
        "ModelappLatencyP95",
        {name.replace("shop", "other"): step for name, step in answers("price", 1, 100, 0.25).items()},
    ),
    "any endpoint, by its own number of samples": (True, "ModelappLatencyP99", answers("talk", 0, 6, 0.0025)),
    "fewer than its own number of samples": (False, "ModelappLatencyP99", answers("talk", 0, 4, 0.0025)),
    "the arm": (
        True,
        "ModelappLatencyP50",
        {name.replace('model=""', 'model="slow"'): step for name, step in answers("both", 4, 10, 0.04).items()},
    ),
    "the other arm": (
        False,
        "ModelappLatencyP50",
        {name.replace('model=""', 'model="fast"'): step for name, step in answers("both", 4, 10, 0.04).items()},
    ),
    "late first pieces": (
        True,
        "ModelappFirstTokenP95",
        {FIRST.format("bucket", ', le="0.3"'): 90, FIRST.format("count", ""): 100},
    ),
    "prompt first pieces": (
        False,
        "ModelappFirstTokenP95",
        {FIRST.format("bucket", ', le="0.3"'): 96, FIRST.format("count", ""): 100},
    ),
    "too many errors": (
        True,
        "ModelappErrors",
        {REQUESTS.format("shop", "price", "ok"): 97, REQUESTS.format("shop", "price", "model_failed"): 3},
    ),
    "errors of several kinds": (
        True,
        "ModelappErrors",
        {
            REQUESTS.format("shop", "price", "ok"): 196,
            REQUESTS.format("shop", "price", "internal"): 2,
            REQUESTS.format("shop", "price", "deadline_exceeded"): 3,
        },
    ),
    "as many errors as are allowed": (
        False,
        "ModelappErrors",
        {REQUESTS.format("shop", "price", "ok"): 99, REQUESTS.format("shop", "price", "not_ready"): 1},
    ),
    "errors of clients": (
        False,
        "ModelappErrors",
        {
            REQUESTS.format("shop", "price", "ok"): 1,
            REQUESTS.format("shop", "price", "invalid_input"): 50,
            REQUESTS.format("shop", "price", "queue_full"): 50,
            REQUESTS.format("shop", "price", "cancelled"): 50,
        },
    ),
    "one error, where none is allowed": (
        True,
        "ModelappErrors",
        {REQUESTS.format("shop", "talk", "ok"): 100, REQUESTS.format("shop", "talk", "internal"): 0.1},
    ),
    "none, where none is allowed": (False, "ModelappErrors", {REQUESTS.format("shop", "talk", "ok"): 100}),
}


@promtool
@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_where_its_promise_is_broken_and_only_there(shop, tmp_path, case):
    """Series that break it and series that keep it, as `promtool test rules` plays them."""
    expected, alert, series = CASES[case]
    expect_firing(int(expected), tmp_path, rules(shop()), alert, series)


@promtool
def test_a_release_is_judged_by_itself(shop, tmp_path):
    """A good new release does not hide what the old one did, nor the other way round."""
    good = {name.replace("r1", "r2"): step for name, step in answers("price", 1000, 1000, 0.25).items()}
    expect_firing(1, tmp_path, rules(shop()), "ModelappLatencyP95", {**answers("price", 1, 100, 0.25), **good})


@promtool
def test_an_alert_tells_whose_promise_is_broken_and_by_how_much(shop, tmp_path):
    """Labels to route by, and words for whoever is called."""
    (tmp_path / "alerts.rules.yml").write_text(rules(shop()))
    told = {
        "exp_labels": {
            "app": "shop",
            "endpoint": "price",
            "release": "r1",
            "severity": "critical",
            "guarantee": "guarantees.latency.price",
        },
        "exp_annotations": {
            "summary": "price is slower than promised: p95_ms = 250",
            "description": "90% of the answers of release r1 took at most 250 ms in the last 10m, and 95% is promised",
        },
    }
    series = [{"series": name, "values": f"0+{step}x20"} for name, step in answers("price", 90, 100, 0.25).items()]
    watch = {"eval_time": "20m", "alertname": "ModelappLatencyP95", "exp_alerts": [told]}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [watch]}
    proof = {"rule_files": ["alerts.rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "proof.yml").write_text(json.dumps(proof))
    done = subprocess.run(["promtool", "test", "rules", "proof.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
