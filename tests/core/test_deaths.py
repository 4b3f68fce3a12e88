"""Readiness when a runtime dies, says that it died, hangs, or when something holds the event loop."""

import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelapp.testing import Answer, AppProject, RunningApp

TOML = """\
[app]
name = "mortal"

[models.one]
source = "handlers.py:Model"
runtime = "python"

[models.two]
source = "handlers.py:Model"
runtime = "python"
required = false

[endpoints.one]
model = "one"
timeout_s = 1
[endpoints.one.input]
do = "str"

[endpoints.two]
model = "two"
[endpoints.two.input]
do = "str"

[endpoints.hold]
steps = [{ name = "out", run = "handlers.py:hold", needs = ["do"] }]
[endpoints.hold.input]
do = "str"

[[tests]]
name = "one"
endpoint = "one"
input = { do = "live" }
expect = { did = "live" }

[[tests]]
name = "two"
endpoint = "two"
input = { do = "live" }
expect = { did = "live" }
"""
HANDLERS = """\
import os
import signal
import time
from pathlib import Path

from modelapp.errors import ModelDied

FOLDER = Path(__file__).parent

class Model:
    def __init__(self):
        time.sleep(0.3)
        with (FOLDER / "loads").open("a") as file:
            file.write("x")

    def predict(self, rows: list[dict]) -> list[dict]:
        time.sleep(0.005)  # on a thread of its own
        for row in rows:
            if row["do"] == "die":
                raise ModelDied("the device is gone")
            if row["do"] == "fault":
                os.kill(os.getpid(), signal.SIGSEGV)
            while row["do"] == "hang" and not (FOLDER / "go").exists():
                time.sleep(0.01)
        return [{"did": row["do"]} for row in rows]

async def hold(do):
    while do == "hold" and not (FOLDER / "go").exists():
        time.sleep(0.01)
    return {"did": do}
"""
PATIENCE_S = 30.0


class Served:
    """The app of a folder, served."""

    def __init__(self, root: Path, app: RunningApp) -> None:
        self.root, self.app = root, app

    def ask(self, endpoint: str, do: str) -> Answer:
        """One request."""
        return self.app.post(f"/{endpoint}", {"do": do})

    @property
    def readiness(self) -> dict[str, Any]:
        """The body of /readyz."""
        answer = self.app.ask("GET", "/readyz")
        found = answer.json()
        assert (answer.status == 200) is found["ready"]
        return dict(found)

    @property
    def loads(self) -> int:
        """How many models have been loaded."""
        return len((self.root / "loads").read_text())

    def until(self, holds: Callable[[], Any]) -> None:
        """Wait until it holds."""
        until = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until, self.app.output
            time.sleep(0.02)

    def says(self, text: str) -> None:
        """Wait until the command has said it."""
        self.until(lambda: text in self.app.output.stderr)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The app, ready."""
    project = AppProject(tmp_path / "app").write(TOML, handlers=HANDLERS)
    with project.serve() as app:
        yield Served(project.folder, app)


def test_a_required_model_that_says_it_died_brings_another_replica(served: Served) -> None:
    """Its request and all later ones get 503, readiness tells the reason at once, the rest is still answered, and the
    parent starts another, whose models are all loaded before it is ready.
    """
    refused = served.ask("one", "die")
    assert (refused.status, refused.json()["error"]["code"]) == (503, "model_died")
    assert refused.headers["retry-after"] == "1"
    found = served.readiness
    assert (found["ready"], found["reason"]) == (False, 'model "one" died: the device is gone')
    assert served.ask("one", "live").status == 503
    assert served.ask("two", "live").status == 200
    served.says("ready again")
    assert 'replica died: model "one" died: the device is gone (exit status 5); starting another' in (
        served.app.output.stderr
    )
    assert served.readiness["ready"]
    assert served.loads == 4
    assert served.ask("one", "live").status == 200


def test_a_model_that_the_app_can_do_without_stays_dead_alone(served: Served) -> None:
    """The app is ready without it, and says so."""
    assert served.ask("two", "die").json()["error"]["code"] == "model_died"
    found = served.readiness
    assert (found["ready"], found["models"], found["endpoints"]["two"]) == (True, {"one": True, "two": False}, False)
    refused = served.ask("two", "live")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    served.says('model "two" died: the device is gone; the app serves without it')
    assert served.ask("one", "live").status == 200
    assert served.loads == 2


def test_a_fault_in_a_run_is_no_readiness_until_the_successor_is_warm(served: Served) -> None:
    """Whoever asks meanwhile waits or hears 503; 200 comes only once both models are loaded again."""
    with pytest.raises((OSError, http.client.HTTPException)):
        served.ask("one", "fault")
    while True:
        try:
            ready = served.app.ask("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            continue
        if ready:
            break
    assert served.loads == 4
    assert "SIGSEGV" in served.app.output.stderr


def test_a_run_that_does_not_end_takes_readiness_away_and_gives_it_back(served: Served) -> None:
    """Once its request has timed out nobody waits for it, and yet nobody else can be served."""
    late = served.ask("one", "hang")
    assert (late.status, late.headers["x-should-retry"]) == (504, "false")
    served.until(lambda: not served.readiness["ready"])
    found = served.readiness
    assert found["reason"] == 'model "one" is stuck in a run that nobody waits for any more'
    assert (found["models"]["one"], found["endpoints"]["one"], found["endpoints"]["two"]) == (False, False, True)
    (served.root / "go").touch()
    served.until(lambda: served.readiness["ready"])
    assert served.ask("one", "live").status == 200


def test_the_parent_tells_of_a_held_loop(served: Served) -> None:
    """An async function that blocks is answered by nobody; the note says how to see it, and when it is over."""
    with ThreadPoolExecutor(1) as beside:
        holding = beside.submit(served.ask, "hold", "hold")
        served.says("something holds its event loop; `modelapp dump` shows what")
        (served.root / "go").touch()
        assert holding.result().status == 200
    served.says("the replica answers again, after ")
