"""Every request has exactly one outcome, told alike to the client and to whoever counts: the whole table, for real."""

import gzip
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelapp.testing import Answer, AppProject, RunningApp

TOML = """\
[app]
name = "outcomes"

[server]
max_body_mb = 0.1
max_concurrent = 24

[models.slow]
source = "handlers.py"
runtime = "null"
max_batch_size = 1
max_queue = 4
[models.slow.null]
delay_ms = 100.0
poison = -7.0
load_delay_ms = LOAD

[endpoints.slow]
model = "slow"
timeout_s = 10
[endpoints.slow.input]
x = "list[float]"

[endpoints.hasty]
model = "slow"
timeout_s = 0.25
[endpoints.hasty.input]
x = "list[float]"

[endpoints.few]
steps = [{ name = "out", run = "handlers.py:wait", needs = ["seconds"] }]
max_concurrent = 2
[endpoints.few.input]
seconds = "float"

[endpoints.many]
steps = [{ name = "out", run = "handlers.py:wait", needs = ["seconds"] }]
[endpoints.many.input]
seconds = "float"

[endpoints.thread]
steps = [{ name = "out", run = "handlers.py:work", needs = ["seconds"] }]
[endpoints.thread.input]
seconds = "float"

[[tests]]
name = "slow"
endpoint = "slow"
input = { x = [1.0] }
expect = { x = [1.0] }
"""
HANDLERS = """\
import asyncio
import time

async def wait(seconds):
    await asyncio.sleep(seconds)
    return {}

def work(seconds):
    time.sleep(seconds)
    return {}
"""
WATCHER = """\
import json
from pathlib import Path

from modelapp import hookimpl

class Watcher:
    def __init__(self, path):
        self.path = path

    def request_ended(self, call):
        told = [call.id, call.endpoint, call.outcome, call.status]
        with self.path.open("a") as file:
            file.write(json.dumps(told) + "\\n")

    def run_ended(self, run):
        pass

    def close(self):
        pass

@hookimpl
def modelapp_observers(host):
    return [Watcher(Path(host.service.app.root) / "told")]
"""
PATIENCE_S = 30.0


class Served:
    """The app of a folder, served."""

    def __init__(self, root: Path, app: RunningApp) -> None:
        self.root, self.app = root, app

    def told(self) -> dict[str, tuple[str, str, int]]:
        """By request id, what the watcher was told: endpoint, outcome and status. Each only once."""
        lines = [json.loads(line) for line in (self.root / "told").read_text().splitlines()]
        assert len({line[0] for line in lines}) == len(lines)
        return {line[0]: tuple(line[1:]) for line in lines}

    def check(self, answer: Answer, status: int, code: str) -> Answer:
        """Client and watcher have heard the same."""
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)
        heard = self.until_told(answer.headers["x-request-id"])  # which may come a moment after the answer
        assert heard[1:] == (code, status)
        return answer

    def leave(self, path: str, value: object, *, after_s: float = 0.2, reset: bool = False) -> str:
        """Send a request and go away; its id."""
        body = json.dumps(value).encode()
        name = f"gone-{time.monotonic_ns()}"
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-request-id: {name}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.app.port)) as connection:
            connection.sendall(head.encode() + body)
            time.sleep(after_s)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return name

    def until_told(self, name: str) -> tuple[str, str, int]:
        """What becomes of a request whose client does not hear of it."""
        until = time.monotonic() + PATIENCE_S
        while name not in self.told():
            assert time.monotonic() < until
            time.sleep(0.02)
        return self.told()[name]


@pytest.fixture
def served(tmp_path: Path, install) -> Iterator[Served]:
    """The app, ready."""
    project = AppProject(tmp_path / "app", env=install("watcher", WATCHER))
    project.write(TOML.replace("LOAD", "0.0"), handlers=HANDLERS)
    with project.serve() as app:
        yield Served(project.folder, app)


def at_once(number: int, ask) -> list[Answer]:
    """So many requests at the same time."""
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(ask, range(number)))


def test_a_full_queue_is_429_with_the_time_until_there_is_room(served: Served) -> None:
    """The wait is what the model's runs take, not a guess, in both headers; nobody admitted is left without answer."""
    for _ in range(3):
        assert served.app.post("/slow", {"x": [1.0]}).status == 200
    answers = at_once(16, lambda number: served.app.post("/slow", {"x": [float(number)]}))
    counts = Counter(answer.status for answer in answers)
    assert set(counts) == {200, 429}
    assert counts[200] >= 5
    for number, answer in enumerate(answers):
        if answer.status == 200:
            assert answer.json() == {"x": [float(number)]}
            continue
        served.check(answer, 429, "queue_full")
        wait_ms = int(answer.headers["retry-after-ms"])
        assert 20 <= wait_ms < 1000
        assert answer.headers["retry-after"] == "1"
        assert "x-should-retry" not in answer.headers


def test_more_than_may_be_in_progress_is_429(served: Served) -> None:
    """For one endpoint, while others go on, and for the whole server; health is answered all the while."""
    answers = at_once(6, lambda _: served.app.post("/few", {"seconds": 0.7}))
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 4
    for answer in refused:
        served.check(answer, 429, "queue_full")
        assert {"retry-after", "retry-after-ms"} <= set(answer.headers)
    with ThreadPoolExecutor(1) as beside:
        crowd = beside.submit(at_once, 40, lambda _: served.app.post("/many", {"seconds": 1.0}))
        time.sleep(0.5)
        assert served.app.ask("GET", "/readyz").status == 200
        counts = Counter(answer.status for answer in crowd.result())
    assert set(counts) == {200, 429}
    assert counts[200] >= 24


def test_a_deadline_counts_the_time_in_the_queue(served: Served) -> None:
    """Those that wait too long are 504 and never run, and clients are told not to repeat them by themselves."""
    answers = at_once(5, lambda _: served.app.post("/hasty", {"x": [1.0]}))
    late = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in answers} == {200, 504}
    for answer in late:
        served.check(answer, 504, "deadline_exceeded")
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers


def test_too_large_is_413_before_and_after_inflating(served: Served) -> None:
    """Also where nothing tells the length."""
    json_type = {"content-type": "application/json"}
    large = json.dumps({"x": [1.0] * 40_000}).encode()
    served.check(served.app.ask("POST", "/slow", large, json_type), 413, "too_large")
    small = gzip.compress(large)
    assert len(small) < 10_000
    squeezed = {**json_type, "content-encoding": "gzip"}
    served.check(served.app.ask("POST", "/slow", small, squeezed), 413, "too_large")


def test_what_a_model_raises_is_500_and_not_to_be_repeated(served: Served) -> None:
    """By itself; a person may."""
    answer = served.check(served.app.post("/slow", {"x": [-7.0]}), 500, "model_failed")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_is_counted_as_cancelled(served: Served, reset: bool) -> None:
    """Whether its request waits, runs, or is in a function; the one behind it is answered."""
    with ThreadPoolExecutor(3) as busy:
        running = [busy.submit(served.app.post, "/slow", {"x": [1.0]}) for _ in range(3)]
        waiting = served.leave("/slow", {"x": [1.0]}, after_s=0.1, reset=reset)
        assert {one.result().status for one in running} == {200}
    for name, endpoint in (
        (waiting, "slow"),
        (served.leave("/thread", {"seconds": 0.6}, reset=reset), "thread"),
        (served.leave("/many", {"seconds": 2.0}, reset=reset), "many"),
    ):
        assert served.until_told(name) == (endpoint, "cancelled", 499)
    assert served.app.post("/slow", {"x": [1.0]}).status == 200


def test_before_it_is_ready_everybody_is_503(tmp_path: Path, background) -> None:
    """With the time to wait; health is answered, and tells why."""
    project = AppProject(tmp_path / "app").write(TOML.replace("LOAD", "3000.0"), handlers=HANDLERS)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run = background("run", "--set", f"server.port={port}", cwd=project.folder)
    app = RunningApp.__new__(RunningApp)
    app.port = port
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = app.post("/slow", {"x": [1.0]})
            break
        except OSError:
            assert time.monotonic() < until, run.stderr
            time.sleep(0.02)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "not_ready")
    assert {"retry-after", "retry-after-ms"} <= set(answer.headers)
    health = app.ask("GET", "/readyz")
    assert (health.status, health.json()["reason"]) == (503, "the app is starting")
    assert app.ask("GET", "/livez").status == 200
    run.process.terminate()
    assert run.process.wait(PATIENCE_S) == 0
