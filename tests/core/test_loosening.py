"""Guarantees that hold less than app.toml says: found by every key's direction, and named beside every result."""

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest

from modelapp.guarantees import Batching, Drift, Guarantees, Latency, Robustness, RolloutGuarantee
from modelapp.loader import read_app
from modelapp.strict import without_none
from modelapp.suggestions import toml
from modelapp.tables import columns
from modelapp.testing import AppProject

TABLES = {
    "latency": Latency,
    "batching": Batching,
    "rollout": RolloutGuarantee,
    "robustness": Robustness,
    "drift": Drift,
}
NEUTRAL = {
    ("latency", "inputs"),  # another load, of which nobody can say whether it is a lighter one
    ("drift", "reference"),
    ("drift", "window_s"),  # a longer one sees more and forgets later
    ("drift", "task"),  # what is done about a breach
}
KEYS = [(table, name, one) for table, cls in TABLES.items() for name, one in columns(cls).items()]
DIRECTED = [key for key in KEYS if key[:2] not in NEUTRAL]
APP = """
[app]
name = "promises"
"""
UNFIT = ("MA057", *(f"MA{number:03}" for number in range(60, 69)))
"""Here only the direction of a change counts, not whether the guarantee is about something that is there."""


def ids(keys) -> list[str]:
    """Names for the report."""
    return [f"{table}.{name}" for table, name, *_ in keys]


def named(folder: Path, plugins, text: str, profile: str = "", *overrides: str) -> list[str]:
    """What is said of an app with this text."""
    (folder / "app.toml").write_text(APP + text)
    read = read_app(folder / "app.toml", plugins, profile=profile, overrides=overrides, spare=UNFIT)
    return [str(one) for one in read.loosened]


def test_every_table_is_looked_at() -> None:
    """A new kind of guarantee has its tests here."""
    assert set(columns(Guarantees)) == set(TABLES)


def test_every_key_says_what_loosens_it_or_is_known_to_be_neutral() -> None:
    """A new key cannot be forgotten, and no key is neutral that has a direction."""
    undirected = {(table, name) for table, name, one in KEYS if not one.metadata.get("looser")}
    assert undirected == NEUTRAL
    assert {one.metadata["looser"] for *_, one in DIRECTED} == {"more", "less", "false", "report", "other"}


def values(one: "attrs.Attribute") -> tuple[object, object]:
    """Two values of a key, the tighter one first."""
    direction = one.metadata["looser"]
    if direction in ("false", "report", "other"):
        return {"false": (True, False), "report": ("fail", "report"), "other": ("", "entry")}[direction]
    low, high = max(one.metadata.get("min", 0), 0) + 1, one.metadata.get("max", 9)
    pair = (0.25, 0.75) if high == 1 else (low, low + 1)
    assert without_none(one.type) in (int, float)
    return pair if direction == "more" else pair[::-1]


@pytest.mark.parametrize(("table", "name", "one"), DIRECTED, ids=ids(DIRECTED))
def test_a_key_is_named_in_its_direction_alone(table, name, one, tmp_path, plugins) -> None:
    """Loosened by a profile or by --set it is named, tightened or unchanged it is not."""
    tight, loose = map(toml, values(one))
    more = 'reference = "data.jsonl"\n' if table == "drift" else ""
    key = f"guarantees.{table}.{name}"

    def app(stated: str, profile: str) -> str:
        return f"[guarantees.{table}]\n{more}{name} = {stated}\n[profiles.other]\n{key} = {profile}\n"

    assert named(tmp_path, plugins, app(tight, loose), "other") == [f"{key} {tight} -> {loose} by profile other"]
    assert named(tmp_path, plugins, app(tight, tight), "", f"{key}={loose}") == [f"{key} {tight} -> {loose} by --set"]
    assert named(tmp_path, plugins, app(loose, tight), "other") == []
    assert named(tmp_path, plugins, app(loose, loose), "other") == []
    assert named(tmp_path, plugins, app(tight, loose)) == [], "a profile that is not laid over it"


@pytest.mark.parametrize(("table", "name"), sorted(NEUTRAL), ids=ids(sorted(NEUTRAL)))
def test_a_neutral_key_is_never_named(table, name, tmp_path, plugins) -> None:
    """However it is changed."""
    one = columns(TABLES[table])[name]
    before, after = ('"a.jsonl"', '"b.jsonl"') if one.type is str else ("60", "90")
    more = "" if name == "reference" or table != "drift" else 'reference = "data.jsonl"\n'
    text = f"[guarantees.{table}]\n{more}{name} = {before}\n"
    for value in (after, before):
        assert named(tmp_path, plugins, text, "", f"guarantees.{table}.{name}={value}") == []


DEFAULTS = [
    ("latency", "p95_ms = 9", "enforce", '"report"', '"fail"'),
    ("latency", "p95_ms = 9", "max_error_percent", "5", "0"),
    ("batching", "min_mean_batch = 2", "same_output", "false", "true"),
    ("rollout", "", "max_unavailable", "1", "0"),
    ("robustness", "", "never_5xx", "false", "true"),
]


@pytest.mark.parametrize(("table", "stated", "name", "value", "default"), DEFAULTS, ids=ids(DEFAULTS))
def test_what_a_table_promises_by_default_counts(table, stated, name, value, default, tmp_path, plugins) -> None:
    """The file need not have said it."""
    found = named(tmp_path, plugins, f"[guarantees.{table}]\n{stated}\n", "", f"guarantees.{table}.{name}={value}")
    assert found == [f"guarantees.{table}.{name} {default} -> {value} by --set"]


def test_a_guarantee_that_the_file_lacks_cannot_be_loosened(tmp_path, plugins) -> None:
    """Neither a whole one that only a profile has, nor a limit that only it sets."""
    profile = "[profiles.p]\nguarantees.rollout.max_unavailable = 3\nguarantees.latency.p99_ms = 90000\n"
    assert named(tmp_path, plugins, f"[guarantees.latency]\np95_ms = 9\n{profile}", "p") == []


def test_each_of_several_guarantees_is_looked_at_by_its_name(tmp_path, plugins) -> None:
    """The one that is loosened is named, its neighbour and a new one are not."""
    text = """
        [guarantees.latency.page]
        p95_ms = 100
        [guarantees.latency.bulk]
        p95_ms = 900
        [profiles.laptop]
        guarantees.latency.page.p95_ms = 400
        guarantees.latency.bulk.p95_ms = 500
        guarantees.latency.new.p95_ms = 5000
    """
    assert named(tmp_path, plugins, text, "laptop") == ["guarantees.latency.page.p95_ms 100 -> 400 by profile laptop"]


def test_the_layer_that_has_the_last_word_is_blamed(tmp_path, plugins) -> None:
    """A profile that another extends, unless that one or an override says more."""
    text = """
        [guarantees.latency]
        p50_ms = 10
        p95_ms = 100
        p99_ms = 1000
        [profiles.slow]
        guarantees.latency = { p50_ms = 20, p95_ms = 200, p99_ms = 2000 }
        [profiles.laptop]
        extends = "slow"
        guarantees.latency.p95_ms = 300
    """
    assert named(tmp_path, plugins, text, "laptop", "guarantees.latency.p99_ms=3000") == [
        "guarantees.latency.p50_ms 10 -> 20 by profile slow",
        "guarantees.latency.p95_ms 100 -> 300 by profile laptop",
        "guarantees.latency.p99_ms 1000 -> 3000 by --set",
    ]
    assert named(tmp_path, plugins, text, "laptop", "guarantees.latency={p50_ms=1,p95_ms=1,p99_ms=1}") == []


def test_a_guarantee_about_something_else_is_loosened(tmp_path, plugins) -> None:
    """What it was about is promised nothing any more; about everything it is promised more."""
    key = "guarantees.latency.endpoint"
    text = '[guarantees.latency]\nendpoint = "a"\np95_ms = 1\n'
    assert named(tmp_path, plugins, text, "", f'{key}="b"') == [f'{key} "a" -> "b" by --set']
    assert named(tmp_path, plugins, text, "", f'{key}=""') == []


SERVED = """
[app]
name = "promises"

[models.m]
source = "handlers.py"
runtime = "null"

[endpoints.e]
model = "m"
[endpoints.e.input]
x = "tensor"
[endpoints.e.output]
x = "tensor"

[[tests]]
name = "one"
input = { x = [[2.0]] }
expect = { x = [[2.0]] }

[deploy]
replicas = 1

[guarantees.latency]
p95_ms = 250

[profiles.laptop]
guarantees.latency.p95_ms = 2000
"""
CHANGE = "250 -> 2000 by profile laptop"
TOLD = f"loosened: guarantees.latency.p95_ms {CHANGE}"
AS_JSON = [{"key": "guarantees.latency.p95_ms", "stated": 250, "now": 2000, "by": "profile laptop"}]


@pytest.fixture
def served(tmp_path) -> AppProject:
    """An app that answers, with a guarantee that a profile loosens."""
    return AppProject(tmp_path).write(SERVED, handlers="# none\n")


def test_test_names_it_wherever_its_results_go(served, tmp_path, monkeypatch) -> None:
    """On the screen, in the JUnit report and in GitHub's summary; what has no effect is told once, as a note."""
    summary = tmp_path / "summary.md"
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    outcome = served.run("test", "--profile", "laptop", "--junit", "report.xml")
    assert outcome.exit_code == 0, str(outcome)
    assert TOLD in outcome.stdout.splitlines()
    assert TOLD in summary.read_text().splitlines()
    properties = ElementTree.parse(tmp_path / "report.xml").findall("testsuite/properties/property")
    assert {one.get("name"): one.get("value") for one in properties}["loosened guarantees.latency.p95_ms"] == CHANGE
    warnings = [line for line in outcome.stderr.splitlines() if line.startswith("warning[")]
    assert len([line for line in warnings if "[deploy] is read and checked, and has no effect yet" in line]) == 1


def test_test_names_it_in_json_and_only_with_the_profile(served) -> None:
    """Without the profile nothing is loosened, and nothing is said."""
    assert served.run("test", "--json", "--profile", "laptop").json()["loosened"] == AS_JSON
    plain = served.run("test", "--json")
    assert plain.json()["loosened"] == []
    assert "loosened" not in served.run("test").stdout


def test_check_names_it(served) -> None:
    """As it does whether the file is valid."""
    assert TOLD in served.run("check", "--profile", "laptop").stderr
    assert served.run("check", "--profile", "laptop", "--json").json()["loosened"] == AS_JSON


def test_run_names_it_before_it_serves(served, background, tmp_path) -> None:
    """On the screen, with what has no effect among the notes."""
    words = ("run", "--profile", "laptop", "--set", "server.port=0")
    command = background(*words, cwd=tmp_path)
    _wait_for(command, lambda: "\nready" in command.stdout)
    assert TOLD in command.stdout.splitlines()
    assert command.stderr.count("[deploy] is read and checked, and has no effect yet") == 1
    command.process.terminate()
    command.process.wait()
    command = background(*words, "--json", "-q", cwd=tmp_path)
    _wait_for(command, lambda: command.stdout.endswith("\n"))
    assert json.loads(command.stdout)["loosened"] == AS_JSON


def _wait_for(command, is_so) -> None:
    while not is_so():
        assert command.process.poll() is None, command.stderr
        time.sleep(0.02)
