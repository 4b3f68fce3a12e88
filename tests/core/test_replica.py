"""A replica as its clients meet it: started by the command line, asked over HTTP, stopped by signals."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelapp.testing import AppProject, RunningApp

APP = """
[app]
name = "numbers"

[models.affine]
source = "handlers.py"
runtime = "null"
max_batch_size = 8
max_queue = 16

[models.affine.null]
inputs = { x = "float32[batch, 2]" }
scale = 2.0
offset = 1.0
poison = -7.0
delay_ms = 20.0

[models.spare]
source = "handlers.py"
runtime = "null"
required = false

[models.spare.null]
load_error = "the spare is broken"

[endpoints.double]
model = "affine"
postprocess = "handlers.py:tidy"
timeout_s = 5

[endpoints.double.input]
x = { type = "list[float]", min_items = 2, max_items = 2 }

[endpoints.double.output]
sum = "float"

[endpoints.slow]
steps = [{ name = "out", run = "handlers.py:sleep", needs = ["seconds"] }]
timeout_s = 0.5

[endpoints.slow.input]
seconds = "float"

[endpoints.odd]
steps = [{ name = "out", run = "handlers.py:odd", needs = ["kind"] }]

[endpoints.odd.input]
kind = "str"

[endpoints.odd.output]
value = "float"

[endpoints.alone]
model = "spare"

[endpoints.alone.input]
x = "list[float]"

[[tests]]
name = "doubles"
endpoint = "double"
input = { x = [1.0, 2.0] }
expect = { sum = 8.0 }

[[tests]]
name = "sleeps"
endpoint = "slow"
input = { seconds = 0.0 }
expect = { slept = 0.0 }

[[tests]]
name = "fine"
endpoint = "odd"
input = { kind = "fine" }
expect = { value = 1.0 }
"""

HANDLERS = """
import time

def tidy(result):
    return {"sum": float(result["x"].sum())}

def sleep(seconds):
    time.sleep(seconds)
    return {"slept": seconds}

def odd(kind):
    return {"fine": {"value": 1.0}, "missing": {}, "extra": {"value": 1.0, "more": 2}, "text": {"value": "1"},
            "nan": {"value": float("nan")}, "none": None}[kind]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app above, serving."""
    project = AppProject(tmp_path_factory.mktemp("numbers"))
    project.write(APP, handlers=HANDLERS)
    with project.serve() as app:
        yield app


def test_endpoint_answers_with_its_headers(running: RunningApp) -> None:
    """An answer carries the release, the request id and where the time went."""
    answer = running.ask(
        "POST", "/double", '{"x": [1, 2]}', {"content-type": "application/json", "x-request-id": "abc-1"}
    )

    assert (answer.status, answer.json()) == (200, {"sum": 8.0})
    assert answer.headers["x-request-id"] == "abc-1"
    assert len(answer.headers["x-modelapp-release"]) == 16
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert float(timing["execute"]) >= 20
    assert set(timing) == {"queue", "execute", "total"}


def test_readiness_tells_each_model_and_endpoint(running: RunningApp) -> None:
    """A model that may fail alone leaves the app ready; its endpoint is not."""
    assert running.ask("GET", "/readyz").json() == {
        "ready": True,
        "reason": "",
        "models": {"affine": True, "spare": False},
        "endpoints": {"double": True, "slow": True, "odd": True, "alone": False},
    }
    answer = running.post("/alone", {"x": [1.0]})
    assert answer.status == 503
    assert answer.json()["error"]["code"] == "not_ready"
    assert "retry-after" in answer.headers


def test_many_at_once_share_runs_and_get_their_own_answers(running: RunningApp) -> None:
    """Thirty-two clients at a model that takes eight rows: own answers, or a polite 429; never another's."""

    def ask(number: int) -> tuple[int, int, object]:
        answer = running.post("/double", {"x": [number, 0]})
        return number, answer.status, answer.json()

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(32)))

    assert {status for _, status, _ in answers} <= {200, 429}
    for number, status, body in answers:
        if status == 200:
            assert body == {"sum": 2.0 * number + 2.0}


def test_poison_harms_nobody_else(running: RunningApp) -> None:
    """One request that makes the model raise fails alone."""

    def ask(number: int) -> int:
        return running.post("/double", {"x": [number, 0]}).status

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(ask, [1, 2, -7, 4, 5, 6]))

    assert statuses == [200, 200, 500, 200, 200, 200]


def test_deadline_is_answered_in_time(running: RunningApp) -> None:
    """A handler that takes longer than the endpoint allows is a 504, not a wait."""
    started = time.monotonic()
    answer = running.post("/slow", {"seconds": 3.0})

    assert answer.status == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", '"value"'),
        ("extra", '"more"'),
        ("text", '"value"'),
        ("nan", '"value"'),
        ("none", "the answer"),
        ("unknown", "handlers.py:odd raised KeyError: 'unknown' (handlers.py:12)"),
    ],
)
def test_wrong_results_never_leave_as_answers(running: RunningApp, kind: str, text: str) -> None:
    """A result that is not what the endpoint declares is a 500 that names the field."""
    answer = running.post("/odd", {"kind": kind})

    assert answer.status == 500
    assert answer.json()["error"]["code"] == "model_failed"
    assert text in answer.json()["error"]["message"]


def test_protocol_plugins_answer_beside_the_endpoints(running: RunningApp) -> None:
    """The Open Inference Protocol serves the same model, through the same batcher."""
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [0, 1, 2, 3]}
    answer = running.post("/v2/models/affine/infer", {"inputs": [tensor]})

    assert answer.status == 200
    assert answer.json()["outputs"][0]["data"] == [1.0, 3.0, 5.0, 7.0]
    assert running.post("/v2/models/affine/infer", {"inputs": []}).status == 400


def test_forced_arms_and_probes_need_the_token(running: RunningApp) -> None:
    """A stranger cannot look at steps: the headers are ignored without the control token."""
    answer = running.ask(
        "POST",
        "/odd",
        '{"kind": "fine"}',
        {"content-type": "application/json", "x-modelapp-probe": "out", "x-modelapp-control": "guess"},
    )
    assert answer.json() == {"value": 1.0}


def test_app_description_lists_the_endpoints(running: RunningApp) -> None:
    """The OpenAPI document is made from the app."""
    paths = running.ask("GET", "/openapi.json").json()["paths"]
    assert {"/double", "/slow", "/odd", "/alone", "/readyz"} <= set(paths)


def serve(folder: Path, app: str = APP, handlers: str = HANDLERS) -> AppProject:
    """A project with an app."""
    return AppProject(folder).write(app, handlers=handlers)


def test_stop_lets_requests_finish(tmp_path: Path) -> None:
    """SIGTERM during a request: the request is answered, keep-alive clients are told to go, and the exit code is 0."""
    app = APP.replace("timeout_s = 0.5", "timeout_s = 5")
    with serve(tmp_path, app).serve() as running, ThreadPoolExecutor(2) as pool:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as kept:
            kept.request("GET", "/livez")
            kept.getresponse().read()
            slow = pool.submit(running.post, "/slow", {"seconds": 1.5})
            time.sleep(0.3)
            stopped = pool.submit(running.stop)
            time.sleep(0.3)
            kept.request("POST", "/double", '{"x": [1, 2]}', {"content-type": "application/json"})
            lame_duck = kept.getresponse()
            assert (lame_duck.status, lame_duck.getheader("connection")) == (200, "close")
            assert json.loads(lame_duck.read()) == {"sum": 8.0}
        assert slow.result().json() == {"slept": 1.5}
        outcome = stopped.result()
    assert outcome.exit_code == 0, str(outcome)


def test_handler_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    """After drain_s the replica goes, whatever still runs in it."""
    app = APP.replace("[app]", "[server]\ndrain_s = 1\n\n[app]")
    with serve(tmp_path, app).serve() as running:
        threading.Thread(target=_quietly, args=(running, 120.0), daemon=True).start()
        time.sleep(0.3)
        started = time.monotonic()
        running.stop()
        assert time.monotonic() - started < 8


def _quietly(running: RunningApp, seconds: float) -> None:
    try:
        running.post("/slow", {"seconds": seconds})
    except OSError:
        return


def test_required_model_that_does_not_load_ends_the_start(tmp_path: Path) -> None:
    """The error names the model and the runtime's reason, without any traceback."""
    outcome = serve(tmp_path, APP.replace("required = false", "")).run("run", "--set", "server.port=0")

    assert outcome.exit_code == 5
    assert 'model "spare"' in outcome.stderr
    assert "the spare is broken" in outcome.stderr
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_failing_warm_up_keeps_the_app_from_being_ready(tmp_path: Path) -> None:
    """A model that cannot answer the first test's input is not declared ready."""
    outcome = serve(tmp_path, APP.replace("{ x = [1.0, 2.0] }", "{ x = [-7.0, 2.0] }")).run(
        "run", "--set", "server.port=0"
    )

    assert outcome.exit_code == 5
    assert 'endpoint "double" did not answer its warm-up' in outcome.stderr


def test_handler_that_does_not_import_shows_its_own_line(tmp_path: Path) -> None:
    """The error is the handler's own, with file and line, and no frame of ours."""
    outcome = serve(tmp_path, handlers=HANDLERS + "\nimport no_such_module_here\n").run("run", "--set", "server.port=0")

    assert outcome.exit_code == 5
    assert "No module named 'no_such_module_here'" in outcome.stderr
    assert "handlers.py:15" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_crash_of_the_replica_is_told_and_mended(tmp_path: Path) -> None:
    """A fault in native code takes the process down; the parent says so and starts another on the same port."""
    app = APP.replace("poison = -7.0", "crash_on_call = 2")
    with serve(tmp_path, app).serve() as running:
        with pytest.raises((OSError, http.client.HTTPException)):
            running.post("/double", {"x": [1.0, 2.0]})
        running.wait_ready(30)
        assert "SIG" in running.output.stderr
    assert running.port
