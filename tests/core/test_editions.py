"""Models loaded and unloaded while the app serves, asked for by a protocol plugin as any may write one."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelapp.testing import Answer, AppProject, RunningApp

TOML = """\
[app]
name = "two"

[models.up]
source = "model.py:Model"
runtime = "python"

[models.down]
source = "model.py:Model"
runtime = "python"
required = false

[endpoints.up]
model = "up"
[endpoints.up.input]
text = "str"

[endpoints.down]
model = "down"
[endpoints.down.input]
text = "str"
"""
MODEL = """\
import time
from pathlib import Path

FOLDER = Path(__file__).parent

class Model:
    def __init__(self):
        if (FOLDER / "broken").exists():
            raise ValueError("the weights are broken")
        self.word = (FOLDER / "word").read_text()
        (FOLDER / "loading").touch()
        while (FOLDER / "wait").exists():
            time.sleep(0.01)

    def predict(self, rows: list[dict]) -> list[dict]:
        time.sleep(0.005)  # else it would run on the loop, and hold that
        while (FOLDER / "hold").exists():
            time.sleep(0.01)
        return [{"text": self.word + row["text"]} for row in rows]

    def close(self):
        with (FOLDER / "closed").open("a") as file:
            file.write("x")
"""
SWITCH = """\
from modelapp import hookimpl
from modelapp.errors import RequestError
from modelapp.routes import HttpResponse, ProtocolRoutes, Route

def error(failure):
    return HttpResponse(failure.status, failure.message.encode())

@hookimpl
def modelapp_protocols(service):
    def route(verb, change):
        async def handle(request):
            await change(request.params["model"])
            return HttpResponse(200, b"{}")
        return Route("POST", "/switch/{model}/" + verb, handle, access="open")
    routes = (route("load", service.load), route("unload", service.unload))
    return [ProtocolRoutes(name="switch", prefix="/switch", routes=routes, error=error)]
"""
PATIENCE_S = 20.0


class Served:
    """The app of a folder, served."""

    def __init__(self, root: Path, app: RunningApp) -> None:
        self.root, self.app = root, app

    def switch(self, model: str, verb: str) -> Answer:
        """Load or unload."""
        return self.app.post(f"/switch/{model}/{verb}", {})

    def ask(self, model: str) -> Any:
        """The text that a model gives, or the status."""
        answer = self.app.post(f"/{model}", {"text": "a"})
        return answer.json()["text"] if answer.status == 200 else answer.status

    @property
    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz."""
        answer = self.app.ask("GET", "/readyz")
        return answer.status, answer.json()

    def until(self, holds: Callable[[], Any]) -> None:
        """Wait until it holds."""
        until = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until, self.app.output
            time.sleep(0.02)

    def closed(self) -> int:
        """How many models were closed."""
        path = self.root / "closed"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def served(tmp_path: Path, install: Callable[[str, str], Mapping[str, str]]) -> Iterator[Served]:
    """The app, ready."""
    project = AppProject(tmp_path / "app", env=install("switch", SWITCH))
    project.write(TOML, {"model.py": MODEL, "word": "b"})
    with project.serve() as app:
        yield Served(project.folder, app)


def test_an_unloaded_model_refuses_and_the_rest_serves_on(served: Served) -> None:
    """Its endpoint is 503 with the reason until it is loaded again; the app, which can do without it, stays ready."""
    assert served.switch("down", "unload").status == 200
    refused = served.app.post("/down", {"text": "a"})
    assert (refused.status, refused.json()["error"]["message"]) == (503, 'model "down" is unloaded')
    assert refused.headers["retry-after"] == "1"
    assert served.ask("up") == "ba"
    assert served.closed() == 1
    status, body = served.readiness
    assert (status, body["endpoints"]) == (200, {"up": True, "down": False})
    assert served.switch("down", "unload").status == 200
    assert served.switch("down", "load").status == 200
    assert served.ask("down") == "ba"
    assert served.closed() == 1


def test_without_a_required_model_the_app_is_not_ready(served: Served) -> None:
    """And says whose fault it is; the other endpoint is answered all the same."""
    served.switch("up", "unload")
    status, body = served.readiness
    assert (status, body["ready"], body["reason"]) == (503, False, 'model "up" is unloaded')
    assert served.ask("down") == "ba"
    served.switch("up", "load")
    assert served.readiness[0] == 200


def test_the_old_one_answers_until_the_new_one_is_warm(served: Served) -> None:
    """Loading again takes the files as they are now, closes the old model, and keeps the other one."""
    (served.root / "word").write_text("c")
    (served.root / "loading").unlink()
    (served.root / "wait").touch()
    answers: list[Answer] = []
    loading = threading.Thread(target=lambda: answers.append(served.switch("up", "load")))
    loading.start()
    served.until((served.root / "loading").exists)
    assert served.ask("up") == "ba"
    (served.root / "wait").unlink()
    loading.join()
    assert answers[0].status == 200
    assert (served.ask("up"), served.ask("down")) == ("ca", "ba")
    served.until(lambda: served.closed() == 1)
    assert "loaded: up" in served.app.output.stderr


def test_what_does_not_load_leaves_the_old_one(served: Served) -> None:
    """Whether or not the app requires the model."""
    (served.root / "broken").touch()
    for model in ("up", "down"):
        refused = served.switch(model, "load")
        assert refused.status == 500
        assert b"the weights are broken" in refused.body
        assert served.ask(model) == "ba"
    assert served.readiness[0] == 200


def test_unloading_lets_requests_end(served: Served) -> None:
    """Whoever is in the model, or waits for it, is answered; whoever comes later is not."""
    (served.root / "hold").touch()
    answers: list[Any] = []
    asking = [threading.Thread(target=lambda: answers.append(served.ask("up"))) for _ in range(3)]
    for thread in asking:
        thread.start()
    served.until(lambda: len(_established(served.app.port)) >= len(asking))
    time.sleep(0.2)
    unloading = threading.Thread(target=served.switch, args=("up", "unload"))
    unloading.start()
    served.until(lambda: served.readiness[0] == 503)
    assert served.ask("up") == 503
    assert served.closed() == 0
    (served.root / "hold").unlink()
    for thread in [*asking, unloading]:
        thread.join()
    assert answers == ["ba", "ba", "ba"]
    assert served.closed() == 1


def _established(port: int) -> list[str]:
    """The lines of connections that the port has."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01"]


def test_unknown_models_are_not_found(served: Served) -> None:
    """The error lists those there are."""
    refused = served.switch("left", "load")
    assert (refused.status, refused.body) == (404, b'there is no model "left"; models: up, down')
