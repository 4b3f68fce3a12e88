"""The routes below /v2 of a running app: failures of every kind, the repository, generate, raw bodies."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelapp.testing import Answer, AppProject, RunningApp

APP = """
[app]
name = "guarded"

[server]
tokens_env = "GUARDED_TOKENS"
max_body_mb = 0.01

[server.tokens.boss]
admin = true

[server.tokens.clerk]
models = ["affine"]

[models.affine]
source = "handlers.py"
runtime = "null"
max_batch_size = 8
[models.affine.null]
inputs = { x = "float32[batch, 2]" }
scale = 2.0

[models.word]
source = "handlers.py"
runtime = "null"
[models.word.null]
inputs = { t = "string[batch, 1]" }

[models.slow]
source = "handlers.py"
runtime = "null"
max_queue = 1
[models.slow.null]
inputs = { x = "float32[batch, 1]" }
delay_ms = 300
poison = 13.0

[models.spare]
source = "handlers.py"
runtime = "null"
required = false
[models.spare.null]
inputs = { x = "float32[batch, 1]" }

[models.counts]
source = "handlers.py:Counts"
runtime = "python"
"""
HANDLERS = '''
class Counts:
    """Counts letters."""

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"letters": len(row["text"])} for row in rows]
'''
BOSS, CLERK = "the-boss-has-a-secret", "the-clerk-has-one-too"
INFER = "/v2/models/affine/infer"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app above, serving."""
    env = {"GUARDED_TOKENS": f"boss={BOSS} clerk={CLERK}"}
    project = AppProject(tmp_path_factory.mktemp("guarded"), env=env)
    with project.write(APP, handlers=HANDLERS).serve() as app:
        yield app


def ask(
    running: RunningApp, method: str, path: str, body: object = b"", *, token: str = BOSS, **headers: str
) -> Answer:
    """One request with a token; header names with _ for -."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent["authorization"] = f"Bearer {token}"
    return running.ask(method, path, raw, sent)


def x(*row: float) -> dict:
    """A request for one row."""
    return {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "told"),
    [
        ("POST", INFER, x(1, 2), {"token": ""}, 401, "bearer token"),
        ("POST", INFER, x(1, 2), {"token": "nobody-knows-this-one"}, 401, "token"),
        ("POST", "/v2/models/slow/infer", x(1), {"token": CLERK}, 403, 'the token "clerk" may not call this model'),
        ("POST", "/v2/repository/models/spare/load", b"", {"token": CLERK}, 403, "admin = true"),
        ("GET", "/v2/models/stats", b"", {"token": ""}, 401, "bearer token"),
        ("GET", "/v2/nothing", b"", {}, 404, 'there is no route "/v2/nothing"'),
        ("GET", "/v2/models/none", b"", {}, 404, 'there is no model "none"'),
        ("GET", "/v2/models/affine/versions/2/ready", b"", {}, 404, 'has no version "2"'),
        ("POST", "/v2/repository/models/none/unload", b"", {}, 404, 'there is no model "none"'),
        ("GET", INFER, b"", {}, 405, "takes POST, not GET"),
        ("DELETE", "/v2", b"", {}, 405, "takes GET, not DELETE"),
        ("POST", INFER, b"{" + b" " * 20_000 + b"}", {}, 413, "larger than the 10485 bytes"),
        ("POST", INFER, gzip.compress(b" " * 20_000, mtime=0), {"content_encoding": "gzip"}, 413, "when inflated"),
        ("POST", INFER, b"{}", {"content_encoding": "br"}, 415, 'content-encoding "br"'),
        ("POST", INFER, b"{}", {"content_encoding": "gzip"}, 400, "not gzip data"),
        ("POST", INFER, b"{", {}, 400, "not JSON"),
        ("POST", INFER, b"", {}, 400, "the body is empty"),
        ("POST", INFER, b"{}", {"inference_header_content_length": "3"}, 400, "must be a number of bytes"),
        ("POST", "/v2/models/slow/infer", x(13), {}, 500, "holds the poison"),
        ("POST", "/v2/models/slow/infer", x(1) | {"parameters": {"timeout": 1}}, {}, 504, "time allowed"),
        ("POST", "/v2/models/slow/infer", x(1) | {"parameters": {"sequence_id": 4}}, {}, 400, "sequence_id"),
        ("POST", "/v2/models/counts/infer", x(1), {}, 400, "takes records, which inference requests cannot carry"),
        ("POST", "/v2/models/counts/generate", b"[]", {}, 400, "must be a JSON object"),
        ("POST", "/v2/models/counts/generate_stream", b"{}", {}, 500, "KeyError"),
        ("POST", "/v2/repository/index", b"[]", {}, 400, "must be a JSON object, or empty"),
        ("POST", "/v2/repository/models/spare/load", {"parameters": {"config": "{}"}}, {}, 400, "config"),
        ("POST", "/v2/repository/models/spare/load", {"parameters": {"file:1/m": ""}}, {}, 400, "app.toml"),
    ],
)  # fmt: skip
def test_every_failure_is_one_shape(
    running: RunningApp, method: str, path: str, body: object, headers: dict, status: int, told: str
) -> None:
    """Whoever raises it, the answer is {"error": text} with the right status."""
    answer = ask(running, method, path, body, **headers)
    assert (answer.status, list(answer.json())) == (status, ["error"])
    assert told in answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"


@settings(max_examples=150)
@given(st.data())
def test_no_body_is_a_failure_of_ours(running: RunningApp, data: st.DataObject) -> None:
    """Right requests, broken anywhere and under any headers, over HTTP: answered, or refused in words."""
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = bytearray(data.draw(st.sampled_from([head + struct.pack("<4f", 1, 2, 3, 4), json.dumps(x(1, 2)).encode()])))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    raw = bytes(body)
    encoding, pack = data.draw(
        st.sampled_from(
            [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip", bytes), ("br", bytes)]
        )
    )
    headers = {"content_encoding": encoding} if encoding else {}
    if length := data.draw(st.sampled_from(["", str(len(head)), "0", "-1", "1e3", "99999999999999999999"])):
        headers["inference_header_content_length"] = length
    path = data.draw(st.sampled_from([INFER, "/v2/models/word/infer", "/v2/models/affine/generate"]))

    answer = ask(running, "POST", path, pack(raw), **headers)

    assert answer.status == 200 or 400 <= answer.status < 500
    assert answer.status == 200 or list(answer.json()) == ["error"]


def test_a_full_queue_is_429_with_a_time(running: RunningApp) -> None:
    """Requests beyond the queue's bound are refused at once, and told when to come back."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(running, "POST", "/v2/models/slow/infer", x(1)), range(8)))
    assert {answer.status for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert list(refused.json()) == ["error"]
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_json(running: RunningApp, encoding: str, pack) -> None:
    """The bare deflate stream that some clients send counts too, whatever byte it begins with."""
    body = json.dumps(x(1, 2)).encode()
    assert ask(running, "POST", INFER, pack(body), content_encoding=encoding).json()["outputs"][0]["data"] == [2, 4]
    bare = zlib.compressobj(wbits=-15)
    packed = bare.compress(body) + bare.flush()
    assert ask(running, "POST", INFER, packed, content_encoding="deflate").status == 200


def test_answers_are_compressed_only_on_demand(running: RunningApp) -> None:
    """Without accept-encoding, or where it is small, an answer comes as it is."""
    stats = "/v2/models/affine/infer"
    many = {"inputs": [{"name": "x", "shape": [40, 2], "datatype": "FP32", "data": [0.5] * 80}]}
    large = {**many, "outputs": [{"name": "x"}], "id": "i" * 2000}
    assert "content-encoding" not in ask(running, "POST", stats, large).headers
    assert "content-encoding" not in ask(running, "POST", stats, x(1, 2), accept_encoding="gzip").headers
    assert "content-encoding" not in ask(running, "POST", stats, large, accept_encoding="gzip;q=0, br").headers
    for accepted, unpack in (("gzip", gzip.decompress), ("br, deflate;q=0.5", zlib.decompress), ("*", gzip.decompress)):
        answer = ask(running, "POST", stats, large, accept_encoding=accepted)
        assert json.loads(unpack(answer.body))["outputs"][0]["data"] == [1.0] * 80


def test_a_body_may_be_one_raw_tensor(running: RunningApp) -> None:
    """With 0 in the header, for numbers and for text; the outputs come raw."""
    answer = ask(running, "POST", INFER, struct.pack("<4f", 1, 2, 3, 4), inference_header_content_length="0")
    size = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.body[:size])["outputs"][0]["shape"] == [2, 2]
    assert struct.unpack("<4f", answer.body[size:]) == (2, 4, 6, 8)
    answer = ask(running, "POST", "/v2/models/word/infer", b"{}", inference_header_content_length="0")
    assert answer.body.endswith(struct.pack("<I", 2) + b"{}")


def test_generate(running: RunningApp) -> None:
    """Names of inputs are inputs, all else are parameters; records are given as they are; a stream has one event."""
    answer = ask(running, "POST", "/v2/models/affine/generate", {"x": [1, 2], "id": "7", "other": [1]})
    assert answer.json() == {"model_name": "affine", "model_version": "1", "id": "7", "x": [2.0, 4.0]}
    answer = ask(running, "POST", "/v2/models/word/versions/1/generate", {"t": "ü", "parameters": {"priority": 1}})
    assert answer.json()["t"] == "ü"
    assert ask(running, "POST", "/v2/models/counts/generate", {"text": "four"}).json()["letters"] == 4
    stream = ask(running, "POST", "/v2/models/counts/generate_stream", {"text": "four"})
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.body == b'data: {"letters":4,"model_name":"counts","model_version":"1"}\n\n'
    for broken, told in (({"x": "a"}, "declared FP32"), ({"x": [[1, 2], [3]]}, "rectangular"), ({}, "missing")):
        answer = ask(running, "POST", "/v2/models/affine/generate", broken)
        assert (answer.status, told in answer.json()["error"]) == (400, True)


def test_load_and_unload(running: RunningApp) -> None:
    """Whoever may, unloads a model and loads it again, while the others go on."""
    row = x(1)

    def states() -> dict[str, str]:
        return {entry["name"]: entry["state"] for entry in ask(running, "POST", "/v2/repository/index").json()}

    assert ask(running, "POST", "/v2/models/spare/infer", row).status == 200
    unload = {"parameters": {"unload_dependents": False}}
    assert ask(running, "POST", "/v2/repository/models/spare/unload", unload).status == 200
    assert states()["spare"] == "UNAVAILABLE"
    assert "spare" not in [
        entry["name"] for entry in ask(running, "POST", "/v2/repository/index", {"ready": True}).json()
    ]
    answer = ask(running, "POST", "/v2/models/spare/infer", row)
    assert (answer.status, list(answer.json())) == (503, ["error"])
    assert "retry-after" in answer.headers
    ready = ask(running, "GET", "/v2/models/spare/ready")
    assert (ready.status, ready.json()["ready"]) == (503, False)
    assert ask(running, "GET", "/v2/health/ready").status == 200
    assert ask(running, "POST", INFER, x(1, 2)).status == 200
    assert ask(running, "POST", "/v2/repository/models/spare/load").status == 200
    assert states()["spare"] == "READY"
    assert ask(running, "POST", "/v2/models/spare/infer", row).status == 200
