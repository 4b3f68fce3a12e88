"""The resolved file: every key once, with its value and origin, as TOML that reads back as the same app."""

import json
import textwrap
from pathlib import Path

import attrs
import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelapp.app import App
from modelapp.loader import Reading, read_app
from modelapp.nulloptions import SchedulerOptions
from modelapp.resolved import document, resolve
from modelapp.runtime import RawOptions, RuntimeSpec
from modelapp.scheduler import SchedulerSpec
from modelapp.suggestions import toml

PROFILES = """
[guarantees.latency.all]
p95_ms = 250
[guarantees.latency.both]
endpoint = "both"
p99_ms = 900.0

[guarantees.robustness]

[jobs.night]
endpoint = "both"
input = "data/*.jsonl"
output = "out/{stem}.jsonl"

[profiles.big]
models.story.max_batch_size = 32
models.story.onnx.level = "basic"
models.poem.python.deep = { list = [1.0, { a = 1979-05-27 }], empty = {} }
deploy.replicas = 4
deploy.null.capacity = 3

[profiles.prod]
extends = "big"
models.story.jax = { precision = "fp16", sizes = [1, 2] }
deploy.scheduler = "null"
deploy.spot = {}
endpoints.continue.steps = [{ name = "words", run = "handlers.py:ids", needs = ["prompt"] }]
guarantees.latency.all.p95_ms = 80
[profiles.prod.endpoints.continue.input]
prompt.max_chars = 100
photo = { type = "image?", max_side_px = 64 }
image = { type = "tensor?" }

[profiles.jaxed]
models.poem.runtime = "jax"
models.poem.source = "models/poem.jax"
models.poem.files = { "a b" = "models/x.bin" }
"""
TEXTS = st.text(st.characters(codec="utf-8"))
LEAVES = {
    "server.port": st.integers(0, 65535),
    "server.host": st.sampled_from(["0.0.0.0", "::1"]),
    "models.story.max_wait_ms": st.floats(0, 79),
    "models.story.onnx.threads": st.integers(1, 9),
    "models.story.buckets": st.lists(st.integers(1, 9) | st.lists(st.integers(1, 9), min_size=1), max_size=3),
    "app.description": TEXTS,
    "models.poem.python": st.dictionaries(TEXTS, st.integers() | st.just({}), max_size=3),
    "endpoints.continue.input.count.default": st.integers(1, 200),
    "endpoints.continue.input.prompt.doc": TEXTS,
    "deploy.rollout.drain_s": st.floats(30, 100),
    "deploy.autoscale.max": st.integers(4, 9),
    "guarantees.drift": st.fixed_dictionaries({"reference": st.just("data/holdout.jsonl")}),
    "jobs.night.cron": st.just("0 6 * * *"),
}


@pytest.fixture
def folder(dungeon, plugins) -> Path:
    """The app with profiles; the scheduler "null" and the runtime "jax" take options."""
    plugins.runtimes["jax"] = RuntimeSpec(name="jax", open=lambda: None, options=RawOptions)
    plugins.schedulers["null"] = SchedulerSpec(name="null", open=lambda _: None, options=SchedulerOptions)
    dungeon.root.joinpath("app.toml").write_text(dungeon.text + PROFILES)
    return dungeon.root


def reading(folder: Path, plugins, profile: str = "", *overrides: str) -> Reading:
    return read_app(folder / "app.toml", plugins, profile=profile, overrides=overrides)


def text_of(read: Reading) -> str:
    return document(resolve(read.app, read.data, read.sources))


def comparable(app: App) -> App:
    """Without what a file cannot say of itself: its name and lines; profiles have been laid over."""
    tests = tuple(attrs.evolve(test, line=0) for test in app.tests)
    return attrs.evolve(app, tests=tests, profiles={}, path=Path("app.toml"))


def origins(read: Reading) -> dict[str, str]:
    return {one.key: one.origin for table in resolve(read.app, read.data, read.sources) for one in table.keys}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_text_reads_back_as_the_same_app(data, folder: Path, plugins) -> None:
    """Whatever profile and overrides are laid over the file; and each of its lines names an origin."""
    profile = data.draw(st.sampled_from(["", "big", "prod", "jaxed"]))
    keys = data.draw(st.lists(st.sampled_from(sorted(LEAVES)), unique=True, max_size=4))
    overrides = [f"{key}={toml(data.draw(LEAVES[key]))}" for key in keys]
    if "models.story.buckets" in keys:
        overrides.append("models.story.pad.ids.value=0")  # what is filled up to a bucket
    read = reading(folder, plugins, profile, *overrides)

    text = text_of(read)

    (folder / "again.toml").write_bytes(text.encode())
    again = read_app(folder / "again.toml", plugins)
    assert comparable(again.app) == comparable(read.app)
    stated = [
        {key: one[key] for key in test} for test, one in zip(read.data["tests"], again.data["tests"], strict=True)
    ]
    assert json.dumps(stated) == json.dumps(read.data["tests"]), "1 is not 1.0"
    assert all("  # " in line for line in text.split("\n") if line and not line.startswith("["))


def test_every_kind_of_origin_is_named(folder: Path, plugins) -> None:
    """The file's line, the profile's line, the profile that it extends, the override, and the default."""
    found = origins(reading(folder, plugins, "prod", "server.port=9"))
    lines = (folder / "app.toml").read_text().splitlines()

    def line(text: str) -> int:
        return 1 + next(number for number, one in enumerate(lines) if one.startswith(text))

    assert found["app.name"] == f"app.toml:{line('name = ')}"
    assert found["models.story.onnx.threads"] == f"app.toml:{line('threads = 2')}"
    assert found["tests[1].metric_min"] == f"app.toml:{line('metric_min')}"
    assert found["models.story.onnx.level"] == f"profile big, app.toml:{line('models.story.onnx.level')}"
    assert found["guarantees.latency.all.p95_ms"] == f"profile prod, app.toml:{line('guarantees.latency.all.p95_ms')}"
    assert found["endpoints.continue.input.prompt.max_chars"] == f"profile prod, app.toml:{line('prompt.max_chars')}"
    assert found["endpoints.continue.input.prompt.min_chars"] == f"app.toml:{line('prompt = ')}"
    assert found["server.port"] == "--set"
    assert found["server.drain_s"] == "default"
    assert found["deploy.null.capacity"].startswith("profile big")
    assert found["deploy.null.drain_s"] == "default"
    assert found["endpoints.continue.input.image.dtype"] == "default"
    assert "endpoints.continue.input.prompt.dtype" not in found, "only tensors have one"


def test_tables_stand_in_file_order_three_words_deep(folder: Path, plugins) -> None:
    """What lies deeper is written with dotted keys; what nobody wrote comes last."""
    text = text_of(reading(folder, plugins, "prod"))
    headers = [line for line in text.splitlines() if line.startswith("[")]
    assert headers[:4] == ["[app]", "[models.story]", "[models.story.onnx]", "[models.story.jax]"]
    assert headers.index("[endpoints.both.split]") < headers.index("[[tests]]") < headers.index("[server]")
    assert headers[-3:] == ["[deploy.null]", "[deploy.spot]", "[deploy.rollout]"]
    assert max(header.count(".") for header in headers) == 2
    assert headers.count("[[tests]]") == 4
    assert "profiles" not in text


def test_check_prints_it(dungeon, modelapp) -> None:
    """On standard output as TOML or as JSON; whether the file is valid is a note."""
    app = """
        [app]
        name = "small"
        [server]
        port = 1
        [profiles.prod]
        server.port = 2
    """
    (dungeon.root / "app.toml").write_text(textwrap.dedent(app))
    shown = modelapp("check", "--resolved", "--profile", "prod", cwd=dungeon.root)
    assert (shown.returncode, shown.stderr) == (0, "app.toml is valid: 0 models, 0 endpoints, 0 tests\n")
    assert "port = 2  # profile prod, app.toml:7" in shown.stdout.splitlines()
    assert tomli.loads(shown.stdout)["server"]["port"] == 2
    told = json.loads(modelapp("check", "--resolved", "--json", "--set", "server.port=3", cwd=dungeon.root).stdout)
    assert {"key": "server.port", "value": 3, "origin": "--set"} in told["keys"]
    (dungeon.root / "app.toml").write_text("[app]\n")
    broken = modelapp("check", "--resolved", cwd=dungeon.root)
    assert (broken.returncode, broken.stdout.count("error[")) == (3, 1)
