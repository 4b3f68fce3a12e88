"""A replica that is told to take changed files over, without anybody watching them; and what must not stop it."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelapp.errors import AppFileError, HandlerError, PluginError
from modelapp.loading import Loading
from modelapp.plugins import Plugins
from modelapp.reloader import Reloader
from modelapp.replicaevents import Reporter, parse
from modelapp.testing import AppProject, RunningApp

TOML = """\
[app]
name = "slow"

[models.up]
source = "model.py:Up"
runtime = "python"

[endpoints.say]
model = "up"
postprocess = "handlers.py:mark"
timeout_s = 20

[endpoints.say.input]
text = "str"
held = { type = "bool", default = false }
"""
MODEL = """\
import time
from dataclasses import dataclass
from pathlib import Path
import helper

FOLDER = Path(__file__).parent

@dataclass
class Options:
    load_s: float = 0.0

class Up:
    def __init__(self, options: Options):
        time.sleep(options.load_s)

    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"text": row["text"].upper(), "held": row["held"], "by": id(self)} for row in rows]

    def close(self):
        (FOLDER / "closed").touch()
"""
HANDLERS = """\
import time
from pathlib import Path

FOLDER = Path(__file__).parent

def mark(answer):
    if answer["held"]:
        (FOLDER / "held").touch()
        while not (FOLDER / "go").exists():
            time.sleep(0.01)
    return {**answer, "mark": 1}
"""
PATIENCE_S = 20.0


class Served:
    """The app of a folder, served, and its replica."""

    def __init__(self, root: Path, app: RunningApp) -> None:
        self.root, self.app = root, app

    @property
    def replica(self) -> int:
        """The replica's process."""
        found = subprocess.run(["pgrep", "-P", str(self.app.pid)], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[-1])

    def change(self, name: str, old: str, new: str) -> None:
        """Change a file and tell the replica."""
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        os.kill(self.replica, signal.SIGHUP)

    def until(self, holds: Callable[[], Any]) -> None:
        """Wait until it holds."""
        until = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until, self.app.output
            time.sleep(0.02)

    def says(self, text: str, times: int = 1) -> None:
        """Wait until the command has said it so often."""
        self.until(lambda: self.app.output.stderr.count(text) >= times)

    def ask(self, **values: Any) -> dict[str, Any]:
        """The answer."""
        answer = self.app.post("/say", {"text": "a", **values})
        assert answer.status == 200, answer
        return answer.json()

    def hold(self) -> "Held":
        """A request that is in the function after the model, and stays there until it is let go."""
        held = Held(self)
        self.until((self.root / "held").exists)
        return held


class Held:
    """A request under way."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._answers: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(served.ask(held=True)))
        self._thread.start()

    def let_go(self) -> None:
        """It may have its answer."""
        (self._served.root / "go").touch()

    @property
    def answer(self) -> dict[str, Any]:
        """What it got."""
        self._thread.join()
        return self._answers[0]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The app, ready, started without --watch."""
    project = AppProject(tmp_path / "app")
    project.write(TOML, {"model.py": MODEL, "helper.py": ""}, handlers=HANDLERS)
    with project.serve() as app:
        yield Served(project.folder, app)


def test_what_came_of_it_is_said(served: Served) -> None:
    """In each of the four cases."""
    os.kill(served.replica, signal.SIGHUP)
    served.says("reloaded: nothing has changed that an answer could tell")
    served.change("handlers.py", '"mark": 1', '"mark": 2')
    served.says("code swapped; weights kept: up")
    assert served.ask()["mark"] == 2
    served.change("app.toml", "timeout_s", "timeout")
    served.says("not reloaded, the running app stays")
    served.change("app.toml", "timeout", "timeout_s")
    served.says("nothing has changed", 2)
    served.change("app.toml", "[models.up]", 'plugins = ["modelapp>=0.0.1"]\n[models.up]')
    served.says("start the command again for [app] plugins")


def test_a_slow_request_ends_with_the_model_it_came_to(served: Served) -> None:
    """The new one answers meanwhile, and the old one is closed after the last answer that is its own."""
    before = served.ask()["by"]
    slow = served.hold()
    served.change("model.py", "upper()", "title()")
    served.says("loaded: up")
    served.change("handlers.py", '"mark": 1', '"mark": 2')
    served.says("code swapped")
    assert served.ask()["by"] != before
    assert not (served.root / "closed").exists()
    slow.let_go()
    assert (slow.answer["by"], slow.answer["mark"]) == (before, 1)
    served.until((served.root / "closed").exists)


def test_a_model_whose_helper_is_gone_is_not_taken_for_the_same(served: Served) -> None:
    """It could not be started any more, so it is no release to serve."""
    release = served.app.ask("GET", "/").json()["release"]
    (served.root / "helper.py").rename(served.root / "helper.txt")
    os.kill(served.replica, signal.SIGHUP)
    served.says("No module named 'helper'")
    assert served.app.ask("GET", "/").json()["release"] == release


def test_a_stop_does_not_wait_for_a_reload(served: Served) -> None:
    """What would have been served next is given up, and requests in progress are not."""
    slow = served.hold()
    served.change("model.py", "time.sleep(options", "(FOLDER / 'loading').touch(); time.sleep(60 + options")
    served.until((served.root / "loading").exists)
    with ThreadPoolExecutor(1) as beside:
        ending = beside.submit(served.app.stop, timeout_s=PATIENCE_S)
        served.says("draining")
        slow.let_go()
        assert slow.answer["text"] == "A"
        assert ending.result().exit_code == 0


def test_a_replica_that_dies_while_it_reloads_is_replaced_by_one_with_the_new_files(served: Served) -> None:
    """The files are what counts."""
    served.change("app.toml", "[endpoints.say]", "[models.up.python]\nload_s = 1.0\n[endpoints.say]")
    served.change("handlers.py", '"mark": 1', '"mark": 2')
    os.kill(served.replica, signal.SIGKILL)
    served.says("ready again")
    assert served.ask()["mark"] == 2


def test_many_signals_end_with_the_last_state(served: Served) -> None:
    """However many come while one is heeded."""
    for number in range(1, 30):
        served.change("handlers.py", f'"mark": {number}', f'"mark": {number + 1}')
    served.until(lambda: served.ask()["mark"] == 30)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AppFileError([]), ""),
        (HandlerError("NameError: x", place="handlers.py:3"), "NameError: x"),
        (PluginError("two plugins want one prefix", plugin="acme"), "two plugins"),
        (RuntimeError("nobody thought of this"), "RuntimeError: nobody thought of this"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_nothing_that_is_raised_gets_past_it(error: Exception, said: str) -> None:
    """The running edition stays, and the parent hears why."""

    def read() -> Any:
        raise error

    async def reload() -> None:
        reporter = Reporter(end)
        plugins = Plugins.load(warn=False)
        reloader = Reloader(read, plugins, Loading(plugins, reporter), reporter)
        edition: Any = None  # not looked at before the app is read
        assert await reloader.next(edition) is None

    start, end = os.pipe()
    asyncio.run(reload())
    os.close(end)
    with os.fdopen(start, "rb") as pipe:
        event = parse(pipe.read())
    assert event is not None
    assert event.kind == "kept"
    assert said in event.reason
