"""The files that an app.toml names."""

from collections.abc import Callable
from pathlib import Path

from modelapp.loader import load_app
from modelapp.naming import Named, named
from modelapp.plugins import Plugins

APP = """
[app]
name = "shop"
requirements = "requirements.lock"

[models.photo]
source = "models/photo.onnx"
files = { words = "data/words.txt", net = "package:numpy/version.py" }
labels = "data/labels.txt"
runtime = "onnx"

[models.own]
source = "handlers.py:Own"
runtime = "python"

[endpoints.look]
model = "photo"

[endpoints.look.input]
photo = "image"
many = { type = "list[image]", default = [] }
text = { type = "str", default = "" }
row = { type = "record", fields_from = "data/row.toml", default = { x = 1 } }

[endpoints.look.output]
found = "json"

[guarantees.latency]
p95_ms = 100
inputs = "data/load.jsonl"

[guarantees.drift]
reference = "data/reference.jsonl"

[server]
tls_cert = "cert.pem"
tls_key = "key.pem"

[[tests]]
name = "one"
input = { photo = "data/cat.png", many = ["data/a.png", "data/b.png"], text = "data/no.png" }
expect_file = "data/expected.json"

[[tests]]
name = "all"
cases = "data/cases.jsonl"
metric = "accuracy"
metric_field = "found"
metric_min = 0.5
"""


def test_every_file_that_decides_an_answer_or_a_verdict(write_app: Callable[..., Path]) -> None:
    """Neither a text that only looks like a path, nor keys, nor what a test expects: that is recorded apart."""
    files = {
        "handlers.py": "class Own:\n    def predict(self, rows): return rows\n",
        "requirements.lock": "numpy==2.3.0\n",
        "data/row.toml": 'x = "int"\n',
        "data/cases.jsonl": '{"input": {"photo": "data/cat.png"}, "expect": {"found": 1}}\n',
        **dict.fromkeys(("data/cat.png", "data/a.png", "data/b.png", "data/labels.txt", "data/words.txt"), ""),
        **dict.fromkeys(("models/photo.onnx", "data/load.jsonl", "data/reference.jsonl", "data/expected.json"), ""),
        **dict.fromkeys(("cert.pem", "key.pem"), ""),
    }
    root = write_app(APP, files)
    found = list(named(load_app(root / "app.toml", Plugins.load())))
    assert found == [
        Named("requirements.lock", "app.requirements"),
        Named("models/photo.onnx", "models.photo.source", "photo"),
        Named("data/words.txt", "models.photo.files.words", "photo", "words"),
        Named("package:numpy/version.py", "models.photo.files.net", "photo", "net"),
        Named("data/labels.txt", "models.photo.labels", "photo", "labels"),
        Named("handlers.py:Own", "models.own.source", "own"),
        Named("data/row.toml", "endpoints.look.input.row.fields_from"),
        Named("data/cat.png", 'test "one": input.photo'),
        Named("data/a.png", 'test "one": input.many'),
        Named("data/b.png", 'test "one": input.many'),
        Named("data/cases.jsonl", 'test "all": cases'),
        Named("data/load.jsonl", "guarantees.latency.inputs"),
        Named("data/reference.jsonl", "guarantees.drift.reference"),
    ]


def test_an_app_may_name_nothing(write_app: Callable[..., Path]) -> None:
    """Then there is nothing to lock."""
    root = write_app('[app]\nname = "shop"\n')
    assert list(named(load_app(root / "app.toml", Plugins.load()))) == []
