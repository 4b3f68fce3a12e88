"""`modelapp dump`: what a running app is doing, also where it hangs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelapp.errors import SurroundingsError
from modelapp.inspection import inspect, replicas
from modelapp.testing import AppProject, Outcome, RunningApp

TOML = """\
[app]
name = "hangs"

[endpoints.wait]
steps = [{ name = "out", run = "handlers.py:wait", needs = ["how"] }]
[endpoints.wait.input]
how = "str"

[endpoints.work]
steps = [{ name = "out", run = "handlers.py:work", needs = ["how"] }]
[endpoints.work.input]
how = "str"
"""
HANDLERS = """\
import asyncio
import time
from pathlib import Path

FOLDER = Path(__file__).parent

async def wait(how):
    (FOLDER / how).touch()
    while not (FOLDER / "go").exists():
        if how == "awaits":
            await never(asyncio.Event())
        time.sleep(0.01)
    return {}

async def never(event):
    await event.wait()

def work(how):
    (FOLDER / how).touch()
    while not (FOLDER / "go").exists():
        sorted(range(20_000_000 if how == "locks" else 1))  # C code that does not let go of the interpreter
    return {}
"""
PATIENCE_S = 30.0


class Served:
    """The app of a folder, served."""

    def __init__(self, project: AppProject, app: RunningApp) -> None:
        self.project, self.app = project, app

    def hang(self, endpoint: str, how: str) -> None:
        """Send a request that stays, and wait until it has come."""
        threading.Thread(target=self._ask, args=(endpoint, how), daemon=True).start()
        until_s = time.monotonic() + PATIENCE_S
        while not (self.project.folder / how).exists():
            assert time.monotonic() < until_s
            time.sleep(0.02)
        time.sleep(0.3)  # by now it is watched whether its client leaves, too

    def _ask(self, endpoint: str, how: str) -> None:
        try:
            self.app.post(f"/{endpoint}", {"how": how})
        except OSError:
            return  # it was killed

    def dump(self, *words: str) -> Outcome:
        """What the command prints."""
        outcome = self.project.run("dump", *words)
        assert outcome.exit_code == 0, outcome
        return outcome

    def document(self) -> dict[str, Any]:
        """What it prints of the one replica in JSON."""
        found = json.loads(self.dump("--json").stdout)["replicas"]
        assert len(found) == 1
        return dict(found[0])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The app, ready; whatever hangs in it is let go."""
    project = AppProject(tmp_path / "app").write(TOML, handlers=HANDLERS)
    with project.serve() as app:
        yield Served(project, app)
        (project.folder / "go").touch()
        os.kill(app.pid, signal.SIGKILL)


def functions(document: dict[str, Any]) -> dict[str, list[str]]:
    """The functions of each thread, innermost first."""
    return {
        thread["name"] or thread["id"]: [frame["function"] for frame in thread["frames"]]
        for thread in document["threads"]
    }


def test_a_replica_whose_loop_turns_tells_its_requests_too(served: Served) -> None:
    """Where each waits, in what it has been called by name, and for how long; twice, the second time afresh."""
    served.hang("wait", "awaits")
    served.hang("work", "works")
    for _ in range(2):
        found = served.document()
        assert (found["loop"], found["state"], found["reason"]) == ("turns", "ready", "")
        waits, works = found["requests"]
        assert (waits["endpoint"], waits["protocol"], works["endpoint"]) == ("wait", "natural", "work")
        assert waits["seconds"] > works["seconds"] > 0
        assert [place["function"] for place in waits["waits_in"]][:3] == ["wait", "never", "wait"]
        assert waits["waits_in"][1]["file"].endswith("/app/handlers.py")
        assert any("work" in names for names in functions(found).values())
        assert functions(found)["MainThread"][-1] == "_run_module_as_main"
    text = served.dump().stdout
    assert "2 requests in progress" in text
    assert f"{served.project.folder / 'handlers.py'}:16 in never" in text
    assert "thread MainThread (0x" in text


def test_a_held_loop_shows_what_holds_it(served: Served) -> None:
    """An async function that sleeps: nobody is answered, and yet the stacks come."""
    served.hang("wait", "sleeps")
    found = served.document()
    assert found["loop"] == "held"
    assert "requests" not in found
    assert [names[0] for names in functions(found).values() if "__rsgi__" in names] == ["wait"]
    assert "its event loop does not turn: nobody is answered" in served.dump().stdout


def test_code_that_keeps_the_interpreter_is_shown_as_well(served: Served) -> None:
    """No Python code can run meanwhile, not even a signal's handler."""
    served.hang("work", "locks")
    assert any(names[0] == "work" for names in functions(served.document()).values() if names)


def test_it_works_before_the_app_is_ready(tmp_path: Path) -> None:
    """A start that hangs is what one wants to look into most; app.toml need not be valid any more."""
    project = AppProject(tmp_path / "app").write(TOML, handlers=HANDLERS + "while True:\n    time.sleep(0.01)\n")
    with subprocess.Popen(
        [sys.executable, "-m", "modelapp", "run", "--set", "server.port=0"],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        until_s = time.monotonic() + PATIENCE_S
        while "handlers.py:24 in <module>" not in (text := project.run("dump").stdout):
            assert time.monotonic() < until_s, text
        (project.folder / "app.toml").write_text("broken")
        assert project.run("dump").exit_code == 0
        command.terminate()


def test_nothing_that_runs_is_an_error_with_the_folder(tmp_path: Path) -> None:
    """With status 5; another folder's app does not count."""
    project = AppProject(tmp_path / "app").write(TOML, handlers=HANDLERS)
    outcome = project.run("dump")
    assert outcome.exit_code == 5
    assert "nothing serves app.toml on this machine" in outcome.stderr
    document = json.loads(project.run("dump", "--json").stdout)
    assert document["error"]["kind"] == "SurroundingsError"


def test_a_process_that_only_looks_like_a_replica_is_left_alone(tmp_path: Path) -> None:
    """The signal would end one that does not expect it."""
    words = ["import time; time.sleep(60)", "modelapp.replica", "--app", str(tmp_path / "app.toml")]
    with subprocess.Popen([sys.executable, "-c", *words]) as other:
        while b"modelapp.replica" not in Path(f"/proc/{other.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        assert replicas(tmp_path / "app.toml") == []
        with pytest.raises(SurroundingsError, match="cannot be looked into"):
            inspect(other.pid)
        assert other.poll() is None
        other.kill()


@pytest.mark.slow
def test_a_stopped_process_is_told_as_such(served: Served) -> None:
    """The command does not wait for ever."""
    pid = replicas(served.project.folder / "app.toml")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        outcome = served.project.run("dump")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert outcome.exit_code == 5
    assert "it does not react" in outcome.stderr
